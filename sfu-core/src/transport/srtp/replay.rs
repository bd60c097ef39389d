//! The replay list of one source (RFC 3711 §3.3.2): which of its latest packet indices have been accepted.
//! Knows neither keys nor packets.

use super::SrtpDrop;

/// A sliding window of `WORDS` × 64 indices, kept as a ring of bits: index `i` lives at bit `i mod size`.
#[derive(Clone, Debug)]
pub(super) struct ReplayWindow<const WORDS: usize> {
    highest: u64,
    seen: [u64; WORDS],
}

impl<const WORDS: usize> ReplayWindow<WORDS> {
    const SIZE: u64 = 64 * WORDS as u64;

    /// The window of a source whose first accepted index is `first`.
    pub(super) fn starting_at(first: u64) -> ReplayWindow<WORDS> {
        let mut window = ReplayWindow { highest: first, seen: [0; WORDS] };
        window.set(first);
        window
    }

    /// Whether `index` may be accepted. Changes nothing: the packet isn't authenticated yet.
    pub(super) fn check(&self, index: u64) -> Result<(), SrtpDrop> {
        if index > self.highest {
            Ok(())
        } else if self.highest - index >= Self::SIZE {
            Err(SrtpDrop::TooOld)
        } else if self.is_set(index) {
            Err(SrtpDrop::Replayed)
        } else {
            Ok(())
        }
    }

    /// Remembers an authenticated index that has passed [`ReplayWindow::check`].
    pub(super) fn record(&mut self, index: u64) {
        if index > self.highest {
            if index - self.highest >= Self::SIZE {
                self.seen = [0; WORDS];
            } else {
                (self.highest + 1..index).for_each(|skipped| self.clear(skipped));
            }
            self.highest = index;
        }
        self.set(index);
    }

    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    fn position(index: u64) -> (usize, u64) {
        ((index / 64) as usize % WORDS, 1 << (index % 64))
    }

    fn is_set(&self, index: u64) -> bool {
        let (word, bit) = Self::position(index);
        self.seen.get(word).is_some_and(|word| word & bit != 0)
    }

    fn set(&mut self, index: u64) {
        let (word, bit) = Self::position(index);
        if let Some(word) = self.seen.get_mut(word) {
            *word |= bit;
        }
    }

    fn clear(&mut self, index: u64) {
        let (word, bit) = Self::position(index);
        if let Some(word) = self.seen.get_mut(word) {
            *word &= !bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_each_index_of_the_window_once() {
        let mut window = ReplayWindow::<2>::starting_at(1_000);
        assert_eq!(window.check(1_000), Err(SrtpDrop::Replayed));
        window.record(1_100);
        for index in 973..1_100 {
            if index != 1_000 {
                assert_eq!(window.check(index), Ok(()), "{index}");
                window.record(index);
            }
            assert_eq!(window.check(index), Err(SrtpDrop::Replayed), "{index}");
        }
        assert_eq!(window.check(972), Err(SrtpDrop::TooOld));
        assert_eq!(window.highest(), 1_100);
    }

    #[test]
    fn a_jump_clears_what_the_ring_held_before() {
        let mut window = ReplayWindow::<2>::starting_at(0);
        (1..128).for_each(|index| window.record(index));
        window.record(200);
        assert_eq!(window.check(127), Err(SrtpDrop::Replayed));
        assert!((128..200).all(|index| window.check(index).is_ok()));
        window.record(10_000);
        assert!((9_873..10_000).all(|index| window.check(index).is_ok()));
        assert_eq!(window.check(9_872), Err(SrtpDrop::TooOld));
    }
}
