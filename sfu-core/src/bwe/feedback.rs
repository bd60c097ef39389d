//! What a receiver's report says of a packet that was sent, whichever format it came in, and the receiver's clock
//! that it is told in. Knows nothing of what follows from it.

use crate::unit::{ProbeId, Time};
use crate::wire::rtcp::TwccTime;

/// A moment on the receiver's clock, in microseconds from an arbitrary origin. Only differences mean something, and
/// the receiver may lie: they are as long and as negative as they like.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RemoteTime(pub i64);

impl RemoteTime {
    /// Microseconds since `earlier`; negative when `earlier` is later.
    pub fn micros_since(self, earlier: RemoteTime) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What became of one packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    pub sent: Time,
    /// Bytes on the wire.
    pub size: usize,
    pub probe: Option<ProbeId>,
    /// `None` when it had not arrived.
    pub arrival: Option<RemoteTime>,
    /// It was told to be lost before, and wasn't.
    pub was_lost: bool,
}

/// Unwraps the receiver's clock: transport-cc's wraps every 12 days, RFC 8888's every 18 hours.
#[derive(Clone, Copy, Default, Debug)]
pub struct ArrivalClock {
    last: Option<i64>,
}

impl ArrivalClock {
    /// Transport-cc: units of 250 µs, 2³² of them in a cycle.
    pub fn transport_cc(&mut self, time: TwccTime) -> RemoteTime {
        RemoteTime(self.unwrap(time.0 as u32).wrapping_mul(250))
    }

    /// RFC 8888: the report's time in 1/65,536 s, from which arrivals are counted back by [`RemoteTime::before`].
    pub fn report(&mut self, time: u32) -> RemoteTime {
        // 10⁶ / 65,536 = 15,625 / 1,024.
        RemoteTime(self.unwrap(time).wrapping_mul(15_625) >> 10)
    }

    fn unwrap(&mut self, wire: u32) -> i64 {
        let last = self.last.unwrap_or(i64::from(wire));
        let delta = wire.wrapping_sub(last as u32) as i32;
        let unwrapped = last.wrapping_add(i64::from(delta));
        self.last = Some(unwrapped);
        unwrapped
    }
}

impl RemoteTime {
    /// The moment so many 1/1,024 s earlier (RFC 8888's arrival time offset).
    pub fn before(self, offset: u16) -> RemoteTime {
        RemoteTime(self.0.saturating_sub(i64::from(offset) * 15_625 / 16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_unwrap_forwards_and_backwards() {
        let mut clock = ArrivalClock::default();
        let cycle = 1i64 << 32;
        let first = clock.transport_cc(TwccTime(cycle - 4));
        // A reference time of the next cycle, and one that is signed.
        let second = clock.transport_cc(TwccTime(4));
        assert_eq!(second.micros_since(first), 2_000);
        let third = clock.transport_cc(TwccTime(-8));
        assert_eq!(third.micros_since(first), -1_000);

        let mut clock = ArrivalClock::default();
        let first = clock.report(u32::MAX - 65_535);
        let second = clock.report(65_536);
        assert_eq!(second.micros_since(first), 2_000_000);
        assert_eq!(second.micros_since(second.before(512)), 500_000);
    }

    #[test]
    fn a_clock_that_leaps_never_overflows() {
        let mut clock = ArrivalClock::default();
        for n in 0..10_000u32 {
            clock.report(n.wrapping_mul(0x7fff_ffff));
            clock.transport_cc(TwccTime(i64::from(n) * i64::from(i32::MAX)));
        }
        let far = RemoteTime(i64::MAX);
        assert_eq!(far.micros_since(RemoteTime(i64::MIN)), i64::MAX);
        assert_eq!(RemoteTime(i64::MIN).before(8_000), RemoteTime(i64::MIN));
    }
}
