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

    pub fn get(&self, id: SlotId) -> Option<&Slot> {
        self.slots.get(usize::from(id.0))
    }

    pub fn get_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(id.0))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter()
    }

    /// New slots with something to show: what an offer would add.
    pub fn to_offer(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| slot.state == SlotState::New && slot.shown.is_some())
    }

    fn choose(&self, track: Wanted) -> Option<SlotId> {
        let free = || self.slots.iter().filter(|slot| slot.kind == track.kind && slot.is_free());
        let beside = |slot: &&Slot| self.shows(slot.seat, track.group);
        let alone = |slot: &&Slot| self.is_seat_free(slot.seat);
        free().find(beside).or_else(|| free().find(alone)).or_else(|| free().next()).map(|slot| slot.id)
    }

    fn create(&mut self, track: Wanted, rng: &mut StdRng) -> Option<SlotId> {
        let mid = Mid::new(format!("s{}", self.slots.len()).as_bytes())?;
        let beside = self.slots.iter().find(|slot| slot.shown.is_some_and(|(_, group)| group == track.group));
        let seat = beside.map(|slot| slot.seat).or_else(|| self.free_seat_without(track.kind));
        self.push(track.kind, mid, seat, rng)
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
        let has_kind = |seat: SeatId| {
            let usable = |slot: &&Slot| slot.seat == seat && slot.state != SlotState::Rejected;
            self.slots.iter().filter(usable).any(|slot| slot.kind == kind)
        };
        (0..self.seats).map(SeatId).find(|seat| self.is_seat_free(*seat) && !has_kind(*seat))
    }
}
