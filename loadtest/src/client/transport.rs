//! The encrypted path of a client: ICE, then DTLS, then SRTP over one address. Sorts datagrams by their first
//! byte (RFC 7983); doesn't look into media.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use rand::rngs::StdRng;
use rtp::packet::Packet;

use super::crypto::Crypto;
use super::dtls::{DtlsRole, Fingerprint, Handshake, HandshakeEvent, KeySource};
use super::ice::{Ice, IceState};
use super::sdp::{LocalTransport, RemoteDescription, Setup};
use super::srtp::{Srtp, SrtpCounters};
use crate::net::Time;

/// Datagrams that wait to be taken; a caller that never takes them loses the newest.
const TRANSMITS_MAX: usize = 16_384;

/// What a datagram was.
#[derive(Debug)]
pub enum Received {
    Rtp(Packet),
    Rtcp(Vec<Box<dyn rtcp::packet::Packet>>),
    Nothing,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TransportCounters {
    pub datagrams_received: u64,
    pub datagrams_sent: u64,
    pub srtp: SrtpCounters,
    /// First byte in no protocol's range.
    pub unknown_protocol: u64,
    /// Media before the keys.
    pub early: u64,
    /// SRTCP that decrypts to no RTCP.
    pub rtcp_unreadable: u64,
}

/// One path to the server.
#[derive(Debug)]
pub struct Transport {
    pub ice: Ice,
    keys: Box<dyn KeySource>,
    handshake: Option<Box<dyn Handshake>>,
    role: Option<DtlsRole>,
    fingerprints: Vec<Fingerprint>,
    srtp: Option<Srtp>,
    transmits: VecDeque<(SocketAddr, Vec<u8>)>,
    counters: TransportCounters,
    crypto: Crypto,
    failure: Option<String>,
    ice_connected: Option<Time>,
    connected: Option<Time>,
}

impl Transport {
    pub fn new(ice: Ice, keys: Box<dyn KeySource>, crypto: Crypto) -> Transport {
        Transport {
            ice,
            keys,
            handshake: None,
            role: None,
            fingerprints: Vec::new(),
            srtp: None,
            transmits: VecDeque::new(),
            counters: TransportCounters::default(),
            crypto,
            failure: None,
            ice_connected: None,
            connected: None,
        }
    }

    /// Our side, for SDP. `offering` leaves the DTLS role to the server (RFC 8842 §5.2).
    pub fn local(&self, offering: bool) -> LocalTransport {
        let setup = match self.role {
            Some(DtlsRole::Client) if !offering => Setup::Active,
            Some(DtlsRole::Server) if !offering => Setup::Passive,
            _ => Setup::Actpass,
        };
        LocalTransport { ice: self.ice.offered().clone(), fingerprint: self.keys.fingerprint(), setup }
    }

    /// The server's side, from its offer or answer.
    pub fn set_remote(&mut self, now: Time, remote: &RemoteDescription) {
        let role = if remote.setup == Setup::Active { DtlsRole::Server } else { DtlsRole::Client };
        self.role.get_or_insert(role);
        self.fingerprints.clone_from(&remote.fingerprints);
        self.ice.set_remote(now, remote.ice.clone(), remote.candidates.clone());
    }

    pub fn receive(&mut self, now: Time, from: SocketAddr, datagram: &[u8], rng: &mut StdRng) -> Received {
        self.counters.datagrams_received += 1;
        match datagram {
            [0..=3, ..] => {
                self.ice.receive(now, from, datagram, rng);
                self.after_ice(now);
            }
            [20..=63, ..] => {
                if let Some(handshake) = &mut self.handshake {
                    handshake.receive(now, datagram);
                }
                self.drain_handshake(now);
            }
            [128..=191, kind, ..] => return self.receive_media((192..=223).contains(kind), datagram),
            _ => self.counters.unknown_protocol += 1,
        }
        Received::Nothing
    }

