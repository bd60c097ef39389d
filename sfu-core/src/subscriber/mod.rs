//! One participant's downlink: its slots, what waits in its pacer, and the feedback that it sends about them.

pub mod layer_selector;
pub mod nack_responder;
pub mod payload_rewriter;
pub mod rewriter;
pub mod sent_history;
pub mod slot;

mod release;
mod sender_report;

use std::time::Duration;

use crate::command::SlotSpec;
use crate::drop::{Counters, DropReason};
use crate::pacer::{Paced, Pacer};
use crate::packet::TrackIx;
use crate::publisher::Tracks;
use crate::subscriber::sent_history::SentHistory;
use crate::subscriber::slot::Slot;
use crate::unit::{LayerId, NtpTime, SeqNo, SlotId, Ssrc, Time, TwccSeq};
use crate::wire::rtcp::ReportBlock;

/// Slots that one transport may have: as many as signalling ever makes.
const SLOTS_MAX: usize = 1_024;

/// A transport's slots, by id.
#[derive(Debug, Default)]
pub struct Slots(Vec<Option<Box<Slot>>>);

impl Slots {
    pub fn get(&self, id: SlotId) -> Option<&Slot> {
        self.0.get(usize::from(id.0))?.as_deref()
    }

    pub fn get_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        self.0.get_mut(usize::from(id.0))?.as_deref_mut()
    }

    /// Adds a slot; refused beyond [`SLOTS_MAX`].
    pub fn insert(&mut self, slot: Slot) {
        let at = usize::from(slot.spec.id.0);
        if at >= SLOTS_MAX {
            return;
        }
        if self.0.len() <= at {
            self.0.resize_with(at + 1, || None);
        }
        if let Some(place) = self.0.get_mut(at) {
            *place = Some(Box::new(slot));
        }
    }

    /// Silences a slot for good. Its numbers stay, so that one that takes its id or SSRC can't begin them anew.
    pub fn retire(&mut self, id: SlotId) {
        if let Some(slot) = self.get_mut(id) {
            slot.history = SentHistory::default();
        }
    }

    /// Whether a slot, past or present, has one of the SSRCs of `spec`.
    pub fn uses(&self, spec: &SlotSpec) -> bool {
        let ssrcs = |spec: &SlotSpec| [Some(spec.ssrc), spec.rtx_ssrc].into_iter().flatten();
        self.iter().any(|slot| ssrcs(&slot.spec).any(|used| ssrcs(spec).any(|ssrc| ssrc == used)))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.0.iter().flatten().map(AsRef::as_ref)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.0.iter_mut().flatten().map(AsMut::as_mut)
    }
}

#[derive(Debug)]
pub struct Subscriber {
    pub slots: Slots,
    pub pacer: Pacer,
    /// The transport-wide number of the next packet, taken at release.
    twcc_next: TwccSeq,
    report_due: Time,
    rtt: Option<Duration>,
}

impl Default for Subscriber {
    fn default() -> Subscriber {
        Subscriber {
            slots: Slots::default(),
            pacer: Pacer::default(),
            twcc_next: TwccSeq(1),
            report_due: Time::ZERO,
            rtt: None,
        }
    }
}

impl Subscriber {
    /// Queues the repairs that a NACK asks for, as far as history and budget go.
    pub fn nack(
        &mut self,
        now: Time,
        media: Ssrc,
        lost: impl Iterator<Item = SeqNo>,
        tracks: &Tracks,
        counters: &mut Counters,
    ) {
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.spec.ssrc == media) else {
            return counters.drop(DropReason::UnknownFeedback);
        };
        for seq in lost {
            counters.nacks_received += 1;
            match repair(now, slot, seq, tracks) {
                Some(paced) if self.pacer.push(paced) => {}
                Some(_) => counters.drop(DropReason::PacerFull),
                None => counters.drop(DropReason::NackRefused),
            }
        }
    }

    /// What the subscriber reports of one of our streams.
    pub fn report(&mut self, now: NtpTime, block: &ReportBlock) {
        if block.last_sr != 0 {
            // Middle bits of NTP: units of 1/65,536 s.
            let elapsed = now.middle().wrapping_sub(block.last_sr).wrapping_sub(block.delay_since_last_sr);
            if elapsed < 10 * 65_536 {
                self.rtt = Some(Duration::from_secs_f64(f64::from(elapsed) / 65_536.0));
            }
        }
        let rtt = self.rtt;
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.spec.ssrc == block.ssrc) {
            slot.responder.loss_reported(block.fraction_lost);
            if let Some(rtt) = rtt {
                slot.responder.rtt_measured(rtt);
            }
        }
    }

    /// The layer of its source that a stream of ours shows, or waits for: where a keyframe request belongs.
    pub fn keyframe_target(&self, media: Ssrc) -> Option<(TrackIx, LayerId)> {
        let slot = self.slots.iter().find(|slot| slot.spec.ssrc == media)?;
        Some((slot.source()?, slot.selector.current().or(slot.waits_for())?))
    }
}

/// The repair of one lost packet, if it is remembered and affordable.
fn repair(now: Time, slot: &mut Slot, seq: SeqNo, tracks: &Tracks) -> Option<Paced> {
    let seq = slot.rewriter.next_out().nearest(seq);
    let sent = slot.history.get_mut(seq)?;
    let source = slot.rewriter.segment(sent.segment)?.source;
    let (_, payload) = tracks.get(source.track.0)?.stream(source)?.store.get(sent.source_seq)?;
    let admitted = slot.responder.admit(now, sent, payload.len());
    admitted.then_some(Paced {
        slot: slot.spec.id,
        source,
        source_seq: sent.source_seq,
        seq,
        segment: sent.segment,
        format: sent.format,
        rtx: true,
    })
}
