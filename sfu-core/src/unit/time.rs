//! Clocks. Each machine's clock is a type of its own, so that they can't be mixed: [`Time`] is this
//! process's monotonic clock, [`NtpTime`] a wall clock on the wire, [`RtpTime`] a stream's media clock.

use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// Nanoseconds on the process's monotonic clock, from an origin that the caller chose. The engine never
/// reads a clock: time is an argument.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Time(pub u64);

impl Time {
    pub const ZERO: Time = Time(0);
    pub const MAX: Time = Time(u64::MAX);

    pub const fn from_millis(ms: u64) -> Time {
        Time(ms.saturating_mul(1_000_000))
    }

    pub const fn from_micros(us: u64) -> Time {
        Time(us.saturating_mul(1_000))
    }

    /// Time since `earlier`, zero when `earlier` is later.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    pub fn as_micros(self) -> u64 {
        self.0 / 1_000
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(duration.as_nanos() as u64))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Time {
    type Output = Time;
    fn sub(self, duration: Duration) -> Time {
        Time(self.0.saturating_sub(duration.as_nanos() as u64))
    }
}

/// 64-bit NTP timestamp: seconds since 1900 in 32.32 fixed point (RFC 3550 §4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// The middle 32 bits, as in LSR of a report block (RFC 3550 §6.4.1).
    pub fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// A duration since the NTP epoch.
    pub fn from_duration(since_1900: Duration) -> NtpTime {
        let fraction = (u64::from(since_1900.subsec_nanos()) << 32) / 1_000_000_000;
        NtpTime((since_1900.as_secs() << 32) | fraction)
    }

    pub fn to_duration(self) -> Duration {
        let nanos = ((self.0 & 0xffff_ffff) * 1_000_000_000) >> 32;
        Duration::new(self.0 >> 32, nanos as u32)
    }
}

/// Ticks per second of a media clock: 48,000 for Opus, 90,000 for video.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ClockRate(pub u32);

impl ClockRate {
    pub const VIDEO: ClockRate = ClockRate(90_000);
    pub const OPUS: ClockRate = ClockRate(48_000);

    /// Whole ticks in `duration`, modulo 2^32.
    pub fn ticks(self, duration: Duration) -> u32 {
        (duration.as_nanos() * u128::from(self.0) / 1_000_000_000) as u32
    }

    /// How long `ticks` last.
    pub fn duration(self, ticks: u32) -> Duration {
        if self.0 == 0 {
            return Duration::ZERO;
        }
        Duration::from_nanos(u64::from(ticks) * 1_000_000_000 / u64::from(self.0))
    }
}

/// A 32-bit RTP timestamp (RFC 3550 §5.1). It wraps, so it has no order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct RtpTime(pub u32);

impl RtpTime {
    pub fn plus(self, ticks: u32) -> RtpTime {
        RtpTime(self.0.wrapping_add(ticks))
    }

    /// Signed distance to `earlier`, right while the two are within 2^31 ticks.
    pub fn since(self, earlier: RtpTime) -> i32 {
        self.0.wrapping_sub(earlier.0) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_and_duration_agree_to_a_nanosecond() {
        let duration = Duration::new(3_900_000_000, 123_456_789);
        let back = NtpTime::from_duration(duration).to_duration();
        assert!(duration.abs_diff(back) <= Duration::from_nanos(1));
    }

    #[test]
    fn rtp_time_is_signed_across_the_wrap() {
        assert_eq!(RtpTime(5).since(RtpTime(u32::MAX - 4)), 10);
        assert_eq!(RtpTime(u32::MAX - 4).since(RtpTime(5)), -10);
    }

    #[test]
    fn clock_rate_converts_both_ways() {
        assert_eq!(ClockRate::VIDEO.ticks(Duration::from_millis(100)), 9_000);
        assert_eq!(ClockRate::OPUS.duration(960), Duration::from_millis(20));
    }
}
