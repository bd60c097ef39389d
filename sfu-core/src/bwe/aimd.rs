//! The delay-based estimate: up while the queue is quiet, down to what arrives when it grows (draft-ietf-rmcat-gcc-02
//! §5.5). Remembers where the link's capacity was, to go near it carefully. Knows nothing of loss.

use std::time::Duration;

use crate::bwe::trendline::Usage;
use crate::unit::Time;

/// What is kept of the arriving rate when the queue grows.
const DECREASE: f64 = 0.85;
/// What is kept of the estimate when the queue grows although we send far less and all of it arrives: somebody
/// else's traffic, or jitter.
const DECREASE_UNUSED: f64 = 0.85;
/// Growth per second while the capacity isn't known.
const INCREASE_PER_SECOND: f64 = 1.08;
/// The estimate isn't raised above so much of what arrives, and a little: what isn't used isn't known.
const ABOVE_ACKED: f64 = 1.2;
const ABOVE_ACKED_BPS: f64 = 10_000.0;
/// Smallest additive growth per second.
const ADD_MIN_BPS: f64 = 4_000.0;
/// Additive growth is a packet in this time. The same for all: by round trips, near subscribers would starve far ones.
const RESPONSE_S: f64 = 0.2;
/// A decrease shows after this long at the earliest and at the latest.
const SETTLE_MIN: Duration = Duration::from_millis(50);
const SETTLE_MAX: Duration = Duration::from_millis(300);
const PACKET_BITS: f64 = 1_200.0 * 8.0;

/// What a decision of the controller is based on.
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    pub usage: Usage,
    /// Bits per second that arrive.
    pub acked: Option<f64>,
    /// All that is sent arrives as fast as it is sent.
    pub keeps_up: bool,
    /// Much less is sent than the estimate allows.
    pub unused: bool,
    pub rtt: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Hold,
    Increase,
    Decrease,
}

#[derive(Debug)]
pub struct Aimd {
    estimate: f64,
    state: State,
    capacity: LinkCapacity,
    changed: Option<Time>,
    decreased: Option<Time>,
}

impl Aimd {
    pub fn new(start: f64) -> Aimd {
        Aimd {
            estimate: start,
            state: State::Hold,
            capacity: LinkCapacity::default(),
            changed: None,
            decreased: None,
        }
    }

    /// Bits per second.
    pub fn estimate(&self) -> f64 {
        self.estimate
    }

    /// When the estimate was last lowered.
    pub fn decreased(&self) -> Option<Time> {
        self.decreased
    }

    /// Sets the estimate to what a probe has shown.
    pub fn jump(&mut self, now: Time, estimate: f64) {
        self.capacity.forget_if_beyond(estimate);
        self.estimate = estimate;
        self.changed = Some(now);
    }

    /// Lowers the estimate to what another signal allows, so that it needn't be reached again from above.
    pub fn cap(&mut self, estimate: f64) {
        self.estimate = self.estimate.min(estimate);
    }

    /// Takes what the latest feedback says.
    pub fn update(&mut self, now: Time, signal: &Signal) {
        self.state = match (signal.usage, self.state) {
            (Usage::Over, _) => State::Decrease,
            (Usage::Under, _) | (Usage::Normal, State::Decrease) => State::Hold,
            (Usage::Normal, State::Hold | State::Increase) => State::Increase,
        };
        match self.state {
            State::Hold => self.changed = Some(now),
            State::Increase => self.increase(now, signal),
            State::Decrease => self.decrease(now, signal),
        }
    }

    fn increase(&mut self, now: Time, signal: &Signal) {
        let elapsed = now.since(self.changed.replace(now).unwrap_or(now)).as_secs_f64().min(1.0);
        let Some(acked) = signal.acked else { return };
        let ceiling = ABOVE_ACKED * acked + ABOVE_ACKED_BPS;
        if self.estimate >= ceiling {
            return;
        }
        self.capacity.forget_if_beyond(acked);
        let grown = if self.capacity.is_known() {
            self.estimate + self.additive_bps() * elapsed
        } else {
            self.estimate * INCREASE_PER_SECOND.powf(elapsed)
        };
        self.estimate = grown.min(ceiling);
    }

    /// Whole packets: small ones at low rates.
    fn additive_bps(&self) -> f64 {
        let frame = self.estimate / 30.0;
        let packet = frame / (frame / PACKET_BITS).ceil().max(1.0);
        (packet / RESPONSE_S).max(ADD_MIN_BPS)
    }

