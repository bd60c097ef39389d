//! DTLS behind a small trait: the real thing from `dimpl`, or a two-datagram exchange that gives both ends of
//! a simulation the same keys. Knows neither ICE nor SRTP packets.
//!
//! The simulated exchange: a datagram is `22, 254, 253, role (0 client, 1 server)` and 32 random bytes. The
//! client sends its own every 100 ms until it has the server's; the server answers each with its own. Both are
//! connected when they have both. The keys are those of AEAD_AES_128_GCM, cut in this order from the blocks
//! SHA-256(client random, server random, counter byte from 0): client key (16), server key (16), client
//! salt (12), server salt (12). There is no certificate and so no fingerprint check.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::certificate::generate_self_signed_certificate;
use dimpl::{Config, Dtls, DtlsCertificate, Output, SrtpProfile};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rtc_srtp::protection_profile::ProtectionProfile;

use super::crypto::Crypto;
use crate::net::Time;

/// Which side of the handshake a client takes (RFC 5763 §5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DtlsRole {
    Client,
    Server,
}

/// Hash of a certificate as declared in SDP (RFC 8122 §5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fingerprint {
    /// Lower case, as `sha-256`.
    pub algorithm: String,
    pub digest: Vec<u8>,
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.algorithm)?;
        for (i, byte) in self.digest.iter().enumerate() {
            write!(f, "{}{byte:02X}", if i == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

/// Exported master keys and salts (RFC 5764 §4.2).
#[derive(Clone)]
pub struct SrtpKeys {
    pub profile: ProtectionProfile,
    pub local_key: Vec<u8>,
    pub local_salt: Vec<u8>,
    pub remote_key: Vec<u8>,
    pub remote_salt: Vec<u8>,
}

impl fmt::Debug for SrtpKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SrtpKeys({:?})", self.profile)
    }
}

/// What comes out of a [`Handshake`].
#[derive(Debug)]
pub enum HandshakeEvent {
    Transmit(Vec<u8>),
    /// The association stands; these are the keys. Once.
    Connected(SrtpKeys),
    /// The end, with the reason.
    Failed(String),
}

/// One association. Output is drained with [`Handshake::poll`] after every call.
pub trait Handshake: fmt::Debug + Send {
    /// Begins: as a client this produces the first flight.
    fn start(&mut self, now: Time);
    /// One datagram whose first byte is in 20..=63 (RFC 7983).
    fn receive(&mut self, now: Time, datagram: &[u8]);
    fn handle_timeout(&mut self, now: Time);
    fn next_timeout(&self) -> Option<Time>;
    fn poll(&mut self) -> Option<HandshakeEvent>;
}

/// Where a client's keys come from.
pub trait KeySource: fmt::Debug + Send {
    /// The fingerprint to declare in SDP.
    fn fingerprint(&self) -> Fingerprint;
    /// An association with a peer that must have one of `remote`.
    fn handshake(&mut self, now: Time, role: DtlsRole, remote: &[Fingerprint]) -> Box<dyn Handshake>;
}

/// Real DTLS with a certificate of its own.
pub struct RealDtls {
    certificate: DtlsCertificate,
    crypto: Crypto,
}

impl fmt::Debug for RealDtls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RealDtls")
    }
}

impl RealDtls {
    /// Makes a certificate; fails only if the crypto provider does.
    pub fn new(crypto: Crypto) -> Result<RealDtls, String> {
        let certificate = generate_self_signed_certificate().map_err(|error| error.to_string())?;
        Ok(RealDtls { certificate, crypto })
    }
}

impl KeySource for RealDtls {
    fn fingerprint(&self) -> Fingerprint {
        let digest = self.crypto.sha256(&self.certificate.certificate);
        Fingerprint { algorithm: "sha-256".into(), digest }
    }

