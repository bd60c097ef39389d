// The watch page: shows what is live in a room, or what one participant of it sends, by WHEP. It waits until somebody is
// live, says what it waits for, and finds back by itself.
//
// Address: `/watch?room=standup`, and `participant=ann` to follow one identity.

import { copyLink, linksOf } from './links.js';
import { Announcer, Toasts, wordsFor } from './notices.js';
import { receivedLines } from './overlay.js';
import { QualityMenu } from './quality.js';
import { StatsReader } from './stats.js';
import { exposeStream } from './support.js';
import { WhepClient } from './whep.js';

const TICK_MS = 1000;
// Without a picture for this long, the page says so. The first one may take this long without a word.
const STALLED_MS = 3000;
const STARTING_MS = 1500;

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const room = query.get('room') ?? '';
const participant = query.get('participant');
const video = $('picture');
const stats = new StatsReader();
const toasts = new Toasts($('toasts'));
const announcer = new Announcer($('announcer'));
const endpoint = linksOf(room).whep + (participant ? `/${encodeURIComponent(participant)}` : '');
const client = new WhepClient({ endpoint });
const quality = new QualityMenu({
  root: $('quality'),
  button: $('quality-button'),
  text: $('quality-text'),
  list: $('quality-list'),
});
let overlay = false;
let liveSince = null; // when this session was connected, on performance.now()'s clock; so the next two
let lastPicture = null; // when a picture was shown last
let lastSound = null;

if (room) start();
else location.replace('/');

function start() {
  document.title = `${room} · watch`;
  $('room-name').textContent = room;
  exposeStream({ client, video, stats });
  client.addEventListener('change', () => {
    liveSince = client.state === 'live' ? (liveSince ?? performance.now()) : null;
    render();
  });
  client.addEventListener('track', play);
  client.addEventListener('told', render);
  wire();
  video.requestVideoFrameCallback?.(onPicture);
  setInterval(() => void tick(), TICK_MS);
  client.start();
  render();
}

function wire() {
  $('copy-link').addEventListener('click', () => void copyLink(location.href, 'Link copied. Send it to whoever should watch.', toasts, announcer));
  $('toggle-sound').addEventListener('click', toggleSound);
  $('unmute').addEventListener('click', toggleSound);
  $('toggle-overlay').addEventListener('click', toggleOverlay);
  $('toggle-fullscreen').addEventListener('click', () => void toggleFullscreen());
  $('toggle-fullscreen').hidden = !document.fullscreenEnabled && !video.webkitEnterFullscreen;
  $('screen').addEventListener('dblclick', () => void toggleFullscreen());
  $('again').addEventListener('click', () => client.start());
  quality.addEventListener('choose', ({ detail }) => void choose(detail));
  video.addEventListener('resize', render);
  document.addEventListener('visibilitychange', () => (client.attentive = !document.hidden));
  document.addEventListener('fullscreenchange', render);
  document.addEventListener('keydown', onKey);
  video.addEventListener('volumechange', render);
  window.addEventListener('online', () => client.retryNow());
  window.addEventListener('pagehide', () => client.stop());
  // Restored from the browser's memory: the session was ended on leaving.
  window.addEventListener('pageshow', ({ persisted }) => persisted && client.start());
}

/// Plays with sound if the browser lets us; else without, and offers to turn it on.
function play() {
  const tracks = [client.audio, client.video].filter((track) => track?.readyState === 'live');
  video.srcObject = new MediaStream(tracks);
  video.play().catch((error) => {
    if (error.name !== 'NotAllowedError') return;
    video.muted = true;
    void video.play().catch(() => {});
    render();
  });
}

function onPicture(now) {
  lastPicture = now;
  if (!$('card').hidden) render();
  video.requestVideoFrameCallback(onPicture);
}

async function tick() {
  const { pc } = client;
  if (pc && pc.connectionState === 'connected') {
    await stats.read(pc).catch(() => {});
    if (byKind('audio')?.bitrate > 0) lastSound = performance.now();
    // Without callbacks for pictures, decoded ones tell.
    if (!video.requestVideoFrameCallback && byKind('video')?.framesPerSecond > 0) lastPicture = performance.now();
  }
  render();
}

function byKind(kind) {
  return [...stats.inbound.values()].find((record) => record.kind === kind);
}

