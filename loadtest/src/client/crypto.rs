//! The one crypto provider that the client's STUN, DTLS and SRTP libraries share.

use std::fmt;
use std::sync::Arc;

use rtc_srtp::crypto::{HashAlgorithm, RTCCrypto, RTCCryptoProvider, default_provider};

/// A handle on it, cheap to clone.
#[derive(Clone)]
pub struct Crypto(Arc<dyn RTCCryptoProvider>);

impl fmt::Debug for Crypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Crypto")
    }
}

impl Crypto {
    /// Fails if the libraries were built without a provider.
    pub fn new() -> Result<Crypto, String> {
        default_provider().map(Crypto).map_err(|error| error.to_string())
    }

    pub fn provider(&self) -> &dyn RTCCrypto {
        self.0.crypto()
    }

    /// 32 bytes; empty if the provider fails, which matches no fingerprint and makes no key.
    pub fn sha256(&self, bytes: &[u8]) -> Vec<u8> {
        self.provider().hash(HashAlgorithm::Sha256, bytes).unwrap_or_default()
    }
}
