//! The client's session descriptions: writes its offers and answers (JSEP, RFC 9429), reads the server's with
//! `rtc-sdp`. Knows what a section is, not when to negotiate.

use std::fmt::Write as _;
use std::io::Cursor;
use std::net::{IpAddr, SocketAddr};

use rtc_sdp::description::media::MediaDescription;
use rtc_sdp::description::session::SessionDescription;

use super::dtls::Fingerprint;
use super::ice::IceCredentials;
use super::signal::Kind;

pub const EXT_MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
pub const EXT_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
pub const EXT_REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
pub const EXT_AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
pub const EXT_TRANSPORT_CC: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
pub const EXT_ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";

/// What the client offers, with the ids that it proposes.
const AUDIO_EXTENSIONS: [(u8, &str); 3] = [(1, EXT_AUDIO_LEVEL), (3, EXT_TRANSPORT_CC), (4, EXT_MID)];
const VIDEO_EXTENSIONS: [(u8, &str); 5] =
    [(2, EXT_ABS_SEND_TIME), (3, EXT_TRANSPORT_CC), (4, EXT_MID), (10, EXT_RID), (11, EXT_REPAIRED_RID)];

/// Payload types that the client proposes.
pub const OPUS: u8 = 111;
pub const VP8: u8 = 96;
pub const VP8_RTX: u8 = 97;
pub const H264: u8 = 102;
pub const H264_RTX: u8 = 103;
pub const RED: u8 = 63;

/// What a client takes of the sections that it is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepts {
    pub vp8: bool,
    pub h264: bool,
    /// Redundant audio.
    pub red: bool,
    pub transport_cc: bool,
}

impl Default for Accepts {
    fn default() -> Accepts {
        Accepts { vp8: true, h264: false, red: false, transport_cc: true }
    }
}

impl Accepts {
    fn takes(self, codec: &Codec) -> bool {
        codec.is("opus")
            || codec.is("VP8") && self.vp8
            || codec.is("H264") && self.h264 && codec.fmtp.contains("packetization-mode=1")
            || codec.is("red") && self.red
    }
}

/// `a=setup` (RFC 8842 §5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Setup {
    #[default]
    Actpass,
    Active,
    Passive,
}

impl Setup {
    fn parse(text: &str) -> Option<Setup> {
        match text {
            "actpass" => Some(Setup::Actpass),
            "active" => Some(Setup::Active),
            "passive" => Some(Setup::Passive),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Setup::Actpass => "actpass",
            Setup::Active => "active",
            Setup::Passive => "passive",
        }
    }
}

/// Direction of a section, as its writer sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Direction {
    #[default]
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    fn as_str(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    /// Whether the writer sends.
    pub fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    pub fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }
}

/// One payload type of a section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Codec {
    pub pt: u8,
    /// As in `a=rtpmap`, for example `VP8/90000` or `opus/48000/2`.
    pub map: String,
    pub fmtp: String,
    /// `a=rtcp-fb` values, for example `nack pli`.
    pub feedback: Vec<String>,
}

impl Codec {
    fn new(pt: u8, map: &str, fmtp: &str, feedback: &[&str]) -> Codec {
        let feedback = feedback.iter().map(|text| (*text).to_owned()).collect();
        Codec { pt, map: map.into(), fmtp: fmtp.into(), feedback }
    }

    pub fn is(&self, name: &str) -> bool {
        self.map.split('/').next().is_some_and(|found| found.eq_ignore_ascii_case(name))
    }

    /// The payload type that this RTX repairs (RFC 4588 §8.6).
    pub fn apt(&self) -> Option<u8> {
        self.fmtp.split(';').find_map(|part| part.trim().strip_prefix("apt="))?.parse().ok()
    }

    pub fn has_feedback(&self, value: &str) -> bool {
        self.feedback.iter().any(|feedback| feedback == value)
    }
}

/// An m-section, ours or the server's.
#[derive(Clone, PartialEq, Debug)]
pub struct Section {
    pub mid: String,
    /// `None` for what isn't audio or video.
    pub kind: Option<Kind>,
    /// The media word and protocol of the m-line, to reject what isn't understood.
    pub media: String,
    pub protocol: String,
    /// Port zero: the section is rejected.
    pub rejected: bool,
    pub direction: Direction,
    pub codecs: Vec<Codec>,
    pub extensions: Vec<(u8, String)>,
    pub ssrcs: Vec<u32>,
    /// `ssrc-group:FID` pairs: a stream and its RTX.
    pub rtx_pairs: Vec<(u32, u32)>,
    /// Simulcast rids, lowest first; the writer sends them.
    pub rids: Vec<String>,
    pub cname: String,
}

