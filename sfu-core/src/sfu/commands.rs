//! Carries out what the control plane asks. A command about something that is gone already is not an error: worker
//! and control plane learn of an end at different moments.

use std::collections::VecDeque;

use rand::Rng;

use crate::command::{Command, DataMessage, LayerRequest, OpenTransport, SlotSpec, TrackSpec};
use crate::drop::DropReason;
use crate::event::{CloseReason, Event};
use crate::packet::{PeerIx, TrackIx};
use crate::peer::Peer;
use crate::publisher::Publisher;
use crate::publisher::track::{Route, Track};
use crate::sfu::{Sfu, touch};
use crate::subscriber::Subscriber;
use crate::subscriber::slot::Slot;
use crate::transport::Transport;
use crate::unit::{SeqNo, SlotId, Ssrc, Time, TrackId, TransportId};

impl Sfu {
    /// Carries out one command.
    pub fn command(&mut self, now: Time, command: Command) {
        match command {
            Command::OpenTransport(open) => self.open(now, open),
            Command::SetRemote { transport, remote } => {
                let Some(ix) = self.peer(transport) else { return };
                if let Some(peer) = self.peers.get_mut(ix.0) {
                    peer.transport.set_remote(now, remote, self.handshakes.as_ref());
                }
                self.poll_transport(now, ix);
            }
            Command::RestartIce { transport, local } => {
                let Some(ix) = self.peer(transport) else { return };
                let Some(peer) = self.peers.get_mut(ix.0) else { return };
                self.peers_by_ufrag.insert(local.ufrag.clone(), ix);
                if let Some(forgotten) = peer.transport.ice.restart(local) {
                    self.peers_by_ufrag.remove(&forgotten);
                }
            }
            Command::CloseTransport { transport } => {
                if let Some(ix) = self.peer(transport) {
                    self.close(now, ix, CloseReason::Requested);
                }
            }
            Command::PublishTrack { transport, track } => self.publish(transport, track),
            Command::UnpublishTrack { track } => self.unpublish(track),
            Command::SetTrackMuted { track, muted } => self.set_muted(now, track, muted),
            Command::SetSlot { transport, slot } => self.set_slot(transport, slot),
            Command::RemoveSlot { transport, slot } => {
                self.set_slot_source(transport, slot, None);
                if let Some(ix) = self.peer(transport)
                    && let Some(peer) = self.peers.get_mut(ix.0)
                {
                    peer.subscriber.slots.retire(slot);
                }
            }
            Command::SetSlotSource { transport, slot, source } => {
                self.set_slot_source(transport, slot, source)
            }
            Command::SetSlotLayer { transport, slot, layer } => self.set_slot_layer(transport, slot, layer),
            Command::SetData { transport, remote } => {
                let Some(ix) = self.peer(transport) else { return };
                if let Some(peer) = self.peers.get_mut(ix.0) {
                    peer.transport.set_data(now, remote);
                }
                self.poll_transport(now, ix);
            }
            Command::SendData { to, message } => {
                to.iter().for_each(|transport| self.send_data(now, *transport, &message));
            }
        }
        self.reschedule(now);
    }

    fn send_data(&mut self, now: Time, transport: TransportId, message: &DataMessage) {
        let Some(ix) = self.peer(transport) else { return };
        let Some(peer) = self.peers.get_mut(ix.0) else { return };
        match peer.transport.send_data(now, message) {
            Ok(()) => {
                self.counters.data_messages_sent += 1;
                self.poll_transport(now, ix);
            }
            Err(reason) => self.counters.drop(reason),
        }
    }

