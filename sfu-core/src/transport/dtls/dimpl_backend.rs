//! DTLS 1.2 and 1.3 by the `dimpl` crate, in both roles. It re-sends its flights itself. It takes EC
//! certificates only.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{
    CertificateError, Config, Dtls, DtlsCertificate, Error, Output as DimplOutput, SecurityError,
    UnexpectedMessageError,
};

use super::backend::{Backend, Output, srtp_keys};
use super::inbound::{Sifted, renumber_plaintext};
use super::{FIRST_RETRANSMISSION, FIRST_RETRANSMISSION_AS_CLIENT, MTU};
use crate::transport::handshake::{DtlsRole, HandshakeError, SrtpKeys, SrtpProfile};

/// The crate panics when a certificate does not fit the buffer that it writes its output to, and a peer's
/// certificate may be as long as a handshake message.
const HANDSHAKE_BUFFER_LEN: usize = 64 * 1024;

/// Once connected: a packet. For anything longer the crate asks.
const BUFFER_LEN: usize = 2 * 1024;

/// Doubling from [`FIRST_RETRANSMISSION_AS_CLIENT`], these outlast the handshake's own deadline.
const RETRANSMISSIONS: usize = 9;

/// A timeout further away than this is the crate's way to say "none".
const FAR: Duration = Duration::from_secs(24 * 3_600);

/// Which ClientHello it answers, or sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Version {
    /// 1.3 where the peer has it, else 1.2.
    Auto,
    /// 1.2, whatever the peer offers: there the crate follows its own order of SRTP profiles, AEAD first;
    /// in 1.3 it follows the client's.
    Only1_2,
}

/// The configurations that all associations share, one for each role.
pub(super) struct Configs {
    client: Arc<Config>,
    server: Arc<Config>,
}

impl Configs {
    pub(super) fn new() -> Result<Configs, HandshakeError> {
        let client = config(FIRST_RETRANSMISSION_AS_CLIENT)?;
        let server = config(FIRST_RETRANSMISSION)?;
        Ok(Configs { client, server })
    }

    fn of(&self, role: DtlsRole) -> Arc<Config> {
        Arc::clone(match role {
            DtlsRole::Client => &self.client,
            DtlsRole::Server => &self.server,
        })
    }
}

fn config(first_retransmission: Duration) -> Result<Arc<Config>, HandshakeError> {
    Config::builder()
        .mtu(MTU)
        // ICE has validated the peer's address, which is what a cookie would do, in a round trip.
        .use_server_cookie(false)
        .flight_start_rto(first_retransmission)
        .flight_retries(RETRANSMISSIONS)
        .build()
        .map(Arc::new)
        .map_err(|_| HandshakeError::Internal("DTLS configuration"))
}

pub(super) struct DimplBackend {
    dtls: Dtls,
    role: DtlsRole,
    buffer: Vec<u8>,
    next_timeout: Option<Instant>,
    certificate: Option<Vec<u8>>,
    keys: Option<Box<SrtpKeys>>,
    complete: bool,
    reported: bool,
    /// As a client: the ClientHello until it is answered, and how often it was repeated.
    hello: Vec<u8>,
    hello_repeats: u64,
}

impl DimplBackend {
    pub(super) fn new(
        configs: &Configs,
        certificate: DtlsCertificate,
        role: DtlsRole,
        version: Version,
        now: Instant,
    ) -> DimplBackend {
        let mut dtls = match version {
            Version::Auto => Dtls::new_auto(configs.of(role), certificate, now),
            Version::Only1_2 => Dtls::new_12(configs.of(role), certificate, now),
        };
        dtls.set_active(role == DtlsRole::Client);
        DimplBackend {
            dtls,
            role,
            buffer: vec![0; HANDSHAKE_BUFFER_LEN],
            next_timeout: None,
            certificate: None,
            keys: None,
            complete: false,
            reported: false,
            hello: Vec::new(),
            hello_repeats: 0,
        }
    }

    /// The crate repeats its first ClientHello under the same record number, which a server takes for a
    /// replay and never answers: a repeat gets a number of its own (RFC 6347 §4.1), and what follows moves up.
    fn number(&mut self, packet: &mut [u8]) {
        if self.role == DtlsRole::Server {
            return;
        }
        if self.dtls.protocol_version().is_none() {
            if self.hello == packet {
                self.hello_repeats = self.hello_repeats.saturating_add(1);
            } else {
                self.hello = packet.to_vec();
            }
        }
        renumber_plaintext(packet, self.hello_repeats);
    }

