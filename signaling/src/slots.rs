//! The slot table of one transport: which slots exist, which track each shows, and which slot a new track gets.
//! Pure: knows neither SDP nor rooms nor the engine.
//!
//! Slots sit in seats. A seat is one msid stream with one CNAME, so that whatever plays in it is synchronised: a
//! participant's microphone and camera share a seat, its screen (video and audio) has another. A new track takes
//! 1. a free slot of its kind in the seat that already shows its group,
//! 2. a free slot of its kind in an entirely free seat,
//! 3. any free slot of its kind,
//! 4. a new slot.
//!
//! So there are never more slots of a kind than tracks of that kind at the peak.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;
use sfu_core::unit::{Kind, Mid, ParticipantId, SlotId, Ssrc, TrackId};

/// Slots of one transport, dead ones included; a further track is not shown. A hundred participants with
/// microphone, camera and screen need 400.
pub const SLOTS_MAX: usize = 1_024;

/// What plays together: a participant's microphone and camera, or its screen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Group {
    pub participant: ParticipantId,
    pub screen: bool,
}

/// A track that is to be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    pub track: TrackId,
    pub kind: Kind,
    pub group: Group,
}

/// Where a slot stands in negotiation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotState {
    /// In no SDP yet.
    New,
    /// In our outstanding offer.
    Offered,
    /// Agreed: media may flow.
    Negotiated,
    /// The client refused or stopped it. It keeps its track, so that the track is not offered again and again, and
    /// is never given another.
    Rejected,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SeatId(pub u16);

/// One slot.
#[derive(Clone, PartialEq, Debug)]
pub struct Slot {
    pub id: SlotId,
    pub kind: Kind,
    pub mid: Mid,
    pub seat: SeatId,
    pub ssrc: Ssrc,
    /// Video only.
    pub rtx_ssrc: Option<Ssrc>,
    pub state: SlotState,
    /// The client wants to receive through it; false after it set its section `inactive`.
    pub receiving: bool,
    /// Offered whether or not it shows something.
    reserved: bool,
    shown: Option<(TrackId, Group)>,
}

impl Slot {
    pub fn track(&self) -> Option<TrackId> {
        self.shown.map(|(track, _)| track)
    }

    fn is_free(&self) -> bool {
        self.shown.is_none() && self.state != SlotState::Rejected
    }

    /// The client knows the section.
    pub fn is_visible(&self) -> bool {
        self.state != SlotState::New
    }
}

/// All slots of one transport, by id.
#[derive(Debug, Default)]
pub struct SlotTable {
    slots: Vec<Slot>,
    seats: u16,
}

impl SlotTable {
    /// Frees the slots of tracks that are not wanted any more, then gives the new ones a slot.
    pub fn assign(&mut self, wanted: &[Wanted], rng: &mut StdRng) {
        let mut missing: BTreeMap<TrackId, Wanted> = wanted.iter().map(|one| (one.track, *one)).collect();
        for slot in &mut self.slots {
            if slot.track().is_some_and(|track| missing.remove(&track).is_none()) {
                slot.shown = None;
            }
        }
        for track in missing.values() {
            if let Some(id) = self.choose(*track).or_else(|| self.create(*track, rng))
                && let Some(slot) = self.get_mut(id)
            {
                slot.shown = Some((track.track, track.group));
            }
        }
    }

    /// A slot for a section that the client introduced to receive through.
    pub fn adopt(&mut self, kind: Kind, mid: Mid, rng: &mut StdRng) -> Option<SlotId> {
        let seat = self.free_seat_without(kind);
        let id = self.push(kind, mid, seat, rng)?;
        let slot = self.get_mut(id)?;
        slot.state = SlotState::Negotiated;
        Some(id)
    }

    /// A new slot that will be offered although it shows nothing yet.
    pub fn reserve(&mut self, kind: Kind, rng: &mut StdRng) -> Option<SlotId> {
        let mid = self.next_mid()?;
        let seat = self.free_seat_without(kind);
        let id = self.push(kind, mid, seat, rng)?;
        let slot = self.get_mut(id)?;
        slot.reserved = true;
        Some(id)
    }

    pub fn get(&self, id: SlotId) -> Option<&Slot> {
        self.slots.get(usize::from(id.0))
    }

