// The conference page's entry point: which of the three views is shown (lobby, call, ended), what the address asks for,
// the keyboard, and the read-only `window.sfu`.
//
// Address: `/room/standup` or `/conference?room=standup`, and for tests and kiosks
//   name=Ann        prefilled name            identity=ann   who one is to the server (default: one per tab)
//   autojoin=1      no lobby                  video=0|1, audio=0|1   what is captured (default 1)

import { CallView } from './call.js';
import { Chat } from './chat.js';
import { claimIdentity } from './identity.js';
import { copyLink, linksOf } from './links.js';
import { Lobby, openWanted } from './lobby.js';
import { LocalMedia, recall, remember } from './local.js';
import { Announcer, Banner, Toasts, wordsFor } from './notices.js';
import { DevicePicker } from './picker.js';
import { Session } from './session.js';
import { exposeForTests } from './support.js';

const $ = (id) => document.getElementById(id);
const asked = readAddress();
const local = new LocalMedia();
const toasts = new Toasts($('toasts'));
const announcer = new Announcer($('announcer'));
const lobby = new Lobby($('lobby'), local);
const settingsPicker = new DevicePicker(
  { microphone: $('settings-microphone'), camera: $('settings-camera') },
  local,
);
let identity = '';
let session = null;
let call = null;
let chat = null;

exposeForTests({ session: () => session, call: () => call, chat: () => chat, local });
void start();

async function start() {
  identity = await claimIdentity(asked.identity);
  lobby.addEventListener('join', ({ detail }) => join(detail));
  local.addEventListener('problem', ({ detail }) => {
    if (call) toasts.problem(detail);
  });
  wireDock();
  wireDialogs();
  document.addEventListener('keydown', onKey);
  window.addEventListener('online', () => session?.networkReturned());
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) session?.networkReturned();
  });
  // Others see at once that somebody closed the tab, not when the resume time is over.
  window.addEventListener('pagehide', () => session?.leave());
  if (asked.autojoin && asked.room) void autojoin();
  else openLobby();
}

async function autojoin() {
  await openWanted(local, asked);
  join({ room: asked.room, name: asked.name || 'Guest' });
}

function openLobby() {
  setTitle(asked.room);
  void lobby.open({ room: asked.room, name: asked.name || recall('sfu.name'), want: asked });
}

function join({ room, name }) {
  asked.room = room;
  asked.name = name;
  remember('sfu.name', name);
  if (!asked.autojoin) history.replaceState(null, '', linksOf(room).conference);
  setTitle(room);
  lobby.close();
  $('ended').hidden = true;
  $('call').hidden = false;
  $('room-name').textContent = room;
  session = new Session({ url: socketUrl(), room, name, identity });
  session.addEventListener('ended', ({ detail }) => ended(detail));
  session.addEventListener('notice', ({ detail }) => announcer.say(wordsFor(detail.code).title));
  call = new CallView({ page: callElements(name), session, local, toasts, announcer });
  chat = new Chat({ page: chatElements(), session, announcer });
  session.join(publishable());
  announcer.say(`Joining ${room}`);
}

function publishable() {
  const sources = new Map();
  for (const source of ['microphone', 'camera']) {
    const { track, on } = local[source];
    if (track) sources.set(source, { track, muted: !on });
  }
  return sources;
}

function ended({ code }) {
  call?.close();
  call = null;
  chat?.close();
  chat = null;
  local.stop();
  for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
  const { title, body } = wordsFor(code);
  $('ended-title').textContent = title;
  $('ended-body').textContent = body;
  $('call').hidden = true;
  $('ended').hidden = false;
  $('rejoin-button').focus();
  announcer.say(title);
}

async function rejoin() {
  $('ended').hidden = true;
  await openWanted(local, asked);
  join({ room: asked.room, name: asked.name });
}

function callElements(ownName) {
  return {
    stage: $('stage'),
    sounds: $('sounds'),
    banner: new Banner($('banner')),
    count: $('people-count'),
    alone: $('alone'),
    pager: { element: $('pager'), text: $('pager-text'), previous: $('pager-previous'), next: $('pager-next') },
    unlock: $('unlock'),
    microphoneButton: $('toggle-microphone'),
    cameraButton: $('toggle-camera'),
    screenButton: $('toggle-screen'),
    overlayButton: $('toggle-overlay'),
    ownName,
    ownIdentity: identity,
  };
}

function chatElements() {
  return {
    panel: $('chat'),
    list: $('chat-list'),
    empty: $('chat-empty'),
    form: $('chat-form'),
    box: $('chat-box'),
    button: $('toggle-chat'),
    badge: $('chat-unread'),
    close: $('close-chat'),
  };
}

function wireDock() {
  $('toggle-microphone').addEventListener('click', () => toggle('microphone'));
  $('toggle-camera').addEventListener('click', () => toggle('camera'));
  $('toggle-screen').addEventListener('click', () => void call?.toggleScreen());
  $('toggle-overlay').addEventListener('click', () => call?.toggleOverlay());
  $('leave').addEventListener('click', () => session?.leave());
  $('rejoin-button').addEventListener('click', () => void rejoin());
  $('lobby-button').addEventListener('click', () => {
    $('ended').hidden = true;
    openLobby();
  });
  $('unlock').addEventListener('click', () => call?.unlockSound());
  $('pager-previous').addEventListener('click', () => call?.turnPage(-1));
  $('pager-next').addEventListener('click', () => call?.turnPage(1));
  for (const button of document.querySelectorAll('[data-copy-link]')) {
    const said = 'Link copied. Send it to whoever should join.';
    button.addEventListener('click', () => void copyLink(linksOf(asked.room).conference, said, toasts, announcer));
  }
}

function wireDialogs() {
  $('open-settings').addEventListener('click', () => {
    $('settings').showModal();
    void settingsPicker.refresh();
  });
  $('open-help').addEventListener('click', () => $('help').showModal());
  for (const dialog of document.querySelectorAll('dialog')) {
    // A click on the backdrop is a click on the dialog element itself.
    dialog.addEventListener('click', (event) => {
      if (event.target === dialog) dialog.close();
    });
  }
}

async function toggle(source) {
  await local.toggle(source);
  announcer.say(`${source === 'camera' ? 'Camera' : 'Microphone'} ${local[source].on ? 'on' : 'off'}`);
}

function onKey(event) {
  if (!call || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest('input, select, textarea, dialog')) return;
  const action = {
    m: () => void toggle('microphone'),
    v: () => void toggle('camera'),
    s: () => void call.toggleScreen(),
    o: () => call.toggleOverlay(),
    c: () => chat.toggle(),
    l: () => session.leave(),
    '?': () => $('help').showModal(),
    escape: () => call.pinned && call.pin(call.pinned),
  }[event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action();
}

function readAddress() {
  const query = new URLSearchParams(location.search);
  const path = location.pathname.match(/^\/room\/([^/]+)\/?$/);
  const flag = (name, otherwise) => (query.has(name) ? query.get(name) === '1' : otherwise);
  return {
    room: query.get('room') ?? (path ? decode(path[1]) : ''),
    name: query.get('name') ?? '',
    identity: query.get('identity'),
    autojoin: flag('autojoin', false),
    video: flag('video', true),
    audio: flag('audio', true),
  };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function socketUrl() {
  return `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`;
}

function setTitle(room) {
  document.title = room ? `${room} · call` : 'Join a call';
}
