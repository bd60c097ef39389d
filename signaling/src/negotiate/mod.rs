//! Offer/answer state of one transport (RFC 8829, RFC 9429): its m-sections in order, its slots, its credentials, and
//! the offer that is outstanding. Either side may offer; at most one offer of ours is outstanding, changes meanwhile
//! go into the next. Knows neither rooms nor messages: a front-end brings SDP and takes SDP away.
//!
//! An offer or answer is first read against the state without touching it, then applied: a refused one leaves
//! everything as it was.

mod answer;
mod codec;
mod credentials;
mod extension;
mod offer;
mod payload_types;
mod publication;
mod write;

use std::net::SocketAddr;

use rand::Rng;
use rand::rngs::StdRng;
use sfu_core::command::{IceCredentials, RemoteSctp, RemoteTransport, SlotSpec};
use sfu_core::transport::handshake::{DtlsRole, Fingerprint};
use sfu_core::unit::{Mid, Rid, SlotId, TrackId};

use crate::codec_policy::CodecPolicy;
use crate::sdp::MediaKind;
use crate::slots::{SlotState, SlotTable};
use codec::AgreedCodec;
use extension::{AgreedExtensions, KnownExtensionIds};
use payload_types::KnownPayloadTypes;

pub use credentials::{NodeId, UfragPrefix, ice_text};
pub use offer::OfferOutcome;
pub use publication::{LAYERS_MAX, Publication};

/// Longest SDP taken of a client without slots: a browser's m-section has 2 to 7 kB.
pub const SDP_LEN_MAX: usize = 64 * 1_024;

/// What each slot adds to that: a browser lists all its codecs in every section when it offers again.
pub const SDP_LEN_MAX_PER_SLOT: usize = 8 * 1_024;

/// m-sections that a client may introduce.
pub const CLIENT_SECTIONS_MAX: usize = 64;

/// Our side of a transport, as written into every SDP.
#[derive(Clone, Debug)]
pub struct LocalTransport {
    pub fingerprint: Fingerprint,
    /// Host candidates, most preferred first.
    pub candidates: Vec<SocketAddr>,
    pub ufrag_prefix: UfragPrefix,
    /// The codecs that we take and offer.
    pub codecs: CodecPolicy,
}

/// Which way media goes on a transport, as its front-end has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MediaFlow {
    #[default]
    Both,
    /// The client only sends (RFC 9725 §4.2): nothing that it would receive is answered.
    Ingest,
    /// The client only receives (draft-ietf-wish-whep §4.3.5).
    Egress,
}

/// One m-section.
#[derive(Clone, Debug)]
struct Section {
    kind: MediaKind,
    mid: Option<Mid>,
    profile: String,
    /// The format list to echo while the section is rejected.
    formats: Vec<String>,
    rejected: bool,
    by_client: bool,
    codecs: Vec<AgreedCodec>,
    extensions: AgreedExtensions,
    /// Simulcast layers that we would receive, in the client's order.
    rids: Vec<Rid>,
    /// What the client sends here.
    publication: Option<Publication>,
    /// What it receives here.
    slot: Option<SlotId>,
    /// Its side of SCTP, in an `m=application` section.
    data: Option<RemoteSctp>,
}

/// What became of an m-section.
#[derive(Clone, Copy, Debug)]
pub struct SectionState<'a> {
    pub kind: &'a MediaKind,
    pub rejected: bool,
    /// The client sends through it.
    pub publishes: bool,
    /// The client receives through it.
    pub receives: bool,
}

/// An offer of ours that waits for its answer.
#[derive(Clone, Debug)]
pub struct Outstanding {
    pub id: u32,
    pub sdp: String,
}

/// The offer/answer state of one transport.
#[derive(Debug)]
pub struct Negotiation {
    pub slots: SlotTable,
    flow: MediaFlow,
    local: LocalTransport,
    ice: IceCredentials,
    sections: Vec<Section>,
    remote: Option<RemoteTransport>,
    outstanding: Option<Outstanding>,
    payload_types: KnownPayloadTypes,
    extension_ids: KnownExtensionIds,
    /// Slots that the client has refused to begin with, until somebody asks.
    refused: Vec<(Mid, TrackId)>,
    offer_id_next: u32,
    session_id: u64,
    version: u64,
    revision: u64,
}

