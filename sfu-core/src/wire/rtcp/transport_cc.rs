//! Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1), read and written. Knows
//! nothing of what was sent or of what the arrival times mean for a bandwidth.

use super::write::{COMPOUND_LEN_MAX, begin, end};
use super::{FMT_TRANSPORT_CC, TRANSPORT_FEEDBACK};
use crate::unit::{ExtSeq, Ssrc, Time, TwccSeq};

/// Bytes before the first chunk, without the RTCP header.
const FIXED_LEN: usize = 16;

/// Receive deltas are in units of 250 µs.
const TICK_NS: u64 = 250_000;

/// The reference time is in units of 64 ms.
const TICKS_PER_REFERENCE: i64 = 256;

/// Most packets that one run-length chunk describes, and the two kinds of status vector.
const RUN_MAX: usize = 0x1fff;
const ONE_BIT_MAX: usize = 14;
const TWO_BIT_MAX: usize = 7;

/// Arrival time on the feedback sender's clock, in units of 250 µs. Its origin is arbitrary, and it wraps
/// with the 24-bit reference time, every 12 days.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TwccTime(pub i64);

impl TwccTime {
    pub fn as_micros(self) -> i64 {
        self.0 * 250
    }
}

/// What became of one packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketResult {
    pub seq: TwccSeq,
    /// `None` when it had not arrived.
    pub arrival: Option<TwccTime>,
}

/// One feedback packet, checked as a whole: chunks and deltas suffice for all its packets.
#[derive(Clone, Copy, Debug)]
pub struct TransportCc<'a> {
    pub media: Ssrc,
    pub base: TwccSeq,
    /// How many packets are reported on, from `base` on.
    pub packet_count: u16,
    /// In units of 64 ms: 24 bits, signed.
    pub reference_time: i32,
    /// Counts feedback packets, modulo 256.
    pub feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> TransportCc<'a> {
    /// Parses a packet without its RTCP header.
    pub(super) fn parse(body: &'a [u8]) -> Option<TransportCc<'a>> {
        let (fixed, chunks) = body.split_first_chunk::<FIXED_LEN>()?;
        let [.., m0, m1, m2, m3, base_hi, base_lo, n_hi, n_lo, r0, r1, r2, feedback_count] = *fixed;
        let packet_count = u16::from_be_bytes([n_hi, n_lo]);
        let mut statuses = Statuses::new(chunks, packet_count);
        let mut deltas_len = 0;
        for status in statuses.by_ref() {
            deltas_len += match status {
                Status::NotReceived => 0,
                Status::SmallDelta => 1,
                Status::LargeDelta => 2,
                Status::Reserved => return None,
            };
        }
        if statuses.left != 0 {
            return None;
        }
        let deltas = statuses.chunks.as_slice().as_flattened();
        Some(TransportCc {
            media: Ssrc(u32::from_be_bytes([m0, m1, m2, m3])),
            base: TwccSeq(u16::from_be_bytes([base_hi, base_lo])),
            packet_count,
            // Shifted up and back to extend the sign of 24 bits.
            reference_time: i32::from_be_bytes([r0, r1, r2, 0]) >> 8,
            feedback_count,
            chunks,
            // An odd byte at the end is not in `chunks` but may be the last delta.
            deltas: chunks.get(chunks.len() / 2 * 2 - deltas.len()..)?.get(..deltas_len)?,
        })
    }

    /// The packets that are reported on, in order: at most 65,535.
    pub fn results(&self) -> impl Iterator<Item = PacketResult> + use<'a> {
        let mut seq = self.base.0;
        let mut deltas = self.deltas.iter().copied();
        let mut time = i64::from(self.reference_time) * TICKS_PER_REFERENCE;
        Statuses::new(self.chunks, self.packet_count).map_while(move |status| {
            let arrival = match status {
                Status::NotReceived | Status::Reserved => None,
                Status::SmallDelta => {
                    time += i64::from(deltas.next()?);
                    Some(TwccTime(time))
                }
                Status::LargeDelta => {
                    time += i64::from(i16::from_be_bytes([deltas.next()?, deltas.next()?]));
                    Some(TwccTime(time))
                }
            };
            let result = PacketResult { seq: TwccSeq(seq), arrival };
            seq = seq.wrapping_add(1);
            Some(result)
        })
    }
}

