//! A worker as far as commands show: it checks that each makes sense when it arrives.

use std::collections::{BTreeMap, BTreeSet};

use sfu_core::command::{Command, SlotSpec};
use sfu_core::unit::{SlotId, TrackId, TransportId};

#[derive(Debug, Default)]
pub struct ModelTransport {
    pub slots: BTreeMap<SlotId, (SlotSpec, Option<TrackId>)>,
    pub tracks: BTreeSet<TrackId>,
    pub has_remote: bool,
    pub has_data: bool,
}

#[derive(Debug, Default)]
pub struct ModelWorker {
    pub transports: BTreeMap<TransportId, ModelTransport>,
}

impl ModelWorker {
    pub fn apply(&mut self, command: Command) {
        match command {
            Command::OpenTransport(open) => {
                assert!(
                    self.transports.insert(open.id, ModelTransport::default()).is_none(),
                    "an id was reused"
                );
            }
            Command::SetRemote { transport, .. } => self.transport(transport).has_remote = true,
            Command::RestartIce { transport, .. } => assert!(self.transport(transport).has_remote),
            Command::CloseTransport { transport } => {
                let gone = self.transports.remove(&transport).expect("an unknown transport is closed");
                gone.tracks.iter().for_each(|track| self.silence(*track));
            }
            Command::PublishTrack { transport, track } => {
                assert!(!track.payload_types.is_empty(), "a track without codecs");
                self.transport(transport).tracks.insert(track.id);
            }
            Command::UnpublishTrack { track } => {
                let owners = self.transports.values_mut();
                assert_eq!(owners.filter_map(|owner| owner.tracks.remove(&track).then_some(())).count(), 1);
            }
            Command::SetTrackMuted { track, .. } => assert!(self.is_published(track)),
            Command::SetSlot { transport, slot } => {
                assert!(!slot.payload_types.is_empty(), "a slot without codecs");
                let transport = self.transport(transport);
                assert!(transport.has_remote, "a slot before the client has answered");
                let fresh =
                    transport.slots.values().all(|(other, _)| other.id == slot.id || other.ssrc != slot.ssrc);
                assert!(fresh, "an SSRC is used twice");
                let source = transport.slots.get(&slot.id).and_then(|(_, source)| *source);
                transport.slots.insert(slot.id, (slot, source));
            }
            Command::RemoveSlot { transport, slot } => {
                assert!(self.transport(transport).slots.remove(&slot).is_some());
            }
            Command::SetSlotSource { transport, slot, source } => {
                assert!(source.is_none_or(|track| self.is_published(track)), "a slot shows an unknown track");
                self.transport(transport).slots.get_mut(&slot).expect("an unknown slot").1 = source;
            }
            Command::SetSlotLayer { transport, slot, .. } => {
                assert!(self.transport(transport).slots.contains_key(&slot), "an unknown slot");
            }
            Command::SetData { transport, remote } => {
                let transport = self.transport(transport);
                assert!(transport.has_remote, "data channels before the client has described itself");
                assert_ne!(std::mem::replace(&mut transport.has_data, remote.is_some()), remote.is_some());
            }
            Command::SendData { to, .. } => {
                assert!(!to.is_empty(), "a message for nobody");
                for transport in to {
                    assert!(self.transport(transport).has_data, "a message for a transport without channels");
                }
            }
        }
    }

    fn transport(&mut self, id: TransportId) -> &mut ModelTransport {
        self.transports.get_mut(&id).expect("an unknown transport")
    }

    fn is_published(&self, track: TrackId) -> bool {
        self.transports.values().any(|transport| transport.tracks.contains(&track))
    }

    fn silence(&mut self, track: TrackId) {
        for transport in self.transports.values_mut() {
            for (_, source) in transport.slots.values_mut() {
                *source = source.filter(|source| *source != track);
            }
        }
    }
}
