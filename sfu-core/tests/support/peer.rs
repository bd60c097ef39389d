//! The other end of a handshake: `dimpl` or `rtc-dtls` as they are, without our adapter.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use dimpl::{Config, Dtls, DtlsCertificate, Output};
use rtc_dtls::config::{ClientAuthType, ConfigBuilder};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::crypto_provider::RTCCryptoProvider;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use sfu_core::transport::dtls::DtlsIdentity;
use sfu_core::transport::handshake::{
    DtlsRole, Fingerprint, FingerprintAlgorithm, MasterKey, SrtpKeys, SrtpProfile,
};

/// What a test asks of the other end.
pub trait Peer {
    fn start(&mut self, now: Instant);
    fn receive(&mut self, now: Instant, datagram: &[u8]);
    fn handle_timeout(&mut self, now: Instant);
    fn next_timeout(&self) -> Option<Instant>;
    fn transmits(&mut self) -> Vec<Vec<u8>>;
    fn keys(&self) -> Option<&SrtpKeys>;
    fn send(&mut self, now: Instant, data: &[u8]);
    fn received(&self) -> &[Vec<u8>];
    fn fingerprint(&self) -> Fingerprint;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    DimplAuto,
    Dimpl12,
    Rtc,
    /// `rtc-dtls` with an RSA certificate that offers AES-CM only, as GStreamer does.
    RtcRsa,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::DimplAuto, Kind::Dimpl12, Kind::Rtc, Kind::RtcRsa];

    /// A peer that takes `role`.
    pub fn peer(self, role: DtlsRole, now: Instant) -> Box<dyn Peer> {
        match self {
            Kind::DimplAuto | Kind::Dimpl12 => Box::new(DimplPeer::new(self, role, now)),
            Kind::Rtc => {
                use SrtpProtectionProfile::*;
                let profiles =
                    vec![Srtp_Aes128_Cm_Hmac_Sha1_80, Srtp_Aead_Aes_256_Gcm, Srtp_Aead_Aes_128_Gcm];
                Box::new(RtcPeer::new(role, &rcgen::PKCS_ECDSA_P256_SHA256, profiles))
            }
            Kind::RtcRsa => {
                let profiles = vec![SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80];
                Box::new(RtcPeer::new(role, &rcgen::PKCS_RSA_SHA256, profiles))
            }
        }
    }
}

pub fn fingerprint_of(certificate: &[u8], algorithm: FingerprintAlgorithm) -> Fingerprint {
    use aws_lc_rs::digest;
    let hash = match algorithm {
        FingerprintAlgorithm::Sha256 => &digest::SHA256,
        FingerprintAlgorithm::Sha384 => &digest::SHA384,
        FingerprintAlgorithm::Sha512 => &digest::SHA512,
    };
    Fingerprint { algorithm, digest: digest::digest(hash, certificate).as_ref().to_vec() }
}

fn keys(profile: SrtpProfile, material: &[u8], is_client: bool) -> SrtpKeys {
    let (key_len, salt_len) = (profile.key_len(), profile.salt_len());
    let side = |index: usize| MasterKey {
        key: material[index * key_len..][..key_len].to_vec(),
        salt: material[2 * key_len + index * salt_len..][..salt_len].to_vec(),
    };
    let (local, remote) = if is_client { (side(0), side(1)) } else { (side(1), side(0)) };
    SrtpKeys { profile, local, remote }
}

pub struct DimplPeer {
    dtls: Dtls,
    role: DtlsRole,
    certificate: Vec<u8>,
    keys: Option<SrtpKeys>,
    transmits: Vec<Vec<u8>>,
    received: Vec<Vec<u8>>,
    timeout: Option<Instant>,
    dead: bool,
}

impl DimplPeer {
    pub fn new(kind: Kind, role: DtlsRole, now: Instant) -> DimplPeer {
        let identity = DtlsIdentity::generate().unwrap();
        let certificate = DtlsCertificate {
            certificate: identity.certificate().to_vec(),
            private_key: identity.private_key().to_vec(),
        };
        let config = Config::builder()
            .flight_start_rto(Duration::from_millis(100))
            .flight_retries(8)
            .use_server_cookie(false)
            .build()
            .unwrap();
        let config = Arc::new(config);
        let mut dtls = match kind {
            Kind::Dimpl12 => Dtls::new_12(config, certificate, now),
            _ => Dtls::new_auto(config, certificate, now),
        };
        dtls.set_active(role == DtlsRole::Client);
        DimplPeer {
            dtls,
            role,
            certificate: identity.certificate().to_vec(),
            keys: None,
            transmits: Vec::new(),
            received: Vec::new(),
            timeout: None,
            dead: false,
        }
    }

    pub fn fingerprint_by(&self, algorithm: FingerprintAlgorithm) -> Fingerprint {
        fingerprint_of(&self.certificate, algorithm)
    }

