//! When to probe, and how fast: at the start, after a drop, and while more is wanted than the estimate allows. A probe is
//! a short cluster of packets at a higher rate; what it shows is measured elsewhere (`probe_meter`).

use std::time::Duration;

use crate::unit::{Bitrate, DataSize, ProbeCluster, ProbeId, Time};

/// A cluster's length, and the least that tells a rate: some full packets, unless that takes too long.
const LENGTH: Duration = Duration::from_millis(25);
const SIZE_MIN: DataSize = DataSize(7_000);
const LENGTH_MAX: Duration = Duration::from_millis(75);
const PACKETS_MIN: u32 = 5;
/// The first two clusters, as multiples of the start.
const FIRST: [f64; 2] = [3.0, 6.0];
/// The next cluster after one that showed this share of its rate.
const CONTINUE: f64 = 0.7;
const STEP: f64 = 2.0;
/// A cluster that has shown nothing after this long won't.
const RESULT_WAIT: Duration = Duration::from_secs(1);
/// While more is wanted than the estimate allows.
const INTERVAL: Duration = Duration::from_secs(4);
/// Nothing is probed beyond this multiple of what is wanted.
const BEYOND_WANTED: f64 = 1.15;
/// A fall below this share of the estimate is a drop, …
const DROP: f64 = 0.66;
/// … and this share of what was before is tried soon, once the queue is quiet.
const RECOVERY: f64 = 0.95;
const RECOVERY_AFTER: Duration = Duration::from_millis(1_000);
const RECOVERY_INTERVAL: Duration = Duration::from_millis(1_000);
const RECOVERY_UNTIL: Duration = Duration::from_secs(6);
/// So much of it back is enough.
const RECOVERED: f64 = 0.85;

/// What the prober goes by.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// Bits per second.
    pub estimate: f64,
    /// What could be used.
    pub wanted: f64,
    /// The queue is quiet, losses are harmless, feedback comes.
    pub calm: bool,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    rate: f64,
    until: Time,
}

#[derive(Debug)]
pub struct ProbeController {
    next_id: ProbeId,
    started: bool,
    /// A cluster whose result may lead to the next.
    waiting: Option<Waiting>,
    next_at: Time,
    probed: Time,
    /// Before a drop: the estimate, and when it fell.
    before_drop: Option<(f64, Time)>,
    last_estimate: f64,
    /// Clusters to be sent, in order.
    queue: [Option<ProbeCluster>; 2],
}

impl Default for ProbeController {
    fn default() -> ProbeController {
        ProbeController {
            next_id: ProbeId::FIRST,
            started: false,
            waiting: None,
            next_at: Time::ZERO,
            probed: Time::ZERO,
            before_drop: None,
            last_estimate: 0.0,
            queue: [None; 2],
        }
    }
}

impl ProbeController {
    /// Looks whether a probe is due.
    pub fn update(&mut self, now: Time, situation: &Situation) {
        let (estimate, last) = (situation.estimate, self.last_estimate);
        self.last_estimate = estimate;
        if !self.started {
            self.started = true;
            for multiple in FIRST {
                self.probe(now, estimate * multiple, situation);
            }
            return;
        }
        if estimate < DROP * last && self.before_drop.is_none_or(|(before, _)| before < last) {
            self.before_drop = Some((last, now));
        }
        self.waiting = self.waiting.filter(|waiting| now < waiting.until);
        if !situation.calm || self.queue[0].is_some() {
            return;
        }
        let enough = situation.wanted <= estimate;
        if let Some(waiting) = self.waiting {
            if estimate > CONTINUE * waiting.rate && !enough {
                self.probe(now, estimate * STEP, situation);
            }
            return;
        }
        self.before_drop = self
            .before_drop
            .filter(|(before, at)| now.since(*at) < RECOVERY_UNTIL && estimate < RECOVERED * before);
        if let Some((before, at)) = self.before_drop
            && now.since(at) >= RECOVERY_AFTER
            && now.since(self.probed) >= RECOVERY_INTERVAL
        {
            self.probe(now, before * RECOVERY, situation);
            return;
        }
        if now >= self.next_at && !enough {
            self.probe(now, estimate * STEP, situation);
        }
    }

