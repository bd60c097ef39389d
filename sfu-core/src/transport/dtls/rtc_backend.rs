//! DTLS 1.2 in the server role by the `rtc-dtls` crate: the one that takes RSA certificates. It stops
//! its retransmission timer at the first record of any kind, so flights are re-sent here, byte for byte: what
//! had arrived falls to the peer's replay window, what had not repairs the flight. Nor does it verify the
//! client's Finished, which `finished` makes up for.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use rtc_dtls::cipher_suite::CipherSuiteId;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::crypto_provider::{RTCCryptoProvider, SignatureScheme};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;

use super::backend::{Backend, Output, keying_material_len, srtp_keys};
use super::finished::{FinishedCheck, Observed};
use super::inbound::Sifted;
use super::{DtlsIdentity, FIRST_RETRANSMISSION, MTU};
use crate::transport::handshake::{HandshakeError, SrtpProfile};

/// Re-sends of one flight: 100 ms doubling, the last after 25 s.
const RETRANSMISSIONS: u32 = 8;

/// Re-sends of the last flight, which nothing acknowledges: they repair it without waiting for the
/// client's timer (1 s in OpenSSL).
const LAST_FLIGHT_RETRANSMISSIONS: u32 = 2;

/// Datagrams kept of one flight.
const MAX_FLIGHT_DATAGRAMS: usize = 16;

/// The crate keeps associations by address. Ours holds one, and this is its name.
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// The crate cuts messages to its MTU before it adds record and handshake headers.
const RECORD_OVERHEAD: usize = 50;

/// Label of the exporter (RFC 5764 §4.2).
const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";

/// Our certificate as the crate wants it.
#[derive(Clone)]
pub(super) struct RtcIdentity {
    certificate: Certificate,
    provider: Arc<dyn RTCCryptoProvider>,
}

impl RtcIdentity {
    pub(super) fn new(identity: &DtlsIdentity) -> Result<RtcIdentity, HandshakeError> {
        let provider = rtc_dtls::crypto_provider::default_provider()
            .map_err(|_| HandshakeError::Internal("no crypto provider"))?;
        let key = provider
            .crypto()
            .import_signing_key(SignatureScheme::EcdsaP256Sha256, identity.private_key())
            .map_err(|_| HandshakeError::Internal("private key"))?;
        let chain = vec![identity.certificate().to_vec().into()];
        Ok(RtcIdentity { certificate: Certificate::from_signing_key(chain, key), provider })
    }

    /// A configuration for one association, whose cryptography is `observed`. It names one SRTP profile,
    /// because among several the crate follows the client's order.
    fn config(&self, profile: SrtpProfile, observed: Observed) -> Result<HandshakeConfig, HandshakeError> {
        ConfigBuilder::default()
            .with_crypto_provider(Arc::new(observed))
            .with_certificates(vec![self.certificate.clone()])
            .with_cipher_suites(vec![CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256])
            .with_srtp_protection_profiles(vec![wire_profile(profile)])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_extended_master_secret(ExtendedMasterSecretType::Request)
            // The peer's certificate is held against its fingerprint, not against authorities.
            .with_insecure_skip_verify(true)
            .with_mtu(MTU - RECORD_OVERHEAD)
            .build(false, None)
            .map_err(|_| HandshakeError::Internal("DTLS configuration"))
    }
}

impl fmt::Debug for RtcIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RtcIdentity")
    }
}

/// The last flight that went out, and when it goes out again.
#[derive(Debug, Default)]
struct Flight {
    datagrams: Vec<Vec<u8>>,
    sent: u32,
    at: Option<Instant>,
}

pub(super) struct RtcBackend {
    endpoint: Endpoint,
    profile: SrtpProfile,
    flight: Flight,
    finished: FinishedCheck,
    connected: bool,
}

impl RtcBackend {
    pub(super) fn new(identity: &RtcIdentity, profile: SrtpProfile) -> Result<RtcBackend, HandshakeError> {
        let finished = FinishedCheck::default();
        let config = identity.config(profile, finished.observe(&identity.provider))?;
        Ok(RtcBackend {
            endpoint: Endpoint::new(PEER, TransportProtocol::UDP, Some(Arc::new(config))),
            profile,
            flight: Flight::default(),
            finished,
            connected: false,
        })
    }

    /// Moves what it has to send into `out`; what answers the peer becomes the flight to re-send.
    fn drain(&mut self, now: Instant, becomes_flight: bool, out: &mut Vec<Output>) {
        let mut datagrams = Vec::new();
        while let Some(transmit) = self.endpoint.poll_transmit() {
            datagrams.push(transmit.message.to_vec());
        }
        if datagrams.is_empty() {
            return;
        }
        if becomes_flight {
            self.finished.sent(&datagrams);
            datagrams.truncate(MAX_FLIGHT_DATAGRAMS);
            self.flight =
                Flight { datagrams: datagrams.clone(), sent: 1, at: Some(now + FIRST_RETRANSMISSION) };
        }
        out.extend(datagrams.into_iter().map(Output::Transmit));
    }

