//! What the association asks of a DTLS library, so that several can take their turn behind it. Knows
//! neither fingerprints nor deadlines: those are the association's.

use std::fmt;
use std::time::Instant;

use super::inbound::Sifted;
use crate::transport::handshake::{HandshakeError, MasterKey, SrtpKeys, SrtpProfile};

/// What a library produced, in order.
#[derive(Debug)]
pub(super) enum Output {
    Transmit(Vec<u8>),
    /// The handshake is complete. Nothing is trusted before that: libraries show the peer's certificate
    /// before they have seen its signature.
    Connected {
        certificate: Vec<u8>,
        keys: Box<SrtpKeys>,
    },
    ApplicationData(Vec<u8>),
    /// The peer has closed the association.
    Closed,
}

/// One association in a library. An error ends it.
pub(super) trait Backend: Send + fmt::Debug {
    fn receive(&mut self, now: Instant, sifted: &Sifted, out: &mut Vec<Output>)
    -> Result<(), HandshakeError>;
    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Output>) -> Result<(), HandshakeError>;
    fn next_timeout(&self) -> Option<Instant>;
    fn send_application_data(
        &mut self,
        now: Instant,
        data: &[u8],
        out: &mut Vec<Output>,
    ) -> Result<(), HandshakeError>;
    fn close(&mut self, now: Instant, out: &mut Vec<Output>);
}

/// Length of the exported keying material of a profile (RFC 5764 §4.2).
pub(super) fn keying_material_len(profile: SrtpProfile) -> usize {
    2 * (profile.key_len() + profile.salt_len())
}

/// Cuts exported keying material into client key, server key, client salt, server salt (RFC 5764 §4.2).
/// `None` when its length is wrong.
pub(super) fn srtp_keys(profile: SrtpProfile, material: &[u8], we_are_client: bool) -> Option<SrtpKeys> {
    if material.len() != keying_material_len(profile) {
        return None;
    }
    let (client_key, rest) = material.split_at_checked(profile.key_len())?;
    let (server_key, rest) = rest.split_at_checked(profile.key_len())?;
    let (client_salt, server_salt) = rest.split_at_checked(profile.salt_len())?;
    let client = MasterKey { key: client_key.to_vec(), salt: client_salt.to_vec() };
    let server = MasterKey { key: server_key.to_vec(), salt: server_salt.to_vec() };
    let (local, remote) = if we_are_client { (client, server) } else { (server, client) };
    Some(SrtpKeys { profile, local, remote })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keying_material_is_cut_as_rfc_5764_has_it() {
        let material: Vec<u8> = (0..56).collect();
        let keys = srtp_keys(SrtpProfile::AeadAes128Gcm, &material, false).unwrap();
        assert_eq!(keys.remote.key, (0..16).collect::<Vec<u8>>());
        assert_eq!(keys.local.key, (16..32).collect::<Vec<u8>>());
        assert_eq!(keys.remote.salt, (32..44).collect::<Vec<u8>>());
        assert_eq!(keys.local.salt, (44..56).collect::<Vec<u8>>());
        assert!(srtp_keys(SrtpProfile::Aes128CmSha1_80, &material, false).is_none());
    }
}
