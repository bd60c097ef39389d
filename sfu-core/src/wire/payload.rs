//! What the engine reads from a payload: where keyframes and layers are. Parsed once per packet
//! into a value that is stored with it; nothing here depends on a receiver.

pub mod av1;
pub mod h264;
pub mod h265;
pub mod red;
pub mod vp8;
pub mod vp9;

use self::red::RedDescriptor;
use self::vp8::Vp8Descriptor;
use self::vp9::Vp9Descriptor;

/// What was read from a packet's payload, by its codec.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PayloadDescriptor {
    Vp8(Vp8Descriptor),
    Vp9(Vp9Descriptor),
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
            PayloadDescriptor::Vp9(vp9) => vp9.is_keyframe_start(),
            PayloadDescriptor::Video { keyframe_start, .. } => *keyframe_start,
            PayloadDescriptor::Red(_) | PayloadDescriptor::Opaque => true,
        }
    }

    /// The temporal layer, 0 being the base; `None` when the payload names none.
    pub fn temporal_id(&self) -> Option<u8> {
        match self {
            PayloadDescriptor::Vp8(vp8) => vp8.temporal_id(),
            PayloadDescriptor::Vp9(vp9) => vp9.temporal_id(),
            PayloadDescriptor::Video { temporal_id, .. } => *temporal_id,
            PayloadDescriptor::Red(_) | PayloadDescriptor::Opaque => None,
        }
    }

    /// Width and height of the frame that begins here, where the payload says so.
    pub fn resolution(&self) -> Option<(u16, u16)> {
        match self {
            PayloadDescriptor::Vp8(vp8) => vp8.resolution(),
            PayloadDescriptor::Vp9(vp9) => vp9.structure()?.resolution,
            PayloadDescriptor::Video { .. } | PayloadDescriptor::Red(_) | PayloadDescriptor::Opaque => None,
        }
    }
}

/// Marks a picture id of 15 bits, in VP8 and VP9 alike.
const PICTURE_ID_WIDE: u8 = 0x80;

/// Writes `id` where a picture id of `len` bytes (none, one or two) begins, in its width.
#[inline]
fn write_picture_id(payload: &mut [u8], at: usize, len: usize, id: u16) {
    let [high, low] = id.to_be_bytes();
    match payload.get_mut(at..at + len) {
        Some([wide_high, wide_low]) => (*wide_high, *wide_low) = (high | PICTURE_ID_WIDE, low),
        Some([narrow]) => *narrow = low & !PICTURE_ID_WIDE,
        _ => {}
    }
}
