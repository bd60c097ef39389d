//! Which codecs we speak and under which conditions: one row per codec. A new codec is a new row.

use sfu_core::command::{Codec, H264Profile, PayloadType};
use sfu_core::unit::{ClockRate, Kind, Pt};

use crate::codec_policy::CodecName;
use crate::sdp::RtpFormat;

/// A codec of the table.
#[derive(Debug)]
pub(super) struct Row {
    pub name: CodecName,
    /// The encoding name of `a=rtpmap`.
    encoding: &'static str,
    pub clock_rate: ClockRate,
    channels: Option<u16>,
    /// The codec that a format of this name and clock rate is, judged by its `a=fmtp`; `None` if not ours.
    recognise: fn(&RtpFormat) -> Option<Codec>,
    /// `a=fmtp` of our answers, from the offered one: the parameters that must be the same on both sides, and what the
    /// client says of itself where we, who decode nothing, have nothing of our own to say.
    answer_fmtp: fn(&RtpFormat) -> String,
    /// What our own offers say to a client that has not shown payload types of its own.
    pub offered: OfferedCodec,
}

impl Row {
    pub fn kind(&self) -> Kind {
        self.name.kind()
    }
}

/// A codec as an offer of ours has it.
#[derive(Debug)]
pub(super) struct OfferedCodec {
    pub codec: Codec,
    pub pt: Pt,
    /// With RTX (RFC 4588), and so with `nack`.
    pub rtx: Option<Pt>,
    pub fmtp: &'static str,
}

const fn video(codec: Codec, pt: u8, rtx: u8, fmtp: &'static str) -> OfferedCodec {
    OfferedCodec { codec, pt: Pt(pt), rtx: Some(Pt(rtx)), fmtp }
}

/// The mandatory profile of RFC 7742 §6.2.
const H264_BASIC: Codec = Codec::H264 { packetization_mode: 1, profile: H264Profile::ConstrainedBaseline };

const TABLE: &[Row] = &[
    Row {
        name: CodecName::Opus,
        encoding: "opus",
        clock_rate: ClockRate::OPUS,
        channels: Some(2),
        recognise: |_| Some(Codec::Opus),
        answer_fmtp: opus_fmtp,
        offered: OfferedCodec {
            codec: Codec::Opus,
            pt: Pt(111),
            rtx: None,
            fmtp: "minptime=10;useinbandfec=1",
        },
    },
    Row {
        name: CodecName::Red,
        encoding: "red",
        clock_rate: ClockRate::OPUS,
        channels: Some(2),
        recognise: |_| Some(Codec::Red),
        // Written by `red_fmtp`, which knows Opus' payload type.
        answer_fmtp: |_| String::new(),
        offered: OfferedCodec { codec: Codec::Red, pt: Pt(63), rtx: None, fmtp: "" },
    },
    Row {
        name: CodecName::Vp8,
        encoding: "VP8",
        clock_rate: ClockRate::VIDEO,
        channels: None,
        recognise: |_| Some(Codec::Vp8),
        answer_fmtp: |_| String::new(),
        offered: video(Codec::Vp8, 96, 97, ""),
    },
    Row {
        name: CodecName::Vp9,
        encoding: "VP9",
        clock_rate: ClockRate::VIDEO,
        channels: None,
        recognise: vp9,
        answer_fmtp: |format| repeat(format, &["profile-id"]),
        offered: video(Codec::Vp9 { profile: 0 }, 98, 99, "profile-id=0"),
    },
    Row {
        name: CodecName::H264,
        encoding: "H264",
        clock_rate: ClockRate::VIDEO,
        channels: None,
        recognise: h264,
        // RFC 6184 §8.2.2: with asymmetry each side names its own level, without it a level no higher than the offered.
        answer_fmtp: |format| {
            repeat(format, &["level-asymmetry-allowed", "packetization-mode", "profile-level-id"])
        },
        offered: video(
            H264_BASIC,
            102,
            103,
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        ),
    },
    Row {
        name: CodecName::H265,
        encoding: "H265",
        clock_rate: ClockRate::VIDEO,
        channels: None,
        recognise: h265,
        answer_fmtp: |format| repeat(format, &["level-id", "profile-id", "tier-flag", "tx-mode"]),
        offered: video(
            Codec::H265 { profile: 1, tier: 0 },
            116,
            117,
            "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST",
        ),
    },
    Row {
        name: CodecName::Av1,
        encoding: "AV1",
        clock_rate: ClockRate::VIDEO,
        channels: None,
        recognise: av1,
        answer_fmtp: |format| repeat(format, &["level-idx", "profile", "tier"]),
        offered: video(Codec::Av1 { profile: 0 }, 45, 46, "level-idx=5;profile=0;tier=0"),
    },
];

