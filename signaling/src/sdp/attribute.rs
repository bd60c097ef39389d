//! The grammar of single `a=` values. Total: every function takes any text and returns `None` for what it does not
//! understand.

use std::num::NonZeroU32;

use sfu_core::command::RemoteSctp;
use sfu_core::transport::handshake::{Fingerprint, FingerprintAlgorithm};
use sfu_core::unit::{Pt, Ssrc};

use super::{Direction, ExtMap, Setup, SsrcGroup};

/// Streams that one m-section may declare: three layers with RTX and FEC make nine.
const SSRCS_MAX: usize = 16;

/// What a section says about SCTP that says nothing (RFC 8841 §5.2, §6.1).
const SCTP_PORT_DEFAULT: u16 = 5_000;
const MAX_MESSAGE_SIZE_DEFAULT: u32 = 65_536;

/// `a=sctp-port` and `a=max-message-size` (RFC 8841 §5, §6); a line that can't be read counts as not written.
#[derive(Default)]
pub struct SctpLines {
    port: Option<u16>,
    max_message_size: Option<u32>,
}

impl SctpLines {
    pub fn read(&mut self, key: &str, value: &str) {
        match key {
            "sctp-port" => self.port = value.trim().parse().ok(),
            // A length beyond 32 bits is as good as any.
            _ => {
                self.max_message_size =
                    value.trim().parse().map(|size: u64| size.try_into().unwrap_or(0)).ok()
            }
        }
    }

    /// `None` for port 0, which closes the association.
    pub fn remote(&self) -> Option<RemoteSctp> {
        let port = self.port.unwrap_or(SCTP_PORT_DEFAULT);
        let max_message_size = NonZeroU32::new(self.max_message_size.unwrap_or(MAX_MESSAGE_SIZE_DEFAULT));
        (port != 0).then_some(RemoteSctp { port, max_message_size })
    }
}

pub fn setup(value: &str) -> Option<Setup> {
    match value.trim() {
        "active" => Some(Setup::Active),
        "passive" => Some(Setup::Passive),
        "actpass" => Some(Setup::ActPass),
        _ => None,
    }
}

/// RFC 8122 §5. `None` for weak and unknown hashes as for malformed ones: they prove nothing.
pub fn fingerprint(value: &str) -> Option<Fingerprint> {
    let (algorithm, digest) = value.trim().split_once(' ')?;
    let (algorithm, len) = match algorithm.to_ascii_lowercase().as_str() {
        "sha-256" => (FingerprintAlgorithm::Sha256, 32),
        "sha-384" => (FingerprintAlgorithm::Sha384, 48),
        "sha-512" => (FingerprintAlgorithm::Sha512, 64),
        _ => return None,
    };
    let digest: Option<Vec<u8>> = digest.trim().split(':').take(len + 1).map(hex_byte).collect();
    digest.filter(|digest| digest.len() == len).map(|digest| Fingerprint { algorithm, digest })
}

