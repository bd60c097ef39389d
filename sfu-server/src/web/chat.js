// The chat panel: its list, its box to write in, and the button with the count of what was not read. Messages come and
// go through a Session; it knows neither data channels nor sockets. What people write is only ever text: no links, no
// markup.

const LABEL = 'chat';
const HISTORY_MAX = 500;
const TEXT_MAX = 4000;
/// Messages of one person within this time stand under one name.
const GROUP_MS = 120_000;
/// How far from the end still counts as reading along.
const END_PX = 48;

/// Events: `shown`, `hidden`.
export class Chat extends EventTarget {
  unread = 0;
  messages = []; // [{from, name, text, at, own, failed}]

  #page;
  #session;
  #announcer;
  #closing = new AbortController();

  /// `page`: {panel, list, empty, form, box, button, badge, close}.
  constructor({ page, session, announcer }) {
    super();
    this.#page = page;
    this.#session = session;
    this.#announcer = announcer;
    const { signal } = this.#closing;
    session.addEventListener('data', ({ detail }) => this.#receive(detail), { signal });
    session.addEventListener('data_refused', ({ detail }) => this.#refused(detail), { signal });
    page.button.addEventListener('click', () => this.toggle(), { signal });
    page.close.addEventListener('click', () => this.hide(), { signal });
    page.form.addEventListener('submit', (event) => this.#submit(event), { signal });
    page.box.addEventListener('keydown', (event) => this.#onBoxKey(event), { signal });
    page.box.addEventListener('input', () => this.#fitBox(), { signal });
    page.panel.addEventListener(
      'keydown',
      (event) => {
        if (event.key !== 'Escape') return;
        event.stopPropagation();
        this.hide();
      },
      { signal },
    );
    page.list.replaceChildren();
    page.panel.hidden = true;
    page.box.value = '';
    page.box.maxLength = TEXT_MAX;
    this.#show();
  }

  get isOpen() {
    return !this.#page.panel.hidden;
  }

  toggle() {
    if (this.isOpen) this.hide();
    else this.open();
  }

  open() {
    this.#page.panel.hidden = false;
    this.unread = 0;
    this.#show();
    this.#toEnd();
    this.#page.box.focus();
    this.dispatchEvent(new Event('shown'));
  }

  hide() {
    if (!this.isOpen) return;
    const hadFocus = this.#page.panel.contains(document.activeElement);
    this.#page.panel.hidden = true;
    this.#show();
    if (hadFocus) this.#page.button.focus();
    this.dispatchEvent(new Event('hidden'));
  }

  /// The call is over.
  close() {
    this.#closing.abort();
    this.#page.panel.hidden = true;
  }

  #submit(event) {
    event.preventDefault();
    const text = this.#page.box.value.trim();
    if (!text) return;
    const sent = this.#session.sendData(LABEL, { text });
    this.#add({ from: 'self', name: 'You', text, own: true, failed: !sent });
    // What did not leave stays in the box, to be sent when the connection is back.
    if (!sent) return;
    this.#page.box.value = '';
    this.#fitBox();
  }

  #onBoxKey(event) {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.#page.form.requestSubmit();
  }

  #receive({ label, from, private: isPrivate, data }) {
    const text = typeof data?.text === 'string' ? data.text.slice(0, TEXT_MAX) : '';
    if (label !== LABEL || !text) return;
    const name = this.#session.room.participants.get(from)?.name ?? 'Somebody';
    this.#add({ from, name: isPrivate ? `${name}, to you` : name, text, own: false, failed: false });
    if (this.isOpen && !document.hidden) return;
    if (!this.isOpen) this.unread += 1;
    this.#show();
    this.#announcer.say(`${name}: ${text}`);
  }

  #refused({ label }) {
    const last = this.messages.findLast((message) => message.own);
    if (label !== LABEL || !last || last.failed) return;
    last.failed = true;
    last.element.classList.add('is-failed');
  }

  #add(message) {
    const last = this.messages.at(-1);
    message.at = Date.now();
    message.follows = last?.from === message.from && message.at - last.at < GROUP_MS;
    const { list } = this.#page;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < END_PX;
    message.element = element(message);
    this.messages.push(message);
    list.append(message.element);
    while (this.messages.length > HISTORY_MAX) this.messages.shift().element.remove();
    if (atEnd || message.own) this.#toEnd();
    this.#show();
  }

  #toEnd() {
    this.#page.list.scrollTop = this.#page.list.scrollHeight;
  }

  /// The box grows with what is written, up to what its style allows.
  #fitBox() {
    const { box } = this.#page;
    box.style.height = 'auto';
    box.style.height = `${box.scrollHeight + 2}px`;
  }

  #show() {
    const { button, badge, empty } = this.#page;
    empty.hidden = this.messages.length > 0;
    badge.hidden = this.unread === 0;
    badge.textContent = this.unread > 99 ? '99+' : String(this.unread);
    button.setAttribute('aria-pressed', String(this.isOpen));
    button.setAttribute('aria-expanded', String(this.isOpen));
    const unread = this.unread ? `, ${this.unread} unread` : '';
    button.setAttribute('aria-label', `Chat${unread}`);
  }
}

function element({ name, text, at, own, failed, follows }) {
  const item = document.createElement('li');
  item.className = 'said';
  item.classList.toggle('is-own', own);
  item.classList.toggle('is-failed', failed);
  item.classList.toggle('follows', follows);
  const head = document.createElement('p');
  head.className = 'said-head';
  const who = document.createElement('b');
  who.textContent = name;
  const when = document.createElement('time');
  const date = new Date(at);
  when.dateTime = date.toISOString();
  when.textContent = date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  head.append(who, when);
  const body = document.createElement('p');
  body.className = 'said-text';
  // Directions of writing are the message's own.
  body.dir = 'auto';
  body.textContent = text;
  item.append(head, body);
  return item;
}
