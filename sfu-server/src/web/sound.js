// Plays what is heard: one <audio> element per audio section. A browser may refuse to play before the person has
// touched the page; `blocked` tells, and `unlock` is called from that touch.

export class Speakers {
  blocked = false;
  #root;
  #elements = new Map(); // mid → HTMLAudioElement
  #changed;

  constructor(root, changed) {
    this.#root = root;
    this.#changed = changed;
  }

  /// `tracks`: mid → MediaStreamTrack, all that is to be heard.
  play(tracks) {
    for (const [mid, element] of this.#elements) {
      if (tracks.has(mid)) continue;
      element.srcObject = null;
      element.remove();
      this.#elements.delete(mid);
    }
    for (const [mid, track] of tracks) {
      const element = this.#elements.get(mid) ?? this.#newElement(mid);
      if (element.srcObject?.getAudioTracks()[0] === track) continue;
      element.srcObject = new MediaStream([track]);
      this.#start(element);
    }
  }

  unlock() {
    this.blocked = false;
    for (const element of this.#elements.values()) this.#start(element);
    this.#changed();
  }

  close() {
    this.play(new Map());
  }

  #newElement(mid) {
    const element = document.createElement('audio');
    element.autoplay = true;
    this.#elements.set(mid, element);
    this.#root.append(element);
    return element;
  }

  #start(element) {
    element.play().catch((error) => {
      if (error.name !== 'NotAllowedError' || this.blocked) return;
      this.blocked = true;
      this.#changed();
    });
  }
}
