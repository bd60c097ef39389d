//! One worker's world: datagrams, commands and timeouts go in; sealed datagrams and events come out. Routes each
//! of them to the part that knows; decides nothing about media itself.

mod commands;
mod load;
mod receive;
mod timers;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use rand::SeedableRng;
use rand::rngs::StdRng;
use slab::Slab;

use crate::drop::{Counters, DropReason};
use crate::event::{CloseReason, Event};
use crate::output::{Path, SendBatch};
use crate::packet::{PeerIx, TrackIx};
use crate::peer::Peer;
use crate::publisher::{Fresh, Tracks};
use crate::room::Room;
use crate::room::forward::{self, Notice};
use crate::transport::Emitted;
use crate::transport::handshake::HandshakeFactory;
use crate::unit::{NtpTime, RoomId, Time, TrackId, TransportId};

pub use self::load::Load;
use self::timers::Timers;

/// STUN responses and handshake datagrams that may wait for the next release.
const CONTROL_MAX: usize = 4_096;
/// Compounds that may wait for the next release.
const RTCP_MAX: usize = 8_192;

type Map<K, V> = HashMap<K, V, RandomState>;

/// What an engine is told at birth.
#[derive(Clone, Debug)]
pub struct SfuConfig {
    /// Wall clock at [`Time::ZERO`], since 1900 (NTP epoch); only written into sender reports.
    pub ntp_at_zero: Duration,
    /// What libraries call [`Time::ZERO`]: they speak [`Instant`].
    pub instant_at_zero: Instant,
}

/// One worker's world. The contract is at the top of the crate.
#[derive(Debug)]
pub struct Sfu {
    config: SfuConfig,
    handshakes: Box<dyn HandshakeFactory>,
    rng: StdRng,
    peers: Slab<Peer>,
    tracks: Tracks,
    /// In order, so that events of several rooms come in an order that the seed decides.
    rooms: BTreeMap<RoomId, Room>,
    peers_by_id: Map<TransportId, PeerIx>,
    peers_by_ufrag: Map<String, PeerIx>,
    peers_by_remote: Map<SocketAddr, PeerIx>,
    tracks_by_id: Map<TrackId, TrackIx>,
    peers_ever: u32,
    timers: Timers,
    /// Received since the last release, in order.
    fresh: Vec<Fresh>,
    /// Peers whose pacer has work.
    ready: Vec<PeerIx>,
    /// Peers whose timers may have changed.
    touched: Vec<PeerIx>,
    notices: Vec<Notice>,
    control: VecDeque<(Path, Vec<u8>)>,
    rtcp: VecDeque<(PeerIx, Vec<u8>)>,
    events: VecDeque<Event>,
    counters: Counters,
}

impl Sfu {
    pub fn new(config: SfuConfig, handshakes: Box<dyn HandshakeFactory>, seed: [u8; 32]) -> Sfu {
        Sfu {
            config,
            handshakes,
            rng: StdRng::from_seed(seed),
            peers: Slab::new(),
            tracks: Slab::new(),
            rooms: BTreeMap::new(),
            peers_by_id: Map::default(),
            peers_by_ufrag: Map::default(),
            peers_by_remote: Map::default(),
            tracks_by_id: Map::default(),
            peers_ever: 0,
            timers: Timers::default(),
            fresh: Vec::new(),
            ready: Vec::new(),
            touched: Vec::new(),
            notices: Vec::new(),
            control: VecDeque::new(),
            rtcp: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Fans out what was received since the last call, and writes what is due into `batch`. Returns true when the
    /// batch was full before everything was written: send it, clear it, call again.
    pub fn release(&mut self, now: Time, batch: &mut SendBatch) -> bool {
        self.fan_out();
        let more = self.write_control(batch) || self.write_rtcp(batch) || self.write_media(batch);
        self.counters.runs_sent += batch.runs().len() as u64;
        self.counters.datagrams_sent += batch.runs().iter().map(|run| run.datagrams() as u64).sum::<u64>();
        self.reschedule(now);
        more
    }

    /// The next thing that happened, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn fan_out(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        forward::fan_out(
            &self.fresh,
            &mut self.tracks,
            &mut self.peers,
            &mut self.ready,
            &mut self.notices,
            &mut self.counters,
        );
        self.fresh.clear();
        let notices = &mut self.notices;
        for notice in notices.drain(..) {
            let (peer, slot) = match notice {
                Notice::Layer { peer, slot, .. } | Notice::Unsupported { peer, slot } => (peer, slot),
            };
            let Some(peer) = self.peers.get(peer.0) else { continue };
            let transport = peer.id;
            let source = peer.subscriber.slots.get(slot).and_then(|slot| slot.source());
            match (notice, source.and_then(|ix| self.tracks.get(ix.0))) {
                (Notice::Layer { layer, .. }, _) => {
                    self.events.push_back(Event::SlotLayer { transport, slot, layer });
                }
                (Notice::Unsupported { .. }, Some(track)) => {
                    self.events.push_back(Event::SlotUnsupported { transport, slot, track: track.spec.id });
                }
                (Notice::Unsupported { .. }, None) => {}
            }
        }
    }

