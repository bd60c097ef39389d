//! What WHIP and WHEP sessions have in common: HTTP resources with unguessable names, whose ICE session has an entity tag,
//! is trickled to, restarted and ended. Knows no HTTP: preconditions come in as values, errors go out as values.

use sfu_core::command::Command;
use sfu_core::unit::Time;

use crate::directory::Context;
use crate::error::ResourceError;
use crate::message::{ClosedReason, IceServer, LeaveReason};
use crate::negotiate::ice_text;
use crate::participant::Participant;
use crate::room::Room;
use crate::rooms::Rooms;
use crate::sdp::fragment::Fragment;
use crate::session::{Admission, Place, TokenBucket};

/// Characters of a resource's name: 192 random bits.
const RESOURCE_ID_LEN: usize = 32;

/// Entity tags looked at in one `If-Match`; a client has one at a time.
pub const ENTITY_TAGS_MAX: usize = 16;

/// Participants that have no ICE pair yet, in all rooms. Each costs a worker memory and a deadline, and a client that
/// means it is through in a second: more is a flood (RFC 9725 §5).
pub const UNCONNECTED_MAX: usize = 1_000;

/// A WHIP or WHEP session, by the name in its URL: letters, digits, `-` and `_`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ResourceId(String);

impl ResourceId {
    /// `None` unless `text` has the form of a name.
    pub fn new(text: &str) -> Option<ResourceId> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (text.len() == RESOURCE_ID_LEN && text.bytes().all(plain)).then(|| ResourceId(text.to_owned()))
    }

    pub(crate) fn generate(rng: &mut rand::rngs::StdRng) -> ResourceId {
        ResourceId(ice_text(rng, RESOURCE_ID_LEN).replace('+', "-").replace('/', "_"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which protocol made a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    Whip,
    Whep,
}

/// What a session's URL says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResourcePath {
    pub protocol: Protocol,
    pub room: String,
    pub id: ResourceId,
}

/// A session as its maker is told of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Created {
    pub id: ResourceId,
    /// The answer to the client's offer, or our offer.
    pub sdp: String,
    /// Of the ICE session, without quotes.
    pub entity_tag: String,
    pub ice_servers: Vec<IceServer>,
}

/// `If-Match` of a request (RFC 9110 §13.1.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Precondition {
    Missing,
    /// `*`
    Any,
    /// Strong entity tags without quotes. Weak ones never match.
    Tags(Vec<String>),
}

/// What became of a fragment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Patched {
    /// Candidates were taken.
    Trickled,
    /// ICE begins anew with this fragment of ours.
    Restarted { entity_tag: String, fragment: String },
}

/// What a participant of an HTTP front-end has in place of a session.
#[derive(Debug)]
pub struct Resource {
    pub id: ResourceId,
    rate: TokenBucket,
}

impl Resource {
    pub fn new(id: ResourceId, now: Time) -> Resource {
        Resource { id, rate: TokenBucket::new(now) }
    }

    /// Counts a request against the limits of a session's messages.
    pub fn admit(&mut self, now: Time) -> Result<(), ResourceError> {
        if self.rate.take(now) == Admission::Admitted { Ok(()) } else { Err(ResourceError::RateLimited) }
    }
}

/// The ICE session's name: our ufrag, which is new with each of them.
pub fn entity_tag(participant: &Participant) -> String {
    participant.negotiation.ice().ufrag.clone()
}

impl Rooms {
    /// Takes a fragment of Trickle ICE: candidates for the current ICE session, or a restart (RFC 9725 §4.3).
    pub fn patch_ice(
        &mut self,
        now: Time,
        path: &ResourcePath,
        precondition: &Precondition,
        fragment: &str,
    ) -> Result<Patched, ResourceError> {
        self.with_resource(now, path, |room, place, ctx| room.patch_ice(place, precondition, fragment, ctx))
    }

    /// Ends a session at its client's wish.
    pub fn delete(&mut self, now: Time, path: &ResourcePath) -> Result<(), ResourceError> {
        self.with_resource(now, path, |room, place, ctx| {
            room.remove(place.participant, LeaveReason::Left, ClosedReason::Left, ctx);
            Ok(())
        })
    }

    /// Whether there is such a session.
    pub fn has_resource(&self, path: &ResourcePath) -> bool {
        self.place_of_resource(path).is_some()
    }

    fn place_of_resource(&self, path: &ResourcePath) -> Option<Place> {
        self.find_resource(path)
            .map(|(room, participant)| Place { room: room.id, participant: participant.id })
    }

    pub(crate) fn find_resource(&self, path: &ResourcePath) -> Option<(&Room, &Participant)> {
        let place = self.directory().resource(&path.id)?;
        let room = self.room_by_name(&path.room).filter(|room| room.id == place.room)?;
        let participant = room.participant(place.participant)?;
        (participant.front_end.protocol() == Some(path.protocol)).then_some((room, participant))
    }

    /// Runs `work` in the room of a resource.
    pub(crate) fn with_resource<R>(
        &mut self,
        now: Time,
        path: &ResourcePath,
        work: impl FnOnce(&mut Room, Place, &mut Context<'_>) -> Result<R, ResourceError>,
    ) -> Result<R, ResourceError> {
        let place = self.place_of_resource(path).ok_or(ResourceError::NotFound)?;
        let result = self.with_room(now, place.room, |room, ctx| Some(work(room, place, ctx)));
        result.unwrap_or(Err(ResourceError::NotFound))
    }
}

impl Room {
    fn patch_ice(
        &mut self,
        place: Place,
        precondition: &Precondition,
        fragment: &str,
        ctx: &mut Context<'_>,
    ) -> Result<Patched, ResourceError> {
        let worker = self.worker;
        let participant = self.participant_mut(place.participant).ok_or(ResourceError::NotFound)?;
        participant.front_end.resource_mut().ok_or(ResourceError::NotFound)?.admit(ctx.now)?;
        // A precondition counts only for a request that would succeed without it (RFC 9110 §13.2.1).
        let fragment = Fragment::parse(fragment)?;
        let negotiation = &mut participant.negotiation;
        if !fragment.mids.iter().all(|mid| negotiation.has_mid(mid)) {
            return Err(ResourceError::Unprocessable("the fragment names an m-section that there is not"));
        }
        let remote = negotiation.remote().ok_or(ResourceError::NotNegotiated)?;
        let restart = fragment.ice.filter(|ice| *ice != remote.ice);
        match precondition {
            Precondition::Missing => return Err(ResourceError::PreconditionRequired),
            Precondition::Any => {}
            Precondition::Tags(tags) if tags.contains(&negotiation.ice().ufrag) => {}
            Precondition::Tags(_) => return Err(ResourceError::PreconditionFailed),
        }
        let Some(ice) = restart else { return Ok(Patched::Trickled) };
        if ice.ufrag == remote.ice.ufrag || ice.pwd == remote.ice.pwd {
            // RFC 8839 §4.4.1.1.1: a restart changes both.
            return Err(ResourceError::Unprocessable("an ICE restart changes both ice-ufrag and ice-pwd"));
        }
        let (local, remote) = negotiation.restart_ice(ice, ctx.rng).ok_or(ResourceError::NotNegotiated)?;
        let transport = participant.transport;
        ctx.out.command(worker, Command::RestartIce { transport, local });
        ctx.out.command(worker, Command::SetRemote { transport, remote });
        let fragment = participant.negotiation.ice_fragment();
        Ok(Patched::Restarted { entity_tag: entity_tag(participant), fragment })
    }
}