    /// Takes all that it has to say. Ends at the timeout, which is always the last of a round.
    fn drain(&mut self, now: Instant, out: &mut Vec<Output>) -> Result<(), HandshakeError> {
        loop {
            match self.dtls.poll_output(&mut self.buffer) {
                DimplOutput::Packet(packet) => {
                    let mut packet = packet.to_vec();
                    self.number(&mut packet);
                    out.push(Output::Transmit(packet));
                }
                DimplOutput::BufferTooSmall { needed } => {
                    if needed <= self.buffer.len() {
                        return Err(HandshakeError::Internal("DTLS output without an end"));
                    }
                    self.buffer.resize(needed, 0);
                }
                DimplOutput::Timeout(at) => {
                    let near = at.saturating_duration_since(now) < FAR;
                    self.next_timeout = near.then_some(at);
                    break;
                }
                DimplOutput::Connected => self.complete = true,
                DimplOutput::PeerCert(der) => self.certificate = Some(der.to_vec()),
                DimplOutput::KeyingMaterial(material, profile) => {
                    let keys = srtp_keys(profile_of(profile)?, &material, self.role == DtlsRole::Client)
                        .ok_or(HandshakeError::Internal("length of exported keys"))?;
                    self.keys = Some(Box::new(keys));
                }
                DimplOutput::ApplicationData(data) => out.push(Output::ApplicationData(data.to_vec())),
                DimplOutput::CloseNotify => out.push(Output::Closed),
                // The enum may grow; what we don't know, we don't need.
                _ => {}
            }
        }
        self.report(out)
    }

    fn report(&mut self, out: &mut Vec<Output>) -> Result<(), HandshakeError> {
        if !self.complete || self.reported {
            return Ok(());
        }
        self.reported = true;
        self.buffer = vec![0; BUFFER_LEN];
        let certificate = self.certificate.take();
        let certificate = certificate.ok_or(HandshakeError::PeerFault("no certificate"))?;
        let keys = self.keys.take().ok_or(HandshakeError::Incompatible("SRTP protection profile"))?;
        // Its place is before any application data of the same round.
        let at = out.iter().position(|output| matches!(output, Output::ApplicationData(_) | Output::Closed));
        out.insert(at.unwrap_or(out.len()), Output::Connected { certificate, keys });
        Ok(())
    }
}

impl Backend for DimplBackend {
    fn receive(
        &mut self,
        now: Instant,
        sifted: &Sifted,
        out: &mut Vec<Output>,
    ) -> Result<(), HandshakeError> {
        if sifted.datagram.is_empty() {
            return Ok(());
        }
        self.dtls.handle_timeout(now).map_err(error_of)?;
        match self.dtls.handle_packet(&sifted.datagram) {
            // A stray datagram before the server's answer: the crate has changed nothing.
            Ok(())
            | Err(Error::UnexpectedMessage(UnexpectedMessageError::UnrecognizedAutoServerResponse)) => {}
            Err(error) => {
                // Its alert, if it has one.
                let _ = self.drain(now, out);
                return Err(error_of(error));
            }
        }
        self.drain(now, out)
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Output>) -> Result<(), HandshakeError> {
        self.dtls.handle_timeout(now).map_err(error_of)?;
        self.drain(now, out)
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.next_timeout
    }

    fn send_application_data(
        &mut self,
        now: Instant,
        data: &[u8],
        out: &mut Vec<Output>,
    ) -> Result<(), HandshakeError> {
        self.dtls.handle_timeout(now).map_err(error_of)?;
        self.dtls.send_application_data(data).map_err(error_of)?;
        self.drain(now, out)
    }

    fn close(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.dtls.handle_timeout(now).is_ok() && self.dtls.close().is_ok() {
            let _ = self.drain(now, out);
        }
    }
}

impl fmt::Debug for DimplBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.dtls.protocol_version();
        f.debug_struct("DimplBackend").field("role", &self.role).field("version", &version).finish()
    }
}

