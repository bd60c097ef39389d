//! Many clients, arbitrary order, both directions delayed: whatever happens, no promise of the protocol is broken on
//! the way, and in the end everyone sees exactly the tracks of the others.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sfu_core::event::Event;
use sfu_core::unit::{Time, TrackId, TransportId, WorkerId};
use signaling::message::Source;
use signaling::{ClientMessage, JoinRequest, Rooms, ServerMessage, SessionId};
use support::client::ModelClient;
use support::schema::Schema;
use support::worker::ModelWorker;
use support::{config, join_request};

/// One client, its connection, and what is on its way to the server.
struct Peer {
    client: ModelClient,
    session: Option<SessionId>,
    uplink: VecDeque<ClientMessage>,
}

struct World {
    rooms: Rooms,
    workers: BTreeMap<WorkerId, ModelWorker>,
    peers: Vec<Peer>,
    rng: StdRng,
    now: Time,
    schema: Schema,
    rollbacks: u32,
    resyncs: u32,
}

const SOURCES: [Source; 4] = [Source::Microphone, Source::Camera, Source::Screen, Source::ScreenAudio];

impl World {
    fn new(seed: u64, clients: u8) -> World {
        let peers = (0..clients).map(|number| Peer {
            client: ModelClient::new(number),
            session: None,
            uplink: VecDeque::new(),
        });
        World {
            rooms: Rooms::new(config(), [7; 32]),
            workers: BTreeMap::new(),
            peers: peers.collect(),
            rng: StdRng::seed_from_u64(seed),
            now: Time::ZERO,
            schema: Schema::load(),
            rollbacks: 0,
            resyncs: 0,
        }
    }

    fn step(&mut self) {
        self.now = Time(self.now.0 + 100_000_000);
        if self.rooms.next_timeout().is_some_and(|at| at <= self.now) {
            self.rooms.handle_timeout(self.now);
        }
        let index = self.rng.random_range(0..self.peers.len());
        match self.rng.random_range(0..100) {
            0..10 => self.join_or_leave(index),
            10..13 => self.lose_connection(index),
            13..20 => {
                let source = SOURCES[self.rng.random_range(0..SOURCES.len())];
                let client = &mut self.peers[index].client;
                if client.sources().len() < 4 {
                    client.publish(source);
                }
            }
            20..24 => self.peers[index].client.unpublish(),
            24..28 => self.say_something(index),
            28..40 => self.offer(index),
            40..70 => self.deliver_down(index),
            _ => self.deliver_up(index),
        }
        self.drain_commands();
    }

    fn join_or_leave(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        match peer.session {
            None => self.join(index),
            Some(_) if self.rng.random_bool(0.3) => peer.uplink.push_back(ClientMessage::Leave),
            Some(_) => {}
        }
    }

    fn join(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        let resume = Some(peer.client.resume.clone()).filter(|token| !token.is_empty());
        let request = JoinRequest { resume, ..join_request("room", &format!("client {index}")) };
        let session = self.rooms.join(self.now, request).unwrap();
        peer.session = Some(session);
        let Some(ServerMessage::Joined(snapshot)) = self.rooms.poll_message(session) else {
            panic!("the first message is not joined")
        };
        let resumed = snapshot.resumed;
        if !resumed {
            let sources = peer.client.sources();
            peer.client = ModelClient::new(index as u8);
            sources.into_iter().for_each(|source| peer.client.publish(source));
        }
        peer.client.receive(ServerMessage::Joined(snapshot));
        if resumed {
            peer.uplink.extend(peer.client.repeat_offer());
        } else {
            let transport = self.newest_transport();
            self.rooms.core_event(self.now, WorkerId(0), Event::TransportConnected { transport });
        }
    }

    fn newest_transport(&mut self) -> TransportId {
        self.drain_commands();
        let all = self.workers.values().flat_map(|worker| worker.transports.keys());
        *all.max().unwrap()
    }

    fn lose_connection(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        if let Some(session) = peer.session.take() {
            self.rooms.connection_lost(self.now, session);
            peer.uplink.clear();
        }
    }

    fn say_something(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        if let Some((track, _)) = peer.client.published.first_key_value() {
            let muted = self.rng.random_bool(0.5);
            peer.uplink.push_back(ClientMessage::Mute { track: *track, muted });
        }
        peer.uplink.push_back(ClientMessage::Ping);
    }

    fn offer(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        if peer.session.is_some()
            && let Some(offer) = peer.client.make_offer()
        {
            peer.uplink.push_back(offer);
        }
    }