    fn open(&mut self, now: Time, open: OpenTransport) {
        if self.peers_by_id.contains_key(&open.id) {
            return;
        }
        let serial = self.peers_ever;
        self.peers_ever = self.peers_ever.wrapping_add(1);
        let peer = Peer {
            id: open.id,
            participant: open.participant,
            room: open.room,
            serial,
            transport: Transport::new(now, self.config.instant_at_zero, &open),
            publisher: Publisher::new(serial, Ssrc(self.rng.random())),
            subscriber: Subscriber::default(),
            is_ready: false,
            is_touched: false,
            is_overdue: false,
            timer: Time::MAX,
        };
        let ix = PeerIx(self.peers.insert(peer));
        self.peers_by_id.insert(open.id, ix);
        self.peers_by_ufrag.insert(open.local.ufrag, ix);
        self.rooms.entry(open.room).or_default().peers += 1;
        if let Some(peer) = self.peers.get_mut(ix.0) {
            touch(peer, ix, &mut self.touched);
        }
    }

    fn publish(&mut self, transport: TransportId, spec: TrackSpec) {
        let Some(ix) = self.peer(transport) else { return };
        let Some(peer) = self.peers.get_mut(ix.0) else { return };
        peer.publisher.extensions.add(&spec.extensions);
        let track_ix = match self.tracks_by_id.get(&spec.id).copied() {
            Some(track_ix) => {
                let Some(track) = self.tracks.get_mut(track_ix.0).filter(|track| track.owner == ix) else {
                    return;
                };
                peer.publisher.bindings.declare(track_ix, &spec);
                track.update(spec);
                track_ix
            }
            None => {
                let id = spec.id;
                let track = Track::new(spec, ix, peer.participant, peer.room);
                let track_ix = TrackIx(self.tracks.insert(track));
                if let Some(track) = self.tracks.get(track_ix.0) {
                    peer.publisher.bindings.declare(track_ix, &track.spec);
                }
                peer.publisher.tracks.push(track_ix);
                self.tracks_by_id.insert(id, track_ix);
                track_ix
            }
        };
        touch(peer, ix, &mut self.touched);
        // Formats may have moved: the slots that show the track match them anew.
        let Some(track) = self.tracks.get(track_ix.0) else { return };
        for route in &track.routes {
            let Some(peer) = self.peers.get_mut(route.peer.0) else { continue };
            let Some(slot) = peer.subscriber.slots.get_mut(route.slot) else { continue };
            slot.match_formats(track);
            announce_if_unsupported(peer.id, slot, track.spec.id, &mut self.events);
        }
    }

    fn unpublish(&mut self, id: TrackId) {
        let Some(ix) = self.tracks_by_id.get(&id).copied() else { return };
        let Some(track) = self.tracks.get(ix.0) else { return };
        if let Some(owner) = self.peers.get_mut(track.owner.0) {
            owner.publisher.tracks.retain(|at| *at != ix);
            owner.publisher.bindings.remove_track(ix);
            while let Some(ssrc) = owner.publisher.bindings.take_forgotten() {
                owner.transport.forget(ssrc);
            }
        }
        self.remove_track(ix);
    }

    fn set_muted(&mut self, now: Time, id: TrackId, muted: bool) {
        let Some(ix) = self.tracks_by_id.get(&id).copied() else { return };
        let Some(track) = self.tracks.get_mut(ix.0) else { return };
        if track.spec.muted == muted {
            return;
        }
        track.spec.muted = muted;
        for route in &track.routes {
            let Some(peer) = self.peers.get_mut(route.peer.0) else { continue };
            let Some(slot) = peer.subscriber.slots.get_mut(route.slot) else { continue };
            // After unmuting the first picture must be whole.
            slot.selector.reset();
            if slot.announced.take().is_some() {
                let (transport, slot) = (peer.id, route.slot);
                self.events.push_back(Event::SlotLayer { transport, slot, layer: None });
            }
        }
        if muted && let Some(room) = self.rooms.get_mut(&track.room) {
            room.speaker.silence(track.participant);
        }
        self.timers.hurry(now);
    }

