// Which simulcast layer a tile of a given size needs, with hysteresis, and how long a wish must last before it is told.
// It knows sizes and layers, no sockets.

const NAMES = ['low', 'medium', 'high'];
const UP_AFTER_MS = 200;
const DOWN_AFTER_MS = 1500;
// A picture may be stretched this much before the next layer is asked for; and shrunk this much before one is given up.
const STRETCH_MAX = 1.25;
const SHRINK_MIN = 1.6;

/// The ladder's widths, lowest first, from one observed layer: each layer doubles the one below.
function ladderWidths(observed) {
  if (!observed?.width || observed.layer === null || observed.layer === undefined) return [320, 640, 1280];
  const lowest = observed.width / 2 ** observed.layer;
  return [lowest, lowest * 2, lowest * 4];
}

/// The layer for a picture shown `widthPx` device pixels wide; `current` is what was asked so far (0, 1, 2).
export function layerForWidth(widthPx, observed, current) {
  const widths = ladderWidths(observed);
  const smallest = widths.findIndex((width) => widthPx <= width * STRETCH_MAX);
  const wanted = smallest === -1 ? 2 : smallest;
  if (current === null || wanted >= current) return wanted;
  // Going down: only when the picture is clearly smaller than the layer below could fill.
  return widthPx * SHRINK_MIN <= widths[wanted] * STRETCH_MAX * 1.3 || wanted < current - 1 ? wanted : current;
}

/// Remembers per track what was asked and tells `prefer(track, layer, paused)` when a new wish has lasted.
export class LayerPreferences {
  #prefer;
  #tracks = new Map(); // track id → {asked, wish, since}

  constructor(prefer) {
    this.#prefer = prefer;
  }

  /// `view`: {track, widthPx, visible, staged, observed}. Called for every remote picture about once a second and
  /// after each change of layout.
  update(view, now) {
    const known = this.#tracks.get(view.track) ?? { asked: null, layer: null, wish: null, since: now };
    this.#tracks.set(view.track, known);
    const layer = view.visible ? layerForWidth(view.widthPx, view.observed, known.layer) : (known.layer ?? 0);
    const name = view.staged ? 'auto' : NAMES[layer];
    const wish = `${name}${view.visible ? '' : ' paused'}`;
    if (wish !== known.wish) Object.assign(known, { wish, since: now });
    if (wish === known.asked) return;
    const first = known.asked === null;
    const lower = !view.visible || (known.layer !== null && layer < known.layer);
    if (!first && now - known.since < (lower ? DOWN_AFTER_MS : UP_AFTER_MS)) return;
    Object.assign(known, { asked: wish, layer });
    this.#prefer(view.track, name, !view.visible);
  }

  /// Drops tracks that are gone, or all of them after a fresh join.
  retain(isAlive) {
    for (const track of this.#tracks.keys()) if (!isAlive(track)) this.#tracks.delete(track);
  }
}
