//! Makes one continuous stream out of many: maps a source's sequence numbers and timestamps onto the slot's.
//! A *segment* is a stretch of one source stream under fixed offsets; a switch of layer or publisher, a swallowed
//! padding packet or a gap beyond repair begins the next. Doesn't know codecs, history or pacing.

use crate::guard::SealGuard;
use crate::packet::{SegmentId, StreamRef};
use crate::subscriber::payload_rewriter::PayloadOffsets;
use crate::unit::{ExtSeq, RtpTime};

/// A gap longer than this can't be repaired by NACK any more, and would only make the receiver wait.
const GAP_MAX: i64 = 256;

#[derive(Clone, Copy, Debug)]
pub struct Segment {
    id: SegmentId,
    pub source: StreamRef,
    first_in: ExtSeq,
    /// The source number after the last one that belongs here, once the segment is over.
    end_in: Option<ExtSeq>,
    /// Outgoing less incoming sequence number, modulo 2^64.
    seq_offset: u64,
    ts_offset: u32,
    pub payload: PayloadOffsets,
}

impl Segment {
    pub fn rtp_time(&self, source: RtpTime) -> RtpTime {
        source.plus(self.ts_offset)
    }

    /// Whether the source's packet `seq` is from before this segment.
    pub fn begins_after(&self, seq: ExtSeq) -> bool {
        seq < self.first_in
    }

    fn out(&self, seq: ExtSeq) -> ExtSeq {
        seq.plus(self.seq_offset)
    }

    fn holds(&self, source: StreamRef, seq: ExtSeq) -> bool {
        self.source == source && seq >= self.first_in && self.end_in.is_none_or(|end| seq < end)
    }
}

/// Where a source packet goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapped {
    pub seq: ExtSeq,
    pub segment: SegmentId,
}

#[derive(Debug)]
pub struct Rewriter {
    /// Ring by id: the newest [`Rewriter::SEGMENTS`] segments.
    segments: Vec<Segment>,
    newest: Option<SegmentId>,
    /// The source number after the highest one that the newest segment has seen.
    next_in: ExtSeq,
    /// The number that follows all those handed out or reserved for repair.
    next_out: ExtSeq,
}

impl Rewriter {
    /// Enough for a second of probing padding between packets; a packet older than that isn't repaired.
    const SEGMENTS: usize = 32;

    /// A stream that begins at `first`; the low 16 bits are what the subscriber sees first.
    pub fn new(first: ExtSeq) -> Rewriter {
        Rewriter { segments: Vec::new(), newest: None, next_in: ExtSeq(0), next_out: first }
    }

    /// Begins a segment with the source's packet `first_in`: the outgoing numbers go on without a gap.
    pub fn begin(&mut self, source: StreamRef, first_in: ExtSeq, ts_offset: u32, payload: PayloadOffsets) {
        let next_in = self.next_in;
        if let Some(current) = self.current_mut() {
            current.end_in = Some(next_in);
        }
        let id = SegmentId(self.newest.map_or(0, |newest| newest.0.wrapping_add(1)));
        let seq_offset = self.next_out.0.wrapping_sub(first_in.0);
        let segment = Segment { id, source, first_in, end_in: None, seq_offset, ts_offset, payload };
        let place = id.0 as usize % Rewriter::SEGMENTS;
        match self.segments.get_mut(place) {
            Some(old) => *old = segment,
            None => self.segments.push(segment),
        }
        self.newest = Some(id);
        self.next_in = first_in;
    }

    /// Whether so much is missing before `seq` of the current source that NACK can't bring it back: a new segment must
    /// begin, where decoding can.
    pub fn is_beyond_repair(&self, seq: ExtSeq) -> bool {
        self.newest.is_some() && seq.since(self.next_in) > GAP_MAX
    }

    /// Maps a packet of `source`; `None` when it belongs to no segment: too old, from before a switch, or beyond repair.
    pub fn map(&mut self, source: StreamRef, seq: ExtSeq) -> Option<Mapped> {
        let current = *self.current()?;
        let segment = match current.holds(source, seq) {
            true => current,
            false => *self.segments.iter().find(|segment| segment.holds(source, seq))?,
        };
        let out = segment.out(seq);
        // The guard couldn't tell whether so old a number was sealed before.
        if self.next_out.since(out) >= SealGuard::WINDOW as i64 {
            return None;
        }
        if segment.id == current.id {
            if self.is_beyond_repair(seq) {
                return None;
            }
            self.advance(seq, out);
        }
        Some(Mapped { seq: out, segment: segment.id })
    }

    /// Swallows the packet `seq` of `source`: the numbers after it close up. Late ones leave their gap.
    pub fn absorb(&mut self, source: StreamRef, seq: ExtSeq) {
        let next_in = self.next_in;
        let Some(current) = self.current_mut() else { return };
        if !current.holds(source, seq) || seq < next_in || seq.since(next_in) > GAP_MAX {
            return;
        }
        if seq == current.first_in {
            current.first_in = seq.next();
            current.seq_offset = current.seq_offset.wrapping_sub(1);
            self.next_in = seq.next();
            return;
        }
        let (ts_offset, payload, next_out) = (current.ts_offset, current.payload, current.out(seq));
        self.next_in = seq;
        self.next_out = next_out;
        self.begin(source, seq.next(), ts_offset, payload);
    }