    fn set_slot(&mut self, transport: TransportId, spec: SlotSpec) {
        let Some(ix) = self.peer(transport) else { return };
        let (first, rtx_first) = (SeqNo(self.rng.random::<u16>() >> 1), SeqNo(self.rng.random::<u16>() >> 1));
        let Some(peer) = self.peers.get_mut(ix.0) else { return };
        if let Some(slot) = peer.subscriber.slots.get_mut(spec.id) {
            let source = slot.source().and_then(|track| self.tracks.get(track.0));
            slot.update(spec, source);
            if let Some(track) = source {
                announce_if_unsupported(peer.id, slot, track.spec.id, &mut self.events);
            }
        } else if peer.subscriber.slots.uses(&spec) {
            // A second count under one SSRC would seal its indices again.
            self.counters.drop(DropReason::SealedBefore);
        } else {
            peer.subscriber.slots.insert(Slot::new(spec, first, rtx_first));
        }
    }

    fn set_slot_source(&mut self, transport: TransportId, id: SlotId, source: Option<TrackId>) {
        let Some(ix) = self.peer(transport) else { return };
        let source = source.and_then(|track| self.tracks_by_id.get(&track)).copied();
        let Some(peer) = self.peers.get_mut(ix.0) else { return };
        let (room, transport) = (peer.room, peer.id);
        let Some(slot) = peer.subscriber.slots.get_mut(id) else { return };
        let route = Route { peer: ix, slot: id };
        if slot.source() == source && source.is_some() {
            return;
        }
        if let Some(track) = slot.source().and_then(|track| self.tracks.get_mut(track.0)) {
            track.routes.retain(|at| *at != route);
        }
        if slot.announced.take().is_some() {
            self.events.push_back(Event::SlotLayer { transport, slot: id, layer: None });
        }
        let track = source.and_then(|at| self.tracks.get(at.0).map(|track| (at, track)));
        let track = track.filter(|(_, track)| track.room == room);
        slot.set_source(track);
        let Some((at, track)) = track else { return };
        announce_if_unsupported(transport, slot, track.spec.id, &mut self.events);
        if let Some(track) = self.tracks.get_mut(at.0) {
            track.routes.push(route);
        }
        self.want_slot_keyframe(ix, id);
    }

    fn set_slot_layer(&mut self, transport: TransportId, id: SlotId, request: LayerRequest) {
        let Some(ix) = self.peer(transport) else { return };
        let Some(peer) = self.peers.get_mut(ix.0) else { return };
        let Some(slot) = peer.subscriber.slots.get_mut(id) else { return };
        slot.set_request(request, slot.source().and_then(|track| self.tracks.get(track.0)));
        if slot.selector.current().is_none() && slot.announced.take().is_some() {
            self.events.push_back(Event::SlotLayer { transport, slot: id, layer: None });
        }
        self.want_slot_keyframe(ix, id);
    }

    /// Asks for the keyframe that a slot waits for. Not before its path stands: the answer would be lost, and the
    /// throttle would hold back the request that counts.
    fn want_slot_keyframe(&mut self, ix: PeerIx, id: SlotId) {
        let peer = self.peers.get(ix.0).filter(|peer| peer.transport.is_connected());
        let Some(slot) = peer.and_then(|peer| peer.subscriber.slots.get(id)) else { return };
        if let (Some(track), Some(layer)) = (slot.source(), slot.waits_for()) {
            self.want_keyframe(track, layer);
        }
    }

    fn peer(&self, transport: TransportId) -> Option<PeerIx> {
        self.peers_by_id.get(&transport).copied()
    }
}

/// What a slot can carry in no codec of its source needn't wait for the first packet to be known.
fn announce_if_unsupported(
    transport: TransportId,
    slot: &mut Slot,
    track: TrackId,
    events: &mut VecDeque<Event>,
) {
    if slot.can_carry_nothing() && !std::mem::replace(&mut slot.unsupported, true) {
        events.push_back(Event::SlotUnsupported { transport, slot: slot.spec.id, track });
    }
}