    fn drain(&mut self) {
        let mut buffer = vec![0; 65_536];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(packet) => self.transmits.push(packet.to_vec()),
                Output::Timeout(at) => {
                    self.timeout = Some(at);
                    return;
                }
                Output::KeyingMaterial(material, profile) => {
                    let profile = match profile {
                        dimpl::SrtpProfile::AEAD_AES_128_GCM => SrtpProfile::AeadAes128Gcm,
                        dimpl::SrtpProfile::AEAD_AES_256_GCM => SrtpProfile::AeadAes256Gcm,
                        _ => SrtpProfile::Aes128CmSha1_80,
                    };
                    self.keys = Some(keys(profile, &material, self.role == DtlsRole::Client));
                }
                Output::ApplicationData(data) => self.received.push(data.to_vec()),
                _ => {}
            }
        }
    }
}

impl Peer for DimplPeer {
    fn start(&mut self, now: Instant) {
        self.handle_timeout(now);
    }

    fn receive(&mut self, now: Instant, datagram: &[u8]) {
        if self.dead {
            return;
        }
        self.dead = self.dtls.handle_timeout(now).is_err() || self.dtls.handle_packet(datagram).is_err();
        self.drain();
    }

    fn handle_timeout(&mut self, now: Instant) {
        if !self.dead {
            self.dead = self.dtls.handle_timeout(now).is_err();
            self.drain();
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.timeout.filter(|_| !self.dead)
    }

    fn transmits(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.transmits)
    }

    fn keys(&self) -> Option<&SrtpKeys> {
        self.keys.as_ref()
    }

    fn send(&mut self, now: Instant, data: &[u8]) {
        self.dtls.handle_timeout(now).unwrap();
        self.dtls.send_application_data(data).unwrap();
        self.drain();
    }

    fn received(&self) -> &[Vec<u8>] {
        &self.received
    }

    fn fingerprint(&self) -> Fingerprint {
        fingerprint_of(&self.certificate, FingerprintAlgorithm::Sha256)
    }
}

pub struct RtcPeer {
    endpoint: Endpoint,
    config: Arc<rtc_dtls::config::HandshakeConfig>,
    role: DtlsRole,
    certificate: Vec<u8>,
    keys: Option<SrtpKeys>,
    received: Vec<Vec<u8>>,
}

fn remote() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}

impl RtcPeer {
    pub fn new(
        role: DtlsRole,
        algorithm: &'static rcgen::SignatureAlgorithm,
        profiles: Vec<SrtpProtectionProfile>,
    ) -> RtcPeer {
        let provider = rtc_dtls::crypto_provider::default_provider().unwrap();
        RtcPeer::with_provider(role, algorithm, profiles, provider)
    }

    pub fn with_provider(
        role: DtlsRole,
        algorithm: &'static rcgen::SignatureAlgorithm,
        profiles: Vec<SrtpProtectionProfile>,
        provider: Arc<dyn RTCCryptoProvider>,
    ) -> RtcPeer {
        let names = vec!["peer".to_owned()];
        let certificate =
            Certificate::generate_self_signed_with_alg(names, algorithm, provider.crypto()).unwrap();
        let der = certificate.certificate[0].to_vec();
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(profiles)
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_insecure_skip_verify(true)
            .with_flight_interval(Duration::from_millis(100))
            .build(role == DtlsRole::Client, None)
            .unwrap();
        let config = Arc::new(config);
        let server_config = (role == DtlsRole::Server).then(|| Arc::clone(&config));
        RtcPeer {
            endpoint: Endpoint::new(remote(), TransportProtocol::UDP, server_config),
            config,
            role,
            certificate: der,
            keys: None,
            received: Vec::new(),
        }
    }

    fn export(&self) -> SrtpKeys {
        let state = self.endpoint.get_connection_state(remote()).unwrap();
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => SrtpProfile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => SrtpProfile::AeadAes256Gcm,
            _ => SrtpProfile::Aes128CmSha1_80,
        };
        let len = 2 * (profile.key_len() + profile.salt_len());
        let material = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], len).unwrap();
        keys(profile, material.as_ref(), self.role == DtlsRole::Client)
    }
}

impl Peer for RtcPeer {
    fn start(&mut self, now: Instant) {
        if self.role == DtlsRole::Client {
            self.endpoint.connect(now, remote(), Arc::clone(&self.config), None).unwrap();
        }
    }

    fn receive(&mut self, now: Instant, datagram: &[u8]) {
        let events = self.endpoint.read(now, remote(), None, BytesMut::from(datagram)).unwrap_or_default();
        for event in events {
            match event {
                EndpointEvent::HandshakeComplete => self.keys = Some(self.export()),
                EndpointEvent::ApplicationData(data) => self.received.push(data.to_vec()),
                _ => {}
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        let _ = self.endpoint.handle_timeout(remote(), now);
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout(&remote())
    }

    fn transmits(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.endpoint.poll_transmit()).map(|t| t.message.to_vec()).collect()
    }

    fn keys(&self) -> Option<&SrtpKeys> {
        self.keys.as_ref()
    }

    fn send(&mut self, now: Instant, data: &[u8]) {
        self.endpoint.write(now, remote(), data).unwrap();
    }

    fn received(&self) -> &[Vec<u8>] {
        &self.received
    }

    fn fingerprint(&self) -> Fingerprint {
        fingerprint_of(&self.certificate, FingerprintAlgorithm::Sha256)
    }
}
