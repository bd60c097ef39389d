//! An engine and a peer with data channels, over a virtual path with delay and loss. The peer is the `rtc-sctp` and
//! `rtc-datachannel` crates: neither our adapter nor the library behind it.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rtc_datachannel::data_channel::DataChannel;
use rtc_datachannel::message::Message;
use rtc_datachannel::message::message_channel_ack::DataChannelAck;
use rtc_datachannel::message::message_channel_open::{ChannelType, DataChannelOpen};
use rtc_sctp::{
    Association, AssociationError, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig,
    Event, Payload, PayloadProtocolIdentifier, ServerConfig, TransportConfig,
};
use rtc_shared::TransportProtocol;
use rtc_shared::marshal::{Marshal, Unmarshal};
use sfu_core::command::{Command, DataMessage, RemoteSctp};
use sfu_core::event::Event as SfuEvent;
use sfu_core::transport::handshake::DtlsRole;
use sfu_core::unit::{MessageKind, Time, TransportId};
use sfu_core::{Path, SendBatch, Sfu};

use crate::engine::{self, RECORD_HEADER};

pub const TRANSPORT: TransportId = TransportId(1);

pub const SCTP: RemoteSctp = RemoteSctp { port: 5_000, max_message_size: NonZeroU32::new(262_144) };

const STEP: Duration = Duration::from_millis(1);

/// A message as the peer got it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Got {
    pub stream: u16,
    pub text: bool,
    pub payload: Vec<u8>,
}

/// A channel that the engine has opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    pub stream: u16,
    pub channel_type: ChannelType,
    pub parameter: u32,
    pub label: String,
}

pub struct Peer {
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
    pub connected: bool,
    pub lost: bool,
    pub opened: Vec<Opened>,
    pub acked: Vec<u16>,
    pub got: Vec<Got>,
    pub closed: Vec<u16>,
    /// Doesn't read.
    pub is_deaf: bool,
}

/// Engine and peer with a path between them.
pub struct World {
    pub sfu: Sfu,
    pub peer: Peer,
    pub events: Vec<SfuEvent>,
    pub now: Time,
    /// Of a hundred packets, how many are lost; each way.
    pub loss: u32,
    pub delay: Duration,
    pub path: Path,
    /// Whom the peer's credentials belong to.
    pub name: u64,
    /// What reached the engine, newest last.
    pub sent: Vec<Vec<u8>>,
    check_due: Time,
    base: Instant,
    rng: StdRng,
    batch: SendBatch,
    up: VecDeque<(Time, Vec<u8>)>,
    down: VecDeque<(Time, Vec<u8>)>,
}

impl World {
    /// With the engine in the given role of DTLS; nothing has passed yet.
    #[allow(clippy::disallowed_methods, reason = "libraries speak `Instant`")]
    pub fn new(seed: u64, role: DtlsRole) -> World {
        let mut sfu = engine::engine();
        let base = Instant::now();
        engine::open(&mut sfu, Time::ZERO, 1);
        engine::describe(&mut sfu, Time::ZERO, 1, role);
        sfu.command(Time::ZERO, Command::SetData { transport: TRANSPORT, remote: Some(SCTP) });
        let path = engine::path(1);
        sfu.receive(Time::ZERO, path, &mut engine::check(1));
        World {
            sfu,
            peer: Peer::new(base, role == DtlsRole::Server),
            events: Vec::new(),
            now: Time::ZERO,
            loss: 0,
            delay: Duration::from_millis(20),
            path,
            name: 1,
            check_due: Time::ZERO,
            sent: Vec::new(),
            base,
            rng: StdRng::seed_from_u64(seed),
            batch: SendBatch::new(1 << 20, 1_024),
            up: VecDeque::new(),
            down: VecDeque::new(),
        }
    }

    /// With an association that stands.
    pub fn connected(seed: u64) -> World {
        let mut world = World::new(seed, DtlsRole::Server);
        world.until("the association stands", |world| world.peer.connected && world.opened());
        world
    }

    fn opened(&self) -> bool {
        self.events.contains(&SfuEvent::DataOpened { transport: TRANSPORT })
    }

