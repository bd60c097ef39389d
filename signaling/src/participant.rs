//! One participant: its tracks, its wishes, its transport's negotiation, and what its client and its worker were last
//! told. Wishes are desired state; [`Participant::sync_client`] and [`Participant::sync_worker`] say what has changed
//! since. Knows nothing of the others in the room.

use std::collections::{BTreeMap, BTreeSet};

use sfu_core::command::{Command, LayerRequest, RemoteSctp, SlotSpec, TrackSpec};
use sfu_core::unit::{LayerId, Mid, ParticipantId, SlotId, Time, TrackId, TransportId, WorkerId};

use crate::data::DataLimits;
use crate::message::{
    LayerPreference, NoLayerReason, ParticipantState, ParticipantView, PublishedView, ServerMessage,
    SlotView, Source, TrackView,
};
use crate::negotiate::Negotiation;
use crate::resource::{Protocol, Resource};
use crate::session::{Outbox, SessionId};
use crate::slots::{Group, SlotState, Wanted};
use crate::viewer::Viewer;

/// A published track.
#[derive(Debug)]
pub struct Track {
    pub source: Source,
    /// Which m-section it comes through.
    pub section: usize,
    pub mid: Option<Mid>,
    /// As the worker knows it, mute included.
    pub spec: TrackSpec,
    /// Layers that arrive at the worker.
    pub layers: Vec<LayerId>,
}

impl Track {
    pub fn view(&self) -> TrackView {
        TrackView { id: self.spec.id, kind: self.spec.kind, source: self.source, muted: self.spec.muted }
    }
}

/// How the transport is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Connectivity {
    /// Not up yet; the participant ends at the deadline.
    Connecting {
        deadline: Time,
    },
    Connected,
    Disconnected,
}

/// How a participant is signalled.
#[derive(Debug)]
pub enum FrontEnd {
    /// Messages over a connection that may be lost and resumed.
    Socket,
    /// An encoder: everybody sees it, and it is told nothing.
    Whip(Resource),
    /// A player: nobody sees it, and it is told nothing.
    Whep(Viewer),
}

impl FrontEnd {
    pub fn resource(&self) -> Option<&Resource> {
        match self {
            FrontEnd::Socket => None,
            FrontEnd::Whip(resource) => Some(resource),
            FrontEnd::Whep(viewer) => Some(&viewer.resource),
        }
    }

    pub fn resource_mut(&mut self) -> Option<&mut Resource> {
        match self {
            FrontEnd::Socket => None,
            FrontEnd::Whip(resource) => Some(resource),
            FrontEnd::Whep(viewer) => Some(&mut viewer.resource),
        }
    }

    /// `None` for a connection.
    pub fn protocol(&self) -> Option<Protocol> {
        match self {
            FrontEnd::Socket => None,
            FrontEnd::Whip(_) => Some(Protocol::Whip),
            FrontEnd::Whep(_) => Some(Protocol::Whep),
        }
    }

    /// The others don't know of it.
    pub fn is_hidden(&self) -> bool {
        matches!(self, FrontEnd::Whep(_))
    }
}

/// A slot as the worker knows it.
#[derive(Debug)]
struct WorkerSlot {
    spec: SlotSpec,
    source: Option<TrackId>,
    layer: LayerRequest,
    unsupported: Option<TrackId>,
}

#[derive(Debug)]
pub struct Participant {
    pub id: ParticipantId,
    pub identity: String,
    pub name: String,
    /// Empty unless it has a connection to resume.
    pub resume_token: String,
    pub front_end: FrontEnd,
    /// `None` while the client's connection is lost; then `resume_deadline` runs.
    pub session: Option<SessionId>,
    pub resume_deadline: Option<Time>,
    pub transport: TransportId,
    pub connectivity: Connectivity,
    pub announced_state: ParticipantState,
    pub negotiation: Negotiation,
    pub tracks: BTreeMap<TrackId, Track>,
    /// Data channels can be used.
    pub data_open: bool,
    pub data_limits: DataLimits,
    unsubscribed: BTreeSet<TrackId>,
    preferences: BTreeMap<TrackId, LayerRequest>,
    shown: Vec<SlotView>,
    worker_slots: BTreeMap<SlotId, WorkerSlot>,
    worker_revision: u64,
    worker_data: Option<RemoteSctp>,
}

/// Who a participant says it is.
#[derive(Clone, Debug)]
pub struct Identity {
    pub identity: String,
    pub name: String,
}