fn hex_byte(text: &str) -> Option<u8> {
    (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then(|| u8::from_str_radix(text, 16).ok())
        .flatten()
}

/// `ice-char` of RFC 8839 §5.4.
pub fn is_ice_text(text: &str, len_min: usize) -> bool {
    (len_min..=256).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

/// `<pt> <name>/<clock rate>[/<channels>]`
pub fn rtpmap(value: &str) -> Option<(Pt, &str, u32, Option<u16>)> {
    let (number, encoding) = value.trim().split_once(' ')?;
    let mut parts = encoding.trim().split('/');
    let name = parts.next()?;
    let clock_rate = parts.next()?.parse().ok()?;
    let channels = parts.next().and_then(|channels| channels.parse().ok());
    Some((pt(number)?, name, clock_rate, channels))
}

pub fn pt(text: &str) -> Option<Pt> {
    text.parse().ok().filter(|pt| *pt < 128).map(Pt)
}

/// `<id>[/<direction>] <uri> [<attributes>]`. Ids 0 and 15 name no extension (RFC 8285 §4.2).
pub fn extmap(value: &str) -> Option<ExtMap> {
    let mut parts = value.split_ascii_whitespace();
    let (id, direction) = match parts.next()?.split_once('/') {
        Some((id, direction)) => (id, Some(Direction::from_attribute(direction)?)),
        None => (value.split_ascii_whitespace().next()?, None),
    };
    let id = id.parse().ok().filter(|id| *id != 0 && *id != 15)?;
    Some(ExtMap { id, uri: parts.next()?.to_owned(), direction })
}

/// The SSRC of `a=ssrc:<ssrc> <attribute>`.
pub fn ssrc(value: &str) -> Option<Ssrc> {
    value.split_ascii_whitespace().next()?.parse().ok().map(Ssrc)
}

/// Appends an SSRC unless it is known or one too many.
pub fn declare_ssrc(ssrcs: &mut Vec<Ssrc>, ssrc: Ssrc) {
    if ssrcs.len() < SSRCS_MAX && !ssrcs.contains(&ssrc) {
        ssrcs.push(ssrc);
    }
}

pub fn ssrc_group(value: &str) -> Option<SsrcGroup> {
    let mut parts = value.split_ascii_whitespace();
    let semantics = parts.next()?.to_ascii_uppercase();
    let ssrcs: Option<Vec<Ssrc>> = parts.take(SSRCS_MAX).map(|ssrc| ssrc.parse().ok().map(Ssrc)).collect();
    Some(SsrcGroup { semantics, ssrcs: ssrcs.filter(|ssrcs| !ssrcs.is_empty())? })
}

/// The id of `a=rid:<id> send …` (RFC 8851 §10).
pub fn rid_send(value: &str) -> Option<&str> {
    let mut parts = value.split_ascii_whitespace();
    let id = parts.next()?;
    (parts.next()? == "send").then_some(id)
}

/// The `send` streams of `a=simulcast` (RFC 8853 §5.1): first alternative of each, paused ones (`~`) too.
pub fn simulcast_send(value: &str) -> Vec<&str> {
    let mut parts = value.split_ascii_whitespace();
    while let (Some(direction), Some(list)) = (parts.next(), parts.next()) {
        if direction == "send" {
            return list
                .split(';')
                .filter_map(|stream| stream.split(',').next())
                .map(|rid| rid.trim_start_matches('~'))
                .filter(|rid| !rid.is_empty())
                .collect();
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_and_malformed_fingerprints_are_none() {
        let good = format!("SHA-256 {}", ["0a"; 32].join(":"));
        assert_eq!(fingerprint(&good).unwrap().digest, [10; 32]);
        assert!(fingerprint(&format!("sha-1 {}", ["0a"; 20].join(":"))).is_none());
        assert!(fingerprint(&format!("sha-256 {}", ["0a"; 33].join(":"))).is_none());
        assert!(fingerprint(&format!("sha-256 {}", ["+a"; 32].join(":"))).is_none());
        assert!(fingerprint("sha-256").is_none());
    }

    #[test]
    fn extmap_tolerates_direction_suffixes() {
        let plain = extmap("4 urn:ietf:params:rtp-hdrext:sdes:mid").unwrap();
        assert_eq!((plain.id, plain.direction), (4, None));
        let firefox = extmap("8/sendonly urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id").unwrap();
        assert_eq!((firefox.id, firefox.direction), (8, Some(Direction::SendOnly)));
        assert!(extmap("15 urn:x").is_none());
        assert!(extmap("256 urn:x").is_none());
        assert!(extmap("").is_none());
    }

    #[test]
    fn simulcast_takes_first_alternatives_and_paused_streams() {
        assert_eq!(simulcast_send("send q;~h;f,g"), ["q", "h", "f"]);
        assert_eq!(simulcast_send("recv a send b;c"), ["b", "c"]);
        assert!(simulcast_send("recv a").is_empty());
        assert!(simulcast_send("send ;;").is_empty());
    }
}
