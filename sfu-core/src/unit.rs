//! Newtypes and arithmetic: the vocabulary that every other module speaks.

mod channel;
mod id;
mod probe;
mod rate;
mod seq;
mod time;

pub use channel::{ChannelType, DataMessage, MessageKind, Reliability};
pub use id::{
    Kind, Label, LayerId, Mid, ParticipantId, Pt, Rid, RoomId, SlotId, Ssrc, StreamId, TrackId, TransportId,
    WorkerId,
};
pub use probe::{ProbeCluster, ProbeId};
pub use rate::{Bitrate, DataSize};
pub use seq::{ExtSeq, SeqNo, SeqUnwrapper, TwccSeq};
pub use time::{ClockRate, NtpTime, RtpTime, Time};