    pub fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.step();
        }
    }

    pub fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut World) -> bool) {
        let start = self.now;
        while !is_so(self) {
            assert!(self.now.since(start) < Duration::from_secs(120), "not within two minutes: {what}");
            self.step();
        }
    }

    pub fn step(&mut self) {
        self.now += STEP;
        if self.now >= self.check_due {
            self.check();
        }
        let instant = self.base + Duration::from_nanos(self.now.0);
        while self.up.front().is_some_and(|(at, _)| *at <= self.now) {
            let (_, packet) = self.up.pop_front().unwrap();
            self.inject(&packet);
            self.sent.push(packet);
        }
        while self.down.front().is_some_and(|(at, _)| *at <= self.now) {
            let (_, packet) = self.down.pop_front().unwrap();
            self.peer.receive(instant, packet);
        }
        if self.sfu.next_timeout().is_some_and(|at| at <= self.now) {
            self.sfu.handle_timeout(self.now);
        }
        for packet in self.peer.poll(instant) {
            if self.rng.random_range(0..100) >= self.loss {
                self.up.push_back((self.now + self.delay, packet));
            }
        }
        self.release();
        self.events.extend(std::iter::from_fn(|| self.sfu.poll_event()));
    }

    /// Renews the peer's consent, or moves it to the path that it is on now.
    pub fn check(&mut self) {
        self.check_due = self.now + Duration::from_secs(5);
        self.sfu.receive(self.now, self.path, &mut engine::check(self.name));
    }

    fn release(&mut self) {
        let mut more = true;
        while more {
            more = self.sfu.release(self.now, &mut self.batch);
            for run in self.batch.runs() {
                for datagram in self.batch.bytes(run).chunks(run.segment) {
                    let Some(packet) = datagram.strip_prefix(&RECORD_HEADER) else { continue };
                    assert!(datagram.len() <= 1_200, "{} bytes", datagram.len());
                    if run.path == self.path && self.rng.random_range(0..100) >= self.loss {
                        self.down.push_back((self.now + self.delay, packet.to_vec()));
                    }
                }
            }
            self.batch.clear();
        }
    }

    /// Hands an SCTP packet to the engine now.
    pub fn inject(&mut self, packet: &[u8]) {
        let mut datagram = [&RECORD_HEADER, packet].concat();
        self.sfu.receive(self.now, self.path, &mut datagram);
    }

    pub fn send(&mut self, message: DataMessage) {
        self.sfu.command(self.now, Command::SendData { to: vec![TRANSPORT], message });
    }

    pub fn received(&self) -> Vec<&DataMessage> {
        let messages = self.events.iter().filter_map(|event| match event {
            SfuEvent::DataReceived { message, .. } => Some(message),
            _ => None,
        });
        messages.collect()
    }
}

pub fn text(label: &str, payload: impl Into<String>) -> DataMessage {
    DataMessage {
        label: label.to_owned(),
        channel_type: sfu_core::unit::ChannelType::RELIABLE,
        kind: MessageKind::Text,
        payload: Bytes::from(payload.into()),
    }
}

impl Peer {
    fn new(now: Instant, connects: bool) -> Peer {
        let transport = Arc::new(TransportConfig::default());
        let server = ServerConfig::new(TransportConfig::default());
        let local: SocketAddr = ([127, 0, 0, 1], 5_000).into();
        let config = Arc::new(EndpointConfig::default());
        let mut endpoint = Endpoint::new(local, TransportProtocol::UDP, config, Some(Arc::new(server)));
        let association = connects.then(|| endpoint.connect(now, ClientConfig { transport }, local).unwrap());
        Peer {
            endpoint,
            association,
            connected: false,
            lost: false,
            opened: Vec::new(),
            acked: Vec::new(),
            got: Vec::new(),
            closed: Vec::new(),
            is_deaf: false,
        }
    }

