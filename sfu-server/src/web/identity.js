// Who this tab is to the server. It knows nothing of rooms.

import { recall, remember } from './local.js';

const KEY = 'sfu.identity';
/// The document that a reload replaces may hold its lock for a moment longer.
const LET_GO_MS = 400;

/// One identity per tab: it outlives a reload, so that the reloaded page takes its old place, and two tabs of one browser are
/// two people. Browsers copy a tab's storage when they duplicate the tab, so who finds its identity held by another tab that
/// is open takes a new one. `asked` is taken as it is.
export async function claimIdentity(asked) {
  if (asked) return asked;
  const known = recall(KEY, 'sessionStorage');
  if (known && (await isFree(known))) return known;
  const bytes = crypto.getRandomValues(new Uint8Array(9));
  const made = `tab-${[...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
  remember(KEY, made, 'sessionStorage');
  await isFree(made);
  return made;
}

/// Takes the lock of an identity for as long as this page is open. Without a secure context there are no locks: then a copy
/// can't be told from a reload, and takes the other's place.
function isFree(identity) {
  const { locks } = navigator;
  if (!locks) return true;
  return new Promise((resolve) => {
    const held = new Promise(() => {});
    const hold = () => {
      resolve(true);
      return held;
    };
    locks.request(`${KEY}.${identity}`, { signal: AbortSignal.timeout(LET_GO_MS) }, hold).catch(() => resolve(false));
  });
}
