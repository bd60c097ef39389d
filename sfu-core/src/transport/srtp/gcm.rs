//! AEAD_AES_128_GCM and AEAD_AES_256_GCM on whole packets (RFC 7714). Keeps no state between packets: the
//! caller owns indices and the promise that none is sealed twice.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::kdf::SessionKeys;
use super::{InvalidKeys, RTCP_CLEAR_LEN, RTCP_ENCRYPTED, RTCP_TRAILER_LEN, SrtpDrop};
use crate::unit::Ssrc;

pub(super) const TAG_LEN: usize = 16;

pub(super) struct Gcm {
    key: LessSafeKey,
    salt: Zeroizing<[u8; 12]>,
}

impl Gcm {
    pub(super) fn new(keys: &SessionKeys) -> Result<Gcm, InvalidKeys> {
        let algorithm = match keys.cipher.len() {
            16 => &AES_128_GCM,
            32 => &AES_256_GCM,
            _ => return Err(InvalidKeys),
        };
        let key = UnboundKey::new(algorithm, &keys.cipher).map_err(|_| InvalidKeys)?;
        let mut salt = Zeroizing::new([0; 12]);
        salt.iter_mut().zip(keys.salt.iter()).for_each(|(to, from)| *to = *from);
        Ok(Gcm { key: LessSafeKey::new(key), salt })
    }

