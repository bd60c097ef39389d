//! The whole timer story: every peer has at most one deadline in a heap, and the worker has one tick. A timer that
//! was moved leaves its old entry behind, which is recognised when it comes up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::event::{CloseReason, Event};
use crate::packet::PeerIx;
use crate::sfu::{Sfu, queue_rtcp, touch};
use crate::transport::ice_lite::Consent;
use crate::unit::{LayerId, Time, TrackId};

/// How often layers that fell silent and speakers are looked for.
const TICK: Duration = Duration::from_millis(100);
/// How long a slot may wait for a keyframe until that is worth telling: a publisher that heeds requests has answered by then,
/// over a bad path too.
const KEYFRAME_OVERDUE: Duration = Duration::from_secs(1);
/// Slots that wait are looked for every fifth tick.
const TICKS_PER_WAITING: u32 = 5;
/// Speakers are announced every second tick: five times a second at most.
const TICKS_PER_SPEAKERS: u32 = 2;

#[derive(Debug, Default)]
pub struct Timers {
    peers: BinaryHeap<Reverse<(Time, PeerIx, u32)>>,
    tick: Time,
    ticks: u32,
}

impl Timers {
    pub fn set(&mut self, due: Time, peer: PeerIx, serial: u32) {
        self.peers.push(Reverse((due, peer, serial)));
    }

    /// Brings the tick forward to `now`.
    pub fn hurry(&mut self, now: Time) {
        self.tick = self.tick.min(now);
    }

    /// Entries in the heap, stale ones counted.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    fn pop_due(&mut self, now: Time) -> Option<(Time, PeerIx, u32)> {
        let Reverse((due, ..)) = *self.peers.peek()?;
        if due > now {
            return None;
        }
        self.peers.pop().map(|Reverse(timer)| timer)
    }
}

impl Sfu {
    /// When [`Sfu::handle_timeout`] is wanted next.
    pub fn next_timeout(&self) -> Option<Time> {
        let peer = self.timers.peers.peek().map(|Reverse((due, ..))| *due);
        let tick = (!self.tracks.is_empty()).then_some(self.timers.tick);
        [peer, tick].into_iter().flatten().min()
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some((due, ix, serial)) = self.timers.pop_due(now) {
            let Some(peer) = self.peers.get_mut(ix.0) else { continue };
            if peer.serial == serial && peer.timer == due {
                peer.timer = Time::MAX;
                touch(peer, ix, &mut self.touched);
                self.peer_timeout(now, ix);
            }
        }
        if now >= self.timers.tick && !self.tracks.is_empty() {
            self.timers.tick = now + TICK;
            self.timers.ticks = self.timers.ticks.wrapping_add(1);
            self.refresh_layers(now);
            if self.timers.ticks.is_multiple_of(TICKS_PER_SPEAKERS) {
                self.announce_speakers(now);
            }
            if self.timers.ticks.is_multiple_of(TICKS_PER_WAITING) {
                self.announce_waiting(now);
            }
        }
        self.reschedule(now);
    }

    fn peer_timeout(&mut self, now: Time, ix: PeerIx) {
        let ntp = self.ntp(now);
        let Some(peer) = self.peers.get_mut(ix.0) else { return };
        peer.transport.handle_timeout(now);
        match peer.transport.ice.consent(now) {
            Consent::Expired => {
                let never = peer.transport.ice.selected().is_none();
                let reason = if never { CloseReason::IceTimeout } else { CloseReason::ConsentExpired };
                return self.close(now, ix, reason);
            }
            Consent::Overdue if !peer.is_overdue => {
                peer.is_overdue = true;
                self.events.push_back(Event::TransportDisconnected { transport: peer.id });
            }
            _ => {}
        }
        if peer.transport.is_connected() {
            let (rtcp, counters) = (&mut self.rtcp, &mut self.counters);
            let mut compounds = Vec::new();
            peer.publisher
                .poll_feedback(now, &mut self.tracks, counters, &mut |compound| compounds.push(compound));
            peer.subscriber.poll_reports(now, ntp, &self.tracks, &mut |compound| compounds.push(compound));
            for compound in compounds {
                queue_rtcp(rtcp, counters, ix, compound);
            }
        }
        self.poll_transport(now, ix);
    }

    /// Looks which layers arrive, and moves the slots that are concerned.
    fn refresh_layers(&mut self, now: Time) {
        let mut changed: Vec<(TrackId, Vec<LayerId>)> = Vec::new();
        for (_, track) in &mut self.tracks {
            if !track.refresh_arriving(now) {
                continue;
            }
            changed.push((track.spec.id, track.arriving.clone()));
            let mut wanted = Vec::new();
            for route in &track.routes {
                let Some(peer) = self.peers.get_mut(route.peer.0) else { continue };
                let connected = peer.transport.is_connected();
                let Some(slot) = peer.subscriber.slots.get_mut(route.slot) else { continue };
                slot.selector.retarget(&track.arriving);
                wanted.extend(slot.waits_for().filter(|_| connected));
            }
            for layer in wanted {
                track.want_keyframe(layer);
            }
            if let Some(owner) = self.peers.get_mut(track.owner.0) {
                touch(owner, track.owner, &mut self.touched);
            }
        }
        for (track, layers) in changed {
            self.events.push_back(Event::TrackLayers { track, layers });
        }
    }

    /// Tells once of each slot that has nothing to show because its publisher sends no keyframe.
    fn announce_waiting(&mut self, now: Time) {
        for (_, track) in self.tracks.iter().filter(|(_, track)| track.is_video()) {
            for route in &track.routes {
                let Some(peer) = self.peers.get_mut(route.peer.0) else { continue };
                let connected = peer.transport.is_connected();
                let Some(slot) = peer.subscriber.slots.get_mut(route.slot) else { continue };
                if slot.keyframe_overdue(now, connected, KEYFRAME_OVERDUE) {
                    let (transport, slot) = (peer.id, route.slot);
                    self.events.push_back(Event::SlotLayer { transport, slot, layer: None });
                }
            }
        }
    }

    fn announce_speakers(&mut self, now: Time) {
        for (id, room) in &mut self.rooms {
            if let Some(speakers) = room.speaker.poll(now) {
                self.events.push_back(Event::Speakers { room: *id, speakers });
            }
        }
    }
}
