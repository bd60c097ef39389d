//! DTLS-SRTP (RFC 5763, 5764) with real certificates: makes [`Handshake`]s that pick, for each ClientHello, the
//! library that gets this client connected with the cheapest SRTP profile it offers (ADR 1). Owns our
//! certificate. Knows neither sockets nor ICE nor SDP.
//!
//! ```text
//! datagram → Inbound (records, bounds) → Assembler (whole messages) → Association
//!                                                                     │ first ClientHello: choose
//!                                          DimplBackend │ RtcBackend ←┘
//!                                                       └→ Connected → fingerprint → SRTP keys
//! ```

mod assembler;
mod association;
mod backend;
mod client_hello;
mod dimpl_backend;
mod finished;
mod inbound;
mod reader;
mod rtc_backend;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;

use self::association::Association;
use self::rtc_backend::RtcIdentity;
use crate::transport::handshake::{
    DtlsRole, Fingerprint, FingerprintAlgorithm, Handshake, HandshakeError, HandshakeFactory,
};
use crate::unit::Time;

/// The first re-send of a flight. RFC 6347 §4.2.4.1 proposes 1 s; at WebRTC's round trips that is a
/// second of black picture for one lost datagram.
const FIRST_RETRANSMISSION: Duration = Duration::from_millis(100);

/// The same for our ClientHello. FFmpeg's server ignores the first that reaches it, so that one lost costs two waits.
const FIRST_RETRANSMISSION_AS_CLIENT: Duration = Duration::from_millis(50);

/// Datagrams of a handshake: what every path of WebRTC carries.
const MTU: usize = 1_200;

/// Our certificate with its key: self-signed, EC P-256 (RFC 8827 §6.5).
#[derive(Clone)]
pub struct DtlsIdentity {
    certificate: Vec<u8>,
    private_key: Vec<u8>,
    fingerprint: Fingerprint,
}

impl DtlsIdentity {
    /// A new self-signed certificate, valid for a year. Keys come from the system's randomness, dates
    /// from its clock: one per process start is enough, so this is no part of the engine's time.
    pub fn generate() -> Result<DtlsIdentity, HandshakeError> {
        let generated = dimpl::certificate::generate_self_signed_certificate()
            .map_err(|_| HandshakeError::Internal("certificate generation"))?;
        Ok(DtlsIdentity::from_der(generated.certificate, generated.private_key))
    }

    /// An existing certificate: X.509 in DER, and its P-256 key as PKCS #8 in DER.
    pub fn from_der(certificate: Vec<u8>, private_key: Vec<u8>) -> DtlsIdentity {
        let digest = digest::digest(&digest::SHA256, &certificate).as_ref().to_vec();
        let fingerprint = Fingerprint { algorithm: FingerprintAlgorithm::Sha256, digest };
        DtlsIdentity { certificate, private_key, fingerprint }
    }

    /// X.509 in DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// PKCS #8 in DER.
    pub fn private_key(&self) -> &[u8] {
        &self.private_key
    }

    /// SHA-256 of the certificate, for `a=fingerprint` (RFC 8122 §5).
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
}

impl fmt::Debug for DtlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DtlsIdentity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// Real DTLS. Cheap to clone: certificate and configurations are shared.
#[derive(Clone, Debug)]
pub struct DtlsFactory {
    shared: Arc<Shared>,
}

impl DtlsFactory {
    /// `base` is the instant of [`Time::ZERO`]: the libraries speak [`Instant`].
    pub fn new(identity: DtlsIdentity, base: Instant) -> Result<DtlsFactory, HandshakeError> {
        let rtc_identity = RtcIdentity::new(&identity)?;
        let dimpl_configs = dimpl_backend::Configs::new()?;
        Ok(DtlsFactory { shared: Arc::new(Shared { identity, base, dimpl_configs, rtc_identity }) })
    }

    /// Our certificate.
    pub fn identity(&self) -> &DtlsIdentity {
        &self.shared.identity
    }
}

impl HandshakeFactory for DtlsFactory {
    fn create(&self, now: Time, role: DtlsRole, remote: &[Fingerprint]) -> Box<dyn Handshake> {
        Box::new(Association::new(Arc::clone(&self.shared), now, role, remote.to_vec()))
    }
}

/// What all associations of a factory have in common.
struct Shared {
    identity: DtlsIdentity,
    base: Instant,
    dimpl_configs: dimpl_backend::Configs,
    rtc_identity: RtcIdentity,
}

impl Shared {
    /// The libraries' clock. A time beyond what an [`Instant`] holds stands still.
    fn instant(&self, time: Time) -> Instant {
        self.base.checked_add(Duration::from_nanos(time.0)).unwrap_or(self.base)
    }

    fn time(&self, instant: Instant) -> Time {
        Time::ZERO + instant.saturating_duration_since(self.base)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("identity", &self.identity).finish_non_exhaustive()
    }
}
