//! Unwraps 16-bit sequence numbers of one stream.

/// Remembers the highest number seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwrapper {
    highest: Option<u64>,
}

impl Unwrapper {
    /// What `seq` stands for: the number closest to the highest one whose low 16 bits it is. Counting starts
    /// in the second cycle, so that a stream may start with reordered packets around its wrap.
    pub fn unwrap(&mut self, seq: u16) -> u64 {
        let ext = match self.highest {
            None => (1 << 16) + u64::from(seq),
            Some(highest) => {
                let step = seq.wrapping_sub(highest as u16).cast_signed();
                highest.saturating_add_signed(i64::from(step))
            }
        };
        self.highest = Some(self.highest.map_or(ext, |highest| highest.max(ext)));
        ext
    }

    pub fn highest(&self) -> Option<u64> {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_over_the_wrap_and_back() {
        let mut unwrapper = Unwrapper::default();
        let seen = [0u16, 65_535, 1, 65_534].map(|seq| unwrapper.unwrap(seq));
        assert_eq!(seen, [65_536, 65_535, 65_537, 65_534]);
        assert_eq!(unwrapper.highest(), Some(65_537));
    }
}
