//! One real client over loopback UDP: just enough ICE-lite to be found (every Binding request is answered,
//! none is verified), our DTLS adapter, and SRTP of the `rtc-srtp` crate to open what comes.

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rtc_srtp::context::Context;
use rtc_stun::attributes::ATTR_USE_CANDIDATE;
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter};
use rtc_stun::xoraddr::XorMappedAddress;
use sfu_core::transport::dtls::DtlsFactory;
use sfu_core::transport::handshake::{
    DtlsRole, Fingerprint, Handshake, HandshakeEvent, HandshakeFactory, SrtpProfile,
};
use sfu_core::unit::Time;

use super::sdp;
use super::srtp;

pub const PWD: &str = "a-password-of-22-chars-and-more";

/// What a client achieved.
#[derive(Debug, Default)]
pub struct Outcome {
    pub profile: Option<SrtpProfile>,
    /// From the first DTLS datagram to our keys.
    pub handshake: Option<Duration>,
    /// RTP packets opened with the exported keys, by kind of failure otherwise.
    pub opened: usize,
    pub not_opened: usize,
    pub ssrcs: HashSet<u32>,
    pub failure: Option<String>,
}

/// Which DTLS datagrams get lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    None,
    /// Our first answer, all of it, once.
    FirstFlight,
    /// One in ten, both ways, by this seed.
    TenPercent(u64),
}

pub struct Session {
    socket: UdpSocket,
    base: Instant,
    handshake: Box<dyn Handshake>,
    role: DtlsRole,
    remote: Option<SocketAddr>,
    started: bool,
    first_dtls: Option<Instant>,
    first_flight: Option<Instant>,
    loss: Loss,
    random: StdRng,
    inbound: Option<Context>,
    outcome: Outcome,
}

impl Session {
    pub fn new(socket: UdpSocket, factory: &DtlsFactory, base: Instant, offer: &str, loss: Loss) -> Session {
        let role = match sdp::attribute(offer, "setup") {
            Some("passive") => DtlsRole::Client,
            _ => DtlsRole::Server,
        };
        let declared: Vec<Fingerprint> = sdp::fingerprints(offer);
        let now = Time::ZERO + base.elapsed();
        Session {
            socket,
            base,
            handshake: factory.create(now, role, &declared),
            role,
            remote: None,
            started: false,
            first_dtls: None,
            first_flight: None,
            loss,
            random: StdRng::seed_from_u64(if let Loss::TenPercent(seed) = loss { seed } else { 0 }),
            inbound: None,
            outcome: Outcome::default(),
        }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.base.elapsed()
    }

    /// Until `packets` RTP packets were opened, the handshake failed, or time is up.
    pub fn run(mut self, packets: usize, limit: Duration) -> Outcome {
        let end = Instant::now() + limit;
        let mut buffer = vec![0; 65_536];
        while self.outcome.opened < packets && self.outcome.failure.is_none() && Instant::now() < end {
            let wait =
                self.handshake.next_timeout().map_or(Duration::from_millis(50), |at| at.since(self.now()));
            let wait = wait.clamp(Duration::from_millis(1), Duration::from_millis(50));
            self.socket.set_read_timeout(Some(wait)).unwrap();
            if let Ok((len, from)) = self.socket.recv_from(&mut buffer) {
                self.receive(from, &buffer[..len]);
            }
            if self.handshake.next_timeout().is_some_and(|at| at <= self.now()) {
                self.handshake.handle_timeout(self.now());
            }
            self.flush();
        }
        self.handshake.close(self.now());
        self.flush();
        self.outcome
    }

    fn receive(&mut self, from: SocketAddr, datagram: &[u8]) {
        match datagram.first() {
            Some(0..=3) => self.answer_check(from, datagram),
            Some(20..=63) => {
                self.remote = Some(from);
                self.first_dtls.get_or_insert_with(Instant::now);
                if self.is_unlucky() {
                    return;
                }
                self.trace("in ", datagram);
                self.handshake.receive(self.now(), datagram);
            }
            Some(128..=191) => self.open(datagram),
            _ => {}
        }
    }

