//! The numbers of a slot's stream, in any order of its source's packets.

use super::*;
use crate::packet::{StreamId, TrackIx};
use crate::unit::LayerId;

fn source(stream: u64) -> StreamRef {
    StreamRef { track: TrackIx(0), layer: LayerId(0), stream: StreamId(stream) }
}

fn begun(first_in: u64) -> Rewriter {
    let mut rewriter = Rewriter::new(ExtSeq(100));
    rewriter.begin(source(1), ExtSeq(first_in), 0, PayloadOffsets::default());
    rewriter
}

fn out(rewriter: &mut Rewriter, stream: u64, seq: u64) -> Option<u64> {
    rewriter.map(source(stream), ExtSeq(seq)).map(|mapped| mapped.seq.0)
}

#[test]
fn a_switch_continues_the_numbers() {
    let mut rewriter = begun(5_000);
    assert_eq!(out(&mut rewriter, 1, 5_000), Some(100));
    assert_eq!(out(&mut rewriter, 1, 5_001), Some(101));
    rewriter.begin(source(2), ExtSeq(9), 0, PayloadOffsets::default());
    assert_eq!(out(&mut rewriter, 2, 9), Some(102));
}

#[test]
fn a_late_packet_of_an_old_segment_gets_its_reserved_number() {
    let mut rewriter = begun(10);
    assert_eq!(out(&mut rewriter, 1, 10), Some(100));
    assert_eq!(out(&mut rewriter, 1, 12), Some(102));
    rewriter.begin(source(2), ExtSeq(50), 0, PayloadOffsets::default());
    assert_eq!(out(&mut rewriter, 2, 50), Some(103));
    assert_eq!(out(&mut rewriter, 1, 11), Some(101));
    assert_eq!(out(&mut rewriter, 1, 13), None, "after the switch the old source is over");
}

#[test]
fn swallowed_padding_leaves_no_gap() {
    let mut rewriter = begun(10);
    assert_eq!(out(&mut rewriter, 1, 10), Some(100));
    for seq in 11..14 {
        assert_eq!(rewriter.leave_out(source(1), ExtSeq(seq)), None);
    }
    assert_eq!(out(&mut rewriter, 1, 14), Some(101));
    assert_eq!(rewriter.leave_out(source(1), ExtSeq(16)), None);
    assert_eq!(out(&mut rewriter, 1, 17), Some(103));
    assert_eq!(out(&mut rewriter, 1, 15), Some(102), "lost before the padding, repaired after it");
}

#[test]
fn padding_first_in_a_segment_is_swallowed_too() {
    let mut rewriter = begun(10);
    assert_eq!(rewriter.leave_out(source(1), ExtSeq(10)), None);
    assert_eq!(out(&mut rewriter, 1, 11), Some(100));
}

#[test]
fn a_gap_beyond_repair_is_closed_by_a_new_segment() {
    let mut rewriter = begun(10);
    assert_eq!(out(&mut rewriter, 1, 10), Some(100));
    assert!(rewriter.is_beyond_repair(ExtSeq(3_000)) && !rewriter.is_beyond_repair(ExtSeq(200)));
    assert_eq!(out(&mut rewriter, 1, 3_000), None);
    rewriter.begin(source(1), ExtSeq(3_000), 0, PayloadOffsets::default());
    assert_eq!(out(&mut rewriter, 1, 3_000), Some(101));
}

