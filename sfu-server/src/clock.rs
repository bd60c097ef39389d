//! The process's clock: the one place that reads it. Everything else is handed a [`Time`].

use std::time::Instant;

use sfu_core::unit::Time;

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
        Clock { origin: now.checked_sub(std::time::Duration::from_secs(1)).unwrap_or(now) }
    }

    #[allow(clippy::disallowed_methods, reason = "the only reader of the monotonic clock")]
    pub fn now(&self) -> Time {
        Time(u64::try_from(Instant::now().duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX))
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
}
