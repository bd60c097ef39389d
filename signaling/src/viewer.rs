//! What a player may ask and hear beyond its picture, by the extensions of draft-ietf-wish-whep (its events document): which
//! layer it gets, and what is going on. State rather than messages: it is looked at by whoever has asked, and kept for nobody.

use std::collections::BTreeMap;

use sfu_core::command::LayerRequest;
use sfu_core::unit::{Kind, LayerId, Rid, Time};

use crate::error::ResourceError;
use crate::participant::{FrontEnd, Participant, Track};
use crate::resource::{Resource, ResourcePath};
use crate::room::Room;
use crate::rooms::Rooms;
use crate::sdp::MediaKind;
use crate::whep::Follow;

/// Event streams of one player; one more closes the oldest.
const EVENT_STREAMS_MAX: usize = 4;

/// A player.
#[derive(Debug)]
pub struct Viewer {
    pub resource: Resource,
    pub follow: Follow,
    /// Of whatever video it is shown.
    pub layer: LayerRequest,
    event_streams: BTreeMap<u32, Vec<ViewerEvent>>,
    event_stream_next: u32,
}

/// A kind of event that a player can hear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ViewerEvent {
    /// Somebody is live whom the player follows.
    Active,
    /// Nobody is any more.
    Inactive,
    /// The layers of the video that it is shown.
    Layers,
    /// How many players the room has.
    ViewerCount,
}

impl ViewerEvent {
    pub const ALL: [ViewerEvent; 4] =
        [ViewerEvent::Active, ViewerEvent::Inactive, ViewerEvent::Layers, ViewerEvent::ViewerCount];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            ViewerEvent::Active => "active",
            ViewerEvent::Inactive => "inactive",
            ViewerEvent::Layers => "layers",
            ViewerEvent::ViewerCount => "viewercount",
        }
    }
}

/// Which layer a player asks for; everything absent means the server's choice.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LayerSelection {
    /// Place of the m-section; the first video without.
    pub section: Option<usize>,
    pub rid: Option<String>,
    /// 0 is the lowest.
    pub spatial: Option<u8>,
}

/// A layer of the video that a player is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LayerState {
    pub rid: Option<Rid>,
    pub layer: LayerId,
    /// It arrives at the server.
    pub active: bool,
}

/// What a player can know.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ViewerState {
    /// What the stream is to carry.
    pub events: Vec<ViewerEvent>,
    pub active: bool,
    /// Place of the video's m-section, and its layers, highest first.
    pub layers: Option<(usize, Vec<LayerState>)>,
    pub viewers: usize,
}

impl Viewer {
    pub fn new(resource: Resource, follow: Follow) -> Viewer {
        Viewer {
            resource,
            follow,
            layer: LayerRequest::default(),
            event_streams: BTreeMap::new(),
            event_stream_next: 0,
        }
    }

    fn open_events(&mut self, events: Vec<ViewerEvent>) -> u32 {
        if self.event_streams.len() >= EVENT_STREAMS_MAX {
            self.event_streams.pop_first();
        }
        self.event_stream_next = self.event_stream_next.wrapping_add(1);
        self.event_streams.insert(self.event_stream_next, events);
        self.event_stream_next
    }
}

impl Rooms {
    /// Sets which layer a player gets, of this publisher and those that follow.
    pub fn select_layer(
        &mut self,
        now: Time,
        path: &ResourcePath,
        selection: &LayerSelection,
    ) -> Result<(), ResourceError> {
        self.with_resource(now, path, |room, place, ctx| {
            let participant = room.participant(place.participant).ok_or(ResourceError::NotFound)?;
            let section = video_section(participant);
            if selection.section.is_some_and(|wanted| Some(wanted) != section) {
                return Err(ResourceError::Unprocessable("this m-section is no video of the session"));
            }
            let layer = match &selection.rid {
                Some(rid) => LayerRequest::AtMost(layer_of(room.shown_video(participant), rid)?),
                None => {
                    selection.spatial.map_or(LayerRequest::Highest, |at| LayerRequest::AtMost(LayerId(at)))
                }
            };
            let viewer = viewer_mut(room, place.participant)?;
            viewer.resource.admit(ctx.now)?;
            viewer.layer = layer;
            room.sync(place.participant, ctx);
            Ok(())
        })
    }

