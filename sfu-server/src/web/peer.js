// One RTCPeerConnection and its negotiation (the polite side of W3C "perfect negotiation"), the sections that are
// sent on, and ICE restarts. It knows SDP goes out and comes in through `send`; it knows no participants.

import { DataLink } from './data.js';
import { addSender, encodingsFor, fitEncodings, withStartBitrate } from './encodings.js';

/// Header extensions that name layers, and say their sizes and rates.
const LAYERS = new Set([
  'urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id',
  'urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id',
  'http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00',
]);

const KIND = { microphone: 'audio', camera: 'video', screen: 'video', screen_audio: 'audio' };

// `disconnected` often heals by itself within a check or two.
const DISCONNECTED_GRACE_MS = 2000;
const RESTART_BACKOFF_MS = [3000, 6000, 10_000];

// Ids go on over the connections of a page: an answer to an offer of the last one is not for this one.
let offerIds = 0;

/// Events: `track` (receivers changed), `data` (a data message came), `state` (detail: the pc's connectionState), `refused` (an
/// offer failed), `unwanted` (detail: a source whose section the server has rejected: it takes none of its codecs), `crossed` (detail: the server's offer that crossed this connection's very first one; another has to take it).
export class Peer extends EventTarget {
  pc;
  #data;
  #send;
  #isMuted;
  #sections = new Map(); // source → RTCRtpTransceiver
  // Receivers play what shares a stream in step: a person's voice and picture, a screen's sound and picture.
  #person = new MediaStream();
  #screen = new MediaStream();
  #pendingOffer = 0;
  #negotiable = false;
  #wantsOffer = false;
  #refusals = 0;
  #work = Promise.resolve();
  #restartTimer = 0;
  #restarts = 0;

  /// `send(message)` → whether it left; `isMuted(source)` is asked when an offer is written.
  constructor({ send, isMuted }) {
    super();
    this.#send = send;
    this.#isMuted = isMuted;
    this.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.pc.onnegotiationneeded = () => this.#offer();
    this.pc.ontrack = () => this.dispatchEvent(new Event('track'));
    this.pc.oniceconnectionstatechange = () => this.#watchIce();
    this.pc.onconnectionstatechange = () => {
      this.dispatchEvent(new CustomEvent('state', { detail: this.pc.connectionState }));
    };
    // A section for the microphone is there from the start, so that somebody who only watches has a transport too.
    const init = { direction: 'inactive', streams: [this.#person] };
    this.#sections.set('microphone', this.pc.addTransceiver('audio', init));
    this.#data = new DataLink(this.pc, 'chat');
    this.#data.addEventListener('data', ({ detail }) => this.dispatchEvent(new CustomEvent('data', { detail })));
  }

  /// Sends reliable text to everybody; whether it left.
  sendData(data) {
    return this.#data.send(data);
  }

  /// The first offer, for the join to carry: its answer comes with the join's.
  async firstOffer() {
    this.#wantsOffer = false;
    await this.pc.setLocalDescription();
    return this.#nextOffer();
  }

  /// Offers may be sent from now on (the join was answered). `offered`: the join carried the first one.
  open({ iceServers, offered = false } = {}) {
    if (iceServers) this.pc.setConfiguration({ ...this.pc.getConfiguration(), iceServers });
    this.#negotiable = true;
    if (offered) return;
    if (this.pc.signalingState === 'have-local-offer') this.#repeatOffer();
    else if (this.#wantsOffer) this.#offer();
  }

  /// The socket is gone: hold offers back until `open`.
  hold() {
    this.#negotiable = false;
  }

  close() {
    clearTimeout(this.#restartTimer);
    this.#data.close();
    this.#negotiable = false;
    this.pc.onnegotiationneeded = this.pc.ontrack = null;
    this.pc.oniceconnectionstatechange = this.pc.onconnectionstatechange = null;
    this.pc.close();
  }

  /// Sends a track (null: nothing yet) as `source`, on the section that this source had before if there is one.
  async publish(source, track) {
    const section = this.#sections.get(source);
    if (!section) {
      this.#sections.set(source, this.#newSection(source, track));
      return;
    }
    // The direction first: an offer that is made meanwhile already includes it.
    section.direction = 'sendonly';
    await this.replace(source, track);
  }

  /// Stops publishing a source; its section stays for the next time. Not for a camera that is only off: Firefox forgets
  /// the layers of a section that was inactive, so that one goes on without a track.
  async unpublish(source) {
    const section = this.#sections.get(source);
    if (!section) return;
    section.direction = 'inactive';
    await section.sender.replaceTrack(null);
  }

  /// Another track, or none, on a section that goes on: no negotiation.
  async replace(source, track) {
    const { sender } = this.#sections.get(source) ?? {};
    if (!sender) return;
    await fitEncodings(sender, source, track);
    await sender.replaceTrack(track);
  }

  isPublishing(source) {
    return this.#sections.get(source)?.direction === 'sendonly';
  }

  midOf(source) {
    return this.#sections.get(source)?.mid ?? undefined;
  }

  /// The MediaStreamTrack that a slot's m-section delivers, or undefined before its offer was applied.
  receivedTrack(mid) {
    return this.pc.getTransceivers().find((transceiver) => transceiver.mid === mid)?.receiver.track;
  }

  restartIce() {
    this.pc.restartIce();
  }

  /// A server's `offer`, `answer` or refused offer. One at a time, in order.
  receive(message) {
    this.#work = this.#work.then(() => this.#receive(message)).catch((error) => this.#fail(error));
    return this.#work;
  }

  #newSection(source, track) {
    const section = this.#addSection(source, track);
    // Chromium gives a new section what the others of its kind have: beside sections that only receive, nothing would name
    // its layers, and it would refuse its own offer.
    const extensions = section.getHeaderExtensionsToNegotiate?.() ?? [];
    for (const extension of extensions) {
      if (LAYERS.has(extension.uri)) extension.direction = 'sendrecv';
    }
    if (extensions.length) section.setHeaderExtensionsToNegotiate(extensions);
    return section;
  }

  #addSection(source, track) {
    const stream = source.startsWith('screen') ? this.#screen : this.#person;
    const init = { direction: 'sendonly', streams: [stream], sendEncodings: encodingsFor(source, track) };
    return addSender(this.pc, track ?? KIND[source], init);
  }

  #offer() {
    // The browser fires once and then waits to be served, so a held one is remembered.
    this.#wantsOffer = true;
    this.#work = this.#work.then(() => this.#makeOffer()).catch((error) => this.#fail(error));
  }

  async #makeOffer() {
    // Not stable: the browser fires again when it is.
    if (!this.#negotiable || this.pc.signalingState !== 'stable') return;
    this.#wantsOffer = false;
    await this.pc.setLocalDescription();
    this.#repeatOffer();
  }

  #repeatOffer() {
    this.#send({ type: 'offer', ...this.#nextOffer() });
  }

