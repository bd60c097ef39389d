//! One transport of a participant with all that hangs on it: what it publishes and what it subscribes to.

use crate::publisher::{Publisher, Tracks};
use crate::subscriber::Subscriber;
use crate::transport::Transport;
use crate::unit::{ParticipantId, RoomId, Time, TransportId};

#[derive(Debug)]
pub struct Peer {
    pub id: TransportId,
    pub participant: ParticipantId,
    pub room: RoomId,
    /// Unique among all peers that the worker ever had: tells a timer's peer from one that took its place.
    pub serial: u32,
    pub transport: Transport,
    pub publisher: Publisher,
    pub subscriber: Subscriber,
    /// Listed among those whose pacer has work.
    pub is_ready: bool,
    /// Listed among those whose timers must be looked at.
    pub is_touched: bool,
    /// The control plane was told that checks are overdue.
    pub is_overdue: bool,
    /// The timer that is set; [`Time::MAX`] without one.
    pub timer: Time,
}

impl Peer {
    /// When the peer wants to be looked at next.
    pub fn next_timeout(&self, now: Time, tracks: &Tracks) -> Time {
        let transport = self.transport.next_timeout(now);
        if !self.transport.is_connected() {
            return transport;
        }
        let feedback = self.publisher.next_timeout(tracks);
        let reports = self.subscriber.next_timeout();
        [feedback, reports].into_iter().flatten().fold(transport, Time::min)
    }
}