    /// Opens a stream of these events, or of all; its number.
    pub fn open_events(
        &mut self,
        now: Time,
        path: &ResourcePath,
        names: Option<&[String]>,
    ) -> Result<u32, ResourceError> {
        let by_name = |name: &String| ViewerEvent::ALL.into_iter().find(|event| event.name() == name);
        let events: Option<Vec<ViewerEvent>> = match names {
            Some(names) => names.iter().take(ViewerEvent::ALL.len() + 1).map(by_name).collect(),
            None => Some(ViewerEvent::ALL.to_vec()),
        };
        let events = events.ok_or(ResourceError::UnknownEvent)?;
        self.with_resource(now, path, |room, place, ctx| {
            let viewer = viewer_mut(room, place.participant)?;
            viewer.resource.admit(ctx.now)?;
            Ok(viewer.open_events(events))
        })
    }

    pub fn close_events(&mut self, now: Time, path: &ResourcePath, stream: u32) -> Result<(), ResourceError> {
        self.with_resource(now, path, |room, place, _| {
            let closed = viewer_mut(room, place.participant)?.event_streams.remove(&stream);
            closed.map(|_| ()).ok_or(ResourceError::NotFound)
        })
    }

    /// What the reader of an event stream is to know now; `None` once stream or session have ended.
    pub fn viewer_state(&self, path: &ResourcePath, stream: u32) -> Option<ViewerState> {
        let (room, participant) = self.find_resource(path)?;
        let FrontEnd::Whep(viewer) = &participant.front_end else { return None };
        let layers = video_section(participant).zip(room.shown_video(participant).map(layers_of));
        Some(ViewerState {
            events: viewer.event_streams.get(&stream)?.clone(),
            active: room.is_live(&viewer.follow),
            layers,
            viewers: room.len().saturating_sub(room.participants().count()),
        })
    }
}

impl Room {
    /// The video track that a player's slot shows.
    fn shown_video(&self, viewer: &Participant) -> Option<&Track> {
        let slots = viewer.negotiation.slots.iter().filter(|slot| slot.kind == Kind::Video);
        let track = slots.filter_map(|slot| slot.track()).next()?;
        self.participants().find_map(|owner| owner.tracks.get(&track))
    }
}

fn viewer_mut(room: &mut Room, id: sfu_core::unit::ParticipantId) -> Result<&mut Viewer, ResourceError> {
    match room.participant_mut(id).map(|participant| &mut participant.front_end) {
        Some(FrontEnd::Whep(viewer)) => Ok(viewer),
        _ => Err(ResourceError::NotFound),
    }
}

fn video_section(participant: &Participant) -> Option<usize> {
    participant.negotiation.sections().position(|section| *section.kind == MediaKind::Rtp(Kind::Video))
}

fn layer_of(track: Option<&Track>, rid: &str) -> Result<LayerId, ResourceError> {
    let rids = track.map(|track| track.spec.rids.as_slice()).unwrap_or_default();
    let at = rids.iter().position(|known| known.0.as_str() == rid);
    let layer = at.and_then(|at| u8::try_from(at).ok()).map(LayerId);
    layer.ok_or(ResourceError::Unprocessable("the video has no layer of this rid"))
}

fn layers_of(track: &Track) -> Vec<LayerState> {
    let count = track.spec.rids.len().max(track.spec.ssrcs.len()).clamp(1, crate::negotiate::LAYERS_MAX);
    let state = |at: usize| {
        let layer = LayerId(u8::try_from(at).unwrap_or(u8::MAX));
        LayerState { rid: track.spec.rids.get(at).copied(), layer, active: track.layers.contains(&layer) }
    };
    (0..count).rev().map(state).collect()
}