    fn handshake(&mut self, now: Time, role: DtlsRole, remote: &[Fingerprint]) -> Box<dyn Handshake> {
        let config = Config::builder()
            .flight_start_rto(Duration::from_millis(200))
            .use_server_cookie(false)
            .build()
            .map(Arc::new);
        #[allow(
            clippy::disallowed_methods,
            reason = "dimpl counts in Instants; only differences to this one are used"
        )]
        let origin = Instant::now();
        let mut failed = None;
        let dtls = match config {
            Ok(config) => {
                let mut dtls = Dtls::new_auto(config, self.certificate.clone(), origin);
                dtls.set_active(role == DtlsRole::Client);
                Some(dtls)
            }
            Err(error) => {
                failed = Some(HandshakeEvent::Failed(error.to_string()));
                None
            }
        };
        Box::new(DimplHandshake {
            dtls,
            role,
            remote: remote.to_vec(),
            crypto: self.crypto.clone(),
            origin,
            origin_time: now,
            timeout: None,
            verified: false,
            keys: None,
            connected: false,
            reported: false,
            events: failed.into_iter().collect(),
        })
    }
}

/// Large enough for any record that `dimpl` hands out, a certificate included.
const POLL_BUFFER: usize = 64 * 1024;

struct DimplHandshake {
    dtls: Option<Dtls>,
    role: DtlsRole,
    remote: Vec<Fingerprint>,
    crypto: Crypto,
    /// `dimpl` counts in `Instant`s; this one stands for `origin_time`.
    origin: Instant,
    origin_time: Time,
    timeout: Option<Time>,
    verified: bool,
    keys: Option<SrtpKeys>,
    connected: bool,
    reported: bool,
    events: VecDeque<HandshakeEvent>,
}

impl fmt::Debug for DimplHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DimplHandshake({:?})", self.role)
    }
}

impl DimplHandshake {
    fn advance(&mut self, now: Time, datagram: Option<&[u8]>) {
        let Some(dtls) = &mut self.dtls else { return };
        let mut result = dtls.handle_timeout(self.origin + now.since(self.origin_time));
        self.drain();
        if let (Ok(()), Some(datagram), Some(dtls)) = (&result, datagram, &mut self.dtls) {
            result = dtls.handle_packet(datagram);
            self.drain();
        }
        if let Err(error) = result {
            self.fail(error.to_string());
        }
    }

    fn drain(&mut self) {
        let mut buffer = vec![0; POLL_BUFFER];
        while let Some(dtls) = &mut self.dtls {
            match dtls.poll_output(&mut buffer) {
                Output::Packet(packet) => self.events.push_back(HandshakeEvent::Transmit(packet.to_vec())),
                Output::Timeout(at) => {
                    self.timeout = Some(self.origin_time + at.saturating_duration_since(self.origin));
                    break;
                }
                Output::Connected => self.connected = true,
                Output::PeerCert(der) => {
                    let digest = self.crypto.sha256(der);
                    self.verified =
                        self.remote.iter().any(|f| f.algorithm == "sha-256" && f.digest == digest);
                }
                Output::KeyingMaterial(material, profile) => {
                    self.keys = split_keys(&material, profile, self.role);
                }
                Output::CloseNotify => return self.fail("the server closed the association".into()),
                Output::BufferTooSmall { .. } => return self.fail("a DTLS record is too large".into()),
                _ => {}
            }
        }
        self.report();
    }

    fn report(&mut self) {
        if !self.connected || self.reported {
            return;
        }
        if !self.verified {
            return self.fail("the server's certificate does not match its fingerprint".into());
        }
        if let Some(keys) = self.keys.take() {
            self.reported = true;
            self.events.push_back(HandshakeEvent::Connected(keys));
        }
    }

    fn fail(&mut self, reason: String) {
        self.dtls = None;
        self.timeout = None;
        self.events.push_back(HandshakeEvent::Failed(reason));
    }
}

impl Handshake for DimplHandshake {
    fn start(&mut self, now: Time) {
        self.advance(now, None);
    }

    fn receive(&mut self, now: Time, datagram: &[u8]) {
        self.advance(now, Some(datagram));
    }

    fn handle_timeout(&mut self, now: Time) {
        if self.timeout.is_some_and(|at| at <= now) {
            self.advance(now, None);
        }
    }

    fn next_timeout(&self) -> Option<Time> {
        self.timeout
    }

    fn poll(&mut self) -> Option<HandshakeEvent> {
        self.events.pop_front()
    }
}

