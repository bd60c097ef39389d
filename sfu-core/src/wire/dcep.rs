//! The Data Channel Establishment Protocol (RFC 8832): OPEN and ACK, bytes ↔ fields. Knows no stream.

use crate::unit::ChannelType;
use crate::unit::Reliability;

const ACK: u8 = 2;
const OPEN: u8 = 3;
const OPEN_HEADER_LEN: usize = 12;

/// The high bit of a channel type: unordered.
const UNORDERED: u8 = 0x80;

/// Longest label and protocol taken; the length field allows 65,535 bytes.
pub const LABEL_LEN_MAX: usize = 256;

/// A DCEP message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DcepMessage {
    Open(Open),
    Ack,
}

/// DATA_CHANNEL_OPEN (RFC 8832 §5.1). Priority is read by nobody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Open {
    pub channel_type: ChannelType,
    pub label: String,
    pub protocol: String,
}

impl DcepMessage {
    /// `None` for anything but an OPEN or ACK as RFC 8832 has it, or a label or protocol of more than
    /// [`LABEL_LEN_MAX`] bytes.
    pub fn parse(bytes: &[u8]) -> Option<DcepMessage> {
        match *bytes.first()? {
            ACK => Some(DcepMessage::Ack),
            OPEN => Open::parse(bytes).map(DcepMessage::Open),
            _ => None,
        }
    }

    pub fn write(&self) -> Vec<u8> {
        match self {
            DcepMessage::Ack => vec![ACK],
            DcepMessage::Open(open) => open.write(),
        }
    }
}

impl Open {
    fn parse(bytes: &[u8]) -> Option<Open> {
        let (header, rest) = bytes.split_first_chunk::<OPEN_HEADER_LEN>()?;
        let [_, kind, _, _, a, b, c, d, e, f, g, h] = *header;
        let parameter = u32::from_be_bytes([a, b, c, d]);
        let reliability = match kind & !UNORDERED {
            0 => Reliability::Reliable,
            1 => Reliability::MaxRetransmits(parameter),
            2 => Reliability::MaxLifetime { ms: parameter },
            _ => return None,
        };
        let (label, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([e, f])))?;
        let protocol = rest.get(..usize::from(u16::from_be_bytes([g, h])))?;
        let text = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).ok()?;
            (text.len() <= LABEL_LEN_MAX).then(|| text.to_owned())
        };
        let channel_type = ChannelType { ordered: kind & UNORDERED == 0, reliability };
        Some(Open { channel_type, label: text(label)?, protocol: text(protocol)? })
    }

    fn write(&self) -> Vec<u8> {
        let (kind, parameter) = match self.channel_type.reliability {
            Reliability::Reliable => (0, 0),
            Reliability::MaxRetransmits(count) => (1, count),
            Reliability::MaxLifetime { ms } => (2, ms),
        };
        let unordered = if self.channel_type.ordered { 0 } else { UNORDERED };
        let len = |text: &str| u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes();
        let mut bytes = vec![OPEN, kind | unordered, 0, 0];
        bytes.extend(parameter.to_be_bytes());
        bytes.extend(len(&self.label));
        bytes.extend(len(&self.protocol));
        bytes.extend(self.label.as_bytes());
        bytes.extend(self.protocol.as_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(ordered: bool, reliability: Reliability) -> DcepMessage {
        let channel_type = ChannelType { ordered, reliability };
        DcepMessage::Open(Open { channel_type, label: "chät".to_owned(), protocol: "p".to_owned() })
    }

    /// RFC 8832 §5.1, by hand.
    #[test]
    fn an_open_lies_as_the_rfc_draws_it() {
        let expected = b"\x03\x82\x00\x00\x00\x00\x01\xf4\x00\x05\x00\x01ch\xc3\xa4tp";
        let message = open(false, Reliability::MaxLifetime { ms: 500 });
        assert_eq!(message.write(), expected);
        assert_eq!(DcepMessage::parse(expected), Some(message));
    }

    #[test]
    fn every_channel_type_survives_the_wire() {
        for reliability in
            [Reliability::Reliable, Reliability::MaxRetransmits(0), Reliability::MaxLifetime { ms: u32::MAX }]
        {
            for ordered in [true, false] {
                let message = open(ordered, reliability);
                assert_eq!(DcepMessage::parse(&message.write()), Some(message));
            }
        }
    }

    #[test]
    fn what_is_short_unknown_too_long_or_not_utf_8_is_refused() {
        let whole = open(true, Reliability::Reliable).write();
        assert!((0..whole.len()).all(|len| DcepMessage::parse(&whole[..len]).is_none()));
        let with = |at: usize, byte: u8| {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            DcepMessage::parse(&bytes)
        };
        assert_eq!(with(0, 1), None);
        assert_eq!(with(1, 3), None);
        assert_eq!(with(OPEN_HEADER_LEN, 0xff), None);
        let mut long = vec![3, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0];
        long.extend([b'l'; 257]);
        assert_eq!(DcepMessage::parse(&long), None);
    }
}
