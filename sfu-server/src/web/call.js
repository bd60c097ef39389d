// The call on the screen: which tiles there are and what they show, the dock, the banner. It turns a Session's state
// into elements each time that state changes, and people's clicks into calls on Session and LocalMedia.

import { canShareScreen, openScreen } from './devices.js';
import { LayerPreferences } from './layers.js';
import { gridLayout, pairLayout, stageLayout } from './layout.js';
import { receivedLines, sentLines } from './overlay.js';
import { Speakers } from './sound.js';
import { StatsReader } from './stats.js';
import { Tile } from './tile.js';

const TICK_MS = 1000;
const RENDER_SPACING_MS = 50;

/// Events: `leave` (the person wants out).
export class CallView extends EventTarget {
  tiles = new Map(); // key → Tile
  stats = new StatsReader();
  firstFrames = new Map(); // track id → performance.now() of its first picture
  overlay = false;
  pinned = null;

  #page;
  #session;
  #local;
  #toasts;
  #announcer;
  #speakers;
  #layers;
  #timer = 0;
  #queued = false;
  #rendered = -Infinity; // when
  #stageSize = { width: 0, height: 0 };
  #scrollTop = 0;
  #stripPage = 0;
  #shape = ''; // what the places of the tiles were computed from
  #known = null; // participant ids at the last render, for announcements
  #shared = null; // the screen: {video, audio}
  #sync = Promise.resolve();
  #closing = new AbortController();

  /// `page`: the elements by name. See conference.js.
  constructor({ page, session, local, toasts, announcer }) {
    super();
    this.#page = page;
    this.#session = session;
    this.#local = local;
    this.#toasts = toasts;
    this.#announcer = announcer;
    this.#layers = new LayerPreferences((track, layer, paused) => session.prefer(track, layer, paused));
    this.#speakers = new Speakers(page.sounds, () => this.#render());
    this.#listen();
    this.#timer = setInterval(() => void this.#tick(), TICK_MS);
    this.#render();
  }

  close() {
    this.#closing.abort();
    clearInterval(this.#timer);
    this.#stopScreen();
    for (const tile of this.tiles.values()) tile.remove();
    this.tiles.clear();
    this.#speakers.close();
  }

  toggleOverlay() {
    this.overlay = !this.overlay;
    this.#page.overlayButton.setAttribute('aria-pressed', String(this.overlay));
    this.#announcer.say(this.overlay ? 'Statistics shown' : 'Statistics hidden');
    void this.#tick();
  }

  /// From a touch: lets the sound out that the browser held back.
  unlockSound() {
    this.#speakers.unlock();
  }

  /// The strip beside an enlarged picture: forwards (1) or back (−1) by as many people as it has room for.
  turnPage(by) {
    this.#stripPage = Math.max(0, this.#stripPage + by);
    this.#arrange();
  }

  pin(key) {
    this.pinned = this.pinned === key ? null : key;
    this.#render();
  }

  async toggleScreen() {
    if (this.#shared) {
      this.#stopScreen();
      return;
    }
    if (!canShareScreen()) return;
    try {
      const shared = await openScreen();
      if (!shared || this.#closing.signal.aborted) return;
      this.#shared = shared;
      shared.video.addEventListener('ended', () => this.#stopScreen());
      await this.#session.publish('screen', shared.video);
      if (shared.audio) await this.#session.publish('screen_audio', shared.audio);
      this.#announcer.say('You share your screen');
    } catch (error) {
      this.#toasts.problem(error.code ?? 'screen_failed');
    }
    this.#render();
  }

  #stopScreen() {
    const shared = this.#shared;
    if (!shared) return;
    this.#shared = null;
    shared.video.stop();
    shared.audio?.stop();
    if (this.#session.state !== 'ended') {
      void this.#session.unpublish('screen');
      if (shared.audio) void this.#session.unpublish('screen_audio');
      this.#announcer.say('You stopped sharing');
    }
    this.#render();
  }

  /// The room doesn't take what this browser would send: nobody would see or hear it.
  #unwanted(source) {
    this.#toasts.problem(`${source}_unwanted`);
    if (source === 'screen') this.#stopScreen();
  }

  #listen() {
    const { signal } = this.#closing;
    const later = () => this.#queueRender();
    this.#session.addEventListener('change', later, { signal });
    this.#session.addEventListener('unwanted', ({ detail }) => this.#unwanted(detail), { signal });
    this.#local.addEventListener('change', () => this.#syncLocal(), { signal });
    document.addEventListener('visibilitychange', later, { signal });
    new ResizeObserver(([{ contentRect }]) => {
      if (signal.aborted) return;
      this.#stageSize = { width: contentRect.width, height: contentRect.height };
      this.#arrange();
    }).observe(this.#page.stage);
    const scrolled = () => {
      this.#scrollTop = this.#page.stage.scrollTop;
      this.#tellPreferences();
    };
    this.#page.stage.addEventListener('scroll', scrolled, { signal, passive: true });
  }

  /// Many messages arrive together; they become one render, and a storm of them twenty a second. Not in an animation
  /// frame: a hidden page has none, but its sound goes on.
  #queueRender() {
    if (this.#queued) return;
    this.#queued = true;
    const render = () => {
      this.#queued = false;
      if (!this.#closing.signal.aborted) this.#render();
    };
    const wait = this.#rendered + RENDER_SPACING_MS - performance.now();
    if (wait > 0) setTimeout(render, wait);
    else queueMicrotask(render);
  }

  /// Brings what is published in line with what is captured, one change at a time.
  #syncLocal() {
    this.#sync = this.#sync.then(async () => {
      for (const source of ['microphone', 'camera']) {
        const { track, on, busy } = this.#local[source];
        if (busy || this.#session.state === 'ended') continue;
        if (!this.#session.hasSource(source)) {
          if (track) await this.#session.publish(source, track, { muted: !on });
        } else if (this.#session.isMuted(source) === on || this.#session.localTrack(source) !== track) {
          await this.#session.setMuted(source, !on, track);
        }
      }
    });
    this.#queueRender();
  }

