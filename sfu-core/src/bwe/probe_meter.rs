//! What a probe cluster shows: how fast its packets left and how fast they came. Knows nothing of why it was sent.

use crate::bwe::feedback::RemoteTime;
use crate::unit::{ProbeCluster, ProbeId, Time};

/// So much of a cluster must have come for a result.
const SHARE: f64 = 0.8;
/// Clusters that came faster than this multiple of how they left weren't seen properly.
const FASTER_MAX: f64 = 2.0;
/// Coming slower than this share of how it left, a cluster has met the capacity, …
const MET: f64 = 0.9;
/// … and this much of it is taken.
const TAKEN: f64 = 0.95;
/// A cluster that takes longer than this isn't one.
const LENGTH_US_MAX: i64 = 1_000_000;

#[derive(Clone, Copy, Debug)]
struct Cluster {
    asked: ProbeCluster,
    packets: u32,
    bytes: usize,
    first_sent: Time,
    last_sent: Time,
    last_sent_bytes: usize,
    first_arrival: RemoteTime,
    first_arrival_bytes: usize,
    last_arrival: RemoteTime,
}

/// What a cluster has shown.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Probed {
    /// Bits per second that the path carries.
    pub rate: f64,
    /// It can't carry more, at least not beside what else it carries.
    pub met_capacity: bool,
}

#[derive(Default, Debug)]
pub struct ProbeMeter {
    clusters: [Option<Cluster>; ProbeId::COUNT as usize],
}

impl ProbeMeter {
    /// A cluster will be sent.
    pub fn expect(&mut self, asked: &ProbeCluster) {
        let cluster = Cluster {
            asked: *asked,
            packets: 0,
            bytes: 0,
            first_sent: Time::MAX,
            last_sent: Time::ZERO,
            last_sent_bytes: 0,
            first_arrival: RemoteTime(i64::MAX),
            first_arrival_bytes: 0,
            last_arrival: RemoteTime(i64::MIN),
        };
        if let Some(place) = self.clusters.get_mut(usize::from(asked.id.number() - 1)) {
            *place = Some(cluster);
        }
    }

    /// Takes a packet of a cluster that arrived. A result once the cluster has shown something.
    pub fn push(&mut self, id: ProbeId, sent: Time, arrival: RemoteTime, bytes: usize) -> Option<Probed> {
        let cluster = self.clusters.get_mut(usize::from(id.number() - 1))?.as_mut()?;
        cluster.packets = cluster.packets.saturating_add(1);
        cluster.bytes = cluster.bytes.saturating_add(bytes);
        cluster.first_sent = cluster.first_sent.min(sent);
        if sent >= cluster.last_sent {
            (cluster.last_sent, cluster.last_sent_bytes) = (sent, bytes);
        }
        if arrival < cluster.first_arrival {
            (cluster.first_arrival, cluster.first_arrival_bytes) = (arrival, bytes);
        }
        cluster.last_arrival = cluster.last_arrival.max(arrival);
        cluster.result()
    }
}

impl Cluster {
    fn result(&self) -> Option<Probed> {
        let enough = f64::from(self.packets) >= SHARE * f64::from(self.asked.packets)
            && self.bytes as f64 >= SHARE * self.asked.size.0 as f64;
        let arrived_us = self.last_arrival.micros_since(self.first_arrival);
        let sent_us = (self.last_sent.since(self.first_sent).as_micros() as i64).max(1);
        if !enough || sent_us > LENGTH_US_MAX || !(1..=LENGTH_US_MAX).contains(&arrived_us) {
            return None;
        }
        let rate = |bytes: usize, us: i64| bytes as f64 * 8e6 / us as f64;
        let sent = rate(self.bytes.saturating_sub(self.last_sent_bytes), sent_us);
        let received = rate(self.bytes.saturating_sub(self.first_arrival_bytes), arrived_us);
        if received > FASTER_MAX * sent {
            return None;
        }
        // Bursts within the cluster show nothing about a rate above the one that was asked for.
        let asked = self.asked.rate.0 as f64;
        let (sent, received) = (sent.min(asked), received.min(asked));
        let met_capacity = received < MET * sent;
        let rate = if met_capacity { TAKEN * received } else { sent.min(received) };
        Some(Probed { rate, met_capacity })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::{Bitrate, DataSize};

    /// Ten packets of 1,250 bytes, so long apart; the last result.
    fn cluster(sent_ms: u64, arrived_ms: i64) -> Option<Probed> {
        let mut meter = ProbeMeter::default();
        let id = ProbeId::from_number(3).unwrap();
        meter.expect(&ProbeCluster { id, rate: Bitrate(20_000_000), size: DataSize(12_500), packets: 5 });
        (0..10)
            .map(|n| {
                let arrival = RemoteTime(n as i64 * arrived_ms * 1_000);
                meter.push(id, Time::from_millis(n * sent_ms), arrival, 1_250)
            })
            .last()
            .flatten()
    }

    #[test]
    fn a_free_link_shows_the_probes_rate_and_a_full_one_its_own() {
        assert_eq!(cluster(1, 1), Some(Probed { rate: 10e6, met_capacity: false }));
        assert_eq!(cluster(1, 4), Some(Probed { rate: 0.95 * 2.5e6, met_capacity: true }));
    }

    #[test]
    fn what_cant_be_is_no_result() {
        assert_eq!(cluster(4, 1), None, "came much faster than it left");
        assert_eq!(cluster(1, 0), None);
        assert_eq!(cluster(1, 500), None);
        let mut meter = ProbeMeter::default();
        let id = ProbeId::from_number(7).unwrap();
        assert_eq!(meter.push(id, Time::ZERO, RemoteTime(0), 1_000), None, "never asked for");
    }
}
