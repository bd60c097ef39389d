//! Verifies the client's Finished (RFC 5246 §7.4.9), which `rtc-dtls` reads as a server and does not
//! compare. The crate shows neither its master secret nor what it decrypts, but it takes its cryptography from
//! the caller: [`Observed`] passes every operation on and notes these two on their way. Knows no sockets and
//! no time.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::{constant_time, digest, hmac};
use rtc_dtls::crypto_provider::{
    ActiveKeyExchange, AeadAlgorithm, AeadCipher, BlockCipherAlgorithm, CbcAlgorithm, CbcCipher,
    CryptoAlgorithm, CryptoError, HashAlgorithm, HmacAlgorithm, KeyExchangeAlgorithm, Mac, PublicKey,
    RTCCrypto, RTCCryptoProvider, RTCRandom, SignatureScheme, SigningKey, StreamCipher,
    StreamCipherAlgorithm,
};
use zeroize::Zeroizing;

use super::assembler::{Assembler, Message};
use super::inbound::plaintext_fragments;

/// Length of a master secret (RFC 5246 §8.1). The P-384 premaster secret is as long, but used earlier.
const MASTER_SECRET_LEN: usize = 48;

/// A Finished with its handshake header.
const FINISHED_LEN: usize = 12 + VERIFY_DATA_LEN;
const VERIFY_DATA_LEN: usize = 12;
const FINISHED: u8 = 20;

/// What has been noted of one association, until the first verification.
#[derive(Default)]
struct Notes {
    /// Overwritten when dropped.
    master_secret: Zeroizing<Vec<u8>>,
    finished: Vec<u8>,
    done: bool,
}

/// Collects the transcript and, once Finished has come, compares.
#[derive(Default)]
pub(super) struct FinishedCheck {
    notes: Arc<Mutex<Notes>>,
    sent: Assembler,
    client_hello: Vec<u8>,
    server_messages: Vec<u8>,
    client_messages: Vec<u8>,
}

impl FinishedCheck {
    /// The cryptography for the association that this check is for.
    pub(super) fn observe(&self, provider: &Arc<dyn RTCCryptoProvider>) -> Observed {
        let crypto = ObservedCrypto { inner: Arc::clone(provider), notes: Arc::clone(&self.notes) };
        Observed { crypto }
    }

    /// Plaintext messages of the client, whole and in order. The first ClientHello and the
    /// HelloVerifyRequest, both of number 0, are no part of the transcript (RFC 6347 §4.2.1).
    pub(super) fn received(&mut self, messages: &[Message]) {
        for message in messages {
            match message.message_seq {
                0 => {}
                1 => message.write_to(&mut self.client_hello),
                _ => message.write_to(&mut self.client_messages),
            }
        }
    }

    /// Datagrams of ours.
    pub(super) fn sent(&mut self, datagrams: &[Vec<u8>]) {
        let FinishedCheck { sent, server_messages, .. } = self;
        for datagram in datagrams {
            plaintext_fragments(datagram, |fragment| {
                sent.push(fragment);
                while let Some(message) = sent.pop() {
                    if message.message_seq > 0 {
                        message.write_to(server_messages);
                    }
                }
            });
        }
    }

    /// Whether the Finished that was decrypted is that of this transcript. To be asked once.
    pub(super) fn verify(&mut self) -> bool {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let notes = std::mem::replace(&mut *notes, Notes { done: true, ..Notes::default() });
        let transcript =
            [&self.client_hello, &self.server_messages, &self.client_messages].map(Vec::as_slice);
        let hash = digest::digest(&digest::SHA256, &transcript.concat());
        let expected = verify_data(&notes.master_secret, hash.as_ref());
        let Some((_, actual)) = notes.finished.split_at_checked(FINISHED_LEN - VERIFY_DATA_LEN) else {
            return false;
        };
        notes.master_secret.len() == MASTER_SECRET_LEN
            && constant_time::verify_slices_are_equal(&expected, actual).is_ok()
    }
}

impl fmt::Debug for FinishedCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FinishedCheck(…)")
    }
}

