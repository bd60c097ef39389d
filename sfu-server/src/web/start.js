// The start page: suggests a room and shows the address that programs publish to.

import { copyLink, linksOf, suggestRoom } from './links.js';
import { Announcer, Toasts } from './notices.js';

const $ = (id) => document.getElementById(id);
const toasts = new Toasts($('toasts'));
const announcer = new Announcer($('announcer'));
const room = $('room');

room.value ||= suggestRoom();
room.addEventListener('input', showEndpoint);
$('copy-whip').addEventListener('click', () => {
  void copyLink(endpoint(), 'Address copied. Paste it into the program that publishes.', toasts, announcer);
});
// The browser's back button restores the field after this script.
window.addEventListener('pageshow', showEndpoint);
showEndpoint();

function showEndpoint() {
  $('whip').textContent = endpoint();
}

function endpoint() {
  return linksOf(room.value.trim() || 'room').whip;
}
