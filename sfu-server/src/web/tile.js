// One rectangle of the call: a person's picture or avatar, or a shared screen, with name, badges and the overlay of
// numbers. It shows what it is given and knows neither the room nor the connection.

const WHY_EMPTY = {
  keyframe: 'starting…',
  no_source: 'waiting…',
  silent: 'no picture arrives',
  unsupported: 'this browser can’t play this video format',
  unseen: 'the others can’t see you',
};

/// Events: `pin` (the person wants it large, or back), `frame` (its first picture was shown).
export class Tile extends EventTarget {
  element = document.createElement('article');
  video = document.createElement('video');
  key;
  visible = true;
  rect = null;
  track = null;
  #parts = {};
  #shown = ''; // the view that the elements show
  #label = '';

  constructor(key, { local = false, screen = false }) {
    super();
    this.key = key;
    this.local = local;
    this.screen = screen;
    this.element.className = 'tile';
    this.element.tabIndex = 0;
    this.element.classList.toggle('is-local', local && !screen);
    this.element.classList.toggle('is-screen', screen);
    this.video.autoplay = true;
    this.video.playsInline = true;
    // Sound comes out of its own elements, so that no picture waits for a permission to be loud.
    this.video.muted = true;
    this.video.disablePictureInPicture = true;
    this.video.setAttribute('aria-hidden', 'true');
    this.#build();
  }

  /// `view`: {name, identity, muted, showVideo, state, speaking, pinned, empty}.
  show(view) {
    const { name: called, identity, muted: silent, showVideo, state, speaking, pinned, empty } = view;
    const shown = [called, identity, silent, showVideo, state, speaking, pinned, empty].join('\n');
    if (shown === this.#shown) return;
    this.#shown = shown;
    const { element } = this;
    element.classList.toggle('has-video', view.showVideo);
    element.classList.toggle('is-speaking', view.speaking);
    element.classList.toggle('is-pinned', view.pinned);
    element.classList.toggle('is-away', view.state === 'reconnecting');
    const { name, avatar, muted, badge, pin } = this.#parts;
    setText(name, view.name);
    setText(avatar, initials(view.name));
    element.style.setProperty('--hue', String(hueOf(view.identity)));
    // SVG elements have no `hidden` property, only the attribute.
    muted.toggleAttribute('hidden', !view.muted);
    const reason = view.state === 'reconnecting' ? 'reconnecting…' : (WHY_EMPTY[view.empty] ?? '');
    setText(badge, reason);
    badge.hidden = !reason;
    pin.setAttribute('aria-pressed', String(view.pinned));
    this.#describe(view, reason);
  }

  /// Shows a MediaStreamTrack, or nothing. The first picture after a change raises `frame`.
  setTrack(track) {
    if (this.track === track) return;
    this.track = track;
    this.video.srcObject = track ? new MediaStream([track]) : null;
    if (!track) return;
    void this.video.play().catch(() => {});
    this.video.requestVideoFrameCallback?.((now, frame) => {
      if (this.track === track) this.dispatchEvent(new CustomEvent('frame', { detail: { now, frame } }));
    });
  }

  /// `null` takes the tile off the page without stopping it.
  place(rect) {
    this.rect = rect;
    this.element.classList.toggle('is-hidden', rect === null);
    if (!rect) return;
    const { style } = this.element;
    style.transform = `translate(${Math.round(rect.x)}px, ${Math.round(rect.y)}px)`;
    style.width = `${Math.floor(rect.width)}px`;
    style.height = `${Math.floor(rect.height)}px`;
    this.element.classList.toggle('is-small', rect.width < 220 || rect.height < 130);
  }

  /// Lines of text for the overlay; none hides it.
  setOverlay(lines) {
    const { overlay } = this.#parts;
    overlay.hidden = lines.length === 0;
    setText(overlay, lines.join('\n'));
  }

  remove() {
    this.setTrack(null);
    this.element.remove();
  }

  #build() {
    const make = (tag, className) => Object.assign(document.createElement(tag), { className });
    const avatar = make('div', 'tile-avatar');
    const caption = make('div', 'tile-caption');
    const muted = icon('mic-off', 'tile-muted');
    const name = make('span', 'tile-name');
    const badge = make('div', 'tile-badge');
    const overlay = make('pre', 'overlay');
    const pin = make('button', 'tile-pin');
    pin.type = 'button';
    pin.title = 'Enlarge';
    pin.setAttribute('aria-label', 'Enlarge this tile');
    pin.append(icon('pin'));
    pin.addEventListener('click', () => this.dispatchEvent(new Event('pin')));
    this.element.addEventListener('dblclick', () => this.dispatchEvent(new Event('pin')));
    this.element.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && event.target === this.element) this.dispatchEvent(new Event('pin'));
    });
    avatar.setAttribute('aria-hidden', 'true');
    overlay.setAttribute('aria-hidden', 'true');
    overlay.hidden = true;
    caption.append(muted, name);
    this.element.append(this.video, avatar, badge, caption, pin, overlay);
    this.#parts = { avatar, name, muted, badge, overlay, pin };
  }

  #describe(view, reason) {
    const words = [view.name];
    if (this.screen) words.push('shared screen');
    else if (!view.showVideo) words.push('camera off');
    if (view.muted) words.push('muted');
    if (view.speaking) words.push('speaking');
    if (reason) words.push(reason);
    const label = words.join(', ');
    if (label === this.#label) return;
    this.#label = label;
    this.element.setAttribute('aria-label', label);
  }
}

/// An icon of icons.svg.
export function icon(name, className = '') {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('class', `icon ${className}`);
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `/assets/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

function initials(name) {
  const words = name.split(/\s+/u).filter((word) => /^[\p{L}\p{N}]/u.test(word));
  const letters = words.length > 1 ? [words[0], words.at(-1)] : words;
  return letters.map((word) => [...word][0].toLocaleUpperCase()).join('') || '?';
}

/// The same person has the same colour on every screen.
function hueOf(identity) {
  let hash = 0;
  for (const letter of identity) hash = (hash * 31 + letter.codePointAt(0)) >>> 0;
  return (hash * 137) % 360;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
