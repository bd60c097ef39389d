//! What two ends agree on about a data channel, and what a message on it is (RFC 8831).

use bytes::Bytes;

/// How a channel delivers (RFC 8832 §5.1, `channel type`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ChannelType {
    pub ordered: bool,
    pub reliability: Reliability,
}

impl ChannelType {
    /// What a channel is that nothing else is said about.
    pub const RELIABLE: ChannelType = ChannelType { ordered: true, reliability: Reliability::Reliable };
}

/// When the sender gives a message up (RFC 3758, RFC 7496).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reliability {
    Reliable,
    /// After so many retransmissions.
    MaxRetransmits(u32),
    /// So long after it was handed over.
    MaxLifetime {
        ms: u32,
    },
}

/// What the payload of a message is (RFC 8831 §8).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MessageKind {
    /// UTF-8.
    Text,
    Binary,
}

/// One message of a data channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DataMessage {
    /// Of its channel; empty for a channel that was agreed on without DCEP.
    pub label: String,
    /// How its channel delivers, or shall deliver where it isn't open yet.
    pub channel_type: ChannelType,
    pub kind: MessageKind,
    /// UTF-8 if it is text.
    pub payload: Bytes,
}