impl Participant {
    pub fn new(
        id: ParticipantId,
        identity: Identity,
        front_end: FrontEnd,
        transport: TransportId,
        negotiation: Negotiation,
        now: Time,
        ice_deadline: Time,
    ) -> Participant {
        Participant {
            id,
            identity: identity.identity,
            name: identity.name,
            resume_token: String::new(),
            front_end,
            session: None,
            resume_deadline: None,
            transport,
            connectivity: Connectivity::Connecting { deadline: ice_deadline },
            announced_state: ParticipantState::Connected,
            negotiation,
            tracks: BTreeMap::new(),
            data_open: false,
            data_limits: DataLimits::new(now),
            unsubscribed: BTreeSet::new(),
            preferences: BTreeMap::new(),
            shown: Vec::new(),
            worker_slots: BTreeMap::new(),
            worker_revision: 0,
            worker_data: None,
        }
    }

    pub fn subscribe(&mut self, track: TrackId, enabled: bool) {
        if enabled {
            self.unsubscribed.remove(&track);
        } else {
            self.unsubscribed.insert(track);
        }
    }

    pub fn prefer(&mut self, track: TrackId, layer: LayerPreference, paused: bool) {
        let request = match layer {
            _ if paused => LayerRequest::Paused,
            LayerPreference::Low => LayerRequest::AtMost(LayerId(0)),
            LayerPreference::Medium => LayerRequest::AtMost(LayerId(1)),
            LayerPreference::High => LayerRequest::AtMost(LayerId(2)),
            LayerPreference::Auto => LayerRequest::Highest,
        };
        self.request_layer(track, request);
    }

    /// Which layer of a track it is to get.
    pub fn request_layer(&mut self, track: TrackId, request: LayerRequest) {
        self.preferences.insert(track, request);
    }

    /// Drops wishes about a track that is gone.
    pub fn forget_track(&mut self, track: TrackId) {
        self.unsubscribed.remove(&track);
        self.preferences.remove(&track);
    }

    /// Offers what is new, else tells which slots have changed, if the client is there to hear it.
    pub fn sync_client(&mut self, out: &mut Outbox) {
        let Some(session) = self.session else { return };
        if self.negotiation.wants_offer() {
            let offer = self.negotiation.make_offer();
            let (id, sdp) = (offer.id, offer.sdp.clone());
            self.shown = self.slot_views();
            out.send(session, ServerMessage::Offer { id, sdp, slots: self.shown.clone() });
            return;
        }
        let slots = self.slot_views();
        if slots != self.shown {
            self.shown = slots.clone();
            out.send(session, ServerMessage::Slots { slots });
        }
    }

    /// Repeats the offer that the client has not answered, after its connection was lost.
    pub fn repeat_offer(&mut self, out: &mut Outbox) {
        if let (Some(session), Some(offer)) = (self.session, self.negotiation.outstanding()) {
            let (id, sdp) = (offer.id, offer.sdp.clone());
            out.send(session, ServerMessage::Offer { id, sdp, slots: self.slot_views() });
        }
    }

    /// The client was sent a snapshot with these slots.
    pub fn set_shown(&mut self, slots: Vec<SlotView>) {
        self.shown = slots;
    }

    /// Tells the worker what it does not know yet of the negotiated slots.
    pub fn sync_worker(&mut self, worker: WorkerId, out: &mut Outbox) {
        if self.worker_revision != self.negotiation.revision() {
            self.worker_revision = self.negotiation.revision();
            self.sync_slot_specs(worker, out);
            self.sync_data(worker, out);
        }
        let transport = self.transport;
        for (id, known) in &mut self.worker_slots {
            let Some(slot) = self.negotiation.slots.get(*id) else { continue };
            let source = slot.track().filter(|_| slot.receiving);
            let layer = source.and_then(|track| self.preferences.get(&track)).copied().unwrap_or_default();
            // Before the source, so that its first packet is chosen by the right request.
            if source.is_some() && layer != known.layer {
                known.layer = layer;
                out.command(worker, Command::SetSlotLayer { transport, slot: *id, layer });
            }
            if source != known.source {
                known.source = source;
                known.unsupported = None;
                out.command(worker, Command::SetSlotSource { transport, slot: *id, source });
            }
        }
    }

    fn sync_data(&mut self, worker: WorkerId, out: &mut Outbox) {
        let remote = self.negotiation.data();
        if remote != self.worker_data {
            self.worker_data = remote;
            self.data_open &= remote.is_some();
            out.command(worker, Command::SetData { transport: self.transport, remote });
        }
    }

