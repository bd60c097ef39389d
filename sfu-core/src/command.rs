//! What the control plane asks of a worker: plain values, applied in order. Knows nothing of SDP.

use std::num::NonZeroU32;

use crate::transport::handshake::{DtlsRole, Fingerprint};
use crate::unit::{
    ClockRate, Kind, LayerId, Mid, ParticipantId, Pt, Rid, RoomId, SlotId, Ssrc, TrackId, TransportId,
};

pub use crate::codec::{Codec, H264Profile};
pub use crate::unit::DataMessage;
pub use crate::wire::rtp_ext::ExtensionIds;

/// An instruction to the engine. Ids are chosen by the control plane and never reused.
#[derive(Clone, PartialEq, Debug)]
pub enum Command {
    /// A new transport of a participant; it can receive STUN at once.
    OpenTransport(OpenTransport),
    /// The peer's side, from its SDP. Repeated on ICE restart (new `ice`; the DTLS association stays).
    SetRemote { transport: TransportId, remote: RemoteTransport },
    /// New local credentials (RFC 8445 §9). The old ones stay valid until a check arrives with the new ones.
    RestartIce { transport: TransportId, local: IceCredentials },
    /// Ends a transport with everything that it publishes and subscribes to.
    CloseTransport { transport: TransportId },
    /// Adds a published track, or replaces the description of the one with this id.
    PublishTrack { transport: TransportId, track: TrackSpec },
    /// Removes a track; slots that showed it keep their place and go silent.
    UnpublishTrack { track: TrackId },
    /// A muted track's RTP stops at the door.
    SetTrackMuted { track: TrackId, muted: bool },
    /// Adds a slot, or replaces the description of the one with this id (its sequence numbers go on).
    /// A new slot whose SSRCs were used on this transport before is refused: numbers would begin anew under the same
    /// key, and a repeated index gives the key away.
    SetSlot { transport: TransportId, slot: SlotSpec },
    /// Removes a slot.
    RemoveSlot { transport: TransportId, slot: SlotId },
    /// Points a slot at a track of the same room, or at nothing.
    SetSlotSource { transport: TransportId, slot: SlotId, source: Option<TrackId> },
    /// Which layer the subscriber asks for.
    SetSlotLayer { transport: TransportId, slot: SlotId, layer: LayerRequest },
    /// The peer's `m=application` section: SCTP begins once DTLS is up, and ends with the section or the transport.
    /// Repeated when what it says has changed.
    SetData { transport: TransportId, remote: Option<RemoteSctp> },
    /// Sends a message on the data channel of its label, which is opened where there is none yet. A transport without
    /// data channels is left out, and counted.
    SendData { to: Vec<TransportId>, message: DataMessage },
}

#[derive(Clone, PartialEq, Debug)]
pub struct OpenTransport {
    pub id: TransportId,
    pub room: RoomId,
    pub participant: ParticipantId,
    pub local: IceCredentials,
}

/// `ice-ufrag` and `ice-pwd` (RFC 8839 §5.4).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IceCredentials {
    pub ufrag: String,
    pub pwd: String,
}

impl std::fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IceCredentials({})", self.ufrag)
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct RemoteTransport {
    pub ice: IceCredentials,
    pub fingerprints: Vec<Fingerprint>,
    /// The role that *we* take.
    pub dtls_role: DtlsRole,
}

/// One negotiated payload type of an m-section, with its RTX payload type (RFC 4588).
#[derive(Clone, PartialEq, Debug)]
pub struct PayloadType {
    pub pt: Pt,
    pub codec: Codec,
    pub clock_rate: ClockRate,
    pub rtx: Option<Pt>,
    /// `a=rtcp-fb`: what was agreed for this payload type.
    pub nack: bool,
    pub pli: bool,
    pub transport_cc: bool,
}

/// A published m-section.
#[derive(Clone, PartialEq, Debug)]
pub struct TrackSpec {
    pub id: TrackId,
    pub kind: Kind,
    /// `None` when the publisher names none (then SSRC or payload type bind it).
    pub mid: Option<Mid>,
    /// In the publisher's order of preference.
    pub payload_types: Vec<PayloadType>,
    pub extensions: ExtensionIds,
    /// Simulcast layers, lowest resolution first; empty without rids.
    pub rids: Vec<Rid>,
    /// SSRCs declared in SDP, lowest layer first when grouped (RFC 5576).
    pub ssrcs: Vec<DeclaredSsrc>,
    pub muted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeclaredSsrc {
    pub ssrc: Ssrc,
    pub rtx: Option<Ssrc>,
}

/// An m-section that a subscriber receives through.
#[derive(Clone, PartialEq, Debug)]
pub struct SlotSpec {
    pub id: SlotId,
    pub kind: Kind,
    pub mid: Mid,
    pub ssrc: Ssrc,
    pub rtx_ssrc: Option<Ssrc>,
    /// What the subscriber can decode; a source with another codec raises
    /// [`Event::SlotUnsupported`](crate::event::Event::SlotUnsupported).
    pub payload_types: Vec<PayloadType>,
    pub extensions: ExtensionIds,
    pub cname: String,
}

/// What a subscriber asks of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum LayerRequest {
    /// The highest layer that arrives.
    #[default]
    Highest,
    /// This layer, or the nearest lower one that arrives, else the lowest.
    AtMost(LayerId),
    /// Nothing for now.
    Paused,
}

/// The peer's side of SCTP over DTLS (RFC 8841 §5, §6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RemoteSctp {
    pub port: u16,
    /// `a=max-message-size` in bytes; `None` when the peer takes any.
    pub max_message_size: Option<NonZeroU32>,
}
