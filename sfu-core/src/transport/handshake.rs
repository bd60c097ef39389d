//! The contract of a DTLS handshake, so that simulations can inject keys and real programs get real DTLS.
//! Knows neither sockets nor ICE: datagrams of the DTLS range (RFC 7983) go in, events come out.

use std::fmt;

use zeroize::Zeroize;

use crate::unit::Time;

/// Which side of the DTLS handshake *we* take (RFC 5763 §5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DtlsRole {
    /// `a=setup:active`: we send the ClientHello.
    Client,
    /// `a=setup:passive`: we wait for it.
    Server,
}

/// Hash of a certificate as declared in SDP (RFC 8122 §5). Only SHA-256, SHA-384 and SHA-512 are accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fingerprint {
    pub algorithm: FingerprintAlgorithm,
    /// The digest: 32, 48 or 64 bytes, as the algorithm has it.
    pub digest: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FingerprintAlgorithm {
    Sha256,
    Sha384,
    Sha512,
}

/// SRTP protection profiles (RFC 5764 §4.1.2, RFC 7714 §14.2), in our order of preference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SrtpProfile {
    AeadAes128Gcm,
    AeadAes256Gcm,
    Aes128CmSha1_80,
}

impl SrtpProfile {
    /// Length of the master key in bytes.
    pub fn key_len(self) -> usize {
        match self {
            SrtpProfile::AeadAes128Gcm | SrtpProfile::Aes128CmSha1_80 => 16,
            SrtpProfile::AeadAes256Gcm => 32,
        }
    }

    /// Length of the master salt in bytes.
    pub fn salt_len(self) -> usize {
        match self {
            SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => 12,
            SrtpProfile::Aes128CmSha1_80 => 14,
        }
    }
}

/// Master key and salt of one direction. Overwritten when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    pub key: Vec<u8>,
    pub salt: Vec<u8>,
}

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.key.zeroize();
        self.salt.zeroize();
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// What a handshake is for: the exported SRTP keys (RFC 5764 §4.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SrtpKeys {
    pub profile: SrtpProfile,
    /// Protects what we send.
    pub local: MasterKey,
    /// Protects what the peer sends.
    pub remote: MasterKey,
}

/// Why a handshake ended. Says who is to blame.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer's certificate has none of the fingerprints that its SDP declared (RFC 8122 §6.2).
    #[error("the peer's certificate does not match its fingerprint")]
    FingerprintMismatch,
    /// No SRTP profile, cipher suite, version or certificate type in common.
    #[error("nothing in common with the peer: {0}")]
    Incompatible(&'static str),
    /// The peer broke the protocol or a bound of ours.
    #[error("the peer's handshake is invalid: {0}")]
    PeerFault(&'static str),
    #[error("the handshake timed out")]
    TimedOut,
    /// `close_notify` or a fatal alert.
    #[error("the peer closed the association")]
    Closed,
    /// A library failed in a way that is not the peer's fault.
    #[error("internal failure: {0}")]
    Internal(&'static str),
}

/// What comes out of a [`Handshake`].
#[derive(Debug)]
pub enum HandshakeEvent {
    /// Send this datagram to the peer. At most one MTU (1,200 bytes).
    Transmit(Vec<u8>),
    /// The association stands, the peer's certificate is verified; these are the keys. Once.
    Connected(Box<SrtpKeys>),
    /// Decrypted application data (SCTP, RFC 8261).
    ApplicationData(Vec<u8>),
    /// The end: no further event follows.
    Failed(HandshakeError),
}

/// One DTLS association. Output is drained with [`Handshake::poll`] after every call.
pub trait Handshake: Send + fmt::Debug {
    /// Begins: as a client this produces the first flight. Called once, when ICE has a valid pair.
    fn start(&mut self, now: Time);
    /// One datagram whose first byte is in 20..=63 (RFC 7983). Any bytes may come.
    fn receive(&mut self, now: Time, datagram: &[u8]);
    /// To be called at [`Handshake::next_timeout`].
    fn handle_timeout(&mut self, now: Time);
    /// When it wants [`Handshake::handle_timeout`]; `None` when nothing is pending.
    fn next_timeout(&self) -> Option<Time>;
    /// Encrypts application data; dropped unless connected.
    fn send_application_data(&mut self, now: Time, data: &[u8]);
    /// Sends `close_notify` if connected.
    fn close(&mut self, now: Time);
    /// The next event, in order.
    fn poll(&mut self) -> Option<HandshakeEvent>;
}

/// Makes handshakes: real DTLS in the server, injected keys in simulations.
pub trait HandshakeFactory: Send + fmt::Debug {
    /// An association in `role` with a peer whose certificate must match one of `remote`.
    fn create(&self, now: Time, role: DtlsRole, remote: &[Fingerprint]) -> Box<dyn Handshake>;
}