    fn receive(&mut self, now: Instant, packet: Vec<u8>) {
        let from = ([127, 0, 0, 1], 5_000).into();
        match self.endpoint.handle(now, from, None, Bytes::from(packet)) {
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                self.association.get_or_insert((handle, association));
            }
            Some((handle, DatagramEvent::AssociationEvent(event))) => {
                if let Some((ours, association)) = &mut self.association
                    && *ours == handle
                {
                    association.handle_event(event);
                }
            }
            _ => {}
        }
    }

    /// Does what is due; returns the packets to send.
    fn poll(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let Some((_, association)) = &mut self.association else { return Vec::new() };
        if association.poll_timeout().is_some_and(|at| at <= now) {
            association.handle_timeout(now);
        }
        while let Some(event) = association.poll() {
            match event {
                Event::Connected => self.connected = true,
                // So this crate says that a stream was reset.
                Event::AssociationLost { reason: AssociationError::Reset, id } => self.closed.push(id),
                Event::AssociationLost { .. } => self.lost = true,
                _ => {}
            }
        }
        if !self.is_deaf {
            self.read(now);
        }
        let mut packets = Vec::new();
        let (_, association) = self.association.as_mut().unwrap();
        while let Some(transmit) = association.poll_transmit(now) {
            if let Payload::RawEncode(raw) = transmit.message {
                packets.extend(raw.iter().map(|packet| packet.to_vec()));
            }
        }
        packets
    }

    fn read(&mut self, now: Instant) {
        let Some((_, association)) = &mut self.association else { return };
        let mut messages = Vec::new();
        let mut streams = association.stream_ids();
        streams.sort_unstable();
        for stream in streams {
            while let Ok(Some(chunks)) = association.stream(stream).and_then(|mut one| one.read()) {
                messages.push((stream, chunks.ppi, chunks.to_payload(1 << 20).unwrap().to_vec()));
            }
        }
        for (stream, ppi, payload) in messages {
            let empty = matches!(
                ppi,
                PayloadProtocolIdentifier::StringEmpty | PayloadProtocolIdentifier::BinaryEmpty
            );
            let text =
                matches!(ppi, PayloadProtocolIdentifier::String | PayloadProtocolIdentifier::StringEmpty);
            match ppi {
                PayloadProtocolIdentifier::Dcep => self.take_dcep(now, stream, &payload),
                _ if empty => self.got.push(Got { stream, text, payload: Vec::new() }),
                _ => self.got.push(Got { stream, text, payload }),
            }
        }
    }

    fn take_dcep(&mut self, now: Instant, stream: u16, payload: &[u8]) {
        match Message::unmarshal(&mut &payload[..]).unwrap() {
            Message::DataChannelOpen(open) => {
                self.opened.push(Opened {
                    stream,
                    channel_type: open.channel_type,
                    parameter: open.reliability_parameter,
                    label: String::from_utf8(open.label).unwrap(),
                });
                let ack = Message::DataChannelAck(DataChannelAck {}).marshal().unwrap();
                self.write(now, stream, PayloadProtocolIdentifier::Dcep, &ack);
            }
            Message::DataChannelAck(_) => self.acked.push(stream),
            _ => panic!("neither OPEN nor ACK"),
        }
    }

    fn write(&mut self, now: Instant, stream: u16, ppi: PayloadProtocolIdentifier, payload: &[u8]) {
        let (_, association) = self.association.as_mut().unwrap();
        association.stream(stream).unwrap().write_with_ppi(now, payload, ppi).unwrap();
    }
}

/// What the peer does.
impl World {
    fn instant(&self) -> Instant {
        self.base + Duration::from_nanos(self.now.0)
    }

    /// Opens a channel with DCEP, or without.
    pub fn open(&mut self, stream: u16, label: Option<&str>, channel_type: ChannelType, parameter: u32) {
        let now = self.instant();
        let (_, association) = self.peer.association.as_mut().unwrap();
        let mut opened = association.open_stream(stream, PayloadProtocolIdentifier::Binary).unwrap();
        let (unordered, reliability) = DataChannel::get_reliability_params(channel_type);
        opened.set_reliability_params(unordered, reliability, parameter).unwrap();
        let Some(label) = label else { return };
        let open = Message::DataChannelOpen(DataChannelOpen {
            channel_type,
            priority: 0,
            reliability_parameter: parameter,
            label: label.as_bytes().to_vec(),
            protocol: Vec::new(),
        });
        let open = open.marshal().unwrap();
        self.peer.write(now, stream, PayloadProtocolIdentifier::Dcep, &open);
    }

    pub fn say(&mut self, stream: u16, ppi: PayloadProtocolIdentifier, payload: &[u8]) {
        let now = self.instant();
        self.peer.write(now, stream, ppi, payload);
    }

    pub fn hang_up(&mut self, stream: u16) {
        let now = self.instant();
        let (_, association) = self.peer.association.as_mut().unwrap();
        association.stream(stream).unwrap().close(now).unwrap();
    }
}
