//! Makes one continuous stream out of many: maps a source's sequence numbers and timestamps onto the slot's.
//! A *segment* is a stretch of one source stream under a fixed timestamp offset; a switch of layer or publisher or a gap
//! beyond repair begins the next. A *cut* is a run of its packets that don't go on: what follows closes up. What is
//! missing holds its number, whichever way it will be decided. Doesn't know codecs, history or pacing.
//!
//! ```text
//! source   10 11 12 13 14 15 16 17       11, 12 and 15 are left out, 14 is late
//! slot    100  ·  · 101 102 · 103 104    cuts: 11..13, 15..16
//! ```

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
    /// Outgoing less incoming sequence number at the segment's beginning, modulo 2^64.
    seq_offset: u64,
    /// Packets that its cuts have taken out.
    cut: u64,
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

    /// The outgoing number of `seq` when `cut` packets were taken out before it.
    fn out(&self, seq: ExtSeq, cut: u64) -> ExtSeq {
        ExtSeq(seq.0.wrapping_add(self.seq_offset).wrapping_sub(cut))
    }

    fn holds(&self, source: StreamRef, seq: ExtSeq) -> bool {
        self.source == source && seq >= self.first_in && self.end_in.is_none_or(|end| seq < end)
    }
}

/// Consecutive source packets that have no outgoing number.
#[derive(Clone, Copy, Debug)]
struct Cut {
    segment: SegmentId,
    first: ExtSeq,
    end: ExtSeq,
    /// What the segment's earlier cuts have taken out.
    before: u64,
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
    /// Ring of the newest [`Rewriter::CUTS`]; allocated with the first.
    cuts: Vec<Cut>,
    cuts_ever: usize,
    /// The source number after the highest one that the newest segment has seen.
    next_in: ExtSeq,
    /// The number that follows all those handed out or reserved for repair.
    next_out: ExtSeq,
}

impl Rewriter {
    /// Enough for two seconds of a slot that changes its source with every keyframe request.
    const SEGMENTS: usize = 32;
    /// Two seconds of a camera with two cuts in each picture; a packet older than that is not repaired.
    const CUTS: usize = 128;

    /// A stream that begins at `first`; the low 16 bits are what the subscriber sees first.
    pub fn new(first: ExtSeq) -> Rewriter {
        Rewriter {
            segments: Vec::new(),
            newest: None,
            cuts: Vec::new(),
            cuts_ever: 0,
            next_in: ExtSeq(0),
            next_out: first,
        }
    }

    /// Begins a segment with the source's packet `first_in`: the outgoing numbers go on without a gap.
    pub fn begin(&mut self, source: StreamRef, first_in: ExtSeq, ts_offset: u32, payload: PayloadOffsets) {
        let next_in = self.next_in;
        if let Some(current) = self.current_mut() {
            current.end_in = Some(next_in);
        }
        let id = SegmentId(self.newest.map_or(0, |newest| newest.0.wrapping_add(1)));
        let seq_offset = self.next_out.0.wrapping_sub(first_in.0);
        let segment = Segment { id, source, first_in, end_in: None, seq_offset, cut: 0, ts_offset, payload };
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
        if current.holds(source, seq) && seq >= self.next_in {
            if self.is_beyond_repair(seq) {
                return None;
            }
            let out = current.out(seq, current.cut);
            self.next_in = seq.next();
            self.next_out = out.next();
            return Some(Mapped { seq: out, segment: current.id });
        }
        self.map_late(&current, source, seq)
    }

    /// Leaves out the packet `seq` of `source`: the numbers after it close up. If one was kept for it, because it is late,
    /// that is returned: something must go out under it, else the receiver would wait.
    pub fn leave_out(&mut self, source: StreamRef, seq: ExtSeq) -> Option<Mapped> {
        let current = *self.current()?;
        if !current.holds(source, seq) || seq < self.next_in {
            return self.map_late(&current, source, seq);
        }
        if self.is_beyond_repair(seq) {
            return None;
        }
        self.next_in = seq.next();
        self.next_out = current.out(seq, current.cut);
        self.cut(&current, seq);
        None
    }

    /// A packet that is older than the newest one: its number is the one that it would have had.
    fn map_late(&self, current: &Segment, source: StreamRef, seq: ExtSeq) -> Option<Mapped> {
        let segment = match current.holds(source, seq) {
            true => *current,
            false => *self.segments.iter().find(|segment| segment.holds(source, seq))?,
        };
        let out = segment.out(seq, self.cut_before(&segment, seq)?);
        // The guard couldn't tell whether so old a number was sealed before.
        let is_known = seq < self.next_in || segment.id != current.id;
        (is_known && self.next_out.since(out) < SealGuard::WINDOW as i64)
            .then_some(Mapped { seq: out, segment: segment.id })
    }

    /// How many packets of a segment were taken out before `seq`; `None` when it was itself, or nobody remembers.
    fn cut_before(&self, segment: &Segment, seq: ExtSeq) -> Option<u64> {
        let mut before = segment.cut;
        for back in 1..=self.cuts.len() {
            let at = self.cuts_ever.checked_sub(back)? % Rewriter::CUTS;
            let Some(cut) = self.cuts.get(at).filter(|cut| cut.segment == segment.id) else { continue };
            if seq >= cut.end {
                return Some(before);
            }
            if seq >= cut.first {
                return None;
            }
            before = cut.before;
        }
        (before == 0).then_some(0)
    }

    /// Takes `seq`, the newest packet, out of the numbering.
    fn cut(&mut self, current: &Segment, seq: ExtSeq) {
        if let Some(segment) = self.current_mut() {
            segment.cut = segment.cut.wrapping_add(1);
        }
        let last = self.cuts_ever.checked_sub(1).and_then(|last| self.cuts.get_mut(last % Rewriter::CUTS));
        if let Some(last) = last.filter(|last| last.segment == current.id && last.end == seq) {
            last.end = seq.next();
            return;
        }
        let cut = Cut { segment: current.id, first: seq, end: seq.next(), before: current.cut };
        if self.cuts.is_empty() {
            self.cuts.reserve_exact(Rewriter::CUTS);
        }
        match self.cuts.get_mut(self.cuts_ever % Rewriter::CUTS) {
            Some(old) => *old = cut,
            None => self.cuts.push(cut),
        }
        self.cuts_ever = self.cuts_ever.wrapping_add(1);
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
}

#[cfg(test)]
mod tests;