  #nextOffer() {
    offerIds += 1;
    this.#pendingOffer = offerIds;
    const { sdp } = this.pc.localDescription;
    return { id: offerIds, sdp, tracks: this.#describe(sdp) };
  }

  /// What the offer's sending sections are. The SDP decides which send: directions may have changed since.
  #describe(sdp) {
    const sending = new Set(
      sdp
        .split(/^m=/m)
        .filter((section) => /^a=sendonly\r?$/m.test(section))
        .map((section) => section.match(/^a=mid:(.*?)\r?$/m)?.[1]),
    );
    return [...this.#sections]
      .filter(([, { mid }]) => sending.has(mid))
      .map(([source, { mid }]) => ({ mid, source, muted: this.#isMuted(source) }));
  }

  async #receive(message) {
    if (this.pc.signalingState === 'closed') return;
    if (message.type === 'offer') {
      // A first offer that is rolled back leaves Chromium without its data section: it would offer in circles for ever.
      if (this.pc.signalingState === 'have-local-offer' && !this.pc.currentRemoteDescription) {
        this.dispatchEvent(new CustomEvent('crossed', { detail: message }));
        return;
      }
      // The polite peer: a local offer in flight is rolled back by this, and is needed again afterwards.
      await this.pc.setRemoteDescription({ type: 'offer', sdp: withStartBitrate(message.sdp) });
      this.#pendingOffer = 0;
      await this.pc.setLocalDescription();
      this.#send({ type: 'answer', id: message.id, sdp: this.pc.localDescription.sdp });
    } else if (message.id !== this.#pendingOffer || this.pc.signalingState !== 'have-local-offer') {
      return;
    } else if (message.type === 'answer') {
      this.#pendingOffer = 0;
      this.#refusals = 0;
      const rejected = rejectedIn(message.sdp);
      const unwanted = [...this.#sections].filter(([, { mid }]) => rejected.has(mid));
      await this.pc.setRemoteDescription({ type: 'answer', sdp: withStartBitrate(message.sdp) });
      for (const [source] of unwanted) this.#forget(source);
    } else {
      await this.#refused(message);
    }
    this.dispatchEvent(new Event('track'));
  }

  /// A rejected section is of no more use: the browser has stopped it. Another attempt gets another one.
  #forget(source) {
    this.#sections.delete(source);
    this.dispatchEvent(new CustomEvent('unwanted', { detail: source }));
  }

  async #refused(message) {
    this.#pendingOffer = 0;
    this.#refusals += 1;
    // A rollback makes the browser want to offer the same again: once is worth a try, more would go in circles.
    if (this.#refusals > 1) this.#negotiable = false;
    await this.pc.setLocalDescription({ type: 'rollback' });
    if (this.#refusals > 1) this.dispatchEvent(new CustomEvent('refused', { detail: message }));
  }

  #fail(error) {
    if (this.pc.signalingState === 'closed') return;
    this.dispatchEvent(new CustomEvent('refused', { detail: { message: String(error) } }));
  }

  #watchIce() {
    clearTimeout(this.#restartTimer);
    const state = this.pc.iceConnectionState;
    if (state === 'connected' || state === 'completed') {
      this.#restarts = 0;
    } else if (state === 'disconnected') {
      this.#restartTimer = setTimeout(() => this.#restart(), DISCONNECTED_GRACE_MS);
    } else if (state === 'failed') {
      this.#restart();
    }
  }

  #restart() {
    const state = this.pc.iceConnectionState;
    if (state === 'connected' || state === 'completed' || state === 'closed') return;
    this.restartIce();
    const wait = RESTART_BACKOFF_MS[Math.min(this.#restarts, RESTART_BACKOFF_MS.length - 1)];
    this.#restarts += 1;
    this.#restartTimer = setTimeout(() => this.#restart(), wait);
  }
}

/// Mids of the sections that an answer rejects.
function rejectedIn(sdp) {
  const rejected = sdp.split(/^m=/m).filter((section) => /^\w+ 0 /.test(section));
  return new Set(rejected.map((section) => section.match(/^a=mid:(.*?)\r?$/m)?.[1]));
}
