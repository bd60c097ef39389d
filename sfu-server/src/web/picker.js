// Two drop-down lists, microphone and camera, kept in step with what is plugged in. Used by the lobby and by the
// settings dialog of a call.

import { listDevices } from './devices.js';

export class DevicePicker {
  #selects;
  #local;

  constructor({ microphone, camera }, local) {
    this.#selects = { microphone, camera };
    this.#local = local;
    for (const [source, select] of Object.entries(this.#selects)) {
      select.addEventListener('change', () => void local.choose(source, select.value));
    }
    navigator.mediaDevices?.addEventListener?.('devicechange', () => void this.refresh());
  }

  async refresh() {
    const { microphones, cameras } = await listDevices();
    this.#fill('microphone', microphones, 'No microphone');
    this.#fill('camera', cameras, 'No camera');
  }

  #fill(source, devices, none) {
    const select = this.#selects[source];
    const { track, deviceId } = this.#local[source];
    const current = track?.getSettings().deviceId ?? deviceId;
    const options = devices.map(({ id, label }) => new Option(label, id, false, id === current));
    select.replaceChildren(...(options.length ? options : [new Option(none, '')]));
    select.disabled = options.length === 0;
  }
}
