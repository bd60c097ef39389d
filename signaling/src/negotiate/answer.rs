//! Our offers and the client's answers to them.

use sfu_core::command::RemoteTransport;
use sfu_core::transport::handshake::DtlsRole;
use sfu_core::unit::SlotId;

use super::offer::retain_answered;
use super::{CLIENT_SECTIONS_MAX, Negotiation, Outstanding, Section};
use crate::error::AnswerError;
use crate::sdp::{self, Description, Media, MediaKind, Setup};
use crate::slots::SlotState;

/// Profile of the sections that we offer (RFC 8834 §4.5).
const PROFILE: &str = "UDP/TLS/RTP/SAVPF";

impl Negotiation {
    /// There is something to offer, and no offer is outstanding.
    pub fn wants_offer(&self) -> bool {
        self.outstanding.is_none() && self.slots.to_offer().next().is_some()
    }

    /// Offers every new slot that has something to show; the offer is outstanding from then on.
    pub fn make_offer(&mut self) -> &Outstanding {
        let new: Vec<SlotId> = self.slots.to_offer().map(|slot| slot.id).collect();
        for id in new {
            self.add_slot_section(id);
        }
        let id = self.offer_id_next;
        self.offer_id_next = self.offer_id_next.wrapping_add(1);
        let sdp = self.write(false);
        self.outstanding.insert(Outstanding { id, sdp })
    }

    fn add_slot_section(&mut self, id: SlotId) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.state = SlotState::Offered;
        let (kind, mid) = (slot.kind, slot.mid);
        let codecs = self.payload_types.offer(kind, &self.local.codecs);
        let section = Section {
            kind: MediaKind::Rtp(kind),
            mid: Some(mid),
            profile: PROFILE.to_owned(),
            formats: codecs.iter().flat_map(|codec| codec.formats()).collect(),
            rejected: false,
            by_client: false,
            codecs,
            extensions: self.extension_ids.offer(kind),
            rids: Vec::new(),
            publication: None,
            slot: Some(id),
            data: None,
        };
        let dead = self.sections.iter().position(|section| self.is_dead(section));
        match dead.and_then(|index| self.sections.get_mut(index)) {
            Some(place) => *place = section,
            None => self.sections.push(section),
        }
    }

    /// A rejected section of ours whose slot shows nothing any more: its place can be used again (RFC 8829 §5.2.2).
    fn is_dead(&self, section: &Section) -> bool {
        let silent = |id: SlotId| self.slots.get(id).is_some_and(|slot| slot.track().is_none());
        section.rejected && !section.by_client && section.slot.is_some_and(silent)
    }

    /// Applies the client's answer to the outstanding offer. Returns its side when that is new or has changed.
    pub fn receive_answer(&mut self, id: u32, sdp: &str) -> Result<Option<RemoteTransport>, AnswerError> {
        if self.outstanding.as_ref().is_none_or(|offer| offer.id != id) {
            return Err(AnswerError::NotOutstanding);
        }
        let sections_max = self.sections.len().saturating_add(CLIENT_SECTIONS_MAX);
        let answer = sdp::parse(sdp, self.sdp_len_max(), sections_max)
            .map_err(|error| AnswerError::Invalid(error.into()))?;
        self.check_answer(&answer)?;
        let accepted = |(media, section): &(&Media, &Section)| !media.rejected && !section.rejected;
        let first = answer.media.iter().zip(&self.sections).find(accepted);
        let remote = match first {
            Some((media, _)) => Some(self.remote_of(media, role_for_answer)?),
            None => None,
        };
        self.outstanding = None;
        for (index, media) in answer.media.iter().enumerate() {
            self.apply_answered_section(index, media);
        }
        let remote = remote.filter(|remote| self.remote.as_ref() != Some(remote));
        if let Some(remote) = &remote {
            self.remote = Some(remote.clone());
        }
        self.revision = self.revision.wrapping_add(1);
        Ok(remote)
    }

    fn check_answer(&self, answer: &Description) -> Result<(), AnswerError> {
        if answer.media.len() != self.sections.len() {
            let (found, expected) = (answer.media.len(), self.sections.len());
            return Err(AnswerError::SectionCount { found, expected });
        }
        for (index, (media, section)) in answer.media.iter().zip(&self.sections).enumerate() {
            let renamed = media.mid.is_some() && media.mid != section.mid;
            if media.kind != section.kind || renamed {
                return Err(AnswerError::Invalid(crate::error::OfferError::SectionChanged(index)));
            }
        }
        Ok(())
    }

    fn apply_answered_section(&mut self, index: usize, media: &Media) {
        let Some(section) = self.sections.get_mut(index).filter(|section| !section.rejected) else { return };
        match section.kind {
            MediaKind::Rtp(_) => {}
            MediaKind::Data => {
                section.data = media.sctp.filter(|_| !media.rejected);
                section.rejected = section.data.is_none();
                return;
            }
            MediaKind::Other(_) => return,
        }
        if section.publication.is_none() && section.slot.is_some() {
            retain_answered(&mut section.codecs, media);
            section.extensions.retain_answered(&media.extensions);
        }
        section.rejected = media.rejected || section.codecs.is_empty();
        if section.rejected || !media.direction.sends() {
            section.publication = None;
        }
        if let Some(slot) = section.slot.and_then(|id| self.slots.get_mut(id)) {
            if slot.state == SlotState::Offered && section.rejected {
                self.refused.extend(slot.track().map(|track| (slot.mid, track)));
            }
            slot.state = if section.rejected { SlotState::Rejected } else { SlotState::Negotiated };
            slot.receiving = media.direction.receives() && !section.rejected;
        }
    }
}

/// RFC 5763 §5: the answerer says `active` or `passive`, and we take the other role; a settled one stays.
fn role_for_answer(setup: Option<Setup>, settled: Option<DtlsRole>) -> Option<DtlsRole> {
    let role = match setup {
        Some(Setup::Active) => DtlsRole::Server,
        Some(Setup::Passive) => DtlsRole::Client,
        // Not allowed in an answer, but seen in the wild where the role is settled already.
        Some(Setup::ActPass) | None => settled?,
    };
    (settled.is_none() || settled == Some(role)).then_some(role)
}
