//! What left for one subscriber, newest last, until its fate is known: a ring by transport-wide sequence number. Tells
//! each packet's fate once. Knows nothing of media or of rates.

use crate::bwe::feedback::{Outcome, RemoteTime};
use crate::unit::{ProbeId, SeqNo, Ssrc, Time, TwccSeq};

/// Records at first: half a second of 5 Mbit/s.
const RECORDS_MIN: usize = 256;
/// Most records: a second of 20 Mbit/s.
const RECORDS_MAX: usize = 2_048;
/// What was sent longer ago has no fate any more.
const AGE_MAX_MS: u64 = 10_000;

/// A packet that leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SentPacket {
    /// Bytes on the wire, IP and UDP headers included.
    pub size: usize,
    pub ssrc: Ssrc,
    pub seq: SeqNo,
    /// The cluster that it belongs to.
    pub probe: Option<ProbeId>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Unknown = 0,
    Lost = 1,
    Received = 2,
}

/// Size, probe and fate in 16 bits, so that a record has 16 bytes.
#[derive(Clone, Copy, Default, Debug)]
struct Tag(u16);

impl Tag {
    const SIZE_BITS: u32 = 11;
    const PROBE_BITS: u32 = 3;

    fn new(size: usize, probe: Option<ProbeId>) -> Tag {
        let size = size.min((1 << Tag::SIZE_BITS) - 1) as u16;
        Tag(size | u16::from(probe.map_or(0, ProbeId::number)) << Tag::SIZE_BITS)
    }

    fn size(self) -> usize {
        usize::from(self.0 & ((1 << Tag::SIZE_BITS) - 1))
    }

    fn probe(self) -> Option<ProbeId> {
        ProbeId::from_number((self.0 >> Tag::SIZE_BITS) as u8 & ((1 << Tag::PROBE_BITS) - 1))
    }

    fn fate(self) -> Fate {
        match self.0 >> (Tag::SIZE_BITS + Tag::PROBE_BITS) {
            0 => Fate::Unknown,
            1 => Fate::Lost,
            _ => Fate::Received,
        }
    }

    fn set_fate(&mut self, fate: Fate) {
        let at = Tag::SIZE_BITS + Tag::PROBE_BITS;
        self.0 = self.0 & ((1 << at) - 1) | (fate as u16) << at;
    }
}

#[derive(Clone, Copy, Default, Debug)]
struct Record {
    sent: Time,
    ssrc: u32,
    seq: u16,
    tag: Tag,
}

/// The ring. Numbers are unwrapped inside; the first packet has number 1.
#[derive(Debug)]
pub struct SendHistory {
    /// Allocated with the first packet, grown while feedback comes too late for the size.
    ring: Vec<Record>,
    /// The number of the next packet.
    next: u64,
    /// The number of the first packet that is remembered.
    oldest: u64,
    last_sent: Time,
}

impl Default for SendHistory {
    fn default() -> SendHistory {
        SendHistory { ring: Vec::new(), next: 1, oldest: 1, last_sent: Time::ZERO }
    }
}

impl SendHistory {
    /// The transport-wide number of the next packet.
    pub fn next_seq(&self) -> TwccSeq {
        TwccSeq(self.next as u16)
    }

    /// When the last packet left; [`Time::ZERO`] before the first.
    pub fn last_sent(&self) -> Time {
        self.last_sent
    }

    /// Remembers the packet with [`SendHistory::next_seq`]. `heard` says whether feedback comes at all: without it
    /// a larger ring would be of no use.
    pub fn record(&mut self, now: Time, packet: &SentPacket, heard: bool) {
        self.make_room(now, heard);
        let len = self.ring.len() as u64;
        let record = Record {
            sent: now,
            ssrc: packet.ssrc.0,
            seq: packet.seq.0,
            tag: Tag::new(packet.size, packet.probe),
        };
        if let Some(place) = self.ring.get_mut((self.next % len.max(1)) as usize) {
            *place = record;
        }
        self.next += 1;
        self.oldest = self.oldest.max(self.next.saturating_sub(len));
        self.last_sent = now;
    }