    /// The next cluster to send.
    pub fn poll(&mut self) -> Option<ProbeCluster> {
        let [first, second] = self.queue;
        self.queue = [second, None];
        first
    }

    /// When [`ProbeController::update`] has something to do without feedback.
    pub fn next_timeout(&self) -> Option<Time> {
        self.started.then_some(self.next_at)
    }

    /// Begins as if nothing was known.
    pub fn restart(&mut self) {
        let next_id = self.next_id;
        *self = ProbeController { next_id, ..ProbeController::default() };
    }

    fn probe(&mut self, now: Time, rate: f64, situation: &Situation) {
        let rate = rate.min(situation.wanted * BEYOND_WANTED);
        self.next_at = now + INTERVAL;
        self.probed = now;
        if rate <= situation.estimate * 1.05 {
            return;
        }
        self.waiting = Some(Waiting { rate, until: now + RESULT_WAIT });
        let rate = Bitrate(rate as u64);
        let cluster = ProbeCluster {
            id: self.next_id,
            rate,
            size: (rate * LENGTH).max(SIZE_MIN).min(rate * LENGTH_MAX),
            packets: PACKETS_MIN,
        };
        self.next_id = self.next_id.next();
        if let Some(place) = self.queue.iter_mut().find(|place| place.is_none()) {
            *place = Some(cluster);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(prober: &mut ProbeController, ms: u64, situation: Situation) -> Vec<u64> {
        prober.update(Time::from_millis(ms), &situation);
        std::iter::from_fn(|| prober.poll()).map(|cluster| cluster.rate.0).collect()
    }

    fn calm(estimate: f64, wanted: f64) -> Situation {
        Situation { estimate, wanted, calm: true }
    }

    #[test]
    fn it_begins_with_three_and_six_times_the_start_and_doubles_while_that_works() {
        let mut prober = ProbeController::default();
        assert_eq!(rates(&mut prober, 0, calm(3e5, 1e7)), [900_000, 1_800_000]);
        assert!(rates(&mut prober, 100, calm(9e5, 1e7)).is_empty());
        assert_eq!(rates(&mut prober, 150, calm(1.7e6, 1e7)), [3_400_000]);
        assert!(rates(&mut prober, 300, calm(2e6, 1e7)).is_empty());
        assert_eq!(rates(&mut prober, 4_200, calm(2e6, 1e7)), [4_000_000]);
    }

    #[test]
    fn it_probes_no_further_than_wanted_and_not_while_there_is_a_queue() {
        let mut prober = ProbeController::default();
        assert_eq!(rates(&mut prober, 0, calm(3e5, 5e5)), [575_000, 575_000]);
        assert!(rates(&mut prober, 5_000, calm(7e5, 5e5)).is_empty());
        assert!(rates(&mut prober, 5_000, Situation { calm: false, ..calm(4e5, 5e5) }).is_empty());
        assert_eq!(rates(&mut prober, 5_000, calm(4e5, 5e5)), [575_000]);
    }

    #[test]
    fn after_a_drop_it_tries_the_old_rate_soon() {
        let mut prober = ProbeController::default();
        rates(&mut prober, 0, calm(3e5, 1e7));
        rates(&mut prober, 1_100, calm(2e6, 1e7));
        assert_eq!(rates(&mut prober, 6_000, calm(2e6, 1e7)), [4_000_000]);
        assert!(rates(&mut prober, 8_000, calm(4e5, 1e7)).is_empty());
        assert_eq!(rates(&mut prober, 9_600, calm(4e5, 1e7)), [1_900_000]);
    }
}
