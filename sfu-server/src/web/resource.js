// A WHIP or WHEP session as an HTTP resource (RFC 9725, draft-ietf-wish-whep): made by POST, restarted or answered by
// PATCH, ended by DELETE. It knows URLs and status codes; it knows no media and repeats nothing. Candidates aren't
// trickled: the server is ICE-lite and takes the addresses that our checks come from.

const TIMEOUT_MS = 10_000;
const SDP = 'application/sdp';
const FRAGMENT = 'application/trickle-ice-sdpfrag';

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
    this.iceServers = iceServersOf(response.headers.get('Link') ?? '');
    const body = await response.text();
    // Given up while the server was making it.
    if (this.#closed) this.#delete();
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

  /// Ends the session. The request outlives the page.
  close() {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#url) this.#delete();
  }

  #delete() {
    // The server notices by itself, only later, if this doesn't get through.
    void fetch(this.#url, { method: 'DELETE', headers: this.#authorization(), keepalive: true }).catch(() => {});
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

/// `<turn:…>; rel="ice-server"; username="…"; credential="…"`, one or several (RFC 9725 §4.6).
function iceServersOf(links) {
  return [...links.matchAll(/<([^>]*)>((?:\s*;\s*[\w-]+=(?:"[^"]*"|[^\s,;]*))*)/g)]
    .map(([, urls, rest]) => {
      const values = [...rest.matchAll(/([\w-]+)=(?:"([^"]*)"|([^\s,;]*))/g)];
      const { rel, username, credential } = Object.fromEntries(values.map(([, key, quoted, plain]) => [key, quoted ?? plain]));
      return { rel, server: { urls, ...(username && { username, credential }) } };
    })
    .filter(({ rel }) => rel === 'ice-server')
    .map(({ server }) => server);
}
