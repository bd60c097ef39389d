// The broadcast page: sends a camera or a screen, and a microphone, to a room by WHIP, and shows how that goes. What is
// captured is the business of local.js and devices.js; how the session stays connected is that of stream.js.
//
// Address: `/broadcast?room=standup`, and for tests and kiosks `name=Stage` (as others see it) and `autostart=1`.

import { canCapture, canShareScreen, openScreen } from './devices.js';
import { claimIdentity } from './identity.js';
import { copyLink, linksOf } from './links.js';
import { openWanted } from './lobby.js';
import { LocalMedia } from './local.js';
import { SoundMix } from './mix.js';
import { Announcer, Toasts, wordsFor } from './notices.js';
import { sentLines } from './overlay.js';
import { DevicePicker } from './picker.js';
import { StatsReader } from './stats.js';
import { exposeStream } from './support.js';
import { WhipClient } from './whip.js';

const TICK_MS = 1000;

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const room = query.get('room') ?? '';
const video = $('picture');
const local = new LocalMedia();
const stats = new StatsReader();
const toasts = new Toasts($('toasts'));
const announcer = new Announcer($('announcer'));
const picker = new DevicePicker({ microphone: $('microphone'), camera: $('camera') }, local);
let identity = '';
let client = null;
let screen = null; // the shared screen's MediaStreamTrack
let screenSound = null; // and its sound, where the browser gives it
let mix = null; // the microphone and that sound, while there is one
let source = 'camera';
let problem = null; // of the screen
let liveSince = null;
let overlay = false;

if (room) void start();
else location.replace('/');

async function start() {
  document.title = `${room} · broadcast`;
  $('room-name').textContent = room;
  $('link').value = linksOf(room).watch;
  $('screen-choice').hidden = !canShareScreen();
  exposeStream({
    get client() {
      return client;
    },
    video,
    stats,
  });
  identity = await claimIdentity(query.get('identity'));
  wire();
  setInterval(() => void tick(), TICK_MS);
  render();
  await openWanted(local, { audio: true, video: true });
  await picker.refresh();
  render();
  if (query.get('autostart') === '1') goLive();
}

function wire() {
  local.addEventListener('change', () => {
    mix?.set('microphone', local.microphone.track);
    void client?.replace('video', picture());
    void client?.replace('audio', sound());
    render();
  });
  for (const choice of document.querySelectorAll('input[name=source]')) {
    choice.addEventListener('change', () => void choose(choice.value));
  }
  $('go').addEventListener('click', () => (isLive() ? stop() : goLive()));
  $('toggle-microphone').addEventListener('click', () => void local.toggle('microphone'));
  $('toggle-overlay').addEventListener('click', toggleOverlay);
  $('copy-link').addEventListener('click', () => void copyLink($('link').value, 'Link copied. Send it to your viewers.', toasts, announcer));
  $('link').addEventListener('focus', () => $('link').select());
  document.addEventListener('keydown', onKey);
  window.addEventListener('online', () => client?.retryNow());
  // Viewers see at once that the page was closed.
  window.addEventListener('pagehide', stop);
}

/// What is sent as picture now, or null.
function picture() {
  return source === 'screen' ? screen : local.camera.track;
}

/// What is sent as sound, likewise.
function sound() {
  return mix ? mix.track : local.microphone.track;
}

async function choose(wanted) {
  problem = null;
  if (wanted === 'screen') {
    await shareScreen();
  } else {
    source = 'camera';
    dropScreen();
    if (!local.camera.track) await local.turn('camera', true);
  }
  for (const choice of document.querySelectorAll('input[name=source]')) choice.checked = choice.value === source;
  await Promise.all([client?.replace('video', picture()), client?.replace('audio', sound())]);
  render();
}

async function shareScreen() {
  try {
    const shared = await openScreen();
    if (!shared) return;
    dropScreen();
    screen = shared.video;
    source = 'screen';
    screen.addEventListener('ended', () => void choose('camera'));
    if (shared.audio) mixIn(shared.audio);
    if (local.camera.on) await local.turn('camera', false);
  } catch (error) {
    problem = error.code ?? 'screen_failed';
  }
}

/// What the screen plays is heard beside the microphone.
function mixIn(audio) {
  mix = new SoundMix();
  mix.set('screen', audio);
  mix.set('microphone', local.microphone.track);
  screenSound = audio;
}

function dropScreen() {
  for (const track of [screen, screenSound]) track?.stop();
  mix?.close();
  screen = screenSound = mix = null;
}

