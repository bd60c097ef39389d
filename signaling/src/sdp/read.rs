//! Text → [`Description`]. Bounds come first, so that nothing behind them sees more than they allow; the work is
//! linear in the length of the text.

use std::collections::BTreeMap;

use rtc_sdp::description::common::Attribute;
use rtc_sdp::description::media::MediaDescription;
use rtc_sdp::description::session::SessionDescription;
use sfu_core::command::IceCredentials;
use sfu_core::transport::handshake::Fingerprint;
use sfu_core::unit::{Kind, Mid};

use super::{Description, Direction, Media, MediaKind, RtpFormat, SdpError, Setup, attribute};
use crate::candidate::CANDIDATES_MAX;

/// Longest line taken; the longest real one is the format list of a video section, about 400 bytes.
pub const LINE_LEN_MAX: usize = 4 * 1_024;

/// Fingerprints kept per m-section: one certificate under each hash, and then some.
const FINGERPRINTS_MAX: usize = 8;

/// Header extensions kept per m-section; browsers offer up to 16.
const EXTENSIONS_MAX: usize = 64;

/// Parses `text` of at most `len_max` bytes and `sections_max` m-sections.
pub fn parse(text: &str, len_max: usize, sections_max: usize) -> Result<Description, SdpError> {
    check_bounds(text, len_max, sections_max)?;
    let session = SessionDescription::try_from(text.to_owned())
        .map_err(|error| SdpError::Syntax(error.to_string().chars().take(200).collect()))?;
    let mut defaults = TransportAttributes::default();
    let mut bundle = None;
    for attribute in &session.attributes {
        let value = attribute.value.as_deref().unwrap_or_default();
        if attribute.key == "group" {
            let mut words = value.split_ascii_whitespace();
            if words.next() == Some("BUNDLE") && bundle.is_none() {
                bundle = Some(words.map(str::to_owned).collect());
            }
        } else {
            defaults.read(attribute);
        }
    }
    let media = session.media_descriptions.iter().enumerate();
    let media = media.map(|(index, media)| section(index, media, &defaults)).collect::<Result<_, _>>()?;
    Ok(Description { bundle, media })
}

fn check_bounds(text: &str, len_max: usize, sections_max: usize) -> Result<(), SdpError> {
    if text.len() > len_max {
        return Err(SdpError::TooLong { max: len_max });
    }
    let (mut sections, mut candidates) = (0, 0);
    for (line, content) in text.split('\n').enumerate() {
        if content.len() > LINE_LEN_MAX {
            return Err(SdpError::LineTooLong { line, max: LINE_LEN_MAX });
        }
        if content.starts_with("m=") {
            sections += 1;
            candidates = 0;
        }
        candidates += usize::from(content.starts_with("a=candidate:"));
        if sections > sections_max {
            return Err(SdpError::TooManySections { max: sections_max });
        }
        if candidates > CANDIDATES_MAX {
            return Err(SdpError::TooManyCandidates { max: CANDIDATES_MAX });
        }
    }
    Ok(())
}

/// Attributes that may stand at session level for all m-sections.
#[derive(Clone, Default)]
struct TransportAttributes {
    ufrag: Option<String>,
    pwd: Option<String>,
    fingerprints: Vec<Fingerprint>,
    setup: Option<Setup>,
    direction: Option<Direction>,
}

impl TransportAttributes {
    /// Takes the attribute if it is one of these.
    fn read(&mut self, attribute: &Attribute) {
        let value = attribute.value.as_deref().unwrap_or_default();
        match attribute.key.as_str() {
            "ice-ufrag" if attribute::is_ice_text(value, 4) => self.ufrag = Some(value.to_owned()),
            "ice-pwd" if attribute::is_ice_text(value, 22) => self.pwd = Some(value.to_owned()),
            "setup" => self.setup = attribute::setup(value),
            "fingerprint" => {
                let fingerprint = attribute::fingerprint(value);
                let room = self.fingerprints.len() < FINGERPRINTS_MAX;
                self.fingerprints.extend(fingerprint.filter(|one| room && !self.fingerprints.contains(one)));
            }
            key => self.direction = Direction::from_attribute(key).or(self.direction),
        }
    }
}

