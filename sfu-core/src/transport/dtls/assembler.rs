//! Puts the handshake messages of one direction together from fragments (RFC 6347 §4.2.3), in order,
//! whatever overlaps, repeats or lies in them. Its work per fragment and its memory are bounded; no DTLS
//! library behind it ever sees a fragment. Knows nothing of records or of what messages mean.

use std::collections::VecDeque;

/// Declared length of one message: a certificate chain of a few RSA certificates.
pub(super) const MAX_MESSAGE_LEN: usize = 16 * 1024;

/// Declared length of all messages that wait for fragments.
const MAX_BUFFERED_LEN: usize = 64 * 1024;

/// How far ahead of the next message a fragment may be: longer than any flight.
const WINDOW: u16 = 8;

/// Disjoint pieces of one message. Real clients cut in order; this allows a reordered flight.
const MAX_PIECES: usize = 16;

/// Fragments over the life of an association; 64 KiB in pieces of a 200-byte MTU is fewer. There is no shortest
/// length beside it: OpenSSL fills each datagram to the last byte, with fragments as short as that needs.
const MAX_FRAGMENTS: u32 = 512;

/// The header of one fragment, with its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment<'a> {
    pub(super) kind: u8,
    /// Length of the whole message.
    pub(super) length: u32,
    pub(super) message_seq: u16,
    pub(super) offset: u32,
    pub(super) bytes: &'a [u8],
}

impl Fragment<'_> {
    pub(super) fn is_whole(&self) -> bool {
        self.offset == 0 && self.bytes.len() == self.length as usize
    }
}

/// A message with nothing missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) message_seq: u16,
    pub(super) body: Vec<u8>,
}

impl Message {
    /// The message as a single fragment, header first: the form that transcripts hash (RFC 6347 §4.2.6).
    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        let [_, len @ ..] = (self.body.len() as u32).to_be_bytes();
        out.push(self.kind);
        out.extend_from_slice(&len);
        out.extend_from_slice(&self.message_seq.to_be_bytes());
        out.extend_from_slice(&[0; 3]);
        out.extend_from_slice(&len);
        out.extend_from_slice(&self.body);
    }
}

/// What became of a fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pushed {
    /// Its bytes were kept, or were there already.
    Kept,
    /// It belongs to a message that was handed out before: the peer repeats its flight.
    Repeated,
    /// Empty, too long, too far ahead, or in conflict with an earlier one.
    Refused,
    /// [`MAX_FRAGMENTS`] is reached; everything is refused from here on.
    Exhausted,
}

#[derive(Debug)]
struct Partial {
    kind: u8,
    body: Vec<u8>,
    /// Sorted, disjoint, not touching: what has arrived, as (start, end).
    pieces: Vec<(usize, usize)>,
}

impl Partial {
    fn is_complete(&self) -> bool {
        self.body.is_empty() || self.pieces.as_slice() == [(0, self.body.len())]
    }

    /// Copies what is new of `bytes`; bytes that are there already stay.
    fn fill(&mut self, start: usize, bytes: &[u8]) -> bool {
        let end = start.saturating_add(bytes.len());
        let mut merged = (start, end);
        let mut pieces = Vec::with_capacity(self.pieces.len().saturating_add(1));
        let mut gap_start = start;
        let mut gaps = Vec::new();
        for &(from, to) in &self.pieces {
            if to < start || from > end {
                pieces.push((from, to));
                continue;
            }
            if gap_start < from {
                gaps.push((gap_start, from));
            }
            gap_start = gap_start.max(to);
            merged = (merged.0.min(from), merged.1.max(to));
        }
        if gap_start < end {
            gaps.push((gap_start, end));
        }
        pieces.push(merged);
        if pieces.len() > MAX_PIECES {
            return false;
        }
        pieces.sort_unstable();
        for (from, to) in gaps {
            let source = bytes.get(from.saturating_sub(start)..to.saturating_sub(start));
            if let (Some(target), Some(source)) = (self.body.get_mut(from..to), source) {
                target.copy_from_slice(source);
            }
        }
        self.pieces = pieces;
        true
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    next_seq: u16,
    /// The messages `next_seq`, `next_seq + 1`, …
    partials: VecDeque<Option<Partial>>,
    fragments: u32,
}

impl Assembler {
    /// Takes one fragment. Ask [`Assembler::pop`] afterwards.
    pub(super) fn push(&mut self, fragment: Fragment<'_>) -> Pushed {
        if self.fragments >= MAX_FRAGMENTS {
            return Pushed::Exhausted;
        }
        self.fragments = self.fragments.saturating_add(1);
        let length = fragment.length as usize;
        let start = fragment.offset as usize;
        let end = start.saturating_add(fragment.bytes.len());
        let empty_piece = fragment.bytes.is_empty() && length != 0;
        if length > MAX_MESSAGE_LEN || end > length || empty_piece {
            return Pushed::Refused;
        }
        if fragment.message_seq < self.next_seq {
            return Pushed::Repeated;
        }
        let ahead = fragment.message_seq.saturating_sub(self.next_seq);
        if ahead >= WINDOW {
            return Pushed::Refused;
        }
        let index = usize::from(ahead);
        while self.partials.len() <= index {
            self.partials.push_back(None);
        }
        let buffered: usize = self.partials.iter().flatten().map(|partial| partial.body.len()).sum();
        let Some(place) = self.partials.get_mut(index) else { return Pushed::Refused };
        if place.is_none() && buffered.saturating_add(length) > MAX_BUFFERED_LEN {
            return Pushed::Refused;
        }
        let partial = place.get_or_insert_with(|| Partial {
            kind: fragment.kind,
            body: vec![0; length],
            pieces: Vec::new(),
        });
        if partial.kind != fragment.kind || partial.body.len() != length {
            return Pushed::Refused;
        }
        if partial.fill(start, fragment.bytes) { Pushed::Kept } else { Pushed::Refused }
    }

