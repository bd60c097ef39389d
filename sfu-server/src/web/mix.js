// Several sounds as one track: a microphone and what a shared screen plays. It owns no capture and knows nothing of where the
// mix goes.

export class SoundMix {
  #context = new AudioContext();
  #out = new MediaStreamAudioDestinationNode(this.#context);
  #sources = new Map(); // name → {track, node}

  /// The mix; it stays the same whatever is mixed.
  get track() {
    return this.#out.stream.getAudioTracks()[0];
  }

  /// Mixes a track in as `name`, in place of the one before; null takes it out. One that is off is silent in the mix, too.
  set(name, track) {
    const before = this.#sources.get(name);
    if ((before?.track ?? null) === track) return;
    before?.node.disconnect();
    this.#sources.delete(name);
    if (!track) return;
    const node = new MediaStreamAudioSourceNode(this.#context, { mediaStream: new MediaStream([track]) });
    node.connect(this.#out);
    this.#sources.set(name, { track, node });
    void this.#context.resume();
  }

  close() {
    void this.#context.close();
  }
}
