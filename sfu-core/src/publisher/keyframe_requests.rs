//! Merges the keyframe requests of all subscribers of one layer: at most two a second reach the publisher,
//! repeated while none is answered. Knows who asks as little as how the request is written.

use std::time::Duration;

use crate::unit::Time;

/// Least time between two requests for one layer.
const SPACING: Duration = Duration::from_millis(500);
/// A publisher that ignores requests is asked ever less often, down to this.
const SPACING_MAX: Duration = Duration::from_secs(4);

#[derive(Debug)]
pub struct KeyframeRequests {
    wanted: bool,
    last: Option<Time>,
    spacing: Duration,
}

impl Default for KeyframeRequests {
    fn default() -> KeyframeRequests {
        KeyframeRequests { wanted: false, last: None, spacing: SPACING }
    }
}

impl KeyframeRequests {
    /// Somebody can't decode without a keyframe.
    pub fn want(&mut self) {
        self.wanted = true;
    }

    /// A keyframe has begun to arrive: everybody is served.
    pub fn arrived(&mut self) {
        self.wanted = false;
        self.spacing = SPACING;
    }

    /// Whether to send a request now.
    pub fn poll(&mut self, now: Time) -> bool {
        if !self.wanted || self.next_timeout().is_some_and(|due| now < due) {
            return false;
        }
        if self.last.is_some_and(|last| now.since(last) < self.spacing * 2) {
            self.spacing = (self.spacing * 2).min(SPACING_MAX);
        }
        self.last = Some(now);
        true
    }

    pub fn next_timeout(&self) -> Option<Time> {
        self.wanted.then(|| self.last.map_or(Time::ZERO, |last| last + self.spacing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_requests_becomes_two_a_second() {
        let mut requests = KeyframeRequests::default();
        let mut sent = 0;
        for ms in 0..10_000 {
            requests.want();
            if requests.poll(Time::from_millis(ms)) {
                sent += 1;
                requests.arrived();
            }
        }
        assert_eq!(sent, 20);
    }

    #[test]
    fn an_unanswered_request_is_repeated_ever_more_slowly() {
        let mut requests = KeyframeRequests::default();
        requests.want();
        let sent: Vec<u64> = (0..20_000).filter(|ms| requests.poll(Time::from_millis(*ms))).collect();
        assert_eq!(sent, [0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500]);
    }

    #[test]
    fn nothing_is_sent_once_the_keyframe_came() {
        let mut requests = KeyframeRequests::default();
        requests.want();
        assert!(requests.poll(Time::from_millis(0)));
        requests.arrived();
        assert_eq!(requests.next_timeout(), None);
        assert!(!requests.poll(Time::from_millis(5_000)));
    }
}
