//! What a player would make of a received Opus stream: gaps in arrival, packets that never came, timestamps
//! that don't follow the sequence numbers. It decodes nothing.

use std::time::Duration;

use super::media::{OPUS_TICKS, library};
use super::red;
use crate::net::Time;

/// Silence on the wire that a listener hears.
pub const AUDIO_GAP: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AudioStats {
    pub packets: u64,
    /// Those that came with copies of earlier ones.
    pub redundant: u64,
    /// Packets that aren't one of the source's.
    pub unknown_content: u64,
    /// Later sequence numbers whose timestamp isn't later.
    pub timestamp_violations: u64,
    /// Next sequence numbers whose timestamp isn't 20 ms later: allowed after a pause, else not.
    pub timestamp_jumps: u64,
    pub longest_gap: Duration,
    pub gaps: u64,
}

/// One received Opus stream.
#[derive(Debug, Default)]
pub struct AudioReceiver {
    highest: Option<(u64, u32)>,
    last_arrival: Option<Time>,
    stats: AudioStats,
}

impl AudioReceiver {
    pub fn receive(&mut self, now: Time, seq: u64, timestamp: u32, payload: &[u8]) {
        if payload.is_empty() {
            return;
        }
        self.stats.packets += 1;
        self.stats.unknown_content += u64::from(!library().has_opus(payload));
        if let Some(last) = self.last_arrival.replace(now) {
            note_gap(&mut self.stats, now.since(last));
        }
        match self.highest {
            Some((highest, _)) if seq <= highest => return,
            Some((highest, last)) => {
                let ticks = timestamp.wrapping_sub(last);
                self.stats.timestamp_violations += u64::from(ticks.cast_signed() <= 0);
                let steps = u32::try_from(seq - highest).unwrap_or(u32::MAX);
                self.stats.timestamp_jumps += u64::from(ticks != steps.wrapping_mul(u32::from(OPUS_TICKS)));
            }
            None => {}
        }
        self.highest = Some((seq, timestamp));
    }

    /// A packet of redundant audio, all of whose blocks should be of the payload type `opus`.
    pub fn receive_red(&mut self, now: Time, seq: u64, timestamp: u32, payload: &[u8], opus: u8) {
        let blocks = red::unpack(payload).unwrap_or_default();
        let Some((_, primary)) = blocks.last().filter(|_| blocks.iter().all(|(pt, _)| *pt == opus)) else {
            self.stats.unknown_content += 1;
            return;
        };
        self.stats.redundant += u64::from(blocks.len() > 1);
        let copies = blocks.iter().rev().skip(1);
        self.stats.unknown_content += copies.filter(|(_, copy)| !library().has_opus(copy)).count() as u64;
        self.receive(now, seq, timestamp, primary);
    }

    /// The sender has paused on purpose.
    pub fn pause(&mut self) {
        self.last_arrival = None;
    }

    /// As of now: a silence that still lasts counts.
    pub fn stats(&self, now: Time) -> AudioStats {
        let mut stats = self.stats;
        if let Some(last) = self.last_arrival {
            note_gap(&mut stats, now.since(last));
        }
        stats
    }
}

fn note_gap(stats: &mut AudioStats, gap: Duration) {
    stats.longest_gap = stats.longest_gap.max(gap);
    stats.gaps += u64::from(gap >= AUDIO_GAP);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_a_gap_and_unmapped_timestamps_are_violations() {
        let mut receiver = AudioReceiver::default();
        let at = |receiver: &mut AudioReceiver, n: u64, timestamp: u32, ms| {
            receiver.receive(Time::from_millis(ms), n, timestamp, library().opus(n));
        };
        for n in 0..10 {
            at(&mut receiver, n, u32::MAX.wrapping_add(n as u32 * 960), n * 20);
        }
        assert_eq!(receiver.stats(Time::from_millis(190)).gaps, 0);
        at(&mut receiver, 10, 9_599, 400);
        let stats = receiver.stats(Time::from_millis(400));
        assert_eq!((stats.gaps, stats.timestamp_jumps, stats.timestamp_violations), (1, 0, 0));
        assert_eq!(stats.longest_gap, Duration::from_millis(220));
        at(&mut receiver, 11, 5_000, 420);
        let stats = receiver.stats(Time::from_millis(420));
        assert_eq!((stats.timestamp_jumps, stats.timestamp_violations, stats.unknown_content), (1, 1, 0));
        receiver.receive(Time::from_millis(440), 12, 5_960, b"noise");
        assert_eq!(receiver.stats(Time::from_millis(440)).unknown_content, 1);
    }
}