    fn write_control(&mut self, batch: &mut SendBatch) -> bool {
        while let Some((path, datagram)) = self.control.front() {
            if !batch.has_room() {
                return true;
            }
            if !batch.push(*path, datagram) {
                self.counters.drop(DropReason::TooLarge);
            }
            self.control.pop_front();
        }
        false
    }

    fn write_rtcp(&mut self, batch: &mut SendBatch) -> bool {
        while !self.rtcp.is_empty() {
            if !batch.has_room() {
                return true;
            }
            let Some((ix, compound)) = self.rtcp.pop_front() else { return false };
            let Some(peer) = self.peers.get_mut(ix.0) else { continue };
            if let Err(reason) = peer.transport.send_rtcp(compound, batch) {
                self.counters.drop(reason);
            }
        }
        false
    }

    fn write_media(&mut self, batch: &mut SendBatch) -> bool {
        while let Some(ix) = self.ready.last().copied() {
            if let Some(peer) = self.peers.get_mut(ix.0) {
                if peer.subscriber.release(&peer.transport, &self.tracks, batch, &mut self.counters) {
                    return true;
                }
                peer.is_ready = false;
                touch(peer, ix, &mut self.touched);
            }
            self.ready.pop();
        }
        false
    }

    /// Marks every peer whose tracks or slots may have a new deadline, and sets its timer.
    fn reschedule(&mut self, now: Time) {
        for ix in self.touched.drain(..) {
            let Some(peer) = self.peers.get_mut(ix.0) else { continue };
            peer.is_touched = false;
            let due = peer.next_timeout(now, &self.tracks);
            if due < peer.timer {
                peer.timer = due;
                self.timers.set(due, ix, peer.serial);
            }
        }
    }

    fn ntp(&self, now: Time) -> NtpTime {
        NtpTime::from_duration(self.config.ntp_at_zero + Duration::from_nanos(now.0))
    }

    /// Hands over what a transport has to send and to tell, and acts on what it has become.
    fn poll_transport(&mut self, now: Time, ix: PeerIx) {
        use crate::transport::Progress;
        let Some(peer) = self.peers.get_mut(ix.0) else { return };
        let transport = peer.id;
        let Sfu { control, counters, events, .. } = self;
        let progress = peer.transport.poll(now, &mut |emitted| match emitted {
            Emitted::Datagram(path, datagram) => send_control(control, counters, path, datagram),
            Emitted::DataOpened => events.push_back(Event::DataOpened { transport }),
            Emitted::DataReceived(message) => {
                counters.data_messages_received += 1;
                events.push_back(Event::DataReceived { transport, message });
            }
            Emitted::DataClosed(reason) => events.push_back(Event::DataClosed { transport, reason }),
            Emitted::Dropped(reason) => counters.drop(reason),
        });
        touch(peer, ix, &mut self.touched);
        match progress {
            Some(Progress::Connected) => {
                self.events.push_back(Event::TransportConnected { transport: peer.id });
                self.want_first_keyframes(ix);
            }
            Some(Progress::Closed(reason)) => self.close(now, ix, reason),
            None => {}
        }
    }