impl Section {
    /// A section of ours that sends Opus or VP8.
    pub fn publish(mid: &str, kind: Kind, cname: &str) -> Section {
        let (codecs, extensions): (_, &[(u8, &str)]) = match kind {
            Kind::Audio => (
                vec![Codec::new(OPUS, "opus/48000/2", "minptime=10;useinbandfec=1", &["transport-cc"])],
                &AUDIO_EXTENSIONS,
            ),
            Kind::Video => (
                vec![
                    Codec::new(VP8, "VP8/90000", "", &["ccm fir", "nack", "nack pli", "transport-cc"]),
                    Codec::new(VP8_RTX, "rtx/90000", &format!("apt={VP8}"), &[]),
                ],
                &VIDEO_EXTENSIONS,
            ),
        };
        Section {
            mid: mid.into(),
            kind: Some(kind),
            media: if kind == Kind::Audio { "audio" } else { "video" }.into(),
            protocol: "UDP/TLS/RTP/SAVPF".into(),
            rejected: false,
            direction: Direction::SendOnly,
            codecs,
            extensions: extensions.iter().map(|(id, uri)| (*id, (*uri).to_owned())).collect(),
            ssrcs: Vec::new(),
            rtx_pairs: Vec::new(),
            rids: Vec::new(),
            cname: cname.into(),
        }
    }

    /// A section of ours that receives what [`Section::publish`] sends.
    pub fn subscribe(mid: &str, kind: Kind) -> Section {
        Section { direction: Direction::RecvOnly, ..Section::publish(mid, kind, "") }
    }

    /// The same section with H.264 in place of VP8.
    pub fn in_h264(mut self) -> Section {
        let fmtp = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
        self.codecs = vec![
            Codec::new(H264, "H264/90000", fmtp, &["ccm fir", "nack", "nack pli", "transport-cc"]),
            Codec::new(H264_RTX, "rtx/90000", &format!("apt={H264}"), &[]),
        ];
        self
    }

    /// The same section with redundant audio beside the plain.
    pub fn with_red(mut self) -> Section {
        let fmtp = format!("{OPUS}/{OPUS}");
        self.codecs.push(Codec::new(RED, "red/48000/2", &fmtp, &["transport-cc"]));
        self
    }

    /// Our answer to an offered section that we receive: what of it we understand.
    pub fn receive(offered: &Section, accepts: Accepts) -> Section {
        let repairs = |rtx: &Codec| {
            let apt = rtx.apt().filter(|_| rtx.is("rtx"));
            apt.is_some_and(|apt| offered.codecs.iter().any(|codec| codec.pt == apt && accepts.takes(codec)))
        };
        let known = |codec: &&Codec| accepts.takes(codec) || repairs(codec);
        let transport_cc = accepts.transport_cc;
        let mut codecs: Vec<Codec> = offered.codecs.iter().filter(known).cloned().collect();
        for codec in &mut codecs {
            codec.feedback.retain(|value| {
                matches!(value.as_str(), "nack" | "nack pli" | "ccm fir")
                    || value == "transport-cc" && transport_cc
            });
        }
        let all = [EXT_MID, EXT_RID, EXT_REPAIRED_RID, EXT_AUDIO_LEVEL, EXT_TRANSPORT_CC, EXT_ABS_SEND_TIME];
        let extensions = offered
            .extensions
            .iter()
            .filter(|(_, uri)| all.contains(&uri.as_str()) && (transport_cc || uri != EXT_TRANSPORT_CC))
            .cloned()
            .collect();
        let rejected = offered.rejected || offered.kind.is_none() || codecs.is_empty();
        let direction = if offered.direction.sends() { Direction::RecvOnly } else { Direction::Inactive };
        Section {
            rejected,
            direction,
            codecs,
            extensions,
            ssrcs: Vec::new(),
            rtx_pairs: Vec::new(),
            rids: Vec::new(),
            ..offered.clone()
        }
    }

    /// The id of a header extension, by its URI.
    pub fn extension(&self, uri: &str) -> Option<u8> {
        self.extensions.iter().find(|(_, found)| found == uri).map(|(id, _)| *id)
    }

