//! One DTLS association: what holds whatever library runs behind it. Bounds and deadlines of the
//! handshake, the choice of the library, the peer's fingerprint, and the containment of panics. Knows no record
//! and no key.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::{constant_time, digest};
use dimpl::DtlsCertificate;

use super::Shared;
use super::backend::{Backend, Output};
use super::client_hello::ClientHello;
use super::dimpl_backend::{DimplBackend, Version};
use super::inbound::{ALERT_CLOSE_NOTIFY, Inbound, Sifted};
use super::rtc_backend::RtcBackend;
use crate::transport::contain;
use crate::transport::handshake::{
    DtlsRole, Fingerprint, FingerprintAlgorithm, Handshake, HandshakeError, HandshakeEvent, SrtpKeys,
    SrtpProfile,
};
use crate::unit::Time;

/// Bytes that a peer may send before it is connected. A handshake takes 3 to 6 kB; this leaves room for
/// re-sends.
const MAX_HANDSHAKE_BYTES: usize = 64 * 1024;

/// From the first datagram, or from our ClientHello, to connected.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Without a new message of the peer's.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(15);

/// Longest application data that is sent: several times what SCTP puts into a packet.
const MAX_APPLICATION_DATA_LEN: usize = 4_096;

/// Handshake message type (RFC 8446 §4).
const CLIENT_HELLO: u8 = 1;

#[derive(Debug)]
enum Stage {
    /// As a client before `start`, as a server before the whole ClientHello.
    Waiting,
    Running(Box<dyn Backend>),
    Ended,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Association {
    shared: Arc<Shared>,
    role: DtlsRole,
    remote: Vec<Fingerprint>,
    inbound: Inbound,
    stage: Stage,
    connected: bool,
    /// `None` until the handshake has begun.
    deadline: Option<Time>,
    progress_deadline: Time,
    handshake_bytes: usize,
    events: VecDeque<HandshakeEvent>,
}

impl Association {
    pub(super) fn new(
        shared: Arc<Shared>,
        now: Time,
        role: DtlsRole,
        remote: Vec<Fingerprint>,
    ) -> Association {
        Association {
            shared,
            role,
            remote,
            inbound: Inbound::default(),
            stage: Stage::Waiting,
            connected: false,
            deadline: None,
            progress_deadline: now,
            handshake_bytes: 0,
            events: VecDeque::new(),
        }
    }

    fn begin(&mut self, now: Time) {
        if self.deadline.is_none() {
            self.deadline = Some(now + HANDSHAKE_TIMEOUT);
            self.progress_deadline = now + PROGRESS_TIMEOUT;
        }
    }

    /// Counts what a peer sends before it has shown who it is.
    fn admit(&mut self, len: usize) -> Result<(), HandshakeError> {
        if self.connected {
            return Ok(());
        }
        self.handshake_bytes = self.handshake_bytes.saturating_add(len);
        if self.handshake_bytes > MAX_HANDSHAKE_BYTES {
            return Err(HandshakeError::PeerFault("too many bytes in the handshake"));
        }
        Ok(())
    }

    /// As a server: once the ClientHello is whole, the library that answers it.
    fn choose(&mut self, now: Instant, sifted: &Sifted) -> Result<(), HandshakeError> {
        let Some(first) = sifted.messages.first() else { return Ok(()) };
        if first.kind != CLIENT_HELLO {
            return Err(HandshakeError::PeerFault("no ClientHello"));
        }
        let hello =
            ClientHello::parse(&first.body).ok_or(HandshakeError::PeerFault("malformed ClientHello"))?;
        let shared = Arc::clone(&self.shared);
        let backend = contain(|| match library_for(&hello)? {
            Library::Dimpl(version) => Ok(dimpl(&shared, DtlsRole::Server, version, now)),
            Library::Rtc(profile) => {
                Ok(Box::new(RtcBackend::new(&shared.rtc_identity, profile)?) as Box<dyn Backend>)
            }
        })?;
        self.stage = Stage::Running(backend);
        Ok(())
    }

    /// Calls the library and takes what it has to say.
    fn run(&mut self, call: impl FnOnce(&mut dyn Backend, &mut Vec<Output>) -> Result<(), HandshakeError>) {
        let Stage::Running(backend) = &mut self.stage else { return };
        let mut outputs = Vec::new();
        let result = contain(|| call(backend.as_mut(), &mut outputs));
        // Nothing may leave in answer to a peer that turns out to be somebody else.
        let stranger = outputs.iter().any(|output| match output {
            Output::Connected { certificate, .. } => !self.is_declared(certificate),
            _ => false,
        });
        if stranger {
            return self.end(HandshakeError::FingerprintMismatch);
        }
        for output in outputs {
            match output {
                Output::Transmit(datagram) => self.events.push_back(HandshakeEvent::Transmit(datagram)),
                Output::Connected { keys, .. } => self.connect(keys),
                Output::ApplicationData(data) if self.connected => {
                    self.events.push_back(HandshakeEvent::ApplicationData(data));
                }
                Output::ApplicationData(_) => {}
                Output::Closed => return self.end(HandshakeError::Closed),
            }
        }
        if let Err(error) = result {
            self.end(error);
        }
    }

