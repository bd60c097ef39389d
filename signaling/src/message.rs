//! The messages of the JSON protocol, version 1 (`docs/signaling-protocol.md`): text ↔ values, with bounds. Knows
//! nothing of what they cause.

pub(crate) mod json;
pub(crate) mod wire;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sfu_core::unit::{Kind, LayerId, ParticipantId, TrackId};

use crate::data::{DataRefusal, LABEL_LEN_MAX, RECIPIENTS_MAX};
use crate::error::{ErrorCode, JoinError, MessageError};

/// The protocol version that this crate speaks.
pub const VERSION: u32 = 1;

/// Longest text taken: a browser's offer in a room of a hundred participants lists all codecs in every section.
pub const MESSAGE_LEN_MAX: usize = 1_024 * 1_024;

/// Longest identity and display name, in bytes.
pub const NAME_LEN_MAX: usize = 256;

/// Longest room name, in characters.
pub const ROOM_NAME_LEN_MAX: usize = 128;

/// Tracks that one offer may describe.
const TRACK_HINTS_MAX: usize = 64;

/// What a client says.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    Join(JoinRequest),
    Offer(ClientOffer),
    Answer {
        id: u32,
        sdp: String,
    },
    /// Tolerated and unused: the server is ICE-lite.
    Candidate {
        candidate: String,
        #[serde(default)]
        mid: Option<String>,
    },
    Subscribe {
        #[serde(deserialize_with = "wire::track_id")]
        track: TrackId,
        enabled: bool,
    },
    Prefer {
        #[serde(deserialize_with = "wire::track_id")]
        track: TrackId,
        #[serde(default)]
        layer: LayerPreference,
        #[serde(default)]
        paused: bool,
    },
    Mute {
        #[serde(deserialize_with = "wire::track_id")]
        track: TrackId,
        muted: bool,
    },
    /// A data message for those who send and receive it without data channels.
    Data(DataSaid),
    Leave,
    Ping,
}

