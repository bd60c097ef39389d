//! How fast what was sent arrives, and how fast the same packets had been sent. Knows nothing of why they differ.

use crate::bwe::feedback::RemoteTime;
use crate::unit::Time;

/// A measurement's length at first, and later: some frames of video.
const FIRST_US: i64 = 400_000;
const LATER_US: i64 = 150_000;
/// Without anything for this long, a measurement begins anew.
const PAUSE_US: i64 = 1_000_000;
/// Weight of a new measurement.
const WEIGHT: f64 = 0.5;
/// A rate can't be believed that is so much above what was sent: a queue drains faster than it was filled, but
/// receivers may also lie.
const ABOVE_SENT_MAX: f64 = 2.0;

/// Packets of one measurement.
#[derive(Clone, Copy, Debug)]
struct Window {
    first_sent: Time,
    last_sent: Time,
    first_arrival: RemoteTime,
    last_arrival: RemoteTime,
    /// Without the first packet's, which arrived before the window began.
    bytes: usize,
}

/// Rates in bits per second.
#[derive(Default, Debug)]
pub struct AckedRate {
    window: Option<Window>,
    received: Option<f64>,
    sent: f64,
}

impl AckedRate {
    /// Takes a packet that arrived.
    pub fn push(&mut self, sent: Time, arrival: RemoteTime, bytes: usize) {
        let new = Window {
            first_sent: sent,
            last_sent: sent,
            first_arrival: arrival,
            last_arrival: arrival,
            bytes: 0,
        };
        let Some(window) = &mut self.window else {
            self.window = Some(new);
            return;
        };
        let step = arrival.micros_since(window.last_arrival);
        if !(-PAUSE_US..=PAUSE_US).contains(&step) {
            self.window = Some(new);
            return;
        }
        window.bytes = window.bytes.saturating_add(bytes);
        window.last_sent = window.last_sent.max(sent);
        window.last_arrival = window.last_arrival.max(arrival);
        let span = window.last_arrival.micros_since(window.first_arrival);
        let wanted = if self.received.is_none() { FIRST_US } else { LATER_US };
        if span >= wanted {
            let window = *window;
            self.window = Some(new);
            self.measured(&window, span);
        }
    }

    /// Bits per second that arrive; `None` before the first measurement.
    pub fn received(&self) -> Option<f64> {
        self.received
    }

    /// Whether what is sent arrives as fast as it is sent.
    pub fn keeps_up(&self) -> bool {
        self.received.is_some_and(|received| received >= 0.95 * self.sent)
    }

    pub fn reset(&mut self) {
        *self = AckedRate::default();
    }

    fn measured(&mut self, window: &Window, span_us: i64) {
        let bits = window.bytes as f64 * 8.0;
        let sent_s = window.last_sent.since(window.first_sent).as_secs_f64().max(0.01);
        let sent = bits / sent_s;
        let received = (bits * 1e6 / span_us as f64).min(sent * ABOVE_SENT_MAX);
        let blend = |old: f64, new: f64| old + WEIGHT * (new - old);
        match self.received {
            Some(before) => {
                self.received = Some(blend(before, received));
                self.sent = blend(self.sent, sent);
            }
            None => (self.received, self.sent) = (Some(received), sent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of 1,250 bytes: what arrives every 10 ms is 1 Mbit/s.
    fn feed(rate: &mut AckedRate, packets: u64, sent_ms: u64, arrived_ms: u64) -> f64 {
        for n in 0..packets {
            rate.push(Time::from_millis(n * sent_ms), RemoteTime((n * arrived_ms) as i64 * 1_000), 1_250);
        }
        rate.received().unwrap()
    }

    #[test]
    fn the_rate_is_the_links_and_not_the_senders() {
        let mut rate = AckedRate::default();
        let received = feed(&mut rate, 200, 5, 10);
        assert!((received - 1e6).abs() < 1e4, "{received}");
        assert!(!rate.keeps_up());
        let mut rate = AckedRate::default();
        feed(&mut rate, 200, 10, 10);
        assert!(rate.keeps_up());
    }

    #[test]
    fn a_rate_far_above_what_was_sent_is_not_believed() {
        let received = feed(&mut AckedRate::default(), 2_000, 10, 1);
        assert!(received <= 2.02e6, "{received}");
    }

    #[test]
    fn a_pause_is_not_averaged() {
        let mut rate = AckedRate::default();
        let before = feed(&mut rate, 200, 10, 10);
        rate.push(Time::from_millis(60_000), RemoteTime(60_000_000), 1_250);
        rate.push(Time::from_millis(60_010), RemoteTime(60_010_000), 1_250);
        assert_eq!(rate.received(), Some(before));
    }
}
