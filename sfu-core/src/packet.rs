//! A received packet, parsed once: everything that forwarding needs, without the payload's bytes.

use std::num::NonZeroU32;

use crate::unit::{ExtSeq, LayerId, Pt, RtpTime, Time};
use crate::wire::dependency_descriptor::DependencyDescriptor;
use crate::wire::payload::PayloadDescriptor;
use crate::wire::rtp_ext::{AbsCaptureTime, AudioLevel, PlayoutDelay, VideoOrientation};

/// Where a track lives in the worker's slab.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TrackIx(pub usize);

/// Where a participant's transport lives in the worker's slab.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PeerIx(pub usize);

/// One life of one layer: a new SSRC begins a new stream. Unique in the worker, never reused, so that a reference
/// into a stream that has ended finds nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StreamId(pub u64);

/// The stream that a packet came in on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamRef {
    pub track: TrackIx,
    pub layer: LayerId,
    pub stream: StreamId,
}

/// A stretch of a slot's outgoing stream whose numbers have fixed offsets to one source's. Ids grow and are never reused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentId(pub u32);

#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub seq: ExtSeq,
    pub rtp_time: RtpTime,
    pub received: Time,
    pub marker: bool,
    /// Index of the payload type in the track's list.
    pub format: u8,
    pub descriptor: PayloadDescriptor,
    /// What its dependency descriptor says, if it has one.
    pub dependency: Option<Dependency>,
    /// Its descriptor needs a structure that hasn't come.
    pub is_undescribed: bool,
    pub carried: Carried,
    /// It never came: a later packet's redundancy held a copy.
    pub recovered: bool,
}

impl Packet {
    /// Whether this packet begins a frame that needs no other: a place to start or to switch at.
    pub fn is_keyframe_start(&self) -> bool {
        match &self.dependency {
            // The payload may be encrypted end to end.
            Some(Dependency { descriptor, .. }) => {
                descriptor.starts_frame && (descriptor.has_structure || self.descriptor.is_keyframe_start())
            }
            None => self.descriptor.is_keyframe_start(),
        }
    }

    /// The spatial and temporal layer of its stream, where the publisher names them.
    pub fn layers(&self) -> Option<(u8, u8)> {
        match (&self.dependency, &self.descriptor) {
            (Some(Dependency { descriptor, .. }), _) => Some((descriptor.spatial, descriptor.temporal)),
            (None, PayloadDescriptor::Vp9(vp9)) => Some((vp9.spatial(), vp9.temporal_id()?)),
            (None, descriptor) => Some((0, descriptor.temporal_id()?)),
        }
    }
}

/// A template structure of one stream; ids grow and are never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StructureId(pub u32);

/// A packet's dependency descriptor with what it needs of its stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dependency {
    pub descriptor: DependencyDescriptor,
    /// The frame number, unwrapped.
    pub frame: ExtSeq,
    pub structure: StructureId,
}

/// What leaving out layers changes in the packets that go on.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Trim {
    /// It ends the picture for this receiver.
    pub ends_picture: bool,
    /// The decode targets that the receiver gets, to be written into its descriptor.
    pub active_targets: Option<NonZeroU32>,
    /// Pictures that were left out before it: its picture id is lower by so many.
    pub pictures_out: u16,
    /// It doesn't go on itself, but a number was kept for it: it goes as an empty packet.
    pub is_empty: bool,
}

/// How packets of one source format leave through a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutFormat {
    pub pt: Pt,
    /// RTX payload type (RFC 4588).
    pub rtx: Option<Pt>,
    pub form: PayloadForm,
}

/// What becomes of a payload on its way through a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PayloadForm {
    AsIs,
    /// Redundant audio with this inner payload type.
    Red {
        inner: Pt,
    },
    /// Of redundant audio only the primary block.
    Primary,
}

/// Header extensions that travel on to subscribers that negotiated them.
#[derive(Clone, Copy, Default, Debug)]
pub struct Carried {
    pub audio_level: Option<AudioLevel>,
    pub abs_capture_time: Option<AbsCaptureTime>,
    pub video_orientation: Option<VideoOrientation>,
    pub playout_delay: Option<PlayoutDelay>,
}

#[cfg(test)]
impl Packet {
    pub fn for_test(seq: ExtSeq) -> Packet {
        Packet {
            seq,
            rtp_time: RtpTime(0),
            received: Time::ZERO,
            marker: false,
            format: 0,
            descriptor: PayloadDescriptor::Opaque,
            dependency: None,
            is_undescribed: false,
            carried: Carried::default(),
            recovered: false,
        }
    }
}