#[test]
fn layers_that_are_left_out_leave_no_gap_in_any_order() {
    let mut rewriter = begun(10);
    assert_eq!(out(&mut rewriter, 1, 10), Some(100));
    assert_eq!(rewriter.leave_out(source(1), ExtSeq(11)), None);
    assert_eq!(rewriter.leave_out(source(1), ExtSeq(12)), None);
    assert_eq!(out(&mut rewriter, 1, 13), Some(101));
    // 14 is missing, and holds 102.
    assert_eq!(rewriter.leave_out(source(1), ExtSeq(15)), None);
    assert_eq!(out(&mut rewriter, 1, 16), Some(103));
    assert_eq!(out(&mut rewriter, 1, 14), Some(102), "repaired");
    // 17 and 18 are missing; the one goes on, the other doesn't.
    assert_eq!(out(&mut rewriter, 1, 19), Some(106));
    assert_eq!(out(&mut rewriter, 1, 18), Some(105));
    let filler = rewriter.leave_out(source(1), ExtSeq(17)).unwrap();
    assert_eq!(filler.seq, ExtSeq(104), "something must go out under the number that was kept");
    assert_eq!(out(&mut rewriter, 1, 11), None, "what was left out has no number");
    assert_eq!(out(&mut rewriter, 1, 20), Some(107));
}

#[test]
fn a_packet_from_before_all_cuts_that_are_remembered_is_too_late() {
    let mut rewriter = begun(10);
    out(&mut rewriter, 1, 10);
    // One packet in three is missing, one is left out.
    for picture in 0..200_u64 {
        assert_eq!(rewriter.leave_out(source(1), ExtSeq(12 + 3 * picture)), None);
        assert_eq!(out(&mut rewriter, 1, 13 + 3 * picture), Some(102 + 2 * picture));
    }
    assert_eq!(out(&mut rewriter, 1, 11), None);
    for picture in (200 - Rewriter::CUTS as u64 + 1)..200 {
        assert_eq!(out(&mut rewriter, 1, 11 + 3 * picture), Some(101 + 2 * picture), "{picture}");
    }
}

#[test]
fn random_walks_hand_every_number_out_once_and_leave_none() {
    use rand::{Rng, SeedableRng, rngs::StdRng};
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut rewriter = begun(1_000);
        let (mut stream, mut seq) = (1, 1_000_u64);
        // Missing packets, and whether they will go on.
        let mut missing = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        let mut lost = 0;
        let arrives = |rewriter: &mut Rewriter, stream, seq, goes_on| match goes_on {
            true => out(rewriter, stream, seq),
            false => rewriter.leave_out(source(stream), ExtSeq(seq)).map(|mapped| mapped.seq.0),
        };
        assert!(seen.insert(out(&mut rewriter, 1, seq).unwrap()));
        for _ in 0..5_000 {
            seq += 1;
            let goes_on = rng.random_bool(0.6);
            match rng.random_range(0..200) {
                0 => {
                    stream += 1;
                    seq = rng.random_range(0..60_000);
                    lost += missing.len();
                    missing.clear();
                    rewriter.begin(source(stream), ExtSeq(seq), 0, PayloadOffsets::default());
                    assert!(seen.insert(out(&mut rewriter, stream, seq).unwrap()), "seed {seed}");
                }
                1..20 => missing.push((seq, goes_on)),
                20..60 if !missing.is_empty() => {
                    seq -= 1;
                    let (late, goes_on) = missing.swap_remove(rng.random_range(0..missing.len()));
                    match arrives(&mut rewriter, stream, late, goes_on) {
                        Some(out) => assert!(seen.insert(out), "seed {seed}: {out} twice"),
                        // Older than what is remembered, or last in its segment and so never reserved.
                        None => lost += 1,
                    }
                }
                _ => match (goes_on, arrives(&mut rewriter, stream, seq, goes_on)) {
                    (true, Some(out)) => assert!(seen.insert(out), "seed {seed}: {out} twice"),
                    (false, None) => {}
                    other => panic!("seed {seed}: {other:?}"),
                },
            }
        }
        lost += missing.len();
        let (first, last) = (*seen.first().unwrap(), *seen.last().unwrap());
        let gaps = (last - first + 1) as usize - seen.len();
        assert!(gaps <= lost, "seed {seed}: {gaps} numbers were never handed out, {lost} packets were lost");
    }
}
