//! What a client's sending m-section declares: payload types, extensions, simulcast layers and SSRCs.

use sfu_core::command::{DeclaredSsrc, ExtensionIds, PayloadType, TrackSpec};
use sfu_core::unit::{Kind, Mid, Rid, Ssrc, TrackId};

use super::codec::AgreedCodec;
use super::extension::AgreedExtensions;
use crate::sdp::Media;

/// Simulcast layers taken of one section; browsers send at most three.
pub const LAYERS_MAX: usize = 3;

/// Names of simulcast layers in common use, lowest resolution first.
const LADDERS: &[&[&str]] = &[
    &["q", "h", "f"],
    &["l", "m", "h"],
    &["low", "mid", "high"],
    &["low", "medium", "high"],
    &["0", "1", "2"],
    &["r0", "r1", "r2"],
];

/// An m-section that the client sends through.
#[derive(Clone, PartialEq, Debug)]
pub struct Publication {
    /// Place of its m-section.
    pub section: usize,
    pub mid: Option<Mid>,
    pub kind: Kind,
    pub payload_types: Vec<PayloadType>,
    pub extensions: ExtensionIds,
    /// Lowest resolution first.
    pub rids: Vec<Rid>,
    pub ssrcs: Vec<DeclaredSsrc>,
}

impl Publication {
    pub(super) fn new(
        section: usize,
        kind: Kind,
        media: &Media,
        codecs: &[AgreedCodec],
        extensions: &AgreedExtensions,
    ) -> Publication {
        let rids_offered = rids(media);
        let rids = lowest_first(&rids_offered);
        let mut ssrcs = declared_ssrcs(media);
        // Firefox declares SSRCs beside rids, one primary per rid in the offer's order.
        if ssrcs.len() == rids.len() {
            let mut paired: Vec<_> = rids_offered.iter().zip(ssrcs).collect();
            paired.sort_by_key(|(rid, _)| rids.iter().position(|sorted| sorted == *rid));
            ssrcs = paired.into_iter().map(|(_, ssrc)| ssrc).collect();
        }
        Publication {
            section,
            mid: media.mid,
            kind,
            payload_types: codecs.iter().map(|codec| codec.payload.clone()).collect(),
            extensions: extensions.uplink_ids(),
            rids,
            ssrcs,
        }
    }

    /// The engine's view.
    pub fn to_spec(&self, id: TrackId, muted: bool) -> TrackSpec {
        TrackSpec {
            id,
            kind: self.kind,
            mid: self.mid,
            payload_types: self.payload_types.clone(),
            extensions: self.extensions,
            rids: self.rids.clone(),
            ssrcs: self.ssrcs.clone(),
            muted,
        }
    }
}

/// The layers of `a=simulcast:send` that `a=rid` declares too.
pub(super) fn rids(media: &Media) -> Vec<Rid> {
    let declared = media.simulcast_send.iter().filter(|rid| media.rids_send.contains(rid));
    let mut rids: Vec<Rid> = Vec::new();
    for rid in declared.filter_map(|rid| Rid::new(rid.as_bytes())) {
        if rids.len() < LAYERS_MAX && !rids.contains(&rid) {
            rids.push(rid);
        }
    }
    rids
}

/// Sorted by meaning if all names come from one known ladder; otherwise the offer's order stands.
fn lowest_first(offered: &[Rid]) -> Vec<Rid> {
    let mut rids = offered.to_vec();
    let rank = |ladder: &[&str], rid: &Rid| ladder.iter().position(|name| *name == rid.0.as_str());
    let ladder = LADDERS.iter().find(|ladder| offered.iter().all(|rid| rank(ladder, rid).is_some()));
    if let Some(ladder) = ladder {
        rids.sort_by_key(|rid| rank(ladder, rid));
    }
    rids
}

/// Primary streams with their RTX streams (FID, RFC 5576 §4.2), those of a SIM group first and in its order;
/// repair streams of FEC are not taken.
fn declared_ssrcs(media: &Media) -> Vec<DeclaredSsrc> {
    let groups = |semantics: &'static str| {
        media.ssrc_groups.iter().filter(move |group| group.semantics == semantics).map(|group| &group.ssrcs)
    };
    let repairs = |ssrc: &Ssrc| {
        groups("FID").chain(groups("FEC-FR")).any(|group| group.iter().skip(1).any(|other| other == ssrc))
    };
    let rtx =
        |ssrc: Ssrc| groups("FID").find(|group| group.first() == Some(&ssrc)).and_then(|group| group.get(1));
    let layered = groups("SIM").next().into_iter().flatten();
    let mut primaries: Vec<Ssrc> = Vec::new();
    for ssrc in layered.chain(&media.ssrcs).filter(|ssrc| !repairs(ssrc)) {
        if !primaries.contains(ssrc) {
            primaries.push(*ssrc);
        }
    }
    primaries.into_iter().map(|ssrc| DeclaredSsrc { ssrc, rtx: rtx(ssrc).copied() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(names: &[&str]) -> Vec<String> {
        let rids: Vec<Rid> = names.iter().map(|name| Rid::new(name.as_bytes()).unwrap()).collect();
        lowest_first(&rids).iter().map(|rid| rid.0.to_string()).collect()
    }

    #[test]
    fn known_ladders_are_sorted_and_unknown_ones_kept() {
        assert_eq!(sorted(&["f", "h", "q"]), ["q", "h", "f"]);
        assert_eq!(sorted(&["h", "m", "l"]), ["l", "m", "h"]);
        assert_eq!(sorted(&["high", "low"]), ["low", "high"]);
        assert_eq!(sorted(&["2", "0", "1"]), ["0", "1", "2"]);
        assert_eq!(sorted(&["b", "a"]), ["b", "a"]);
    }
}