    fn sync_slot_specs(&mut self, worker: WorkerId, out: &mut Outbox) {
        let transport = self.transport;
        let slots = &self.negotiation.slots;
        let is_dead = |id: &SlotId| slots.get(*id).is_none_or(|slot| slot.state == SlotState::Rejected);
        self.worker_slots.retain(|id, _| {
            if is_dead(id) {
                out.command(worker, Command::RemoveSlot { transport, slot: *id });
            }
            !is_dead(id)
        });
        for spec in self.negotiation.slot_specs() {
            match self.worker_slots.get_mut(&spec.id) {
                Some(known) if known.spec == spec => continue,
                Some(known) => known.spec = spec.clone(),
                None => {
                    let layer = LayerRequest::default();
                    let new = WorkerSlot { spec: spec.clone(), source: None, layer, unsupported: None };
                    self.worker_slots.insert(spec.id, new);
                }
            }
            out.command(worker, Command::SetSlot { transport, slot: spec });
        }
    }

    /// What the worker says about a slot, as the client is told; `source` looks a track up in the room.
    pub fn layer_message<'a>(
        &self,
        slot: SlotId,
        layer: Option<LayerId>,
        source: impl Fn(TrackId) -> Option<&'a Track>,
    ) -> Option<ServerMessage> {
        let known = self.worker_slots.get(&slot)?;
        let track = known.source.and_then(source);
        let reason = match (layer, track) {
            (Some(_), _) => None,
            (None, None) => Some(NoLayerReason::NoSource),
            (None, Some(_)) if known.unsupported.is_some() => Some(NoLayerReason::Unsupported),
            (None, Some(_)) if known.layer == LayerRequest::Paused => Some(NoLayerReason::Paused),
            (None, Some(track)) if track.spec.muted => Some(NoLayerReason::Muted),
            (None, Some(track)) if track.layers.is_empty() => Some(NoLayerReason::Silent),
            (None, Some(_)) => Some(NoLayerReason::Keyframe),
        };
        Some(ServerMessage::Layer { mid: known.spec.mid.0.to_string(), track: known.source, layer, reason })
    }

    /// The worker forwards something through a slot.
    pub fn slot_works(&mut self, slot: SlotId) {
        if let Some(known) = self.worker_slots.get_mut(&slot) {
            known.unsupported = None;
        }
    }

    /// The worker can't forward a track through a slot.
    pub fn unsupported_message(&mut self, slot: SlotId, track: TrackId) -> Option<ServerMessage> {
        let known = self.worker_slots.get_mut(&slot).filter(|known| known.source == Some(track))?;
        known.unsupported = Some(track);
        Some(ServerMessage::CodecUnsupported { mid: known.spec.mid.0.to_string(), track })
    }

    /// What a client is told beside a snapshot, which has no room for it: the slots whose codec it lacks.
    pub fn unsupported_messages(&self) -> Vec<ServerMessage> {
        let unsupported = self.worker_slots.values().filter_map(|known| Some((known, known.unsupported?)));
        unsupported
            .map(|(known, track)| ServerMessage::CodecUnsupported {
                mid: known.spec.mid.0.to_string(),
                track,
            })
            .collect()
    }

    pub fn wants(&self, track: TrackId) -> bool {
        !self.unsubscribed.contains(&track)
    }

    /// Its tracks as something that others may want.
    pub fn offers(&self) -> impl Iterator<Item = Wanted> {
        self.tracks.iter().map(|(id, track)| Wanted {
            track: *id,
            kind: track.spec.kind,
            group: Group { participant: self.id, screen: track.source.is_screen() },
        })
    }

    pub fn state(&self) -> ParticipantState {
        let lost = matches!(self.front_end, FrontEnd::Socket) && self.session.is_none();
        if lost || self.connectivity == Connectivity::Disconnected {
            ParticipantState::Reconnecting
        } else {
            ParticipantState::Connected
        }
    }

    pub fn view(&self) -> ParticipantView {
        ParticipantView {
            id: self.id,
            identity: self.identity.clone(),
            name: self.name.clone(),
            state: self.announced_state,
            tracks: self.tracks.values().map(Track::view).collect(),
        }
    }

    /// The slots that the client knows from an offer.
    pub fn slot_views(&self) -> Vec<SlotView> {
        let visible = self.negotiation.slots.iter().filter(|slot| slot.is_visible());
        let views = visible.map(|slot| SlotView {
            mid: slot.mid.0.to_string(),
            kind: slot.kind,
            track: slot.track().filter(|_| slot.state != SlotState::Rejected),
        });
        views.collect()
    }

    pub fn published_views(&self) -> Vec<PublishedView> {
        let views = self.tracks.iter().map(|(id, track)| PublishedView {
            mid: track.mid.map(|mid| mid.0.to_string()).unwrap_or_default(),
            track: *id,
            source: track.source,
            muted: track.spec.muted,
        });
        views.collect()
    }
}