    pub fn get_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(id.0))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter()
    }

    /// New slots with something to show, and reserved ones: what an offer would add.
    pub fn to_offer(&self) -> impl Iterator<Item = &Slot> {
        let due = |slot: &&Slot| slot.shown.is_some() || slot.reserved;
        self.slots.iter().filter(|slot| slot.state == SlotState::New).filter(due)
    }

    fn choose(&self, track: Wanted) -> Option<SlotId> {
        let free = || self.slots.iter().filter(|slot| slot.kind == track.kind && slot.is_free());
        let beside = |slot: &&Slot| self.shows(slot.seat, track.group);
        let alone = |slot: &&Slot| self.is_seat_free(slot.seat);
        free().find(beside).or_else(|| free().find(alone)).or_else(|| free().next()).map(|slot| slot.id)
    }

    fn create(&mut self, track: Wanted, rng: &mut StdRng) -> Option<SlotId> {
        let mid = self.next_mid()?;
        let beside = self.slots.iter().find(|slot| slot.shown.is_some_and(|(_, group)| group == track.group));
        let seat = beside.map(|slot| slot.seat).or_else(|| self.free_seat_without(track.kind));
        self.push(track.kind, mid, seat, rng)
    }

    fn next_mid(&self) -> Option<Mid> {
        Mid::new(format!("s{}", self.slots.len()).as_bytes())
    }

    fn push(&mut self, kind: Kind, mid: Mid, seat: Option<SeatId>, rng: &mut StdRng) -> Option<SlotId> {
        if self.slots.len() >= SLOTS_MAX {
            return None;
        }
        let id = SlotId(u16::try_from(self.slots.len()).ok()?);
        let seat = seat.unwrap_or_else(|| {
            self.seats = self.seats.saturating_add(1);
            SeatId(self.seats - 1)
        });
        let ssrc = self.fresh_ssrc(None, rng);
        let rtx_ssrc = (kind == Kind::Video).then(|| self.fresh_ssrc(Some(ssrc), rng));
        self.slots.push(Slot {
            id,
            kind,
            mid,
            seat,
            ssrc,
            rtx_ssrc,
            state: SlotState::New,
            receiving: true,
            reserved: false,
            shown: None,
        });
        Some(id)
    }

    /// A random SSRC that this transport does not use; 0 is avoided, some stacks take it for "none".
    fn fresh_ssrc(&self, other: Option<Ssrc>, rng: &mut StdRng) -> Ssrc {
        loop {
            let ssrc = Ssrc(rng.random_range(1..=u32::MAX));
            let taken = |slot: &Slot| slot.ssrc == ssrc || slot.rtx_ssrc == Some(ssrc);
            if other != Some(ssrc) && !self.slots.iter().any(taken) {
                return ssrc;
            }
        }
    }

    fn shows(&self, seat: SeatId, group: Group) -> bool {
        self.slots.iter().any(|slot| slot.seat == seat && slot.shown.is_some_and(|(_, shown)| shown == group))
    }

    fn is_seat_free(&self, seat: SeatId) -> bool {
        !self.slots.iter().any(|slot| slot.seat == seat && slot.shown.is_some())
    }

    /// A seat that shows nothing and has no usable slot of `kind`: the new slot completes it.
    fn free_seat_without(&self, kind: Kind) -> Option<SeatId> {
        let mut suits = vec![true; usize::from(self.seats)];
        for slot in &self.slots {
            let has_kind = slot.kind == kind && slot.state != SlotState::Rejected;
            if let Some(suits) = suits.get_mut(usize::from(slot.seat.0)) {
                *suits &= slot.shown.is_none() && !has_kind;
            }
        }
        let seat = suits.iter().position(|suits| *suits)?;
        u16::try_from(seat).ok().map(SeatId)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn wanted(track: u64, kind: Kind, participant: u64, screen: bool) -> Wanted {
        Wanted {
            track: TrackId(track),
            kind,
            group: Group { participant: ParticipantId(participant), screen },
        }
    }

    fn table() -> (SlotTable, StdRng) {
        (SlotTable::default(), StdRng::from_seed([7; 32]))
    }

    fn slot_of(table: &SlotTable, track: u64) -> &Slot {
        table.iter().find(|slot| slot.track() == Some(TrackId(track))).unwrap()
    }

    #[test]
    fn microphone_and_camera_share_a_seat_and_the_screen_has_another() {
        let (mut table, mut rng) = table();
        let tracks = [
            wanted(1, Kind::Audio, 1, false),
            wanted(2, Kind::Video, 1, false),
            wanted(3, Kind::Video, 1, true),
            wanted(4, Kind::Audio, 1, true),
            wanted(5, Kind::Audio, 2, false),
        ];
        table.assign(&tracks, &mut rng);
        let seats = [1, 2, 3, 4, 5].map(|track| slot_of(&table, track).seat.0);
        assert_eq!(seats, [0, 0, 1, 1, 2]);
    }

    #[test]
    fn a_newcomer_takes_a_whole_free_seat_before_a_half_free_one() {
        let (mut table, mut rng) = table();
        let one = [wanted(1, Kind::Audio, 1, false), wanted(2, Kind::Video, 1, false)];
        let two = [wanted(3, Kind::Audio, 2, false), wanted(4, Kind::Video, 2, false)];
        table.assign(&[one, two].concat(), &mut rng);
        // The first keeps its camera only, the second leaves.
        let newcomer = [wanted(5, Kind::Audio, 3, false), wanted(6, Kind::Video, 3, false)];
        table.assign(&[&one[1..], &newcomer].concat(), &mut rng);
        assert_eq!(table.iter().count(), 4);
        assert_eq!(slot_of(&table, 5).seat, SeatId(1));
        assert_eq!(slot_of(&table, 6).seat, SeatId(1));
    }

    #[test]
    fn a_late_camera_joins_its_microphone() {
        let (mut table, mut rng) = table();
        let microphones = [wanted(1, Kind::Audio, 1, false), wanted(2, Kind::Audio, 2, false)];
        table.assign(&microphones, &mut rng);
        table.assign(&[microphones.as_slice(), &[wanted(3, Kind::Video, 2, false)]].concat(), &mut rng);
        assert_eq!(slot_of(&table, 3).seat, slot_of(&table, 2).seat);
    }

    #[test]
    fn a_rejected_slot_holds_its_track_and_is_never_reused() {
        let (mut table, mut rng) = table();
        table.assign(&[wanted(1, Kind::Video, 1, false)], &mut rng);
        table.get_mut(SlotId(0)).unwrap().state = SlotState::Rejected;
        table.assign(&[wanted(1, Kind::Video, 1, false)], &mut rng);
        assert_eq!(table.iter().count(), 1);
        table.assign(&[wanted(2, Kind::Video, 1, false)], &mut rng);
        assert_eq!(slot_of(&table, 2).id, SlotId(1));
    }

    #[test]
    fn a_thousand_joins_and_leaves_never_exceed_the_peak() {
        for seed in 0..5 {
            let (mut table, mut rng) = (SlotTable::default(), StdRng::from_seed([seed; 32]));
            let mut present: Vec<Wanted> = Vec::new();
            let (mut peak_audio, mut peak_video, mut track) = (0, 0, 0);
            for participant in 0..1_000 {
                for _ in 0..rng.random_range(0..3) {
                    if !present.is_empty() {
                        let gone = present[rng.random_range(0..present.len())].group.participant;
                        present.retain(|other| other.group.participant != gone);
                    }
                }
                for (kind, screen) in [(Kind::Audio, false), (Kind::Video, false), (Kind::Video, true)] {
                    if rng.random_bool(0.7) {
                        track += 1;
                        present.push(wanted(track, kind, participant, screen));
                    }
                }
                let of = |kind| present.iter().filter(|one| one.kind == kind).count();
                peak_audio = peak_audio.max(of(Kind::Audio));
                peak_video = peak_video.max(of(Kind::Video));
                table.assign(&present, &mut rng);
                let slots = |kind| table.iter().filter(|slot| slot.kind == kind).count();
                assert_eq!((slots(Kind::Audio), slots(Kind::Video)), (peak_audio, peak_video));
                let mut shown: Vec<TrackId> = table.iter().filter_map(Slot::track).collect();
                shown.sort();
                let mut expected: Vec<TrackId> = present.iter().map(|one| one.track).collect();
                expected.sort();
                assert_eq!(shown, expected);
            }
            let mut ssrcs: Vec<Ssrc> =
                table.iter().flat_map(|slot| [Some(slot.ssrc), slot.rtx_ssrc]).flatten().collect();
            let count = ssrcs.len();
            ssrcs.sort();
            ssrcs.dedup();
            assert_eq!(ssrcs.len(), count);
        }
    }
}