    fn connect(&mut self, keys: Box<SrtpKeys>) {
        if !self.connected {
            self.connected = true;
            self.events.push_back(HandshakeEvent::Connected(keys));
        }
    }

    fn is_declared(&self, certificate: &[u8]) -> bool {
        self.remote.iter().any(|declared| {
            let algorithm = match declared.algorithm {
                FingerprintAlgorithm::Sha256 => &digest::SHA256,
                FingerprintAlgorithm::Sha384 => &digest::SHA384,
                FingerprintAlgorithm::Sha512 => &digest::SHA512,
            };
            let actual = digest::digest(algorithm, certificate);
            constant_time::verify_slices_are_equal(actual.as_ref(), &declared.digest).is_ok()
        })
    }

    fn end(&mut self, error: HandshakeError) {
        let ended = std::mem::replace(&mut self.stage, Stage::Ended);
        if matches!(ended, Stage::Ended) {
            return;
        }
        // A library that has panicked may do so again when it is dropped.
        let _ = contain(|| {
            drop(ended);
            Ok(())
        });
        self.events.push_back(HandshakeEvent::Failed(error));
    }

    fn time_out(&self) -> Option<Time> {
        let deadline = self.deadline?;
        (!self.connected).then(|| deadline.min(self.progress_deadline))
    }
}

impl Handshake for Association {
    fn start(&mut self, now: Time) {
        if self.role == DtlsRole::Server || !matches!(self.stage, Stage::Waiting) {
            return;
        }
        self.begin(now);
        let instant = self.shared.instant(now);
        let shared = Arc::clone(&self.shared);
        match contain(|| Ok(dimpl(&shared, DtlsRole::Client, Version::Auto, instant))) {
            Ok(backend) => self.stage = Stage::Running(backend),
            Err(error) => return self.end(error),
        }
        self.run(|backend, out| backend.handle_timeout(instant, out));
    }

    fn receive(&mut self, now: Time, datagram: &[u8]) {
        let waits_for_start = self.role == DtlsRole::Client && matches!(self.stage, Stage::Waiting);
        if waits_for_start || matches!(self.stage, Stage::Ended) {
            return;
        }
        self.begin(now);
        if let Err(error) = self.admit(datagram.len()) {
            return self.end(error);
        }
        let sifted = self.inbound.sift(datagram, self.connected);
        if sifted.exhausted {
            if !self.connected {
                self.end(HandshakeError::PeerFault("too many fragments or records"));
            }
            return;
        }
        if !sifted.messages.is_empty() || sifted.encrypted {
            self.progress_deadline = now + PROGRESS_TIMEOUT;
        }
        let instant = self.shared.instant(now);
        if matches!(self.stage, Stage::Waiting)
            && let Err(error) = self.choose(instant, &sifted)
        {
            return self.end(error);
        }
        if let (Some(description), Stage::Running(_)) = (sifted.alert, &self.stage) {
            return self.end(error_of_alert(description));
        }
        self.run(|backend, out| backend.receive(instant, &sifted, out));
    }

    fn handle_timeout(&mut self, now: Time) {
        if self.time_out().is_some_and(|at| now >= at) {
            return self.end(HandshakeError::TimedOut);
        }
        let instant = self.shared.instant(now);
        self.run(|backend, out| backend.handle_timeout(instant, out));
    }

    fn next_timeout(&self) -> Option<Time> {
        let backend = match &self.stage {
            Stage::Running(backend) => backend.next_timeout().map(|at| self.shared.time(at)),
            Stage::Waiting => None,
            Stage::Ended => return None,
        };
        [backend, self.time_out()].into_iter().flatten().min()
    }

    fn send_application_data(&mut self, now: Time, data: &[u8]) {
        if self.connected && data.len() <= MAX_APPLICATION_DATA_LEN {
            let instant = self.shared.instant(now);
            self.run(|backend, out| backend.send_application_data(instant, data, out));
        }
    }

    fn close(&mut self, now: Time) {
        if self.connected {
            let instant = self.shared.instant(now);
            self.run(|backend, out| {
                backend.close(instant, out);
                Ok(())
            });
        }
    }

