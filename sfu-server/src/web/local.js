// This person's microphone and camera: whether each is on, which device it is, what went wrong. It owns the captured
// tracks; it does not know where they are sent.

import { openCamera, openMicrophone } from './devices.js';

const REMEMBERED = { microphone: 'sfu.microphone', camera: 'sfu.camera' };
const OPEN = { microphone: openMicrophone, camera: openCamera };

/// Events: `change`; `problem` (detail: a code of notices.js).
export class LocalMedia extends EventTarget {
  microphone = newSource('microphone');
  camera = newSource('camera');

  /// Turns a source on or off. A microphone that is off keeps its track, silenced, so that it is back at once; a
  /// camera gives its track up, so that its light goes out.
  async turn(source, on) {
    const state = this[source];
    if (state.busy) return;
    if (on && !live(state.track)) {
      await this.#open(source, state.deviceId);
      return;
    }
    state.on = on;
    if (state.track) state.track.enabled = on;
    if (!on && source === 'camera') this.#drop(state);
    this.#changed();
  }

  toggle(source) {
    return this.turn(source, !this[source].on);
  }

  /// Takes another device; it is opened at once if the source is on.
  async choose(source, deviceId) {
    const state = this[source];
    state.deviceId = deviceId;
    remember(REMEMBERED[source], deviceId);
    if (state.on || state.problem) await this.#open(source, deviceId);
    else this.#drop(state);
  }

  stop() {
    for (const state of [this.microphone, this.camera]) {
      this.#drop(state);
      state.on = false;
    }
    this.#changed();
  }

  async #open(source, deviceId) {
    const state = this[source];
    state.busy = true;
    this.#changed();
    // Some systems don't open a camera twice: let the old one go first.
    this.#drop(state);
    try {
      const track = await OPEN[source](deviceId);
      track.addEventListener('ended', () => this.#ended(state, track));
      Object.assign(state, { track, on: true, problem: null });
    } catch (error) {
      Object.assign(state, { on: false, problem: error.code ?? `${source}_failed` });
      this.dispatchEvent(new CustomEvent('problem', { detail: state.problem }));
    }
    state.busy = false;
    this.#changed();
  }

  /// Unplugged, or taken back by the browser.
  #ended(state, track) {
    if (state.track !== track) return;
    Object.assign(state, { track: null, on: false, problem: `${state.source}_missing` });
    this.dispatchEvent(new CustomEvent('problem', { detail: state.problem }));
    this.#changed();
  }

  #drop(state) {
    state.track?.stop();
    state.track = null;
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }
}

/// Private windows may refuse storage; a choice is then forgotten, nothing else.
export function remember(key, value, storage = 'localStorage') {
  try {
    window[storage].setItem(key, value);
  } catch {
    // Nothing to do.
  }
}

export function recall(key, storage = 'localStorage') {
  try {
    return window[storage].getItem(key) ?? '';
  } catch {
    return '';
  }
}

function newSource(source) {
  return { source, on: false, track: null, busy: false, problem: null, deviceId: recall(REMEMBERED[source]) };
}

function live(track) {
  return track?.readyState === 'live';
}
