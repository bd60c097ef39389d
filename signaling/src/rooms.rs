//! All rooms of a process and the door to them: sessions and events of workers come in, messages and commands go out.
//! Sans-I/O and deterministic: time is an argument, all randomness comes from one seed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use sfu_core::command::Command;
use sfu_core::event::{CloseReason, Event};
use sfu_core::transport::handshake::Fingerprint;
use sfu_core::unit::{ParticipantId, RoomId, Time, WorkerId};

use crate::codec_policy::CodecPolicy;
use crate::directory::{Context, Deadline, Deadlines, Directory};
use crate::error::{ErrorCode, JoinError, ResourceError};
use crate::message::{
    ClientMessage, ClosedReason, IceServer, JoinRequest, LeaveReason, NAME_LEN_MAX, ROOM_NAME_LEN_MAX,
    ServerMessage, VERSION,
};
use crate::negotiate::{LocalTransport, MediaFlow, Negotiation, NodeId, UfragPrefix, ice_text};
use crate::participant::{Connectivity, FrontEnd, Identity};
use crate::resource::{Created, UNCONNECTED_MAX, entity_tag};
use crate::room::{Entrant, Room};
use crate::session::{Admission, Next, Outbox, Place, SessionId};

/// The tenant of rooms joined without one.
const DEFAULT_TENANT: &str = "default";

/// A worker as the control plane knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerInfo {
    pub id: WorkerId,
    /// Written as host candidates in every SDP, most preferred first.
    pub candidates: Vec<SocketAddr>,
}

#[derive(Clone, Debug)]
pub struct RoomsConfig {
    /// Of one room, players aside.
    pub max_participants: usize,
    /// Players of one room.
    pub max_viewers: usize,
    pub max_rooms: usize,
    /// How long a room outlives its last participant.
    pub empty_room_ttl: Duration,
    /// How long a participant outlives its connection.
    pub resume_ttl: Duration,
    /// How long a participant may be without ICE after its join.
    pub ice_timeout: Duration,
    pub workers: Vec<WorkerInfo>,
    /// First part of every ufrag.
    pub node: NodeId,
    /// Of the server's certificate; SHA-256.
    pub fingerprint: Fingerprint,
    pub ice_servers: Vec<IceServer>,
    pub codecs: CodecPolicy,
    /// By name of the room, for those that have a policy of their own.
    pub codecs_of_rooms: BTreeMap<String, CodecPolicy>,
}

impl RoomsConfig {
    /// The defaults.
    pub fn new(workers: Vec<WorkerInfo>, node: NodeId, fingerprint: Fingerprint) -> RoomsConfig {
        RoomsConfig {
            max_participants: 100,
            max_viewers: 1_000,
            max_rooms: 10_000,
            empty_room_ttl: Duration::from_secs(60),
            resume_ttl: Duration::from_secs(30),
            ice_timeout: Duration::from_secs(30),
            workers,
            node,
            fingerprint,
            ice_servers: Vec::new(),
            codecs: CodecPolicy::default(),
            codecs_of_rooms: BTreeMap::new(),
        }
    }

    /// Which codecs a room takes.
    pub fn codecs_of(&self, room: &str) -> &CodecPolicy {
        self.codecs_of_rooms.get(room).unwrap_or(&self.codecs)
    }
}

/// How much there is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RoomsStats {
    pub rooms: usize,
    pub participants: usize,
    pub tracks: usize,
    pub transports: usize,
    /// Connections that were not closed yet.
    pub sessions: usize,
    pub resume_tokens: usize,
    /// WHIP and WHEP sessions.
    pub resources: usize,
    pub deadlines: usize,
}

/// The one writer of membership and desired state of all rooms.
#[derive(Debug)]
pub struct Rooms {
    config: RoomsConfig,
    rng: StdRng,
    rooms: BTreeMap<RoomId, Room>,
    /// By (tenant, name).
    names: BTreeMap<(String, String), RoomId>,
    out: Outbox,
    directory: Directory,
    deadlines: Deadlines,
}

