//! Redundant audio (RFC 2198): the primary block of a packet with copies of earlier ones before it. Parsed once per
//! packet; knows neither which packets are missing nor who takes what.
//!
//! ```text
//!  0                   1                    2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3  4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |1|   block PT  |  timestamp offset         |   block length    |   one per redundant block, oldest first
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |0|   block PT  |   the primary block's header
//! +-+-+-+-+-+-+-+-+
//! ```

use crate::unit::Pt;

/// F: another header follows.
const FOLLOWS: u8 = 0x80;

/// Length of a redundant block's header.
const HEADER_LEN: usize = 4;

/// Most redundant blocks of one packet: libwebrtc sends nine at most, and one by default.
pub const REDUNDANT_MAX: usize = 16;

/// Where things are in a payload whose headers hold together. Small and `Copy`: it is stored with each packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RedDescriptor {
    redundant: u8,
    /// Where the primary block's bytes begin.
    primary: u16,
}

/// A copy of an earlier packet's payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Redundant<'a> {
    /// How much earlier than the primary block it was sampled, in ticks; 14 bits.
    pub offset: u16,
    pub bytes: &'a [u8],
}

impl RedDescriptor {
    /// Parses the headers at the start of an RTP payload. `None` when a header or block is cut short, the primary block is
    /// empty, there are too many blocks, or one has another payload type than `inner`: then nobody could say what it is.
    pub fn parse(payload: &[u8], inner: Pt) -> Option<RedDescriptor> {
        let (mut redundant, mut at, mut redundant_bytes) = (0, 0, 0);
        loop {
            let first = *payload.get(at)?;
            if first & !FOLLOWS != inner.0 {
                return None;
            }
            if first & FOLLOWS == 0 {
                break;
            }
            let (_, len) = fields(payload, at)?;
            if redundant == REDUNDANT_MAX {
                return None;
            }
            redundant += 1;
            redundant_bytes += usize::from(len);
            at += HEADER_LEN;
        }
        let primary = at + 1 + redundant_bytes;
        if primary >= payload.len() {
            return None;
        }
        Some(RedDescriptor { redundant: redundant as u8, primary: u16::try_from(primary).ok()? })
    }

    /// The payload that the packet would have without redundancy.
    pub fn primary<'a>(&self, payload: &'a [u8]) -> &'a [u8] {
        payload.get(usize::from(self.primary)..).unwrap_or_default()
    }

    /// How many earlier packets it repeats.
    pub fn redundant_count(&self) -> usize {
        usize::from(self.redundant)
    }

    /// The copies of earlier packets, oldest first; empty ones are left out.
    pub fn redundant<'a>(&self, payload: &'a [u8]) -> impl Iterator<Item = Redundant<'a>> {
        let mut start = self.redundant_count() * HEADER_LEN + 1;
        let blocks = (0..self.redundant_count()).filter_map(move |block| {
            let (offset, len) = fields(payload, block * HEADER_LEN)?;
            let bytes = payload.get(start..start + usize::from(len))?;
            start += bytes.len();
            Some(Redundant { offset, bytes })
        });
        blocks.filter(|block| !block.bytes.is_empty())
    }

    /// Writes another inner payload type into `payload`, a copy of the one that was parsed.
    #[inline]
    pub fn remap(&self, payload: &mut [u8], inner: Pt) {
        let headers = payload.iter_mut().step_by(HEADER_LEN).take(self.redundant_count() + 1);
        headers.for_each(|first| *first = *first & FOLLOWS | inner.0 & !FOLLOWS);
    }
}

/// Timestamp offset and length in the header of a redundant block.
fn fields(payload: &[u8], at: usize) -> Option<(u16, u16)> {
    let [_, offset, both, len] = *payload.get(at..)?.first_chunk::<HEADER_LEN>()?;
    let offset = u16::from(offset) << 6 | u16::from(both >> 2);
    Some((offset, u16::from(both & 0x03) << 8 | u16::from(len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPUS: Pt = Pt(111);

    /// Two redundant blocks, 40 and 20 ms old.
    fn twice_redundant() -> Vec<u8> {
        let mut payload = Vec::new();
        for (offset, len) in [(1_920_u32, 3_u32), (960, 2)] {
            payload.push(FOLLOWS | OPUS.0);
            payload.extend_from_slice(&(offset << 10 | len).to_be_bytes()[1..]);
        }
        payload.push(OPUS.0);
        payload.extend_from_slice(b"oldnowprimary");
        payload
    }

    #[test]
    fn blocks_are_found_by_their_headers() {
        let payload = twice_redundant();
        let red = RedDescriptor::parse(&payload, OPUS).unwrap();
        assert_eq!(red.primary(&payload), b"wprimary");
        let blocks: Vec<_> = red.redundant(&payload).map(|block| (block.offset, block.bytes)).collect();
        assert_eq!(blocks, [(1_920, &b"old"[..]), (960, b"no")]);
        let alone = [OPUS.0, 1, 2];
        let red = RedDescriptor::parse(&alone, OPUS).unwrap();
        assert_eq!((red.primary(&alone), red.redundant(&alone).count()), (&alone[1..], 0));
    }

    #[test]
    fn every_header_gets_the_other_payload_type_and_nothing_else_changes() {
        let mut payload = twice_redundant();
        let red = RedDescriptor::parse(&payload, OPUS).unwrap();
        let before = payload.clone();
        red.remap(&mut payload, Pt(63));
        assert_eq!(RedDescriptor::parse(&payload, Pt(63)), Some(red));
        assert_eq!(RedDescriptor::parse(&payload, OPUS), None);
        red.remap(&mut payload, OPUS);
        assert_eq!(payload, before);
    }

    #[test]
    fn what_is_cut_short_empty_or_of_another_codec_is_refused() {
        let payload = twice_redundant();
        for len in 0..=payload.len() - 8 {
            assert_eq!(RedDescriptor::parse(&payload[..len], OPUS), None, "{len}");
        }
        assert_eq!(RedDescriptor::parse(&[OPUS.0], OPUS), None);
        assert_eq!(RedDescriptor::parse(&[13, 0], OPUS), None);
        let endless = [FOLLOWS | OPUS.0, 0, 0, 0].repeat(REDUNDANT_MAX + 1);
        assert_eq!(RedDescriptor::parse(&[&endless[..], &[OPUS.0, 1]].concat(), OPUS), None);
    }
}
