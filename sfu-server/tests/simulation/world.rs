//! A whole service in one thread under a virtual clock: `loadtest` clients behind NATs and faulty links, the control
//! plane, one worker's engine. One seed is one run. Holds no opinion on what is right, but for one rule that is
//! checked at the end of every test: no packet index is sealed twice, by anybody.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::Duration;

use loadtest::client::receive::StreamStats;
use loadtest::client::signal::{ClientSignal, Kind, ServerSignal};
use loadtest::client::video::VideoStats;
use loadtest::client::{Client, ClientConfig, ClientState, ClientStats, KeyMode};
use loadtest::net::{self, Change, Filtering, LinkConfig, LinkCounters, NatId, VirtualNet};
use sfu_core::event::Event;
use sfu_core::transport::handshake::{Fingerprint, FingerprintAlgorithm};
use sfu_core::unit::{Time, WorkerId};
use sfu_core::{DropReason, Path, SendBatch, Sfu, SfuConfig};
use signaling::{
    ClientMessage, JoinError, NodeId, Rooms, RoomsConfig, ServerMessage, SessionId, WorkerInfo,
    parse_client_message,
};

use crate::handshake::InjectedKeys;

/// How often the worker's loop looks at its socket.
const STEP: Duration = Duration::from_millis(1);

/// Every client's distance to the server, one way, unless a test says otherwise.
pub const DELAY: Duration = Duration::from_millis(20);

/// More exchanges than this within one instant mean that two parts keep each other busy for ever.
const ROUNDS_MAX: usize = 64;

/// The place of a client in its world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Id(pub usize);

struct Member {
    addr: SocketAddr,
    nat: NatId,
    client: Client,
    /// The signalling connection; `None` before the join and while it is lost.
    session: Option<SessionId>,
    refused: Option<JoinError>,
    /// Messages said over the client's head.
    said: Vec<ClientSignal>,
    /// Types of the messages that the server has sent, in order.
    told: Vec<String>,
    gone: bool,
}

pub struct World {
    pub net: VirtualNet,
    pub rooms: Rooms,
    pub sfu: Sfu,
    /// Everything that the engine has told, in order.
    pub events: Vec<(Time, Event)>,
    seed: u64,
    server: SocketAddr,
    members: Vec<Member>,
    by_addr: BTreeMap<SocketAddr, Id>,
    batch: SendBatch,
    now: Time,
    digest: DefaultHasher,
}

/// A link with the usual delay and no faults.
pub fn good() -> LinkConfig {
    LinkConfig::with_delay(DELAY)
}

/// A publisher of 1 Mbit/s in one layer, about four packets a frame.
pub fn publisher(room: &str) -> ClientConfig {
    let mut config = ClientConfig::publisher(room, "publisher");
    config.track.video_bitrate = Some(1_000_000);
    config
}

pub fn subscriber(room: &str) -> ClientConfig {
    ClientConfig::subscriber(room, "subscriber")
}

impl World {
    pub fn new(seed: u64) -> World {
        World::with_rooms(seed, |_| {})
    }