  #render() {
    if (this.#closing.signal.aborted) return;
    this.#rendered = performance.now();
    this.#announce();
    const wanted = this.#wantedTiles();
    for (const [key, tile] of this.tiles) {
      if (wanted.some((entry) => entry.key === key)) continue;
      tile.remove();
      this.tiles.delete(key);
    }
    for (const entry of wanted) {
      const tile = this.tiles.get(entry.key) ?? this.#newTile(entry);
      tile.trackId = entry.trackId;
      tile.audioId = entry.audioId;
      tile.setTrack(entry.track);
      tile.show(entry);
    }
    if (this.pinned && !this.tiles.has(this.pinned)) this.pinned = null;
    this.#speakers.play(this.#audioTracks());
    this.#renderChrome();
    this.#arrange();
  }

  #newTile(entry) {
    const tile = new Tile(entry.key, entry);
    tile.addEventListener('pin', () => this.pin(entry.key));
    tile.addEventListener('frame', ({ detail }) => {
      if (tile.trackId && !this.firstFrames.has(tile.trackId)) this.firstFrames.set(tile.trackId, detail.now);
    });
    this.tiles.set(entry.key, tile);
    this.#page.stage.append(tile.element);
    return tile;
  }

  /// One entry per tile, others first in the order in which they came, screens before cameras, oneself last.
  #wantedTiles() {
    const { room, peer } = this.#session;
    const screens = [];
    const people = [];
    for (const person of room.participants.values()) {
      const common = { name: person.name, identity: person.identity ?? person.id, state: person.state };
      const speaking = room.speakers.includes(person.id);
      const screen = room.trackOf(person.id, 'screen');
      if (screen) {
        const view = { ...common, name: `${person.name}’s screen`, muted: false, speaking: false };
        screens.push({ ...view, ...this.#received(screen, peer), key: `${person.id}:screen`, screen: true });
      }
      const camera = room.trackOf(person.id, 'camera');
      const microphone = room.trackOf(person.id, 'microphone');
      const muted = !microphone || microphone.muted;
      const received = this.#received(camera, peer);
      people.push({ ...common, ...received, key: person.id, muted, speaking: speaking && !muted, audioId: microphone?.id });
    }
    if (this.#shared) screens.push(this.#ownScreen());
    const entries = [...screens, ...people, this.#ownTile()];
    return entries.map((entry) => ({ ...entry, pinned: this.pinned === entry.key }));
  }

  #received(track, peer) {
    if (!track) return { track: null, showVideo: false };
    const slot = this.#session.room.slotOf(track.id);
    const received = slot ? (peer?.receivedTrack(slot.mid) ?? null) : null;
    const layer = this.#session.room.layerOf(track.id);
    const empty = !track.muted && layer?.layer === null ? layer.reason : undefined;
    // What never decodes would be a black picture.
    const showVideo = !track.muted && received !== null && empty !== 'unsupported';
    return { track: received, trackId: track.id, showVideo, empty };
  }

  #ownTile() {
    const { microphone, camera } = this.#local;
    const self = this.#session.room.self;
    return {
      key: 'self',
      local: true,
      name: `${this.#page.ownName} (you)`,
      identity: self?.identity ?? this.#page.ownIdentity,
      state: 'connected',
      track: camera.track,
      showVideo: camera.on && Boolean(camera.track),
      muted: !microphone.on,
      speaking: microphone.on && this.#session.room.speakers.includes(self?.id),
      empty: camera.on && this.#session.isUnwanted('camera') ? 'unseen' : undefined,
    };
  }

  #ownScreen() {
    const { video } = this.#shared;
    const name = 'Your screen';
    return { key: 'self:screen', local: true, screen: true, name, identity: name, track: video, showVideo: true };
  }

  #audioTracks() {
    const { room, peer } = this.#session;
    const tracks = new Map();
    for (const slot of room.slots) {
      if (slot.kind !== 'audio' || !slot.track) continue;
      const track = peer?.receivedTrack(slot.mid);
      if (track) tracks.set(slot.mid, track);
    }
    return tracks;
  }

  /// Places the tiles, if anything has changed that a place depends on.
  #arrange() {
    const { stage } = this.#page;
    const { width, height } = this.#stageSize;
    if (width === 0 || this.#closing.signal.aborted) return;
    const tiles = [...this.tiles.values()].sort((a, b) => this.#order(a) - this.#order(b));
    const staged = this.#stagedTile();
    const shape = [width, height, staged?.key, this.#stripPage, ...tiles.map((tile) => tile.key)].join(' ');
    if (shape === this.#shape) return this.#tellPreferences();
    this.#shape = shape;
    let layout;
    if (staged) {
      tiles.splice(tiles.indexOf(staged), 1);
      tiles.unshift(staged);
      layout = stageLayout(tiles.length - 1, width, height, this.#stripPage);
      this.#stripPage = layout.page;
    } else if (tiles.length === 2) {
      layout = pairLayout(width, height);
    } else {
      layout = gridLayout(tiles.length, width, height);
    }
    stage.dataset.mode = staged ? 'stage' : tiles.length === 2 ? 'pair' : 'grid';
    stage.classList.toggle('scrolls', layout.contentHeight > height + 1);
    tiles.forEach((tile, index) => {
      tile.staged = tile === staged || (tiles.length === 2 && index === 0);
      tile.place(layout.rects[index]);
    });
    this.#placePager(layout);
    this.#tellPreferences();
  }

  /// The buttons that turn the strip's pages, where the strip has more than one.
  #placePager({ page, pages = 1, pager }) {
    const { element, text, previous, next } = this.#page.pager;
    element.hidden = pages < 2;
    if (pages < 2) return;
    const { style } = element;
    style.transform = `translate(${Math.round(pager.x)}px, ${Math.round(pager.y)}px)`;
    style.width = `${Math.floor(pager.width)}px`;
    style.height = `${Math.floor(pager.height)}px`;
    element.classList.toggle('is-upright', pager.height > pager.width);
    text.textContent = `${page + 1} / ${pages}`;
    text.setAttribute('aria-label', `Page ${page + 1} of ${pages}`);
    previous.disabled = page === 0;
    next.disabled = page === pages - 1;
  }

  #order(tile) {
    return tile.key === 'self' ? 1e6 : [...this.tiles.keys()].indexOf(tile.key);
  }

  #stagedTile() {
    if (this.pinned) return this.tiles.get(this.pinned);
    return [...this.tiles.values()].filter((tile) => tile.screen && !tile.local).at(-1);
  }

  #tellPreferences() {
    const top = this.#scrollTop;
    const bottom = top + this.#stageSize.height;
    const now = performance.now();
    for (const tile of this.tiles.values()) {
      const { rect } = tile;
      // One row beyond the edge counts as seen, so that scrolling finds pictures and not holes.
      const margin = rect ? rect.height : 0;
      const inView = rect && rect.y + rect.height > top - margin && rect.y < bottom + margin;
      tile.visible = Boolean(inView) && !document.hidden;
      if (tile.local || !tile.trackId) continue;
      const layer = this.#session.room.layerOf(tile.trackId)?.layer ?? null;
      this.#layers.update(
        {
          track: tile.trackId,
          widthPx: (rect?.width ?? 0) * devicePixelRatio,
          visible: tile.visible,
          staged: tile.staged,
          observed: layer === null ? null : { layer, width: tile.video.videoWidth },
        },
        now,
      );
    }
    this.#layers.retain((track) => this.#session.room.slotOf(track));
  }

  async #tick() {
    this.#renderBanner();
    const pc = this.#session.peer?.pc;
    if (!pc || pc.signalingState === 'closed') return;
    await this.stats.read(pc).catch(() => {});
    if (this.#closing.signal.aborted) return;
    for (const tile of this.tiles.values()) tile.setOverlay(this.overlay ? this.#linesFor(tile) : []);
    this.#tellPreferences();
  }

  #linesFor(tile) {
    const { room, peer } = this.#session;
    const { inbound, outbound, rttMs } = this.stats;
    const sent = (source) => outbound.get(peer?.midOf(source));
    if (tile.local) return sentLines(sent(tile.screen ? 'screen' : 'camera'), tile.screen ? null : sent('microphone'), rttMs);
    const video = inbound.get(room.slotOf(tile.trackId)?.mid);
    const audio = inbound.get(room.slotOf(tile.audioId)?.mid);
    return receivedLines(video, audio, room.layerOf(tile.trackId), rttMs);
  }

  #renderChrome() {
    const { participants } = this.#session.room;
    const people = participants.size + 1;
    this.#page.count.textContent = people === 1 ? 'Only you' : `${people} people`;
    this.#page.alone.hidden = participants.size > 0 || this.#session.state !== 'joined' || Boolean(this.#shared);
    setToggle(this.#page.microphoneButton, this.#local.microphone, 'microphone', 'M');
    setToggle(this.#page.cameraButton, this.#local.camera, 'camera', 'V');
    const { screenButton } = this.#page;
    screenButton.hidden = !canShareScreen();
    screenButton.setAttribute('aria-pressed', String(Boolean(this.#shared)));
    screenButton.setAttribute('aria-label', this.#shared ? 'Stop sharing your screen' : 'Share your screen');
    this.#page.unlock.hidden = !this.#speakers.blocked;
    this.#renderBanner();
  }

  #renderBanner() {
    const { state, peer, retryAt } = this.#session;
    this.#page.banner.show(bannerText(state, peer?.pc.connectionState, retryAt, this.#session.timings.connected));
  }

  #announce() {
    const { participants } = this.#session.room;
    const before = this.#known;
    if (this.#session.state !== 'joined') return;
    this.#known = new Map([...participants].map(([id, { name }]) => [id, name]));
    if (!before) return;
    for (const [id, name] of this.#known) if (!before.has(id)) this.#tell(`${name} joined`);
    for (const [id, name] of before) if (!this.#known.has(id)) this.#tell(`${name} left`);
  }

  #tell(text) {
    this.#announcer.say(text);
    if (this.#session.room.participants.size <= 12) this.#toasts.show(text, { ms: 2500 });
  }
}

function bannerText(state, media, retryAt, everConnected) {
  if (!navigator.onLine && state !== 'ended') return 'You’re offline. The call goes on when the network is back.';
  if (state === 'joining') return retryAt === null ? 'Joining…' : 'The server doesn’t answer. Trying again…';
  if (state === 'reconnecting') {
    const seconds = Math.max(0, Math.ceil((retryAt - performance.now()) / 1000));
    return seconds > 1 ? `Connection to the server lost. Trying again in ${seconds} s…` : 'Connection to the server lost. Trying again…';
  }
  if (state !== 'joined') return '';
  if (media === 'disconnected' || media === 'failed') return 'Sound and picture are interrupted. Reconnecting…';
  if (media === 'connecting' && everConnected === null) return 'Connecting sound and picture…';
  return '';
}

function setToggle(button, { on, busy, problem }, noun, key) {
  const verb = on ? 'Turn off' : 'Turn on';
  button.setAttribute('aria-pressed', String(on));
  button.setAttribute('aria-label', `${verb} ${noun}`);
  button.title = `${verb} ${noun} (${key})`;
  button.disabled = busy;
  button.classList.toggle('has-problem', Boolean(problem));
}