function isLive() {
  return client !== null && client.state !== 'failed' && client.state !== 'ended';
}

function goLive() {
  if (!picture() && !sound()) {
    problem = deviceProblem() ?? 'nothing_to_send';
    announcer.say(wordsFor(problem).title);
    render();
    return;
  }
  problem = null;
  const about = new URLSearchParams({ identity, name: query.get('name') ?? 'Broadcast' });
  if (source === 'screen') about.set('source', 'screen');
  client = new WhipClient({
    endpoint: `${linksOf(room).whip}?${about}`,
    // A section for each, even if there is nothing to send in it yet.
    audio: sound(),
    video: picture(),
  });
  client.addEventListener('change', () => {
    if (client.state === 'live') liveSince ??= performance.now();
    announce();
    render();
  });
  client.start();
  render();
}

function stop() {
  client?.stop();
  client = null;
  liveSince = null;
  render();
}

function announce() {
  const said = { live: 'You are live', reconnecting: 'Reconnecting', failed: 'The broadcast has stopped' }[client.state];
  if (said) announcer.say(said);
}

async function tick() {
  const { pc } = client ?? {};
  if (pc && pc.connectionState === 'connected') await stats.read(pc).catch(() => {});
  render();
}

function render() {
  const shown = video.srcObject?.getVideoTracks()[0] ?? null;
  if (shown !== picture()) video.srcObject = picture() ? new MediaStream([picture()]) : null;
  video.classList.toggle('is-mirrored', source === 'camera');
  $('empty').hidden = Boolean(picture());
  setText($('empty'), local.camera.busy ? 'Starting the camera…' : 'No picture');
  const state = client?.state ?? 'idle';
  $('status').dataset.state = state;
  setText($('status'), statusOf(state));
  $('go').textContent = isLive() ? 'Stop' : 'Go live';
  $('go').classList.toggle('is-live', isLive());
  $('camera').closest('.field').hidden = source === 'screen';
  $('screen-sound').hidden = source !== 'screen';
  setText($('screen-sound'), mix ? 'What the screen plays is sent with your voice.' : 'The screen comes without its sound: browsers give it for tabs, some for whole screens.');
  const { microphone } = local;
  const button = $('toggle-microphone');
  button.setAttribute('aria-pressed', String(microphone.on));
  button.setAttribute('aria-label', `${microphone.on ? 'Turn off' : 'Turn on'} microphone`);
  button.title = `${button.getAttribute('aria-label')} (M)`;
  button.disabled = microphone.busy || !canCapture();
  renderProblem();
  renderOverlay();
}

function statusOf(state) {
  if (state === 'live') return `Live ${clock(performance.now() - liveSince)}`;
  return { connecting: 'Connecting…', waiting: 'Waiting…', reconnecting: 'Reconnecting…', failed: 'Stopped', idle: 'Not live' }[state] ?? '';
}

/// What is wrong, the connection first.
function renderProblem() {
  const code = client?.problem ?? problem ?? deviceProblem();
  $('problem').hidden = !code;
  if (!code) return;
  const { title, body } = wordsFor(code === 'stream_refused' ? 'broadcast_refused' : code);
  setText($('problem-title'), title);
  setText($('problem-body'), client?.detail ? `${body} The server says: “${client.detail}”.` : body);
}

function deviceProblem() {
  if (!canCapture()) return 'insecure';
  return (source === 'camera' ? local.camera.problem : null) ?? local.microphone.problem;
}

function renderOverlay() {
  const shown = overlay && client?.state === 'live';
  $('overlay').hidden = !shown;
  if (!shown) return;
  const records = [...stats.outbound.values()];
  const pictures = records.find(([first]) => first.kind === 'video');
  const sounds = records.find(([first]) => first.kind === 'audio');
  setText($('overlay'), sentLines(pictures, sounds, stats.rttMs).join('\n'));
}

function toggleOverlay() {
  overlay = !overlay;
  $('toggle-overlay').setAttribute('aria-pressed', String(overlay));
  announcer.say(overlay ? 'Statistics shown' : 'Statistics hidden');
  void tick();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest('input, select, textarea')) return;
  const action = { m: () => void local.toggle('microphone'), o: toggleOverlay }[event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action();
}

/// `7:05`, `1:07:05`.
function clock(ms) {
  const seconds = Math.floor(ms / 1000);
  const two = (value) => String(value).padStart(2, '0');
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
