//! One room: who is in it, what each publishes, and what follows for the others. The only writer of its membership.
//! Knows nothing of other rooms or of how sessions come to be.

mod data;

use std::collections::BTreeMap;

use sfu_core::command::{Command, OpenTransport, RemoteTransport};
use sfu_core::unit::{LayerId, ParticipantId, RoomId, SlotId, Time, TrackId, WorkerId};

use crate::directory::{Context, Deadline};
use crate::error::{ErrorCode, OfferError};
use crate::message::{
    ClientOffer, ClosedReason, LeaveReason, ServerMessage, Snapshot, Source, TrackHint, VERSION,
};
use crate::negotiate::{Negotiation, Publication, ice_text};
use crate::participant::{Connectivity, FrontEnd, Identity, Participant, Track};
use crate::rooms::RoomsConfig;
use crate::session::{Outbox, Place, SessionId};

/// Characters of a resume token: 192 bits.
const RESUME_TOKEN_LEN: usize = 32;

/// Who comes in.
#[derive(Debug)]
pub struct Entrant {
    pub identity: Identity,
    pub front_end: FrontEnd,
    pub negotiation: Negotiation,
}

#[derive(Debug)]
pub struct Room {
    pub id: RoomId,
    pub name: String,
    pub worker: WorkerId,
    /// When it ends if nobody joins.
    pub empty_deadline: Option<Time>,
    /// Who speaks, loudest first.
    pub(crate) speaking: Vec<ParticipantId>,
    /// Whom players see who follow the speaker.
    pub(crate) featured: Option<ParticipantId>,
    /// Players included.
    participants: BTreeMap<ParticipantId, Participant>,
}

impl Room {
    pub fn new(id: RoomId, name: String, worker: WorkerId) -> Room {
        Room {
            id,
            name,
            worker,
            empty_deadline: None,
            speaking: Vec::new(),
            featured: None,
            participants: BTreeMap::new(),
        }
    }

    /// Players included.
    pub fn len(&self) -> usize {
        self.participants.len()
    }

    /// Those whom everybody sees.
    pub fn participants(&self) -> impl Iterator<Item = &Participant> {
        self.everybody().filter(|participant| !participant.front_end.is_hidden())
    }

    /// Players included.
    pub fn everybody(&self) -> impl Iterator<Item = &Participant> {
        self.participants.values()
    }

    pub fn participant(&self, id: ParticipantId) -> Option<&Participant> {
        self.participants.get(&id)
    }

    pub fn participant_mut(&mut self, id: ParticipantId) -> Option<&mut Participant> {
        self.participants.get_mut(&id)
    }

    pub fn is_empty(&self) -> bool {
        self.participants.is_empty()
    }

    pub fn by_identity(&self, identity: &str) -> Option<ParticipantId> {
        self.participants().find(|other| other.identity == identity).map(|other| other.id)
    }

    /// Adds a participant and tells everyone, unless it is hidden.
    pub fn add(&mut self, entrant: Entrant, ctx: &mut Context<'_>) -> ParticipantId {
        let Entrant { identity, front_end, negotiation } = entrant;
        let id = ctx.directory.new_participant();
        let place = Place { room: self.id, participant: id };
        let transport = ctx.directory.add_transport(place);
        let open =
            OpenTransport { id: transport, room: self.id, participant: id, local: negotiation.ice().clone() };
        ctx.out.command(self.worker, Command::OpenTransport(open));
        let deadline = ctx.now + ctx.config.ice_timeout;
        ctx.deadlines.set(deadline, Deadline::Ice(self.id, id));
        if let Some(at) = self.empty_deadline.take() {
            ctx.deadlines.clear(at, Deadline::EmptyRoom(self.id));
        }
        let token = match front_end.resource() {
            Some(resource) => {
                ctx.directory.add_resource(resource.id.clone(), place);
                None
            }
            None => {
                let token = ice_text(ctx.rng, RESUME_TOKEN_LEN);
                ctx.directory.add_resume_token(token.clone(), place);
                Some(token)
            }
        };
        let mut participant =
            Participant::new(id, identity, front_end, transport, negotiation, ctx.now, deadline);
        participant.session = token.is_some().then(|| ctx.out.open(ctx.now, place));
        participant.resume_token = token.unwrap_or_default();
        let (view, hidden) = (participant.view(), participant.front_end.is_hidden());
        self.participants.insert(id, participant);
        self.send_joined(id, false, ctx);
        if !hidden {
            self.broadcast(Some(id), &ServerMessage::ParticipantJoined { participant: view }, ctx.out);
        }
        id
    }

