//! What the engine reads from a payload: where keyframes and temporal layers are. Parsed once per packet
//! into a value that is stored with it; nothing here depends on a receiver.

pub mod av1;
pub mod h264;
pub mod h265;
pub mod red;
pub mod vp8;
pub mod vp9;

use self::red::RedDescriptor;
use self::vp8::Vp8Descriptor;

/// What was read from a packet's payload, by its codec.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PayloadDescriptor {
    Vp8(Vp8Descriptor),
    /// A video codec whose payload is forwarded as it is; its module says where keyframes begin.
    Video {
        keyframe_start: bool,
        temporal_id: Option<u8>,
    },
    /// Opus with copies of earlier packets.
    Red(RedDescriptor),
    /// A codec whose every packet stands alone, such as Opus.
    Opaque,
}

impl PayloadDescriptor {
    /// Whether this packet begins a frame that needs no other: a place to start or to switch at.
    pub fn is_keyframe_start(&self) -> bool {
        match self {
            PayloadDescriptor::Vp8(vp8) => vp8.is_keyframe_start(),
            PayloadDescriptor::Video { keyframe_start, .. } => *keyframe_start,
            PayloadDescriptor::Red(_) | PayloadDescriptor::Opaque => true,
        }
    }

    /// The temporal layer, 0 being the base; `None` when the payload names none.
    pub fn temporal_id(&self) -> Option<u8> {
        match self {
            PayloadDescriptor::Vp8(vp8) => vp8.temporal_id(),
            PayloadDescriptor::Video { temporal_id, .. } => *temporal_id,
            PayloadDescriptor::Red(_) | PayloadDescriptor::Opaque => None,
        }
    }

    /// Whether a receiver of lower temporal layers may go up to this packet's layer from here on.
    pub fn is_switching_point(&self) -> bool {
        match self {
            PayloadDescriptor::Vp8(vp8) => vp8.is_keyframe_start() || vp8.is_layer_sync(),
            PayloadDescriptor::Video { keyframe_start, .. } => *keyframe_start,
            PayloadDescriptor::Red(_) | PayloadDescriptor::Opaque => true,
        }
    }

    /// Width and height of the frame that begins here, where the payload says so.
    pub fn resolution(&self) -> Option<(u16, u16)> {
        match self {
            PayloadDescriptor::Vp8(vp8) => vp8.resolution(),
            PayloadDescriptor::Video { .. } | PayloadDescriptor::Red(_) | PayloadDescriptor::Opaque => None,
        }
    }
}
