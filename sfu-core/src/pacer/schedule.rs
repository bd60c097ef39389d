//! How much may leave now: a credit that grows with the pacing rate and is spent by what leaves, and the probe cluster
//! that is being sent. Works in ticks, so that packets for one subscriber leave together. Holds no packets.

use std::time::Duration;

use crate::unit::{Bitrate, ProbeCluster, ProbeId, Time};

/// Credit is looked at this often.
pub const TICK: Duration = Duration::from_millis(5);
/// Credit that may be saved up although a tick at the pacing rate is less: two full packets.
const CREDIT_MIN: f64 = 2_800.0;
/// Clusters that may wait for their turn.
const CLUSTERS_MAX: usize = 4;
/// A cluster that hasn't been sent after this long won't show its rate any more.
const CLUSTER_TIME_MAX: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug)]
struct Running {
    cluster: ProbeCluster,
    until: Time,
    bytes: u64,
    packets: u32,
}

#[derive(Debug)]
pub struct Schedule {
    /// Bits per second.
    rate: f64,
    /// Bytes; below zero after a packet that was larger.
    credit: f64,
    at: Time,
    running: Option<Running>,
    waiting: [Option<ProbeCluster>; CLUSTERS_MAX],
}

impl Schedule {
    pub fn new(rate: Bitrate) -> Schedule {
        Schedule {
            rate: rate.0 as f64,
            credit: CREDIT_MIN,
            at: Time::ZERO,
            running: None,
            waiting: [None; CLUSTERS_MAX],
        }
    }

    pub fn set_rate(&mut self, rate: Bitrate) {
        self.rate = rate.0 as f64;
    }

    /// Has a cluster sent as soon as those before it are; forgotten when too many wait.
    pub fn probe(&mut self, cluster: ProbeCluster) {
        if let Some(place) = self.waiting.iter_mut().find(|place| place.is_none()) {
            *place = Some(cluster);
        }
    }

    /// Brings the credit up to `now`.
    pub fn advance(&mut self, now: Time) {
        let elapsed = now.since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        let rate = self.effective_rate();
        let most = (rate / 8.0 * TICK.as_secs_f64()).max(CREDIT_MIN);
        self.credit = (self.credit + rate / 8.0 * elapsed).min(most);
        self.running = self.running.filter(|running| now < running.until);
        if self.running.is_none() {
            self.begin(now);
        }
    }

    /// Whether a packet may leave now.
    pub fn allows(&self) -> bool {
        self.credit > 0.0
    }

    /// The cluster that a packet belongs to that leaves now.
    pub fn cluster(&self) -> Option<ProbeId> {
        self.running.map(|running| running.cluster.id)
    }

    /// A packet leaves.
    pub fn sent(&mut self, bytes: usize) {
        self.credit -= bytes as f64;
        let Some(running) = &mut self.running else { return };
        running.bytes += bytes as u64;
        running.packets += 1;
        if running.bytes >= running.cluster.size.0 && running.packets >= running.cluster.packets {
            let now = self.at;
            self.running = None;
            self.begin(now);
        }
    }

    /// A packet leaves that isn't paced: it takes its share of what the others may have, and belongs to no cluster.
    pub fn sent_unpaced(&mut self, bytes: usize) {
        self.credit -= bytes as f64;
    }

    /// When there is something to do again, given that packets wait, or don't.
    pub fn next_timeout(&self, packets_wait: bool) -> Option<Time> {
        if !packets_wait && self.running.is_none() {
            return None;
        }
        let missing = (-self.credit).max(0.0) * 8.0 / self.effective_rate().max(1.0);
        Some(self.at + TICK.max(Duration::from_secs_f64(missing.min(1.0))))
    }

    fn begin(&mut self, now: Time) {
        let Some(cluster) = self.waiting[0].take() else { return };
        self.waiting.rotate_left(1);
        self.running = Some(Running { cluster, until: now + CLUSTER_TIME_MAX, bytes: 0, packets: 0 });
        // Debts of the slower rate would delay the cluster, and savings would begin it with a burst.
        self.credit = self.credit.clamp(0.0, 1.0);
    }

    fn effective_rate(&self) -> f64 {
        self.running.map_or(self.rate, |running| (running.cluster.rate.0 as f64).max(self.rate))
    }
}
