//! WHIP (RFC 9725): an encoder's offer makes a participant that everybody sees, publishes and is told nothing. Knows no HTTP.

use sfu_core::unit::{Kind, Time};

use crate::error::ResourceError;
use crate::negotiate::{MediaFlow, Negotiation};
use crate::participant::FrontEnd;
use crate::resource::{Created, Resource, ResourceId};
use crate::room::Entrant;
use crate::rooms::Rooms;
use crate::sdp::MediaKind;

/// What an encoder asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PublishRequest {
    pub room: String,
    /// Replaces an earlier participant of the same identity; the server makes one up when there is none.
    pub identity: Option<String>,
    /// The identity when there is none.
    pub name: Option<String>,
    /// It shows a screen rather than a camera.
    pub screen: bool,
    /// The offer.
    pub sdp: String,
}

impl Rooms {
    /// Answers an encoder's offer with a new participant. Nothing has changed when that fails.
    pub fn publish(&mut self, now: Time, request: &PublishRequest) -> Result<Created, ResourceError> {
        let identity = self.identity_of(&request.room, request.identity.as_ref(), request.name.as_ref())?;
        let mut negotiation = self.negotiation_for(&request.room, MediaFlow::Ingest)?;
        let outcome = negotiation.receive_offer(&request.sdp, self.rng())?;
        check_ingest(&negotiation)?;
        let id = ResourceId::generate(self.rng());
        let front_end = FrontEnd::Whip(Resource::new(id, now));
        let place = self.enter(now, &request.room, Entrant { identity, front_end, negotiation })?;
        self.with_room(now, place.room, |room, ctx| {
            room.begin(place.participant, outcome.remote, request.screen, ctx);
        });
        self.created(place, outcome.answer)
    }
}

/// RFC 9725 §4.2 and §4.4.2: one audio and one video section at most, all of which send, or nothing; and no half success.
fn check_ingest(negotiation: &Negotiation) -> Result<(), ResourceError> {
    let (mut audio, mut video) = (0, 0);
    for section in negotiation.sections() {
        match section.kind {
            MediaKind::Rtp(kind) if section.rejected => {
                return Err(ResourceError::Unprocessable(rejection(*kind)));
            }
            MediaKind::Rtp(_) if !section.publishes => {
                return Err(ResourceError::Unprocessable("an m-section is neither sendonly nor sendrecv"));
            }
            MediaKind::Rtp(Kind::Audio) => audio += 1,
            MediaKind::Rtp(Kind::Video) => video += 1,
            MediaKind::Data | MediaKind::Other(_) => {}
        }
    }
    match (audio, video) {
        (0, 0) => Err(ResourceError::Unprocessable("the offer sends neither audio nor video")),
        (0..=1, 0..=1) => Ok(()),
        _ => Err(ResourceError::Unprocessable("at most one audio and one video section")),
    }
}

fn rejection(kind: Kind) -> &'static str {
    match kind {
        Kind::Audio => {
            "the room takes none of the offer's audio codecs, or its section is outside of the bundle"
        }
        Kind::Video => {
            "the room takes none of the offer's video codecs, or its section is outside of the bundle"
        }
    }
}
