// Where each tile goes: pure functions from counts and sizes to rectangles. They know no elements.
// Tiles are placed absolutely and never move in the document, because a <video> that is moved there stops playing.

const GAP = 10;
const TILE_WIDTH_MIN = 150;
// What the buttons need that turn a strip's pages: height beside the stage, width below it.
const PAGER = 44;
const PAGER_BELOW = 62;
// A tile may be as tall as a portrait photo and as wide as a film; the picture covers it.
const ASPECT_MIN = 0.8;
const ASPECT_MAX = 16 / 9;

/// Rectangles {x, y, width, height} for `count` equal tiles, and the height they need (more than `height`: scroll).
export function gridLayout(count, width, height) {
  let best = null;
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const cellWidth = (width - GAP * (columns - 1)) / columns;
    const cellHeight = (height - GAP * (rows - 1)) / rows;
    const tileHeight = Math.min(cellHeight, cellWidth / ASPECT_MIN);
    const tileWidth = Math.min(cellWidth, tileHeight * ASPECT_MAX);
    const area = tileWidth * Math.min(tileHeight, tileWidth / ASPECT_MIN);
    if (tileWidth >= TILE_WIDTH_MIN * 0.9 && tileHeight > 80 && (!best || area > best.area)) {
      best = { columns, rows, tileWidth, tileHeight, area };
    }
  }
  return placeRows(count, width, height, best ?? scrollingGrid(count, width));
}

/// The first tile fills the space, the second floats in a corner.
export function pairLayout(width, height) {
  const floating = Math.min(240, Math.max(104, Math.min(width, height) * 0.3));
  const portrait = height > width;
  const size = portrait
    ? { width: floating, height: floating * 1.3 }
    : { width: floating * 1.15, height: floating * 0.7 };
  const corner = { x: width - size.width - 14, y: height - size.height - 14, ...size };
  return { rects: [{ x: 0, y: 0, width, height }, corner], contentHeight: height };
}

/// One tile on the stage, the others in a strip beside or below it, `page` by page if it has no room for all. What is on
/// another page gets `null`. `pages` and `page` (there may be fewer than before) come back, and where the pager goes.
export function stageLayout(others, width, height, page = 0) {
  if (others === 0) return { rects: [{ x: 0, y: 0, width, height }], contentHeight: height, page: 0, pages: 1 };
  const beside = width >= height * 1.1 && width >= 640;
  const strip = beside ? stripBeside(others, width, height) : stripBelow(others, width, height);
  const pages = Math.ceil(others / strip.room);
  const shown = Math.min(page, pages - 1);
  const rects = Array.from({ length: others }, (_, index) =>
    Math.floor(index / strip.room) === shown ? strip.place(index % strip.room, Math.min(strip.room, others - shown * strip.room)) : null,
  );
  return { rects: [strip.stage, ...rects], contentHeight: height, page: shown, pages, pager: strip.pager };
}

function scrollingGrid(count, width) {
  const columns = Math.max(1, Math.min(count, Math.floor((width + GAP) / (TILE_WIDTH_MIN + GAP))));
  const tileWidth = (width - GAP * (columns - 1)) / columns;
  return { columns, rows: Math.ceil(count / columns), tileWidth, tileHeight: tileWidth * 0.75 };
}

function placeRows(count, width, height, { columns, rows, tileWidth, tileHeight }) {
  const used = rows * tileHeight + (rows - 1) * GAP;
  const top = Math.max(0, (height - used) / 2);
  const rects = [];
  for (let index = 0; index < count; index += 1) {
    const row = Math.floor(index / columns);
    const inRow = Math.min(columns, count - row * columns);
    const left = (width - inRow * tileWidth - (inRow - 1) * GAP) / 2;
    rects.push({
      x: left + (index % columns) * (tileWidth + GAP),
      y: top + row * (tileHeight + GAP),
      width: tileWidth,
      height: tileHeight,
    });
  }
  return { rects, contentHeight: Math.max(height, used) };
}

/// As many tiles as fit in a row of `length`, less the pager's part of it when not all fit.
function fitting(others, length, size, pager) {
  const fit = (space) => Math.max(1, Math.floor((space + GAP) / (size + GAP)));
  return others <= fit(length) ? others : fit(length - pager - GAP);
}

function stripBeside(others, width, height) {
  const tileWidth = Math.min(240, width * 0.22);
  const tileHeight = (tileWidth * 9) / 16;
  const room = fitting(others, height, tileHeight, PAGER);
  const left = width - tileWidth;
  const paged = room < others;
  const place = (index, count) => {
    const used = count * tileHeight + (count - 1) * GAP;
    const top = paged ? 0 : (height - used) / 2;
    return { x: left, y: top + index * (tileHeight + GAP), width: tileWidth, height: tileHeight };
  };
  const stage = { x: 0, y: 0, width: left - GAP, height };
  return { stage, room, place, pager: { x: left, y: height - PAGER, width: tileWidth, height: PAGER } };
}

function stripBelow(others, width, height) {
  const size = Math.min(120, height * 0.2);
  const room = fitting(others, width, size, PAGER_BELOW);
  const top = height - size;
  const paged = room < others;
  const place = (index, count) => {
    const used = count * size + (count - 1) * GAP;
    const left = paged ? 0 : (width - used) / 2;
    return { x: left + index * (size + GAP), y: top, width: size, height: size };
  };
  const stage = { x: 0, y: 0, width, height: top - GAP };
  return { stage, room, place, pager: { x: width - PAGER_BELOW, y: top, width: PAGER_BELOW, height: size } };
}