impl Negotiation {
    pub fn new(local: LocalTransport, rng: &mut StdRng) -> Negotiation {
        Negotiation {
            slots: SlotTable::default(),
            flow: MediaFlow::default(),
            ice: local.ufrag_prefix.generate(rng),
            local,
            sections: Vec::new(),
            remote: None,
            outstanding: None,
            payload_types: KnownPayloadTypes::default(),
            extension_ids: KnownExtensionIds::default(),
            refused: Vec::new(),
            offer_id_next: 1,
            // RFC 8829 §5.2.1: 63 random bits; some parsers want it to fit an i64.
            session_id: rng.random::<u64>() >> 1,
            version: 0,
            revision: 0,
        }
    }

    /// Media goes one way only.
    pub fn with_flow(self, flow: MediaFlow) -> Negotiation {
        Negotiation { flow, ..self }
    }

    /// Our current credentials.
    pub fn ice(&self) -> &IceCredentials {
        &self.ice
    }

    /// The peer's side, once an SDP of it was applied.
    pub fn remote(&self) -> Option<&RemoteTransport> {
        self.remote.as_ref()
    }

    pub fn outstanding(&self) -> Option<&Outstanding> {
        self.outstanding.as_ref()
    }

    /// Grows whenever an offer or answer of the client was applied.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Slots with what they were to show whose section the client has rejected in its first answer: browsers do that when
    /// they know none of its codecs. Each is told once.
    pub fn take_refused(&mut self) -> Vec<(Mid, TrackId)> {
        std::mem::take(&mut self.refused)
    }

    /// What the client sends now.
    pub fn publications(&self) -> impl Iterator<Item = &Publication> {
        self.sections.iter().filter_map(|section| section.publication.as_ref())
    }

    /// What became of each m-section, in order.
    pub fn sections(&self) -> impl Iterator<Item = SectionState<'_>> {
        self.sections.iter().map(|section| SectionState {
            kind: &section.kind,
            rejected: section.rejected,
            publishes: section.publication.is_some(),
            receives: section.slot.and_then(|id| self.slots.get(id)).is_some_and(|slot| slot.receiving),
        })
    }

    /// An ICE restart outside of offer and answer (RFC 9725 §4.3.3): takes the client's new credentials and makes
    /// new ones of ours. `None` while there is no transport to restart.
    pub fn restart_ice(
        &mut self,
        ice: IceCredentials,
        rng: &mut StdRng,
    ) -> Option<(IceCredentials, RemoteTransport)> {
        let remote = self.remote.as_mut()?;
        remote.ice = ice;
        self.ice = self.local.ufrag_prefix.generate(rng);
        Some((self.ice.clone(), remote.clone()))
    }

    /// Whether an m-section has this mid.
    pub fn has_mid(&self, mid: &Mid) -> bool {
        self.sections.iter().any(|section| section.mid.as_ref() == Some(mid))
    }

    /// The client's side of SCTP, while it has data channels.
    pub fn data(&self) -> Option<RemoteSctp> {
        self.sections.iter().filter(|section| !section.rejected).find_map(|section| section.data)
    }

    /// The engine's view of all negotiated slots.
    pub fn slot_specs(&self) -> impl Iterator<Item = SlotSpec> {
        self.sections.iter().filter_map(|section| self.slot_spec(section))
    }

    fn slot_spec(&self, section: &Section) -> Option<SlotSpec> {
        let slot = self.slots.get(section.slot?).filter(|slot| slot.state == SlotState::Negotiated)?;
        let payload_types: Vec<_> = section.codecs.iter().map(|codec| codec.payload.clone()).collect();
        let has_rtx = payload_types.iter().any(|payload| payload.rtx.is_some());
        Some(SlotSpec {
            id: slot.id,
            kind: slot.kind,
            mid: slot.mid,
            ssrc: slot.ssrc,
            rtx_ssrc: slot.rtx_ssrc.filter(|_| has_rtx),
            payload_types,
            extensions: section.extensions.slot_ids(),
            cname: write::cname(slot.seat),
        })
    }

    fn dtls_role(&self) -> Option<DtlsRole> {
        self.remote.as_ref().map(|remote| remote.dtls_role)
    }

    fn sdp_len_max(&self) -> usize {
        let slots = self.slots.iter().filter(|slot| slot.is_visible()).count();
        SDP_LEN_MAX.saturating_add(SDP_LEN_MAX_PER_SLOT.saturating_mul(slots))
    }
}

/// The form of the server's own mids: `s` and a digit.
fn is_reserved(mid: &Mid) -> bool {
    matches!(mid.0.as_bytes(), [b's', digit, ..] if digit.is_ascii_digit())
}