    pub fn handle_timeout(&mut self, now: Time, rng: &mut StdRng) {
        self.ice.handle_timeout(now, rng);
        self.after_ice(now);
        if let Some(handshake) = &mut self.handshake {
            handshake.handle_timeout(now);
        }
        self.drain_handshake(now);
    }

    pub fn next_timeout(&self) -> Option<Time> {
        let dtls = self.handshake.as_ref().and_then(|handshake| handshake.next_timeout());
        self.ice.next_timeout().into_iter().chain(dtls).min()
    }

    pub fn send_rtp(&mut self, packet: &Packet) {
        let sealed = self.srtp.as_mut().and_then(|srtp| srtp.protect_rtp(packet));
        self.send(sealed);
    }

    pub fn send_rtcp(&mut self, packets: &[Box<dyn rtcp::packet::Packet>]) {
        let plain = rtcp::packet::marshal(packets).ok();
        let sealed = plain.and_then(|plain| self.srtp.as_mut()?.protect_rtcp(&plain));
        self.send(sealed);
    }

    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        let next = self.ice.poll_transmit().or_else(|| self.transmits.pop_front())?;
        self.counters.datagrams_sent += 1;
        Some(next)
    }

    pub fn is_connected(&self) -> bool {
        self.srtp.is_some() && self.failure.is_none()
    }

    /// When ICE had a pair, and when the keys were there.
    pub fn connected_at(&self) -> (Option<Time>, Option<Time>) {
        (self.ice_connected, self.connected)
    }

    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    pub fn counters(&self) -> TransportCounters {
        let srtp = self.srtp.as_ref().map(Srtp::counters).unwrap_or_default();
        TransportCounters { srtp, ..self.counters }
    }

    fn receive_media(&mut self, is_rtcp: bool, datagram: &[u8]) -> Received {
        let Some(srtp) = &mut self.srtp else {
            self.counters.early += 1;
            return Received::Nothing;
        };
        if !is_rtcp {
            return srtp.unprotect_rtp(datagram).map_or(Received::Nothing, Received::Rtp);
        }
        let Some(mut plain) = srtp.unprotect_rtcp(datagram) else { return Received::Nothing };
        match rtcp::packet::unmarshal::<Bytes>(&mut plain) {
            Ok(packets) => Received::Rtcp(packets),
            Err(_) => {
                self.counters.rtcp_unreadable += 1;
                Received::Nothing
            }
        }
    }

    fn after_ice(&mut self, now: Time) {
        match self.ice.state() {
            IceState::Connected => {
                self.ice_connected.get_or_insert(now);
                if self.handshake.is_none() {
                    let role = self.role.unwrap_or(DtlsRole::Client);
                    let mut handshake = self.keys.handshake(now, role, &self.fingerprints);
                    handshake.start(now);
                    self.handshake = Some(handshake);
                    self.drain_handshake(now);
                }
            }
            IceState::Failed if self.failure.is_none() => {
                self.failure = Some("no answer to ICE checks for 30 s".into());
            }
            _ => {}
        }
    }

    fn drain_handshake(&mut self, now: Time) {
        let Some(mut handshake) = self.handshake.take() else { return };
        while let Some(event) = handshake.poll() {
            match event {
                HandshakeEvent::Transmit(datagram) => self.send(Some(datagram)),
                HandshakeEvent::Connected(keys) => match Srtp::new(&keys, &self.crypto) {
                    Ok(srtp) => {
                        self.srtp = Some(srtp);
                        self.connected = Some(now);
                    }
                    Err(error) => self.failure = Some(format!("SRTP: {error}")),
                },
                HandshakeEvent::Failed(reason) => self.failure = Some(format!("DTLS: {reason}")),
            }
        }
        self.handshake = Some(handshake);
    }

    fn send(&mut self, datagram: Option<Vec<u8>>) {
        if let (Some(to), Some(datagram)) = (self.ice.selected(), datagram)
            && self.transmits.len() < TRANSMITS_MAX
        {
            self.transmits.push_back((to, datagram));
        }
    }
}