    fn connected(&mut self) -> Result<Output, HandshakeError> {
        let state = self.endpoint.get_connection_state(PEER);
        let state = state.ok_or(HandshakeError::Internal("no connection state"))?;
        if state.srtp_protection_profile() != wire_profile(self.profile) {
            return Err(HandshakeError::Incompatible("SRTP protection profile"));
        }
        let certificate = state.peer_certificates.first().cloned();
        let certificate = certificate.ok_or(HandshakeError::PeerFault("no certificate"))?;
        let material = state
            .export_keying_material(EXPORTER_LABEL, &[], keying_material_len(self.profile))
            .map_err(|_| HandshakeError::Internal("key export"))?;
        let keys = srtp_keys(self.profile, material.as_ref(), false)
            .ok_or(HandshakeError::Internal("length of exported keys"))?;
        Ok(Output::Connected { certificate, keys: Box::new(keys) })
    }

    /// The client has shown that it is done: it sends what only a finished handshake allows.
    fn forget_flight(&mut self) {
        self.flight = Flight::default();
    }
}

impl Backend for RtcBackend {
    fn receive(
        &mut self,
        now: Instant,
        sifted: &Sifted,
        out: &mut Vec<Output>,
    ) -> Result<(), HandshakeError> {
        if sifted.datagram.is_empty() {
            return Ok(());
        }
        self.finished.received(&sifted.messages);
        let result = self.endpoint.read(now, PEER, None, BytesMut::from(sifted.datagram.as_slice()));
        let was_connected = self.connected;
        let mut later = Vec::new();
        let mut outcome = Ok(());
        match result {
            Ok(events) => {
                for event in events {
                    match event {
                        EndpointEvent::HandshakeComplete => {
                            if !self.finished.verify() {
                                return Err(HandshakeError::PeerFault("Finished"));
                            }
                            self.connected = true;
                            later.push(self.connected()?);
                        }
                        EndpointEvent::ApplicationData(data) => {
                            self.forget_flight();
                            later.push(Output::ApplicationData(data.to_vec()));
                        }
                        EndpointEvent::PeerClosed => later.push(Output::Closed),
                        _ => {}
                    }
                }
            }
            // Once connected, the crate reports what it drops as errors too.
            Err(_) if self.connected => {}
            Err(error) => outcome = Err(error_of(&error)),
        }
        self.drain(now, !was_connected && outcome.is_ok(), out);
        out.append(&mut later);
        outcome
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Output>) -> Result<(), HandshakeError> {
        let Some(at) = self.flight.at else { return Ok(()) };
        if now < at {
            return Ok(());
        }
        out.extend(self.flight.datagrams.iter().cloned().map(Output::Transmit));
        let limit = if self.connected { LAST_FLIGHT_RETRANSMISSIONS } else { RETRANSMISSIONS };
        let backoff = FIRST_RETRANSMISSION.saturating_mul(1 << self.flight.sent.min(RETRANSMISSIONS));
        self.flight.at = (self.flight.sent < limit).then(|| now + backoff);
        self.flight.sent = self.flight.sent.saturating_add(1);
        Ok(())
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.flight.at
    }

    fn send_application_data(
        &mut self,
        now: Instant,
        data: &[u8],
        out: &mut Vec<Output>,
    ) -> Result<(), HandshakeError> {
        // An error drops this message only.
        let _ = self.endpoint.write(now, PEER, data);
        self.drain(now, false, out);
        Ok(())
    }

    fn close(&mut self, now: Instant, out: &mut Vec<Output>) {
        let _ = self.endpoint.close(now);
        self.forget_flight();
        self.drain(now, false, out);
    }
}

impl fmt::Debug for RtcBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtcBackend")
            .field("profile", &self.profile)
            .field("connected", &self.connected)
            .field("flight_sent", &self.flight.sent)
            .finish()
    }
}

fn wire_profile(profile: SrtpProfile) -> SrtpProtectionProfile {
    match profile {
        SrtpProfile::AeadAes128Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
        SrtpProfile::AeadAes256Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
        SrtpProfile::Aes128CmSha1_80 => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
    }
}

/// Whose fault an error before connected is.
fn error_of(error: &rtc_shared::error::Error) -> HandshakeError {
    use rtc_shared::error::Error;
    match error {
        Error::ErrAlertFatalOrClose => HandshakeError::Closed,
        Error::ErrCipherSuiteNoIntersection => HandshakeError::Incompatible("cipher suite"),
        Error::ErrServerNoMatchingSrtpProfile => HandshakeError::Incompatible("SRTP protection profile"),
        Error::ErrNoSupportedEllipticCurves => HandshakeError::Incompatible("key exchange group"),
        Error::ErrUnsupportedProtocolVersion => HandshakeError::Incompatible("version"),
        Error::ErrNoAvailableSignatureSchemes => HandshakeError::Incompatible("signature scheme"),
        Error::ErrClientCertificateRequired => HandshakeError::PeerFault("no certificate"),
        Error::ErrKeySignatureMismatch => HandshakeError::PeerFault("signature"),
        Error::ErrCookieMismatch => HandshakeError::PeerFault("cookie"),
        Error::Crypto(_) => HandshakeError::PeerFault("cryptographic check"),
        _ => HandshakeError::PeerFault("protocol"),
    }
}
