// A WHEP client (draft-ietf-wish-whep): receives one picture and one sound from an endpoint, any server's; where the server has
// the extensions for it, hears which layers there are, and chooses one. How it stays connected is in stream.js.

import { StreamClient } from './stream.js';

const EVENTS = ['active', 'inactive', 'layers', 'viewercount'];
// After a lost event stream. What is told is of use, not of need: it needn't be back at once.
const LISTEN_AGAIN_MS = 3000;
/// What of a layer the server knows it by.
const NAMED_BY = ['mediaId', 'rid', 'encodingId', 'spatialLayerId'];

/// Further events: `track` (a received track is there or has changed), `told` (what the server tells is different).
export class WhepClient extends StreamClient {
  /// Received tracks of the present session.
  audio = null;
  video = null;
  /// Layers of the picture that arrive at the server, highest first, as its events describe them: {rid, width, height, …}, of
  /// which all may be missing. Empty where the server doesn't tell.
  layers = [];
  /// The layer that was asked for, in this session and those after it; null: the server's choice.
  chosen = null;
  /// Whether anybody is live, and how many watch; null where the server doesn't tell.
  active = null;
  viewers = null;
  #resource = null;
  #attentive = true;
  #listener = null; // whoever reads the events now

  async negotiate(pc, resource) {
    pc.ontrack = ({ track }) => {
      this[track.kind] = track;
      this.dispatchEvent(new Event('track'));
    };
    for (const kind of ['audio', 'video']) takeAllLayers(pc.addTransceiver(kind, { direction: 'recvonly' }));
    await pc.setLocalDescription();
    const { sdp, offered } = await resource.post(pc.localDescription.sdp);
    if (pc.signalingState === 'closed') return;
    if (offered) await answerOffer(pc, resource, sdp);
    else await pc.setRemoteDescription({ type: 'answer', sdp });
    this.#follow(resource);
  }

  /// Whether the server lets a layer be chosen.
  get canChoose() {
    return this.#resource?.hasLayers ?? false;
  }

  /// Asks for one of `layers`, or for the server's choice (null). Rejects when the server refuses.
  async choose(layer) {
    const before = this.chosen;
    this.chosen = layer;
    this.#told();
    try {
      await this.#resource.selectLayer(layer ? wishFor(layer) : {});
    } catch (error) {
      if (this.chosen === layer) this.chosen = before;
      this.#told();
      throw error;
    }
  }

  /// Whether a layer is the one that was asked for. Another publisher's may have other names at the same place.
  isChosen({ rid, encodingId, spatialLayerId }) {
    if (!this.chosen) return false;
    const { chosen } = this;
    if (spatialLayerId !== undefined && chosen.spatialLayerId !== undefined) return spatialLayerId === chosen.spatialLayerId;
    return (rid ?? encodingId) === (chosen.rid ?? chosen.encodingId);
  }

  /// Whether events are heard. A page that nobody looks at needs none, and a browser has few connections to a server.
  set attentive(attentive) {
    if (attentive === this.#attentive) return;
    this.#attentive = attentive;
    void this.#listen();
  }

  /// A new session: the one before told of itself only.
  #follow(resource) {
    this.#resource = resource;
    Object.assign(this, { layers: [], active: null, viewers: null });
    this.#told();
    if (this.chosen && this.canChoose) {
      resource.selectLayer(wishFor(this.chosen)).catch(() => {
        // It isn't there any more.
        this.chosen = null;
        this.#told();
      });
    }
    void this.#listen();
  }

  /// Begins anew: whoever has read until now ends.
  async #listen() {
    const resource = this.#resource;
    const listener = (this.#listener = {});
    resource?.stopListening();
    if (!resource?.hasEvents) return;
    while (listener === this.#listener && this.#attentive && !resource.isClosed) {
      try {
        await resource.listen(EVENTS, (name, data) => listener === this.#listener && this.#hear(name, data));
      } catch ({ status }) {
        // What the server refuses, or has ended, it won't give a moment later.
        if (status >= 400 && status < 500 && status !== 429) return;
      }
      await new Promise((resolve) => setTimeout(resolve, LISTEN_AGAIN_MS));
    }
  }

  #hear(name, text) {
    const data = parse(text);
    if (name === 'active' || name === 'inactive') this.active = name === 'active';
    if (name === 'viewercount' && Number.isInteger(data?.viewercount)) this.viewers = data.viewercount;
    if (name === 'layers') this.layers = layersIn(data);
    this.#told();
  }

  #told() {
    this.dispatchEvent(new Event('told'));
  }
}

/// The server took no offer of ours and made one.
async function answerOffer(pc, resource, sdp) {
  await pc.setLocalDescription({ type: 'rollback' });
  // The server's sections get transceivers of their own; ours would be offered again with the next restart.
  for (const transceiver of pc.getTransceivers()) transceiver.stop();
  await pc.setRemoteDescription({ type: 'offer', sdp });
  await pc.setLocalDescription();
  await resource.answer(pc.localDescription.sdp);
}

/// `{"1":[{…}, …]}`: the layers of each m-section, by its index.
function layersIn(data) {
  const sections = Object.entries(data ?? {}).filter(([, layers]) => Array.isArray(layers));
  const all = sections.flatMap(([mediaId, layers]) => layers.map((layer) => ({ ...layer, mediaId })));
  return all.filter(({ active }) => active !== false);
}

function wishFor(layer) {
  return Object.fromEntries(NAMED_BY.filter((key) => layer[key] !== undefined).map((key) => [key, layer[key]]));
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/// Asks for the extension that tells spatial layers apart: Chromium knows it, and without it can't show AV1 that has them.
function takeAllLayers(transceiver) {
  const extensions = transceiver.getHeaderExtensionsToNegotiate?.() ?? [];
  const descriptor = extensions.find(({ uri }) => uri.endsWith('#dependency-descriptor-rtp-header-extension'));
  if (!descriptor) return;
  descriptor.direction = 'sendrecv';
  transceiver.setHeaderExtensionsToNegotiate(extensions);
}