/// Packet status symbols (§3.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Status {
    NotReceived = 0,
    SmallDelta = 1,
    LargeDelta = 2,
    Reserved = 3,
}

impl Status {
    fn from_bits(bits: u16) -> Status {
        match bits & 3 {
            0 => Status::NotReceived,
            1 => Status::SmallDelta,
            2 => Status::LargeDelta,
            _ => Status::Reserved,
        }
    }
}

/// Walks status chunks until as many packets as announced are described.
struct Statuses<'a> {
    chunks: std::slice::Iter<'a, [u8; 2]>,
    chunk: u16,
    left_in_chunk: u16,
    /// Packets still to be described.
    left: u16,
}

impl<'a> Statuses<'a> {
    fn new(chunks: &'a [u8], packet_count: u16) -> Statuses<'a> {
        Statuses { chunks: chunks.as_chunks().0.iter(), chunk: 0, left_in_chunk: 0, left: packet_count }
    }
}

impl Iterator for Statuses<'_> {
    type Item = Status;

    fn next(&mut self) -> Option<Status> {
        if self.left == 0 {
            return None;
        }
        while self.left_in_chunk == 0 {
            self.chunk = u16::from_be_bytes(*self.chunks.next()?);
            self.left_in_chunk = match self.chunk >> 14 {
                0 | 1 => self.chunk & RUN_MAX as u16,
                2 => ONE_BIT_MAX as u16,
                _ => TWO_BIT_MAX as u16,
            };
        }
        self.left_in_chunk -= 1;
        self.left -= 1;
        Some(match self.chunk >> 14 {
            0 | 1 => Status::from_bits(self.chunk >> 13),
            2 => Status::from_bits(self.chunk >> self.left_in_chunk & 1),
            _ => Status::from_bits(self.chunk >> (2 * self.left_in_chunk)),
        })
    }
}

/// Appends a feedback packet on `received`, which is sorted by sequence number, each number once. Reporting
/// starts at `base`, so that the packets lost before the first received one count; a base too far back is
/// raised. Returns how many entries were reported: the rest (when the packet is full, a gap or an interval
/// is too long) belongs into another feedback packet with a base of its own. Zero when nothing fits.
pub(super) fn write(
    out: &mut Vec<u8>,
    sender: Ssrc,
    media: Ssrc,
    feedback_count: u8,
    base: ExtSeq,
    received: &[(ExtSeq, Time)],
) -> usize {
    let Some((first_seq, first_arrival)) = received.first() else { return 0 };
    let base = if (0..GAP_MAX).contains(&first_seq.since(base)) { base } else { *first_seq };
    let reference = ticks(*first_arrival) / TICKS_PER_REFERENCE;
    let start = out.len();
    begin(out, TRANSPORT_FEEDBACK, FMT_TRANSPORT_CC);
    out.extend_from_slice(&sender.0.to_be_bytes());
    out.extend_from_slice(&media.0.to_be_bytes());
    out.extend_from_slice(&base.wire().0.to_be_bytes());
    let count_at = out.len();
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&((reference as u32) << 8 | u32::from(feedback_count)).to_be_bytes());

    let mut deltas = Deltas { bytes: [0; COMPOUND_LEN_MAX], len: 0 };
    let mut pending = PendingChunk::default();
    let mut next = base;
    let mut time = reference * TICKS_PER_REFERENCE;
    let mut taken = 0;
    for (seq, arrival) in received {
        let gap = seq.since(next);
        let Ok(delta) = i16::try_from(ticks(*arrival) - time) else { break };
        if !(0..GAP_MAX).contains(&gap) || seq.since(base) >= i64::from(u16::MAX) {
            break;
        }
        // Two chunks at most are pending, and a gap takes one per RUN_MAX, or splits the pending ones.
        let chunks_max = 2 * (4 + gap as usize / RUN_MAX);
        if out.len() + chunks_max + deltas.len + 2 + 3 > COMPOUND_LEN_MAX {
            break;
        }
        (0..gap).for_each(|_| pending.push(Status::NotReceived, out));
        pending.push(deltas.push(delta), out);
        time += i64::from(delta);
        next = seq.next();
        taken += 1;
    }
    if taken == 0 {
        out.truncate(start);
        return 0;
    }
    pending.finish(out);
    out.extend_from_slice(deltas.bytes.get(..deltas.len).unwrap_or_default());
    let count = next.since(base) as u16;
    if let Some(field) = out.get_mut(count_at..count_at + 2) {
        field.copy_from_slice(&count.to_be_bytes());
    }
    end(out, start);
    taken
}

