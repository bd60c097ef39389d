//! AES128_CM_HMAC_SHA1_80 on whole packets (RFC 3711 §4). Keeps no state between packets: the caller owns
//! indices and the promise that none is sealed twice.

use aws_lc_rs::cipher::{EncryptingKey, EncryptionContext};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::iv::FixedLength;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use zeroize::Zeroizing;

use super::kdf::{SALT_LEN, SessionKeys, aes_ctr};
use super::{InvalidKeys, RTCP_CLEAR_LEN, RTCP_ENCRYPTED, RTCP_TRAILER_LEN, SrtpDrop};
use crate::unit::Ssrc;

/// The authentication tag is cut to 80 bits.
pub(super) const TAG_LEN: usize = 10;

pub(super) struct CmSha1 {
    cipher: EncryptingKey,
    /// Keyed once, cloned per packet. RustCrypto's, because aws-lc's HMAC costs 400 ns more on a full packet.
    auth: Hmac<Sha1>,
    salt: Zeroizing<[u8; SALT_LEN]>,
}

impl CmSha1 {
    pub(super) fn new(keys: &SessionKeys) -> Result<CmSha1, InvalidKeys> {
        Ok(CmSha1 {
            cipher: aes_ctr(&keys.cipher)?,
            auth: <Hmac<Sha1> as Mac>::new_from_slice(keys.auth.as_slice()).map_err(|_| InvalidKeys)?,
            salt: keys.salt.clone(),
        })
    }

    /// Seals `header | payload | room for the tag` in place.
    pub(super) fn seal_rtp(
        &self,
        ssrc: Ssrc,
        index: u64,
        header_len: usize,
        packet: &mut [u8],
    ) -> Result<(), SrtpDrop> {
        let tag_at = packet.len().checked_sub(TAG_LEN).ok_or(SrtpDrop::Malformed)?;
        let (packet, tag_out) = packet.split_at_mut_checked(tag_at).ok_or(SrtpDrop::Malformed)?;
        self.apply_keystream(ssrc, index, packet.get_mut(header_len..).ok_or(SrtpDrop::Malformed)?)?;
        tag_out.copy_from_slice(&self.tag(packet, &roc(index)));
        Ok(())
    }

    /// Opens a packet in place; its plaintext is the returned number of bytes from the start.
    pub(super) fn open_rtp(
        &self,
        ssrc: Ssrc,
        index: u64,
        header_len: usize,
        packet: &mut [u8],
    ) -> Result<usize, SrtpDrop> {
        let tag_at = packet.len().checked_sub(TAG_LEN).ok_or(SrtpDrop::Malformed)?;
        let (packet, tag) = packet.split_at_mut_checked(tag_at).ok_or(SrtpDrop::Malformed)?;
        if packet.len() < header_len {
            return Err(SrtpDrop::Malformed);
        }
        self.verify(packet, &roc(index), tag)?;
        self.apply_keystream(ssrc, index, packet.get_mut(header_len..).ok_or(SrtpDrop::Malformed)?)?;
        Ok(tag_at)
    }

    /// Seals a compound RTCP packet: `clear header | ciphertext | E and index | tag` (RFC 3711 §3.4).
    pub(super) fn seal_rtcp(&self, ssrc: Ssrc, index: u32, packet: &mut Vec<u8>) -> Result<(), SrtpDrop> {
        let body = packet.get_mut(RTCP_CLEAR_LEN..).ok_or(SrtpDrop::Malformed)?;
        self.apply_keystream(ssrc, u64::from(index), body)?;
        packet.extend_from_slice(&(RTCP_ENCRYPTED | index).to_be_bytes());
        let tag = self.tag(packet, &[]);
        packet.extend_from_slice(&tag);
        Ok(())
    }

