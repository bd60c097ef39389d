//! The RTP header (RFC 3550 §5.1): parsed once into a value, and written for an outgoing packet. Knows the
//! place of the extension block but not what stands in it ([`super::rtp_ext`]).

use std::ops::Range;

use crate::unit::{Pt, RtpTime, SeqNo, Ssrc};

/// Length of the header without CSRCs and extensions.
pub const FIXED_LEN: usize = 12;

/// Length of profile and length fields at the start of an extension block (RFC 3550 §5.3.1).
pub const EXTENSION_PREFIX_LEN: usize = 4;

const VERSION: u8 = 2;
const PADDING: u8 = 1 << 5;
const EXTENSION: u8 = 1 << 4;
const CSRC_COUNT: u8 = 0x0f;
const MARKER: u8 = 1 << 7;

/// The header of a received packet. Everything it says lies inside the packet it was parsed from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtpHeader {
    pub marker: bool,
    pub pt: Pt,
    pub seq: SeqNo,
    pub time: RtpTime,
    pub ssrc: Ssrc,
    pub csrc_count: u8,
    padded: bool,
    /// Zero without an extension block.
    extension_profile: u16,
    extension_len: u16,
    header_len: u16,
}

/// The extension block of a header: its profile and where its data stands in the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExtensionBlock {
    /// "Defined by profile": 0xbede or 0x100x with RFC 8285.
    pub profile: u16,
    pub start: u16,
    pub len: u16,
}

impl ExtensionBlock {
    pub fn range(self) -> Range<usize> {
        usize::from(self.start)..usize::from(self.start) + usize::from(self.len)
    }
}

impl RtpHeader {
    /// Parses the header at the start of `packet`; `None` unless it is version 2 and complete. The payload
    /// may still be encrypted.
    #[inline]
    pub fn parse(packet: &[u8]) -> Option<RtpHeader> {
        let fixed: &[u8; FIXED_LEN] = packet.first_chunk()?;
        let [first, second, seq_hi, seq_lo, t0, t1, t2, t3, s0, s1, s2, s3] = *fixed;
        if first >> 6 != VERSION {
            return None;
        }
        let csrc_count = first & CSRC_COUNT;
        let mut header_len = FIXED_LEN + 4 * usize::from(csrc_count);
        let mut extension_profile = 0;
        let mut extension_len = 0;
        if first & EXTENSION != 0 {
            let prefix: &[u8; EXTENSION_PREFIX_LEN] = packet.get(header_len..)?.first_chunk()?;
            extension_profile = u16::from_be_bytes([prefix[0], prefix[1]]);
            extension_len = 4 * usize::from(u16::from_be_bytes([prefix[2], prefix[3]]));
            header_len += EXTENSION_PREFIX_LEN + extension_len;
        }
        if header_len > packet.len() || header_len > usize::from(u16::MAX) {
            return None;
        }
        Some(RtpHeader {
            marker: second & MARKER != 0,
            pt: Pt(second & !MARKER),
            seq: SeqNo(u16::from_be_bytes([seq_hi, seq_lo])),
            time: RtpTime(u32::from_be_bytes([t0, t1, t2, t3])),
            ssrc: Ssrc(u32::from_be_bytes([s0, s1, s2, s3])),
            csrc_count,
            padded: first & PADDING != 0,
            extension_profile,
            extension_len: extension_len as u16,
            header_len: header_len as u16,
        })
    }

    /// Bytes before the payload.
    pub fn header_len(&self) -> usize {
        usize::from(self.header_len)
    }

    /// Where the extensions stand, if there are any.
    pub fn extension(&self) -> Option<ExtensionBlock> {
        (self.extension_len != 0).then(|| ExtensionBlock {
            profile: self.extension_profile,
            start: self.header_len - self.extension_len,
            len: self.extension_len,
        })
    }

    /// Where the payload stands in the *plaintext* packet, without its padding. `None` when the padding is
    /// invalid (RFC 3550 §5.1); an empty range for a packet that is nothing but padding.
    pub fn payload(&self, plaintext: &[u8]) -> Option<Range<usize>> {
        let body = plaintext.get(self.header_len()..)?;
        let padding = match (self.padded, body.last()) {
            (false, _) => 0,
            (true, Some(count)) if *count != 0 && usize::from(*count) <= body.len() => usize::from(*count),
            (true, _) => return None,
        };
        Some(self.header_len()..plaintext.len() - padding)
    }
}