/// Longest gap in one feedback packet. Senders don't number further ahead than half the cycle.
const GAP_MAX: i64 = 0x8000;

fn ticks(time: Time) -> i64 {
    (time.0 / TICK_NS) as i64
}

/// The receive deltas, which follow all chunks.
struct Deltas {
    bytes: [u8; COMPOUND_LEN_MAX],
    len: usize,
}

impl Deltas {
    /// Appends a delta in its shortest form. The caller has seen to the room.
    fn push(&mut self, delta: i16) -> Status {
        let small = u8::try_from(delta);
        let (status, bytes) = match small {
            Ok(small) => (Status::SmallDelta, [small, 0]),
            Err(_) => (Status::LargeDelta, delta.to_be_bytes()),
        };
        let len = if small.is_ok() { 1 } else { 2 };
        for (to, from) in self.bytes.iter_mut().skip(self.len).zip(bytes.iter().take(len)) {
            *to = *from;
        }
        self.len += len;
        status
    }
}

/// Statuses that are not yet in a chunk: a run of equal ones, or up to 14 that may be mixed.
struct PendingChunk {
    statuses: [Status; ONE_BIT_MAX],
    len: usize,
}

impl Default for PendingChunk {
    fn default() -> Self {
        PendingChunk { statuses: [Status::NotReceived; ONE_BIT_MAX], len: 0 }
    }
}

impl PendingChunk {
    fn push(&mut self, status: Status, out: &mut Vec<u8>) {
        while !self.has_room_for(status) {
            self.emit(out);
        }
        if let Some(slot) = self.statuses.get_mut(self.len) {
            *slot = status;
        }
        self.len += 1;
    }

    /// Emits all that is pending. A vector that ends the list may have symbols to spare.
    fn finish(&mut self, out: &mut Vec<u8>) {
        if self.len > TWO_BIT_MAX && !self.is_run() && !self.has_large() {
            self.statuses.iter_mut().skip(self.len).for_each(|spare| *spare = Status::NotReceived);
            self.len = ONE_BIT_MAX;
        }
        while self.len != 0 {
            self.emit(out);
        }
    }

    /// Whether one chunk, or two of two-bit symbols, can still describe all that is pending.
    fn has_room_for(&self, status: Status) -> bool {
        let as_run = self.len < RUN_MAX && self.is_run() && self.first() == status;
        let as_bits = self.len < ONE_BIT_MAX && status != Status::LargeDelta && !self.has_large();
        self.len < TWO_BIT_MAX || as_run || as_bits
    }

    /// Moves as many statuses as one chunk can hold into `out`.
    fn emit(&mut self, out: &mut Vec<u8>) {
        let (chunk, taken) = if self.is_run() {
            ((self.first() as u16) << 13 | self.len as u16, self.len)
        } else if self.len == ONE_BIT_MAX {
            (0x8000 | self.pack(ONE_BIT_MAX, 1), ONE_BIT_MAX)
        } else {
            (0xc000 | self.pack(TWO_BIT_MAX, 2), self.len.min(TWO_BIT_MAX))
        };
        out.extend_from_slice(&chunk.to_be_bytes());
        self.len -= taken;
        self.statuses.rotate_left(taken % ONE_BIT_MAX);
    }

    /// The first `count` statuses as a vector of symbols; those past the end count as not received.
    fn pack(&self, count: usize, bits: u32) -> u16 {
        let symbols = self.held().iter().copied().chain(std::iter::repeat(Status::NotReceived));
        symbols.take(count).fold(0, |vector, status| vector << bits | status as u16)
    }

    /// The statuses that are stored one by one: of a long run, its beginning.
    fn held(&self) -> &[Status] {
        self.statuses.get(..self.len.min(ONE_BIT_MAX)).unwrap_or_default()
    }

    fn first(&self) -> Status {
        self.statuses[0]
    }

    fn is_run(&self) -> bool {
        self.held().iter().all(|status| *status == self.first())
    }

    fn has_large(&self) -> bool {
        self.held().contains(&Status::LargeDelta)
    }
}
