//! What a frame refers to, in a few bytes: by frame numbers in a dependency descriptor, by picture ids in VP9.

/// The frames that a frame refers to, as differences of their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct References {
    /// Bit i: the frame whose number is i + 1 lower.
    near: u64,
    /// There is one that is further back than that.
    beyond: bool,
}

impl References {
    /// Whether all of them are among `present`, whose bit i is the frame whose number is i + 1 lower.
    pub fn are_within(self, present: u64) -> bool {
        !self.beyond && self.near & !present == 0
    }

    pub fn is_none(self) -> bool {
        self.near == 0 && !self.beyond
    }

    /// Adds the frame whose number is lower by one more than this.
    pub fn add(&mut self, fdiff_minus_one: u32) {
        match 1_u64.checked_shl(fdiff_minus_one) {
            Some(bit) => self.near |= bit,
            None => self.beyond = true,
        }
    }
}
