//! What is left of an estimate while feedback doesn't come although packets are on their way. Afterwards it returns
//! step by step, as feedback shows that packets arrive.

use std::time::Duration;

use crate::unit::Time;

/// Feedback may be missing for so long, on top of a round trip.
const PATIENCE: Duration = Duration::from_millis(500);
/// Then the share is halved each time that this has passed.
const HALVING: Duration = Duration::from_millis(350);
const SHARE_MIN: f64 = 1.0 / 256.0;
/// With feedback it doubles as often as a round trip and this have passed.
const DOUBLING: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub struct Silence {
    share: f64,
    /// When feedback last came, or the first packet of a wait left.
    heard: Option<Time>,
    stepped: Time,
}

impl Default for Silence {
    fn default() -> Silence {
        Silence { share: 1.0, heard: None, stepped: Time::ZERO }
    }
}

impl Silence {
    /// What is left, 0–1.
    pub fn share(&self) -> f64 {
        self.share
    }

    pub fn is_silent(&self) -> bool {
        self.share < 1.0
    }

    /// Feedback came.
    pub fn heard(&mut self, now: Time, rtt: Duration) {
        self.heard = Some(now);
        if self.is_silent() && now.since(self.stepped) >= rtt + DOUBLING {
            self.share = (self.share * 2.0).min(1.0);
            self.stepped = now;
        }
    }

    /// Nothing is on its way: waiting for feedback begins with the next packet.
    pub fn idle(&mut self) {
        self.heard = None;
    }

    /// A packet leaves.
    pub fn sent(&mut self, now: Time) {
        self.heard.get_or_insert(now);
    }

    /// When the share is halved next.
    pub fn next_timeout(&self, rtt: Duration) -> Option<Time> {
        let first = self.heard? + PATIENCE + rtt;
        (self.share > SHARE_MIN).then(|| first.max(self.stepped + HALVING))
    }

    pub fn handle_timeout(&mut self, now: Time, rtt: Duration) {
        if self.next_timeout(rtt).is_some_and(|due| now >= due) {
            self.share = (self.share / 2.0).max(SHARE_MIN);
            self.stepped = now;
        }
    }

    pub fn reset(&mut self) {
        *self = Silence::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    #[test]
    fn three_seconds_of_silence_leave_a_hundredth_and_it_returns_within_two() {
        let mut silence = Silence::default();
        silence.sent(Time::ZERO);
        for ms in 0..3_000 {
            silence.handle_timeout(Time::from_millis(ms), RTT);
        }
        assert!(silence.share() <= 1.0 / 64.0, "{}", silence.share());
        for ms in (3_000..5_000).step_by(50) {
            silence.heard(Time::from_millis(ms), RTT);
        }
        assert!(!silence.is_silent());
    }

    #[test]
    fn who_sends_nothing_waits_for_nothing() {
        let mut silence = Silence::default();
        silence.heard(Time::ZERO, RTT);
        silence.idle();
        assert_eq!(silence.next_timeout(RTT), None);
        silence.sent(Time::from_millis(60_000));
        assert!(silence.next_timeout(RTT).unwrap() > Time::from_millis(60_500));
    }
}