    /// Forgets all that is on its way: feedback about it says nothing of the path that is used now.
    pub fn forget(&mut self) {
        self.oldest = self.next;
    }

    /// What a report on transport-wide number `seq` says that wasn't known. `None` for what was never sent, has left
    /// the ring, or was told before.
    pub fn resolve(&mut self, now: Time, seq: TwccSeq, arrival: Option<RemoteTime>) -> Option<Outcome> {
        let behind = (self.next as u16).wrapping_sub(seq.0);
        let number = self.next.checked_sub(u64::from(behind)).filter(|_| behind > 0)?;
        self.resolve_number(now, number, arrival)
    }

    /// The number, after `from`, of the packet that left as `seq` in stream `ssrc`. `Err` with where to go on for
    /// a later packet of the stream.
    pub fn find(&self, from: u64, ssrc: Ssrc, seq: SeqNo) -> Result<u64, u64> {
        let mut number = from.max(self.oldest);
        while number < self.next {
            match self.get(number).filter(|record| record.ssrc == ssrc.0) {
                Some(record) if record.seq == seq.0 => return Ok(number),
                // A stream's packets leave in order, so what comes later is beyond.
                Some(record) if (record.seq.wrapping_sub(seq.0) as i16) > 0 => return Err(number),
                _ => number += 1,
            }
        }
        Err(self.next)
    }

    /// As [`SendHistory::resolve`], by unwrapped number.
    pub fn resolve_number(&mut self, now: Time, number: u64, arrival: Option<RemoteTime>) -> Option<Outcome> {
        if number < self.oldest || number >= self.next {
            return None;
        }
        let len = self.ring.len() as u64;
        let record = self.ring.get_mut((number % len.max(1)) as usize)?;
        let fate = if arrival.is_some() { Fate::Received } else { Fate::Lost };
        let before = record.tag.fate();
        if before == Fate::Received
            || before == fate
            || now.since(record.sent).as_millis() as u64 > AGE_MAX_MS
        {
            return None;
        }
        record.tag.set_fate(fate);
        Some(Outcome {
            sent: record.sent,
            size: record.tag.size(),
            probe: record.tag.probe(),
            arrival,
            was_lost: before == Fate::Lost,
        })
    }

    /// Marks a packet as received without an outcome: it came, nobody knows when.
    pub fn received_some_time(&mut self, number: u64) {
        let len = self.ring.len() as u64;
        if (self.oldest..self.next).contains(&number)
            && let Some(record) = self.ring.get_mut((number % len.max(1)) as usize)
        {
            record.tag.set_fate(Fate::Received);
        }
    }

    fn get(&self, number: u64) -> Option<&Record> {
        self.ring.get((number % (self.ring.len() as u64).max(1)) as usize)
    }

    /// Doubles the ring when the record that would be overwritten may still get its fate.
    fn make_room(&mut self, now: Time, heard: bool) {
        if self.ring.is_empty() {
            self.ring.resize(RECORDS_MIN, Record::default());
        }
        let len = self.ring.len();
        if self.next - self.oldest < len as u64 || !heard || len >= RECORDS_MAX {
            return;
        }
        let waits = |record: &Record| {
            record.tag.fate() == Fate::Unknown && now.since(record.sent).as_millis() as u64 <= AGE_MAX_MS
        };
        if !self.get(self.oldest).is_some_and(waits) {
            return;
        }
        let mut larger = vec![Record::default(); len * 2];
        for number in self.oldest..self.next {
            let (from, to) = (self.get(number).copied(), (number % (len as u64 * 2)) as usize);
            if let (Some(from), Some(to)) = (from, larger.get_mut(to)) {
                *to = from;
            }
        }
        self.ring = larger;
    }

