//! Finds the gaps in one received stream and decides when to ask for what is missing (RFC 4585 §6.2.1). Knows no
//! RTCP format; the numbers it hands out are written by the caller.

use std::collections::VecDeque;
use std::time::Duration;

use crate::unit::{ExtSeq, Time};

/// Reordering on ordinary paths is over within this time; a NACK before it would be wasted.
const REORDER_WINDOW: Duration = Duration::from_millis(10);
/// How often one packet is asked for.
const TRIES_MAX: u8 = 10;
/// A packet missing for longer isn't worth repairing: the frame is overdue everywhere.
const AGE_MAX: Duration = Duration::from_secs(1);
/// More missing packets than this are not repaired one by one: a keyframe is cheaper.
const MISSING_MAX: usize = 256;
/// Before a repair has been seen.
const RTT_DEFAULT: Duration = Duration::from_millis(100);
const RTT_MIN: Duration = Duration::from_millis(10);
const RTT_MAX: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug)]
struct Missing {
    seq: ExtSeq,
    since: Time,
    asked: Option<Time>,
    due: Time,
    tries: u8,
}

#[derive(Debug)]
pub struct NackGenerator {
    /// In order of sequence number.
    missing: VecDeque<Missing>,
    highest: Option<ExtSeq>,
    /// From asking to repair, smoothed: how long to wait before asking again.
    rtt: Duration,
}

/// What a packet's arrival means for repair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gap {
    /// In order, or a repair.
    None,
    /// Packets are missing before it and will be asked for.
    Repairable,
    /// Too much is missing: ask for a keyframe.
    Hopeless,
}

impl Default for NackGenerator {
    fn default() -> NackGenerator {
        NackGenerator { missing: VecDeque::new(), highest: None, rtt: RTT_DEFAULT }
    }
}

impl NackGenerator {
    /// A packet has arrived as itself.
    pub fn received(&mut self, now: Time, seq: ExtSeq) -> Gap {
        let Some(highest) = self.highest else {
            self.highest = Some(seq);
            return Gap::None;
        };
        if seq <= highest {
            // Reordered: says nothing about how long a repair takes.
            self.found(seq);
            return Gap::None;
        }
        self.highest = Some(seq);
        let lost = seq.since(highest) - 1;
        if lost == 0 {
            return Gap::None;
        }
        if lost as usize + self.missing.len() > MISSING_MAX {
            self.missing.clear();
            return Gap::Hopeless;
        }
        let due = now + REORDER_WINDOW;
        self.missing.extend((1..=lost as u64).map(|ahead| Missing {
            seq: highest.plus(ahead),
            since: now,
            asked: None,
            due,
            tries: 0,
        }));
        Gap::Repairable
    }

    /// Appends the numbers that are due to `nack`, and forgets those that are not worth it any more. Returns whether
    /// one was given up.
    pub fn poll(&mut self, now: Time, nack: &mut Vec<ExtSeq>) -> bool {
        let before = self.missing.len();
        self.missing.retain(|missing| missing.tries < TRIES_MAX && now.since(missing.since) < AGE_MAX);
        let given_up = self.missing.len() < before;
        for missing in self.missing.iter_mut().filter(|missing| missing.due <= now) {
            nack.push(missing.seq);
            missing.asked = Some(now);
            missing.tries += 1;
            missing.due = now + self.rtt.mul_f32(1.25);
        }
        given_up
    }

    pub fn next_timeout(&self) -> Option<Time> {
        self.missing.iter().map(|missing| missing.due).min()
    }

    /// A packet has arrived as RTX.
    pub fn repaired(&mut self, now: Time, seq: ExtSeq) {
        let Some(missing) = self.found(seq) else { return };
        if let (Some(asked), 1) = (missing.asked, missing.tries) {
            let sample = now.since(asked).clamp(RTT_MIN, RTT_MAX);
            self.rtt = (self.rtt * 7 + sample) / 8;
        }
    }

    fn found(&mut self, seq: ExtSeq) -> Option<Missing> {
        let at = self.missing.binary_search_by_key(&seq, |missing| missing.seq).ok()?;
        self.missing.remove(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    fn due(generator: &mut NackGenerator, at: u64) -> Vec<u64> {
        let mut nack = Vec::new();
        generator.poll(ms(at), &mut nack);
        nack.into_iter().map(|seq| seq.0).collect()
    }

    #[test]
    fn reordering_within_the_window_asks_for_nothing() {
        let mut generator = NackGenerator::default();
        generator.received(ms(0), ExtSeq(1));
        assert_eq!(generator.received(ms(1), ExtSeq(3)), Gap::Repairable);
        assert_eq!(generator.received(ms(5), ExtSeq(2)), Gap::None);
        assert_eq!(due(&mut generator, 20), Vec::<u64>::new());
        assert_eq!(generator.next_timeout(), None);
    }

    #[test]
    fn loss_is_asked_for_within_twenty_milliseconds_and_again_after_a_round_trip() {
        let mut generator = NackGenerator::default();
        generator.received(ms(0), ExtSeq(65_534));
        generator.received(ms(1), ExtSeq(65_538));
        assert_eq!(generator.next_timeout(), Some(ms(11)));
        assert_eq!(due(&mut generator, 11), [65_535, 65_536, 65_537]);
        assert_eq!(due(&mut generator, 100), Vec::<u64>::new());
        generator.received(ms(110), ExtSeq(65_536));
        assert_eq!(due(&mut generator, 140), [65_535, 65_537]);
    }

    #[test]
    fn gives_up_after_a_second() {
        let mut generator = NackGenerator::default();
        generator.received(ms(0), ExtSeq(1));
        generator.received(ms(1), ExtSeq(3));
        let mut asked = 0;
        for at in (0..3_000).step_by(5) {
            asked += due(&mut generator, at).len();
        }
        assert!((2..=10).contains(&asked), "{asked}");
        assert_eq!(generator.next_timeout(), None);
    }

    #[test]
    fn a_flood_of_loss_asks_for_a_keyframe_instead() {
        let mut generator = NackGenerator::default();
        generator.received(ms(0), ExtSeq(1));
        assert_eq!(generator.received(ms(1), ExtSeq(1_000)), Gap::Hopeless);
        assert_eq!(generator.next_timeout(), None);
    }
}