    /// A participant of an HTTP front-end, whose offer was taken before it came in, begins.
    pub fn begin(
        &mut self,
        id: ParticipantId,
        remote: Option<RemoteTransport>,
        screen: bool,
        ctx: &mut Context<'_>,
    ) {
        let Some(participant) = self.participants.get(&id) else { return };
        let transport = participant.transport;
        if let Some(remote) = remote {
            ctx.out.command(self.worker, Command::SetRemote { transport, remote });
        }
        let hint = |publication: &Publication| TrackHint {
            mid: publication.mid.map(|mid| mid.0.to_string()).unwrap_or_default(),
            source: screen.then_some(Source::screen_of(publication.kind)),
            muted: false,
        };
        let hints: Vec<TrackHint> = participant.negotiation.publications().map(hint).collect();
        let announcements = self.update_tracks(id, &hints, ctx);
        self.announce(id, announcements, ctx);
        self.sync(id, ctx);
    }

    /// Gives a participant a new connection in place of its old one.
    pub fn resume(&mut self, id: ParticipantId, ctx: &mut Context<'_>) -> Option<SessionId> {
        let place = Place { room: self.id, participant: id };
        let participant = self.participants.get_mut(&id)?;
        if let Some(old) = participant.session.take() {
            ctx.out.end(old, ClosedReason::Replaced);
        }
        if let Some(at) = participant.resume_deadline.take() {
            ctx.deadlines.clear(at, Deadline::Resume(self.id, id));
        }
        let session = ctx.out.open(ctx.now, place);
        participant.session = Some(session);
        self.send_joined(id, true, ctx);
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.repeat_offer(ctx.out);
        }
        self.announce_state(id, ctx.out);
        Some(session)
    }

    /// Ends a participant with everything that it publishes and receives.
    pub fn remove(
        &mut self,
        id: ParticipantId,
        left: LeaveReason,
        closed: ClosedReason,
        ctx: &mut Context<'_>,
    ) {
        let Some(participant) = self.participants.remove(&id) else { return };
        if let Some(session) = participant.session {
            ctx.out.end(session, closed);
        }
        ctx.out.command(self.worker, Command::CloseTransport { transport: participant.transport });
        ctx.directory.remove_transport(participant.transport);
        ctx.directory.remove_resume_token(&participant.resume_token);
        if let Some(resource) = participant.front_end.resource() {
            ctx.directory.remove_resource(&resource.id);
        }
        if let Connectivity::Connecting { deadline } = participant.connectivity {
            ctx.deadlines.clear(deadline, Deadline::Ice(self.id, id));
        }
        if let Some(at) = participant.resume_deadline {
            ctx.deadlines.clear(at, Deadline::Resume(self.id, id));
        }
        for track in participant.tracks.keys() {
            self.forget_track(*track, ctx);
        }
        if !participant.front_end.is_hidden() {
            self.broadcast(None, &ServerMessage::ParticipantLeft { participant: id, reason: left }, ctx.out);
            self.sync_all(ctx);
        }
        if self.is_empty() {
            let at = ctx.now + ctx.config.empty_room_ttl;
            self.empty_deadline = Some(at);
            ctx.deadlines.set(at, Deadline::EmptyRoom(self.id));
        }
    }

    /// Ends everyone.
    pub fn close(&mut self, closed: ClosedReason, ctx: &mut Context<'_>) {
        let all: Vec<ParticipantId> = self.participants.keys().copied().collect();
        for id in &all {
            if let Some(session) =
                self.participants.get_mut(id).and_then(|participant| participant.session.take())
            {
                ctx.out.end(session, closed);
            }
        }
        for id in all {
            self.remove(id, LeaveReason::Left, closed, ctx);
        }
    }

    /// The connection of a participant is gone; its media goes on.
    pub fn connection_lost(&mut self, id: ParticipantId, ctx: &mut Context<'_>) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        participant.session = None;
        let at = ctx.now + ctx.config.resume_ttl;
        participant.resume_deadline = Some(at);
        ctx.deadlines.set(at, Deadline::Resume(self.id, id));
        self.announce_state(id, ctx.out);
    }

    pub fn receive_offer(&mut self, id: ParticipantId, offer: &ClientOffer, ctx: &mut Context<'_>) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let outcome = match participant.negotiation.receive_offer(&offer.sdp, ctx.rng) {
            Ok(outcome) => outcome,
            Err(OfferError::Glare) => return,
            Err(error) => {
                let error = error_about(ErrorCode::BadOffer, &error, offer.id);
                return self.send(id, error, ctx.out);
            }
        };
        let transport = participant.transport;
        if let Some(local) = outcome.ice_restart {
            ctx.out.command(self.worker, Command::RestartIce { transport, local });
        }
        if let Some(remote) = outcome.remote {
            ctx.out.command(self.worker, Command::SetRemote { transport, remote });
        }
        let announcements = self.update_tracks(id, &offer.tracks, ctx);
        self.confirm_tracks(id, &announcements, ctx.out);
        self.send(id, ServerMessage::Answer { id: offer.id, sdp: outcome.answer }, ctx.out);
        self.announce(id, announcements, ctx);
        self.sync(id, ctx);
    }

    pub fn receive_answer(&mut self, id: ParticipantId, offer_id: u32, sdp: &str, ctx: &mut Context<'_>) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        match participant.negotiation.receive_answer(offer_id, sdp) {
            Ok(remote) => {
                let transport = participant.transport;
                if let Some(remote) = remote {
                    ctx.out.command(self.worker, Command::SetRemote { transport, remote });
                }
                let refused = participant.negotiation.take_refused();
                let announcements = self.update_tracks(id, &[], ctx);
                self.confirm_tracks(id, &announcements, ctx.out);
                self.announce(id, announcements, ctx);
                self.sync(id, ctx);
                for (mid, track) in refused {
                    let mid = mid.0.to_string();
                    self.send(id, ServerMessage::CodecUnsupported { mid, track }, ctx.out);
                }
            }
            Err(error) => self.send(id, error_about(ErrorCode::BadAnswer, &error, offer_id), ctx.out),
        }
    }

    /// Brings the participant's tracks in line with what its m-sections send. Returns what the others are to be told.
    fn update_tracks(
        &mut self,
        id: ParticipantId,
        hints: &[TrackHint],
        ctx: &mut Context<'_>,
    ) -> Vec<ServerMessage> {
        let place = Place { room: self.id, participant: id };
        let Some(participant) = self.participants.get_mut(&id) else { return Vec::new() };
        let mut announcements = Vec::new();
        let mut before = std::mem::take(&mut participant.tracks);
        for publication in participant.negotiation.publications() {
            let hint = hint_for(publication, hints);
            let source = hint.and_then(|hint| hint.source).filter(|source| source.kind() == publication.kind);
            let same = before.iter().find(|(_, track)| {
                track.section == publication.section
                    && track.mid == publication.mid
                    && source.is_none_or(|source| source == track.source)
            });
            if let Some((track, mut known)) = same.map(|(id, _)| *id).and_then(|id| before.remove_entry(&id))
            {
                let spec = publication.to_spec(track, known.spec.muted);
                if spec != known.spec {
                    known.spec = spec.clone();
                    let transport = participant.transport;
                    ctx.out.command(self.worker, Command::PublishTrack { transport, track: spec });
                }
                participant.tracks.insert(track, known);
                continue;
            }
            let spec =
                publication.to_spec(ctx.directory.add_track(place), hint.is_some_and(|hint| hint.muted));
            let transport = participant.transport;
            ctx.out.command(self.worker, Command::PublishTrack { transport, track: spec.clone() });
            let source = source.unwrap_or(Source::default_of(publication.kind));
            let (section, mid) = (publication.section, publication.mid);
            let track = Track { source, section, mid, spec, layers: Vec::new() };
            announcements.push(ServerMessage::TrackPublished { participant: id, track: track.view() });
            participant.tracks.insert(track.spec.id, track);
        }
        for track in before.into_keys() {
            ctx.out.command(self.worker, Command::UnpublishTrack { track });
            self.forget_track(track, ctx);
            announcements.push(ServerMessage::TrackUnpublished { participant: id, track });
        }
        announcements
    }

    /// Tells the publisher which tracks it has now, if that has changed.
    fn confirm_tracks(&self, id: ParticipantId, announcements: &[ServerMessage], out: &mut Outbox) {
        if let Some(participant) = self.participants.get(&id).filter(|_| !announcements.is_empty()) {
            self.send(id, ServerMessage::Published { tracks: participant.published_views() }, out);
        }
    }

    /// Tells the others of changed tracks and gives them slots for what is new.
    fn announce(&mut self, id: ParticipantId, announcements: Vec<ServerMessage>, ctx: &mut Context<'_>) {
        if announcements.is_empty() {
            return;
        }
        for message in announcements {
            self.broadcast(Some(id), &message, ctx.out);
        }
        self.sync_all(ctx);
    }

    fn forget_track(&mut self, track: TrackId, ctx: &mut Context<'_>) {
        ctx.directory.remove_track(track);
        for participant in self.participants.values_mut() {
            participant.forget_track(track);
        }
    }

    pub fn set_muted(&mut self, id: ParticipantId, track: TrackId, muted: bool, ctx: &mut Context<'_>) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let Some(known) = participant.tracks.get_mut(&track) else {
            return self.send(id, unknown_track(track), ctx.out);
        };
        if known.spec.muted != muted {
            known.spec.muted = muted;
            ctx.out.command(self.worker, Command::SetTrackMuted { track, muted });
            self.broadcast(Some(id), &ServerMessage::TrackMuted { participant: id, track, muted }, ctx.out);
        }
    }

    /// Changes a wish about a track of another participant.
    pub fn wish(
        &mut self,
        id: ParticipantId,
        track: TrackId,
        wish: impl FnOnce(&mut Participant),
        ctx: &mut Context<'_>,
    ) {
        let place = ctx.directory.track(track);
        let known = place.is_some_and(|place| place.room == self.id && place.participant != id);
        match self.participants.get_mut(&id) {
            Some(participant) if known => {
                wish(participant);
                self.sync(id, ctx);
            }
            _ => self.send(id, unknown_track(track), ctx.out),
        }
    }

    pub fn set_connectivity(&mut self, id: ParticipantId, connectivity: Connectivity, ctx: &mut Context<'_>) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let before = std::mem::replace(&mut participant.connectivity, connectivity);
        if before == connectivity {
            return;
        }
        if let Connectivity::Connecting { deadline } = before {
            ctx.deadlines.clear(deadline, Deadline::Ice(self.id, id));
        }
        let message = match connectivity {
            Connectivity::Disconnected => ServerMessage::Disconnected,
            _ => ServerMessage::Connected,
        };
        self.send(id, message, ctx.out);
        if connectivity == Connectivity::Disconnected {
            // The socket lives and the media path doesn't: a lite agent can't look for another one itself.
            self.send(id, ServerMessage::IceRestart, ctx.out);
        }
        self.announce_state(id, ctx.out);
        self.follow_speaker(ctx);
    }

    pub fn set_layers(&mut self, id: ParticipantId, track: TrackId, layers: Vec<LayerId>) {
        if let Some(track) = self.participants.get_mut(&id).and_then(|owner| owner.tracks.get_mut(&track)) {
            track.layers = layers;
        }
    }

    pub fn slot_layer(
        &mut self,
        id: ParticipantId,
        slot: SlotId,
        layer: Option<LayerId>,
        ctx: &mut Context<'_>,
    ) {
        if let Some(participant) = self.participants.get_mut(&id).filter(|_| layer.is_some()) {
            participant.slot_works(slot);
        }
        let Some(participant) = self.participants.get(&id) else { return };
        let source = |track: TrackId| {
            let owner = ctx.directory.track(track)?.participant;
            self.participants.get(&owner)?.tracks.get(&track)
        };
        if let Some(message) = participant.layer_message(slot, layer, source) {
            self.send(id, message, ctx.out);
        }
    }

    pub fn slot_unsupported(
        &mut self,
        id: ParticipantId,
        slot: SlotId,
        track: TrackId,
        ctx: &mut Context<'_>,
    ) {
        let participant = self.participants.get_mut(&id);
        if let Some(message) =
            participant.and_then(|participant| participant.unsupported_message(slot, track))
        {
            self.send(id, message, ctx.out);
        }
    }

    pub fn speakers(&mut self, speakers: Vec<ParticipantId>, ctx: &mut Context<'_>) {
        self.speaking.clone_from(&speakers);
        self.broadcast(None, &ServerMessage::Speakers { participants: speakers }, ctx.out);
        self.follow_speaker(ctx);
    }

    /// A snapshot for a participant whose queue overflowed.
    pub fn resync(
        &mut self,
        id: ParticipantId,
        config: &RoomsConfig,
        out: &mut Outbox,
    ) -> Option<Box<Snapshot>> {
        let snapshot = self.snapshot(id, true, config)?;
        let participant = self.participants.get_mut(&id)?;
        participant.set_shown(snapshot.slots.clone());
        let session = participant.session?;
        out.resynced(session, &snapshot.slots);
        for message in participant.unsupported_messages() {
            out.send(session, message);
        }
        Some(snapshot)
    }

    fn send_joined(&mut self, id: ParticipantId, resumed: bool, ctx: &mut Context<'_>) {
        let Some(snapshot) = self.snapshot(id, resumed, ctx.config) else { return };
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.set_shown(snapshot.slots.clone());
        }
        self.send(id, ServerMessage::Joined(snapshot), ctx.out);
        let unsupported = self.participants.get(&id).map(Participant::unsupported_messages);
        for message in unsupported.unwrap_or_default() {
            self.send(id, message, ctx.out);
        }
    }

    fn snapshot(&self, id: ParticipantId, resumed: bool, config: &RoomsConfig) -> Option<Box<Snapshot>> {
        let participant = self.participants.get(&id)?;
        let others = self.participants().filter(|other| other.id != id);
        Some(Box::new(Snapshot {
            version: VERSION,
            resumed,
            resume: participant.resume_token.clone(),
            room: self.name.clone(),
            participant: id,
            identity: participant.identity.clone(),
            name: participant.name.clone(),
            connected: participant.connectivity == Connectivity::Connected,
            ice_servers: config.ice_servers.clone(),
            participants: others.map(Participant::view).collect(),
            slots: participant.slot_views(),
            published: participant.published_views(),
        }))
    }

    /// Gives every participant what it wants and lacks.
    pub fn sync_all(&mut self, ctx: &mut Context<'_>) {
        self.featured = self.choose_featured();
        let all: Vec<ParticipantId> = self.participants.keys().copied().collect();
        for id in all {
            self.sync(id, ctx);
        }
    }

    /// Gives a participant what it wants and lacks: slots, then word of them, then media.
    pub fn sync(&mut self, id: ParticipantId, ctx: &mut Context<'_>) {
        let Some(participant) = self.participants.get(&id) else { return };
        let wanted: Vec<_> = match &participant.front_end {
            FrontEnd::Socket => {
                let others = self.participants().filter(|other| other.id != id);
                others.flat_map(Participant::offers).filter(|one| participant.wants(one.track)).collect()
            }
            FrontEnd::Whip(_) => Vec::new(),
            FrontEnd::Whep(viewer) => self.wanted_by_viewer(participant, &viewer.follow),
        };
        if let Some(participant) = self.participants.get_mut(&id) {
            if let FrontEnd::Whep(viewer) = &participant.front_end {
                let layer = viewer.layer;
                wanted.iter().for_each(|one| participant.request_layer(one.track, layer));
            }
            participant.negotiation.slots.assign(&wanted, ctx.rng);
            participant.sync_client(ctx.out);
            participant.sync_worker(self.worker, ctx.out);
        }
    }

    fn announce_state(&mut self, id: ParticipantId, out: &mut Outbox) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if participant.front_end.is_hidden() {
            return;
        }
        let state = participant.state();
        if std::mem::replace(&mut participant.announced_state, state) != state {
            self.broadcast(Some(id), &ServerMessage::ParticipantState { participant: id, state }, out);
        }
    }

    pub fn send(&self, id: ParticipantId, message: ServerMessage, out: &mut Outbox) {
        if let Some(session) = self.participants.get(&id).and_then(|participant| participant.session) {
            out.send(session, message);
        }
    }

    fn broadcast(&self, except: Option<ParticipantId>, message: &ServerMessage, out: &mut Outbox) {
        let others = self.participants.values().filter(|other| Some(other.id) != except);
        for session in others.filter_map(|other| other.session) {
            out.send(session, message.clone());
        }
    }
}

fn hint_for<'a>(publication: &Publication, hints: &'a [TrackHint]) -> Option<&'a TrackHint> {
    let mid = publication.mid.as_ref().map_or("", |mid| mid.0.as_str());
    hints.iter().find(|hint| hint.mid == mid)
}

fn unknown_track(track: TrackId) -> ServerMessage {
    ServerMessage::error(ErrorCode::UnknownTrack, format_args!("there is no track t{track} here"))
}

fn error_about(code: ErrorCode, error: &dyn std::fmt::Display, id: u32) -> ServerMessage {
    ServerMessage::Error { code, message: error.to_string(), id: Some(id) }
}