impl Rooms {
    pub fn new(config: RoomsConfig, seed: [u8; 32]) -> Rooms {
        Rooms {
            config,
            rng: StdRng::from_seed(seed),
            rooms: BTreeMap::new(),
            names: BTreeMap::new(),
            out: Outbox::default(),
            directory: Directory::default(),
            deadlines: Deadlines::default(),
        }
    }

    /// Begins a session: resumes a participant by its token, or adds one, in place of an earlier one with the same
    /// identity. The room is created if need be.
    pub fn join(&mut self, now: Time, request: JoinRequest) -> Result<SessionId, JoinError> {
        let wish = self.check_join(&request)?;
        let (session, place) = match self.resumable(&request) {
            Some(place) => self.with_room(now, place.room, |room, ctx| {
                room.resume(place.participant, ctx).map(|session| (session, place))
            }),
            None => self.add_participant(now, &request.room, wish)?,
        }
        .ok_or(JoinError::ServerBusy)?;
        self.with_room(now, place.room, |room, ctx| {
            if let Some(offer) = &request.offer {
                room.receive_offer(place.participant, offer, ctx);
            }
            room.sync(place.participant, ctx);
        });
        Ok(session)
    }

    /// Everything after the join.
    pub fn receive(&mut self, now: Time, session: SessionId, message: ClientMessage) {
        let Some(place) = self.out.place(session) else { return };
        if self.out.admit(now, session) != Admission::Admitted {
            return;
        }
        let id = place.participant;
        self.with_room(now, place.room, |room, ctx| match message {
            ClientMessage::Join(_) => {
                room.send(id, ServerMessage::error(ErrorCode::BadMessage, "already joined"), ctx.out);
            }
            ClientMessage::Offer(offer) => room.receive_offer(id, &offer, ctx),
            ClientMessage::Answer { id: offer_id, sdp } => room.receive_answer(id, offer_id, &sdp, ctx),
            ClientMessage::Candidate { .. } => {}
            ClientMessage::Subscribe { track, enabled } => {
                room.wish(id, track, |participant| participant.subscribe(track, enabled), ctx);
            }
            ClientMessage::Prefer { track, layer, paused } => {
                room.wish(id, track, |participant| participant.prefer(track, layer, paused), ctx);
            }
            ClientMessage::Data(said) => room.data_said(id, said, ctx),
            ClientMessage::Mute { track, muted } => room.set_muted(id, track, muted, ctx),
            ClientMessage::Leave => room.remove(id, LeaveReason::Left, ClosedReason::Left, ctx),
            ClientMessage::Ping => room.send(id, ServerMessage::Pong, ctx.out),
        });
    }

    /// Something arrived on a session that is not a message: it is told so and goes on.
    pub fn receive_invalid(&mut self, now: Time, session: SessionId, error: &crate::error::MessageError) {
        if self.out.place(session).is_some() && self.out.admit(now, session) == Admission::Admitted {
            self.out.send(session, error.into());
        }
    }

    /// The connection of a session is gone, whatever the reason. Its participant may come back with the token.
    pub fn connection_lost(&mut self, now: Time, session: SessionId) {
        let place = self.out.place(session);
        self.out.remove(session);
        if let Some(place) = place {
            self.with_room(now, place.room, |room, ctx| room.connection_lost(place.participant, ctx));
        }
    }