/// PRF(master secret, "client finished", transcript hash) for a SHA-256 suite (RFC 5246 §5 and §7.4.9).
fn verify_data(master_secret: &[u8], transcript_hash: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, master_secret);
    let seed = [b"client finished".as_slice(), transcript_hash].concat();
    let first = hmac::sign(&key, &seed);
    let block = hmac::sign(&key, &[first.as_ref(), &seed].concat());
    block.as_ref().iter().copied().take(VERIFY_DATA_LEN).collect()
}

/// A provider that notes what [`FinishedCheck`] needs.
pub(super) struct Observed {
    crypto: ObservedCrypto,
}

impl RTCCryptoProvider for Observed {
    fn name(&self) -> &'static str {
        self.crypto.inner.name()
    }

    fn crypto(&self) -> &dyn RTCCrypto {
        &self.crypto
    }

    fn random(&self) -> &dyn RTCRandom {
        self.crypto.inner.random()
    }
}

struct ObservedCrypto {
    inner: Arc<dyn RTCCryptoProvider>,
    notes: Arc<Mutex<Notes>>,
}

impl RTCCrypto for ObservedCrypto {
    fn new_hmac(&self, algorithm: HmacAlgorithm, key: &[u8]) -> Result<Box<dyn Mac>, CryptoError> {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if !notes.done && key.len() == MASTER_SECRET_LEN {
            notes.master_secret = Zeroizing::new(key.to_vec());
        }
        self.inner.crypto().new_hmac(algorithm, key)
    }

    fn new_aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Box<dyn AeadCipher>, CryptoError> {
        let inner = self.inner.crypto().new_aead(algorithm, key)?;
        Ok(Box::new(ObservedAead { inner, notes: Arc::clone(&self.notes) }))
    }

    fn supports(&self, algorithm: CryptoAlgorithm) -> bool {
        self.inner.crypto().supports(algorithm)
    }

    fn hash(&self, algorithm: HashAlgorithm, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.inner.crypto().hash(algorithm, data)
    }

    fn block_encrypt(
        &self,
        algorithm: BlockCipherAlgorithm,
        key: &[u8],
        block: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.inner.crypto().block_encrypt(algorithm, key, block)
    }

    fn new_stream_cipher(
        &self,
        algorithm: StreamCipherAlgorithm,
        key: &[u8],
    ) -> Result<Box<dyn StreamCipher>, CryptoError> {
        self.inner.crypto().new_stream_cipher(algorithm, key)
    }

    fn new_cbc(&self, algorithm: CbcAlgorithm, key: &[u8]) -> Result<Box<dyn CbcCipher>, CryptoError> {
        self.inner.crypto().new_cbc(algorithm, key)
    }

    fn start_key_exchange(
        &self,
        algorithm: KeyExchangeAlgorithm,
    ) -> Result<Box<dyn ActiveKeyExchange>, CryptoError> {
        self.inner.crypto().start_key_exchange(algorithm)
    }

    fn generate_signing_key(&self, scheme: SignatureScheme) -> Result<Arc<dyn SigningKey>, CryptoError> {
        self.inner.crypto().generate_signing_key(scheme)
    }

    fn import_signing_key(
        &self,
        scheme: SignatureScheme,
        pkcs8_der: &[u8],
    ) -> Result<Arc<dyn SigningKey>, CryptoError> {
        self.inner.crypto().import_signing_key(scheme, pkcs8_der)
    }

    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        public_key: PublicKey<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        self.inner.crypto().verify_signature(scheme, public_key, message, signature)
    }
}

struct ObservedAead {
    inner: Box<dyn AeadCipher>,
    notes: Arc<Mutex<Notes>>,
}

impl AeadCipher for ObservedAead {
    fn tag_len(&self) -> usize {
        self.inner.tag_len()
    }

    fn seal_in_place(
        &mut self,
        nonce: &[u8],
        aad: &[u8],
        text: &mut [u8],
        tag_out: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.inner.seal_in_place(nonce, aad, text, tag_out)
    }

    fn open_in_place(
        &mut self,
        nonce: &[u8],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8],
    ) -> Result<(), CryptoError> {
        self.inner.open_in_place(nonce, aad, text, tag)?;
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        // The first one counts, as it does for the crate.
        let is_finished = text.len() == FINISHED_LEN && text.first() == Some(&FINISHED);
        if is_finished && !notes.done && notes.finished.is_empty() {
            notes.finished = text.to_vec();
        }
        Ok(())
    }
}
