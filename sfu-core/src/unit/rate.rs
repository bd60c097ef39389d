//! Amounts of data and rates of it.

use std::ops::{Add, AddAssign, Mul};
use std::time::Duration;

/// Bits per second.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Bitrate(pub u64);

impl Bitrate {
    pub const fn from_kbps(kbps: u64) -> Bitrate {
        Bitrate(kbps.saturating_mul(1_000))
    }
}

/// Bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct DataSize(pub u64);

impl DataSize {
    /// The rate at which this amount flows in `time`; zero when `time` is.
    pub fn per(self, time: Duration) -> Bitrate {
        match time.as_nanos() {
            0 => Bitrate(0),
            nanos => Bitrate((u128::from(self.0) * 8 * 1_000_000_000 / nanos) as u64),
        }
    }
}

impl Add for DataSize {
    type Output = DataSize;
    fn add(self, other: DataSize) -> DataSize {
        DataSize(self.0.saturating_add(other.0))
    }
}

impl AddAssign for DataSize {
    fn add_assign(&mut self, other: DataSize) {
        *self = *self + other;
    }
}

impl Mul<Duration> for Bitrate {
    type Output = DataSize;
    fn mul(self, time: Duration) -> DataSize {
        DataSize((u128::from(self.0) * time.as_nanos() / 8 / 1_000_000_000) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_times_time_is_size_and_back() {
        let size = Bitrate::from_kbps(800) * Duration::from_millis(10);
        assert_eq!(size, DataSize(1_000));
        assert_eq!(size.per(Duration::from_millis(10)), Bitrate::from_kbps(800));
        assert_eq!(size.per(Duration::ZERO), Bitrate(0));
    }
}
