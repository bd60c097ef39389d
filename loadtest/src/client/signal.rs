//! The messages of the signalling protocol, version 1 (`docs/signaling-protocol.md`), as a client sees them.
//! Defined here a second time, apart from the server's types, so that both can't be wrong in the same way.

use serde::{Deserialize, Serialize};

/// What the client says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientSignal {
    Join {
        version: u32,
        room: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        identity: Option<String>,
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        resume: Option<String>,
        /// The first offer: its answer follows `joined`.
        #[serde(skip_serializing_if = "Option::is_none")]
        offer: Option<Offer>,
    },
    Offer(Offer),
    Answer {
        id: u32,
        sdp: String,
    },
    Mute {
        track: String,
        muted: bool,
    },
    Subscribe {
        track: String,
        enabled: bool,
    },
    Prefer {
        track: String,
        layer: Layer,
        paused: bool,
    },
    Ping,
    Leave,
}

/// An offer of the client.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Offer {
    pub id: u32,
    pub sdp: String,
    pub tracks: Vec<OfferedTrack>,
}

/// What a sending m-section of an offer is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OfferedTrack {
    pub mid: String,
    pub source: Source,
    pub muted: bool,
}

/// What the server says. Messages that this client has no use for are [`ServerSignal::Other`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerSignal {
    Joined(Snapshot),
    Resync(Snapshot),
    Offer {
        id: u32,
        sdp: String,
        #[serde(default)]
        slots: Vec<Slot>,
    },
    Answer {
        id: u32,
        sdp: String,
    },
    Slots {
        slots: Vec<Slot>,
    },
    Published {
        tracks: Vec<PublishedTrack>,
    },
    IceRestart,
    ParticipantJoined {
        participant: Participant,
    },
    ParticipantLeft {
        participant: String,
    },
    TrackPublished {
        participant: String,
        track: Track,
    },
    TrackUnpublished {
        participant: String,
        track: String,
    },
    TrackMuted {
        participant: String,
        track: String,
        muted: bool,
    },
    Layer {
        mid: String,
        #[serde(default)]
        track: Option<String>,
        layer: Option<u8>,
        #[serde(default)]
        reason: Option<String>,
    },
    Connected,
    Disconnected,
    Closed {
        reason: String,
    },
    Error {
        code: String,
        #[serde(default)]
        message: String,
        #[serde(default)]
        id: Option<u32>,
    },
    Pong,
    #[serde(other)]
    Other,
}

/// The whole state of a room, as in `joined` and `resync`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Snapshot {
    #[serde(default)]
    pub resumed: bool,
    #[serde(default)]
    pub resume: Option<String>,
    #[serde(default)]
    pub participant: String,
    #[serde(default)]
    pub participants: Vec<Participant>,
    #[serde(default)]
    pub slots: Vec<Slot>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Participant {
    pub id: String,
    #[serde(default)]
    pub tracks: Vec<Track>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Track {
    pub id: String,
    pub kind: Kind,
    #[serde(default)]
    pub muted: bool,
}

/// An m-section that this client receives through, and what it shows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Slot {
    pub mid: String,
    pub kind: Kind,
    pub track: Option<String>,
}

/// The id that the server gave to an own track.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PublishedTrack {
    pub mid: String,
    pub track: String,
}

/// Audio or video.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Audio,
    Video,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Microphone,
    Camera,
    Screen,
    ScreenAudio,
}

/// A preference for one of a track's simulcast layers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    High,
    Medium,
    Low,
    Auto,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_written_protocol_are_understood() {
        let joined = r#"{"type":"joined","version":1,"resumed":false,"resume":"r","room":"standup","participant":"p1",
            "identity":"ann@example","name":"Ann","ice_servers":[],"participants":[{"id":"p2","identity":"bob","name":"Bob",
            "state":"connected","tracks":[{"id":"t7","kind":"video","source":"camera","muted":false}]}],
            "slots":[{"mid":"s0","kind":"video","track":null}]}"#;
        let Ok(ServerSignal::Joined(snapshot)) = serde_json::from_str(joined) else { panic!() };
        assert_eq!(snapshot.participants[0].tracks[0].id, "t7");
        assert_eq!(snapshot.slots[0].track, None);

        let layer = r#"{"type":"layer","mid":"s0","track":"t7","layer":null,"reason":"muted"}"#;
        assert!(matches!(serde_json::from_str(layer), Ok(ServerSignal::Layer { layer: None, .. })));
        let later = r#"{"type":"something_of_version_two","x":1}"#;
        assert_eq!(serde_json::from_str::<ServerSignal>(later).unwrap(), ServerSignal::Other);
        for unit in ["connected", "disconnected", "ice_restart", "pong"] {
            let parsed: ServerSignal = serde_json::from_str(&format!(r#"{{"type":"{unit}"}}"#)).unwrap();
            assert_ne!(parsed, ServerSignal::Other);
        }
    }

    #[test]
    fn what_the_client_says_is_as_the_protocol_writes_it() {
        let join = ClientSignal::Join {
            version: 1,
            room: "r".into(),
            identity: None,
            name: "n".into(),
            resume: None,
            offer: None,
        };
        assert_eq!(
            serde_json::to_string(&join).unwrap(),
            r#"{"type":"join","version":1,"room":"r","name":"n"}"#
        );
        let offer = ClientSignal::Offer(Offer {
            id: 1,
            sdp: "v=0".into(),
            tracks: vec![OfferedTrack { mid: "0".into(), source: Source::Camera, muted: false }],
        });
        assert_eq!(
            serde_json::to_string(&offer).unwrap(),
            r#"{"type":"offer","id":1,"sdp":"v=0","tracks":[{"mid":"0","source":"camera","muted":false}]}"#
        );
    }
}
