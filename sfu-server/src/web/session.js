// One person's stay in one room: joins, publishes, mutes, and finds back after whatever was lost. It brings together
// the socket (signal.js), what the server told (room.js) and the media connection (peer.js). It knows no page.

import { Peer } from './peer.js';
import { Room } from './room.js';
import { Signal } from './signal.js';

// Answers to `join` that another attempt would only get again.
const FINAL_ERRORS = new Set(['room_full', 'bad_room', 'bad_identity', 'bad_version']);
// `closed` reasons after which a new join is the way on.
const REJOIN_REASONS = new Set(['ice_timeout', 'consent_expired', 'dtls_failed', 'server_shutdown']);
const LOG_LENGTH_MAX = 1000;

/// Events: `change` (something to show is different), `state`, `notice` (detail: {code, …}), `ended` (detail: {code}),
/// `data` (detail: {label, from, private, data}), `data_refused` (detail: {label, reason}), `unwanted` (detail: a source
/// that the room doesn't take from this browser).
///
/// States: `idle` → `joining` → `joined` ⇄ `reconnecting` → `ended`.
export class Session extends EventTarget {
  room = new Room();
  peer = null;
  state = 'idle';
  log = [];
  timings = { join: null, joined: null, connected: null };
  /// When the next attempt to reach the server starts, for the banner.
  retryAt = null;

  #options;
  #signal;
  #resume = null;
  #tracks = new Map(); // source → MediaStreamTrack or null (a camera that is off)
  #muted = new Map(); // source → desired state
  #published = new Map(); // source → track id that the server gave
  #unwanted = new Set(); // sources in no codec that the room takes
  #preferences = new Map(); // track id → {layer, paused}, as last asked
  #iceServers = [];
  #offered = null; // the Peer whose first offer went out with the join
  #rejoins = 0;

  /// `options`: {url, room, name, identity}.
  constructor(options) {
    super();
    this.#options = options;
    this.#signal = new Signal(options.url);
    this.#signal.addEventListener('open', () => void this.#sendJoin());
    this.#signal.addEventListener('message', ({ detail }) => this.#receive(detail));
    this.#signal.addEventListener('lost', ({ detail }) => this.#socketLost(detail));
  }

  /// `sources`: a Map source → {track, muted}. Nothing in it joins as a viewer.
  join(sources) {
    for (const [source, { track, muted }] of sources) {
      this.#tracks.set(source, track);
      this.#muted.set(source, muted);
    }
    this.timings.join = performance.now();
    this.#setState('joining');
    this.#signal.start();
  }

  leave() {
    this.#signal.send({ type: 'leave' });
    this.#end({ code: 'left' });
  }

  /// The browser says that the network is back, or the page was woken.
  networkReturned() {
    if (this.state === 'ended' || this.state === 'idle') return;
    this.#note({ type: 'network_returned' });
    this.#signal.retryNow();
    this.#signal.probe();
    if (this.peer && this.peer.pc.connectionState !== 'connected') this.peer.restartIce();
  }

  hasSource(source) {
    return this.#tracks.has(source);
  }

  isMuted(source) {
    return this.#muted.get(source) ?? true;
  }

  localTrack(source) {
    return this.#tracks.get(source) ?? null;
  }

  /// What the server calls the track that is published as `source`, or undefined.
  publishedId(source) {
    return this.#published.get(source);
  }

  /// Whether a source is offered in vain: the room takes none of its codecs.
  isUnwanted(source) {
    return this.#tracks.has(source) && this.#unwanted.has(source);
  }

  /// Publishes a source, or exchanges its track when it is published already.
  async publish(source, track, { muted = false } = {}) {
    this.#tracks.set(source, track);
    this.#muted.set(source, muted);
    this.#unwanted.delete(source);
    if (track) track.enabled = !muted;
    if (this.peer?.isPublishing(source)) {
      await this.peer.replace(source, track);
      this.#tellMuted(source);
    } else {
      await this.peer?.publish(source, track);
    }
    this.#changed();
  }

  async unpublish(source) {
    this.#tracks.delete(source);
    this.#muted.delete(source);
    this.#published.delete(source);
    await this.peer?.unpublish(source);
    this.#changed();
  }