    fn deliver_up(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        if let (Some(session), Some(message)) = (peer.session, peer.uplink.pop_front()) {
            // A track that this client stopped while the message was on its way: the error is right.
            if let ClientMessage::Mute { track, .. } = &message
                && !peer.client.published.contains_key(track)
            {
                return;
            }
            self.rooms.receive(self.now, session, message);
        }
    }

    fn deliver_down(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        let Some(session) = peer.session else { return };
        for _ in 0..self.rng.random_range(1..8) {
            let Some(message) = self.rooms.poll_message(session) else { break };
            let json: serde_json::Value = serde_json::from_str(&message.to_json()).unwrap();
            self.schema.check("server_message", &json).unwrap();
            if matches!(&message, ServerMessage::Error { code: signaling::ErrorCode::UnknownTrack, .. }) {
                continue;
            }
            let rollbacks = peer.client.rollbacks;
            peer.uplink.extend(peer.client.receive(message));
            self.rollbacks += peer.client.rollbacks - rollbacks;
            self.resyncs += peer.client.resyncs;
            peer.client.resyncs = 0;
            if peer.client.closed {
                assert!(self.rooms.is_ended(session));
                peer.session = None;
                peer.uplink.clear();
                peer.client = ModelClient::new(index as u8);
                break;
            }
        }
    }

    fn drain_commands(&mut self) {
        while let Some((worker, command)) = self.rooms.poll_command() {
            self.workers.entry(worker).or_default().apply(command);
        }
    }

    /// Everyone is connected and says what is left to say, until silence.
    fn settle(&mut self) {
        for index in 0..self.peers.len() {
            if self.peers[index].session.is_none() {
                self.join(index);
            }
        }
        for _ in 0..40 {
            self.now = Time(self.now.0 + 1_000_000_000);
            for index in 0..self.peers.len() {
                for _ in 0..60 {
                    self.deliver_down(index);
                }
                self.offer(index);
                while !self.peers[index].uplink.is_empty() {
                    self.deliver_up(index);
                }
                if self.peers[index].session.is_none() {
                    self.join(index);
                }
            }
            self.drain_commands();
        }
    }

    /// Each shows exactly the tracks of the others, its worker too, and each publishes what it wants to.
    fn check_converged(&self) {
        let published = |peer: &Peer| peer.client.published.keys().copied().collect::<BTreeSet<TrackId>>();
        for (index, peer) in self.peers.iter().enumerate() {
            let others = self.peers.iter().enumerate().filter(|(other, _)| *other != index);
            let expected: BTreeSet<TrackId> = others.flat_map(|(_, other)| published(other)).collect();
            let shown: BTreeSet<TrackId> = peer.client.slots.values().flatten().copied().collect();
            assert_eq!(shown, expected, "slots of client {index}");
            let announced: BTreeSet<TrackId> = peer.client.participants.values().flatten().copied().collect();
            assert_eq!(announced, expected, "announced to client {index}");
            let mut sources: Vec<Source> = peer.client.published.values().copied().collect();
            sources.sort();
            assert_eq!(sources, peer.client.sources(), "sources of client {index}");
        }
        let everything: BTreeSet<TrackId> = self.peers.iter().flat_map(published).collect();
        let transports: Vec<_> =
            self.workers.values().flat_map(|worker| worker.transports.values()).collect();
        assert_eq!(transports.len(), self.peers.len());
        for transport in transports {
            let shown: Vec<TrackId> = transport.slots.values().filter_map(|(_, source)| *source).collect();
            let expected: BTreeSet<TrackId> = everything.difference(&transport.tracks).copied().collect();
            assert_eq!(shown.len(), expected.len());
            assert_eq!(shown.into_iter().collect::<BTreeSet<_>>(), expected, "sources of a worker's slots");
        }
        assert_eq!(self.rooms.stats().tracks, everything.len());
    }
}

#[test]
fn twenty_clients_in_any_order_converge() {
    let (mut rollbacks, mut resyncs) = (0, 0);
    for seed in 0..6 {
        let mut world = World::new(seed, 20);
        for _ in 0..3_000 {
            world.step();
        }
        world.settle();
        world.check_converged();
        rollbacks += world.rollbacks;
        resyncs += world.resyncs;
    }
    assert!(rollbacks > 50, "offers crossed only {rollbacks} times: the test has lost its point");
    println!("{rollbacks} rollbacks, {resyncs} resyncs");
}

#[test]
fn slow_readers_are_resynced_and_converge() {
    let mut resyncs = 0;
    for seed in 0..4 {
        let mut world = World::new(100 + seed, 20);
        // Client 0 joins and then does not read while the others come and go.
        world.join(0);
        for _ in 0..6_000 {
            world.step_without_reading(0);
        }
        world.settle();
        world.check_converged();
        resyncs += world.resyncs;
    }
    assert!(resyncs > 0);
}

