//! Sessions: one client's connection with its ordered queue, and the outbox that holds all of them together with the
//! commands for the workers. Knows neither rooms nor SDP; who belongs to a session is the room's business.
//!
//! A queue holds [`QUEUE_MAX`] messages. When it overflows, queued events give way to one `resync` that is written
//! when it is polled; descriptions, own tracks and the end of the session are kept and follow it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sfu_core::command::Command;
use sfu_core::unit::{ParticipantId, RoomId, Time, WorkerId};

use crate::error::ErrorCode;
use crate::message::{ClosedReason, ServerMessage};

/// Messages queued for one session. A client that is further behind is better served by a snapshot.
pub const QUEUE_MAX: usize = 256;

/// Messages a second that a client may send for long.
pub const RATE_PER_SECOND: u32 = 50;

/// Messages that it may send at once.
pub const RATE_BURST: u32 = 200;

/// One connection of a client; never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SessionId(pub u64);

/// Where a session belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    pub room: RoomId,
    pub participant: ParticipantId,
}

/// One connection of a client.
#[derive(Debug)]
struct Session {
    /// `None` once it has ended.
    place: Option<Place>,
    queue: VecDeque<ServerMessage>,
    resync_due: bool,
    is_reported: bool,
    rate: TokenBucket,
}

/// What the next poll of a session yields.
#[derive(Debug)]
pub enum Next {
    Message(ServerMessage),
    /// A snapshot of this place is to be made; then call [`Outbox::resynced`].
    Resync(Place),
    Nothing,
}

/// Whether a message may be looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    Admitted,
    /// The first one over the limit: the client is told.
    Refused,
    /// Further ones: ignored.
    Ignored,
}

/// Everything that leaves: queues of all sessions, and commands.
#[derive(Debug, Default)]
pub struct Outbox {
    sessions: BTreeMap<SessionId, Session>,
    session_next: u64,
    ready: VecDeque<SessionId>,
    commands: VecDeque<(WorkerId, Command)>,
}

impl Outbox {
    pub fn open(&mut self, now: Time, place: Place) -> SessionId {
        let id = SessionId(self.session_next);
        self.session_next = self.session_next.wrapping_add(1);
        let session = Session {
            place: Some(place),
            queue: VecDeque::new(),
            resync_due: false,
            is_reported: false,
            rate: TokenBucket::new(now),
        };
        self.sessions.insert(id, session);
        id
    }

    /// Queues a message; nothing happens when the session has ended.
    pub fn send(&mut self, id: SessionId, message: ServerMessage) {
        let Some(session) = self.sessions.get_mut(&id).filter(|session| session.place.is_some()) else {
            return;
        };
        session.push(message);
        self.report(id);
    }

    /// Queues the last message of a session.
    pub fn end(&mut self, id: SessionId, reason: ClosedReason) {
        self.send(id, ServerMessage::Closed { reason });
        if let Some(session) = self.sessions.get_mut(&id) {
            session.place = None;
            session.resync_due = false;
        }
    }

    /// Forgets a session whose connection is gone.
    pub fn remove(&mut self, id: SessionId) {
        self.sessions.remove(&id);
    }

    pub fn next(&mut self, id: SessionId) -> Next {
        let Some(session) = self.sessions.get_mut(&id) else { return Next::Nothing };
        if let Some(place) = session.place.filter(|_| session.resync_due) {
            return Next::Resync(place);
        }
        let next = session.queue.pop_front();
        if session.place.is_none() && session.queue.is_empty() {
            self.sessions.remove(&id);
        }
        next.map_or(Next::Nothing, Next::Message)
    }

    /// The snapshot was made. A waiting offer is brought up to it: the slots it was queued with are older.
    pub fn resynced(&mut self, id: SessionId, snapshot_slots: &[crate::message::SlotView]) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.resync_due = false;
        for message in &mut session.queue {
            if let ServerMessage::Offer { slots, .. } = message {
                *slots = snapshot_slots.to_vec();
            }
        }
    }

    pub fn admit(&mut self, now: Time, id: SessionId) -> Admission {
        let Some(session) = self.sessions.get_mut(&id) else { return Admission::Ignored };
        let admission = session.rate.take(now);
        if admission == Admission::Refused {
            let message = ServerMessage::error(ErrorCode::RateLimited, "too many messages; some are ignored");
            self.send(id, message);
        }
        admission
    }

    /// `None` when the session has ended.
    pub fn place(&self, id: SessionId) -> Option<Place> {
        self.sessions.get(&id)?.place
    }

    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Nothing more will come: the session has ended and is drained.
    pub fn is_ended(&self, id: SessionId) -> bool {
        !self.sessions.contains_key(&id)
    }

    pub fn poll_ready(&mut self) -> Option<SessionId> {
        let id = self.ready.pop_front()?;
        if let Some(session) = self.sessions.get_mut(&id) {
            session.is_reported = false;
        }
        Some(id)
    }

    pub fn command(&mut self, worker: WorkerId, command: Command) {
        self.commands.push_back((worker, command));
    }

    pub fn poll_command(&mut self) -> Option<(WorkerId, Command)> {
        self.commands.pop_front()
    }

    fn report(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id).filter(|session| !session.is_reported) {
            session.is_reported = true;
            self.ready.push_back(id);
        }
    }
}

impl Session {
    fn push(&mut self, message: ServerMessage) {
        if self.resync_due {
            if survives_resync(&message) {
                self.replace(message);
            }
            return;
        }
        if self.queue.len() < QUEUE_MAX || matches!(message, ServerMessage::Closed { .. }) {
            self.queue.push_back(message);
            return;
        }
        self.resync_due = true;
        for kept in std::mem::take(&mut self.queue).into_iter().chain([message]).filter(survives_resync) {
            self.replace(kept);
        }
    }

    /// Keeps the newest of each type: a newer description or list supersedes the older.
    fn replace(&mut self, message: ServerMessage) {
        let same =
            |queued: &ServerMessage| std::mem::discriminant(queued) == std::mem::discriminant(&message);
        self.queue.retain(|queued| !same(queued));
        self.queue.push_back(message);
    }
}

/// What no snapshot contains.
fn survives_resync(message: &ServerMessage) -> bool {
    matches!(
        message,
        ServerMessage::Offer { .. }
            | ServerMessage::Answer { .. }
            | ServerMessage::Published { .. }
            | ServerMessage::IceRestart
            | ServerMessage::Closed { .. }
    )
}

/// [`RATE_BURST`] tokens, refilled at [`RATE_PER_SECOND`].
#[derive(Debug)]
pub struct TokenBucket {
    /// When the bucket will be full again, on the assumption that nothing is taken.
    full_at: Time,
    is_refusing: bool,
}

impl TokenBucket {
    pub fn new(now: Time) -> TokenBucket {
        TokenBucket { full_at: now, is_refusing: false }
    }

    pub fn take(&mut self, now: Time) -> Admission {
        let token = Duration::from_secs(1) / RATE_PER_SECOND;
        let full_at = self.full_at.max(now) + token;
        if full_at.since(now) <= token * RATE_BURST {
            self.full_at = full_at;
            self.is_refusing = false;
            return Admission::Admitted;
        }
        if std::mem::replace(&mut self.is_refusing, true) { Admission::Ignored } else { Admission::Refused }
    }
}
