//! The queue that is there and stays: it is drained by sending less for a while. When that doesn't help, somebody else
//! fills it, and who yields to every queue beside a greedy flow starves: then delays say nothing for some time.

use std::time::Duration;

use crate::unit::Time;

/// A queue that may stay.
const TOLERATED: Duration = Duration::from_millis(25);
/// What is above that would be drained in about this time, …
const DRAIN_S: f64 = 1.0;
/// … but never by sending less than this share.
const SHARE_MIN: f64 = 0.7;
/// A queue longer than this for so long is overuse, although it doesn't grow.
const STANDING: Duration = Duration::from_millis(60);
const STANDING_FOR: Duration = Duration::from_millis(500);
/// Draining without success for so long shows that somebody else fills the queue.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// For so long that is believed.
const CONTENDED_FOR: Duration = Duration::from_secs(20);

#[derive(Default, Debug)]
pub struct StandingQueue {
    /// Since when there has been more queue than is tolerated.
    since: Option<Time>,
    /// Since when it has been as long as to be overuse.
    long_since: Option<Time>,
    contended_until: Option<Time>,
    share: Option<f64>,
    /// The estimate before draining began, in bits per second.
    before: f64,
}

/// What follows from the queue.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Verdict {
    Quiet,
    /// It has stood for so long that it is overuse, although it doesn't grow.
    Over,
    /// Draining was in vain: back to this estimate.
    Contended(f64),
}

impl StandingQueue {
    /// Takes the latest queue, and the estimate in bits per second.
    pub fn update(&mut self, now: Time, queue: Duration, estimate: f64) -> Verdict {
        self.contended_until = self.contended_until.filter(|until| now < *until);
        if queue <= TOLERATED {
            *self = StandingQueue::default();
            return Verdict::Quiet;
        }
        if self.is_contended() {
            self.before = estimate;
            return Verdict::Quiet;
        }
        if self.since.is_none() {
            self.before = estimate;
        }
        let since = *self.since.get_or_insert(now);
        if now.since(since) > PATIENCE {
            self.contended_until = Some(now + CONTENDED_FOR);
            // The next test begins when this one's belief ends.
            self.since = Some(now + CONTENDED_FOR);
            self.share = None;
            return Verdict::Contended(self.before);
        }
        let excess = (queue - TOLERATED).as_secs_f64() / DRAIN_S;
        self.share = Some((1.0 - excess).max(SHARE_MIN));
        if queue <= STANDING {
            self.long_since = None;
            return Verdict::Quiet;
        }
        let over = now.since(*self.long_since.get_or_insert(now)) >= STANDING_FOR;
        if over {
            self.long_since = Some(now);
            return Verdict::Over;
        }
        Verdict::Quiet
    }

    /// Share of the estimate that is sent while the queue is drained.
    pub fn share(&self) -> f64 {
        self.share.unwrap_or(1.0)
    }

    /// Somebody else fills the queue.
    pub fn is_contended(&self) -> bool {
        self.contended_until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    #[test]
    fn a_queue_that_yields_is_drained_and_one_that_doesnt_is_somebody_elses() {
        let mut standing = StandingQueue::default();
        let update = |standing: &mut StandingQueue, ms, queue_ms, estimate| {
            standing.update(at(ms), Duration::from_millis(queue_ms), estimate)
        };
        assert_eq!(update(&mut standing, 0, 200, 1e6), Verdict::Quiet);
        assert!((0.7..0.9).contains(&standing.share()));
        assert_eq!(update(&mut standing, 600, 200, 1e6), Verdict::Over, "once in a while");
        assert_eq!(update(&mut standing, 700, 100, 1e6), Verdict::Quiet);
        assert_eq!(update(&mut standing, 1_500, 10, 1e6), Verdict::Quiet);
        assert_eq!(standing.share(), 1.0);
        let mut estimate = 2e6;
        for ms in (2_000..4_500).step_by(50) {
            assert!(!matches!(update(&mut standing, ms, 200, estimate), Verdict::Contended(_)));
            estimate *= 0.98;
        }
        assert_eq!(update(&mut standing, 4_550, 200, estimate), Verdict::Contended(2e6));
        assert!(standing.is_contended());
        assert_eq!(standing.share(), 1.0);
        update(&mut standing, 24_600, 200, 2e6);
        assert!(!standing.is_contended(), "another try");
        assert_eq!(update(&mut standing, 27_200, 200, 2e6), Verdict::Contended(2e6));
        update(&mut standing, 28_000, 5, 2e6);
        assert!(!standing.is_contended());
    }
}