    fn decrease(&mut self, now: Time, signal: &Signal) {
        let settle = signal.rtt.clamp(SETTLE_MIN, SETTLE_MAX);
        let settling = self.decreased.is_some_and(|at| now.since(at) < settle);
        let collapsed = signal.acked.is_some_and(|acked| acked < 0.5 * self.estimate) && !signal.unused;
        if settling && !collapsed {
            return;
        }
        let Some(acked) = signal.acked else {
            self.estimate *= 0.5;
            (self.changed, self.decreased) = (Some(now), Some(now));
            return;
        };
        let lowered = if signal.unused && signal.keeps_up {
            (self.estimate * DECREASE_UNUSED).max(acked * DECREASE)
        } else {
            self.capacity.forget_if_beyond(acked);
            self.capacity.measured(acked);
            acked * DECREASE
        };
        self.estimate = self.estimate.min(lowered);
        (self.changed, self.decreased) = (Some(now), Some(now));
    }
}

/// Where the link's capacity was when it was last met: a smoothed rate and how much it varies.
#[derive(Debug, Default)]
struct LinkCapacity {
    /// Kilobits per second.
    kbps: Option<f64>,
    /// Variance over the rate.
    deviation: f64,
}

impl LinkCapacity {
    const WEIGHT: f64 = 0.1;
    const DEVIATION_START: f64 = 0.4;
    const DEVIATION_MAX: f64 = 2.5;
    /// Rates within this share of it may always be the same capacity, met beside other traffic.
    const SPREAD_MIN: f64 = 0.25;

    fn is_known(&self) -> bool {
        self.kbps.is_some()
    }

    /// A rate at which the queue grew.
    fn measured(&mut self, bps: f64) {
        let sample = bps / 1e3;
        let Some(kbps) = self.kbps else {
            (self.kbps, self.deviation) = (Some(sample), LinkCapacity::DEVIATION_START);
            return;
        };
        let error = sample - kbps;
        let smoothed = kbps + LinkCapacity::WEIGHT * error;
        self.kbps = Some(smoothed);
        let deviation =
            self.deviation + LinkCapacity::WEIGHT * (error * error / smoothed.max(1.0) - self.deviation);
        self.deviation = deviation.clamp(LinkCapacity::DEVIATION_START, LinkCapacity::DEVIATION_MAX);
    }

    /// A rate that doesn't fit shows that the link is another now.
    fn forget_if_beyond(&mut self, bps: f64) {
        let Some(kbps) = self.kbps else { return };
        let spread = (3.0 * (self.deviation * kbps).sqrt()).max(LinkCapacity::SPREAD_MIN * kbps);
        if (bps / 1e3 - kbps).abs() > spread {
            self.kbps = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(usage: Usage, acked: f64) -> Signal {
        Signal { usage, acked: Some(acked), keeps_up: false, unused: false, rtt: Duration::from_millis(50) }
    }

    #[test]
    fn growth_is_multiplicative_until_the_capacity_is_met_and_careful_afterwards() {
        let mut aimd = Aimd::new(1e6);
        for ms in (0..10_000).step_by(50) {
            aimd.update(Time::from_millis(ms), &signal(Usage::Normal, 1e6));
        }
        assert!((aimd.estimate() - 1.21e6).abs() < 1e3, "not far above what arrives: {}", aimd.estimate());
        aimd.update(Time::from_millis(10_000), &signal(Usage::Over, 1e6));
        assert!((aimd.estimate() - 0.85e6).abs() < 1e3);
        for ms in (10_050..15_000).step_by(50) {
            aimd.update(Time::from_millis(ms), &signal(Usage::Normal, 1e6));
        }
        let added = aimd.estimate() - 0.85e6;
        assert!((100e3..350e3).contains(&added), "{added} bit/s in five seconds");
    }

    #[test]
    fn overuse_while_little_is_sent_does_not_bring_the_estimate_down_to_it() {
        let mut aimd = Aimd::new(3e6);
        let unused = Signal { unused: true, keeps_up: true, ..signal(Usage::Over, 200e3) };
        aimd.update(Time::from_millis(0), &unused);
        assert!((aimd.estimate() - 2.55e6).abs() < 1e3);
        aimd.update(Time::from_millis(1_000), &Signal { keeps_up: false, ..unused });
        assert!((aimd.estimate() - 170e3).abs() < 1e3, "the link carries less than is sent");
    }

    #[test]
    fn a_decrease_is_given_time_to_show() {
        let mut aimd = Aimd::new(2e6);
        aimd.update(Time::from_millis(0), &signal(Usage::Over, 1.9e6));
        let lowered = aimd.estimate();
        aimd.update(Time::from_millis(20), &signal(Usage::Over, 1.5e6));
        assert_eq!(aimd.estimate(), lowered);
        aimd.update(Time::from_millis(70), &signal(Usage::Over, 1.5e6));
        assert!(aimd.estimate() < lowered);
    }
}
