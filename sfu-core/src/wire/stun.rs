//! The one STUN exchange that an ICE-lite agent has (RFC 8489, RFC 8445 §7.3): a Binding request comes in, a
//! response goes out. Parsing allocates nothing and is total; nothing is believed before
//! [`BindingRequest::is_authentic`] has said so.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::{constant_time, hmac};

const HEADER_LEN: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;

const INTEGRITY_LEN: usize = 20;
/// Type and length of an attribute.
const ATTRIBUTE_LEN: usize = 4;
const FINGERPRINT_XOR: u32 = 0x5354_554e;
/// Both ufrags may have 256 characters (RFC 8839 §5.4).
const USERNAME_MAX: usize = 513;

/// A parsed Binding request, not yet authenticated.
#[derive(Clone, Copy, Debug)]
pub struct BindingRequest<'a> {
    datagram: &'a [u8],
    transaction: [u8; 12],
    /// The part of USERNAME before the colon: the ufrag of the agent that is asked.
    pub local_ufrag: &'a str,
    /// The part after it: the ufrag of the agent that asks.
    pub remote_ufrag: &'a str,
    /// USE-CANDIDATE: the controlling agent nominates this pair.
    pub use_candidate: bool,
    /// ICE-CONTROLLED: the peer believes itself controlled, too (RFC 8445 §7.3.1.1).
    pub controlled: bool,
    /// Offset of the MESSAGE-INTEGRITY attribute.
    integrity_at: usize,
    integrity: &'a [u8],
}

