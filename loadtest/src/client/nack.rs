//! Which packets of a received stream to ask for again (RFC 4585 §6.2.1), and when to stop asking.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::net::Time;

/// How often one packet is asked for.
const ASKS_MAX: u32 = 10;

/// A packet older than this isn't worth asking for.
const AGE_MAX: Duration = Duration::from_millis(1_500);

/// Missing packets that are remembered; a larger hole is not repaired but needs a keyframe.
const MISSING_MAX: usize = 512;

/// Shortest time between two requests for the same packet.
const INTERVAL_MIN: Duration = Duration::from_millis(20);

/// Remembers what is missing in one stream.
#[derive(Debug, Default)]
pub struct NackGenerator {
    highest: Option<u64>,
    missing: BTreeMap<u64, Missing>,
}

#[derive(Debug)]
struct Missing {
    since: Time,
    asked: Option<Time>,
    asks: u32,
}

impl NackGenerator {
    /// A packet has come, whether as itself or as RTX.
    pub fn received(&mut self, now: Time, seq: u64) {
        let Some(highest) = self.highest else {
            self.highest = Some(seq);
            return;
        };
        if seq <= highest {
            self.missing.remove(&seq);
            return;
        }
        self.highest = Some(seq);
        let hole = (highest + 1)..seq;
        if hole.end - hole.start > MISSING_MAX as u64 {
            self.missing.clear();
            return;
        }
        self.missing.extend(hole.map(|seq| (seq, Missing { since: now, asked: None, asks: 0 })));
        while self.missing.len() > MISSING_MAX {
            self.missing.pop_first();
        }
    }

    /// The packets to ask for now, oldest first.
    pub fn due(&mut self, now: Time, rtt: Duration) -> Vec<u64> {
        let interval = (rtt + rtt / 4).max(INTERVAL_MIN);
        self.missing.retain(|_, missing| missing.asks < ASKS_MAX && now.since(missing.since) < AGE_MAX);
        let mut due = Vec::new();
        for (seq, missing) in &mut self.missing {
            if missing.asked.is_none_or(|asked| now.since(asked) >= interval) {
                missing.asked = Some(now);
                missing.asks += 1;
                due.push(*seq);
            }
        }
        due
    }

    pub fn is_empty(&self) -> bool {
        self.missing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(40);

    #[test]
    fn a_hole_is_asked_for_at_once_and_again_after_a_round_trip() {
        let mut nack = NackGenerator::default();
        nack.received(Time::ZERO, 100);
        nack.received(Time::ZERO, 104);
        assert_eq!(nack.due(Time::ZERO, RTT), [101, 102, 103]);
        assert!(nack.due(Time::from_millis(49), RTT).is_empty());
        nack.received(Time::from_millis(49), 102);
        assert_eq!(nack.due(Time::from_millis(50), RTT), [101, 103]);
    }

    #[test]
    fn asking_ends_after_ten_times_or_when_it_is_too_late() {
        let mut nack = NackGenerator::default();
        nack.received(Time::ZERO, 1);
        nack.received(Time::ZERO, 3);
        let asked: usize = (0..5_000).map(|ms| nack.due(Time::from_millis(ms), RTT).len()).sum();
        assert_eq!(asked, 10);
        assert!(nack.is_empty());
        nack.received(Time::from_secs(5), 5);
        let asked: usize = (5_000..9_000).map(|ms| nack.due(Time::from_millis(ms), RTT * 10).len()).sum();
        assert_eq!(asked, 3);
    }

    #[test]
    fn a_hole_too_large_to_repair_is_not_asked_for() {
        let mut nack = NackGenerator::default();
        nack.received(Time::ZERO, 1);
        nack.received(Time::ZERO, 2_000);
        assert!(nack.due(Time::ZERO, RTT).is_empty());
    }
}
