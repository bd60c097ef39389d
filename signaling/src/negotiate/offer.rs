//! A client's offer: read against the state, then applied and answered.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use sfu_core::command::{IceCredentials, RemoteTransport};
use sfu_core::transport::handshake::{DtlsRole, Fingerprint};
use sfu_core::unit::{Kind, Mid};

use super::codec::{AgreedCodec, agree};
use super::extension::AgreedExtensions;
use super::publication::{self, Publication};
use super::{CLIENT_SECTIONS_MAX, MediaFlow, Negotiation, Section, is_reserved};
use crate::codec_policy::CodecName;
use crate::error::OfferError;
use crate::sdp::{self, Description, Direction, Media, MediaKind, Setup};
use crate::slots::SlotState;

/// What an applied offer leads to, besides the new state.
#[derive(Debug)]
pub struct OfferOutcome {
    pub answer: String,
    /// Our new credentials, when the client restarted ICE.
    pub ice_restart: Option<IceCredentials>,
    /// The client's side, when it is new or has changed.
    pub remote: Option<RemoteTransport>,
}

impl Negotiation {
    /// Applies an offer of the client and answers it.
    pub fn receive_offer(&mut self, sdp: &str, rng: &mut StdRng) -> Result<OfferOutcome, OfferError> {
        if self.outstanding.is_some() {
            return Err(OfferError::Glare);
        }
        let ours = self.sections.iter().filter(|section| !section.by_client).count();
        let offer = sdp::parse(sdp, self.sdp_len_max(), ours.saturating_add(CLIENT_SECTIONS_MAX))?;
        self.check_sections(&offer)?;
        let usable = usable_sections(&offer);
        check_transport_lines(&offer, &usable)?;
        let remote = match offer.media.iter().zip(&usable).find(|(_, usable)| **usable) {
            Some((media, _)) => Some(self.remote_of(media, role_for_offer)?),
            None => None,
        };
        Ok(self.apply_offer(&offer, &usable, remote, rng))
    }

    fn apply_offer(
        &mut self,
        offer: &Description,
        usable: &[bool],
        remote: Option<RemoteTransport>,
        rng: &mut StdRng,
    ) -> OfferOutcome {
        for (index, (media, usable)) in offer.media.iter().zip(usable).enumerate() {
            if let (MediaKind::Rtp(kind), true) = (&media.kind, usable) {
                self.payload_types.learn(*kind, &media.codecs, media.direction.receives());
                self.extension_ids.learn(&media.extensions);
            }
            let section = self.accept_section(index, media, *usable, rng);
            match self.sections.get_mut(index) {
                Some(place) => *place = section,
                None => self.sections.push(section),
            }
        }
        let remote = remote.filter(|remote| self.remote.as_ref() != Some(remote));
        let restarts = |new: &RemoteTransport| self.remote.as_ref().is_some_and(|old| old.ice != new.ice);
        let ice_restart =
            remote.as_ref().is_some_and(restarts).then(|| self.local.ufrag_prefix.generate(rng));
        if let Some(ice) = &ice_restart {
            self.ice = ice.clone();
        }
        if let Some(remote) = &remote {
            self.remote = Some(remote.clone());
        }
        self.revision = self.revision.wrapping_add(1);
        OfferOutcome { answer: self.write(true), ice_restart, remote }
    }

