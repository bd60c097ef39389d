//! Names of things: rooms, participants, transports, tracks, slots, and RTP's own identifiers.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A room, unique for the life of the process; never reused.
    RoomId(u64)
);
id!(
    /// A participant of a room, unique for the life of the process; never reused.
    ParticipantId(u64)
);
id!(
    /// One encrypted path of a participant (one ICE session, one DTLS association); never reused.
    TransportId(u64)
);
id!(
    /// A published track, unique for the life of the process; never reused.
    TrackId(u64)
);
id!(
    /// A slot of one transport: the m-section that a subscriber receives through.
    SlotId(u16)
);
id!(
    /// A worker thread, counted from 0; its UDP port is the base port plus this number.
    WorkerId(u16)
);
id!(
    /// Synchronisation source (RFC 3550 §3).
    Ssrc(u32)
);
id!(
    /// SCTP stream: the pair of streams of one number is a data channel (RFC 8831 §6.4).
    StreamId(u16)
);
id!(
    /// RTP payload type, 0–127 (RFC 3550 §5.1).
    Pt(u8)
);

/// Audio or video.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    Audio,
    Video,
}

/// The place of a layer in a track's ladder: 0 is the lowest resolution.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LayerId(pub u8);

/// A short ASCII token of at most 16 bytes, stored inline so that it can be copied and compared without allocation.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Label {
    bytes: [u8; Label::LEN_MAX],
    len: u8,
}

impl Label {
    /// Longest identifier in a one-byte header extension (RFC 8285 §4.2).
    pub const LEN_MAX: usize = 16;

    /// The label with these bytes; `None` if empty, too long, or not printable ASCII.
    pub fn new(text: &[u8]) -> Option<Label> {
        if text.is_empty() || text.len() > Label::LEN_MAX || !text.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let mut bytes = [0; Label::LEN_MAX];
        bytes.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
        Some(Label { bytes, len: text.len() as u8 })
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Media identification of an m-section (RFC 5888, RFC 9143 §15).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Mid(pub Label);

impl Mid {
    pub fn new(text: &[u8]) -> Option<Mid> {
        Label::new(text).map(Mid)
    }
}

/// Restriction identifier: names a simulcast layer (RFC 8851, RFC 8852).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rid(pub Label);

impl Rid {
    pub fn new(text: &[u8]) -> Option<Rid> {
        Label::new(text).map(Rid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_holds_up_to_sixteen_printable_bytes() {
        assert_eq!(Label::new(b"hi").unwrap().as_str(), "hi");
        assert!(Label::new(b"0123456789abcdef").is_some());
        assert!(Label::new(b"0123456789abcdefg").is_none());
        assert!(Label::new(b"").is_none());
        assert!(Label::new(b"a b").is_none());
        assert!(Label::new(&[0xff]).is_none());
    }
}
