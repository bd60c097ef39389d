// A WHEP client (draft-ietf-wish-whep): receives one picture and one sound from an endpoint, any server's. How it stays
// connected is in stream.js.

import { StreamClient } from './stream.js';

/// Further events: `track` (a received track is there or has changed).
export class WhepClient extends StreamClient {
  /// Received tracks of the present session.
  audio = null;
  video = null;

  async negotiate(pc, resource) {
    pc.ontrack = ({ track }) => {
      this[track.kind] = track;
      this.dispatchEvent(new Event('track'));
    };
    for (const kind of ['audio', 'video']) pc.addTransceiver(kind, { direction: 'recvonly' });
    await pc.setLocalDescription();
    const { sdp, offered } = await resource.post(pc.localDescription.sdp);
    if (pc.signalingState === 'closed') return;
    if (!offered) {
      await pc.setRemoteDescription({ type: 'answer', sdp });
      return;
    }
    await pc.setLocalDescription({ type: 'rollback' });
    // The server's sections get transceivers of their own; ours would be offered again with the next restart.
    for (const transceiver of pc.getTransceivers()) transceiver.stop();
    await pc.setRemoteDescription({ type: 'offer', sdp });
    await pc.setLocalDescription();
    await resource.answer(pc.localDescription.sdp);
  }
}
