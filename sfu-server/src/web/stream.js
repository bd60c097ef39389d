// The life of a WHIP or WHEP session: connects, watches its ICE, restarts it by PATCH, begins anew with backoff when that
// doesn't help, and ends it. What is negotiated is the business of whip.js and whep.js.

import { HttpProblem, HttpResource } from './resource.js';

const BACKOFF_MS = [500, 1000, 2000, 4000, 8000];
// `disconnected` often heals by itself within a check or two.
const DISCONNECTED_GRACE_MS = 2000;
// From an answer, or a restart, to a connection. After that a new session is tried.
const CONNECT_TIMEOUT_MS = 8000;
// Sessions in a row that were answered and never connected.
const UNCONNECTED_MAX = 4;
const LOG_LENGTH_MAX = 200;

/// Statuses that a repetition would only get again, and what they are in notices.js.
const FINAL = new Map([
  [400, 'stream_refused'],
  [401, 'stream_denied'],
  [403, 'stream_denied'],
  [404, 'stream_unknown'],
  [405, 'stream_unknown'],
  [406, 'stream_refused'],
  [413, 'stream_refused'],
  [415, 'stream_refused'],
  [422, 'stream_refused'],
]);

/// Events: `change` (state, problem or retryAt are different).
///
/// States: `idle` → `connecting` → `live` ⇄ `reconnecting`; `waiting` while nothing is live; `failed` for good, with
/// `problem`; `ended` by `stop`.
export class StreamClient extends EventTarget {
  state = 'idle';
  /// Why it doesn't go on, a key of notices.js, and the server's own words.
  problem = null;
  detail = '';
  /// When the next attempt starts, on performance.now()'s clock.
  retryAt = null;
  pc = null;
  log = [];
  #options;
  #resource = null;
  #attempt = 0;
  #unconnected = 0;
  #timer = 0;
  #connected = false; // this session has been
  #restarted = false; // since it was connected last

  /// `options`: {endpoint, token}.
  constructor(options) {
    super();
    this.#options = options;
  }

  start() {
    if (this.state !== 'idle' && this.state !== 'failed' && this.state !== 'ended') return;
    this.#attempt = 0;
    this.#unconnected = 0;
    this.#become('connecting');
    void this.#connect();
  }

  stop() {
    if (this.state === 'idle' || this.state === 'ended') return;
    this.#drop();
    this.#become('ended');
  }

