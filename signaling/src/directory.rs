//! What all rooms share: ids, the places that they lead to, deadlines, and the context of one call.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use sfu_core::unit::{ParticipantId, RoomId, Time, TrackId, TransportId};

use crate::resource::ResourceId;
use crate::rooms::RoomsConfig;
use crate::session::{Outbox, Place};

/// Which id leads where. Ids are counted up and never reused.
#[derive(Debug, Default)]
pub struct Directory {
    transports: BTreeMap<TransportId, Place>,
    tracks: BTreeMap<TrackId, Place>,
    resume_tokens: BTreeMap<String, Place>,
    resources: BTreeMap<ResourceId, Place>,
    room_next: u64,
    participant_next: u64,
    transport_next: u64,
    track_next: u64,
}

fn count(next: &mut u64) -> u64 {
    *next = next.wrapping_add(1);
    *next
}

impl Directory {
    pub fn new_room(&mut self) -> RoomId {
        RoomId(count(&mut self.room_next))
    }

    pub fn new_participant(&mut self) -> ParticipantId {
        ParticipantId(count(&mut self.participant_next))
    }

    pub fn add_transport(&mut self, place: Place) -> TransportId {
        let id = TransportId(count(&mut self.transport_next));
        self.transports.insert(id, place);
        id
    }

    pub fn add_track(&mut self, place: Place) -> TrackId {
        let id = TrackId(count(&mut self.track_next));
        self.tracks.insert(id, place);
        id
    }

    pub fn add_resume_token(&mut self, token: String, place: Place) {
        self.resume_tokens.insert(token, place);
    }

    pub fn add_resource(&mut self, id: ResourceId, place: Place) {
        self.resources.insert(id, place);
    }

    pub fn remove_resource(&mut self, id: &ResourceId) {
        self.resources.remove(id);
    }

    pub fn resource(&self, id: &ResourceId) -> Option<Place> {
        self.resources.get(id).copied()
    }

    pub fn resource_count(&self) -> usize {
        self.resources.len()
    }

    pub fn remove_transport(&mut self, id: TransportId) {
        self.transports.remove(&id);
    }

    pub fn remove_track(&mut self, id: TrackId) {
        self.tracks.remove(&id);
    }

    pub fn remove_resume_token(&mut self, token: &str) {
        self.resume_tokens.remove(token);
    }

    pub fn transport(&self, id: TransportId) -> Option<Place> {
        self.transports.get(&id).copied()
    }

    pub fn track(&self, id: TrackId) -> Option<Place> {
        self.tracks.get(&id).copied()
    }

    pub fn resume_token(&self, token: &str) -> Option<Place> {
        self.resume_tokens.get(token).copied()
    }

    pub fn track_count(&self) -> usize {
        self.tracks.len()
    }

    pub fn transport_count(&self) -> usize {
        self.transports.len()
    }

    pub fn resume_token_count(&self) -> usize {
        self.resume_tokens.len()
    }
}

/// What a deadline ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Deadline {
    /// A participant without ICE.
    Ice(RoomId, ParticipantId),
    /// A participant without a connection.
    Resume(RoomId, ParticipantId),
    /// A room without participants.
    EmptyRoom(RoomId),
}

/// Deadlines by time.
#[derive(Debug, Default)]
pub struct Deadlines {
    by_time: BTreeSet<(Time, Deadline)>,
}

impl Deadlines {
    pub fn set(&mut self, at: Time, deadline: Deadline) {
        self.by_time.insert((at, deadline));
    }

    pub fn clear(&mut self, at: Time, deadline: Deadline) {
        self.by_time.remove(&(at, deadline));
    }

    pub fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }

    pub fn count(&self) -> usize {
        self.by_time.len()
    }

    /// Participants that have no ICE pair yet.
    pub fn connecting(&self) -> usize {
        self.by_time.iter().filter(|(_, deadline)| matches!(deadline, Deadline::Ice(..))).count()
    }

    /// The next deadline that has passed.
    pub fn pop_due(&mut self, now: Time) -> Option<Deadline> {
        let (at, _) = self.by_time.first()?;
        if *at > now {
            return None;
        }
        self.by_time.pop_first().map(|(_, deadline)| deadline)
    }
}

/// What a room works with during one call.
#[derive(Debug)]
pub struct Context<'a> {
    pub now: Time,
    pub config: &'a RoomsConfig,
    pub rng: &'a mut StdRng,
    pub out: &'a mut Outbox,
    pub directory: &'a mut Directory,
    pub deadlines: &'a mut Deadlines,
}