impl World {
    /// A step in which client `slow` neither reads nor loses its connection.
    fn step_without_reading(&mut self, slow: usize) {
        let index = self.rng.random_range(0..self.peers.len());
        self.now = Time(self.now.0 + 10_000_000);
        match self.rng.random_range(0..100) {
            0..10 if index != slow => self.join_or_leave(index),
            10..40 => {
                let source = SOURCES[self.rng.random_range(0..SOURCES.len())];
                if self.peers[index].client.sources().len() < 4 {
                    self.peers[index].client.publish(source);
                } else {
                    self.peers[index].client.unpublish();
                }
            }
            40..60 => self.offer(index),
            60..80 if index != slow => self.deliver_down(index),
            _ => self.deliver_up(index),
        }
        self.drain_commands();
    }
}

#[test]
fn a_thousand_joins_and_leaves_leave_nothing_behind() {
    let mut rooms = Rooms::new(config(), [1; 32]);
    let mut worker = ModelWorker::default();
    let watcher_session = rooms.join(Time::ZERO, join_request("room", "watcher")).unwrap();
    let mut watcher = ModelClient::new(99);
    let mut present: VecDeque<(SessionId, ModelClient)> = VecDeque::new();
    let mut peak = 0;
    for number in 0..1_000u32 {
        let now = Time::from_millis(u64::from(number) * 1_000);
        let session = rooms.join(now, join_request("room", &format!("visitor {number}"))).unwrap();
        let mut client = ModelClient::new((number % 90) as u8);
        client.publish(Source::Microphone);
        client.publish(Source::Camera);
        present.push_back((session, client));
        if present.len() > 5 {
            let (gone, _) = present.pop_front().unwrap();
            rooms.receive(now, gone, ClientMessage::Leave);
            while rooms.poll_message(gone).is_some() {}
            assert!(rooms.is_ended(gone));
        }
        peak = peak.max(present.len());
        for _ in 0..4 {
            exchange(&mut rooms, now, watcher_session, &mut watcher);
            for (session, client) in &mut present {
                exchange(&mut rooms, now, *session, client);
            }
        }
        while let Some((_, command)) = rooms.poll_command() {
            worker.apply(command);
        }
        assert_eq!(watcher.slots.values().flatten().count(), 2 * present.len());
    }
    // The sixth is there for a moment, before the first leaves.
    assert!(
        watcher.sections.len() <= 2 * (peak + 1),
        "{} sections for a peak of {peak}",
        watcher.sections.len()
    );
    assert_eq!(rooms.stats().participants, 6);
    for session in present.into_iter().map(|(session, _)| session).chain([watcher_session]) {
        rooms.receive(Time::from_millis(1_000_000), session, ClientMessage::Leave);
        rooms.connection_lost(Time::from_millis(1_000_000), session);
    }
    while let Some((_, command)) = rooms.poll_command() {
        worker.apply(command);
    }
    assert!(worker.transports.is_empty());
    rooms.handle_timeout(Time::from_millis(1_060_000));
    assert_eq!(rooms.stats(), signaling::RoomsStats::default());
    assert_eq!(rooms.next_timeout(), None);
}

#[test]
fn a_room_of_forty_shows_everyone_to_everyone() {
    let mut rooms = Rooms::new(config(), [1; 32]);
    let mut clients: Vec<(SessionId, ModelClient)> = Vec::new();
    for number in 0..40u8 {
        let session = rooms.join(Time::ZERO, join_request("room", &format!("visitor {number}"))).unwrap();
        let mut client = ModelClient::new(number);
        client.publish(Source::Microphone);
        client.publish(Source::Camera);
        clients.push((session, client));
        for (session, client) in &mut clients {
            let now = Time::from_millis(u64::from(number) * 10_000);
            exchange(&mut rooms, now, *session, client);
        }
    }
    let now = Time::from_millis(2_000_000);
    for _ in 0..3 {
        clients.iter_mut().for_each(|(session, client)| exchange(&mut rooms, now, *session, client));
    }
    for (_, client) in &clients {
        assert_eq!(client.slots.values().flatten().count(), 2 * 39);
        assert_eq!(client.sections.len(), 2 * 40);
        assert_eq!(client.resyncs, 0);
    }
}

fn exchange(rooms: &mut Rooms, now: Time, session: SessionId, client: &mut ModelClient) {
    while let Some(message) = rooms.poll_message(session) {
        if let Some(reply) = client.receive(message) {
            rooms.receive(now, session, reply);
        }
    }
    if let Some(offer) = client.make_offer() {
        rooms.receive(now, session, offer);
    }
}
