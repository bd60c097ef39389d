// Addresses: of rooms, of the pages and endpoints of a room; a name for a room that has none; copying.

const ADJECTIVES = ['amber', 'brisk', 'calm', 'dusty', 'early', 'fern', 'golden', 'quiet', 'river', 'silver', 'tidy', 'warm'];
const NOUNS = ['anchor', 'birch', 'cedar', 'comet', 'harbor', 'heron', 'lantern', 'meadow', 'otter', 'piano', 'sparrow', 'window'];

/// Where people meet, broadcast and watch, and where programs publish and play. The room's name may hold anything.
export function linksOf(room) {
  const name = encodeURIComponent(room);
  const at = (path) => `${location.origin}${path}`;
  return {
    conference: at(`/room/${name}`),
    broadcast: at(`/broadcast?room=${name}`),
    watch: at(`/watch?room=${name}`),
    whip: at(`/whip/${name}`),
    whep: at(`/whep/${name}`),
  };
}

export function suggestRoom() {
  const pick = (list) => list[Math.floor(Math.random() * list.length)];
  return `${pick(ADJECTIVES)}-${pick(NOUNS)}-${10 + Math.floor(Math.random() * 90)}`;
}

/// Copies a link and says so. Without a secure context there is no clipboard: then it is shown, to copy by hand.
export async function copyLink(link, said, toasts, announcer) {
  try {
    await navigator.clipboard.writeText(link);
    toasts.show(said);
    announcer.say(said);
  } catch {
    toasts.show(link, { ms: 15_000 });
  }
}