/// The header of a packet to send. Its CSRC list is empty: contributing sources are the publisher's affair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutgoingHeader {
    pub marker: bool,
    pub pt: Pt,
    pub seq: SeqNo,
    pub time: RtpTime,
    pub ssrc: Ssrc,
    /// The payload ends in padding, whose last byte is its length.
    pub padded: bool,
    /// An extension block follows, as [`super::rtp_ext::ExtensionWriter`] writes it.
    pub extended: bool,
}

impl OutgoingHeader {
    /// The bytes of the fixed header.
    #[inline]
    pub fn to_bytes(self) -> [u8; FIXED_LEN] {
        let padding = if self.padded { PADDING } else { 0 };
        let extension = if self.extended { EXTENSION } else { 0 };
        let marker = if self.marker { MARKER } else { 0 };
        let [seq_hi, seq_lo] = self.seq.0.to_be_bytes();
        let [t0, t1, t2, t3] = self.time.0.to_be_bytes();
        let [s0, s1, s2, s3] = self.ssrc.0.to_be_bytes();
        let first = (VERSION << 6) | padding | extension;
        [first, marker | (self.pt.0 & !MARKER), seq_hi, seq_lo, t0, t1, t2, t3, s0, s1, s2, s3]
    }

    /// Writes the fixed header at the start of `out` and returns its length; `None` when it doesn't fit.
    #[inline]
    pub fn write(self, out: &mut [u8]) -> Option<usize> {
        *out.first_chunk_mut()? = self.to_bytes();
        Some(FIXED_LEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: [u8; 16] =
        [0x80, 0xe0, 0x12, 0x34, 0xde, 0xad, 0xbe, 0xef, 0xca, 0xfe, 0xba, 0xbe, 1, 2, 3, 4];

    #[test]
    fn fixed_header_there_and_back() {
        let header = RtpHeader::parse(&PLAIN).unwrap();
        assert!(header.marker);
        assert_eq!(header.pt, Pt(96));
        assert_eq!(header.seq, SeqNo(0x1234));
        assert_eq!(header.time, RtpTime(0xdead_beef));
        assert_eq!(header.ssrc, Ssrc(0xcafe_babe));
        assert_eq!(header.header_len(), 12);
        assert_eq!(header.extension(), None);
        assert_eq!(header.payload(&PLAIN), Some(12..16));
        let outgoing = OutgoingHeader {
            marker: header.marker,
            pt: header.pt,
            seq: header.seq,
            time: header.time,
            ssrc: header.ssrc,
            padded: false,
            extended: false,
        };
        assert_eq!(outgoing.to_bytes(), PLAIN[..12]);
        let mut short = [0; 11];
        assert_eq!(outgoing.write(&mut short), None);
    }

    #[test]
    fn csrcs_and_extension_come_before_the_payload() {
        let mut packet = PLAIN[..12].to_vec();
        packet[0] = 0x92;
        packet.extend_from_slice(&[0; 8]);
        packet.extend_from_slice(&[0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0]);
        packet.extend_from_slice(b"payload");
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!(header.csrc_count, 2);
        let block = header.extension().unwrap();
        assert_eq!((block.profile, block.range()), (0xbede, 24..28));
        assert_eq!(header.payload(&packet), Some(28..35));
    }

    #[test]
    fn padding_must_lie_within_the_payload() {
        let mut packet = PLAIN;
        packet[0] = 0xa0;
        let header = RtpHeader::parse(&packet).unwrap();
        packet[15] = 2;
        assert_eq!(header.payload(&packet), Some(12..14));
        packet[15] = 4;
        assert_eq!(header.payload(&packet), Some(12..12));
        packet[15] = 5;
        assert_eq!(header.payload(&packet), None);
        packet[15] = 0;
        assert_eq!(header.payload(&packet), None);
        assert_eq!(header.payload(&packet[..12]), None);
    }

    #[test]
    fn other_versions_and_truncated_headers_are_refused() {
        for version in [0, 1, 3] {
            let mut packet = PLAIN;
            packet[0] = version << 6;
            assert_eq!(RtpHeader::parse(&packet), None);
        }
        let mut extended = PLAIN.to_vec();
        extended[0] = 0x9f;
        extended.resize(12 + 60 + 4 + 40, 0);
        extended[75] = 10;
        for len in 0..extended.len() {
            assert_eq!(RtpHeader::parse(&extended[..len]), None, "{len}");
        }
        assert!(RtpHeader::parse(&extended).is_some());
    }
}