    /// Something happened on a worker.
    pub fn core_event(&mut self, now: Time, _worker: WorkerId, event: Event) {
        if let Event::Speakers { room, speakers } = event {
            self.with_room(now, room, |room, ctx| room.speakers(speakers, ctx));
            return;
        }
        let Some(place) = self.place_of(&event) else { return };
        let id = place.participant;
        self.with_room(now, place.room, |room, ctx| match event {
            Event::TransportConnected { .. } | Event::TransportRecovered { .. } => {
                room.set_connectivity(id, Connectivity::Connected, ctx);
            }
            Event::TransportDisconnected { .. } => room.set_connectivity(id, Connectivity::Disconnected, ctx),
            Event::TransportClosed { reason, .. } => {
                if let Some(closed) = closed_reason(&reason) {
                    room.remove(id, LeaveReason::Timeout, closed, ctx);
                }
            }
            Event::TrackLayers { track, layers } => room.set_layers(id, track, layers),
            Event::SlotLayer { slot, layer, .. } => room.slot_layer(id, slot, layer, ctx),
            Event::SlotUnsupported { slot, track, .. } => room.slot_unsupported(id, slot, track, ctx),
            Event::DataOpened { .. } => room.set_data_open(id, true),
            Event::DataReceived { message, .. } => room.data_received(id, &message, ctx),
            Event::DataClosed { .. } => room.set_data_open(id, false),
            Event::Speakers { .. } => {}
        });
    }