    /// The payload type of the RTX that repairs `pt`.
    pub fn rtx(&self, pt: u8) -> Option<u8> {
        self.codecs.iter().find(|codec| codec.is("rtx") && codec.apt() == Some(pt)).map(|codec| codec.pt)
    }

    fn write(&self, out: &mut String, transport: &LocalTransport) -> std::fmt::Result {
        let port = if self.rejected { 0 } else { 9 };
        let formats: Vec<String> = self.codecs.iter().map(|codec| codec.pt.to_string()).collect();
        let formats = if formats.is_empty() { "0".to_owned() } else { formats.join(" ") };
        write!(out, "m={} {port} {} {formats}\r\nc=IN IP4 0.0.0.0\r\n", self.media, self.protocol)?;
        write!(out, "a=mid:{}\r\n", self.mid)?;
        if self.rejected {
            return write!(out, "a=inactive\r\n");
        }
        write!(out, "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", transport.ice.ufrag, transport.ice.pwd)?;
        write!(out, "a=fingerprint:{}\r\na=setup:{}\r\n", transport.fingerprint, transport.setup.as_str())?;
        write!(out, "a={}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n", self.direction.as_str())?;
        for (id, uri) in &self.extensions {
            write!(out, "a=extmap:{id} {uri}\r\n")?;
        }
        for codec in &self.codecs {
            write!(out, "a=rtpmap:{} {}\r\n", codec.pt, codec.map)?;
            if !codec.fmtp.is_empty() {
                write!(out, "a=fmtp:{} {}\r\n", codec.pt, codec.fmtp)?;
            }
            for value in &codec.feedback {
                write!(out, "a=rtcp-fb:{} {value}\r\n", codec.pt)?;
            }
        }
        if self.direction.sends() {
            self.write_sources(out)?;
        }
        Ok(())
    }

    fn write_sources(&self, out: &mut String) -> std::fmt::Result {
        write!(out, "a=msid:{} {}\r\n", self.cname, self.mid)?;
        for rid in &self.rids {
            write!(out, "a=rid:{rid} send\r\n")?;
        }
        if !self.rids.is_empty() {
            // Simulcast streams are known by their rid, so they declare no SSRC.
            return write!(out, "a=simulcast:send {}\r\n", self.rids.join(";"));
        }
        for (media, rtx) in &self.rtx_pairs {
            write!(out, "a=ssrc-group:FID {media} {rtx}\r\n")?;
        }
        for ssrc in &self.ssrcs {
            write!(out, "a=ssrc:{ssrc} cname:{}\r\n", self.cname)?;
        }
        Ok(())
    }
}

/// The transport part of our descriptions.
#[derive(Clone, PartialEq, Debug)]
pub struct LocalTransport {
    pub ice: IceCredentials,
    pub fingerprint: Fingerprint,
    pub setup: Setup,
}

/// Writes an offer or an answer.
pub fn write(version: u64, transport: &LocalTransport, sections: &[Section]) -> String {
    let mut out = String::with_capacity(2_048);
    let bundle: Vec<&str> = sections.iter().filter(|s| !s.rejected).map(|s| s.mid.as_str()).collect();
    let _ = write!(out, "v=0\r\no=- 4611686018427387904 {version} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n");
    let _ = write!(out, "a=group:BUNDLE {}\r\n", bundle.join(" "));
    let _ = write!(out, "a=ice-options:trickle\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n");
    for section in sections {
        // Writing to a String can't fail.
        let _ = section.write(&mut out, transport);
    }
    out
}

/// What the server's description says.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RemoteDescription {
    pub ice: IceCredentials,
    pub lite: bool,
    pub fingerprints: Vec<Fingerprint>,
    pub setup: Setup,
    pub candidates: Vec<SocketAddr>,
    pub sections: Vec<Section>,
}