    /// Opens an SRTCP packet whose trailer is `trailer`; its plaintext is the returned number of bytes.
    pub(super) fn open_rtcp(&self, ssrc: Ssrc, trailer: u32, packet: &mut [u8]) -> Result<usize, SrtpDrop> {
        let tag_at = packet.len().checked_sub(TAG_LEN).ok_or(SrtpDrop::Malformed)?;
        let plaintext_len = tag_at.checked_sub(RTCP_TRAILER_LEN).ok_or(SrtpDrop::Malformed)?;
        let (sealed, tag) = packet.split_at_mut_checked(tag_at).ok_or(SrtpDrop::Malformed)?;
        self.verify(sealed, &[], tag)?;
        if trailer & RTCP_ENCRYPTED != 0 {
            let body = sealed.get_mut(RTCP_CLEAR_LEN..plaintext_len).ok_or(SrtpDrop::Malformed)?;
            self.apply_keystream(ssrc, u64::from(trailer & !RTCP_ENCRYPTED), body)?;
        }
        Ok(plaintext_len)
    }

    /// `IV = (salt · 2^16) XOR (SSRC · 2^64) XOR (index · 2^16)` (RFC 3711 §4.1.1).
    fn apply_keystream(&self, ssrc: Ssrc, index: u64, data: &mut [u8]) -> Result<(), SrtpDrop> {
        let block = (u128::from(ssrc.0) << 64) | (u128::from(index & 0xffff_ffff_ffff) << 16);
        let mut iv = block.to_be_bytes();
        iv.iter_mut().zip(self.salt.iter()).for_each(|(to, salt)| *to ^= salt);
        let context = EncryptionContext::Iv128(FixedLength::from(iv));
        self.cipher.less_safe_encrypt(data, context).map_err(|_| SrtpDrop::Malformed)?;
        Ok(())
    }

    fn tag(&self, packet: &[u8], suffix: &[u8]) -> [u8; TAG_LEN] {
        let mut auth = self.auth.clone();
        auth.update(packet);
        auth.update(suffix);
        let mut tag = [0; TAG_LEN];
        tag.iter_mut().zip(auth.finalize().into_bytes()).for_each(|(to, from)| *to = from);
        tag
    }

    fn verify(&self, packet: &[u8], suffix: &[u8], tag: &[u8]) -> Result<(), SrtpDrop> {
        verify_slices_are_equal(&self.tag(packet, suffix), tag).map_err(|_| SrtpDrop::AuthFailed)
    }
}

/// The rollover counter, as it is appended to what the tag covers (RFC 3711 §4.2).
fn roc(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::srtp::tests::hex;

    #[test]
    fn rfc_3711_appendix_b2_keystream() {
        let keys = SessionKeys {
            cipher: Zeroizing::new(hex("2b7e151628aed2a6abf7158809cf4f3c")),
            auth: Zeroizing::new([0; 20]),
            salt: Zeroizing::new(hex("f0f1f2f3f4f5f6f7f8f9fafbfcfd").try_into().unwrap()),
        };
        let cm = CmSha1::new(&keys).unwrap();
        // SSRC, ROC and sequence number are zero; the RFC prints both ends of 0xff02 blocks.
        let mut keystream = vec![0; 0xff02 * 16];
        cm.apply_keystream(Ssrc(0), 0, &mut keystream).unwrap();
        let head = "e03ead0935c95e80e166b16dd92b4eb4d23513162b02d0f72a43a2fe4a5f97ab\
                    41e95b3bb0a2e8dd477901e4fca894c0";
        let tail = "ec8cdf7398607cb0f2d21675ea9ea1e4362b7c3c6773516318a077d7fc5073ae\
                    6a2cc3787889374fbeb4c81b17ba6c44";
        assert_eq!(keystream[..48], hex(head));
        assert_eq!(keystream[0xfeff * 16..], hex(tail));
    }

    #[test]
    fn rfc_2202_hmac_sha1_cut_to_80_bits() {
        let keys = SessionKeys {
            cipher: Zeroizing::new(vec![0; 16]),
            auth: Zeroizing::new([0x0b; 20]),
            salt: Zeroizing::new([0; SALT_LEN]),
        };
        let cm = CmSha1::new(&keys).unwrap();
        assert_eq!(cm.tag(b"Hi There", &[]).to_vec(), hex("b617318655057264e28b"));
        assert_eq!(cm.tag(b"Hi ", b"There"), cm.tag(b"Hi There", &[]));
        assert!(cm.verify(b"Hi There", &[], &hex("b617318655057264e28b")).is_ok());
        assert!(cm.verify(b"Hi there", &[], &hex("b617318655057264e28b")).is_err());
    }
}