fn profile_of(profile: dimpl::SrtpProfile) -> Result<SrtpProfile, HandshakeError> {
    match profile {
        dimpl::SrtpProfile::AEAD_AES_128_GCM => Ok(SrtpProfile::AeadAes128Gcm),
        dimpl::SrtpProfile::AEAD_AES_256_GCM => Ok(SrtpProfile::AeadAes256Gcm),
        dimpl::SrtpProfile::AES128_CM_SHA1_80 => Ok(SrtpProfile::Aes128CmSha1_80),
        _ => Err(HandshakeError::Incompatible("SRTP protection profile")),
    }
}

/// Whose fault an error of the crate is. All of them are fatal.
fn error_of(error: Error) -> HandshakeError {
    match error {
        Error::Timeout(_) => HandshakeError::TimedOut,
        Error::ConnectionClosed | Error::SecurityError(SecurityError::FatalAlert { .. }) => {
            HandshakeError::Closed
        }
        Error::CertificateError(
            CertificateError::NoClientCertificateReceived | CertificateError::NoServerCertificateReceived,
        ) => HandshakeError::Incompatible("certificate type"),
        Error::CertificateError(_) => HandshakeError::Incompatible("certificate"),
        Error::SecurityError(
            SecurityError::NoMutuallyAcceptableCipherSuite | SecurityError::NoCommonCipherSuite,
        ) => HandshakeError::Incompatible("cipher suite"),
        Error::SecurityError(SecurityError::NoCommonKeyExchangeGroup) => {
            HandshakeError::Incompatible("key exchange group")
        }
        Error::SecurityError(SecurityError::ExtendedMasterSecretNotNegotiated) => {
            HandshakeError::Incompatible("extended master secret")
        }
        Error::SecurityError(_) => HandshakeError::PeerFault("security check"),
        Error::ReceiveQueueFull | Error::TooManyClientHelloFragments => {
            HandshakeError::PeerFault("too many records")
        }
        Error::UnexpectedMessage(_) | Error::RenegotiationAttempt | Error::IncompleteServerHello => {
            HandshakeError::PeerFault("unexpected message")
        }
        // Signatures and key shares that don't verify are reported here too.
        Error::CryptoError(_) => HandshakeError::PeerFault("cryptographic check"),
        _ => HandshakeError::Internal("DTLS library"),
    }
}

#[cfg(test)]
// The libraries speak `Instant`, and one has to come from somewhere.
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::transport::dtls::DtlsIdentity;
    use crate::transport::dtls::inbound::Inbound;

    fn backend(role: DtlsRole, version: Version, now: Instant) -> DimplBackend {
        let identity = DtlsIdentity::generate().unwrap();
        let certificate = DtlsCertificate {
            certificate: identity.certificate().to_vec(),
            private_key: identity.private_key().to_vec(),
        };
        DimplBackend::new(&Configs::new().unwrap(), certificate, role, version, now)
    }

    /// What Chromium gets: it offers 1.3 too, but in 1.2 our order of profiles counts.
    #[test]
    fn a_client_of_both_versions_is_answered_in_1_2_when_told_so() {
        let now = Instant::now();
        let mut ends =
            [backend(DtlsRole::Server, Version::Only1_2, now), backend(DtlsRole::Client, Version::Auto, now)];
        let mut doors = [Inbound::default(), Inbound::default()];
        let mut keys = [None, None];
        let mut outputs = Vec::new();
        ends[1].handle_timeout(now, &mut outputs).unwrap();
        for to in [0, 1, 0, 1, 0] {
            for output in std::mem::take(&mut outputs) {
                match output {
                    Output::Transmit(datagram) => {
                        let sifted = doors[to].sift(&datagram, false);
                        let mut answers = Vec::new();
                        ends[to].receive(now, &sifted, &mut answers).unwrap();
                        for answer in answers {
                            match answer {
                                Output::Connected { keys: ours, .. } => keys[to] = Some(ours),
                                answer => outputs.push(answer),
                            }
                        }
                    }
                    output => panic!("{output:?}"),
                }
            }
        }
        let [Some(server), Some(client)] = keys else { panic!("not connected") };
        assert_eq!(server.profile, SrtpProfile::AeadAes256Gcm);
        assert_eq!((server.local, server.remote), (client.remote, client.local));
        assert_eq!(ends[1].dtls.protocol_version(), Some(dimpl::ProtocolVersion::DTLS1_2));
    }
}
