//! The fan-out, where a packet becomes many: start reading here. What was received since the last release is
//! offered to every slot that shows its track; each slot selects, renumbers and queues a reference. No payload is
//! touched and nothing is allocated.
//!
//! ```text
//! fresh (track, seq)… ─▶ for each run of one track
//!                          └▶ for each route (peer, slot)        one slot's state stays in cache
//!                               └▶ for each packet of the run
//!                                    select ─▶ rewrite ─▶ remember ─▶ pacer
//! ```

use slab::Slab;

use crate::drop::{Counters, DropReason};
use crate::pacer::{Paced, Pacer};
use crate::packet::PeerIx;
use crate::peer::Peer;
use crate::publisher::recv_stream::RecvStream;
use crate::publisher::track::{Route, Track};
use crate::publisher::{Fresh, Tracks};
use crate::subscriber::slot::{Offered, Slot};
use crate::unit::{LayerId, SlotId};

/// Packets that may have overtaken the first one of a keyframe: a quarter of a second of 4 Mbit/s.
const CATCH_UP_MAX: i64 = 128;

/// Something about a slot that the control plane should hear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    Layer { peer: PeerIx, slot: SlotId, layer: Option<LayerId> },
    Unsupported { peer: PeerIx, slot: SlotId },
}

/// Offers `fresh` to all slots that show it. Peers whose pacer has work afterwards are appended to `ready`, once.
pub fn fan_out(
    fresh: &[Fresh],
    tracks: &mut Tracks,
    peers: &mut Slab<Peer>,
    ready: &mut Vec<PeerIx>,
    notices: &mut Vec<Notice>,
    counters: &mut Counters,
) {
    let mut rest = fresh;
    for run in fresh.chunk_by(|a, b| a.source.track == b.source.track) {
        let (pending, after) = (rest, rest.get(run.len()..).unwrap_or_default());
        rest = after;
        let Some(ix) = run.first().map(|fresh| fresh.source.track) else { continue };
        let Some(track) = tracks.get(ix.0) else { continue };
        let mut wanted = [false; crate::publisher::track::LAYERS_MAX];
        for route in &track.routes {
            // What is chosen before the path stands would be lost, keyframe and all.
            let Some(peer) = peers.get_mut(route.peer.0).filter(|peer| peer.transport.is_connected()) else {
                continue;
            };
            let waits_for = offer_run(pending, track, route, peer, notices, counters);
            if let Some(wanted) = waits_for.and_then(|layer| wanted.get_mut(usize::from(layer.0))) {
                *wanted = true;
            }
            if !peer.is_ready && !peer.subscriber.pacer.is_empty() {
                peer.is_ready = true;
                ready.push(route.peer);
            }
        }
        let Some(track) = tracks.get_mut(ix.0) else { continue };
        for layer in (0..).map(LayerId).zip(wanted).filter_map(|(layer, wanted)| wanted.then_some(layer)) {
            track.want_keyframe(layer);
        }
    }
}

/// Offers one track's packets, which `pending` begins with, to one slot. Returns the layer whose keyframe the slot waits for.
fn offer_run(
    pending: &[Fresh],
    track: &Track,
    route: &Route,
    peer: &mut Peer,
    notices: &mut Vec<Notice>,
    counters: &mut Counters,
) -> Option<LayerId> {
    let slot = peer.subscriber.slots.get_mut(route.slot)?;
    let ix = pending.first()?.source.track;
    let run = pending.iter().take_while(|fresh| fresh.source.track == ix);
    let mut refused = false;
    for (at, fresh) in run.enumerate() {
        let Some(stream) = track.stream(fresh.source) else { continue };
        if fresh.padding_only {
            slot.absorb(fresh.source, fresh.seq);
            continue;
        }
        let Some((packet, _)) = stream.store.get(fresh.seq) else { continue };
        let offered = slot.offer(track, stream, fresh.source, packet);
        refused = offered == Offered::Unsupported;
        match offered {
            Offered::Queue(paced) => queue(paced, &mut peer.subscriber.pacer, counters),
            Offered::Enter(paced) => {
                // The layer that is announced says that it works again.
                slot.unsupported = false;
                queue(paced, &mut peer.subscriber.pacer, counters);
                let later = pending.get(at + 1..).unwrap_or_default();
                catch_up(fresh, later, track, stream, slot, &mut peer.subscriber.pacer, counters);
            }
            Offered::TooLate => counters.drop(DropReason::TooLate),
            Offered::Skipped => {}
            Offered::Unsupported => {
                if !slot.unsupported {
                    slot.unsupported = true;
                    notices.push(Notice::Unsupported { peer: route.peer, slot: route.slot });
                }
            }
        }
    }
    let layer = slot.selector.current();
    if layer != slot.announced {
        slot.announced = layer;
        counters.layer_switches += 1;
        notices.push(Notice::Layer { peer: route.peer, slot: route.slot, layer });
    }
    slot.selector.waits_for().filter(|_| !refused)
}

/// A slot has entered a stream at `first`, and reordering has brought some of what follows before it: that was skipped
/// when it came, and goes on now. What is still `later` will be offered in its turn.
fn catch_up(
    first: &Fresh,
    later: &[Fresh],
    track: &Track,
    stream: &RecvStream,
    slot: &mut Slot,
    pacer: &mut Pacer,
    counters: &mut Counters,
) {
    let ahead = stream.highest().map_or(0, |highest| highest.since(first.seq).clamp(0, CATCH_UP_MAX));
    for seq in (1..=ahead.unsigned_abs()).map(|ahead| first.seq.plus(ahead)) {
        if later.iter().any(|fresh| (fresh.source, fresh.seq) == (first.source, seq)) {
            continue;
        }
        let Some((packet, _)) = stream.store.get(seq) else { continue };
        if let Offered::Queue(paced) = slot.offer(track, stream, first.source, packet) {
            queue(paced, pacer, counters);
        }
    }
}

fn queue(paced: Paced, pacer: &mut Pacer, counters: &mut Counters) {
    if !pacer.push(paced) {
        counters.drop(DropReason::PacerFull);
    }
}