  /// Mutes or unmutes a published source. A camera gives its track up while it is off, so that its light goes out:
  /// the caller passes the new one when it goes on again.
  async setMuted(source, muted, track = this.localTrack(source)) {
    this.#muted.set(source, muted);
    if (track) track.enabled = !muted;
    // Off: the server stops before the picture does. On: it opens the door before the first packet.
    this.#tellMuted(source);
    if (track !== this.localTrack(source)) {
      this.#tracks.set(source, track);
      await this.peer?.replace(source, track);
    }
    this.#changed();
  }

  /// Says something to everybody in the room, by data channel or, while there is none, by the socket. Whether it left.
  sendData(label, data) {
    if (this.state !== 'joined') return false;
    return this.peer?.sendData(data) || this.#signal.send({ type: 'data', label, data });
  }

  /// Desired layer of a track; sent only when it differs from what was asked before.
  prefer(track, layer, paused) {
    const before = this.#preferences.get(track);
    if (before?.layer === layer && before.paused === paused) return;
    this.#preferences.set(track, { layer, paused });
    this.#signal.send({ type: 'prefer', track, layer, paused });
  }

  async #sendJoin() {
    const { room, identity, name } = this.#options;
    const join = { type: 'join', version: 1, room, identity, name };
    this.#offered = null;
    if (this.#resume) {
      join.resume = this.#resume;
    } else {
      // The first offer travels with the join: a round trip less until the first picture.
      this.#build();
      this.#offered = this.peer;
      join.offer = await this.#offered.firstOffer();
    }
    this.#note({ ...join, sent: true });
    this.#signal.send(join);
  }

  #receive(message) {
    this.#note(message);
    const known = this.room.apply(message);
    switch (message.type) {
      case 'joined':
        return this.#joined(message);
      case 'resync':
        return this.#changed();
      case 'offer':
      case 'answer':
        return void this.peer?.receive(message);
      case 'published':
        return this.#learnPublished(message);
      case 'ice_restart':
        return this.peer?.restartIce();
      case 'connected':
        this.timings.connected ??= performance.now();
        return this.#changed();
      case 'data':
      case 'data_refused':
        return this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
      case 'closed':
        return this.#closed(message);
      case 'error':
        return this.#error(message);
      default:
        if (known) this.#changed();
    }
  }

  #joined(message) {
    this.#resume = message.resume;
    this.#signal.settled();
    this.timings.joined ??= performance.now();
    this.retryAt = null;
    const rejoined = this.state === 'reconnecting';
    const iceServers = (this.#iceServers = message.ice_servers ?? []);
    if (message.resumed && this.peer) {
      this.#resumed();
    } else if (this.#offered && this.#offered === this.peer) {
      this.peer.open({ iceServers, offered: true });
    } else {
      this.#build();
      this.peer.open({ iceServers });
    }
    this.#offered = null;
    this.#setState('joined');
    if (rejoined) this.#notice({ code: message.resumed ? 'resumed' : 'rejoined' });
  }

  /// The server kept everything; only what was said into the dead socket is said again.
  #resumed() {
    this.peer.open();
    for (const source of this.#published.keys()) this.#tellMuted(source);
    for (const [track, { layer, paused }] of this.#preferences) {
      if (this.room.slotOf(track)) this.#signal.send({ type: 'prefer', track, layer, paused });
    }
    if (this.peer.pc.connectionState !== 'connected') this.peer.restartIce();
  }

  /// A fresh participant: a new connection that publishes all that is shared at this moment.
  #build() {
    this.peer?.close();
    this.#published.clear();
    this.#unwanted.clear();
    this.#preferences.clear();
    const peer = new Peer({
      send: (message) => {
        this.#note({ ...message, sent: true });
        return this.#signal.send(message);
      },
      isMuted: (source) => this.isMuted(source),
    });
    this.peer = peer;
    peer.addEventListener('track', () => this.#changed());
    peer.addEventListener('data', ({ detail }) => this.dispatchEvent(new CustomEvent('data', { detail })));
    peer.addEventListener('state', ({ detail }) => this.#mediaState(peer, detail));
    peer.addEventListener('refused', ({ detail }) => this.#refused(peer, detail));
    peer.addEventListener('unwanted', ({ detail }) => this.#learnUnwanted(peer, detail));
    peer.addEventListener('crossed', ({ detail }) => this.#crossed(peer, detail));
    for (const [source, track] of this.#tracks) {
      // Without a track yet (a camera that is off) the section is still offered, muted, so that it can be turned on.
      void peer.publish(source, track);
    }
  }

  /// The server's offer goes to a connection that has offered nothing yet, and offers afterwards.
  #crossed(peer, offer) {
    if (peer !== this.peer) return;
    this.#build();
    this.peer.open({ iceServers: this.#iceServers });
    void this.peer.receive(offer);
  }

  #mediaState(peer, state) {
    if (peer !== this.peer) return;
    this.#note({ type: 'media_state', state });
    if (state === 'connected') this.#rejoins = 0;
    this.#changed();
  }

  /// Negotiation is stuck: one fresh start, then tell the person.
  #refused(peer, { message }) {
    if (peer !== this.peer) return;
    this.#note({ type: 'negotiation_failed', message });
    this.#rejoin('negotiation_failed');
  }

  #learnPublished({ tracks }) {
    for (const { track, source } of tracks) {
      if (!this.#tracks.has(source)) continue;
      this.#published.set(source, track);
      // It may have been (un)muted since the offer was written.
      this.#tellMuted(source);
    }
    this.#changed();
  }

  #learnUnwanted(peer, source) {
    if (peer !== this.peer) return;
    this.#unwanted.add(source);
    this.#note({ type: 'unwanted', source });
    // A section that sends nothing is refused alike; then nobody has lost anything yet.
    if (this.#tracks.has(source)) this.dispatchEvent(new CustomEvent('unwanted', { detail: source }));
    this.#changed();
  }

  #tellMuted(source) {
    const track = this.#published.get(source);
    if (track) this.#signal.send({ type: 'mute', track, muted: this.isMuted(source) });
  }

  #closed({ reason }) {
    if (REJOIN_REASONS.has(reason)) this.#rejoin(reason);
    else this.#end({ code: reason });
  }

  #error({ code, message, id }) {
    if (code === 'bad_offer') {
      void this.peer?.receive({ type: 'refused', id, message });
    } else if (this.state !== 'joined' && FINAL_ERRORS.has(code)) {
      this.#end({ code, message });
    } else if (this.state !== 'joined' && code === 'server_busy') {
      this.#signal.reconnect();
    }
  }

  /// Starts over with a new join, unless that keeps failing.
  #rejoin(code) {
    this.#rejoins += 1;
    if (this.#rejoins > 6) {
      this.#end({ code: 'no_media_path' });
      return;
    }
    this.#resume = null;
    this.peer?.close();
    this.peer = null;
    this.#setState('reconnecting');
    this.#note({ type: 'rejoin', code });
    this.#signal.reconnect();
  }

  #socketLost({ attempt, retryInMs }) {
    this.peer?.hold();
    this.retryAt = performance.now() + retryInMs;
    this.#note({ type: 'socket_lost', attempt, retryInMs });
    if (this.state === 'joined') this.#setState('reconnecting');
    else this.#changed();
  }

  #end(detail) {
    if (this.state === 'ended') return;
    // Stopping at once would drop a `leave` that is still in the socket's buffer: close() sends it first.
    this.#signal.stop();
    this.peer?.close();
    this.#setState('ended');
    this.dispatchEvent(new CustomEvent('ended', { detail }));
  }

  #setState(state) {
    this.state = state;
    this.#note({ type: 'state', state });
    this.dispatchEvent(new Event('state'));
    this.#changed();
  }

  #notice(detail) {
    this.dispatchEvent(new CustomEvent('notice', { detail }));
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }

  #note(entry) {
    this.log.push({ at: performance.now(), ...entry });
    if (this.log.length > LOG_LENGTH_MAX) this.log.splice(0, this.log.length - LOG_LENGTH_MAX);
  }
}
