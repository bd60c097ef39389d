//! Which codecs a room takes and in which order it prefers them. Plain values, checked when they are made; knows no SDP.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sfu_core::unit::Kind;

/// A codec as configurations and policies name it, whatever its profile.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CodecName {
    Opus,
    /// Opus with copies of earlier packets (RFC 2198).
    Red,
    Vp8,
    Vp9,
    H264,
    H265,
    Av1,
}

impl CodecName {
    pub const ALL: [CodecName; 7] = [
        CodecName::Opus,
        CodecName::Red,
        CodecName::Vp8,
        CodecName::Vp9,
        CodecName::H264,
        CodecName::H265,
        CodecName::Av1,
    ];

    pub fn kind(self) -> Kind {
        match self {
            CodecName::Opus | CodecName::Red => Kind::Audio,
            _ => Kind::Video,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            CodecName::Opus => "opus",
            CodecName::Red => "red",
            CodecName::Vp8 => "vp8",
            CodecName::Vp9 => "vp9",
            CodecName::H264 => "h264",
            CodecName::H265 => "h265",
            CodecName::Av1 => "av1",
        }
    }
}

impl fmt::Display for CodecName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CodecName {
    type Err = String;

    fn from_str(text: &str) -> Result<CodecName, String> {
        let known = CodecName::ALL.into_iter().find(|name| name.as_str().eq_ignore_ascii_case(text));
        known.ok_or_else(|| {
            format!("{text:?} is none of {}", CodecName::ALL.map(CodecName::as_str).join(", "))
        })
    }
}

/// Why a list of codecs is no policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CodecPolicyError {
    #[error("no codec is left")]
    Empty,
    #[error("{0} is listed twice")]
    Twice(CodecName),
    #[error("{0} is of the other kind")]
    OtherKind(CodecName),
    /// Receivers without RED get what is inside of it.
    #[error("red needs opus beside it")]
    RedWithoutOpus,
}

/// The codecs that a room takes, most preferred first. What isn't listed is refused in offers; the first one that a
/// publisher offers is what it will send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodecPolicy {
    audio: Vec<CodecName>,
    video: Vec<CodecName>,
}

impl Default for CodecPolicy {
    /// VP8 first: every WebRTC client encodes and decodes it, in as many layers as it likes. What follows serves those
    /// that can't.
    fn default() -> CodecPolicy {
        use CodecName::{Av1, H264, H265, Opus, Red, Vp8, Vp9};
        CodecPolicy { audio: vec![Opus, Red], video: vec![Vp8, H264, Vp9, Av1, H265] }
    }
}

impl CodecPolicy {
    pub fn new(audio: Vec<CodecName>, video: Vec<CodecName>) -> Result<CodecPolicy, CodecPolicyError> {
        check(&audio, Kind::Audio)?;
        check(&video, Kind::Video)?;
        if !audio.contains(&CodecName::Opus) {
            return Err(CodecPolicyError::RedWithoutOpus);
        }
        Ok(CodecPolicy { audio, video })
    }

    /// The codecs of a kind, most preferred first.
    pub fn of(&self, kind: Kind) -> &[CodecName] {
        match kind {
            Kind::Audio => &self.audio,
            Kind::Video => &self.video,
        }
    }
}

fn check(names: &[CodecName], kind: Kind) -> Result<(), CodecPolicyError> {
    if names.is_empty() {
        return Err(CodecPolicyError::Empty);
    }
    for (at, name) in names.iter().enumerate() {
        if name.kind() != kind {
            return Err(CodecPolicyError::OtherKind(*name));
        }
        if names.iter().take(at).any(|earlier| earlier == name) {
            return Err(CodecPolicyError::Twice(*name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_lists_each_codec_once_under_its_kind_and_red_never_alone() {
        use CodecName::{H264, Opus, Red, Vp8};
        let policy =
            |audio: &[CodecName], video: &[CodecName]| CodecPolicy::new(audio.to_vec(), video.to_vec());
        assert!(policy(&[Red, Opus], &[H264]).is_ok());
        assert_eq!(policy(&[], &[Vp8]), Err(CodecPolicyError::Empty));
        assert_eq!(policy(&[Opus], &[]), Err(CodecPolicyError::Empty));
        assert_eq!(policy(&[Opus], &[Vp8, H264, Vp8]), Err(CodecPolicyError::Twice(Vp8)));
        assert_eq!(policy(&[Opus, Vp8], &[Vp8]), Err(CodecPolicyError::OtherKind(Vp8)));
        assert_eq!(policy(&[Red], &[Vp8]), Err(CodecPolicyError::RedWithoutOpus));
        let default = CodecPolicy::default();
        assert_eq!(policy(default.of(Kind::Audio), default.of(Kind::Video)), Ok(default.clone()));
    }

    #[test]
    fn names_are_read_in_any_case() {
        for name in CodecName::ALL {
            assert_eq!(name.to_string().to_uppercase().parse(), Ok(name));
        }
        assert!("vp10".parse::<CodecName>().unwrap_err().contains("vp9, h264"));
    }
}
