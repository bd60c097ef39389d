//! The AEAD of RFC 7714 alone, in place, with one key: the least that SRTP can cost.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::clock::CpuClock;

/// Bytes that SRTP adds to a packet.
pub const TAG_LEN: usize = 16;

/// The RTP header, which is authenticated and not encrypted.
const HEADER_LEN: usize = 20;

/// Packets of one sample.
const PACKETS: u32 = 20_000;

/// A cipher of SRTP's.
#[derive(Debug)]
pub struct Cipher {
    pub key: &'static str,
    pub name: &'static str,
    algorithm: &'static Algorithm,
}

pub const CIPHERS: [&Cipher; 2] = [
    &Cipher { key: "aes_128_gcm", name: "AES-128-GCM", algorithm: &AES_128_GCM },
    &Cipher { key: "aes_256_gcm", name: "AES-256-GCM", algorithm: &AES_256_GCM },
];

/// CPU ns per packet of `length` bytes that is sealed.
pub fn seal(clock: CpuClock, cipher: &Cipher, length: usize) -> Result<f64, String> {
    let key = new_key(cipher)?;
    let (header, mut payload) = ([0; HEADER_LEN], vec![0; length.saturating_sub(HEADER_LEN)]);
    let ns = clock.measure(|| {
        for index in 0..PACKETS {
            let tag = key.seal_in_place_separate_tag(nonce(index), Aad::from(header), &mut payload);
            let _ = std::hint::black_box(tag.map_err(|_| "sealing failed")?);
        }
        Ok(())
    })?;
    Ok(ns / f64::from(PACKETS))
}

/// CPU ns per packet of `length` bytes that is opened. It needs a sealed one each time, whose copying (some 10 ns) is
/// counted in.
pub fn open(clock: CpuClock, cipher: &Cipher, length: usize) -> Result<f64, String> {
    let key = new_key(cipher)?;
    let header = [0; HEADER_LEN];
    let mut sealed = vec![0; length.saturating_sub(HEADER_LEN)];
    key.seal_in_place_append_tag(nonce(1), Aad::from(header), &mut sealed).map_err(|_| "sealing failed")?;
    let mut packet = sealed.clone();
    let ns = clock.measure(|| {
        for _ in 0..PACKETS {
            packet.copy_from_slice(&sealed);
            let plain = key.open_in_place(nonce(1), Aad::from(header), &mut packet);
            std::hint::black_box(plain.map_err(|_| "opening failed")?);
        }
        Ok(())
    })?;
    Ok(ns / f64::from(PACKETS))
}

fn new_key(cipher: &Cipher) -> Result<LessSafeKey, String> {
    let bytes = vec![7; cipher.algorithm.key_len()];
    let key = UnboundKey::new(cipher.algorithm, &bytes).map_err(|_| "no key")?;
    Ok(LessSafeKey::new(key))
}

fn nonce(index: u32) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[NONCE_LEN - 4..].copy_from_slice(&index.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}