fn section(
    index: usize,
    description: &MediaDescription,
    defaults: &TransportAttributes,
) -> Result<Media, SdpError> {
    let name = &description.media_name;
    let kind = match name.media.as_str() {
        "audio" => MediaKind::Rtp(Kind::Audio),
        "video" => MediaKind::Rtp(Kind::Video),
        "application" if is_data(&name.protos, &name.formats) => MediaKind::Data,
        other => MediaKind::Other(other.to_owned()),
    };
    let mut own = TransportAttributes::default();
    let mut codecs = CodecLines::default();
    let mut media = Media {
        kind,
        rejected: name.port.value == 0 && !description.has_attribute("bundle-only"),
        profile: name.protos.join("/"),
        formats: name.formats.clone(),
        mid: None,
        direction: Direction::SendRecv,
        rtcp_mux: false,
        ice: None,
        fingerprints: Vec::new(),
        setup: None,
        codecs: Vec::new(),
        extensions: Vec::new(),
        ssrcs: Vec::new(),
        ssrc_groups: Vec::new(),
        rids_send: Vec::new(),
        simulcast_send: Vec::new(),
        sctp: None,
    };
    let mut sctp = attribute::SctpLines::default();
    for attribute in &description.attributes {
        let value = attribute.value.as_deref().unwrap_or_default();
        match attribute.key.as_str() {
            "mid" => {
                let mid = Mid::new(value.as_bytes());
                media.mid = Some(mid.ok_or(SdpError::Attribute { section: index, attribute: "mid" })?);
            }
            "rtcp-mux" => media.rtcp_mux = true,
            "extmap" if media.extensions.len() < EXTENSIONS_MAX => {
                media.extensions.extend(attribute::extmap(value));
            }
            "ssrc" => {
                if let Some(ssrc) = attribute::ssrc(value) {
                    attribute::declare_ssrc(&mut media.ssrcs, ssrc);
                }
            }
            "ssrc-group" if media.ssrc_groups.len() < 16 => {
                media.ssrc_groups.extend(attribute::ssrc_group(value));
            }
            "rid" if media.rids_send.len() < 16 => {
                media.rids_send.extend(attribute::rid_send(value).map(str::to_owned));
            }
            "simulcast" => {
                let rids = attribute::simulcast_send(value);
                media.simulcast_send = rids.into_iter().take(16).map(str::to_owned).collect();
            }
            "sctp-port" | "max-message-size" => sctp.read(&attribute.key, value),
            "rtpmap" | "fmtp" | "rtcp-fb" => codecs.read(&attribute.key, value),
            _ => own.read(attribute),
        }
    }
    media.sctp = sctp.remote().filter(|_| media.kind == MediaKind::Data);
    media.codecs = codecs.in_order_of(&media.formats);
    media.direction = own.direction.or(defaults.direction).unwrap_or(Direction::SendRecv);
    media.setup = own.setup.or(defaults.setup);
    media.fingerprints =
        if own.fingerprints.is_empty() { defaults.fingerprints.clone() } else { own.fingerprints };
    let ufrag = own.ufrag.or_else(|| defaults.ufrag.clone());
    let pwd = own.pwd.or_else(|| defaults.pwd.clone());
    media.ice = ufrag.zip(pwd).map(|(ufrag, pwd)| IceCredentials { ufrag, pwd });
    Ok(media)
}

/// RFC 8841 §4.2; the older form names a port in the format list, and nobody writes it any more.
fn is_data(protos: &[String], formats: &[String]) -> bool {
    let over_dtls = matches!(protos, [udp_or_tcp, dtls, sctp]
        if (udp_or_tcp == "UDP" || udp_or_tcp == "TCP") && dtls == "DTLS" && sctp == "SCTP");
    over_dtls && formats == ["webrtc-datachannel"]
}

/// What the `rtpmap`, `fmtp` and `rtcp-fb` lines of a section say, by payload type; they come in any order.
#[derive(Default)]
struct CodecLines {
    maps: BTreeMap<u8, (String, u32, Option<u16>)>,
    fmtps: BTreeMap<u8, String>,
    feedback: BTreeMap<u8, Vec<String>>,
    feedback_of_all: Vec<String>,
}

/// Feedback lines kept per payload type; browsers write five.
const FEEDBACK_MAX: usize = 16;

impl CodecLines {
    fn read(&mut self, key: &str, value: &str) {
        if key == "rtpmap" {
            if let Some((pt, name, clock_rate, channels)) = attribute::rtpmap(value) {
                self.maps.insert(pt.0, (name.to_owned(), clock_rate, channels));
            }
            return;
        }
        let Some((number, rest)) = value.split_once(' ') else { return };
        let feedback = match (key, number, attribute::pt(number)) {
            ("fmtp", _, Some(pt)) => {
                self.fmtps.insert(pt.0, rest.trim().to_owned());
                return;
            }
            ("rtcp-fb", "*", _) => &mut self.feedback_of_all,
            ("rtcp-fb", _, Some(pt)) => self.feedback.entry(pt.0).or_default(),
            _ => return,
        };
        if feedback.len() < FEEDBACK_MAX {
            feedback.push(rest.trim().to_owned());
        }
    }

    /// The payload types of the format list that have an `rtpmap`, each once.
    fn in_order_of(mut self, formats: &[String]) -> Vec<RtpFormat> {
        let pts = formats.iter().filter_map(|format| attribute::pt(format));
        let codecs = pts.filter_map(|pt| {
            let (name, clock_rate, channels) = self.maps.remove(&pt.0)?;
            let fmtp = self.fmtps.remove(&pt.0).unwrap_or_default();
            let mut feedback = self.feedback.remove(&pt.0).unwrap_or_default();
            feedback.extend(self.feedback_of_all.iter().cloned());
            Some(RtpFormat { pt, name, clock_rate, channels, fmtp, feedback })
        });
        codecs.collect()
    }
}
