//! The codec options: what all rooms take, and what some take otherwise.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use signaling::{CodecName, CodecPolicy, CodecPolicyError};

use super::{Config, ConfigError};

/// What one room does otherwise; what isn't said is as in all rooms.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoomOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_codecs: Option<Vec<CodecName>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video_codecs: Option<Vec<CodecName>>,
}

impl Config {
    /// What rooms take that have no options of their own.
    pub fn codecs(&self) -> Result<CodecPolicy, ConfigError> {
        policy("", &self.audio_codecs, &self.video_codecs)
    }

    /// What the other rooms take, by name.
    pub fn codecs_of_rooms(&self) -> Result<BTreeMap<String, CodecPolicy>, ConfigError> {
        let own = |(name, room): (&String, &RoomOptions)| {
            let audio = room.audio_codecs.as_ref().unwrap_or(&self.audio_codecs);
            let video = room.video_codecs.as_ref().unwrap_or(&self.video_codecs);
            Ok((name.clone(), policy(&format!("rooms.{name:?}: "), audio, video)?))
        };
        self.rooms.iter().map(own).collect()
    }
}

fn policy(place: &str, audio: &[CodecName], video: &[CodecName]) -> Result<CodecPolicy, ConfigError> {
    CodecPolicy::new(audio.to_vec(), video.to_vec()).map_err(|error| {
        let list = match &error {
            CodecPolicyError::Empty if audio.is_empty() => "audio_codecs",
            CodecPolicyError::Empty => "video_codecs",
            CodecPolicyError::RedWithoutOpus => "audio_codecs",
            CodecPolicyError::Twice(name) | CodecPolicyError::OtherKind(name) if audio.contains(name) => {
                "audio_codecs"
            }
            CodecPolicyError::Twice(_) | CodecPolicyError::OtherKind(_) => "video_codecs",
        };
        ConfigError(format!("{place}{list}: {error}"))
    })
}
