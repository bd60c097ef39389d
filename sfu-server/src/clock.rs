//! The process's clock: the one place that reads it. Everything else is handed a [`Time`].

use std::time::{Duration, Instant, SystemTime};

use sfu_core::unit::Time;

/// Longest wait of a timer.
const TIMER_MAX: Duration = Duration::from_secs(3_600);

/// From 1900 to 1970 (RFC 5905 §6, figure 4).
const NTP_EPOCH_TO_UNIX: Duration = Duration::from_secs(2_208_988_800);

/// Turns the monotonic clock of the operating system into [`Time`] since this clock was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// [`Time::ZERO`] is a second ago, so that code that looks back a little never meets the origin.
    #[allow(clippy::disallowed_methods, reason = "the only reader of the monotonic clock")]
    pub fn start() -> Clock {
        let now = Instant::now();
        Clock { origin: now.checked_sub(Duration::from_secs(1)).unwrap_or(now) }
    }

    #[allow(clippy::disallowed_methods, reason = "the only reader of the monotonic clock")]
    pub fn now(&self) -> Time {
        Time(u64::try_from(Instant::now().duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX))
    }

    /// The instant of a time, for timers. Far futures are an hour away, which no timer waits for.
    pub fn instant(&self, time: Time) -> Instant {
        let since_origin = time.since(Time::ZERO).min(self.now().since(Time::ZERO) + TIMER_MAX);
        self.origin + since_origin
    }

    /// The wall clock at [`Time::ZERO`], since 1900 (the NTP epoch, RFC 5905 §6).
    #[allow(clippy::disallowed_methods, reason = "the only reader of the wall clock")]
    pub fn ntp_at_zero(&self) -> Duration {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (since_1970 + NTP_EPOCH_TO_UNIX).saturating_sub(self.now().since(Time::ZERO))
    }

    /// The instant that [`Time::ZERO`] stands for, for libraries that take an [`Instant`].
    pub fn origin(&self) -> Instant {
        self.origin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_run_backwards_and_starts_after_zero() {
        let clock = Clock::start();
        let first = clock.now();
        assert!(first > Time::ZERO);
        assert!(clock.now() >= first);
    }

    #[test]
    fn a_far_future_is_an_instant_too() {
        let clock = Clock::start();
        assert!(clock.instant(Time::MAX) > clock.instant(clock.now()));
        assert!(clock.instant(Time::ZERO) == clock.origin());
    }

    #[test]
    fn the_wall_clock_is_later_than_this_test() {
        let year_2020 = Duration::from_secs(120 * 365 * 86_400);
        assert!(Clock::start().ntp_at_zero() > year_2020);
    }
}
