//! What can go wrong at the peer's fault, by who asked: a message, a join, an offer, an answer. Every error maps to
//! one code of the protocol; none of them changes any state.

use serde::Serialize;

use crate::sdp::SdpError;
use crate::sdp::fragment::FragmentError;

/// The `code` of an `error` message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    BadMessage,
    BadVersion,
    NotJoined,
    RoomFull,
    BadRoom,
    BadIdentity,
    BadOffer,
    BadAnswer,
    UnknownTrack,
    RateLimited,
    ServerBusy,
}

/// Why a text is not a client message.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    #[error("a message may have {max} bytes")]
    TooLong { max: usize },
    #[error("not a message of this protocol: {0}")]
    Invalid(serde_json::Error),
    #[error("{field} may have {max} bytes")]
    FieldTooLong { field: &'static str, max: usize },
    #[error("{field} may have {max} entries")]
    TooMany { field: &'static str, max: usize },
}

impl MessageError {
    pub fn code(&self) -> ErrorCode {
        ErrorCode::BadMessage
    }
}

/// Why a join was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JoinError {
    #[error("this server speaks version 1")]
    BadVersion,
    #[error("a room name has 1 to 128 characters and no control characters")]
    BadRoom,
    #[error("identity and name have at most 256 bytes and no control characters")]
    BadIdentity,
    #[error("the room is full")]
    RoomFull,
    #[error("the server takes no more rooms")]
    ServerBusy,
}

impl JoinError {
    pub fn code(self) -> ErrorCode {
        match self {
            JoinError::BadVersion => ErrorCode::BadVersion,
            JoinError::BadRoom => ErrorCode::BadRoom,
            JoinError::BadIdentity => ErrorCode::BadIdentity,
            JoinError::RoomFull => ErrorCode::RoomFull,
            JoinError::ServerBusy => ErrorCode::ServerBusy,
        }
    }
}

/// Why a client's offer was not applied.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OfferError {
    /// It crossed an offer of ours; the client is the polite peer and offers again after its answer.
    #[error("the offer crossed one of the server's")]
    Glare,
    #[error(transparent)]
    Sdp(#[from] SdpError),
    #[error("an offer keeps all m-sections that were negotiated before, in their order")]
    SectionsMissing,
    #[error("m-section {0} has another mid or kind than before")]
    SectionChanged(usize),
    #[error("mid {0} occurs twice")]
    DuplicateMid(String),
    #[error("mid {0} has the form of the server's own mids")]
    ReservedMid(String),
    #[error("a client may introduce {max} m-sections")]
    TooManySections { max: usize },
    #[error("m-section {section}: profile {profile} is not UDP/TLS/RTP/SAVPF")]
    Profile { section: usize, profile: String },
    #[error("m-section {0} has no a=rtcp-mux")]
    NoRtcpMux(usize),
    #[error("no ice-ufrag and ice-pwd")]
    NoIceCredentials,
    #[error("no certificate fingerprint with SHA-256, SHA-384 or SHA-512")]
    NoFingerprint,
    #[error("the certificate changed; a new peer connection needs a new join")]
    FingerprintChanged,
    #[error("a=setup contradicts the DTLS role")]
    Setup,
}

/// Why a client's answer was not applied; the offer stays outstanding.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AnswerError {
    #[error("no offer with this id is outstanding")]
    NotOutstanding,
    #[error("the answer has {found} m-sections, the offer {expected}")]
    SectionCount { found: usize, expected: usize },
    #[error(transparent)]
    Invalid(#[from] OfferError),
}

/// Why a request of a WHIP or WHEP client was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ResourceError {
    #[error("there is no such session")]
    NotFound,
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error(transparent)]
    Offer(#[from] OfferError),
    #[error(transparent)]
    Answer(#[from] AnswerError),
    #[error(transparent)]
    Fragment(#[from] FragmentError),
    /// Understood, and not possible.
    #[error("{0}")]
    Unprocessable(&'static str),
    #[error("an event that this server doesn't send")]
    UnknownEvent,
    #[error("nobody publishes here")]
    NotLive,
    #[error("no offer waits for an answer")]
    NothingToAnswer,
    #[error("the server's offer was not answered yet")]
    NotNegotiated,
    #[error("If-Match is missing")]
    PreconditionRequired,
    #[error("this is another ICE session")]
    PreconditionFailed,
    #[error("too many requests")]
    RateLimited,
    #[error("too many participants are connecting")]
    TooManyConnecting,
}
