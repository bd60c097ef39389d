// Data messages over one RTCPeerConnection: reliable text on a channel of its own, in the envelope of the protocol
// (docs/signaling-protocol.md, Data messages). It opens the channel again when the server has closed it; what the server
// opens itself is listened to as well. It knows no participants.

const VERSION = 1;
const REOPEN_MS = 1000;
/// What may wait in the browser before messages take the other way.
const BUFFERED_MAX = 256 * 1024;

/// Events: `data` (detail: {label, from, private, data}).
export class DataLink extends EventTarget {
  #pc;
  #label;
  #channel;
  #timer = 0;

  constructor(pc, label) {
    super();
    this.#pc = pc;
    this.#label = label;
    pc.ondatachannel = ({ channel }) => this.#listen(channel);
    this.#open();
  }

  /// Whether it left.
  send(data) {
    const channel = this.#channel;
    if (channel?.readyState !== 'open' || this.#pc.connectionState !== 'connected') return false;
    if (channel.bufferedAmount > BUFFERED_MAX) return false;
    channel.send(JSON.stringify({ v: VERSION, data }));
    return true;
  }

  close() {
    clearTimeout(this.#timer);
    this.#pc.ondatachannel = null;
  }

  #open() {
    if (this.#pc.signalingState === 'closed') return;
    const channel = this.#pc.createDataChannel(this.#label);
    this.#channel = channel;
    this.#listen(channel);
    channel.onclose = () => {
      this.#timer = setTimeout(() => this.#open(), REOPEN_MS);
    };
  }

  #listen(channel) {
    channel.onmessage = ({ data: text }) => {
      const message = parse(text);
      if (!message) return;
      const { from, data, private: isPrivate = false } = message;
      const detail = { label: channel.label, from, private: isPrivate, data };
      this.dispatchEvent(new CustomEvent('data', { detail }));
    };
  }
}

/// `null` for what isn't the envelope: binary, another version.
function parse(text) {
  try {
    const message = typeof text === 'string' ? JSON.parse(text) : null;
    return message?.v === VERSION ? message : null;
  } catch {
    return null;
  }
}
