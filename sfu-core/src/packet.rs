//! A received packet, parsed once: everything that forwarding needs, without the payload's bytes.

use crate::unit::{ExtSeq, LayerId, Pt, RtpTime, Time};
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
    pub carried: Carried,
    /// It never came: a later packet's redundancy held a copy.
    pub recovered: bool,
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
            carried: Carried::default(),
            recovered: false,
        }
    }
}
