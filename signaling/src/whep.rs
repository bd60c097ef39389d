//! WHEP (draft-ietf-wish-whep): a player's offer, or its answer to ours, makes a hidden participant with one slot per kind,
//! which follows the room's speaker or one publisher and goes on when that one comes back. Players cost no messages:
//! nobody is told of them, and they are told nothing. Knows no HTTP.

use sfu_core::command::Command;
use sfu_core::unit::{Kind, ParticipantId, Time};

use crate::directory::Context;
use crate::error::{OfferError, ResourceError};
use crate::negotiate::{MediaFlow, Negotiation, OfferOutcome};
use crate::participant::{Connectivity, FrontEnd, Identity, Participant};
use crate::resource::{Created, Resource, ResourceId, ResourcePath};
use crate::room::{Entrant, Room};
use crate::rooms::Rooms;
use crate::sdp::MediaKind;
use crate::session::Place;
use crate::slots::{Group, SlotState, Wanted};
use crate::viewer::Viewer;

/// What a player follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Follow {
    /// Whoever speaks, or the only one who publishes.
    Speaker,
    /// The participant of this identity.
    Identity(String),
}

/// What a player asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ViewRequest {
    pub room: String,
    pub follow: Follow,
    /// `None` asks for an offer of ours.
    pub offer: Option<String>,
}

/// What a player gets.
#[derive(Clone, PartialEq, Debug)]
pub enum Viewed {
    /// Its offer, answered.
    Answered(Created),
    /// Our offer, because it made none.
    Offered(Created),
    /// Our offer, because its own can't be accepted as it is; the error says why.
    CounterOffered(Created, ResourceError),
}

impl Rooms {
    /// Begins a player's session. Nothing has changed when that fails.
    pub fn view(&mut self, now: Time, request: &ViewRequest) -> Result<Viewed, ResourceError> {
        let live = self.room_by_name(&request.room).is_some_and(|room| room.is_live(&request.follow));
        if !live {
            return Err(ResourceError::NotLive);
        }
        let Some(offer) = &request.offer else {
            return Ok(Viewed::Offered(self.offer_to_viewer(now, request)?));
        };
        let mut negotiation = self.negotiation_for(&request.room, MediaFlow::Egress)?;
        let accepted = negotiation.receive_offer(offer, self.rng()).map_err(ResourceError::from);
        match accepted.and_then(|outcome| check_egress(&negotiation).map(|()| outcome)) {
            Ok(outcome) => Ok(Viewed::Answered(self.answer_viewer(now, request, negotiation, outcome)?)),
            // What is no SDP at all gets no offer, either.
            Err(ResourceError::Offer(OfferError::Sdp(error))) => Err(OfferError::Sdp(error).into()),
            Err(error) => Ok(Viewed::CounterOffered(self.offer_to_viewer(now, request)?, error)),
        }
    }

    fn answer_viewer(
        &mut self,
        now: Time,
        request: &ViewRequest,
        negotiation: Negotiation,
        outcome: OfferOutcome,
    ) -> Result<Created, ResourceError> {
        let place = self.enter_viewer(now, request, negotiation)?;
        self.with_room(now, place.room, |room, ctx| {
            room.begin(place.participant, outcome.remote, false, ctx);
        });
        self.created(place, outcome.answer)
    }

    fn offer_to_viewer(&mut self, now: Time, request: &ViewRequest) -> Result<Created, ResourceError> {
        let mut negotiation = self.negotiation_for(&request.room, MediaFlow::Egress)?;
        for kind in [Kind::Audio, Kind::Video] {
            negotiation.slots.reserve(kind, self.rng());
        }
        let sdp = negotiation.make_offer().sdp.clone();
        let place = self.enter_viewer(now, request, negotiation)?;
        self.created(place, sdp)
    }

    fn enter_viewer(
        &mut self,
        now: Time,
        request: &ViewRequest,
        negotiation: Negotiation,
    ) -> Result<Place, ResourceError> {
        let id = ResourceId::generate(self.rng());
        let identity = Identity { identity: String::new(), name: String::new() };
        let viewer = Viewer::new(Resource::new(id, now), request.follow.clone());
        let entrant = Entrant { identity, front_end: FrontEnd::Whep(viewer), negotiation };
        self.enter(now, &request.room, entrant)
    }

    /// The player's answer to our offer.
    pub fn answer_offer(&mut self, now: Time, path: &ResourcePath, sdp: &str) -> Result<(), ResourceError> {
        self.with_resource(now, path, |room, place, ctx| room.answer_offer(place.participant, sdp, ctx))
    }
}