impl<'a> BindingRequest<'a> {
    /// Parses a datagram. `None` unless it is a whole Binding request with USERNAME, MESSAGE-INTEGRITY and a right
    /// FINGERPRINT at its end (RFC 8445 §7.1.1 demands all of them).
    pub fn parse(datagram: &'a [u8]) -> Option<BindingRequest<'a>> {
        let header: &[u8; HEADER_LEN] = datagram.first_chunk()?;
        let body = datagram.get(HEADER_LEN..)?;
        let [t0, t1, l0, l1, cookie @ .., _, _, _, _, _, _, _, _, _, _, _, _] = header;
        let is_request = u16::from_be_bytes([*t0, *t1]) == BINDING_REQUEST && *cookie == MAGIC_COOKIE;
        if !is_request || usize::from(u16::from_be_bytes([*l0, *l1])) != body.len() || body.len() % 4 != 0 {
            return None;
        }
        let mut username = None;
        let mut integrity = None;
        let mut fingerprint = None;
        let (mut use_candidate, mut controlled) = (false, false);
        for attribute in attributes(datagram) {
            let Attribute { kind, at, value } = attribute?;
            match kind {
                // After MESSAGE-INTEGRITY only FINGERPRINT counts (RFC 8489 §14.5).
                FINGERPRINT => fingerprint = fingerprint.or(Some((at, value))),
                _ if integrity.is_some() => {}
                MESSAGE_INTEGRITY => integrity = Some((at, value)),
                USERNAME => username = username.or(Some(value)),
                USE_CANDIDATE => use_candidate = true,
                ICE_CONTROLLED => controlled = true,
                _ => {}
            }
        }
        let (fingerprint_at, fingerprint) = fingerprint?;
        let last = fingerprint_at + ATTRIBUTE_LEN + 4 == datagram.len();
        let expected = (crc32(datagram.get(..fingerprint_at)?) ^ FINGERPRINT_XOR).to_be_bytes();
        if !last || fingerprint != expected {
            return None;
        }
        let (integrity_at, integrity) = integrity.filter(|(_, value)| value.len() == INTEGRITY_LEN)?;
        let username = username.filter(|username| username.len() <= USERNAME_MAX)?;
        let (local_ufrag, remote_ufrag) = std::str::from_utf8(username).ok()?.split_once(':')?;
        Some(BindingRequest {
            datagram,
            transaction: *datagram.get(8..HEADER_LEN)?.first_chunk()?,
            local_ufrag,
            remote_ufrag,
            use_candidate,
            controlled,
            integrity_at,
            integrity,
        })
    }

    /// Whether MESSAGE-INTEGRITY was made with this password (RFC 8489 §14.5).
    pub fn is_authentic(&self, pwd: &str) -> bool {
        let mut context = hmac::Context::with_key(&key(pwd));
        let covered = (self.integrity_at + ATTRIBUTE_LEN + INTEGRITY_LEN - HEADER_LEN) as u16;
        let (Some(kind), Some(rest)) = (self.datagram.get(..2), self.datagram.get(4..self.integrity_at))
        else {
            return false;
        };
        context.update(kind);
        context.update(&covered.to_be_bytes());
        context.update(rest);
        constant_time::verify_slices_are_equal(context.sign().as_ref(), self.integrity).is_ok()
    }

    /// The success response: where we saw the request come from (RFC 8489 §6.3.1.1).
    pub fn success(&self, pwd: &str, from: SocketAddr) -> Vec<u8> {
        let mut response = self.begin(BINDING_SUCCESS);
        let port = from.port() ^ 0x2112;
        let mut value = [0; 20];
        let len = match from.ip() {
            IpAddr::V4(ip) => {
                let mask = MAGIC_COOKIE;
                xor(&mut value, 4, &ip.octets(), mask.iter());
                value[1] = 1;
                8
            }
            IpAddr::V6(ip) => {
                xor(&mut value, 4, &ip.octets(), MAGIC_COOKIE.iter().chain(&self.transaction));
                value[1] = 2;
                20
            }
        };
        [value[2], value[3]] = port.to_be_bytes();
        push_attribute(&mut response, XOR_MAPPED_ADDRESS, value.get(..len).unwrap_or_default());
        finish(response, pwd)
    }

    /// 487 (Role Conflict): we are lite, so the peer must control (RFC 8445 §7.3.1.1).
    pub fn role_conflict(&self, pwd: &str) -> Vec<u8> {
        let mut response = self.begin(BINDING_ERROR);
        push_attribute(&mut response, ERROR_CODE, &[0, 0, 4, 87]);
        finish(response, pwd)
    }

    fn begin(&self, kind: u16) -> Vec<u8> {
        let mut message = Vec::with_capacity(96);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&[0, 0]);
        message.extend_from_slice(&MAGIC_COOKIE);
        message.extend_from_slice(&self.transaction);
        message
    }
}

struct Attribute<'a> {
    kind: u16,
    /// Offset in the datagram.
    at: usize,
    value: &'a [u8],
}

/// The attributes of a message; a `None` item ends a message that is cut short.
fn attributes(datagram: &[u8]) -> impl Iterator<Item = Option<Attribute<'_>>> {
    let mut at = HEADER_LEN;
    std::iter::from_fn(move || {
        if at >= datagram.len() {
            return None;
        }
        let attribute = read_attribute(datagram, at);
        at = match &attribute {
            Some(attribute) => at + ATTRIBUTE_LEN + attribute.value.len().next_multiple_of(4),
            None => datagram.len(),
        };
        Some(attribute)
    })
}

fn read_attribute(datagram: &[u8], at: usize) -> Option<Attribute<'_>> {
    let [k0, k1, l0, l1] = *datagram.get(at..)?.first_chunk()?;
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    let value = datagram.get(at + ATTRIBUTE_LEN..)?.get(..len)?;
    Some(Attribute { kind: u16::from_be_bytes([k0, k1]), at, value })
}

fn push_attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&(value.len() as u16).to_be_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// Appends MESSAGE-INTEGRITY and FINGERPRINT.
fn finish(mut message: Vec<u8>, pwd: &str) -> Vec<u8> {
    let body_len = message.len() - HEADER_LEN;
    set_len(&mut message, body_len + ATTRIBUTE_LEN + INTEGRITY_LEN);
    let integrity = hmac::sign(&key(pwd), &message);
    push_attribute(&mut message, MESSAGE_INTEGRITY, integrity.as_ref());
    let body_len = message.len() - HEADER_LEN;
    set_len(&mut message, body_len + ATTRIBUTE_LEN + 4);
    let fingerprint = crc32(&message) ^ FINGERPRINT_XOR;
    push_attribute(&mut message, FINGERPRINT, &fingerprint.to_be_bytes());
    message
}

