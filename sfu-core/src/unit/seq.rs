//! Sequence numbers: the wrapping ones of the wire and the unwrapped ones that order packets.

use std::fmt;

/// A 16-bit RTP sequence number (RFC 3550 §5.1). It wraps, so it has no order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SeqNo(pub u16);

/// A transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01 §2). It wraps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TwccSeq(pub u16);

/// An unwrapped sequence number: ordered, never wraps. The low 16 bits are on the wire, the rest is the
/// rollover counter (RFC 3711 §3.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ExtSeq(pub u64);

impl ExtSeq {
    pub fn wire(self) -> SeqNo {
        SeqNo(self.0 as u16)
    }

    pub fn roc(self) -> u32 {
        (self.0 >> 16) as u32
    }

    pub fn next(self) -> ExtSeq {
        ExtSeq(self.0.wrapping_add(1))
    }

    pub fn plus(self, n: u64) -> ExtSeq {
        ExtSeq(self.0.wrapping_add(n))
    }

    /// How far `self` is ahead of `earlier`; negative when it is behind.
    pub fn since(self, earlier: ExtSeq) -> i64 {
        self.0.wrapping_sub(earlier.0) as i64
    }

    /// The unwrapped number closest to `self` whose low 16 bits are `seq`. Never below zero: near the start
    /// a number that would be negative is taken from the first cycle.
    pub fn nearest(self, seq: SeqNo) -> ExtSeq {
        let delta = i64::from(seq.0.wrapping_sub(self.0 as u16) as i16);
        let near = (self.0 as i64).wrapping_add(delta);
        ExtSeq(if near < 0 { near.wrapping_add(1 << 16) as u64 } else { near as u64 })
    }
}

impl fmt::Display for ExtSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Unwraps a stream's sequence numbers around the highest one seen.
#[derive(Clone, Copy, Default, Debug)]
pub struct SeqUnwrapper {
    highest: Option<ExtSeq>,
}

impl SeqUnwrapper {
    /// What `seq` stands for, without remembering it.
    pub fn peek(&self, seq: SeqNo) -> ExtSeq {
        self.highest.map_or(ExtSeq(u64::from(seq.0)), |highest| highest.nearest(seq))
    }

    /// Unwraps `seq` and raises the highest number if it is newer.
    pub fn unwrap(&mut self, seq: SeqNo) -> ExtSeq {
        let ext = self.peek(seq);
        if self.highest.is_none_or(|highest| ext > highest) {
            self.highest = Some(ext);
        }
        ext
    }

    pub fn highest(&self) -> Option<ExtSeq> {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwraps_across_the_wrap_in_both_directions() {
        let mut unwrapper = SeqUnwrapper::default();
        assert_eq!(unwrapper.unwrap(SeqNo(65_534)), ExtSeq(65_534));
        assert_eq!(unwrapper.unwrap(SeqNo(1)), ExtSeq(65_537));
        assert_eq!(unwrapper.unwrap(SeqNo(65_535)), ExtSeq(65_535));
        assert_eq!(unwrapper.highest(), Some(ExtSeq(65_537)));
        assert_eq!(ExtSeq(65_537).wire(), SeqNo(1));
        assert_eq!(ExtSeq(65_537).roc(), 1);
    }

    #[test]
    fn never_goes_below_zero_at_the_start() {
        let mut unwrapper = SeqUnwrapper::default();
        unwrapper.unwrap(SeqNo(3));
        assert_eq!(unwrapper.peek(SeqNo(65_530)), ExtSeq(65_530));
    }
}
