//! A published track: its description, its layers, and the slots that show it.

use std::time::Duration;

use crate::command::{Codec, PayloadType, TrackSpec};
use crate::packet::{PeerIx, StreamRef};
use crate::publisher::keyframe_requests::KeyframeRequests;
use crate::publisher::recv_stream::RecvStream;
use crate::unit::{Kind, LayerId, ParticipantId, Pt, RoomId, SlotId, Time};

/// A layer without packets for this long no longer counts as arriving.
const LAYER_SILENT: Duration = Duration::from_millis(500);

/// It needn't take so long when a lower layer has gone on with three frames since: browsers drop layers from the top.
/// Longer than a large frame's way through the publisher's pacer. A layer that comes back in time goes on as if nothing
/// had been: slots leave it only at the lower layer's keyframe.
const LAYER_DROPPED: Duration = Duration::from_millis(200);

/// Most layers of one track (rids, or SSRCs of a SIM group).
pub const LAYERS_MAX: usize = 3;

/// A slot that shows the track.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    pub peer: PeerIx,
    pub slot: SlotId,
}

#[derive(Debug)]
pub struct Layer {
    pub id: LayerId,
    pub stream: Option<RecvStream>,
    pub keyframes: KeyframeRequests,
}

#[derive(Debug)]
pub struct Track {
    pub spec: TrackSpec,
    pub owner: PeerIx,
    pub participant: ParticipantId,
    pub room: RoomId,
    pub layers: Vec<Layer>,
    pub routes: Vec<Route>,
    /// Layers that arrive, lowest first.
    pub arriving: Vec<LayerId>,
}

impl Track {
    pub fn new(spec: TrackSpec, owner: PeerIx, participant: ParticipantId, room: RoomId) -> Track {
        let mut track = Track {
            spec,
            owner,
            participant,
            room,
            layers: Vec::new(),
            routes: Vec::new(),
            arriving: Vec::new(),
        };
        track.fit_layers();
        track
    }

    /// Takes a new description; streams that arrive go on.
    pub fn update(&mut self, spec: TrackSpec) {
        self.spec = spec;
        self.fit_layers();
    }

    fn fit_layers(&mut self) {
        let count = self.spec.rids.len().max(self.spec.ssrcs.len()).clamp(1, LAYERS_MAX);
        self.layers.truncate(count);
        for id in self.layers.len()..count {
            self.layers.push(Layer {
                id: LayerId(id as u8),
                stream: None,
                keyframes: KeyframeRequests::default(),
            });
        }
    }

    pub fn is_video(&self) -> bool {
        self.spec.kind == Kind::Video
    }

    pub fn layer(&self, id: LayerId) -> Option<&Layer> {
        self.layers.get(usize::from(id.0))
    }

    pub fn layer_mut(&mut self, id: LayerId) -> Option<&mut Layer> {
        self.layers.get_mut(usize::from(id.0))
    }

    /// The stream that a reference names, while it lives.
    pub fn stream(&self, source: StreamRef) -> Option<&RecvStream> {
        self.layer(source.layer)?.stream.as_ref().filter(|stream| stream.id == source.stream)
    }

    /// The payload type with its index in the list.
    pub fn format(&self, pt: Pt) -> Option<(u8, &PayloadType)> {
        self.formats().find(|(_, format)| format.pt == pt)
    }

    /// The payload type that `pt` is the RTX of.
    pub fn format_of_rtx(&self, pt: Pt) -> Option<(u8, &PayloadType)> {
        self.formats().find(|(_, format)| format.rtx == Some(pt))
    }

    /// The place of plain Opus in the list, and its payload type: what redundant audio is made of.
    pub fn plain_audio(&self) -> Option<(u8, Pt)> {
        let (at, format) = self.formats().find(|(_, format)| format.codec == Codec::Opus)?;
        Some((at, format.pt))
    }

    fn formats(&self) -> impl Iterator<Item = (u8, &PayloadType)> {
        (0..).zip(&self.spec.payload_types)
    }

    /// Asks for a keyframe of a layer; audio has none.
    pub fn want_keyframe(&mut self, layer: LayerId) {
        if self.is_video()
            && let Some(layer) = self.layer_mut(layer)
        {
            layer.keyframes.want();
        }
    }

    /// Which layers arrive now; true when that has changed.
    pub fn refresh_arriving(&mut self, now: Time) -> bool {
        let arrives = |layer: &&Layer| self.arrives(now, layer);
        let arriving = || self.layers.iter().filter(arrives).map(|layer| layer.id);
        if arriving().eq(self.arriving.iter().copied()) {
            return false;
        }
        self.arriving = arriving().collect();
        true
    }

    fn arrives(&self, now: Time, layer: &Layer) -> bool {
        let Some(stream) = layer.stream.as_ref().filter(|_| !self.spec.muted) else { return false };
        let last = stream.last_packet();
        let silence = now.since(last);
        if !self.is_video() || silence < LAYER_DROPPED {
            return true;
        }
        let mut lower = self.layers.iter().filter(|other| other.id < layer.id);
        let dropped =
            lower.any(|other| other.stream.as_ref().is_some_and(|other| other.has_gone_on_since(last)));
        silence < LAYER_SILENT && !dropped
    }
}
