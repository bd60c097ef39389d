// The page before the call: name, room, a look in the mirror, devices, and what is wrong with them.

import { canCapture, meterLevel } from './devices.js';
import { suggestRoom } from './links.js';
import { wordsFor } from './notices.js';
import { DevicePicker } from './picker.js';

/// Events: `join` (detail: {room, name}).
export class Lobby extends EventTarget {
  #root;
  #local;
  #picker;
  #stopMeter = null;
  #metered = null;

  constructor(root, local) {
    super();
    this.#root = root;
    this.#local = local;
    this.#picker = new DevicePicker(
      { microphone: this.#find('lobby-microphone'), camera: this.#find('lobby-camera') },
      local,
    );
    this.#find('join-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#find('lobby-toggle-microphone').addEventListener('click', () => void local.toggle('microphone'));
    this.#find('lobby-toggle-camera').addEventListener('click', () => void local.toggle('camera'));
    local.addEventListener('change', () => this.#render());
  }

  /// Shows the lobby and asks for the devices that `want` names.
  async open({ room, name, want }) {
    this.#root.hidden = false;
    this.#find('name').value = name;
    this.#find('room').value = room || suggestRoom();
    const empty = name ? 'join-button' : 'name';
    this.#find(empty).focus({ preventScroll: true });
    this.#render();
    await openWanted(this.#local, want);
    await this.#picker.refresh();
  }

  close() {
    this.#root.hidden = true;
    this.#meter(null);
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }

  #submit() {
    const name = this.#find('name').value.trim();
    const room = this.#find('room').value.trim();
    if (!name || !room) return;
    this.dispatchEvent(new CustomEvent('join', { detail: { room, name } }));
  }

  #render() {
    if (this.#root.hidden) return;
    const { microphone, camera } = this.#local;
    const video = this.#find('preview');
    const shown = video.srcObject?.getVideoTracks()[0] ?? null;
    if (shown !== camera.track) video.srcObject = camera.track ? new MediaStream([camera.track]) : null;
    this.#find('preview-empty').hidden = Boolean(camera.track);
    this.#find('preview-empty').textContent = camera.busy ? 'Starting the camera…' : 'Camera is off';
    for (const [source, state] of Object.entries({ microphone, camera })) {
      const button = this.#find(`lobby-toggle-${source}`);
      button.setAttribute('aria-pressed', String(state.on));
      button.disabled = state.busy || !canCapture();
      const verb = state.on ? 'Turn off' : 'Turn on';
      button.setAttribute('aria-label', `${verb} ${source}`);
      button.title = `${verb} ${source}`;
    }
    this.#meter(microphone.on ? microphone.track : null);
    this.#renderProblem(microphone.problem, camera.problem);
  }

  #renderProblem(microphone, camera) {
    const code = canCapture() ? (camera ?? microphone) : 'insecure';
    const box = this.#find('lobby-problem');
    box.hidden = !code;
    if (code) {
      const { title, body } = wordsFor(code);
      this.#find('lobby-problem-title').textContent = title;
      this.#find('lobby-problem-body').textContent = body;
    }
    const nothing = !this.#local.microphone.track && !this.#local.camera.track;
    this.#find('join-button').textContent = nothing ? 'Join to watch and listen' : 'Join the call';
  }

  #meter(track) {
    if (track === this.#metered) return;
    this.#metered = track;
    this.#stopMeter?.();
    this.#stopMeter = null;
    const meter = this.#find('level');
    meter.style.setProperty('--level', '0');
    if (!track) return;
    this.#stopMeter = meterLevel(track, (level) => meter.style.setProperty('--level', level.toFixed(3)));
  }
}

/// Opens what is wanted, one after the other: browsers ask for one permission at a time.
export async function openWanted(local, want) {
  if (!canCapture()) return;
  await Promise.all([
    want.audio ? local.turn('microphone', true) : null,
    want.video ? local.turn('camera', true) : null,
  ]);
}