/// RFC 7587 §7: the parameters as offered, and in-band FEC in any case.
fn opus_fmtp(format: &RtpFormat) -> String {
    let offered = format.fmtp.split(';').map(str::trim).filter(|pair| {
        let plain = !pair.is_empty() && pair.bytes().all(|byte| byte.is_ascii_graphic());
        plain && !pair.to_ascii_lowercase().starts_with("useinbandfec")
    });
    offered.chain(["useinbandfec=1"]).collect::<Vec<_>>().join(";")
}

/// RFC 9628 §6: 0 when not said. Profiles 1 and 3 have chroma that no encoder in use sends.
fn vp9(format: &RtpFormat) -> Option<Codec> {
    let profile = number(format, "profile-id", 0)?;
    matches!(profile, 0 | 2).then_some(Codec::Vp9 { profile })
}

/// RFC 6184 §8.1: mode 0 when not said. A profile that isn't said is the one that everybody has, as in libwebrtc.
/// Mode 2 interleaves, which WebRTC doesn't (RFC 7742 §6.2).
fn h264(format: &RtpFormat) -> Option<Codec> {
    let packetization_mode = number(format, "packetization-mode", 0)?;
    let profile = match format.parameter("profile-level-id").map(str::trim) {
        Some(hex) if hex.len() == 6 => H264Profile::of(u32::from_str_radix(hex, 16).ok()?)?,
        Some(_) => return None,
        None => H264Profile::ConstrainedBaseline,
    };
    (packetization_mode < 2).then_some(Codec::H264 { packetization_mode, profile })
}

/// RFC 7798 §7.1: Main profile and main tier when not said; only a single stream on a single transport.
fn h265(format: &RtpFormat) -> Option<Codec> {
    let (profile, tier) = (number(format, "profile-id", 1)?, number(format, "tier-flag", 0)?);
    let single = format.parameter("tx-mode").is_none_or(|mode| mode.trim().eq_ignore_ascii_case("SRST"));
    (single && matches!(profile, 1 | 2) && tier < 2).then_some(Codec::H265 { profile, tier })
}

/// RTP Payload Format for AV1, §7.2: Main profile when not said.
fn av1(format: &RtpFormat) -> Option<Codec> {
    let profile = number(format, "profile", 0)?;
    (profile < 3).then_some(Codec::Av1 { profile })
}

/// A parameter that is a number; `default` when it isn't there, `None` when it is something else.
fn number(format: &RtpFormat, key: &str, default: u8) -> Option<u8> {
    format.parameter(key).map_or(Some(default), |value| value.trim().parse().ok())
}

/// Those of the offered parameters that are named.
fn repeat(format: &RtpFormat, keys: &[&str]) -> String {
    let plain = |value: &&str| value.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let pairs = keys.iter().filter_map(|key| {
        let value = format.parameter(key).map(str::trim).filter(plain)?;
        Some(format!("{key}={value}"))
    });
    pairs.collect::<Vec<_>>().join(";")
}

/// `a=fmtp` of RED around Opus (RFC 2198 §5).
pub(super) fn red_fmtp(opus: Pt) -> String {
    format!("{opus}/{opus}")
}

/// Whether RED's `a=fmtp` says that all its blocks are of this payload type.
fn is_red_of(red: &RtpFormat, opus: Pt) -> bool {
    red.fmtp.split('/').all(|pt| pt.trim().parse() == Ok(opus.0))
}

/// A codec as agreed for one m-section, with what its SDP lines need.
#[derive(Clone, PartialEq, Debug)]
pub struct AgreedCodec {
    pub payload: PayloadType,
    /// `ccm fir` was agreed (RFC 5104 §4.3.1).
    pub fir: bool,
    pub(super) encoding: &'static str,
    pub(super) channels: Option<u16>,
    pub(super) fmtp: String,
}

impl AgreedCodec {
    /// What an offer of ours says of a codec.
    pub(super) fn offered(row: &Row, codec: Codec, pt: Pt, rtx: Option<Pt>, fmtp: String) -> AgreedCodec {
        let video = row.kind() == Kind::Video;
        AgreedCodec {
            payload: PayloadType {
                pt,
                codec,
                clock_rate: row.clock_rate,
                rtx,
                nack: rtx.is_some(),
                pli: video,
                // As libwebrtc has it: feedback is agreed for the codec inside.
                transport_cc: row.name != CodecName::Red,
            },
            fir: video,
            encoding: row.encoding,
            channels: row.channels,
            fmtp,
        }
    }