    /// The m-section as we answer it.
    fn accept_section(&mut self, index: usize, media: &Media, usable: bool, rng: &mut StdRng) -> Section {
        let before = self.sections.get(index).filter(|section| section.mid == media.mid);
        let by_client = before.is_none_or(|section| section.by_client);
        let slot_before = before.and_then(|section| section.slot);
        let mut section = Section {
            kind: media.kind.clone(),
            mid: media.mid,
            profile: media.profile.clone(),
            formats: media.formats.clone(),
            rejected: true,
            by_client,
            codecs: Vec::new(),
            extensions: AgreedExtensions::default(),
            rids: Vec::new(),
            publication: None,
            slot: slot_before,
            data: None,
        };
        if media.kind == MediaKind::Data && usable && !self.has_data_beside(index) {
            section.data = media.sctp;
            section.rejected = section.data.is_none();
        }
        if let (MediaKind::Rtp(kind), true) = (&media.kind, usable) {
            section.codecs = agree(self.local.codecs.of(*kind), &media.codecs);
            if !section.codecs.is_empty() {
                self.open_section(index, &mut section, *kind, media, rng);
            }
        }
        if let Some(slot) = section.slot.and_then(|slot| self.slots.get_mut(slot)) {
            slot.state = if section.rejected { SlotState::Rejected } else { SlotState::Negotiated };
            slot.receiving = media.direction.receives() && !section.rejected;
        }
        section
    }

    /// A transport has one SCTP association (RFC 8841 §9).
    fn has_data_beside(&self, index: usize) -> bool {
        let mut others = self.sections.iter().enumerate().filter(|(other, _)| *other != index);
        others.any(|(_, section)| !section.rejected && section.data.is_some())
    }

    fn open_section(
        &mut self,
        index: usize,
        section: &mut Section,
        kind: Kind,
        media: &Media,
        rng: &mut StdRng,
    ) {
        let sends = media.direction.sends() && self.flow != MediaFlow::Egress;
        let receives = media.direction.receives() && self.flow != MediaFlow::Ingest;
        section.rejected = false;
        if section.slot.is_none() && receives {
            section.slot = media.mid.and_then(|mid| self.slots.adopt(kind, mid, rng));
        }
        let slot_sends = section.slot.is_some();
        section.extensions = AgreedExtensions::agree(kind, &media.extensions, may_send(media), slot_sends);
        section.rids = publication::rids(media);
        section.publication =
            sends.then(|| Publication::new(index, kind, media, &section.codecs, &section.extensions));
    }

    /// Sections keep their place, mid and kind for good, except that a rejected one may be replaced (RFC 8829 §5.2.2).
    fn check_sections(&self, offer: &Description) -> Result<(), OfferError> {
        if offer.media.len() < self.sections.len() {
            return Err(OfferError::SectionsMissing);
        }
        let mut mids: BTreeSet<&[u8]> = BTreeSet::new();
        let mut by_client = 0usize;
        for (index, media) in offer.media.iter().enumerate() {
            let mid = media.mid.as_ref();
            if let Some(mid) = mid.filter(|mid| !mids.insert(mid.0.as_bytes())) {
                return Err(OfferError::DuplicateMid(mid.0.to_string()));
            }
            let before = self.sections.get(index);
            let same = before.filter(|section| section.mid == media.mid && section.kind == media.kind);
            match (same, before) {
                (Some(section), _) => by_client += usize::from(section.by_client),
                (None, Some(section)) if !section.rejected => return Err(OfferError::SectionChanged(index)),
                (None, _) => {
                    by_client += 1;
                    if let Some(mid) = mid.filter(|mid| is_reserved(mid)) {
                        return Err(OfferError::ReservedMid(mid.0.to_string()));
                    }
                }
            }
        }
        if by_client > CLIENT_SECTIONS_MAX {
            return Err(OfferError::TooManySections { max: CLIENT_SECTIONS_MAX });
        }
        Ok(())
    }

    /// The client's side as its first usable m-section says it; `role` derives ours from its `a=setup`.
    pub(super) fn remote_of(
        &self,
        media: &Media,
        role: fn(Option<Setup>, Option<DtlsRole>) -> Option<DtlsRole>,
    ) -> Result<RemoteTransport, OfferError> {
        let ice = media.ice.clone().ok_or(OfferError::NoIceCredentials)?;
        if media.fingerprints.is_empty() {
            return Err(OfferError::NoFingerprint);
        }
        let same_peer = |known: &RemoteTransport| shares(&known.fingerprints, &media.fingerprints);
        if self.remote.as_ref().is_some_and(|known| !same_peer(known)) {
            return Err(OfferError::FingerprintChanged);
        }
        let dtls_role = role(media.setup, self.dtls_role()).ok_or(OfferError::Setup)?;
        let known = self.remote.as_ref().map(|remote| remote.fingerprints.clone());
        let fingerprints = known.unwrap_or_else(|| media.fingerprints.clone());
        Ok(RemoteTransport { ice, fingerprints, dtls_role })
    }
}