    fn answer_check(&mut self, from: SocketAddr, datagram: &[u8]) {
        let mut request = Message::new();
        if request.unmarshal_binary(datagram).is_err() || request.typ != BINDING_REQUEST {
            return;
        }
        let provider = rtc_dtls::crypto_provider::default_provider().unwrap();
        let integrity =
            MessageIntegrity::new_short_term_integrity_with_provider(PWD.to_owned(), provider.crypto());
        let mut response = Message::new();
        let setters: Vec<Box<dyn Setter + '_>> = vec![
            Box::new(BINDING_SUCCESS),
            Box::new(request.transaction_id),
            Box::new(XorMappedAddress { ip: from.ip(), port: from.port() }),
            Box::new(integrity),
            Box::new(FINGERPRINT),
        ];
        response.build(&setters).unwrap();
        self.socket.send_to(&response.raw, from).unwrap();
        if request.contains(ATTR_USE_CANDIDATE) || self.remote.is_none() {
            self.remote = Some(from);
        }
        if !self.started {
            self.started = true;
            if self.role == DtlsRole::Client {
                self.first_dtls.get_or_insert_with(Instant::now);
            }
            self.handshake.start(self.now());
        }
    }

    fn open(&mut self, packet: &[u8]) {
        let is_rtcp = packet.get(1).is_some_and(|kind| (192..=223).contains(kind));
        let Some(context) = self.inbound.as_mut().filter(|_| !is_rtcp && packet.len() >= 12) else { return };
        if context.decrypt_rtp(packet).is_ok() {
            self.outcome.opened += 1;
            self.outcome.ssrcs.insert(u32::from_be_bytes(packet[8..12].try_into().unwrap()));
        } else {
            self.outcome.not_opened += 1;
        }
    }

    fn flush(&mut self) {
        while let Some(event) = self.handshake.poll() {
            match event {
                HandshakeEvent::Transmit(datagram) => self.transmit(&datagram),
                HandshakeEvent::Connected(keys) => {
                    self.outcome.profile = Some(keys.profile);
                    self.outcome.handshake = self.first_dtls.map(|first| first.elapsed());
                    self.inbound = Some(srtp::context(keys.profile, &keys.remote));
                }
                HandshakeEvent::ApplicationData(_) => {}
                HandshakeEvent::Failed(error) => self.outcome.failure = Some(error.to_string()),
            }
        }
    }

    fn is_unlucky(&mut self) -> bool {
        matches!(self.loss, Loss::TenPercent(_)) && self.random.random_bool(0.1)
    }

    /// With `SFU_CLIENT_OUTPUT`: when which record types passed.
    fn trace(&self, direction: &str, datagram: &[u8]) {
        if std::env::var_os("SFU_CLIENT_OUTPUT").is_none() {
            return;
        }
        let mut kinds = String::new();
        let mut rest = datagram;
        while let Some((header, tail)) = rest.split_first_chunk::<13>() {
            let epoch = u16::from_be_bytes([header[3], header[4]]);
            kinds += &format!(" {}/{epoch}:{}", header[0], tail.first().copied().unwrap_or(0));
            rest = tail.get(usize::from(u16::from_be_bytes([header[11], header[12]]))..).unwrap_or_default();
        }
        println!(
            "    {:7.1} ms {direction} {:5} bytes{kinds}",
            self.base.elapsed().as_secs_f64() * 1e3,
            datagram.len()
        );
    }

    fn transmit(&mut self, datagram: &[u8]) {
        self.trace("out", datagram);
        let first = *self.first_flight.get_or_insert_with(Instant::now);
        let in_first_flight = first.elapsed() < Duration::from_millis(20);
        if self.is_unlucky() || (self.loss == Loss::FirstFlight && in_first_flight) {
            return;
        }
        if let Some(remote) = self.remote {
            let _ = self.socket.send_to(datagram, remote);
        }
    }
}
