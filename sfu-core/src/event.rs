//! What a worker tells the control plane: plain values, in the order in which they happened.

use crate::transport::handshake::HandshakeError;
use crate::unit::{DataMessage, LayerId, ParticipantId, RoomId, SlotId, TrackId, TransportId};

#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// ICE has a valid pair and DTLS is done; media can flow.
    TransportConnected { transport: TransportId },
    /// No authenticated check for [`CONSENT_WARN`](crate::config::CONSENT_WARN): probably a lost network.
    TransportDisconnected { transport: TransportId },
    /// Checks are back after a `TransportDisconnected`.
    TransportRecovered { transport: TransportId },
    /// The engine has dropped the transport and all that hung on it.
    TransportClosed { transport: TransportId, reason: CloseReason },
    /// The layers of a track that arrive have changed; lowest first, empty when nothing arrives.
    TrackLayers { track: TrackId, layers: Vec<LayerId> },
    /// What a slot forwards has changed; `None` while it waits (keyframe, muted, no source). Also told once when a slot that
    /// has shown nothing yet has waited for a keyframe for a second.
    SlotLayer { transport: TransportId, slot: SlotId, layer: Option<LayerId> },
    /// The slot's m-section has no payload type for the codec of its source.
    SlotUnsupported { transport: TransportId, slot: SlotId, track: TrackId },
    /// Who speaks in a room, loudest first, sent when it changes and at most 5 times a second.
    Speakers { room: RoomId, speakers: Vec<ParticipantId> },
    /// Data channels of a transport can be used.
    DataOpened { transport: TransportId },
    /// A message came on a data channel.
    DataReceived { transport: TransportId, message: DataMessage },
    /// The SCTP association has ended, and the transport goes on. There won't be another one.
    DataClosed { transport: TransportId, reason: DataCloseReason },
}

/// Why a transport ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// The control plane asked for it.
    Requested,
    /// No ICE pair within [`ICE_TIMEOUT`](crate::config::ICE_TIMEOUT) of opening.
    IceTimeout,
    /// Consent expired (RFC 7675 §5.1).
    ConsentExpired,
    Dtls(HandshakeError),
}

/// Why the data channels of a transport ended before the transport.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DataCloseReason {
    /// The peer closed or aborted the association, broke the protocol, or sent a longer message than it was told to.
    Lost,
    /// SCTP never came up.
    HandshakeFailed,
    /// The library panicked.
    Internal,
}
