//! What a subscriber's slots show, as the server tells it, and on which of them silence is meant. Knows nothing of the
//! packets that come through them.

use std::collections::{BTreeMap, BTreeSet};

use super::signal::{self, ServerSignal, Snapshot};

/// All slots of one participant.
#[derive(Debug, Default)]
pub struct Slots {
    by_mid: BTreeMap<String, Slot>,
    muted_tracks: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Slot {
    track: Option<String>,
    /// The server says that it forwards nothing, on purpose.
    stopped: bool,
}

impl Slots {
    /// A message of the server. Returns the mids of the slots that show another source from now on.
    pub fn handle_signal(&mut self, signal: &ServerSignal) -> Vec<String> {
        match signal {
            ServerSignal::Joined(snapshot) | ServerSignal::Resync(snapshot) => {
                return self.take_snapshot(snapshot);
            }
            ServerSignal::Offer { slots, .. } | ServerSignal::Slots { slots } => return self.take(slots),
            ServerSignal::ParticipantJoined { participant } => {
                participant.tracks.iter().for_each(|track| self.note_muted(&track.id, track.muted));
            }
            ServerSignal::TrackPublished { track, .. } => self.note_muted(&track.id, track.muted),
            ServerSignal::TrackMuted { track, muted, .. } => self.note_muted(track, *muted),
            ServerSignal::TrackUnpublished { track, .. } => self.note_muted(track, false),
            ServerSignal::Layer { mid, layer, reason, .. } => {
                // While it waits for a keyframe or for a silent source, the viewer sees a still picture.
                let waits = matches!(reason.as_deref(), Some("keyframe" | "silent"));
                self.by_mid.entry(mid.clone()).or_default().stopped = layer.is_none() && !waits;
            }
            _ => {}
        }
        Vec::new()
    }

    /// Whether a slot is silent on purpose; `None` if the server hasn't told of it.
    pub fn is_paused(&self, mid: &str) -> Option<bool> {
        let slot = self.by_mid.get(mid)?;
        let muted = slot.track.as_ref().is_none_or(|track| self.muted_tracks.contains(track));
        Some(muted || slot.stopped)
    }

    /// All slots: (mid, track).
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.by_mid.iter().map(|(mid, slot)| (mid.as_str(), slot.track.as_deref()))
    }

    fn take_snapshot(&mut self, snapshot: &Snapshot) -> Vec<String> {
        self.muted_tracks.clear();
        for track in snapshot.participants.iter().flat_map(|participant| &participant.tracks) {
            self.note_muted(&track.id, track.muted);
        }
        self.take(&snapshot.slots)
    }

    fn take(&mut self, slots: &[signal::Slot]) -> Vec<String> {
        let mut changed = Vec::new();
        for slot in slots {
            let state = self.by_mid.entry(slot.mid.clone()).or_default();
            if state.track != slot.track {
                *state = Slot { track: slot.track.clone(), stopped: false };
                changed.push(slot.mid.clone());
            }
        }
        changed
    }

    fn note_muted(&mut self, track: &str, muted: bool) {
        if muted {
            self.muted_tracks.insert(track.into());
        } else {
            self.muted_tracks.remove(track);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::signal::Kind;
    use super::*;

    fn showing(track: Option<&str>) -> ServerSignal {
        let slot = signal::Slot { mid: "s0".into(), kind: Kind::Video, track: track.map(str::to_owned) };
        ServerSignal::Slots { slots: vec![slot] }
    }

    fn layer(layer: Option<u8>, reason: Option<&str>) -> ServerSignal {
        let (track, reason) = (Some("t1".to_owned()), reason.map(str::to_owned));
        ServerSignal::Layer { mid: "s0".into(), track, layer, reason }
    }

    #[test]
    fn an_empty_a_muted_and_a_stopped_slot_are_silent_on_purpose() {
        let mut slots = Slots::default();
        assert_eq!(slots.is_paused("s0"), None);
        assert!(slots.handle_signal(&showing(None)).is_empty());
        assert_eq!(slots.is_paused("s0"), Some(true));
        assert_eq!(slots.handle_signal(&showing(Some("t1"))), ["s0"]);
        assert!(slots.handle_signal(&showing(Some("t1"))).is_empty());
        assert_eq!(slots.is_paused("s0"), Some(false));

        let muted = |muted| ServerSignal::TrackMuted { participant: "p1".into(), track: "t1".into(), muted };
        slots.handle_signal(&muted(true));
        assert_eq!(slots.is_paused("s0"), Some(true));
        slots.handle_signal(&muted(false));

        slots.handle_signal(&layer(None, Some("paused")));
        assert_eq!(slots.is_paused("s0"), Some(true));
        slots.handle_signal(&layer(None, Some("keyframe")));
        assert_eq!(slots.is_paused("s0"), Some(false), "a picture that stands is a freeze");
        slots.handle_signal(&layer(Some(0), None));
        assert_eq!(slots.is_paused("s0"), Some(false));
    }

    #[test]
    fn another_source_is_not_stopped_because_the_last_one_was() {
        let mut slots = Slots::default();
        slots.handle_signal(&showing(Some("t1")));
        slots.handle_signal(&layer(None, Some("paused")));
        slots.handle_signal(&showing(Some("t2")));
        assert_eq!(slots.is_paused("s0"), Some(false));
        assert_eq!(slots.iter().collect::<Vec<_>>(), [("s0", Some("t2"))]);
    }
}