    /// To be called at [`Rooms::next_timeout`].
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some(deadline) = self.deadlines.pop_due(now) {
            match deadline {
                Deadline::Ice(room, id) => self.time_out(now, room, id, ClosedReason::IceTimeout),
                Deadline::Resume(room, id) => self.time_out(now, room, id, ClosedReason::ConsentExpired),
                Deadline::EmptyRoom(room) => self.forget_room(room),
            }
        }
    }

    /// Ends everything.
    pub fn shutdown(&mut self, now: Time) {
        let all: Vec<RoomId> = self.rooms.keys().copied().collect();
        for room in all {
            self.with_room(now, room, |room, ctx| room.close(ClosedReason::ServerShutdown, ctx));
        }
    }

    pub fn next_timeout(&self) -> Option<Time> {
        self.deadlines.next()
    }

    /// The next message of a session's ordered queue.
    pub fn poll_message(&mut self, session: SessionId) -> Option<ServerMessage> {
        match self.out.next(session) {
            Next::Message(message) => Some(message),
            Next::Nothing => None,
            Next::Resync(place) => {
                let room = self.rooms.get_mut(&place.room)?;
                let snapshot = room.resync(place.participant, &self.config, &mut self.out)?;
                Some(ServerMessage::Resync(snapshot))
            }
        }
    }

    /// A session that has something queued or has ended; each once per change.
    pub fn poll_ready(&mut self) -> Option<SessionId> {
        self.out.poll_ready()
    }

    /// The session is over and its last message was polled: its connection can be closed.
    pub fn is_ended(&self, session: SessionId) -> bool {
        self.out.is_ended(session)
    }

    /// The next command for a worker, in order.
    pub fn poll_command(&mut self) -> Option<(WorkerId, Command)> {
        self.out.poll_command()
    }

    pub fn stats(&self) -> RoomsStats {
        RoomsStats {
            rooms: self.rooms.len(),
            participants: self.rooms.values().map(Room::len).sum(),
            tracks: self.directory.track_count(),
            transports: self.directory.transport_count(),
            sessions: self.out.session_count(),
            resume_tokens: self.directory.resume_token_count(),
            resources: self.directory.resource_count(),
            deadlines: self.deadlines.count(),
        }
    }

    fn check_join(&mut self, request: &JoinRequest) -> Result<Identity, JoinError> {
        if request.version != VERSION {
            return Err(JoinError::BadVersion);
        }
        self.identity_of(&request.room, request.identity.as_ref(), request.name.as_ref())
    }

    /// Who somebody is that wants to join `room` under the names that it gives.
    pub(crate) fn identity_of(
        &mut self,
        room: &str,
        identity: Option<&String>,
        name: Option<&String>,
    ) -> Result<Identity, JoinError> {
        check_room_name(room)?;
        let given = |text: Option<&String>| text.cloned().filter(|text| !text.is_empty());
        let made_up = || format!("guest-{}", ice_text(&mut self.rng, 8));
        let identity = given(identity).unwrap_or_else(made_up);
        let name = given(name).unwrap_or_else(|| identity.clone());
        let is_bad = |text: &str| text.len() > NAME_LEN_MAX || text.chars().any(char::is_control);
        if is_bad(&identity) || is_bad(&name) {
            return Err(JoinError::BadIdentity);
        }
        Ok(Identity { identity, name })
    }

    /// The participant that a join's token stands for.
    fn resumable(&self, request: &JoinRequest) -> Option<Place> {
        let place = self.directory.resume_token(request.resume.as_deref()?)?;
        self.rooms.get(&place.room).filter(|room| room.name == request.room).map(|_| place)
    }

    fn add_participant(
        &mut self,
        now: Time,
        name: &str,
        identity: Identity,
    ) -> Result<Option<(SessionId, Place)>, JoinError> {
        self.check_place(name, &identity, false)?;
        let negotiation = self.negotiation_for(name, MediaFlow::Both)?;
        let place = self.admit(now, name, Entrant { identity, front_end: FrontEnd::Socket, negotiation })?;
        let participant = self.rooms.get(&place.room).and_then(|room| room.participant(place.participant));
        Ok(participant.and_then(|participant| participant.session).map(|session| (session, place)))
    }

    /// Adds a participant of an HTTP front-end.
    pub(crate) fn enter(&mut self, now: Time, name: &str, entrant: Entrant) -> Result<Place, ResourceError> {
        check_room_name(name)?;
        if self.deadlines.connecting() >= UNCONNECTED_MAX {
            return Err(ResourceError::TooManyConnecting);
        }
        self.check_place(name, &entrant.identity, entrant.front_end.is_hidden())?;
        Ok(self.admit(now, name, entrant)?)
    }

    /// Whether a room has a place for one more.
    fn check_place(&self, name: &str, identity: &Identity, hidden: bool) -> Result<(), JoinError> {
        let room = self.room_by_name(name);
        let (count, max) = if hidden {
            let viewers = room.map_or(0, |room| room.len().saturating_sub(room.participants().count()));
            (viewers, self.config.max_viewers)
        } else {
            let replaced = |room: &Room| usize::from(room.by_identity(&identity.identity).is_some());
            let others = |room: &Room| room.participants().count().saturating_sub(replaced(room));
            (room.map_or(0, others), self.config.max_participants)
        };
        if count >= max { Err(JoinError::RoomFull) } else { Ok(()) }
    }

    /// Adds a participant, in place of an earlier one with the same identity.
    fn admit(&mut self, now: Time, name: &str, entrant: Entrant) -> Result<Place, JoinError> {
        let id = self.room_named(name)?;
        let participant = self.with_room(now, id, |room, ctx| {
            let replaced = room.by_identity(&entrant.identity.identity);
            if let Some(replaced) = replaced.filter(|_| !entrant.front_end.is_hidden()) {
                room.remove(replaced, LeaveReason::Replaced, ClosedReason::Replaced, ctx);
            }
            Some(room.add(entrant, ctx))
        });
        participant.map(|participant| Place { room: id, participant }).ok_or(JoinError::ServerBusy)
    }

    /// The state of a transport on the worker of this room.
    pub(crate) fn negotiation_for(&mut self, name: &str, flow: MediaFlow) -> Result<Negotiation, JoinError> {
        let id = self.worker_for(name)?;
        let worker = self.config.workers.iter().find(|worker| worker.id == id);
        let local = LocalTransport {
            fingerprint: self.config.fingerprint.clone(),
            candidates: worker.map(|worker| worker.candidates.clone()).unwrap_or_default(),
            ufrag_prefix: UfragPrefix::new(self.config.node, id),
            codecs: self.config.codecs_of(name).clone(),
        };
        Ok(Negotiation::new(local, &mut self.rng).with_flow(flow))
    }

    /// What the client of a new resource is told.
    pub(crate) fn created(&self, place: Place, sdp: String) -> Result<Created, ResourceError> {
        let participant = self.rooms.get(&place.room).and_then(|room| room.participant(place.participant));
        let participant = participant.ok_or(ResourceError::NotFound)?;
        let id = participant.front_end.resource().ok_or(ResourceError::NotFound)?.id.clone();
        let ice_servers = self.config.ice_servers.clone();
        Ok(Created { id, sdp, entity_tag: entity_tag(participant), ice_servers })
    }

    pub(crate) fn room_by_name(&self, name: &str) -> Option<&Room> {
        self.rooms.get(self.names.get(&(DEFAULT_TENANT.to_owned(), name.to_owned()))?)
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(crate) fn rng(&mut self) -> &mut StdRng {
        &mut self.rng
    }

    /// The worker of this room, or of a new one: the one with the fewest participants.
    fn worker_for(&self, name: &str) -> Result<WorkerId, JoinError> {
        if let Some(room) = self.room_by_name(name) {
            return Ok(room.worker);
        }
        if self.rooms.len() >= self.config.max_rooms || self.config.max_participants == 0 {
            return Err(JoinError::ServerBusy);
        }
        let load = |worker: WorkerId| -> usize {
            self.rooms.values().filter(|room| room.worker == worker).map(Room::len).sum()
        };
        let workers = self.config.workers.iter().map(|worker| worker.id);
        workers.min_by_key(|worker| load(*worker)).ok_or(JoinError::ServerBusy)
    }

    /// The room of this name, which is made if need be.
    fn room_named(&mut self, name: &str) -> Result<RoomId, JoinError> {
        let key = (DEFAULT_TENANT.to_owned(), name.to_owned());
        if let Some(id) = self.names.get(&key) {
            return Ok(*id);
        }
        let worker = self.worker_for(name)?;
        let id = self.directory.new_room();
        self.rooms.insert(id, Room::new(id, name.to_owned(), worker));
        self.names.insert(key, id);
        Ok(id)
    }

    fn forget_room(&mut self, id: RoomId) {
        if let Some(room) = self.rooms.remove(&id) {
            self.names.remove(&(DEFAULT_TENANT.to_owned(), room.name));
        }
    }

    fn time_out(&mut self, now: Time, room: RoomId, id: ParticipantId, closed: ClosedReason) {
        self.with_room(now, room, |room, ctx| room.remove(id, LeaveReason::Timeout, closed, ctx));
    }

    fn place_of(&self, event: &Event) -> Option<Place> {
        match event {
            Event::TransportConnected { transport }
            | Event::TransportDisconnected { transport }
            | Event::TransportRecovered { transport }
            | Event::TransportClosed { transport, .. }
            | Event::SlotLayer { transport, .. }
            | Event::SlotUnsupported { transport, .. }
            | Event::DataOpened { transport }
            | Event::DataReceived { transport, .. }
            | Event::DataClosed { transport, .. } => self.directory.transport(*transport),
            Event::TrackLayers { track, .. } => self.directory.track(*track),
            Event::Speakers { .. } => None,
        }
    }

    /// Runs `work` in a room; the default when there is no such room.
    pub(crate) fn with_room<R: Default>(
        &mut self,
        now: Time,
        id: RoomId,
        work: impl FnOnce(&mut Room, &mut Context<'_>) -> R,
    ) -> R {
        let Rooms { config, rng, rooms, out, directory, deadlines, .. } = self;
        let Some(room) = rooms.get_mut(&id) else { return R::default() };
        work(room, &mut Context { now, config, rng, out, directory, deadlines })
    }
}

fn check_room_name(name: &str) -> Result<(), JoinError> {
    let len = name.chars().count();
    let bad = len == 0 || len > ROOM_NAME_LEN_MAX || name.chars().any(char::is_control);
    if bad { Err(JoinError::BadRoom) } else { Ok(()) }
}

/// Why a client whose transport has ended is told to go; `None` when that was our own wish.
fn closed_reason(reason: &CloseReason) -> Option<ClosedReason> {
    match reason {
        CloseReason::Requested => None,
        CloseReason::IceTimeout => Some(ClosedReason::IceTimeout),
        CloseReason::ConsentExpired => Some(ClosedReason::ConsentExpired),
        CloseReason::Dtls(_) => Some(ClosedReason::DtlsFailed),
    }
}
