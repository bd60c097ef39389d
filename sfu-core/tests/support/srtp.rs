//! SRTP by the `rtc-srtp` crate: protects with one side's keys and unprotects with the other's.

use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;
use sfu_core::transport::handshake::{MasterKey, SrtpKeys, SrtpProfile};

pub fn context(profile: SrtpProfile, master: &MasterKey) -> Context {
    let profile = match profile {
        SrtpProfile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        SrtpProfile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        SrtpProfile::Aes128CmSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
    };
    let provider = rtc_dtls::crypto_provider::default_provider().unwrap();
    Context::new(&master.key, &master.salt, profile, None, None, provider.crypto()).unwrap()
}

/// An RTP packet of payload type 96 with `payload`.
pub fn rtp(seq: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend_from_slice(&seq.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 9]);
    packet.extend_from_slice(payload);
    packet
}

/// Whether a packet protected by either side is unprotected by the other.
pub fn agree(ours: &SrtpKeys, theirs: &SrtpKeys) -> bool {
    let plain = rtp(1, b"one picture");
    let passes = |from: &MasterKey, to: &MasterKey| {
        let sealed = context(ours.profile, from).encrypt_rtp(&plain).unwrap();
        context(theirs.profile, to).decrypt_rtp(&sealed).is_ok_and(|opened| opened[..] == plain[..])
    };
    ours.profile == theirs.profile
        && passes(&ours.local, &theirs.remote)
        && passes(&theirs.local, &ours.remote)
}
