// A WHIP or WHEP session as an HTTP resource (RFC 9725, draft-ietf-wish-whep): made by POST, restarted or answered by
// PATCH, ended by DELETE, with the extensions that the server links to. It knows URLs and status codes; it knows no media and
// repeats nothing. Candidates aren't trickled: the server is ICE-lite and takes the addresses that our checks come from.

import { readEvents } from './events.js';

const TIMEOUT_MS = 10_000;
const SDP = 'application/sdp';
const FRAGMENT = 'application/trickle-ice-sdpfrag';
const JSON_TYPE = 'application/json';
/// Extensions of WHEP, as their links are called.
const LAYER = 'urn:ietf:params:whep:ext:core:layer';
const EVENTS = 'urn:ietf:params:whep:ext:core:server-sent-events';

/// A request that failed. `status` is 0 when no answer came; `detail` is the server's own words.
export class HttpProblem extends Error {
  constructor(status, { detail = '', retryAfterMs = null, cause } = {}) {
    super(detail || `HTTP ${status}`, { cause });
    this.status = status;
    this.detail = detail;
    this.retryAfterMs = retryAfterMs;
  }
}

export class HttpResource {
  /// What the server named for ICE, as RTCConfiguration wants it.
  iceServers = [];
  #endpoint;
  #token;
  #url = null;
  #extensions = new Map(); // relation → URL, relative to #base
  #base = '';
  #listening = null; // the AbortController of an event stream that is read
  #closed = false;

  constructor({ endpoint, token = '' }) {
    this.#endpoint = endpoint;
    this.#token = token;
  }

  /// Makes the session. Returns {sdp, offered}: the server's answer, or, if it took no offer of ours (406 with a
  /// counter-offer), an offer of its own.
  async post(sdp) {
    const response = await this.#fetch(this.#endpoint, 'POST', { 'Content-Type': SDP }, sdp);
    const location = response.headers.get('Location');
    const offered = response.status === 406 && location !== null;
    if (response.status !== 201 && !offered) throw await problemOf(response);
    if (!location) throw new HttpProblem(response.status, { detail: 'the server names no session' });
    this.#url = new URL(location, response.url).href;
    const links = linksIn(response.headers.get('Link') ?? '');
    this.iceServers = links.filter(({ rel }) => rel === 'ice-server').map(iceServerOf);
    this.#extensions = new Map(links.map(({ rel, target }) => [rel, target]));
    this.#base = response.url;
    const body = await response.text();
    // Given up while the server was making it.
    if (this.#closed) this.#delete(this.#url);
    return { sdp: body, offered };
  }

  /// Answers the server's offer.
  async answer(sdp) {
    const response = await this.#fetch(this.#url, 'PATCH', { 'Content-Type': SDP }, sdp);
    if (!response.ok) throw await problemOf(response);
  }

  /// Restarts ICE with a fragment of ours (RFC 8840); returns the server's.
  async restartIce(fragment) {
    const headers = { 'Content-Type': FRAGMENT, 'If-Match': '*' };
    const response = await this.#fetch(this.#url, 'PATCH', headers, fragment);
    if (response.status !== 200) throw await problemOf(response);
    return response.text();
  }

  /// Whether a layer can be chosen.
  get hasLayers() {
    return this.#extensions.has(LAYER);
  }

  /// Whether the server tells what is going on.
  get hasEvents() {
    return this.#extensions.has(EVENTS);
  }

  /// Chooses a layer: {mediaId, rid, encodingId, spatialLayerId, temporalLayerId}, of which all may be missing. Without any,
  /// the server chooses.
  async selectLayer(selection) {
    const response = await this.#postJson(LAYER, selection);
    if (!response.ok) throw await problemOf(response);
  }

  /// Calls `hear(name, data)` for events of these names, until the stream ends or is lost, or `stopListening` ends it.
  async listen(names, hear) {
    this.stopListening();
    const { signal } = (this.#listening = new AbortController());
    const made = await this.#postJson(EVENTS, names);
    const location = made.headers.get('Location');
    if (made.status !== 201 || !location) throw await problemOf(made);
    const url = new URL(location, made.url).href;
    try {
      const response = await fetch(url, { headers: { Accept: 'text/event-stream', ...this.#authorization() }, signal });
      if (!response.ok) throw await problemOf(response);
      await readEvents(response.body, hear);
    } catch (error) {
      // Given up by ourselves, or lost: that is an end like another.
      if (error instanceof HttpProblem) throw error;
    } finally {
      // Otherwise it ends with its session.
      if (!this.#closed) this.#delete(url);
    }
  }

  stopListening() {
    this.#listening?.abort();
    this.#listening = null;
  }

  get isClosed() {
    return this.#closed;
  }

  /// Ends the session. The request outlives the page.
  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.stopListening();
    if (this.#url) this.#delete(this.#url);
  }

  #delete(url) {
    // The server notices by itself, only later, if this doesn't get through.
    void fetch(url, { method: 'DELETE', headers: this.#authorization(), keepalive: true }).catch(() => {});
  }

  #postJson(relation, value) {
    const url = new URL(this.#extensions.get(relation), this.#base).href;
    return this.#fetch(url, 'POST', { 'Content-Type': JSON_TYPE }, JSON.stringify(value));
  }

  async #fetch(url, method, headers, body) {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    try {
      return await fetch(url, { method, headers: { ...headers, ...this.#authorization() }, body, signal });
    } catch (cause) {
      throw new HttpProblem(0, { cause });
    }
  }

  #authorization() {
    return this.#token ? { Authorization: `Bearer ${this.#token}` } : {};
  }
}

async function problemOf(response) {
  const seconds = Number(response.headers.get('Retry-After') ?? NaN);
  const body = await response.json().catch(() => ({}));
  return new HttpProblem(response.status, {
    detail: typeof body.detail === 'string' ? body.detail : '',
    retryAfterMs: Number.isFinite(seconds) ? seconds * 1000 : null,
  });
}

/// The links of a `Link` header (RFC 8288): {target, rel, …}, with their parameters.
function linksIn(header) {
  return [...header.matchAll(/<([^>]*)>((?:\s*;\s*[\w-]+=(?:"[^"]*"|[^\s,;]*))*)/g)].map(([, target, rest]) => {
    const values = [...rest.matchAll(/([\w-]+)=(?:"([^"]*)"|([^\s,;]*))/g)];
    return { ...Object.fromEntries(values.map(([, key, quoted, plain]) => [key, quoted ?? plain])), target };
  });
}

/// `<turn:…>; rel="ice-server"; username="…"; credential="…"` (RFC 9725 §4.6).
function iceServerOf({ target, username, credential }) {
  return { urls: target, ...(username && { username, credential }) };
}