    /// A world whose control plane isn't configured as usual.
    pub fn with_rooms(seed: u64, configure: impl FnOnce(&mut RoomsConfig)) -> World {
        let server: SocketAddr = "198.51.100.1:7882".parse().unwrap();
        let mut net = VirtualNet::new(seed);
        net.add_node(server, LinkConfig::default(), LinkConfig::default());
        let fingerprint = Fingerprint { algorithm: FingerprintAlgorithm::Sha256, digest: vec![1; 32] };
        let worker = WorkerInfo { id: WorkerId(0), candidates: vec![server] };
        let mut rooms = RoomsConfig::new(vec![worker], NodeId::new("AAAA").unwrap(), fingerprint);
        rooms.max_participants = 200;
        configure(&mut rooms);
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&seed.to_be_bytes());
        #[allow(
            clippy::disallowed_methods,
            reason = "libraries speak `Instant`, and one has to come from somewhere"
        )]
        let instant_at_zero = std::time::Instant::now();
        let sfu = SfuConfig { ntp_at_zero: Duration::from_secs(3_900_000_000), instant_at_zero };
        World {
            net,
            rooms: Rooms::new(rooms, secret),
            sfu: Sfu::new(sfu, Box::new(InjectedKeys { seed }), secret),
            events: Vec::new(),
            seed,
            server,
            members: Vec::new(),
            by_addr: BTreeMap::new(),
            batch: SendBatch::new(1 << 18, 256),
            now: Time::ZERO,
            digest: DefaultHasher::new(),
        }
    }

    /// A client behind a NAT of its own joins now.
    pub fn join(&mut self, config: ClientConfig, up: LinkConfig, down: LinkConfig) -> Id {
        let id = Id(self.members.len());
        let [high, low] = (id.0 as u16).to_be_bytes();
        let addr = SocketAddr::from(([10, 0, high, low], 5_000));
        let public = [192, 0, 2 + high, low].into();
        let nat = self.net.add_nat(public, Filtering::AddressAndPort);
        self.net.add_node_behind(nat, addr, up, down);
        let config = ClientConfig { keys: KeyMode::Injected, ..config };
        let client = Client::new(config, self.seed << 16 | id.0 as u64, self.net_now()).unwrap();
        self.by_addr.insert(addr, id);
        self.members.push(Member {
            addr,
            nat,
            client,
            session: None,
            refused: None,
            said: Vec::new(),
            told: Vec::new(),
            gone: false,
        });
        id
    }

    /// A publisher and a subscriber over good links, two seconds into their call.
    pub fn call(seed: u64, config: ClientConfig) -> (World, Id, Id) {
        let mut world = World::new(seed);
        let publisher = world.join(config, good(), good());
        let subscriber = world.join(subscriber("r"), good(), good());
        world.run(Duration::from_secs(2));
        assert!(world.video(subscriber).decoded > 30, "{:?}", world.stats(subscriber));
        (world, publisher, subscriber)
    }

    /// Lets time pass.
    pub fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.step();
            let next =
                self.next_event().map_or(end, |at| Time(at.0.next_multiple_of(STEP.as_nanos() as u64)));
            self.now = next.clamp(self.now + STEP, end);
        }
    }

    /// Lets time pass until something is so; how long that took. Panics after `limit`.
    pub fn until(
        &mut self,
        limit: Duration,
        what: &str,
        mut is_so: impl FnMut(&mut World) -> bool,
    ) -> Duration {
        let start = self.now;
        while !is_so(self) {
            assert!(self.now.since(start) < limit, "not within {limit:?}: {what}");
            self.run(STEP);
        }
        self.now.since(start)
    }

    /// Lets time pass; the longest part of it in which a client decoded nothing.
    pub fn longest_stall(&mut self, id: Id, span: Duration) -> Duration {
        let (end, mut longest) = (self.now + span, Duration::ZERO);
        let (mut decoded, mut since) = (self.video(id).decoded, self.now);
        while self.now < end {
            self.run(STEP);
            let seen = std::mem::replace(&mut decoded, self.video(id).decoded);
            if seen != decoded {
                since = self.now;
            }
            longest = longest.max(self.now.since(since));
        }
        longest
    }

    pub fn now(&self) -> Time {
        self.now
    }

    pub fn net_now(&self) -> net::Time {
        net::Time(self.now.0)
    }

    pub fn client(&mut self, id: Id) -> &mut Client {
        &mut self.members[id.0].client
    }

    pub fn addr(&self, id: Id) -> SocketAddr {
        self.members[id.0].addr
    }

    pub fn nat(&self, id: Id) -> NatId {
        self.members[id.0].nat
    }

    pub fn refused(&self, id: Id) -> Option<&JoinError> {
        self.members[id.0].refused.as_ref()
    }

    pub fn stats(&self, id: Id) -> ClientStats {
        self.members[id.0].client.stats(self.net_now())
    }

    pub fn state(&self, id: Id) -> ClientState {
        self.members[id.0].client.state()
    }

    /// The streams of a kind on which something came.
    pub fn streams(&self, id: Id, kind: Kind) -> Vec<StreamStats> {
        let streams = self.stats(id).streams.into_iter();
        streams.filter(|stream| stream.kind == kind && stream.reception.packets > 0).collect()
    }

    /// The one stream of a kind that a client receives, or an empty one before it has begun.
    pub fn stream(&self, id: Id, kind: Kind) -> Option<StreamStats> {
        let mut streams = self.streams(id, kind);
        assert!(streams.len() <= 1, "more than one stream: {streams:?}");
        streams.pop()
    }

    pub fn video(&self, id: Id) -> VideoStats {
        self.stream(id, Kind::Video).map(|stream| stream.video).unwrap_or_default()
    }

    pub fn uplink(&mut self, id: Id) -> LinkCounters {
        let addr = self.addr(id);
        self.net.uplink(addr).unwrap().counters()
    }

    pub fn downlink(&mut self, id: Id) -> LinkCounters {
        let addr = self.addr(id);
        self.net.downlink(addr).unwrap().counters()
    }

    /// Both directions of a client's link behave otherwise from now on.
    pub fn set_links(&mut self, id: Id, up: LinkConfig, down: LinkConfig) {
        let (at, node) = (self.net_now(), self.addr(id));
        self.net.schedule(at, Change::Uplink { node, config: up });
        self.net.schedule(at, Change::Downlink { node, config: down });
    }

    /// The client's track of a kind, by the server's name for it.
    pub fn track(&mut self, id: Id, kind: Kind) -> String {
        let published = self.client(id).published();
        published.into_iter().find(|(its, _)| *its == kind).map(|(_, track)| track).unwrap()
    }

    /// Has the signalling say something that the client doesn't know of.
    pub fn say(&mut self, id: Id, signal: ClientSignal) {
        self.members[id.0].said.push(signal);
    }

    /// Types of the messages that the client has got, in order.
    pub fn told(&self, id: Id) -> &[String] {
        &self.members[id.0].told
    }

    /// The signalling connection breaks; media goes on.
    pub fn lose_connection(&mut self, id: Id) {
        let session = self.members[id.0].session.take().unwrap();
        self.rooms.connection_lost(self.now, session);
    }

    /// The client disappears without a word.
    pub fn vanish(&mut self, id: Id) {
        self.check_member(id);
        let member = &mut self.members[id.0];
        member.gone = true;
        self.net.remove_node(member.addr);
        self.by_addr.remove(&member.addr);
        if let Some(session) = member.session.take() {
            self.rooms.connection_lost(self.now, session);
        }
    }

    /// What happened, in one number: every delivery, event and message with its time.
    pub fn digest(&self) -> (u64, u64) {
        (self.net.digest(), self.digest.finish())
    }

    /// Everything that is due now, until nothing more follows from it.
    fn step(&mut self) {
        let (now, net_now) = (self.now, self.net_now());
        for mut delivery in self.net.poll(net_now) {
            if delivery.to == self.server {
                let path = Path { local: self.server, remote: delivery.from };
                self.sfu.receive(now, path, &mut delivery.bytes);
            } else if let Some(id) = self.by_addr.get(&delivery.to) {
                self.members[id.0].client.receive(net_now, delivery.from, &delivery.bytes);
            }
        }
        if self.sfu.next_timeout().is_some_and(|at| at <= now) {
            self.sfu.handle_timeout(now);
        }
        if self.rooms.next_timeout().is_some_and(|at| at <= now) {
            self.rooms.handle_timeout(now);
        }
        for member in self.members.iter_mut().filter(|member| !member.gone) {
            if member.client.next_timeout().is_some_and(|at| at <= net_now) {
                member.client.handle_timeout(net_now);
            }
        }
        for _ in 0..ROUNDS_MAX {
            if !self.exchange() {
                return;
            }
        }
        panic!("signalling doesn't come to rest at {now:?}");
    }

    /// One round of signals, commands, events, messages and datagrams; false when there was nothing.
    fn exchange(&mut self) -> bool {
        let now = self.now;
        let mut moved = self.hear_clients();
        while let Some((_, command)) = self.rooms.poll_command() {
            moved = true;
            self.sfu.command(now, command);
        }
        self.send_from_server();
        while let Some(event) = self.sfu.poll_event() {
            moved = true;
            format!("{now:?}{event:?}").hash(&mut self.digest);
            self.events.push((now, event.clone()));
            self.rooms.core_event(now, WorkerId(0), event);
        }
        while self.rooms.poll_ready().is_some() {}
        moved |= self.tell_clients();
        let net_now = self.net_now();
        for member in self.members.iter_mut().filter(|member| !member.gone) {
            while let Some((to, datagram)) = member.client.poll_transmit() {
                self.net.send(net_now, member.addr, to, datagram);
            }
        }
        moved
    }

    /// Carries the clients' signals to the rooms, as JSON; a connection that is lost keeps them waiting.
    fn hear_clients(&mut self) -> bool {
        let (now, mut moved) = (self.now, false);
        for member in self.members.iter_mut().filter(|member| !member.gone) {
            loop {
                let signal = match member.said.pop() {
                    Some(signal) => signal,
                    None if member.session.is_none() && member.client.state() != ClientState::Joining => {
                        break;
                    }
                    None => match member.client.poll_signal() {
                        Some(signal) => signal,
                        None => break,
                    },
                };
                moved = true;
                match (receive_json(&signal), member.session) {
                    (ClientMessage::Join(join), None) => match self.rooms.join(now, join) {
                        Ok(session) => member.session = Some(session),
                        Err(error) => member.refused = Some(error),
                    },
                    (message, Some(session)) => self.rooms.receive(now, session, message),
                    (message, None) => panic!("{message:?} without a session"),
                }
            }
        }
        moved
    }

    fn tell_clients(&mut self) -> bool {
        let (now, net_now, mut moved) = (self.now, self.net_now(), false);
        for member in self.members.iter_mut().filter(|member| !member.gone) {
            let Some(session) = member.session else { continue };
            while let Some(message) = self.rooms.poll_message(session) {
                moved = true;
                let text = serde_json::to_string::<ServerMessage>(&message).unwrap();
                (now.0, member.addr, &text).hash(&mut self.digest);
                let json: serde_json::Value = serde_json::from_str(&text).unwrap();
                member.told.push(json["type"].as_str().unwrap().into());
                let signal: ServerSignal =
                    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
                member.client.handle_signal(net_now, &signal);
            }
            if self.rooms.is_ended(session) {
                self.rooms.connection_lost(now, session);
                member.session = None;
            }
        }
        moved
    }

    fn send_from_server(&mut self) {
        let (now, net_now) = (self.now, self.net_now());
        loop {
            let more = self.sfu.release(now, &mut self.batch);
            for run in self.batch.runs() {
                for datagram in self.batch.bytes(run).chunks(run.segment) {
                    self.net.send(net_now, self.server, run.path.remote, datagram.to_vec());
                }
            }
            self.batch.clear();
            if !more {
                return;
            }
        }
    }

    fn next_event(&self) -> Option<Time> {
        let present = self.members.iter().filter(|member| !member.gone);
        let clients = present.filter_map(|member| member.client.next_timeout()).chain(self.net.next_event());
        let clients = clients.map(|at| Time(at.0));
        clients.chain(self.sfu.next_timeout()).chain(self.rooms.next_timeout()).min()
    }

    fn check_member(&self, id: Id) {
        let srtp = self.stats(id).transport.srtp;
        assert_eq!(srtp.sealed_twice, 0, "two packets under one index reached client {}", id.0);
        assert_eq!((srtp.rtp_refused, srtp.rtcp_refused), (0, 0), "client {} can't open everything", id.0);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        (0..self.members.len()).filter(|at| !self.members[*at].gone).for_each(|at| self.check_member(Id(at)));
        assert_eq!(self.sfu.counters().dropped(DropReason::SealedBefore), 0);
    }
}

fn receive_json(signal: &ClientSignal) -> ClientMessage {
    let text = serde_json::to_string(signal).unwrap();
    parse_client_message(&text).unwrap_or_else(|error| panic!("{error:?}: {text}"))
}

/// Everything that a rewriting server must keep continuous was, and every frame is one of the source's.
pub fn assert_continuous(video: &VideoStats) {
    assert_eq!(
        (
            video.picture_id_violations,
            video.tl0_pic_idx_violations,
            video.timestamp_violations,
            video.unknown_content,
            video.unreadable
        ),
        (0, 0, 0, 0, 0),
        "{video:?}"
    );
}

/// Of the frames that were sent while the subscriber watched, this share came whole.
pub fn complete_ratio(video: &VideoStats) -> f64 {
    let lost = video.broken + video.missing;
    video.complete as f64 / (video.complete + lost).max(1) as f64
}