    /// Seals `header | payload | room for the tag` in place.
    pub(super) fn seal_rtp(
        &self,
        ssrc: Ssrc,
        index: u64,
        header_len: usize,
        packet: &mut [u8],
    ) -> Result<(), SrtpDrop> {
        let (header, body) = packet.split_at_mut_checked(header_len).ok_or(SrtpDrop::Malformed)?;
        let (payload, tag_out) = split_end(body, TAG_LEN)?;
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(ssrc, index), Aad::from(&*header), payload)
            .map_err(|_| SrtpDrop::Malformed)?;
        tag_out.copy_from_slice(tag.as_ref());
        Ok(())
    }

    /// Seals `payload` into `header | room for payload and tag`.
    pub(super) fn seal_rtp_from(
        &self,
        ssrc: Ssrc,
        index: u64,
        header_len: usize,
        payload: &[u8],
        packet: &mut [u8],
    ) -> Result<(), SrtpDrop> {
        let (header, body) = packet.split_at_mut_checked(header_len).ok_or(SrtpDrop::Malformed)?;
        let (out, tag_out) = split_end(body, TAG_LEN)?;
        let nonce = self.nonce(ssrc, index);
        self.key
            .seal_out_of_place_scatter(nonce, Aad::from(&*header), payload, out, &[], tag_out)
            .map_err(|_| SrtpDrop::Malformed)
    }

    /// Opens a packet in place; its plaintext is the returned number of bytes from the start.
    pub(super) fn open_rtp(
        &self,
        ssrc: Ssrc,
        index: u64,
        header_len: usize,
        packet: &mut [u8],
    ) -> Result<usize, SrtpDrop> {
        let plaintext_len = packet.len().checked_sub(TAG_LEN).ok_or(SrtpDrop::Malformed)?;
        let (header, sealed) = packet.split_at_mut_checked(header_len).ok_or(SrtpDrop::Malformed)?;
        if sealed.len() < TAG_LEN {
            return Err(SrtpDrop::Malformed);
        }
        self.key
            .open_in_place(self.nonce(ssrc, index), Aad::from(&*header), sealed)
            .map_err(|_| SrtpDrop::AuthFailed)?;
        Ok(plaintext_len)
    }

    /// Seals a compound RTCP packet: `clear header | ciphertext | tag | E and index` (RFC 7714 §9.2).
    pub(super) fn seal_rtcp(&self, ssrc: Ssrc, index: u32, packet: &mut Vec<u8>) -> Result<(), SrtpDrop> {
        let trailer = (RTCP_ENCRYPTED | index).to_be_bytes();
        let (clear, body) = packet.split_at_mut_checked(RTCP_CLEAR_LEN).ok_or(SrtpDrop::Malformed)?;
        let mut aad = [0; RTCP_CLEAR_LEN + RTCP_TRAILER_LEN];
        aad.iter_mut().zip(clear.iter().chain(&trailer)).for_each(|(to, from)| *to = *from);
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(ssrc, u64::from(index)), Aad::from(aad), body)
            .map_err(|_| SrtpDrop::Malformed)?;
        packet.extend_from_slice(tag.as_ref());
        packet.extend_from_slice(&trailer);
        Ok(())
    }

    /// Opens an SRTCP packet whose trailer is `trailer`; its plaintext is the returned number of bytes.
    pub(super) fn open_rtcp(&self, ssrc: Ssrc, trailer: u32, packet: &mut [u8]) -> Result<usize, SrtpDrop> {
        let overhead = TAG_LEN + RTCP_TRAILER_LEN;
        let plaintext_len = packet.len().checked_sub(overhead).ok_or(SrtpDrop::Malformed)?;
        let nonce = self.nonce(ssrc, u64::from(trailer & !RTCP_ENCRYPTED));
        if trailer & RTCP_ENCRYPTED == 0 {
            return self.verify_clear_rtcp(nonce, trailer, plaintext_len, packet);
        }
        let (sealed, trailer) = split_end(packet, RTCP_TRAILER_LEN)?;
        let (clear, sealed) = sealed.split_at_mut_checked(RTCP_CLEAR_LEN).ok_or(SrtpDrop::Malformed)?;
        if sealed.len() < TAG_LEN {
            return Err(SrtpDrop::Malformed);
        }
        let mut aad = [0; RTCP_CLEAR_LEN + RTCP_TRAILER_LEN];
        aad.iter_mut().zip(clear.iter().chain(&*trailer)).for_each(|(to, from)| *to = *from);
        self.key.open_in_place(nonce, Aad::from(aad), sealed).map_err(|_| SrtpDrop::AuthFailed)?;
        Ok(plaintext_len)
    }

    /// With the E flag clear, all of the packet and the trailer are associated data (RFC 7714 §9.3).
    fn verify_clear_rtcp(
        &self,
        nonce: Nonce,
        trailer: u32,
        plaintext_len: usize,
        packet: &mut [u8],
    ) -> Result<usize, SrtpDrop> {
        let (plaintext, rest) = packet.split_at_mut_checked(plaintext_len).ok_or(SrtpDrop::Malformed)?;
        let (tag, _) = rest.split_at_mut_checked(TAG_LEN).ok_or(SrtpDrop::Malformed)?;
        let aad = [&*plaintext, &trailer.to_be_bytes()].concat();
        self.key.open_in_place(nonce, Aad::from(aad), tag).map_err(|_| SrtpDrop::AuthFailed)?;
        Ok(plaintext_len)
    }

    /// `0 | SSRC | 48-bit index`, masked with the salt (RFC 7714 §8.1, §9.1). An SRTCP index has 31 bits, so
    /// its 48-bit form begins with the zeros that §9.1 asks for.
    fn nonce(&self, ssrc: Ssrc, index: u64) -> Nonce {
        let block = (u128::from(ssrc.0) << 48) | u128::from(index & 0xffff_ffff_ffff);
        let mut nonce = [0; 12];
        let bytes = block.to_be_bytes();
        nonce
            .iter_mut()
            .zip(bytes.iter().skip(4).zip(self.salt.iter()))
            .for_each(|(to, (byte, salt))| *to = byte ^ salt);
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Splits the last `len` bytes off.
fn split_end(bytes: &mut [u8], len: usize) -> Result<(&mut [u8], &mut [u8]), SrtpDrop> {
    let at = bytes.len().checked_sub(len).ok_or(SrtpDrop::Malformed)?;
    bytes.split_at_mut_checked(at).ok_or(SrtpDrop::Malformed)
}
