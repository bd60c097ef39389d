// The WebSocket to the server: opens it, keeps it alive with pings, and opens it again with exponential backoff
// when it is lost. It knows nothing of rooms or media: it hands over parsed messages in the order of arrival.

const BACKOFF_MS = [250, 500, 1000, 2000, 4000, 8000];
const OPEN_TIMEOUT_MS = 6000;
const PING_EVERY_MS = 4000;
// Two pings unanswered: the connection is dead even if TCP has not noticed yet.
const SILENCE_MS = 9000;

/// Events: `open`, `message` (detail: the object), `lost` (detail: {attempt, retryInMs}).
export class Signal extends EventTarget {
  #url;
  #socket = null;
  #attempt = 0;
  #retryTimer = 0;
  #pingTimer = 0;
  #openTimer = 0;
  #lastHeard = 0;
  #stopped = true;

  constructor(url) {
    super();
    this.#url = url;
  }

  start() {
    this.#stopped = false;
    this.#attempt = 0;
    this.#open();
  }

  /// Ends it for good; nothing is retried.
  stop() {
    this.#stopped = true;
    clearTimeout(this.#retryTimer);
    this.#drop();
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /// Whether the message was handed to an open socket.
  send(message) {
    if (!this.isOpen) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /// A join was answered: the next loss starts the backoff from its beginning.
  settled() {
    this.#attempt = 0;
  }

  /// The network is back, or a person is impatient: don't wait for the backoff.
  retryNow() {
    if (this.#stopped || this.isOpen) return;
    clearTimeout(this.#retryTimer);
    this.#drop();
    this.#open();
  }

  /// The connection is of no more use: close it and open another.
  reconnect() {
    if (this.#stopped) return;
    this.#drop();
    this.#retryLater();
  }

  /// Asks for a sign of life now; if none comes soon, the socket counts as lost.
  probe() {
    if (!this.isOpen) return;
    this.#lastHeard = Math.min(this.#lastHeard, performance.now() - SILENCE_MS + 2500);
    this.send({ type: 'ping' });
    setTimeout(() => this.#checkAlive(), 2600);
  }

  #open() {
    if (this.#stopped) return;
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    this.#openTimer = setTimeout(() => this.#lost(socket), OPEN_TIMEOUT_MS);
    socket.onopen = () => {
      if (socket !== this.#socket) return;
      clearTimeout(this.#openTimer);
      this.#lastHeard = performance.now();
      this.#pingTimer = setInterval(() => {
        this.send({ type: 'ping' });
        this.#checkAlive();
      }, PING_EVERY_MS);
      this.dispatchEvent(new Event('open'));
    };
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return;
      this.#lastHeard = performance.now();
      let message;
      try {
        message = JSON.parse(data);
      } catch {
        return;
      }
      if (message?.type === 'pong') return;
      this.dispatchEvent(new CustomEvent('message', { detail: message }));
    };
    socket.onclose = () => this.#lost(socket);
  }

  #checkAlive() {
    if (this.isOpen && performance.now() - this.#lastHeard > SILENCE_MS) this.#lost(this.#socket);
  }

  #lost(socket) {
    if (socket !== this.#socket || this.#stopped) return;
    this.#drop();
    this.#retryLater();
  }

  #retryLater() {
    const step = BACKOFF_MS[Math.min(this.#attempt, BACKOFF_MS.length - 1)];
    // Jitter, so that a restarted server isn't met by everybody in the same instant.
    const retryInMs = Math.round(step * (0.75 + Math.random() / 2));
    this.#attempt += 1;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#open(), retryInMs);
    this.dispatchEvent(new CustomEvent('lost', { detail: { attempt: this.#attempt, retryInMs } }));
  }

  #drop() {
    clearTimeout(this.#openTimer);
    clearInterval(this.#pingTimer);
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }
}
