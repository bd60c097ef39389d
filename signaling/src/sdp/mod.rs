//! Our typed view of a session description: only what WebRTC negotiation looks at, with bounds. Knows neither
//! transports nor rooms; `rtc_sdp` does the line grammar.

mod attribute;
pub mod fragment;
mod read;
pub mod write;

use sfu_core::command::{IceCredentials, RemoteSctp};
use sfu_core::transport::handshake::Fingerprint;
use sfu_core::unit::{Kind, Mid, Pt, Ssrc};

pub use read::{LINE_LEN_MAX, parse};

/// Why a text is not a session description that we take.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SdpError {
    #[error("the SDP is longer than {max} bytes")]
    TooLong { max: usize },
    #[error("line {line} is longer than {max} bytes")]
    LineTooLong { line: usize, max: usize },
    #[error("the SDP has more than {max} m-sections")]
    TooManySections { max: usize },
    #[error("an m-section has more than {max} candidates")]
    TooManyCandidates { max: usize },
    #[error("not an SDP: {0}")]
    Syntax(String),
    #[error("m-section {section}: a={attribute} is invalid")]
    Attribute { section: usize, attribute: &'static str },
}

/// A parsed description.
#[derive(Clone, PartialEq, Debug)]
pub struct Description {
    /// The mids of `a=group:BUNDLE` (RFC 9143), if there is such a group.
    pub bundle: Option<Vec<String>>,
    pub media: Vec<Media>,
}

/// What an m-section carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MediaKind {
    Rtp(Kind),
    /// `application` with data channels over SCTP over DTLS (RFC 8841 §4).
    Data,
    /// Whatever else: always rejected, echoed as it was.
    Other(String),
}

impl MediaKind {
    pub fn as_str(&self) -> &str {
        match self {
            MediaKind::Rtp(Kind::Audio) => "audio",
            MediaKind::Rtp(Kind::Video) => "video",
            MediaKind::Data => "application",
            MediaKind::Other(name) => name,
        }
    }
}

/// One m-section (RFC 8866 §5.14). Session-level ICE, DTLS and direction attributes are already applied to it.
#[derive(Clone, PartialEq, Debug)]
pub struct Media {
    pub kind: MediaKind,
    /// Port 0 without `a=bundle-only`: rejected or stopped.
    pub rejected: bool,
    pub profile: String,
    /// The format list as written.
    pub formats: Vec<String>,
    pub mid: Option<Mid>,
    pub direction: Direction,
    pub rtcp_mux: bool,
    pub ice: Option<IceCredentials>,
    /// The acceptable ones only: weak hashes are left out.
    pub fingerprints: Vec<Fingerprint>,
    pub setup: Option<Setup>,
    /// In the order of the format list.
    pub codecs: Vec<RtpFormat>,
    pub extensions: Vec<ExtMap>,
    /// Declared SSRCs in order of appearance.
    pub ssrcs: Vec<Ssrc>,
    pub ssrc_groups: Vec<SsrcGroup>,
    /// `a=rid:… send`, in order.
    pub rids_send: Vec<String>,
    /// First alternatives of `a=simulcast:send`, in order.
    pub simulcast_send: Vec<String>,
    /// `a=sctp-port` and `a=max-message-size` of data channels.
    pub sctp: Option<RemoteSctp>,
}

/// A payload type with everything that was said about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RtpFormat {
    pub pt: Pt,
    pub name: String,
    pub clock_rate: u32,
    pub channels: Option<u16>,
    pub fmtp: String,
    /// Values of `a=rtcp-fb`, `*` included.
    pub feedback: Vec<String>,
}

impl RtpFormat {
    pub fn has_feedback(&self, value: &str) -> bool {
        self.feedback.iter().any(|feedback| feedback == value)
    }

    /// A parameter of `a=fmtp` (`key=value;key=value`).
    pub fn parameter(&self, key: &str) -> Option<&str> {
        self.fmtp.split(';').find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            name.eq_ignore_ascii_case(key).then_some(value)
        })
    }
}

/// `a=extmap` (RFC 8285 §5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExtMap {
    pub id: u8,
    pub uri: String,
    /// Firefox writes one: `a=extmap:8/sendonly`.
    pub direction: Option<Direction>,
}

/// `a=ssrc-group` (RFC 5576 §4.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SsrcGroup {
    pub semantics: String,
    pub ssrcs: Vec<Ssrc>,
}

/// Direction of an m-section as its writer sees it (RFC 8866 §6.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    pub fn new(send: bool, recv: bool) -> Direction {
        match (send, recv) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    pub fn from_attribute(name: &str) -> Option<Direction> {
        match name {
            "sendrecv" => Some(Direction::SendRecv),
            "sendonly" => Some(Direction::SendOnly),
            "recvonly" => Some(Direction::RecvOnly),
            "inactive" => Some(Direction::Inactive),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    pub fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    pub fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    /// The same flow as the other side writes it.
    pub fn reversed(self) -> Direction {
        Direction::new(self.receives(), self.sends())
    }
}

/// `a=setup` (RFC 4145 §4, RFC 5763 §5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setup {
    Active,
    Passive,
    ActPass,
}

impl Setup {
    pub fn as_str(self) -> &'static str {
        match self {
            Setup::Active => "active",
            Setup::Passive => "passive",
            Setup::ActPass => "actpass",
        }
    }
}
