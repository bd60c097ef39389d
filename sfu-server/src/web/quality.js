// The quality menu: a button that says which layer is shown, and a menu of those there are. It knows layers as a WhepClient
// has them, and no server; what is chosen it tells the page.

const WORDS = { 2: ['High', 'Low'], 3: ['High', 'Medium', 'Low'] };

/// What layers are called, highest first: `720p` by their shorter sides where they are told and differ, else by rank.
export function namesOf(layers) {
  const sides = layers.map(({ width, height }) => Math.min(width, height));
  if (sides.every((side) => side > 0) && new Set(sides).size === sides.length) return sides.map((side) => `${side}p`);
  return WORDS[layers.length] ?? layers.map((_, index) => `Level ${layers.length - index}`);
}

/// Events: `choose` (detail: a layer, or null for the server's choice).
export class QualityMenu extends EventTarget {
  #root;
  #button;
  #text;
  #list;
  #choices = []; // {layer, name, note, checked}
  #chosenName = ''; // of the layer that was chosen, for when it doesn't arrive any more
  #shown = '';

  /// `page`: {root, button, text, list}.
  constructor({ root, button, text, list }) {
    super();
    this.#root = root;
    this.#button = button;
    this.#text = text;
    this.#list = list;
    button.addEventListener('click', () => this.toggle());
    button.addEventListener('keydown', (event) => {
      if (event.key !== 'ArrowUp' && event.key !== 'ArrowDown') return;
      event.preventDefault();
      this.#open();
    });
    list.addEventListener('keydown', (event) => this.#onKey(event));
    list.addEventListener('click', ({ target }) => this.#choose(target.closest('button')));
    document.addEventListener('pointerdown', ({ target }) => !root.contains(target) && this.#close());
    root.addEventListener('focusout', ({ relatedTarget }) => relatedTarget && !root.contains(relatedTarget) && this.#close());
  }

  get isOpen() {
    return !this.#list.hidden;
  }

  toggle() {
    if (this.#root.hidden) return;
    if (this.isOpen) this.#close({ focus: true });
    else this.#open();
  }

  /// `layers`, highest first; `isChosen(layer)`; `chosen`: whether any is; `height` of the picture that is shown, or 0. With
  /// fewer than two layers there is nothing to choose, and no menu.
  show({ layers, isChosen, chosen, height }) {
    const names = namesOf(layers);
    const choices = layers.map((layer, index) => ({ layer, name: names[index], note: '', checked: isChosen(layer) }));
    const found = choices.find(({ checked }) => checked);
    if (found) this.#chosenName = found.name;
    // It stays wished for until another choice.
    if (chosen && !found) choices.unshift({ layer: chosen, name: this.#chosenName, note: 'not sent just now', checked: true });
    const auto = { layer: null, name: 'Auto', note: !chosen && height ? `${height}p` : '', checked: !chosen };
    this.#choices = [auto, ...choices];
    const { name, note } = this.#choices.find(({ checked }) => checked);
    this.#root.hidden = layers.length < 2;
    if (this.#root.hidden) this.#close();
    const text = chosen ? name : [name, note].filter(Boolean).join(' ');
    if (this.#text.textContent !== text) this.#text.textContent = text;
    this.#button.setAttribute('aria-label', `Quality: ${text}`);
    this.#render();
  }

  /// Only what is different is made anew: a person may be about to choose.
  #render() {
    const shown = JSON.stringify(this.#choices.map(({ name, note, checked }) => [name, note, checked]));
    if (shown === this.#shown) return;
    this.#shown = shown;
    const focused = this.#items().indexOf(document.activeElement);
    this.#list.replaceChildren(...this.#choices.map(itemFor));
    if (focused >= 0) (this.#items()[focused] ?? this.#items()[0]).focus();
  }

  #items() {
    return [...this.#list.children];
  }

  #open() {
    this.#list.hidden = false;
    this.#button.setAttribute('aria-expanded', 'true');
    this.#items().find((item) => item.getAttribute('aria-checked') === 'true')?.focus();
  }

  #close({ focus = false } = {}) {
    if (!this.isOpen) return;
    this.#list.hidden = true;
    this.#button.setAttribute('aria-expanded', 'false');
    if (focus) this.#button.focus();
  }

  #choose(item) {
    const choice = this.#choices[this.#items().indexOf(item)];
    if (!choice) return;
    this.#close({ focus: true });
    if (choice.checked) return;
    if (choice.layer) this.#chosenName = choice.name;
    this.dispatchEvent(new CustomEvent('choose', { detail: choice.layer }));
  }

  #onKey(event) {
    const items = this.#items();
    const at = items.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1 + items.length, Home: 0, End: items.length - 1 }[event.key];
    if (to !== undefined) items[to % items.length].focus();
    else if (event.key === 'Escape') this.#close({ focus: true });
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function itemFor({ name, note, checked }) {
  const item = document.createElement('button');
  item.type = 'button';
  item.tabIndex = -1;
  item.setAttribute('role', 'menuitemradio');
  item.setAttribute('aria-checked', String(checked));
  const title = Object.assign(document.createElement('span'), { textContent: name });
  const more = Object.assign(document.createElement('small'), { textContent: note });
  item.append(title, more);
  return item;
}
