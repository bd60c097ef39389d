//! Which track and layer an SSRC belongs to: by its declaration in SDP, then by MID and RID (RFC 8843 §9.2, RFC
//! 8852), then by a payload type that only one track has. One look in a small table for every packet after.

use crate::command::TrackSpec;
use crate::drop::DropReason;
use crate::packet::TrackIx;
use crate::publisher::Incoming;
use crate::publisher::Tracks;
use crate::publisher::track::Track;
use crate::unit::{LayerId, Pt, Rid, Ssrc};

/// Most SSRCs that one publisher may use at a time: 64 m-sections of one layer with RTX, or fewer with more.
const BINDINGS_MAX: usize = 128;

/// What an SSRC stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound {
    pub ssrc: Ssrc,
    pub track: TrackIx,
    pub layer: LayerId,
    pub rtx: bool,
    /// Replaced by another SSRC for the same layer.
    retired: bool,
}

#[derive(Debug, Default)]
pub struct Bindings {
    table: Vec<Bound>,
    /// Where the last look-up succeeded: packets come in bursts.
    last: usize,
    /// SSRCs that are out of use: nobody need remember their packets any more.
    forgotten: Vec<Ssrc>,
}

impl Bindings {
    /// Binds the SSRCs that a track's SDP declares.
    pub fn declare(&mut self, ix: TrackIx, spec: &TrackSpec) {
        for (layer, declared) in (0..).map(LayerId).zip(&spec.ssrcs) {
            let rtx = declared.rtx.map(|ssrc| (ssrc, true));
            for (ssrc, rtx) in std::iter::once((declared.ssrc, false)).chain(rtx) {
                let known =
                    self.find(ssrc).is_some_and(|old| (old.track, old.layer, old.rtx) == (ix, layer, rtx));
                if !known {
                    self.insert(ssrc, ix, layer, rtx);
                }
            }
        }
    }

    /// Forgets everything that belongs to a track.
    pub fn remove_track(&mut self, ix: TrackIx) {
        let gone = self.table.extract_if(.., |bound| bound.track == ix);
        self.forgotten.extend(gone.map(|bound| bound.ssrc));
    }

    /// The next SSRC that has gone out of use.
    pub fn take_forgotten(&mut self) -> Option<Ssrc> {
        self.forgotten.pop()
    }

    /// An SSRC has been replaced in its layer: what still comes of it is dropped.
    pub fn retire(&mut self, ssrc: Ssrc) {
        if let Some(bound) = self.table.iter_mut().find(|bound| bound.ssrc == ssrc) {
            bound.retired = true;
            self.forgotten.push(ssrc);
        }
    }

    pub fn find(&self, ssrc: Ssrc) -> Option<Bound> {
        self.table.iter().find(|bound| bound.ssrc == ssrc).copied()
    }

    /// What a packet belongs to. A new SSRC is bound by what the packet says of itself.
    pub fn bind(
        &mut self,
        incoming: &Incoming<'_>,
        own: &[TrackIx],
        tracks: &Tracks,
    ) -> Result<Bound, DropReason> {
        let ssrc = incoming.header.ssrc;
        if let Some(bound) = self.lookup(ssrc) {
            return if bound.retired { Err(DropReason::RetiredSsrc) } else { Ok(bound) };
        }
        let (track, layer, rtx) = identify(incoming, own, tracks).ok_or(DropReason::UnknownStream)?;
        self.insert(ssrc, track, layer, rtx).ok_or(DropReason::UnknownStream)
    }

    fn lookup(&mut self, ssrc: Ssrc) -> Option<Bound> {
        if let Some(bound) = self.table.get(self.last)
            && bound.ssrc == ssrc
        {
            return Some(*bound);
        }
        self.last = self.table.iter().position(|bound| bound.ssrc == ssrc)?;
        self.table.get(self.last).copied()
    }

    fn insert(&mut self, ssrc: Ssrc, track: TrackIx, layer: LayerId, rtx: bool) -> Option<Bound> {
        let bound = Bound { ssrc, track, layer, rtx, retired: false };
        if let Some(old) = self.table.iter_mut().find(|bound| bound.ssrc == ssrc) {
            *old = bound;
            return Some(bound);
        }
        if self.table.len() == BINDINGS_MAX {
            let retired = self.table.iter().position(|bound| bound.retired)?;
            self.table.swap_remove(retired);
        }
        self.table.push(bound);
        Some(bound)
    }
}

/// Finds the track by MID, else by a payload type that is unique among the publisher's tracks; the layer by RID.
fn identify(incoming: &Incoming<'_>, own: &[TrackIx], tracks: &Tracks) -> Option<(TrackIx, LayerId, bool)> {
    let extensions = incoming.extensions;
    let pt = incoming.header.pt;
    let knows =
        |ix: &TrackIx| tracks.get(ix.0).filter(|track| has_payload_type(track, pt)).map(|track| (*ix, track));
    let (ix, track) = match extensions.mid {
        Some(mid) => own.iter().filter_map(knows).find(|(_, track)| track.spec.mid == Some(mid))?,
        None => {
            let mut candidates = own.iter().filter_map(knows);
            candidates.next().filter(|_| candidates.next().is_none())?
        }
    };
    let rtx = track.format(pt).is_none();
    let rid = if rtx { extensions.repaired_rid } else { extensions.rid };
    let layer = match rid {
        Some(rid) => layer_of(track, rid)?,
        None if track.layers.len() == 1 => LayerId(0),
        None => return None,
    };
    Some((ix, layer, rtx))
}

fn has_payload_type(track: &Track, pt: Pt) -> bool {
    track.format(pt).is_some() || track.format_of_rtx(pt).is_some()
}

fn layer_of(track: &Track, rid: Rid) -> Option<LayerId> {
    let at = track.spec.rids.iter().position(|known| *known == rid)?;
    track.layers.get(at).map(|layer| layer.id)
}
