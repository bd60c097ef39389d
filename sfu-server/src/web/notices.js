// What the page says to a person: the words for every problem, the banner, passing messages, and the live region that
// screen readers follow. All text goes in as text, never as markup.

/// code → [title, what to do].
const WORDS = {
  insecure: [
    'This page needs a secure address',
    'Browsers only give out the camera and microphone over HTTPS or on localhost. Open the page at https://… or at http://localhost. You can still watch.',
  ],
  microphone_denied: [
    'The microphone is blocked',
    'Allow it in the address bar’s site settings and try again, or go on without it.',
  ],
  microphone_missing: ['No microphone found', 'Plug one in, or go on without it.'],
  microphone_busy: ['The microphone is in use', 'Another application holds it. Close that one, then try again.'],
  microphone_failed: ['The microphone did not start', 'Try another one from the list.'],
  camera_denied: [
    'The camera is blocked',
    'Allow it in the address bar’s site settings and try again, or go on without it.',
  ],
  camera_missing: ['No camera found', 'Plug one in, or go on without it.'],
  camera_busy: ['The camera is in use', 'Another application holds it. Close that one, then try again.'],
  camera_failed: ['The camera did not start', 'Try another one from the list.'],
  screen_failed: ['The screen could not be shared', 'Your system or browser refused it.'],
  camera_unwanted: [
    'The others can’t see you',
    'This room takes none of the video formats that this browser can send. Another browser may do.',
  ],
  screen_unwanted: [
    'Your screen can’t be shared here',
    'This room takes none of the video formats that this browser can send. Another browser may do.',
  ],
  left: ['You have left', 'The others can still be joined.'],
  replaced: ['You are in this call somewhere else', 'The same person joined from another tab or device, so this one was closed.'],
  room_closed: ['The call has ended', 'The room was closed.'],
  room_full: ['This room is full', 'Wait until somebody leaves, or choose another room.'],
  bad_room: ['That room name can’t be used', 'Use 1 to 128 characters.'],
  bad_identity: ['That name can’t be used', 'Choose a shorter one.'],
  bad_version: ['This page is out of date', 'Reload it: the server speaks a newer language.'],
  no_media_path: [
    'Sound and picture can’t get through',
    'The server answers, but the media path fails each time. A firewall may block UDP.',
  ],
  nothing_to_send: ['There is nothing to send', 'Allow the camera or the microphone, or choose the screen.'],
  stream_denied: ['The server doesn’t let you in', 'This room asks for a token.'],
  stream_unknown: ['There is no such address on this server', 'Check the link.'],
  stream_refused: [
    'The server and this browser don’t understand each other',
    'They have no video or sound format in common. Another browser may do.',
  ],
  broadcast_refused: [
    'The room can’t take this broadcast',
    'It takes none of the formats that this browser can send. Another browser may do.',
  ],
  interrupted: ['Sound and picture are interrupted', 'Reconnecting by itself.'],
  server_lost: ['The server doesn’t answer', 'Trying again by itself.'],
  server_busy: ['The server has no place just now', 'Trying again by itself.'],
  resumed: ['Connected again', ''],
  rejoined: ['Back in the room', ''],
};

export function wordsFor(code) {
  const [title, body] = WORDS[code] ?? ['Something went wrong', String(code)];
  return { title, body };
}

/// The strip at the top of a call that says what is wrong with the connection. Empty text hides it.
export class Banner {
  #element;

  constructor(element) {
    this.#element = element;
  }

  show(text, tone = 'warn') {
    if (this.#element.textContent !== text) this.#element.textContent = text;
    this.#element.dataset.tone = tone;
    this.#element.hidden = !text;
  }
}

/// Short messages that go by themselves.
export class Toasts {
  #list;

  constructor(list) {
    this.#list = list;
  }

  show(text, { tone = 'info', ms = 5000 } = {}) {
    const item = document.createElement('li');
    item.className = 'toast';
    item.dataset.tone = tone;
    item.textContent = text;
    this.#list.append(item);
    while (this.#list.children.length > 3) this.#list.firstElementChild.remove();
    setTimeout(() => item.remove(), ms);
  }

  problem(code) {
    const { title, body } = wordsFor(code);
    this.show(body ? `${title}. ${body}` : title, { tone: 'warn', ms: 9000 });
  }
}

/// Speaks to screen readers.
export class Announcer {
  #region;
  #clear = 0;

  constructor(region) {
    this.#region = region;
  }

  say(text) {
    this.#region.textContent = text;
    clearTimeout(this.#clear);
    this.#clear = setTimeout(() => {
      this.#region.textContent = '';
    }, 4000);
  }
}