/// Not only what sends now: a browser never again offers an extension or a layer that an answer has left out, so those of
/// an `inactive` section are agreed for the time when it sends again.
fn may_send(media: &Media) -> bool {
    media.direction != Direction::RecvOnly
}

fn shares(known: &[Fingerprint], new: &[Fingerprint]) -> bool {
    known.iter().any(|one| new.contains(one))
}

/// RFC 5763 §5: we stay passive unless the offerer wants to be, and a settled role stays (RFC 8842 §5.5).
fn role_for_offer(setup: Option<Setup>, settled: Option<DtlsRole>) -> Option<DtlsRole> {
    match (setup.unwrap_or(Setup::ActPass), settled) {
        (Setup::ActPass, settled) => Some(settled.unwrap_or(DtlsRole::Server)),
        (Setup::Active, None | Some(DtlsRole::Server)) => Some(DtlsRole::Server),
        (Setup::Passive, None | Some(DtlsRole::Client)) => Some(DtlsRole::Client),
        (Setup::Active | Setup::Passive, _) => None,
    }
}

/// Sections that share the one transport: those of the BUNDLE group or, without a group, the first one.
fn usable_sections(offer: &Description) -> Vec<bool> {
    let bundle: Option<BTreeSet<&str>> =
        offer.bundle.as_ref().map(|mids| mids.iter().map(String::as_str).collect());
    let mut first = true;
    let usable = offer.media.iter().map(|media| {
        if media.rejected || matches!(media.kind, MediaKind::Other(_)) {
            return false;
        }
        match &bundle {
            Some(mids) => media.mid.as_ref().is_some_and(|mid: &Mid| mids.contains(mid.0.as_str())),
            None => std::mem::take(&mut first),
        }
    });
    usable.collect()
}

/// DTLS-SRTP with feedback and one port for RTP and RTCP, or nothing (RFC 8834 §4.5, RFC 9143 §9.3).
fn check_transport_lines(offer: &Description, usable: &[bool]) -> Result<(), OfferError> {
    for (section, (media, usable)) in offer.media.iter().zip(usable).enumerate() {
        if !usable || !matches!(media.kind, MediaKind::Rtp(_)) {
            continue;
        }
        if !matches!(media.profile.as_str(), "UDP/TLS/RTP/SAVPF" | "TCP/TLS/RTP/SAVPF" | "TCP/DTLS/RTP/SAVPF")
        {
            return Err(OfferError::Profile { section, profile: media.profile.chars().take(40).collect() });
        }
        if !media.rtcp_mux {
            return Err(OfferError::NoRtcpMux(section));
        }
    }
    Ok(())
}

/// The codecs of a slot section that the client's answer kept.
pub(super) fn retain_answered(codecs: &mut Vec<AgreedCodec>, media: &Media) {
    let answered = agree(&CodecName::ALL, &media.codecs);
    codecs.retain_mut(|codec| {
        let same = |other: &&AgreedCodec| {
            other.payload.codec == codec.payload.codec && other.payload.pt == codec.payload.pt
        };
        let Some(other) = answered.iter().find(same) else { return false };
        codec.payload.rtx = codec.payload.rtx.filter(|_| other.payload.rtx == codec.payload.rtx);
        codec.payload.nack &= other.payload.nack && codec.payload.rtx.is_some();
        codec.payload.pli &= other.payload.pli;
        codec.fir &= other.fir;
        true
    });
}