    /// The `(attribute, value)` lines of this codec, RTX included.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let PayloadType { pt, clock_rate, rtx, nack, pli, transport_cc, .. } = &self.payload;
        let channels = self.channels.map(|channels| format!("/{channels}")).unwrap_or_default();
        let mut lines = vec![("rtpmap", format!("{pt} {}/{}{channels}", self.encoding, clock_rate.0))];
        let feedback =
            [(*transport_cc, "transport-cc"), (self.fir, "ccm fir"), (*nack, "nack"), (*pli, "nack pli")];
        lines.extend(
            feedback
                .iter()
                .filter(|(agreed, _)| *agreed)
                .map(|(_, value)| ("rtcp-fb", format!("{pt} {value}"))),
        );
        if !self.fmtp.is_empty() {
            lines.push(("fmtp", format!("{pt} {}", self.fmtp)));
        }
        if let Some(rtx) = rtx {
            lines.push(("rtpmap", format!("{rtx} rtx/{}", clock_rate.0)));
            lines.push(("fmtp", format!("{rtx} apt={pt}")));
        }
        lines
    }

    /// Its payload types in the order of a format list.
    pub fn formats(&self) -> impl Iterator<Item = String> {
        std::iter::once(self.payload.pt).chain(self.payload.rtx).map(|pt| pt.to_string())
    }
}

/// What we take of a section's formats: those that `allowed` names, in its order, of one codec the profile first that most
/// can decode, and of equals the peer's first. Browsers send the first one.
///
/// transport-cc is taken in both directions: libwebrtc ignores it altogether when some sections of a bundle have it and
/// others don't.
pub fn agree(allowed: &[CodecName], formats: &[RtpFormat]) -> Vec<AgreedCodec> {
    let mut agreed: Vec<(usize, AgreedCodec)> = Vec::new();
    for format in formats {
        let Some((row, codec)) = recognise(format) else { continue };
        let Some(rank) = allowed.iter().position(|name| *name == row.name) else { continue };
        if agreed.iter().any(|(_, earlier)| earlier.payload.codec == codec) {
            continue;
        }
        let rtx = formats.iter().find(|rtx| is_rtx_of(rtx, format)).map(|rtx| rtx.pt);
        let video = row.kind() == Kind::Video;
        let mut codec = AgreedCodec {
            payload: PayloadType {
                pt: format.pt,
                codec,
                clock_rate: row.clock_rate,
                rtx: rtx.filter(|_| row.offered.rtx.is_some()),
                // A NACK is answered by RTX only, so without RTX it would be asked in vain.
                nack: video && rtx.is_some() && format.has_feedback("nack"),
                pli: video && format.has_feedback("nack pli"),
                transport_cc: format.has_feedback("transport-cc"),
            },
            fir: video && format.has_feedback("ccm fir"),
            encoding: row.encoding,
            channels: row.channels,
            fmtp: (row.answer_fmtp)(format),
        };
        if row.name == CodecName::Red {
            let opus =
                formats.iter().find(|other| recognise(other).is_some_and(|(_, codec)| codec == Codec::Opus));
            let Some(opus) = opus.filter(|opus| is_red_of(format, opus.pt)) else { continue };
            codec.fmtp = red_fmtp(opus.pt);
        }
        agreed.push((rank, codec));
    }
    agreed.sort_by_key(|(rank, codec)| (*rank, reach(codec.payload.codec)));
    agreed.into_iter().map(|(_, codec)| codec).collect()
}

/// How few receivers decode this variant of its codec.
fn reach(codec: Codec) -> u8 {
    match codec {
        Codec::H264 { packetization_mode, profile } => {
            let profile = match profile {
                H264Profile::ConstrainedBaseline => 0,
                H264Profile::Baseline => 1,
                H264Profile::Main => 2,
                H264Profile::ConstrainedHigh => 3,
                H264Profile::High => 4,
            };
            // Mode 0 can't fragment, which no encoder of today minds to do.
            profile * 2 + (1 - packetization_mode.min(1))
        }
        Codec::Vp9 { profile } | Codec::Av1 { profile } => profile,
        Codec::H265 { profile, tier } => profile * 2 + tier,
        Codec::Opus | Codec::Red | Codec::Vp8 => 0,
    }
}

fn recognise(format: &RtpFormat) -> Option<(&'static Row, Codec)> {
    let row = TABLE.iter().find(|row| {
        format.name.eq_ignore_ascii_case(row.encoding)
            && format.clock_rate == row.clock_rate.0
            && row.channels.is_none_or(|channels| format.channels == Some(channels))
    })?;
    Some((row, (row.recognise)(format)?))
}

pub(super) fn row_of(name: CodecName) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name == name)
}

/// The row that a codec of the engine stands in.
pub(super) fn row_for(codec: Codec) -> Option<&'static Row> {
    row_of(match codec {
        Codec::Opus => CodecName::Opus,
        Codec::Red => CodecName::Red,
        Codec::Vp8 => CodecName::Vp8,
        Codec::Vp9 { .. } => CodecName::Vp9,
        Codec::H264 { .. } => CodecName::H264,
        Codec::H265 { .. } => CodecName::H265,
        Codec::Av1 { .. } => CodecName::Av1,
    })
}

fn is_rtx_of(rtx: &RtpFormat, format: &RtpFormat) -> bool {
    rtx.name.eq_ignore_ascii_case("rtx")
        && rtx.clock_rate == format.clock_rate
        && rtx.parameter("apt").is_some_and(|apt| apt.trim().parse() == Ok(format.pt.0))
}