    /// The next message, once it is complete.
    pub(super) fn pop(&mut self) -> Option<Message> {
        if !self.partials.front()?.as_ref()?.is_complete() {
            return None;
        }
        let partial = self.partials.pop_front()??;
        let message_seq = self.next_seq;
        self.next_seq = self.next_seq.saturating_add(1);
        Some(Message { kind: partial.kind, message_seq, body: partial.body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(message_seq: u16, length: u32, offset: u32, bytes: &[u8]) -> Fragment<'_> {
        Fragment { kind: 1, length, message_seq, offset, bytes }
    }

    fn body(len: usize) -> Vec<u8> {
        (0..len).map(|i| i as u8).collect()
    }

    #[test]
    fn reordered_and_overlapping_fragments_make_one_message() {
        let whole = body(200);
        let mut assembler = Assembler::default();
        for (from, to) in [(150, 200), (40, 120), (100, 160), (0, 60)] {
            assert!(assembler.pop().is_none());
            let piece = fragment(0, 200, from as u32, &whole[from..to]);
            assert_eq!(assembler.push(piece), Pushed::Kept);
        }
        assert_eq!(assembler.pop().unwrap().body, whole);
    }

    #[test]
    fn an_overlap_cannot_rewrite_what_has_arrived() {
        let mut assembler = Assembler::default();
        assembler.push(fragment(0, 100, 0, &[1; 60]));
        assembler.push(fragment(0, 100, 20, &[2; 80]));
        let message = assembler.pop().unwrap();
        assert_eq!(message.body[..60], [1; 60]);
        assert_eq!(message.body[60..], [2; 40]);
    }

    #[test]
    fn messages_come_out_in_order() {
        let mut assembler = Assembler::default();
        assembler.push(fragment(1, 3, 0, b"two"));
        assert!(assembler.pop().is_none());
        assembler.push(fragment(0, 3, 0, b"one"));
        assert_eq!(assembler.pop().unwrap().body, b"one");
        assert_eq!(assembler.pop().unwrap().body, b"two");
        assert_eq!(assembler.push(fragment(0, 3, 0, b"one")), Pushed::Repeated);
    }

    #[test]
    fn lies_about_lengths_are_refused() {
        let mut assembler = Assembler::default();
        assert_eq!(assembler.push(fragment(0, 0xff_ffff, 0, &[0; 64])), Pushed::Refused);
        assert_eq!(assembler.push(fragment(0, 64, 32, &[0; 64])), Pushed::Refused);
        assert_eq!(assembler.push(fragment(0, 64, 0, &[])), Pushed::Refused);
        assert_eq!(assembler.push(fragment(9, 64, 0, &[0; 64])), Pushed::Refused);
        assert_eq!(assembler.push(fragment(0, 100, 0, &[0; 64])), Pushed::Kept);
        assert_eq!(assembler.push(fragment(0, 101, 60, &[0; 41])), Pushed::Refused);
    }

    #[test]
    fn declared_lengths_cannot_claim_more_than_the_bound() {
        let mut assembler = Assembler::default();
        for seq in 0..WINDOW {
            let huge = fragment(seq, MAX_MESSAGE_LEN as u32, 0, &[0; 64]);
            let kept = assembler.push(huge) == Pushed::Kept;
            assert_eq!(kept, usize::from(seq) < MAX_BUFFERED_LEN / MAX_MESSAGE_LEN);
        }
    }

    #[test]
    fn a_sieve_of_pieces_ends_at_the_bound() {
        let mut assembler = Assembler::default();
        let kept = (0..100u32)
            .filter(|i| assembler.push(fragment(0, 16_000, i * 100, &[0; 40])) == Pushed::Kept)
            .count();
        assert_eq!(kept, MAX_PIECES);
    }

    #[test]
    fn a_fragment_of_one_byte_is_as_good_as_any_until_the_bound() {
        let whole = body(100);
        let mut assembler = Assembler::default();
        assembler.push(fragment(0, 100, 0, &whole[..1]));
        assembler.push(fragment(0, 100, 1, &whole[1..]));
        assert_eq!(assembler.pop().unwrap().body, whole);
        let mut kept = 2;
        while assembler.push(fragment(1, 16_000, kept, &[0])) == Pushed::Kept {
            kept += 1;
        }
        assert_eq!(kept, MAX_FRAGMENTS);
    }

    #[test]
    fn an_empty_message_is_complete_at_once() {
        let mut assembler = Assembler::default();
        assembler.push(fragment(0, 0, 0, &[]));
        assert!(assembler.pop().unwrap().body.is_empty());
    }
}
