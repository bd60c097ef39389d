//! Which codecs we speak and under which conditions: one row per codec. A new codec is a new row.

use sfu_core::command::{Codec, PayloadType};
use sfu_core::unit::{ClockRate, Kind, Pt};

use crate::sdp::RtpFormat;

/// A codec of the table.
#[derive(Debug)]
struct Row {
    kind: Kind,
    name: &'static str,
    clock_rate: ClockRate,
    channels: Option<u16>,
    /// The codec that a format of this name and clock rate is, judged by its `a=fmtp`; `None` if not ours.
    recognise: fn(&RtpFormat) -> Option<Codec>,
    /// `a=fmtp` of our answers, from the offered one.
    answer_fmtp: fn(&RtpFormat) -> String,
    /// What our own offers say.
    offered: OfferedCodec,
}

/// How a codec is written into an offer of ours when the client has not shown payload types of its own.
#[derive(Debug)]
struct OfferedCodec {
    codec: Codec,
    pt: Pt,
    /// With RTX (RFC 4588), and so with `nack`.
    rtx: Option<Pt>,
    fmtp: &'static str,
}

/// In our order of preference per kind.
const TABLE: &[Row] = &[
    Row {
        kind: Kind::Audio,
        name: "opus",
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
        kind: Kind::Video,
        name: "VP8",
        clock_rate: ClockRate::VIDEO,
        channels: None,
        recognise: |_| Some(Codec::Vp8),
        answer_fmtp: |_| String::new(),
        offered: OfferedCodec { codec: Codec::Vp8, pt: Pt(96), rtx: Some(Pt(97)), fmtp: "" },
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

/// A codec as agreed for one m-section, with what its SDP lines need.
#[derive(Clone, PartialEq, Debug)]
pub struct AgreedCodec {
    pub payload: PayloadType,
    /// `ccm fir` was agreed (RFC 5104 §4.3.1).
    pub fir: bool,
    name: &'static str,
    channels: Option<u16>,
    fmtp: String,
}

impl AgreedCodec {
    /// The `(attribute, value)` lines of this codec, RTX included.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let PayloadType { pt, clock_rate, rtx, nack, pli, transport_cc, .. } = &self.payload;
        let channels = self.channels.map(|channels| format!("/{channels}")).unwrap_or_default();
        let mut lines = vec![("rtpmap", format!("{pt} {}/{}{channels}", self.name, clock_rate.0))];
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

/// What we take of a section's formats, in the peer's order. transport-cc is taken in both directions: libwebrtc
/// ignores it altogether when some sections of a bundle have it and others don't.
pub fn agree(kind: Kind, formats: &[RtpFormat]) -> Vec<AgreedCodec> {
    let mut agreed: Vec<AgreedCodec> = Vec::new();
    for format in formats {
        let Some((row, codec)) = recognise(kind, format) else { continue };
        if agreed.iter().any(|earlier| earlier.payload.codec == codec) {
            continue;
        }
        let rtx = formats.iter().find(|rtx| is_rtx_of(rtx, format)).map(|rtx| rtx.pt);
        let video = kind == Kind::Video;
        agreed.push(AgreedCodec {
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
            name: row.name,
            channels: row.channels,
            fmtp: (row.answer_fmtp)(format),
        });
    }
    agreed
}

fn recognise(kind: Kind, format: &RtpFormat) -> Option<(&'static Row, Codec)> {
    TABLE.iter().filter(|row| row.kind == kind && names(row, format)).find_map(|row| {
        let codec = (row.recognise)(format)?;
        Some((row, codec))
    })
}

fn names(row: &Row, format: &RtpFormat) -> bool {
    format.name.eq_ignore_ascii_case(row.name)
        && format.clock_rate == row.clock_rate.0
        && row.channels.is_none_or(|channels| format.channels == Some(channels))
}

fn is_rtx_of(rtx: &RtpFormat, format: &RtpFormat) -> bool {
    rtx.name.eq_ignore_ascii_case("rtx")
        && rtx.clock_rate == format.clock_rate
        && rtx.parameter("apt").is_some_and(|apt| apt.trim().parse() == Ok(format.pt.0))
}

/// The payload types that a client uses: learned from its offers, so that ours don't clash with them in the
/// bundle (RFC 8843 §10.1.1).
#[derive(Clone, Debug, Default)]
pub struct KnownPayloadTypes {
    /// First one wins: it is what the client will go on using.
    codecs: Vec<(Codec, Pt, Option<Pt>)>,
    taken: u128,
}

impl KnownPayloadTypes {
    pub fn learn(&mut self, kind: Kind, formats: &[RtpFormat]) {
        for format in formats {
            self.taken |= 1 << format.pt.0.min(127);
        }
        for codec in agree(kind, formats) {
            let PayloadType { codec, pt, rtx, .. } = codec.payload;
            if !self.codecs.iter().any(|(known, ..)| *known == codec) {
                self.codecs.push((codec, pt, rtx));
            }
        }
    }

    /// The codecs of `kind` for a section that we offer to send through.
    pub fn offer(&mut self, kind: Kind) -> Vec<AgreedCodec> {
        TABLE.iter().filter(|row| row.kind == kind).map(|row| self.offer_row(row)).collect()
    }

    fn offer_row(&mut self, row: &Row) -> AgreedCodec {
        let OfferedCodec { codec, pt, rtx, fmtp } = &row.offered;
        let known = self.codecs.iter().find(|(known, ..)| known == codec).cloned();
        let (codec, pt, rtx) = known.unwrap_or_else(|| {
            let pt = self.take(*pt);
            let rtx = rtx.map(|rtx| self.take(rtx));
            self.codecs.push((codec.clone(), pt, rtx));
            (codec.clone(), pt, rtx)
        });
        let video = row.kind == Kind::Video;
        AgreedCodec {
            payload: PayloadType {
                pt,
                codec,
                clock_rate: row.clock_rate,
                rtx,
                nack: rtx.is_some(),
                pli: video,
                transport_cc: true,
            },
            fir: video,
            name: row.name,
            channels: row.channels,
            fmtp: (*fmtp).to_owned(),
        }
    }

    /// `wanted`, or a dynamic payload type that is free (RFC 3551 §6; 64–95 would look like RTCP, RFC 5761 §4).
    fn take(&mut self, wanted: Pt) -> Pt {
        let candidates = std::iter::once(wanted.0).chain((96..128).rev()).chain(35..64);
        let free = candidates.into_iter().find(|pt| self.taken & (1 << pt) == 0).unwrap_or(wanted.0);
        self.taken |= 1 << free.min(127);
        Pt(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(pt: u8, name: &str, fmtp: &str, feedback: &[&str]) -> RtpFormat {
        let audio = name == "opus";
        RtpFormat {
            pt: Pt(pt),
            name: name.to_owned(),
            clock_rate: if audio { 48_000 } else { 90_000 },
            channels: audio.then_some(2),
            fmtp: fmtp.to_owned(),
            feedback: feedback.iter().map(|value| (*value).to_owned()).collect(),
        }
    }

    #[test]
    fn nack_needs_rtx() {
        let vp8 = format(96, "VP8", "", &["nack", "nack pli"]);
        let alone = agree(Kind::Video, std::slice::from_ref(&vp8));
        assert!(!alone[0].payload.nack);
        assert!(alone[0].payload.pli);
        let with_rtx = agree(Kind::Video, &[vp8, format(97, "rtx", "apt=96", &[])]);
        assert!(with_rtx[0].payload.nack);
        assert_eq!(with_rtx[0].payload.rtx, Some(Pt(97)));
    }

    #[test]
    fn opus_keeps_offered_parameters_and_gains_fec() {
        let opus = format(109, "opus", "maxplaybackrate=48000;stereo=1;useinbandfec=0", &[]);
        let agreed = agree(Kind::Audio, &[opus]);
        assert_eq!(agreed[0].fmtp, "maxplaybackrate=48000;stereo=1;useinbandfec=1");
        assert_eq!(agreed[0].lines()[0].1, "109 opus/48000/2");
    }

    #[test]
    fn our_payload_types_evade_the_clients() {
        let mut known = KnownPayloadTypes::default();
        known.learn(Kind::Video, &[format(96, "H264", "", &[]), format(111, "rtx", "apt=96", &[])]);
        let vp8 = known.offer(Kind::Video);
        assert_eq!((vp8[0].payload.pt, vp8[0].payload.rtx), (Pt(127), Some(Pt(97))));
        let opus = known.offer(Kind::Audio);
        assert_eq!(opus[0].payload.pt, Pt(126));
        assert_eq!(known.offer(Kind::Video), vp8);
    }
}
