//! How much a worker holds: read by metrics, and by tests that want to see nothing left.

use crate::sfu::Sfu;

/// Sizes of everything that grows with participants and tracks.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Load {
    pub transports: usize,
    /// Ufrags by which checks find a transport; two for one that is restarting ICE.
    pub ufrags: usize,
    /// Remote addresses that have passed a check.
    pub remotes: usize,
    pub tracks: usize,
    pub rooms: usize,
    pub slots: usize,
    /// Slots that show a track.
    pub routes: usize,
    /// Deadlines in the heap, with those that were moved since.
    pub timers: usize,
    /// Packets, datagrams, compounds and events that wait to be released or polled.
    pub queued: usize,
}

impl Sfu {
    /// Walks over everything: for metrics, not for every packet.
    pub fn load(&self) -> Load {
        let subscribers = || self.peers.iter().map(|(_, peer)| &peer.subscriber);
        let paced: usize = subscribers().map(|subscriber| subscriber.pacer.len()).sum();
        Load {
            transports: self.peers.len().max(self.peers_by_id.len()),
            ufrags: self.peers_by_ufrag.len(),
            remotes: self.peers_by_remote.len(),
            tracks: self.tracks.len().max(self.tracks_by_id.len()),
            rooms: self.rooms.len(),
            slots: subscribers().map(|subscriber| subscriber.slots.iter().count()).sum(),
            routes: self.tracks.iter().map(|(_, track)| track.routes.len()).sum(),
            timers: self.timers.len(),
            queued: paced
                + self.fresh.len()
                + self.ready.len()
                + self.touched.len()
                + self.notices.len()
                + self.control.len()
                + self.rtcp.len()
                + self.events.len(),
        }
    }
}