  /// The network is back, or a person is impatient: don't wait for the backoff.
  retryNow() {
    if (this.retryAt !== null) void this.#connect();
    else if (this.state === 'reconnecting' && this.#connected && !this.#restarted) void this.#restart();
  }

  /// Makes the session: sections on `pc`, offer and answer through `resource`.
  async negotiate() {
    throw new Error('a StreamClient negotiates nothing by itself');
  }

  async #connect() {
    this.#drop();
    const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const resource = new HttpResource(this.#options);
    this.pc = pc;
    this.#resource = resource;
    pc.onconnectionstatechange = () => this.#watch(pc);
    pc.oniceconnectionstatechange = () => this.#watch(pc);
    try {
      await this.negotiate(pc, resource);
      if (pc !== this.pc) return;
      // For the next gathering, a restart's: this one didn't know them.
      if (resource.iceServers.length) pc.setConfiguration({ ...pc.getConfiguration(), iceServers: resource.iceServers });
      this.#note({ type: 'answered' });
      this.#giveUpAfter(CONNECT_TIMEOUT_MS);
      this.#watch(pc);
    } catch (error) {
      if (pc === this.pc) this.#failed(error);
    }
  }

  #watch(pc) {
    if (pc !== this.pc) return;
    const { connectionState, iceConnectionState } = pc;
    this.#note({ type: 'media', connectionState, iceConnectionState });
    if (connectionState === 'connected') {
      clearTimeout(this.#timer);
      this.#attempt = 0;
      this.#unconnected = 0;
      this.#connected = true;
      this.#restarted = false;
      this.#become('live');
    } else if (this.state === 'live') {
      this.#become('reconnecting');
      clearTimeout(this.#timer);
      const wait = iceConnectionState === 'disconnected' ? DISCONNECTED_GRACE_MS : 0;
      this.#timer = setTimeout(() => void this.#restart(), wait);
    } else if (connectionState === 'failed') {
      // After a restart its time-out decides: this may still be the old session's failure.
      if (!this.#connected) this.#unreachable();
      else if (!this.#restarted) void this.#restart();
    }
  }

  /// First an ICE restart within the session; if that has been tried, or can't be, a new session.
  async #restart() {
    const { pc } = this;
    if (pc?.connectionState === 'connected') return;
    if (this.#restarted || !pc || pc.connectionState === 'closed') return void this.#connect();
    this.#restarted = true;
    this.#note({ type: 'ice_restart' });
    try {
      await restartIce(pc, this.#resource);
      if (pc === this.pc) this.#giveUpAfter(CONNECT_TIMEOUT_MS);
    } catch (error) {
      if (pc !== this.pc) return;
      this.#note({ type: 'ice_restart_failed', status: error.status });
      void this.#connect();
    }
  }

  #giveUpAfter(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#unreachable(), ms);
  }

  /// The server answers, and no packet gets through.
  #unreachable() {
    this.#unconnected += 1;
    if (this.#unconnected < UNCONNECTED_MAX) this.#retry('reconnecting', 'no_media_path', null);
    else this.#giveUp('no_media_path', '');
  }

  #failed(error) {
    const { status, retryAfterMs, detail = '' } = error instanceof HttpProblem ? error : {};
    this.#note({ type: 'problem', status, detail: detail || String(error) });
    if (status === undefined) {
      // The browser itself refused a description.
      this.#giveUp('stream_refused', String(error));
    } else if (status === 409 && retryAfterMs !== null) {
      this.#attempt = 0;
      this.#retry('waiting', null, retryAfterMs);
    } else if (FINAL.has(status)) {
      this.#giveUp(FINAL.get(status), detail);
    } else {
      this.#retry('reconnecting', status === 0 ? 'server_lost' : 'server_busy', retryAfterMs, detail);
    }
  }

  #retry(state, problem, afterMs, detail = '') {
    this.#drop();
    const step = BACKOFF_MS[Math.min(this.#attempt, BACKOFF_MS.length - 1)];
    this.#attempt += 1;
    // Jitter, so that a server isn't met by all its viewers in the same instant.
    const wait = (afterMs ?? step) * (0.75 + Math.random() / 2);
    this.#timer = setTimeout(() => void this.#connect(), wait);
    this.retryAt = performance.now() + wait;
    this.#become(state, problem, detail);
  }

  #giveUp(problem, detail) {
    this.#drop();
    this.#become('failed', problem, detail);
  }

  #drop() {
    clearTimeout(this.#timer);
    this.retryAt = null;
    this.#connected = false;
    this.#restarted = false;
    this.#resource?.close();
    this.#resource = null;
    const { pc } = this;
    this.pc = null;
    if (!pc) return;
    pc.onconnectionstatechange = pc.oniceconnectionstatechange = pc.ontrack = null;
    pc.close();
  }

  #become(state, problem = null, detail = '') {
    if (state !== this.state) this.#note({ type: 'state', state, problem });
    Object.assign(this, { state, problem, detail });
    this.dispatchEvent(new Event('change'));
  }

  #note(entry) {
    this.log.push({ at: performance.now(), ...entry });
    if (this.log.length > LOG_LENGTH_MAX) this.log.shift();
  }
}

/// RFC 9725 §4.3.3: only ICE is exchanged, everything else stays as it was negotiated.
async function restartIce(pc, resource) {
  const offer = await pc.createOffer({ iceRestart: true });
  await pc.setLocalDescription(offer);
  const answered = await resource.restartIce(fragmentOf(offer.sdp));
  await pc.setRemoteDescription({ type: 'answer', sdp: withIce(pc.currentRemoteDescription.sdp, answered) });
}

/// Our ICE credentials as a fragment: the first section carries the bundle.
function fragmentOf(sdp) {
  const line = (pattern) => sdp.match(pattern)?.[0];
  const lines = [/^a=group:BUNDLE .*$/m, /^m=.*$/m, /^a=mid:.*$/m, /^a=ice-ufrag:.*$/m, /^a=ice-pwd:.*$/m].map(line);
  return `${lines.filter(Boolean).map((text) => text.trimEnd()).join('\r\n')}\r\n`;
}

/// A remote description as an answer with another ICE session, that of a fragment.
function withIce(sdp, fragment) {
  const value = (name) => fragment.match(new RegExp(`^a=${name}:(.*?)\\r?$`, 'm'))?.[1];
  const [ufrag, pwd] = [value('ice-ufrag'), value('ice-pwd')];
  if (!ufrag || !pwd) throw new HttpProblem(200, { detail: 'the fragment names no ICE session' });
  const candidates = fragment.match(/^a=candidate:.*?(?=\r?$)/gm) ?? [];
  const kept = sdp.split('\r\n').filter((line) => candidates.length === 0 || !line.startsWith('a=candidate:'));
  const changed = kept.map((line) => {
    if (line.startsWith('a=ice-ufrag:')) return `a=ice-ufrag:${ufrag}`;
    if (line.startsWith('a=ice-pwd:')) return [`a=ice-pwd:${pwd}`, ...candidates].join('\r\n');
    // It was the server's offer; we have been the client of DTLS since.
    return line === 'a=setup:actpass' ? 'a=setup:passive' : line;
  });
  return changed.join('\r\n');
}