/// Reads a description of the server. Transport attributes come from the session or the first section that has
/// them, because everything is bundled.
pub fn parse(text: &str) -> Result<RemoteDescription, String> {
    let session =
        SessionDescription::unmarshal(&mut Cursor::new(text.as_bytes())).map_err(|e| e.to_string())?;
    let mut remote = RemoteDescription { lite: session.has_attribute("ice-lite"), ..Default::default() };
    let session_attributes = session.attributes.iter().map(|a| (a.key.as_str(), a.value.as_deref()));
    let mut transport: Vec<(&str, Option<&str>)> = session_attributes.collect();
    for media in &session.media_descriptions {
        transport.extend(media.attributes.iter().map(|a| (a.key.as_str(), a.value.as_deref())));
        remote.sections.push(parse_section(media)?);
    }
    for (key, value) in transport {
        let value = value.unwrap_or_default();
        match key {
            "ice-ufrag" if remote.ice.ufrag.is_empty() => remote.ice.ufrag = value.into(),
            "ice-pwd" if remote.ice.pwd.is_empty() => remote.ice.pwd = value.into(),
            "setup" if remote.setup == Setup::Actpass => {
                remote.setup = Setup::parse(value).unwrap_or_default()
            }
            "fingerprint" => remote.fingerprints.extend(parse_fingerprint(value)),
            "candidate" => remote.candidates.extend(parse_candidate(value)),
            _ => {}
        }
    }
    remote.candidates.dedup();
    if remote.ice.ufrag.is_empty() || remote.ice.pwd.is_empty() {
        return Err("no ICE credentials".into());
    }
    Ok(remote)
}

fn parse_section(media: &MediaDescription) -> Result<Section, String> {
    let name = &media.media_name;
    let kind = match name.media.as_str() {
        "audio" => Some(Kind::Audio),
        "video" => Some(Kind::Video),
        _ => None,
    };
    let mut section = Section {
        mid: String::new(),
        kind,
        media: name.media.clone(),
        protocol: name.protos.join("/"),
        rejected: name.port.value == 0,
        direction: Direction::SendRecv,
        codecs: name
            .formats
            .iter()
            .filter_map(|pt| Some(Codec::new(pt.parse().ok()?, "", "", &[])))
            .collect(),
        extensions: Vec::new(),
        ssrcs: Vec::new(),
        rtx_pairs: Vec::new(),
        rids: Vec::new(),
        cname: String::new(),
    };
    for attribute in &media.attributes {
        section.read(&attribute.key, attribute.value.as_deref().unwrap_or_default());
    }
    section.codecs.retain(|codec| !codec.map.is_empty());
    if section.mid.is_empty() { Err("a section without mid".into()) } else { Ok(section) }
}

impl Section {
    fn read(&mut self, key: &str, value: &str) {
        let mut words = value.split_whitespace();
        let first = words.next().unwrap_or_default();
        let rest = value.get(first.len()..).unwrap_or_default().trim();
        match key {
            "mid" => self.mid = value.into(),
            "sendrecv" => self.direction = Direction::SendRecv,
            "sendonly" => self.direction = Direction::SendOnly,
            "recvonly" => self.direction = Direction::RecvOnly,
            "inactive" => self.direction = Direction::Inactive,
            "rtpmap" => self.each_codec(first, |codec| codec.map = rest.into()),
            "fmtp" => self.each_codec(first, |codec| codec.fmtp = rest.into()),
            "rtcp-fb" => self.each_codec(first, |codec| codec.feedback.push(rest.into())),
            "extmap" => {
                // The id may carry a direction, as in `3/sendonly`.
                let id = first.split('/').next().and_then(|id| id.parse().ok());
                if let (Some(id), Some(uri)) = (id, words.next()) {
                    self.extensions.push((id, uri.into()));
                }
            }
            "ssrc" => {
                if let Ok(ssrc) = first.parse()
                    && !self.ssrcs.contains(&ssrc)
                {
                    self.ssrcs.push(ssrc);
                }
                if let Some(cname) = rest.strip_prefix("cname:") {
                    self.cname = cname.into();
                }
            }
            "ssrc-group" if first == "FID" => {
                let ssrcs: Vec<u32> = words.filter_map(|word| word.parse().ok()).collect();
                if let [media, rtx] = ssrcs[..] {
                    self.rtx_pairs.push((media, rtx));
                }
            }
            "rid" if rest.starts_with("recv") || rest.starts_with("send") => self.rids.push(first.into()),
            _ => {}
        }
    }

    fn each_codec(&mut self, pt: &str, change: impl Fn(&mut Codec)) {
        let number = pt.parse().ok();
        self.codecs.iter_mut().filter(|codec| pt == "*" || Some(codec.pt) == number).for_each(change);
    }
}

fn parse_fingerprint(value: &str) -> Option<Fingerprint> {
    let (algorithm, digest) = value.split_once(' ')?;
    let digest: Result<Vec<u8>, _> =
        digest.trim().split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
    Some(Fingerprint { algorithm: algorithm.to_ascii_lowercase(), digest: digest.ok()? })
}