fn set_len(message: &mut [u8], len: usize) {
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&(len as u16).to_be_bytes());
    }
}

fn key(pwd: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pwd.as_bytes())
}

fn xor<'a>(value: &mut [u8], at: usize, address: &[u8], mask: impl Iterator<Item = &'a u8>) {
    let places = value.iter_mut().skip(at);
    for ((place, byte), mask) in places.zip(address).zip(mask) {
        *place = byte ^ mask;
    }
}

/// CRC-32 of ISO 3309, as FINGERPRINT has it (RFC 8489 §14.7).
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = crc32_table();
    let step = |crc: u32, byte: &u8| {
        TABLE.get(usize::from(crc as u8 ^ byte)).copied().unwrap_or_default() ^ (crc >> 8)
    };
    !bytes.iter().fold(!0, step)
}

#[allow(clippy::indexing_slicing)]
const fn crc32_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5769 §2.1, sample request.
    const REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74\
        002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020\
        000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf";
    const PWD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn rfc_5769_sample_request_is_authentic() {
        let datagram = bytes(REQUEST);
        let request = BindingRequest::parse(&datagram).unwrap();
        assert_eq!((request.local_ufrag, request.remote_ufrag), ("evtj", "h6vY"));
        assert!(request.controlled && !request.use_candidate);
        assert!(request.is_authentic(PWD));
        assert!(!request.is_authentic("another"));
    }

    #[test]
    fn any_changed_byte_is_refused() {
        let datagram = bytes(REQUEST);
        for at in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[at] ^= 0x10;
            let accepted = BindingRequest::parse(&changed).is_some_and(|request| request.is_authentic(PWD));
            assert!(!accepted, "byte {at}");
        }
    }

    #[test]
    fn prefixes_and_random_bytes_never_panic() {
        use rand::{Rng, SeedableRng, rngs::StdRng};
        let datagram = bytes(REQUEST);
        for len in 0..datagram.len() {
            assert!(BindingRequest::parse(&datagram[..len]).is_none());
        }
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..100_000 {
            let mut changed = datagram.clone();
            for _ in 0..rng.random_range(1..6) {
                let at = rng.random_range(0..changed.len());
                changed[at] = rng.random();
            }
            let _ = BindingRequest::parse(&changed);
        }
    }

    #[test]
    fn another_implementation_accepts_our_responses() {
        use rtc_stun::message::{Getter, Message};
        for from in ["192.0.2.1:32853", "[2001:db8:1234:5678:11:2233:4455:6677]:32853"] {
            let from: SocketAddr = from.parse().unwrap();
            let datagram = bytes(REQUEST);
            let response = BindingRequest::parse(&datagram).unwrap().success(PWD, from);
            let mut message = Message::new();
            message.unmarshal_binary(&response).unwrap();
            rtc_stun::fingerprint::FINGERPRINT.check(&message).unwrap();
            let mut mapped = rtc_stun::xoraddr::XorMappedAddress::default();
            mapped.get_from(&message).unwrap();
            assert_eq!(SocketAddr::new(mapped.ip, mapped.port), from);
            assert_eq!(response[8..20], datagram[8..20]);
            // The same key covers the response: check it as we check requests.
            let covered = response.len() - 8;
            let mut signed = response[..covered - 24].to_vec();
            let body = (covered - 20) as u16;
            signed[2..4].copy_from_slice(&body.to_be_bytes());
            assert_eq!(hmac::sign(&key(PWD), &signed).as_ref(), &response[covered - 20..covered]);
        }
    }
}
