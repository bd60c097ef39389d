//! Newtypes and arithmetic: the vocabulary that every other module speaks.

mod id;
mod probe;
mod rate;
mod seq;
mod time;

pub use id::{
    Kind, Label, LayerId, Mid, ParticipantId, Pt, Rid, RoomId, SlotId, Ssrc, TemporalId, TrackId,
    TransportId, WorkerId,
};
pub use probe::{ProbeCluster, ProbeId};
pub use rate::{Bitrate, DataSize};
pub use seq::{ExtSeq, SeqNo, SeqUnwrapper, TwccSeq};
pub use time::{ClockRate, NtpTime, RtpTime, Time};
