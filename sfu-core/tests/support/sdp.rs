//! The least SDP that gets a client connected: reads an offer line by line and writes an answer that takes the
//! first payload type of every section.

use std::fmt::Write;
use std::net::SocketAddr;

use sfu_core::transport::handshake::{Fingerprint, FingerprintAlgorithm};

use super::session::PWD;

/// The first value of an attribute anywhere in the description.
pub fn attribute<'a>(sdp: &'a str, name: &str) -> Option<&'a str> {
    sdp.lines().find_map(|line| line.trim_end().strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
}

pub fn fingerprints(sdp: &str) -> Vec<Fingerprint> {
    let lines = sdp.lines().filter_map(|line| line.trim_end().strip_prefix("a=fingerprint:"));
    lines
        .filter_map(|value| {
            let (algorithm, digest) = value.split_once(' ')?;
            let algorithm = match algorithm.to_ascii_lowercase().as_str() {
                "sha-256" => FingerprintAlgorithm::Sha256,
                "sha-384" => FingerprintAlgorithm::Sha384,
                "sha-512" => FingerprintAlgorithm::Sha512,
                _ => return None,
            };
            let digest = digest.trim().split(':').map(|byte| u8::from_str_radix(byte, 16));
            Some(Fingerprint { algorithm, digest: digest.collect::<Result<_, _>>().ok()? })
        })
        .collect()
}

/// An answer to `offer`: ICE-lite at `address`, with `ours` as fingerprint.
pub fn answer(offer: &str, ours: &Fingerprint, address: SocketAddr) -> String {
    let setup = if attribute(offer, "setup") == Some("passive") { "active" } else { "passive" };
    let digest: Vec<String> = ours.digest.iter().map(|byte| format!("{byte:02X}")).collect();
    let mut out = String::from("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-lite\r\n");
    if let Some(group) = attribute(offer, "group") {
        write!(out, "a=group:{group}\r\n").unwrap();
    }
    for section in offer.split("\nm=").skip(1) {
        let mut words = section.lines().next().unwrap_or_default().split_whitespace();
        let (kind, _port, proto) = (words.next().unwrap(), words.next(), words.next().unwrap());
        let payload_type = words.next().unwrap();
        write!(out, "m={kind} {} {proto} {payload_type}\r\n", address.port()).unwrap();
        write!(out, "c=IN IP4 {}\r\n", address.ip()).unwrap();
        write!(out, "a=ice-ufrag:test\r\na=ice-pwd:{PWD}\r\n").unwrap();
        write!(out, "a=fingerprint:sha-256 {}\r\na=setup:{setup}\r\n", digest.join(":")).unwrap();
        out.push_str("a=recvonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\n");
        for line in section.lines().map(str::trim_end) {
            let of_codec = ["rtpmap", "fmtp"]
                .iter()
                .any(|name| line.strip_prefix(&format!("a={name}:{payload_type} ")).is_some());
            if of_codec || line.starts_with("a=mid:") {
                write!(out, "{line}\r\n").unwrap();
            }
        }
        let (ip, port) = (address.ip(), address.port());
        write!(out, "a=candidate:1 1 udp 2130706431 {ip} {port} typ host\r\na=end-of-candidates\r\n")
            .unwrap();
    }
    out
}
