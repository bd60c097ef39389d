//! A room as one worker sees it: who is in it here, who speaks, and the fan-out of what was received.

pub mod active_speaker;
pub mod forward;

use crate::room::active_speaker::ActiveSpeaker;

/// A worker's share of a room.
#[derive(Debug, Default)]
pub struct Room {
    pub speaker: ActiveSpeaker,
    /// Transports of the room on this worker.
    pub peers: usize,
}
