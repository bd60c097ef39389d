// A WHIP client (RFC 9725): sends one picture and one sound to an endpoint, any server's. How it stays connected is in
// stream.js.

import { addSender, encodingsFor, fitEncodings, withStartBitrate } from './encodings.js';
import { StreamClient } from './stream.js';

export class WhipClient extends StreamClient {
  #tracks; // {audio, video}: MediaStreamTrack, or null for a section that sends nothing yet
  #senders = new Map(); // kind → RTCRtpSender

  /// `options`: {endpoint, token, audio, video}. Whatever is undefined gets no section.
  constructor({ audio, video, ...options }) {
    super(options);
    this.#tracks = new Map(Object.entries({ audio, video }).filter(([, track]) => track !== undefined));
  }

  /// Sends another track, or nothing, without a new session.
  async replace(kind, track) {
    if (!this.#tracks.has(kind)) return;
    this.#tracks.set(kind, track);
    const sender = this.#senders.get(kind);
    if (!sender) return;
    if (kind === 'video') await fitEncodings(sender, 'broadcast', track);
    await sender.replaceTrack(track);
  }

  async negotiate(pc, resource) {
    // What shares a stream is played in step.
    const streams = [new MediaStream()];
    for (const [kind, track] of this.#tracks) {
      const sendEncodings = kind === 'video' ? encodingsFor('broadcast', track) : undefined;
      const { sender } = addSender(pc, track ?? kind, { direction: 'sendonly', streams, sendEncodings });
      this.#senders.set(kind, sender);
    }
    await pc.setLocalDescription();
    const { sdp } = await resource.post(pc.localDescription.sdp);
    if (pc.signalingState === 'closed') return;
    await pc.setRemoteDescription({ type: 'answer', sdp: withStartBitrate(sdp) });
  }
}