/// The address of a UDP host candidate of component 1 (RFC 8839 §5.1).
fn parse_candidate(value: &str) -> Option<SocketAddr> {
    let words: Vec<&str> = value.trim_start_matches("candidate:").split_whitespace().collect();
    let [_, "1", protocol, _, address, port, "typ", "host", ..] = words[..] else { return None };
    if !protocol.eq_ignore_ascii_case("udp") {
        return None;
    }
    Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transport() -> LocalTransport {
        LocalTransport {
            ice: IceCredentials { ufrag: "abcd".into(), pwd: "0123456789abcdefghijkl".into() },
            fingerprint: Fingerprint { algorithm: "sha-256".into(), digest: (0..32).collect() },
            setup: Setup::Actpass,
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut video = Section::publish("1", Kind::Video, "ann");
        video.ssrcs = vec![11, 12];
        video.rtx_pairs = vec![(11, 12)];
        let mut rejected = Section::publish("2", Kind::Audio, "ann");
        rejected.rejected = true;
        let text =
            write(3, &transport(), &[Section::publish("0", Kind::Audio, "ann"), video.clone(), rejected]);
        let read = parse(&text).unwrap();
        assert_eq!(read.ice, transport().ice);
        assert_eq!(read.setup, Setup::Actpass);
        assert!(read.fingerprints.contains(&transport().fingerprint));
        assert_eq!(read.sections.len(), 3);
        assert_eq!(read.sections[1], video);
        assert_eq!(read.sections[1].rtx(VP8), Some(VP8_RTX));
        assert!(read.sections[2].rejected);
        assert!(text.contains("a=group:BUNDLE 0 1\r\n"));
    }

    #[test]
    fn simulcast_is_offered_by_rid_and_without_ssrcs() {
        let mut video = Section::publish("1", Kind::Video, "ann");
        video.ssrcs = vec![11];
        video.rids = ["q", "h", "f"].map(String::from).to_vec();
        let text = write(1, &transport(), &[video]);
        assert!(text.contains("a=simulcast:send q;h;f\r\n"));
        assert!(!text.contains("a=ssrc"));
        assert_eq!(parse(&text).unwrap().sections[0].rids, ["q", "h", "f"]);
    }

    #[test]
    fn a_lite_server_s_description_is_understood() {
        let text = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-lite\r\na=group:BUNDLE s0\r\n\
            m=video 7882 UDP/TLS/RTP/SAVPF 96 97 45\r\nc=IN IP4 192.0.2.1\r\na=mid:s0\r\na=sendonly\r\na=ice-ufrag:u\r\n\
            a=ice-pwd:p\r\na=fingerprint:sha-256 00:ff\r\na=setup:passive\r\n\
            a=candidate:1 1 udp 2130706431 192.0.2.1 7882 typ host\r\na=candidate:2 1 udp 2130706175 2001:db8::1 7882 typ host\r\n\
            a=candidate:3 1 tcp 1518280447 192.0.2.1 7882 typ host tcptype passive\r\na=extmap:3/sendonly x:ignored\r\n\
            a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:* nack\r\n\
            a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:45 AV1/90000\r\na=ssrc-group:FID 1000 1001\r\na=ssrc:1000 cname:c\r\na=ssrc:1001 cname:c\r\n";
        let remote = parse(text).unwrap();
        assert!(remote.lite);
        assert_eq!(remote.candidates.len(), 2);
        assert_eq!(remote.fingerprints[0].digest, [0, 255]);
        let offered = &remote.sections[0];
        assert_eq!((&offered.ssrcs[..], &offered.rtx_pairs[..]), (&[1000, 1001][..], &[(1000, 1001)][..]));
        let answer = Section::receive(offered, Accepts::default());
        assert_eq!(answer.direction, Direction::RecvOnly);
        assert_eq!(answer.codecs.iter().map(|codec| codec.pt).collect::<Vec<_>>(), [96, 97]);
        assert_eq!(answer.extension(EXT_MID), Some(4));
        assert_eq!(answer.extensions.len(), 1);
        assert!(answer.codecs[0].has_feedback("nack"));
    }

    #[test]
    fn nonsense_is_refused_without_panic() {
        for text in ["", "v=0", "v=0\r\no=- 1 1 IN IP4 0\r\ns=-\r\nt=0 0\r\nm=audio x y z\r\n", "\0\0\0"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
