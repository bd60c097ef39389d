//! Maps a publisher's wall clock onto ours. All tracks of one publisher share it, so that sound and picture stay
//! together whatever the publisher's clock says.

use std::time::Duration;

use crate::unit::{NtpTime, Time};

/// How fast the estimate follows a slower path or a drifting clock: 500 ppm of drift and twice that.
const RISE_PPM: u128 = 1_000;

#[derive(Debug, Default)]
pub struct SourceClock {
    estimate: Option<Estimate>,
}

#[derive(Clone, Copy, Debug)]
struct Estimate {
    /// Local nanoseconds less NTP nanoseconds: the least seen, which is the path with the shortest queue.
    offset: i128,
    updated: Time,
}

impl SourceClock {
    /// A sender report written at `ntp` has arrived at `now`. Returns when it was written, on the local clock.
    pub fn sender_report(&mut self, now: Time, ntp: NtpTime) -> Time {
        let sent = ntp.to_duration().as_nanos() as i128;
        let sample = i128::from(now.0) - sent;
        let offset = match self.estimate {
            Some(old) if (sample - old.offset).unsigned_abs() < Duration::from_secs(2).as_nanos() => {
                let rise = (now.since(old.updated).as_nanos() * RISE_PPM / 1_000_000) as i128;
                sample.min(old.offset + rise)
            }
            // The first, or the publisher's clock was set.
            _ => sample,
        };
        self.estimate = Some(Estimate { offset, updated: now });
        Time((sent + offset).clamp(0, i128::from(u64::MAX)) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ntp(ms: u64) -> NtpTime {
        NtpTime::from_duration(Duration::from_millis(3_900_000_000_000 + ms))
    }

    #[test]
    fn queueing_delay_does_not_move_the_clock() {
        let mut clock = SourceClock::default();
        clock.sender_report(Time::from_millis(1_020), ntp(0));
        let mapped = clock.sender_report(Time::from_millis(2_320), ntp(1_000));
        let early = mapped.since(Time::from_millis(2_020));
        assert!(early < Duration::from_millis(3), "{early:?}");
    }

    #[test]
    fn a_set_clock_is_followed_at_once() {
        let mut clock = SourceClock::default();
        clock.sender_report(Time::from_millis(1_000), ntp(0));
        let mapped = clock.sender_report(Time::from_millis(2_000), ntp(86_400_000));
        assert!(mapped.since(Time::from_millis(1_999)) < Duration::from_millis(2), "{mapped:?}");
    }
}
