//! A greedy flow in the way of TCP NewReno: slow start, congestion avoidance, one halving per window, a time-out. It
//! stands for whatever else uses a link.

use std::collections::BTreeMap;
use std::time::Duration;

use sfu_core::unit::Time;

const SEGMENT: usize = 1_400;
const TIMEOUT: Duration = Duration::from_millis(1_000);
/// Later packets that arrived before one counts as lost.
const DUPLICATES: u64 = 3;

#[derive(Clone, Copy, Debug)]
pub struct TcpSpec {
    pub from: Time,
    pub to: Time,
}

pub struct Tcp {
    spec: TcpSpec,
    window: f64,
    threshold: f64,
    next: u64,
    /// Losses before this number have been answered.
    recovered: u64,
    in_flight: BTreeMap<u64, Time>,
    acked_at: Time,
    pub arrived_bytes: usize,
}

impl Tcp {
    pub fn new(spec: TcpSpec) -> Tcp {
        Tcp {
            spec,
            window: 10.0,
            threshold: f64::MAX,
            next: 0,
            recovered: 0,
            in_flight: BTreeMap::new(),
            acked_at: spec.from,
            arrived_bytes: 0,
        }
    }

    /// Numbers of the packets that leave at `now`.
    pub fn send(&mut self, now: Time) -> Vec<(u64, usize)> {
        if now < self.spec.from || now >= self.spec.to {
            self.in_flight.clear();
            return Vec::new();
        }
        if self.in_flight.is_empty() {
            self.acked_at = now;
        } else if now.since(self.acked_at) > TIMEOUT {
            self.threshold = (self.window / 2.0).max(2.0);
            self.window = 1.0;
            self.in_flight.clear();
            self.acked_at = now;
        }
        let mut out = Vec::new();
        while (self.in_flight.len() as f64) < self.window {
            self.in_flight.insert(self.next, now);
            out.push((self.next, SEGMENT));
            self.next += 1;
        }
        out
    }

    /// The sender hears that `seq` arrived.
    pub fn acked(&mut self, now: Time, seq: u64) {
        if self.in_flight.remove(&seq).is_none() {
            return;
        }
        self.acked_at = now;
        self.window += if self.window < self.threshold { 1.0 } else { 1.0 / self.window };
        let lost: Vec<u64> =
            self.in_flight.range(..seq.saturating_sub(DUPLICATES - 1)).map(|(n, _)| *n).collect();
        for lost in lost {
            self.in_flight.remove(&lost);
            if lost >= self.recovered {
                self.threshold = (self.window / 2.0).max(2.0);
                self.window = self.threshold;
                self.recovered = self.next;
            }
        }
    }
}