    /// Bytes that it holds on to.
    pub fn memory(&self) -> usize {
        self.ring.capacity() * size_of::<Record>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(n: u64) -> SentPacket {
        SentPacket {
            size: 1_000,
            ssrc: Ssrc(7),
            seq: SeqNo(n as u16),
            probe: ProbeId::from_number(n as u8 & 7),
        }
    }

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    fn filled(packets: u64, heard: bool) -> SendHistory {
        let mut history = SendHistory::default();
        (0..packets).for_each(|n| history.record(at(n), &packet(n), heard));
        history
    }

    #[test]
    fn each_fate_is_told_once_and_a_loss_may_turn_out_to_be_late() {
        let mut history = filled(10, true);
        let arrived = Some(RemoteTime(5));
        let outcome = history.resolve(at(20), TwccSeq(3), arrived).unwrap();
        assert_eq!((outcome.sent, outcome.size, outcome.was_lost), (at(2), 1_000, false));
        assert_eq!(outcome.probe, ProbeId::from_number(2));
        assert!(history.resolve(at(20), TwccSeq(3), arrived).is_none());
        assert!(history.resolve(at(20), TwccSeq(3), None).is_none());
        assert!(history.resolve(at(20), TwccSeq(4), None).is_some());
        assert!(history.resolve(at(20), TwccSeq(4), None).is_none());
        assert!(history.resolve(at(20), TwccSeq(4), arrived).unwrap().was_lost);
    }

    #[test]
    fn what_was_never_sent_is_ignored_over_the_whole_cycle() {
        let mut history = filled(10, true);
        let known: Vec<u16> =
            (0..=u16::MAX).filter(|seq| history.resolve(at(20), TwccSeq(*seq), None).is_some()).collect();
        assert_eq!(known, (1..=10).collect::<Vec<_>>());
        assert!(filled(0, true).resolve(at(0), TwccSeq(0), None).is_none());
    }

    #[test]
    fn numbers_wrap_and_old_ones_are_forgotten() {
        let mut history = filled(70_000, false);
        assert_eq!(history.next_seq(), TwccSeq((70_001u32 & 0xffff) as u16));
        let known = (0..=u16::MAX).filter(|seq| history.resolve(at(70_000), TwccSeq(*seq), None).is_some());
        assert_eq!(known.count(), RECORDS_MIN);
        let mut history = filled(100, true);
        assert!(history.resolve(at(99 + 10_001), TwccSeq(100), None).is_none(), "too long ago");
    }

    #[test]
    fn it_grows_to_its_bound_only_while_feedback_comes() {
        assert_eq!(filled(10_000, false).memory(), RECORDS_MIN * 16);
        let mut history = filled(10_000, true);
        assert_eq!(history.memory(), RECORDS_MAX * 16);
        let known = (0..=u16::MAX).filter(|seq| history.resolve(at(10_000), TwccSeq(*seq), None).is_some());
        assert_eq!(known.count(), RECORDS_MAX);
    }

    #[test]
    fn a_streams_packets_are_found_in_order() {
        let mut history = SendHistory::default();
        for n in 0..100u64 {
            let ssrc = Ssrc(n as u32 % 2);
            let seq = SeqNo((65_530 + n / 2) as u16);
            history.record(at(n), &SentPacket { size: 1, ssrc, seq, probe: None }, true);
        }
        assert_eq!(history.find(0, Ssrc(1), SeqNo(65_530)), Ok(2));
        assert_eq!(history.find(3, Ssrc(1), SeqNo(2)), Ok(18));
        assert_eq!(history.find(0, Ssrc(1), SeqNo(65_000)), Err(2), "long gone");
        assert_eq!(history.find(0, Ssrc(1), SeqNo(500)), Err(101), "not sent yet");
        assert_eq!(history.find(0, Ssrc(9), SeqNo(2)), Err(101));
    }
}
