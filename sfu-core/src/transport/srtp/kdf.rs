//! Session keys from a master key (RFC 3711 §4.3, RFC 6188 §3, RFC 7714 §11), with a key derivation rate of
//! zero: once per association. Knows nothing of packets.

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use zeroize::Zeroizing;

use super::InvalidKeys;
use crate::transport::handshake::{MasterKey, SrtpProfile};

/// Length of the salt as the AES-CM PRF takes it. The 12-byte salts of AES-GCM are padded with zeros on the
/// right (RFC 7714 §11).
pub(super) const SALT_LEN: usize = 14;

/// Length of an HMAC-SHA1 key (RFC 3711 §5.2).
const AUTH_KEY_LEN: usize = 20;

/// SRTP and SRTCP have labels of their own, so that no key serves both (RFC 3711 §4.3.1, §4.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stream {
    Rtp,
    Rtcp,
}

/// What protects one direction of one stream kind.
pub(super) struct SessionKeys {
    pub(super) cipher: Zeroizing<Vec<u8>>,
    pub(super) auth: Zeroizing<[u8; AUTH_KEY_LEN]>,
    pub(super) salt: Zeroizing<[u8; SALT_LEN]>,
}

impl SessionKeys {
    pub(super) fn derive(
        profile: SrtpProfile,
        master: &MasterKey,
        stream: Stream,
    ) -> Result<SessionKeys, InvalidKeys> {
        if master.key.len() != profile.key_len() || master.salt.len() != profile.salt_len() {
            return Err(InvalidKeys);
        }
        let first_label = match stream {
            Stream::Rtp => 0,
            Stream::Rtcp => 3,
        };
        let prf = Prf::new(master)?;
        let mut cipher = Zeroizing::new(vec![0; profile.key_len()]);
        let mut auth = Zeroizing::new([0; AUTH_KEY_LEN]);
        let mut salt = Zeroizing::new([0; SALT_LEN]);
        prf.fill(first_label, cipher.as_mut_slice())?;
        prf.fill(first_label + 1, auth.as_mut_slice())?;
        // The PRF is a stream: a 12-byte salt is the beginning of a 14-byte one.
        prf.fill(first_label + 2, salt.as_mut_slice())?;
        Ok(SessionKeys { cipher, auth, salt })
    }
}

/// AES in counter mode under the master key (RFC 3711 §4.3.3).
struct Prf {
    key: EncryptingKey,
    salt: Zeroizing<[u8; 16]>,
}

impl Prf {
    fn new(master: &MasterKey) -> Result<Prf, InvalidKeys> {
        let mut salt = Zeroizing::new([0; 16]);
        salt.iter_mut().zip(&master.salt).for_each(|(to, from)| *to = *from);
        Ok(Prf { key: aes_ctr(&master.key)?, salt })
    }

    fn fill(&self, label: u8, out: &mut [u8]) -> Result<(), InvalidKeys> {
        // x = (label · 2^48) XOR master_salt, and the counter block is x · 2^16.
        let mut block = *self.salt;
        block[7] ^= label;
        out.fill(0);
        let context = EncryptionContext::Iv128(FixedLength::from(block));
        self.key.less_safe_encrypt(out, context).map_err(|_| InvalidKeys)?;
        Ok(())
    }
}

/// An AES-CTR key, scheduled once.
pub(super) fn aes_ctr(key: &[u8]) -> Result<EncryptingKey, InvalidKeys> {
    let algorithm = match key.len() {
        16 => &AES_128,
        32 => &AES_256,
        _ => return Err(InvalidKeys),
    };
    UnboundCipherKey::new(algorithm, key).and_then(EncryptingKey::ctr).map_err(|_| InvalidKeys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::srtp::tests::hex;

    #[test]
    fn rfc_3711_appendix_b3() {
        let master = MasterKey {
            key: hex("e1f97a0d3e018be0d64fa32c06de4139"),
            salt: hex("0ec675ad498afeebb6960b3aabe6"),
        };
        let keys = SessionKeys::derive(SrtpProfile::Aes128CmSha1_80, &master, Stream::Rtp).unwrap();
        assert_eq!(keys.cipher.to_vec(), hex("c61e7a93744f39ee10734afe3ff7a087"));
        assert_eq!(keys.salt.to_vec(), hex("30cbbc08863d8c85d49db34a9ae1"));
        assert_eq!(keys.auth.to_vec(), hex("cebe321f6ff7716b6fd4ab49af256a156d38baa4"));
    }

    #[test]
    fn rfc_6188_section_7_2_derives_with_256_bits() {
        let master = MasterKey {
            key: hex("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6"),
            salt: hex("3b04803de51ee7c96423ab5b78d2"),
        };
        let prf = Prf::new(&master).unwrap();
        let mut cipher = [0; 32];
        let mut salt = [0; 14];
        let mut auth = [0; 20];
        prf.fill(0, &mut cipher).unwrap();
        prf.fill(1, &mut auth).unwrap();
        prf.fill(2, &mut salt).unwrap();
        assert_eq!(cipher.to_vec(), hex("5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4"));
        assert_eq!(salt.to_vec(), hex("fa31791685ca444a9e07c6c64e93"));
        assert_eq!(auth.to_vec(), hex("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"));
    }

    #[test]
    fn keys_of_a_wrong_length_are_refused() {
        let master = MasterKey { key: vec![0; 16], salt: vec![0; 14] };
        assert!(SessionKeys::derive(SrtpProfile::AeadAes128Gcm, &master, Stream::Rtp).is_err());
        assert!(SessionKeys::derive(SrtpProfile::AeadAes256Gcm, &master, Stream::Rtcp).is_err());
        assert!(SessionKeys::derive(SrtpProfile::Aes128CmSha1_80, &master, Stream::Rtcp).is_ok());
    }
}