    fn poll(&mut self) -> Option<HandshakeEvent> {
        self.events.pop_front()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Library {
    Dimpl(Version),
    Rtc(SrtpProfile),
}

/// Who answers a ClientHello, so that it gets an AEAD profile if it offers one (ADR 1).
fn library_for(hello: &ClientHello) -> Result<Library, HandshakeError> {
    let is_aead = |profile: &SrtpProfile| *profile != SrtpProfile::Aes128CmSha1_80;
    let first = hello.srtp_profiles.first();
    let first = first.ok_or(HandshakeError::Incompatible("SRTP protection profile"))?;
    let first_is_best = is_aead(first) || !hello.srtp_profiles.iter().any(is_aead);
    if hello.offers_1_3 && (first_is_best || !hello.offers_1_2) {
        return Ok(Library::Dimpl(Version::Auto));
    }
    if hello.offers_1_3 {
        return Ok(Library::Dimpl(Version::Only1_2));
    }
    if !hello.offers_1_2 {
        return Err(HandshakeError::Incompatible("version"));
    }
    if !hello.offers_mandatory_suite {
        return Err(HandshakeError::Incompatible("cipher suite"));
    }
    let ours = [SrtpProfile::AeadAes128Gcm, SrtpProfile::AeadAes256Gcm];
    let aead = ours.into_iter().find(|profile| hello.srtp_profiles.contains(profile));
    Ok(Library::Rtc(aead.unwrap_or(SrtpProfile::Aes128CmSha1_80)))
}

fn dimpl(shared: &Shared, role: DtlsRole, version: Version, now: Instant) -> Box<dyn Backend> {
    let certificate = DtlsCertificate {
        certificate: shared.identity.certificate().to_vec(),
        private_key: shared.identity.private_key().to_vec(),
    };
    Box::new(DimplBackend::new(&shared.dimpl_configs, certificate, role, version, now))
}

/// Why a peer gives up (RFC 5246 §7.2.2), as far as somebody can do something about it.
fn error_of_alert(description: u8) -> HandshakeError {
    match description {
        ALERT_CLOSE_NOTIFY => HandshakeError::Closed,
        40 => HandshakeError::Incompatible("handshake_failure alert, as an RSA certificate causes"),
        42..=46 => HandshakeError::Incompatible("certificate alert"),
        70 => HandshakeError::Incompatible("protocol_version alert"),
        71 => HandshakeError::Incompatible("insufficient_security alert"),
        _ => HandshakeError::Closed,
    }
}

/// A panic in a library ends one association, not the worker with everybody on it.
fn contain<T>(call: impl FnOnce() -> Result<T, HandshakeError>) -> Result<T, HandshakeError> {
    contain::contain(call).unwrap_or(Err(HandshakeError::Internal("panic in the DTLS library")))
}

#[cfg(test)]
// The libraries speak `Instant`, and one has to come from somewhere.
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::transport::dtls::{DtlsFactory, DtlsIdentity};

    /// A library that panics wherever it is touched.
    #[derive(Debug)]
    struct Panics;

    impl Backend for Panics {
        fn receive(&mut self, _: Instant, _: &Sifted, _: &mut Vec<Output>) -> Result<(), HandshakeError> {
            panic!("hostile bytes")
        }
        fn handle_timeout(&mut self, _: Instant, _: &mut Vec<Output>) -> Result<(), HandshakeError> {
            panic!("hostile time")
        }
        fn next_timeout(&self) -> Option<Instant> {
            None
        }
        fn send_application_data(
            &mut self,
            _: Instant,
            _: &[u8],
            _: &mut Vec<Output>,
        ) -> Result<(), HandshakeError> {
            panic!("hostile data")
        }
        fn close(&mut self, _: Instant, _: &mut Vec<Output>) {
            panic!("hostile end")
        }
    }

    impl Drop for Panics {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("hostile drop")
            }
        }
    }

    fn association() -> Association {
        let factory = DtlsFactory::new(DtlsIdentity::generate().unwrap(), Instant::now()).unwrap();
        Association::new(factory.shared, Time::ZERO, DtlsRole::Server, Vec::new())
    }

    #[test]
    fn a_panic_in_the_library_fails_one_association_and_nothing_else() {
        let calls: [fn(&mut Association); 4] = [
            |a| a.receive(Time::ZERO, &[22, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 9]),
            |a| a.handle_timeout(Time::ZERO),
            |a| a.send_application_data(Time::ZERO, b"data"),
            |a| a.close(Time::ZERO),
        ];
        for call in calls {
            let mut association = association();
            association.stage = Stage::Running(Box::new(Panics));
            association.connected = true;
            call(&mut association);
            let Some(HandshakeEvent::Failed(HandshakeError::Internal(_))) = association.poll() else {
                panic!("no failure")
            };
            call(&mut association);
            assert!(association.poll().is_none());
            assert_eq!(association.next_timeout(), None);
        }
    }

    #[test]
    fn the_library_follows_version_and_profile_order() {
        use SrtpProfile::{AeadAes128Gcm as G128, AeadAes256Gcm as G256, Aes128CmSha1_80 as Cm};
        let hello = |offers_1_3, srtp_profiles: &[SrtpProfile]| ClientHello {
            offers_1_2: true,
            offers_1_3,
            offers_mandatory_suite: true,
            srtp_profiles: srtp_profiles.to_vec(),
        };
        for (offers_1_3, profiles, expected) in [
            (true, &[G128, G256, Cm][..], Library::Dimpl(Version::Auto)),
            (true, &[Cm, G256, G128][..], Library::Dimpl(Version::Only1_2)),
            (true, &[Cm][..], Library::Dimpl(Version::Auto)),
            (false, &[Cm][..], Library::Rtc(Cm)),
            (false, &[Cm, G256, G128][..], Library::Rtc(G128)),
            (false, &[Cm, G256][..], Library::Rtc(G256)),
        ] {
            assert_eq!(library_for(&hello(offers_1_3, profiles)), Ok(expected));
        }
        assert!(library_for(&hello(true, &[])).is_err());
    }
}