/// At most one section of a kind, all of which receive and have a codec of ours: a player that offers anything else is
/// better served with an offer that it can answer.
fn check_egress(negotiation: &Negotiation) -> Result<(), ResourceError> {
    let (mut audio, mut video) = (0, 0);
    for section in negotiation.sections() {
        match section.kind {
            MediaKind::Rtp(_) if section.rejected || !section.receives => {
                return Err(ResourceError::Unprocessable("an m-section can't be received through"));
            }
            MediaKind::Rtp(Kind::Audio) => audio += 1,
            MediaKind::Rtp(Kind::Video) => video += 1,
            MediaKind::Data | MediaKind::Other(_) => {}
        }
    }
    match (audio, video) {
        (0, 0) => Err(ResourceError::Unprocessable("the offer receives neither audio nor video")),
        (0..=1, 0..=1) => Ok(()),
        _ => Err(ResourceError::Unprocessable("at most one audio and one video section")),
    }
}

impl Room {
    /// Somebody publishes whom a player could follow.
    pub(crate) fn is_live(&self, follow: &Follow) -> bool {
        match follow {
            Follow::Speaker => self.participants().any(is_live),
            Follow::Identity(identity) => {
                self.participants().any(|other| other.identity == *identity && is_live(other))
            }
        }
    }

    fn answer_offer(
        &mut self,
        id: ParticipantId,
        sdp: &str,
        ctx: &mut Context<'_>,
    ) -> Result<(), ResourceError> {
        let worker = self.worker;
        let participant = self.participant_mut(id).ok_or(ResourceError::NotFound)?;
        participant.front_end.resource_mut().ok_or(ResourceError::NotFound)?.admit(ctx.now)?;
        let offer = participant.negotiation.outstanding().ok_or(ResourceError::NothingToAnswer)?.id;
        let remote = participant.negotiation.receive_answer(offer, sdp)?;
        let transport = participant.transport;
        if let Some(remote) = remote {
            ctx.out.command(worker, Command::SetRemote { transport, remote });
        }
        self.sync(id, ctx);
        Ok(())
    }

    /// What a player is to be shown: of each kind that it has a slot for, the best track of the one whom it follows.
    pub(crate) fn wanted_by_viewer(&self, viewer: &Participant, follow: &Follow) -> Vec<Wanted> {
        let owner = match follow {
            Follow::Speaker => self.featured.and_then(|id| self.participant(id)),
            Follow::Identity(identity) => self.participants().find(|other| other.identity == *identity),
        };
        let Some(owner) = owner else { return Vec::new() };
        let group = Group { participant: owner.id, screen: false };
        let has_slot = |kind: Kind| {
            let usable = |slot: &&crate::slots::Slot| slot.kind == kind && slot.state != SlotState::Rejected;
            viewer.negotiation.slots.iter().any(|slot| usable(&slot))
        };
        let best = |kind: Kind| {
            let tracks = owner.tracks.values().filter(|track| track.spec.kind == kind);
            tracks.max_by_key(|track| (track.source.prominence(), std::cmp::Reverse(track.spec.id)))
        };
        let kinds = [Kind::Audio, Kind::Video].into_iter().filter(|kind| has_slot(*kind));
        kinds
            .filter_map(best)
            .map(|track| Wanted { track: track.spec.id, kind: track.spec.kind, group })
            .collect()
    }

    /// Decides anew whom the players of this room follow who follow the speaker, and moves them if that has changed.
    pub(crate) fn follow_speaker(&mut self, ctx: &mut Context<'_>) {
        let featured = self.choose_featured();
        if std::mem::replace(&mut self.featured, featured) == featured {
            return;
        }
        let follows = |other: &&Participant| {
            matches!(&other.front_end, FrontEnd::Whep(Viewer { follow: Follow::Speaker, .. }))
        };
        let viewers: Vec<ParticipantId> = self.everybody().filter(follows).map(|viewer| viewer.id).collect();
        for id in viewers {
            self.sync(id, ctx);
        }
    }

    /// Whoever was shown last stays while nobody else speaks, or still speaks; else the loudest, else somebody with a picture.
    pub(crate) fn choose_featured(&self) -> Option<ParticipantId> {
        let live = |id: &ParticipantId| self.participant(*id).is_some_and(is_live);
        let current = self.featured.filter(live);
        let mut speaking = self.speaking.iter().copied().filter(live);
        if let Some(current) = current.filter(|current| speaking.clone().any(|id| id == *current)) {
            return Some(current);
        }
        let has_picture =
            |other: &&Participant| other.tracks.values().any(|track| track.spec.kind == Kind::Video);
        let publishers = || self.participants().filter(|other| is_live(other));
        let first = || publishers().find(has_picture).or_else(|| publishers().next()).map(|other| other.id);
        speaking.next().or(current).or_else(first)
    }
}

/// It publishes, and its media path has stood.
fn is_live(participant: &Participant) -> bool {
    let connecting = matches!(participant.connectivity, Connectivity::Connecting { .. });
    !connecting && !participant.tracks.is_empty()
}
