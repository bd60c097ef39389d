//! Watches that no packet index is sealed twice under one key: a second ciphertext under the same nonce would give
//! the GCM key away (RFC 7714 §8.1). One guard per outgoing SSRC.

use crate::unit::ExtSeq;

/// A sliding window over the indices that were sealed.
#[derive(Clone, Debug)]
pub struct SealGuard {
    next: ExtSeq,
    /// Bit i of the window: `next - 1 - i` was sealed.
    window: [u64; SealGuard::WORDS],
}

impl SealGuard {
    const WORDS: usize = 8;
    /// How far below the highest index a late packet may be.
    pub const WINDOW: u64 = SealGuard::WORDS as u64 * 64;

    pub fn new(first: ExtSeq) -> SealGuard {
        SealGuard { next: first, window: [0; SealGuard::WORDS] }
    }

    /// Whether `index` may be sealed now; from then on it may not.
    pub fn take(&mut self, index: ExtSeq) -> bool {
        if index >= self.next {
            self.shift(index.0 - self.next.0 + 1);
            self.next = index.next();
            return self.set(0);
        }
        self.set(self.next.0 - 1 - index.0)
    }

    /// Sets a bit; false when it was set or is out of the window.
    fn set(&mut self, age: u64) -> bool {
        match self.window.get_mut((age / 64) as usize) {
            Some(word) => {
                let bit = 1 << (age % 64);
                let free = *word & bit == 0;
                *word |= bit;
                free
            }
            None => false,
        }
    }

    fn shift(&mut self, by: u64) {
        if by >= SealGuard::WINDOW {
            self.window = [0; SealGuard::WORDS];
            return;
        }
        let (words, bits) = ((by / 64) as usize, by % 64);
        for i in (0..SealGuard::WORDS).rev() {
            let source =
                |back: usize| i.checked_sub(back).and_then(|at| self.window.get(at)).copied().unwrap_or(0);
            let carried = if bits == 0 { 0 } else { source(words + 1) >> (64 - bits) };
            let shifted = (source(words) << bits) | carried;
            if let Some(word) = self.window.get_mut(i) {
                *word = shifted;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};
    use std::collections::HashSet;

    #[test]
    fn agrees_with_a_set_on_random_orders() {
        for seed in 0..20 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut guard = SealGuard::new(ExtSeq(1_000));
            let (mut taken, mut highest) = (HashSet::new(), 1_000_u64);
            for _ in 0..20_000 {
                let index = highest.saturating_sub(200) + rng.random_range(0..260);
                let index = index.max(1_000);
                let allowed = taken.insert(index) && highest.saturating_sub(index) < SealGuard::WINDOW;
                assert_eq!(guard.take(ExtSeq(index)), allowed, "seed {seed} index {index}");
                highest = highest.max(index);
            }
        }
    }

    #[test]
    fn an_index_below_the_first_is_refused_when_out_of_the_window() {
        let mut guard = SealGuard::new(ExtSeq(10_000));
        assert!(guard.take(ExtSeq(10_000)));
        assert!(!guard.take(ExtSeq(10_000)));
        assert!(guard.take(ExtSeq(20_000)));
        assert!(!guard.take(ExtSeq(10_001)), "too far below");
    }
}
