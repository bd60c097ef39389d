//! Where keyframes begin in H.264, H.265 and AV1, against the `rtp` crate's packetisers and parsers.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rtp::codec::av1::Av1Payloader;
use rtp::codec::h264::H264Payloader;
use rtp::codec::h265::{H265Packet, H265Payload};
use rtp::packetizer::{Depacketizer, Payloader};
use sfu_core::wire::payload::{av1, h264, h265};

const ROUNDS: usize = 20_000;

/// Bytes without zeros, so that they hold no start code.
fn body(rng: &mut StdRng, len: usize) -> Vec<u8> {
    (0..len).map(|_| rng.random_range(1..=255)).collect()
}

/// In an access unit with parameter sets exactly the packet that holds them; in one without none, keyframe or not.
#[test]
fn h264_as_the_crate_packetises_it() {
    let mut rng = StdRng::seed_from_u64(1);
    for _ in 0..ROUNDS {
        let mut unit = Vec::new();
        let mut nal = |header: u8, body: &[u8]| {
            unit.extend_from_slice(&[0, 0, 0, 1, header]);
            unit.extend_from_slice(body);
        };
        let sets = rng.random_bool(0.3);
        let aud = rng.random_bool(0.3);
        if aud {
            nal(0x09, &[0x10]);
        }
        if sets {
            nal(0x67, &body(&mut rng, 8));
            nal(0x68, &body(&mut rng, 3));
        }
        let slice = if rng.random_bool(0.3) { 0x65 } else { 0x41 };
        for _ in 0..rng.random_range(1..4) {
            let len = rng.random_range(1..4_000);
            nal(slice, &body(&mut rng, len));
        }
        let payloads = H264Payloader::default().payload(1_100, &Bytes::from(unit)).unwrap();
        let starts: Vec<bool> = payloads.iter().map(|payload| h264::is_keyframe_start(payload)).collect();
        assert_eq!(starts[0], sets);
        assert!(starts[1..].iter().all(|start| !start));
    }
}

/// A packet's temporal layer is that of its first OBU; the packetiser sets N where a sequence header comes first.
#[test]
fn av1_as_the_crate_packetises_it() {
    let mut rng = StdRng::seed_from_u64(2);
    let (mut fragments, mut sequences) = (0, 0);
    for _ in 0..ROUNDS {
        let (temporal, sequence) = (rng.random_range(0..8u8), rng.random_bool(0.4));
        let extended = rng.random_bool(0.5);
        let mut unit = Vec::new();
        let mut obu = |kind: u8, body: &[u8]| {
            unit.push(kind << 3 | if extended { 0x04 } else { 0 } | 0x02);
            if extended {
                unit.push(temporal << 5);
            }
            let len = body.len();
            unit.extend([len as u8 & 0x7f | if len > 127 { 0x80 } else { 0 }]);
            if len > 127 {
                unit.push((len >> 7) as u8);
            }
            unit.extend_from_slice(body);
        };
        if sequence {
            obu(1, &body(&mut rng, 11));
        }
        // Metadata before the frame, or not; then a frame.
        for kind in if rng.random_bool(0.2) { &[5u8, 6][..] } else { &[6] } {
            let len = rng.random_range(1..4_000);
            obu(*kind, &body(&mut rng, len));
        }
        let payloads = Av1Payloader::default().payload(1_100, &Bytes::from(unit)).unwrap();
        let starts: Vec<bool> = payloads.iter().map(|payload| av1::is_keyframe_start(payload)).collect();
        assert_eq!(starts[0], sequence);
        assert!(starts[1..].iter().all(|start| !start));
        sequences += usize::from(sequence);
        fragments += payloads.len() - 1;
        for payload in payloads.iter().filter(|payload| payload[0] & 0x80 == 0) {
            assert_eq!(av1::temporal_id(payload), extended.then_some(temporal));
        }
    }
    assert!(fragments > ROUNDS / 2 && sequences > ROUNDS / 4);
}

/// Types that begin a keyframe: video and sequence parameter set.
fn begins(unit: &[u8]) -> bool {
    unit.first().is_some_and(|header| matches!(header >> 1 & 0x3f, 32 | 33))
}

#[test]
fn h265_as_the_crate_parses_it() {
    let mut rng = StdRng::seed_from_u64(3);
    let mut seen = [0; 4];
    for _ in 0..ROUNDS * 5 {
        let kind = match rng.random_range(0..4) {
            0 => 48,
            1 => 49,
            2 => rng.random_range(32..36),
            _ => rng.random_range(0..48),
        };
        let mut payload = vec![kind << 1, rng.random_range(1..8)];
        if kind == 48 {
            for _ in 0..rng.random_range(1..4) {
                let unit = [rng.random_range(30..36u8) << 1, 1, 9];
                payload.extend_from_slice(&[0, 3]);
                payload.extend_from_slice(&unit);
            }
        } else {
            // Fragments of every type, and of parameter sets.
            let header = if rng.random_bool(0.5) { rng.random() } else { 0x80 | rng.random_range(30..36u8) };
            payload.extend_from_slice(&[header, 1, 2, 3]);
        }
        let mut theirs = H265Packet::default();
        if theirs.depacketize(&Bytes::from(payload.clone())).is_err() {
            continue;
        }
        let (at, starts) = match theirs.payload() {
            H265Payload::H265SingleNALUnitPacket(_) => (0, begins(&payload)),
            H265Payload::H265AggregationPacket(packet) => {
                let first = packet.first_unit().map(|unit| unit.nal_unit());
                let others = packet.other_units().iter().map(|unit| unit.nal_unit());
                (1, first.into_iter().chain(others).any(|unit| begins(&unit)))
            }
            H265Payload::H265FragmentationUnitPacket(packet) => {
                let header = packet.fu_header();
                (2, header.s() && matches!(header.fu_type(), 32 | 33))
            }
            _ => (3, false),
        };
        seen[at] += usize::from(starts);
        assert_eq!(h265::is_keyframe_start(&payload), starts, "{payload:x?}");
        assert_eq!(h265::temporal_id(&payload), Some((payload[1] & 7) - 1));
    }
    assert!(seen[..3].iter().all(|count| *count > 500), "{seen:?}");
}