    /// The segment with this id, while it is remembered.
    pub fn segment(&self, id: SegmentId) -> Option<&Segment> {
        self.segments.get(id.0 as usize % Rewriter::SEGMENTS).filter(|segment| segment.id == id)
    }

    pub fn current(&self) -> Option<&Segment> {
        self.segment(self.newest?)
    }

    /// The number that the next new packet gets.
    pub fn next_out(&self) -> ExtSeq {
        self.next_out
    }

    fn current_mut(&mut self) -> Option<&mut Segment> {
        let id = self.newest?;
        self.segments.get_mut(id.0 as usize % Rewriter::SEGMENTS)
    }

    fn advance(&mut self, seq: ExtSeq, out: ExtSeq) {
        if seq >= self.next_in {
            self.next_in = seq.next();
            self.next_out = out.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{StreamId, TrackIx};
    use crate::unit::LayerId;

    fn source(stream: u64) -> StreamRef {
        StreamRef { track: TrackIx(0), layer: LayerId(0), stream: StreamId(stream) }
    }

    fn begun(first_in: u64) -> Rewriter {
        let mut rewriter = Rewriter::new(ExtSeq(100));
        rewriter.begin(source(1), ExtSeq(first_in), 0, PayloadOffsets::default());
        rewriter
    }

    fn out(rewriter: &mut Rewriter, stream: u64, seq: u64) -> Option<u64> {
        rewriter.map(source(stream), ExtSeq(seq)).map(|mapped| mapped.seq.0)
    }

    #[test]
    fn a_switch_continues_the_numbers() {
        let mut rewriter = begun(5_000);
        assert_eq!(out(&mut rewriter, 1, 5_000), Some(100));
        assert_eq!(out(&mut rewriter, 1, 5_001), Some(101));
        rewriter.begin(source(2), ExtSeq(9), 0, PayloadOffsets::default());
        assert_eq!(out(&mut rewriter, 2, 9), Some(102));
    }

    #[test]
    fn a_late_packet_of_an_old_segment_gets_its_reserved_number() {
        let mut rewriter = begun(10);
        assert_eq!(out(&mut rewriter, 1, 10), Some(100));
        assert_eq!(out(&mut rewriter, 1, 12), Some(102));
        rewriter.begin(source(2), ExtSeq(50), 0, PayloadOffsets::default());
        assert_eq!(out(&mut rewriter, 2, 50), Some(103));
        assert_eq!(out(&mut rewriter, 1, 11), Some(101));
        assert_eq!(out(&mut rewriter, 1, 13), None, "after the switch the old source is over");
    }

    #[test]
    fn swallowed_padding_leaves_no_gap() {
        let mut rewriter = begun(10);
        assert_eq!(out(&mut rewriter, 1, 10), Some(100));
        for seq in 11..14 {
            rewriter.absorb(source(1), ExtSeq(seq));
        }
        assert_eq!(out(&mut rewriter, 1, 14), Some(101));
        rewriter.absorb(source(1), ExtSeq(16));
        assert_eq!(out(&mut rewriter, 1, 17), Some(103));
        assert_eq!(out(&mut rewriter, 1, 15), Some(102), "lost before the padding, repaired after it");
    }

    #[test]
    fn padding_first_in_a_segment_is_swallowed_too() {
        let mut rewriter = begun(10);
        rewriter.absorb(source(1), ExtSeq(10));
        assert_eq!(out(&mut rewriter, 1, 11), Some(100));
    }

    #[test]
    fn a_gap_beyond_repair_is_closed_by_a_new_segment() {
        let mut rewriter = begun(10);
        assert_eq!(out(&mut rewriter, 1, 10), Some(100));
        assert!(rewriter.is_beyond_repair(ExtSeq(3_000)) && !rewriter.is_beyond_repair(ExtSeq(200)));
        assert_eq!(out(&mut rewriter, 1, 3_000), None);
        rewriter.begin(source(1), ExtSeq(3_000), 0, PayloadOffsets::default());
        assert_eq!(out(&mut rewriter, 1, 3_000), Some(101));
    }

    #[test]
    fn random_walks_never_hand_a_number_out_twice() {
        use rand::{Rng, SeedableRng, rngs::StdRng};
        for seed in 0..50 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut rewriter = begun(1_000);
            let (mut stream, mut seq) = (1, 1_000_u64);
            let mut pending = Vec::new();
            let mut seen = std::collections::HashSet::new();
            for _ in 0..5_000 {
                match rng.random_range(0..100) {
                    0 => {
                        stream += 1;
                        seq = rng.random_range(0..60_000);
                        rewriter.begin(source(stream), ExtSeq(seq), 0, PayloadOffsets::default());
                    }
                    1..10 => rewriter.absorb(source(stream), ExtSeq(seq)),
                    10..20 => pending.push((stream, seq)),
                    20..25 if !pending.is_empty() => {
                        let (stream, seq) = pending.swap_remove(rng.random_range(0..pending.len()));
                        if let Some(out) = out(&mut rewriter, stream, seq) {
                            assert!(seen.insert(out), "seed {seed}: {out} twice");
                        }
                        continue;
                    }
                    _ => assert!(seen.insert(out(&mut rewriter, stream, seq).unwrap()), "seed {seed}"),
                }
                seq += 1;
            }
        }
    }
}
