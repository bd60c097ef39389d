//! A link of 10 ms each way between our association and a peer, on a virtual clock: what is lost is a
//! function of direction, flight and datagram.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sfu_core::transport::dtls::{DtlsFactory, DtlsIdentity};
use sfu_core::transport::handshake::{
    DtlsRole, Fingerprint, Handshake, HandshakeError, HandshakeEvent, HandshakeFactory, SrtpKeys,
};
use sfu_core::unit::Time;

use super::peer::Peer;

pub const DELAY: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    ToUs,
    FromUs,
}

/// A datagram about to enter the link. Datagrams that leave at one instant are one flight.
#[derive(Clone, Copy, Debug)]
pub struct Departure {
    pub direction: Direction,
    pub flight: usize,
}

pub struct Link {
    pub base: Instant,
    pub now: Time,
    pub us: Box<dyn Handshake>,
    pub peer: Box<dyn Peer>,
    pub our_keys: Option<SrtpKeys>,
    pub failure: Option<HandshakeError>,
    pub received: Vec<Vec<u8>>,
    /// Time spent in our association.
    pub cpu: Duration,
    /// When both sides had keys.
    pub connected_at: Option<Time>,
    in_flight: VecDeque<(Time, Direction, Vec<u8>)>,
    flights: [usize; 2],
    last_departure: [Option<Time>; 2],
}

impl Link {
    /// We take `role`, the peer the other one. `declared`: the fingerprint in its SDP.
    pub fn new(role: DtlsRole, peer: impl FnOnce(DtlsRole, Instant) -> Box<dyn Peer>) -> Link {
        let base = Instant::now();
        let theirs = match role {
            DtlsRole::Client => DtlsRole::Server,
            DtlsRole::Server => DtlsRole::Client,
        };
        let peer = peer(theirs, base);
        let declared = peer.fingerprint();
        Link::with_fingerprint(role, peer, &declared, base)
    }

    pub fn with_fingerprint(
        role: DtlsRole,
        peer: Box<dyn Peer>,
        declared: &Fingerprint,
        base: Instant,
    ) -> Link {
        let factory = DtlsFactory::new(DtlsIdentity::generate().unwrap(), base).unwrap();
        let us = factory.create(Time::ZERO, role, std::slice::from_ref(declared));
        let mut link = Link {
            base,
            now: Time::ZERO,
            us,
            peer,
            our_keys: None,
            failure: None,
            received: Vec::new(),
            cpu: Duration::ZERO,
            connected_at: None,
            in_flight: VecDeque::new(),
            flights: [0; 2],
            last_departure: [None; 2],
        };
        let before = Instant::now();
        link.us.start(Time::ZERO);
        link.cpu += before.elapsed();
        link.peer.start(base);
        link
    }

    fn instant(&self) -> Instant {
        self.base + Duration::from_nanos(self.now.0)
    }

    fn depart(&mut self, direction: Direction, datagram: Vec<u8>, lose: &mut dyn FnMut(Departure) -> bool) {
        let index = direction as usize;
        if self.last_departure[index].is_some_and(|at| at != self.now) {
            self.flights[index] += 1;
        }
        self.last_departure[index] = Some(self.now);
        if !lose(Departure { direction, flight: self.flights[index] }) {
            self.in_flight.push_back((self.now + DELAY, direction, datagram));
        }
    }

    fn collect(&mut self, lose: &mut dyn FnMut(Departure) -> bool) {
        while let Some(event) = self.us.poll() {
            match event {
                HandshakeEvent::Transmit(datagram) => {
                    assert!(datagram.len() <= 1_200, "{} bytes", datagram.len());
                    self.depart(Direction::FromUs, datagram, lose);
                }
                HandshakeEvent::Connected(keys) => {
                    assert!(self.our_keys.replace(*keys).is_none(), "connected twice");
                }
                HandshakeEvent::ApplicationData(data) => self.received.push(data),
                HandshakeEvent::Failed(error) => self.failure = Some(error),
            }
        }
        for datagram in self.peer.transmits() {
            self.depart(Direction::ToUs, datagram, lose);
        }
        if self.our_keys.is_some() && self.peer.keys().is_some() {
            self.connected_at.get_or_insert(self.now);
        }
    }

    /// Runs until both sides are connected, we have failed, or `until` is reached.
    pub fn run(&mut self, until: Time, mut lose: impl FnMut(Departure) -> bool) {
        loop {
            self.collect(&mut lose);
            if self.connected_at.is_some() || self.failure.is_some() {
                return;
            }
            if !self.step(until) {
                return;
            }
        }
    }

    /// Like [`Link::run`] without loss, but every datagram may be changed on its way.
    pub fn run_altered(&mut self, until: Time, mut alter: impl FnMut(Direction, &mut Vec<u8>)) {
        loop {
            let before = self.in_flight.len();
            self.collect(&mut |_| false);
            for (_, direction, datagram) in self.in_flight.iter_mut().skip(before) {
                alter(*direction, datagram);
            }
            if self.connected_at.is_some() || self.failure.is_some() || !self.step(until) {
                return;
            }
        }
    }

    /// Runs until `until`, whatever happens, without loss.
    pub fn run_on(&mut self, until: Time) {
        loop {
            self.collect(&mut |_| false);
            if !self.step(until) {
                return;
            }
        }
    }

    fn step(&mut self, until: Time) -> bool {
        let base = self.base;
        let theirs = self.peer.next_timeout();
        let theirs = theirs.map(|at| Time::ZERO + at.saturating_duration_since(base));
        let arrival = self.in_flight.front().map(|(at, ..)| *at);
        let Some(next) = [arrival, self.us.next_timeout(), theirs].into_iter().flatten().min() else {
            return false;
        };
        if next > until {
            self.now = until;
            return false;
        }
        self.now = self.now.max(next);
        if arrival.is_some_and(|at| at <= self.now) {
            let (_, direction, datagram) = self.in_flight.pop_front().unwrap();
            match direction {
                Direction::ToUs => {
                    let before = Instant::now();
                    self.us.receive(self.now, &datagram);
                    self.cpu += before.elapsed();
                }
                Direction::FromUs => self.peer.receive(self.instant(), &datagram),
            }
            return true;
        }
        if self.us.next_timeout().is_some_and(|at| at <= self.now) {
            self.us.handle_timeout(self.now);
        }
        if theirs.is_some_and(|at| at <= self.now) {
            self.peer.handle_timeout(self.instant());
        }
        true
    }
}