fn split_keys(material: &[u8], profile: SrtpProfile, role: DtlsRole) -> Option<SrtpKeys> {
    let (profile, key_len, salt_len) = match profile {
        SrtpProfile::AEAD_AES_128_GCM => (ProtectionProfile::AeadAes128Gcm, 16, 12),
        SrtpProfile::AEAD_AES_256_GCM => (ProtectionProfile::AeadAes256Gcm, 32, 12),
        SrtpProfile::AES128_CM_SHA1_80 => (ProtectionProfile::Aes128CmHmacSha1_80, 16, 14),
        _ => return None,
    };
    keys_from(material, profile, key_len, salt_len, role)
}

/// Client key, server key, client salt, server salt (RFC 5764 §4.2).
fn keys_from(
    material: &[u8],
    profile: ProtectionProfile,
    key_len: usize,
    salt_len: usize,
    role: DtlsRole,
) -> Option<SrtpKeys> {
    let (client_key, rest) = material.split_at_checked(key_len)?;
    let (server_key, rest) = rest.split_at_checked(key_len)?;
    let (client_salt, rest) = rest.split_at_checked(salt_len)?;
    let server_salt = rest.get(..salt_len)?;
    let client = (client_key.to_vec(), client_salt.to_vec());
    let server = (server_key.to_vec(), server_salt.to_vec());
    let ((local_key, local_salt), (remote_key, remote_salt)) = match role {
        DtlsRole::Client => (client, server),
        DtlsRole::Server => (server, client),
    };
    Some(SrtpKeys { profile, local_key, local_salt, remote_key, remote_salt })
}

/// Time between two datagrams of the simulated exchange.
const INJECTED_RETRY: Duration = Duration::from_millis(100);
const INJECTED_PREFIX: [u8; 3] = [22, 254, 253];

/// Keys from the simulated exchange of this file's description.
pub struct InjectedKeys {
    rng: StdRng,
    crypto: Crypto,
}

impl fmt::Debug for InjectedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InjectedKeys")
    }
}

impl InjectedKeys {
    pub fn new(seed: u64, crypto: Crypto) -> InjectedKeys {
        InjectedKeys { rng: StdRng::seed_from_u64(seed), crypto }
    }
}

impl KeySource for InjectedKeys {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint { algorithm: "sha-256".into(), digest: vec![0; 32] }
    }

    fn handshake(&mut self, _now: Time, role: DtlsRole, _remote: &[Fingerprint]) -> Box<dyn Handshake> {
        Box::new(InjectedHandshake {
            role,
            random: self.rng.random(),
            crypto: self.crypto.clone(),
            connected: false,
            timeout: None,
            events: VecDeque::new(),
        })
    }
}

struct InjectedHandshake {
    role: DtlsRole,
    random: [u8; 32],
    crypto: Crypto,
    connected: bool,
    timeout: Option<Time>,
    events: VecDeque<HandshakeEvent>,
}

impl fmt::Debug for InjectedHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InjectedHandshake({:?})", self.role)
    }
}

impl InjectedHandshake {
    fn transmit(&mut self) {
        let role = u8::from(self.role == DtlsRole::Server);
        let datagram = [&INJECTED_PREFIX[..], &[role], &self.random].concat();
        self.events.push_back(HandshakeEvent::Transmit(datagram));
    }

    fn connect(&mut self, remote: &[u8]) {
        let (client, server) = match self.role {
            DtlsRole::Client => (&self.random[..], remote),
            DtlsRole::Server => (remote, &self.random[..]),
        };
        let material: Vec<u8> =
            (0..2u8).flat_map(|counter| self.crypto.sha256(&[client, server, &[counter]].concat())).collect();
        match keys_from(&material, ProtectionProfile::AeadAes128Gcm, 16, 12, self.role) {
            Some(keys) => self.events.push_back(HandshakeEvent::Connected(keys)),
            None => self.events.push_back(HandshakeEvent::Failed("no SHA-256".into())),
        }
        self.connected = true;
        self.timeout = None;
    }
}

impl Handshake for InjectedHandshake {
    fn start(&mut self, now: Time) {
        if self.role == DtlsRole::Client && !self.connected {
            self.transmit();
            self.timeout = Some(now + INJECTED_RETRY);
        }
    }