/// The first message of a session.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
pub struct JoinRequest {
    pub version: u32,
    pub room: String,
    /// The server makes one up when there is none.
    #[serde(default)]
    pub identity: Option<String>,
    /// The identity when there is none.
    #[serde(default)]
    pub name: Option<String>,
    /// The token of an earlier `joined`.
    #[serde(default)]
    pub resume: Option<String>,
    /// The client's first offer, to save a round trip and the crossing with the server's first.
    #[serde(default)]
    pub offer: Option<ClientOffer>,
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct ClientOffer {
    pub id: u32,
    pub sdp: String,
    /// What the sending m-sections are.
    #[serde(default)]
    pub tracks: Vec<TrackHint>,
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct DataSaid {
    pub label: String,
    /// Everybody in the room when it is left out.
    #[serde(default, deserialize_with = "wire::option_participants")]
    pub to: Option<Vec<ParticipantId>>,
    pub data: Value,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct TrackHint {
    pub mid: String,
    #[serde(default)]
    pub source: Option<Source>,
    #[serde(default)]
    pub muted: bool,
}

/// What a track shows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Microphone,
    Camera,
    Screen,
    ScreenAudio,
}

impl Source {
    pub fn kind(self) -> Kind {
        match self {
            Source::Microphone | Source::ScreenAudio => Kind::Audio,
            Source::Camera | Source::Screen => Kind::Video,
        }
    }

    /// What an m-section of `kind` is that nothing else is said about.
    pub fn default_of(kind: Kind) -> Source {
        match kind {
            Kind::Audio => Source::Microphone,
            Kind::Video => Source::Camera,
        }
    }

    /// What a screen's m-section of `kind` is.
    pub fn screen_of(kind: Kind) -> Source {
        match kind {
            Kind::Audio => Source::ScreenAudio,
            Kind::Video => Source::Screen,
        }
    }

    /// Which of several tracks of a kind somebody sees who has room for one: higher first. A screen is shared to be seen,
    /// and a voice explains it.
    pub fn prominence(self) -> u8 {
        match self {
            Source::Screen | Source::Microphone => 1,
            Source::Camera | Source::ScreenAudio => 0,
        }
    }

    pub fn is_screen(self) -> bool {
        matches!(self, Source::Screen | Source::ScreenAudio)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerPreference {
    Low,
    Medium,
    High,
    #[default]
    Auto,
}

/// What the server says.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    Joined(Box<Snapshot>),
    /// Replaces everything known, after the queue overflowed.
    Resync(Box<Snapshot>),
    Offer {
        id: u32,
        sdp: String,
        slots: Vec<SlotView>,
    },
    Answer {
        id: u32,
        sdp: String,
    },
    /// All own tracks, before the answer that they belong to.
    Published {
        tracks: Vec<PublishedView>,
    },
    Slots {
        slots: Vec<SlotView>,
    },
    Layer {
        mid: String,
        #[serde(serialize_with = "wire::option_track")]
        track: Option<TrackId>,
        #[serde(serialize_with = "wire::layer")]
        layer: Option<LayerId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<NoLayerReason>,
    },
    ParticipantJoined {
        participant: ParticipantView,
    },
    ParticipantLeft {
        #[serde(serialize_with = "wire::participant")]
        participant: ParticipantId,
        reason: LeaveReason,
    },
    ParticipantState {
        #[serde(serialize_with = "wire::participant")]
        participant: ParticipantId,
        state: ParticipantState,
    },
    TrackPublished {
        #[serde(serialize_with = "wire::participant")]
        participant: ParticipantId,
        track: TrackView,
    },
    TrackUnpublished {
        #[serde(serialize_with = "wire::participant")]
        participant: ParticipantId,
        #[serde(serialize_with = "wire::track")]
        track: TrackId,
    },
    TrackMuted {
        #[serde(serialize_with = "wire::participant")]
        participant: ParticipantId,
        #[serde(serialize_with = "wire::track")]
        track: TrackId,
        muted: bool,
    },
    CodecUnsupported {
        mid: String,
        #[serde(serialize_with = "wire::track")]
        track: TrackId,
    },
    Speakers {
        #[serde(serialize_with = "wire::participants")]
        participants: Vec<ParticipantId>,
    },
    /// A data message for a participant without data channels.
    Data {
        label: String,
        #[serde(serialize_with = "wire::participant")]
        from: ParticipantId,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        private: bool,
        data: Value,
    },
    /// An own data message went to nobody.
    DataRefused {
        label: String,
        reason: DataRefusal,
    },
    Connected,
    Disconnected,
    IceRestart,
    Closed {
        reason: ClosedReason,
    },
    Error {
        code: ErrorCode,
        message: String,
        /// Of the offer or answer that the error is about.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u32>,
    },
    Pong,
}

impl ServerMessage {
    pub fn error(code: ErrorCode, message: impl ToString) -> ServerMessage {
        ServerMessage::Error { code, message: message.to_string(), id: None }
    }

    /// The text that goes on the wire.
    pub fn to_json(&self) -> String {
        // Strings and numbers only: serialising can't fail. Were it to, the client sees an unknown message.
        serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned())
    }
}

impl From<JoinError> for ServerMessage {
    fn from(error: JoinError) -> ServerMessage {
        ServerMessage::error(error.code(), error)
    }
}

impl From<&MessageError> for ServerMessage {
    fn from(error: &MessageError) -> ServerMessage {
        ServerMessage::error(error.code(), error)
    }
}

/// Everything that a participant knows of its room.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Snapshot {
    pub version: u32,
    pub resumed: bool,
    pub resume: String,
    pub room: String,
    #[serde(serialize_with = "wire::participant")]
    pub participant: ParticipantId,
    pub identity: String,
    pub name: String,
    /// This participant's ICE and DTLS are up.
    pub connected: bool,
    pub ice_servers: Vec<IceServer>,
    pub participants: Vec<ParticipantView>,
    pub slots: Vec<SlotView>,
    /// Own tracks, as in `published`.
    pub published: Vec<PublishedView>,
}

/// One entry of `RTCConfiguration.iceServers` (W3C webrtc-pc §4.2.2).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IceServer {
    pub urls: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ParticipantView {
    #[serde(serialize_with = "wire::participant")]
    pub id: ParticipantId,
    pub identity: String,
    pub name: String,
    pub state: ParticipantState,
    pub tracks: Vec<TrackView>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct TrackView {
    #[serde(serialize_with = "wire::track")]
    pub id: TrackId,
    #[serde(serialize_with = "wire::kind")]
    pub kind: Kind,
    pub source: Source,
    pub muted: bool,
}

/// An own track.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PublishedView {
    /// Empty when the m-section has none.
    pub mid: String,
    #[serde(serialize_with = "wire::track")]
    pub track: TrackId,
    pub source: Source,
    pub muted: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SlotView {
    pub mid: String,
    #[serde(serialize_with = "wire::kind")]
    pub kind: Kind,
    #[serde(serialize_with = "wire::option_track")]
    pub track: Option<TrackId>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParticipantState {
    Connected,
    Reconnecting,
}

/// Why a participant is gone, as the others are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaveReason {
    Left,
    Timeout,
    Replaced,
}

/// Why a session ended, as its client is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosedReason {
    Replaced,
    IceTimeout,
    ConsentExpired,
    DtlsFailed,
    RoomClosed,
    ServerShutdown,
    Left,
}

/// Why a slot forwards nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoLayerReason {
    Keyframe,
    Muted,
    NoSource,
    Silent,
    Paused,
    Unsupported,
}

/// Reads one message: bounded, every key once, no unknown type.
pub fn parse_client_message(text: &str) -> Result<ClientMessage, MessageError> {
    if text.len() > MESSAGE_LEN_MAX {
        return Err(MessageError::TooLong { max: MESSAGE_LEN_MAX });
    }
    let value = json::parse_unique(text).map_err(MessageError::Invalid)?;
    let message: ClientMessage = serde_json::from_value(value).map_err(MessageError::Invalid)?;
    match &message {
        ClientMessage::Candidate { candidate, mid } => {
            limit("candidate", candidate, crate::candidate::CANDIDATE_LEN_MAX)?;
            limit("mid", mid.as_deref().unwrap_or_default(), NAME_LEN_MAX)?;
        }
        ClientMessage::Join(JoinRequest { offer: Some(offer), .. }) | ClientMessage::Offer(offer)
            if offer.tracks.len() > TRACK_HINTS_MAX =>
        {
            return Err(MessageError::TooMany { field: "tracks", max: TRACK_HINTS_MAX });
        }
        ClientMessage::Data(DataSaid { label, to, .. }) => {
            limit("label", label, LABEL_LEN_MAX)?;
            if to.as_ref().is_some_and(|to| to.len() > RECIPIENTS_MAX) {
                return Err(MessageError::TooMany { field: "to", max: RECIPIENTS_MAX });
            }
        }
        _ => {}
    }
    Ok(message)
}

fn limit(field: &'static str, text: &str, max: usize) -> Result<(), MessageError> {
    if text.len() > max { Err(MessageError::FieldTooLong { field, max }) } else { Ok(()) }
}