function render() {
  const view = viewOf(client, performance.now());
  const status = $('status');
  status.dataset.state = view.state;
  setText(status, view.status);
  $('card').hidden = !view.title;
  setText($('card-title'), view.title ?? '');
  setText($('card-body'), view.body ?? '');
  const over = client.state === 'failed' || client.state === 'ended';
  $('again').hidden = !over;
  $('pulse').hidden = over;
  video.classList.toggle('is-empty', lastPicture === null || client.video?.readyState !== 'live');
  video.classList.toggle('is-stopped', Boolean(view.title));
  $('unmute').hidden = !video.muted || client.state !== 'live' || Boolean(view.title);
  const sound = $('toggle-sound');
  sound.setAttribute('aria-pressed', String(!video.muted));
  sound.setAttribute('aria-label', video.muted ? 'Turn on the sound' : 'Turn off the sound');
  sound.title = `${sound.getAttribute('aria-label')} (M)`;
  $('toggle-fullscreen').setAttribute('aria-pressed', String(Boolean(document.fullscreenElement)));
  // Who watches alone knows.
  $('viewers').hidden = client.state !== 'live' || !(client.viewers > 1);
  setText($('viewer-count'), String(client.viewers));
  quality.show({
    layers: client.state === 'live' && client.canChoose ? client.layers : [],
    isChosen: (layer) => client.isChosen(layer),
    chosen: client.chosen,
    height: Math.min(video.videoWidth, video.videoHeight),
  });
  showOverlay();
}

/// What the page says: {state, status, title, body}. A title covers the picture.
function viewOf({ state, problem, detail }, now) {
  switch (state) {
    case 'live':
      return viewOfLive(now);
    case 'waiting':
      return {
        state,
        status: 'Waiting',
        title: 'Nobody is live just now',
        body: `Leave this page open: the picture starts by itself as soon as somebody broadcasts in “${room}”.`,
      };
    case 'reconnecting': {
      const { title, body } = wordsFor(problem ?? 'interrupted');
      return { state, status: 'Reconnecting…', title, body: detail || body };
    }
    case 'failed': {
      const { title, body } = wordsFor(problem);
      return { state, status: 'Stopped', title, body: detail ? `${body} The server says: “${detail}”.` : body };
    }
    case 'ended':
      return { state, status: 'Stopped', title: 'Stopped', body: '' };
    default:
      return { state, status: 'Connecting…', title: 'Connecting…', body: '' };
  }
}

function viewOfLive(now) {
  const silent = (since) => since === null || now - since > STALLED_MS;
  if (!silent(lastPicture)) return { state: 'live', status: 'Live' };
  if (now - liveSince < STARTING_MS) return { state: 'connecting', status: 'Connecting…', title: 'Connecting…', body: '' };
  const paused = { state: 'reconnecting', status: 'Paused' };
  if (client.active === false) {
    return { ...paused, title: 'The broadcast has stopped', body: 'The picture goes on by itself when it does.' };
  }
  // The server gets a picture and passes none on: it waits for one that doesn't build on others.
  if (client.layers.length > 0) {
    return {
      state: 'live',
      status: 'Live',
      title: 'The picture is about to start',
      body: 'It begins with the sender’s next complete picture, usually within a few seconds. If it doesn’t, this browser may lack its format.',
    };
  }
  if (!silent(lastSound)) return { state: 'live', status: 'Live', title: 'Sound only', body: 'There is no picture just now.' };
  return { ...paused, title: 'Nothing arrives just now', body: 'The picture goes on by itself when the broadcast does.' };
}

async function choose(layer) {
  try {
    await client.choose(layer);
  } catch {
    toasts.show('The server refuses this quality.', { tone: 'warn' });
  }
  announcer.say($('quality-button').getAttribute('aria-label'));
}

function showOverlay() {
  const shown = overlay && client.state === 'live';
  $('overlay').hidden = !shown;
  if (shown) setText($('overlay'), receivedLines(byKind('video'), byKind('audio'), null, stats.rttMs).join('\n'));
}

function toggleSound() {
  video.muted = !video.muted;
  void video.play().catch(() => {});
  announcer.say(video.muted ? 'Sound off' : 'Sound on');
  render();
}

function toggleOverlay() {
  overlay = !overlay;
  $('toggle-overlay').setAttribute('aria-pressed', String(overlay));
  announcer.say(overlay ? 'Statistics shown' : 'Statistics hidden');
  void tick();
}

async function toggleFullscreen() {
  try {
    if (document.fullscreenElement) await document.exitFullscreen();
    else if (document.fullscreenEnabled) await $('screen').requestFullscreen();
    else video.webkitEnterFullscreen?.();
  } catch {
    toasts.show('The browser refuses full screen here.');
  }
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest('input, select, textarea')) return;
  const action = { m: toggleSound, o: toggleOverlay, f: () => void toggleFullscreen(), q: () => document.fullscreenElement || quality.toggle() }[event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action();
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
