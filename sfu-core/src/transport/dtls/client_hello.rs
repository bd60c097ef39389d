//! What a ClientHello offers, as far as the choice of a DTLS library needs it (RFC 6347 §4.2.1,
//! RFC 8446 §4.1.2, RFC 5764 §4.1.1). Knows nothing of records, fragments or answers.

use super::reader::Reader;
use crate::transport::handshake::SrtpProfile;

/// `supported_versions` value of DTLS 1.2 (RFC 6347) and 1.3 (RFC 9147).
const DTLS_1_2: u16 = 0xfefd;
const DTLS_1_3: u16 = 0xfefc;

const EXTENSION_USE_SRTP: u16 = 14;
const EXTENSION_SUPPORTED_VERSIONS: u16 = 43;

/// TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 (RFC 5289): mandatory in WebRTC (RFC 8827 §6.5).
const ECDHE_ECDSA_AES128_GCM: u16 = 0xc02b;

/// The parts of a ClientHello that decide who answers it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct ClientHello {
    pub(super) offers_1_2: bool,
    pub(super) offers_1_3: bool,
    /// Whether the cipher suite that every WebRTC client of DTLS 1.2 must have is there.
    pub(super) offers_mandatory_suite: bool,
    /// The profiles that we know, in the client's order.
    pub(super) srtp_profiles: Vec<SrtpProfile>,
}

impl ClientHello {
    /// Parses the body of the handshake message; `None` when it is malformed.
    pub(super) fn parse(body: &[u8]) -> Option<ClientHello> {
        let mut hello = ClientHello::default();
        let mut reader = Reader::new(body);
        let legacy_version = reader.u16()?;
        reader.take(32)?; // random
        reader.vector8()?; // legacy_session_id
        reader.vector8()?; // cookie
        let mut suites = reader.vector16()?;
        while !suites.is_empty() {
            hello.offers_mandatory_suite |= suites.u16()? == ECDHE_ECDSA_AES128_GCM;
        }
        reader.vector8()?; // compression methods
        let mut versions_named = false;
        if !reader.is_empty() {
            let mut extensions = reader.vector16()?;
            while !extensions.is_empty() {
                let kind = extensions.u16()?;
                let mut extension = extensions.vector16()?;
                match kind {
                    EXTENSION_USE_SRTP => hello.read_use_srtp(extension)?,
                    EXTENSION_SUPPORTED_VERSIONS => {
                        versions_named = true;
                        hello.read_versions(extension.vector8()?)?;
                    }
                    _ => {}
                }
            }
        }
        if !versions_named {
            hello.offers_1_2 = legacy_version == DTLS_1_2;
        }
        Some(hello)
    }

    fn read_versions(&mut self, mut versions: Reader<'_>) -> Option<()> {
        while !versions.is_empty() {
            match versions.u16()? {
                DTLS_1_2 => self.offers_1_2 = true,
                DTLS_1_3 => self.offers_1_3 = true,
                _ => {}
            }
        }
        Some(())
    }

    fn read_use_srtp(&mut self, mut extension: Reader<'_>) -> Option<()> {
        let mut profiles = extension.vector16()?;
        while !profiles.is_empty() {
            let profile = match profiles.u16()? {
                0x0001 => SrtpProfile::Aes128CmSha1_80,
                0x0007 => SrtpProfile::AeadAes128Gcm,
                0x0008 => SrtpProfile::AeadAes256Gcm,
                _ => continue,
            };
            if !self.srtp_profiles.contains(&profile) {
                self.srtp_profiles.push(profile);
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ClientHello with the given extensions, each (type, body).
    fn hello(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut body = vec![0xfe, 0xfd];
        body.extend_from_slice(&[7; 32]);
        body.extend_from_slice(&[0, 0]); // session id, cookie
        body.extend_from_slice(&[0, 4, 0x13, 0x01, 0xc0, 0x2b]);
        body.extend_from_slice(&[1, 0]);
        let block: Vec<u8> = extensions
            .iter()
            .flat_map(|(kind, body)| {
                let len = body.len() as u16;
                [&kind.to_be_bytes()[..], &len.to_be_bytes()[..], body].concat()
            })
            .collect();
        body.extend_from_slice(&(block.len() as u16).to_be_bytes());
        body.extend_from_slice(&block);
        body
    }

    #[test]
    fn chrome_lists_gcm_after_cm_and_offers_both_versions() {
        let body = hello(&[(14, vec![0, 6, 0, 1, 0, 8, 0, 7, 0]), (43, vec![4, 0xfe, 0xfc, 0xfe, 0xfd])]);
        let parsed = ClientHello::parse(&body).unwrap();
        assert!(parsed.offers_1_2 && parsed.offers_1_3 && parsed.offers_mandatory_suite);
        assert_eq!(
            parsed.srtp_profiles,
            [SrtpProfile::Aes128CmSha1_80, SrtpProfile::AeadAes256Gcm, SrtpProfile::AeadAes128Gcm]
        );
    }

    #[test]
    fn without_supported_versions_the_legacy_version_counts() {
        let parsed = ClientHello::parse(&hello(&[(14, vec![0, 2, 0, 1, 0])])).unwrap();
        assert!(parsed.offers_1_2 && !parsed.offers_1_3);
    }

    #[test]
    fn every_truncation_is_refused() {
        let body = hello(&[(14, vec![0, 2, 0, 7, 0]), (43, vec![2, 0xfe, 0xfc])]);
        assert!(ClientHello::parse(&body).is_some());
        for len in 0..body.len() {
            let parsed = ClientHello::parse(body.get(..len).unwrap());
            // Without its extension block a hello is well-formed: TLS 1.2 allows that.
            let no_extensions = len == 2 + 32 + 2 + 6 + 2;
            assert_eq!(parsed.is_some(), no_extensions, "at {len}");
        }
    }
}