    /// A subscriber's path stands: its slots can begin.
    fn want_first_keyframes(&mut self, ix: PeerIx) {
        let Some(peer) = self.peers.get(ix.0) else { return };
        let waiting = |slot: &crate::subscriber::slot::Slot| Some((slot.source()?, slot.waits_for()?));
        let wanted: Vec<_> = peer.subscriber.slots.iter().filter_map(waiting).collect();
        for (track, layer) in wanted {
            self.want_keyframe(track, layer);
        }
    }

    /// Ends a transport with everything that hangs on it.
    fn close(&mut self, now: Time, ix: PeerIx, reason: CloseReason) {
        let Some(mut peer) = self.peers.try_remove(ix.0) else { return };
        peer.transport.close(now);
        let (control, counters) = (&mut self.control, &mut self.counters);
        peer.transport.poll(now, &mut |emitted| {
            if let Emitted::Datagram(path, datagram) = emitted {
                send_control(control, counters, path, datagram);
            }
        });
        for track in std::mem::take(&mut peer.publisher.tracks) {
            self.remove_track(track);
        }
        for slot in peer.subscriber.slots.iter() {
            if let Some(track) = slot.source().and_then(|track| self.tracks.get_mut(track.0)) {
                track.routes.retain(|route| route.peer != ix);
            }
        }
        self.peers_by_id.remove(&peer.id);
        self.peers_by_ufrag.retain(|_, at| *at != ix);
        self.peers_by_remote.retain(|_, at| *at != ix);
        self.ready.retain(|at| *at != ix);
        self.touched.retain(|at| *at != ix);
        self.rtcp.retain(|(at, _)| *at != ix);
        if let Some(room) = self.rooms.get_mut(&peer.room) {
            room.peers -= 1;
            room.speaker.silence(peer.participant);
            if room.peers == 0 {
                self.rooms.remove(&peer.room);
            }
        }
        self.events.push_back(Event::TransportClosed { transport: peer.id, reason });
    }

    /// Removes a track from the worker; slots that showed it fall silent.
    fn remove_track(&mut self, ix: TrackIx) {
        let Some(track) = self.tracks.try_remove(ix.0) else { return };
        self.tracks_by_id.remove(&track.spec.id);
        self.fresh.retain(|fresh| fresh.source.track != ix);
        for route in track.routes {
            let Some(peer) = self.peers.get_mut(route.peer.0) else { continue };
            let Some(slot) = peer.subscriber.slots.get_mut(route.slot) else { continue };
            slot.set_source(None);
            if slot.announced.take().is_some() {
                let (transport, slot) = (peer.id, route.slot);
                self.events.push_back(Event::SlotLayer { transport, slot, layer: None });
            }
        }
    }
}

fn touch(peer: &mut Peer, ix: PeerIx, touched: &mut Vec<PeerIx>) {
    if !peer.is_touched {
        peer.is_touched = true;
        touched.push(ix);
    }
}

fn send_control(
    control: &mut VecDeque<(Path, Vec<u8>)>,
    counters: &mut Counters,
    path: Path,
    datagram: Vec<u8>,
) {
    if control.len() == CONTROL_MAX {
        counters.drop(DropReason::ControlFull);
    } else {
        control.push_back((path, datagram));
    }
}

fn queue_rtcp(
    rtcp: &mut VecDeque<(PeerIx, Vec<u8>)>,
    counters: &mut Counters,
    ix: PeerIx,
    compound: Vec<u8>,
) {
    if rtcp.len() == RTCP_MAX {
        counters.drop(DropReason::ControlFull);
    } else {
        rtcp.push_back((ix, compound));
    }
}
