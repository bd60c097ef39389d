//! How long packets wait on the way: the shortest delay of the last few against the shortest in a long time. Jitter
//! spares some packets, a queue spares none. Knows nothing of rates.

use std::time::Duration;

use crate::bwe::feedback::RemoteTime;
use crate::unit::Time;

/// The floor is the shortest delay of this long, or twice: clocks drift apart by some milliseconds meanwhile.
const BASE_US: i64 = 15_000_000;
/// The recent delay is the shortest of so many packets over so long, or twice.
const RECENT_PACKETS: u32 = 8;
const RECENT_US: i64 = 40_000;

/// The minimum over a window that moves by halves.
#[derive(Clone, Copy, Default, Debug)]
struct Minimum {
    before: Option<i64>,
    now: Option<i64>,
    since: i64,
    packets: u32,
}

impl Minimum {
    fn push(&mut self, at: i64, value: i64, span: i64, packets: u32) {
        if self.now.is_none() {
            self.since = at;
        }
        self.now = Some(self.now.map_or(value, |least| least.min(value)));
        self.packets += 1;
        if at - self.since >= span && self.packets >= packets {
            self.before = self.now.take();
            self.packets = 0;
        }
    }

    fn get(&self) -> Option<i64> {
        self.before.into_iter().chain(self.now).min()
    }
}

/// A queue shorter than this isn't told from noise, and neither is one shorter than half of the jitter.
const NOISE: Duration = Duration::from_millis(4);
const JITTER_SHARE: f64 = 0.5;
/// Weight of a packet in the smoothed jitter.
const JITTER_WEIGHT: f64 = 1.0 / 64.0;

#[derive(Default, Debug)]
pub struct QueueDelay {
    base: Minimum,
    recent: Minimum,
    /// How much packets are later than the luckiest of their time, smoothed, in microseconds.
    jitter_us: f64,
}

impl QueueDelay {
    /// Takes a packet that arrived.
    pub fn push(&mut self, sent: Time, arrival: RemoteTime) {
        let sent = (sent.0 / 1_000) as i64;
        // The two clocks have different origins, so this is a delay but for a constant.
        let delay = arrival.0.saturating_sub(sent);
        self.base.push(sent, delay, BASE_US, 1);
        self.recent.push(sent, delay, RECENT_US, RECENT_PACKETS);
        let later = self.recent.get().map_or(0, |recent| delay.saturating_sub(recent)) as f64;
        self.jitter_us += JITTER_WEIGHT * (later - self.jitter_us);
    }

    /// Whether packets wait at all, as far as the path's own jitter lets see.
    pub fn is_queued(&self) -> bool {
        self.get() > NOISE.max(Duration::from_micros((self.jitter_us * JITTER_SHARE) as u64))
    }

    /// How long the last packets waited longer than the luckiest one.
    pub fn get(&self) -> Duration {
        let above = self.recent.get().zip(self.base.get()).map(|(recent, base)| recent.saturating_sub(base));
        Duration::from_micros(above.unwrap_or_default().max(0) as u64)
    }

    pub fn reset(&mut self) {
        *self = QueueDelay::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(queue: &mut QueueDelay, from_ms: u64, packets: u64, delay_ms: impl Fn(u64) -> u64) {
        for n in 0..packets {
            let sent = from_ms + n * 5;
            queue.push(
                Time::from_millis(sent),
                RemoteTime(((sent + delay_ms(n)) * 1_000) as i64 - 77_000_000),
            );
        }
    }

    #[test]
    fn jitter_is_no_queue_and_a_queue_is_one_in_spite_of_jitter() {
        let mut queue = QueueDelay::default();
        let jitter = |n: u64| 20 + n * 37 % 100;
        feed(&mut queue, 0, 400, jitter);
        assert!(queue.get() < Duration::from_millis(15) && !queue.is_queued(), "{queue:?}");
        feed(&mut queue, 2_000, 100, |n| jitter(n) + 80);
        assert!(queue.get() >= Duration::from_millis(80) && queue.is_queued(), "{queue:?}");
        feed(&mut queue, 2_500, 100, jitter);
        assert!(queue.get() < Duration::from_millis(15), "{:?}", queue.get());
    }

    #[test]
    fn a_longer_route_is_the_new_floor_in_the_end() {
        let mut queue = QueueDelay::default();
        feed(&mut queue, 0, 200, |_| 20);
        feed(&mut queue, 1_000, 200, |_| 120);
        assert_eq!(queue.get(), Duration::from_millis(100));
        feed(&mut queue, 2_000, 6_100, |_| 120);
        assert_eq!(queue.get(), Duration::ZERO);
    }

    #[test]
    fn a_receiver_that_lies_about_time_does_no_harm() {
        let mut queue = QueueDelay::default();
        for arrival in [i64::MAX, i64::MIN, 0, i64::MIN + 1] {
            queue.push(Time::from_millis(5), RemoteTime(arrival));
            queue.get();
        }
    }
}