    fn receive(&mut self, _now: Time, datagram: &[u8]) {
        let peer_role = u8::from(self.role == DtlsRole::Client);
        let Some(random) = datagram
            .strip_prefix(&INJECTED_PREFIX[..])
            .and_then(|rest| rest.strip_prefix(&[peer_role]))
            .filter(|random| random.len() == 32)
        else {
            return;
        };
        if self.role == DtlsRole::Server {
            self.transmit();
        }
        if !self.connected {
            self.connect(random);
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        if self.timeout.is_some_and(|at| at <= now) {
            self.start(now);
        }
    }

    fn next_timeout(&self) -> Option<Time> {
        self.timeout
    }

    fn poll(&mut self) -> Option<HandshakeEvent> {
        self.events.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crypto() -> Crypto {
        Crypto::new().unwrap()
    }

    /// Carries datagrams between two ends for two seconds, losing those whose number `lose` names; the keys of
    /// each.
    fn shake(
        a: &mut Box<dyn Handshake>,
        b: &mut Box<dyn Handshake>,
        lose: &[usize],
    ) -> Result<(SrtpKeys, SrtpKeys), String> {
        let (mut keys, mut sent) = ([None, None], 0);
        a.start(Time::ZERO);
        b.start(Time::ZERO);
        for ms in 0..2_000 {
            let now = Time::from_millis(ms);
            for from in [0, 1] {
                let (source, sink) = if from == 0 { (&mut *a, &mut *b) } else { (&mut *b, &mut *a) };
                source.handle_timeout(now);
                while let Some(event) = source.poll() {
                    match event {
                        HandshakeEvent::Transmit(datagram) => {
                            sent += 1;
                            if !lose.contains(&sent) {
                                sink.receive(now, &datagram);
                            }
                        }
                        HandshakeEvent::Connected(k) => keys[from] = Some(k),
                        HandshakeEvent::Failed(reason) => return Err(reason),
                    }
                }
            }
        }
        let [Some(a), Some(b)] = keys else { return Err("not connected".into()) };
        Ok((a, b))
    }

    fn assert_mirrored(a: &SrtpKeys, b: &SrtpKeys) {
        assert_eq!((&a.local_key, &a.local_salt), (&b.remote_key, &b.remote_salt));
        assert_eq!((&a.remote_key, &a.remote_salt), (&b.local_key, &b.local_salt));
        assert_ne!(a.local_key, a.remote_key);
    }

    #[test]
    fn injected_keys_agree_although_datagrams_are_lost() {
        let (mut a, mut b) = (InjectedKeys::new(1, crypto()), InjectedKeys::new(2, crypto()));
        let mut client = a.handshake(Time::ZERO, DtlsRole::Client, &[]);
        let mut server = b.handshake(Time::ZERO, DtlsRole::Server, &[]);
        let (client, server) = shake(&mut client, &mut server, &[1, 3]).unwrap();
        assert_mirrored(&client, &server);
    }

    #[test]
    fn real_handshake_exports_the_same_keys_and_checks_the_certificate() {
        let (mut a, mut b) = (RealDtls::new(crypto()).unwrap(), RealDtls::new(crypto()).unwrap());
        let mut client = a.handshake(Time::ZERO, DtlsRole::Client, &[b.fingerprint()]);
        let mut server = b.handshake(Time::ZERO, DtlsRole::Server, &[a.fingerprint()]);
        let (keys, mirrored) = shake(&mut client, &mut server, &[]).unwrap();
        assert_mirrored(&keys, &mirrored);
        assert!(matches!(keys.profile, ProtectionProfile::AeadAes128Gcm | ProtectionProfile::AeadAes256Gcm));

        let mut client = a.handshake(Time::ZERO, DtlsRole::Client, &[a.fingerprint()]);
        let mut server = b.handshake(Time::ZERO, DtlsRole::Server, &[a.fingerprint()]);
        let refused = shake(&mut client, &mut server, &[]).unwrap_err();
        assert!(refused.contains("fingerprint"), "{refused}");
    }
}
