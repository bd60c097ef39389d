//! Streams that Chromium sent, through the filter: whatever is asked for, what comes out can be decoded. Which frames a
//! frame refers to is taken from the corpus, not from the code under test.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::packet::TrackIx;
use crate::publisher::dependencies::Reading;
use crate::unit::{LayerId, TemporalId};
use rand::{Rng, SeedableRng, rngs::StdRng};

const VP9_KEY: &str = include_str!("../../../tests/descriptors/vp9_l3t3_key.txt");
const VP9_FULL: &str = include_str!("../../../tests/descriptors/vp9_l3t3.txt");
const AV1_KEY: &str = include_str!("../../../tests/descriptors/av1_l2t3_key.txt");
const AV1_FULL: &str = include_str!("../../../tests/descriptors/av1_l2t3.txt");
const AV1_FLAT: &str = include_str!("../../../tests/descriptors/av1_l1t3.txt");

/// What a packet is, and what the corpus says of its frame.
#[derive(Clone)]
struct Sample {
    packet: Packet,
    frame: u64,
    layer: (u8, u8),
    references: Vec<u64>,
    ends_frame: bool,
}

struct Stream {
    samples: Vec<Sample>,
    dependencies: Dependencies,
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The corpus as a stream `rounds` times over, each begun by its keyframe; with the descriptor or with VP9's own only.
fn stream(text: &str, rounds: u64, with_descriptor: bool) -> Stream {
    let (mut samples, mut dependencies) = (Vec::new(), Dependencies::default());
    for round in 0..rounds {
        for line in text.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| fields[at].parse::<u64>().unwrap();
            let frame = number(2) + round * 1_000;
            let mut bytes = unhex(fields[0]);
            bytes[1..3].copy_from_slice(&(frame as u16).to_be_bytes());
            let mut packet = Packet::for_test(ExtSeq(samples.len() as u64));
            packet.rtp_time = RtpTime((number(8) as u32).wrapping_add(round as u32 * 90_000 * 10));
            packet.marker = &fields[1][2..] == "1";
            if with_descriptor {
                let Some(Reading::Described(dependency) | Reading::Structured(dependency)) =
                    dependencies.read(&bytes)
                else {
                    panic!("{line}")
                };
                packet.dependency = Some(dependency);
            } else {
                let mut payload = unhex(fields[10]);
                let picture = u16::from_be_bytes([payload[1] & 0x7f, payload[2]]) + round as u16 * 500;
                payload[1..3].copy_from_slice(&(picture | 0x8000).to_be_bytes());
                packet.descriptor = PayloadDescriptor::Vp9(Vp9Descriptor::parse(&payload).unwrap());
            }
            samples.push(Sample {
                packet,
                frame,
                layer: (number(3) as u8, number(4) as u8),
                references: fields[6]
                    .split(',')
                    .filter_map(|fdiff| fdiff.parse().ok())
                    .map(|fdiff: u64| frame - fdiff)
                    .collect(),
                ends_frame: &fields[1][1..2] == "1",
            });
        }
    }
    Stream { samples, dependencies }
}

fn source() -> StreamRef {
    StreamRef { track: TrackIx(0), layer: LayerId(0), stream: crate::packet::StreamId(1) }
}

fn at_most(spatial: u8, temporal: u8) -> Wish {
    let request = LayerRequest::AtMost { spatial: LayerId(spatial), temporal: TemporalId(temporal) };
    Wish::of(request, false)
}

/// Forwards a stream, asking `wish` before each packet; the frames that went on with their layers, in order. Panics when
/// one can't be decoded, or a picture doesn't end with its marker.
fn forward(
    stream: &Stream,
    order: &[usize],
    mut wish: impl FnMut(usize) -> Option<Wish>,
) -> BTreeMap<u64, (u8, u8)> {
    let mut filter = LayerFilter::default();
    let (mut frames, mut packets) = (BTreeMap::new(), BTreeMap::new());
    let mut ends: BTreeMap<u32, (u64, bool)> = BTreeMap::new();
    for (step, at) in order.iter().enumerate() {
        let sample = &stream.samples[*at];
        if let Some(wish) = wish(step) {
            filter.set_wish(wish);
        }
        if filter.source.is_none() {
            assert!(sample.packet.is_keyframe_start());
            filter.enter(source(), &sample.packet, &stream.dependencies);
        }
        let Verdict::Forward { ends_picture, .. } = filter.decide(&sample.packet, &stream.dependencies)
        else {
            continue;
        };
        frames.insert(sample.frame, sample.layer);
        *packets.entry(sample.frame).or_insert(0) += 1;
        let end = ends.entry(sample.packet.rtp_time.0).or_insert((0, false));
        end.0 = end.0.max(sample.frame);
        if sample.ends_frame && (ends_picture || sample.packet.marker) {
            assert!(!end.1 || sample.packet.marker, "a picture has one end");
            *end = (end.0.max(sample.frame), true);
        }
    }
    for sample in &stream.samples {
        if frames.contains_key(&sample.frame) {
            let missing = sample.references.iter().find(|frame| !frames.contains_key(frame));
            assert_eq!(missing, None, "of frame {} {:?}", sample.frame, sample.layer);
        }
    }
    for (frame, count) in packets {
        let whole = stream.samples.iter().filter(|sample| sample.frame == frame).count();
        assert_eq!(count, whole, "frame {frame} goes on whole or not at all");
    }
    assert!(ends.values().all(|(_, ended)| *ended), "every picture ends");
    frames
}

fn in_order(stream: &Stream) -> Vec<usize> {
    (0..stream.samples.len()).collect()
}

fn highest(frames: &BTreeMap<u64, (u8, u8)>) -> (u8, u8) {
    (frames.values().map(|layer| layer.0).max().unwrap(), frames.values().map(|layer| layer.1).max().unwrap())
}

#[test]
fn every_layer_asked_for_from_the_start_is_what_comes() {
    for (text, spatial_count) in [(VP9_KEY, 3), (VP9_FULL, 3), (AV1_KEY, 2), (AV1_FULL, 2), (AV1_FLAT, 1)] {
        for with_descriptor in [true, false] {
            if !with_descriptor && spatial_count < 3 {
                continue;
            }
            let stream = stream(text, 2, with_descriptor);
            for spatial in 0..spatial_count {
                for temporal in 0..3 {
                    let frames = forward(&stream, &in_order(&stream), |_| Some(at_most(spatial, temporal)));
                    assert_eq!(highest(&frames), (spatial, temporal), "with descriptor: {with_descriptor}");
                    // Every picture of those temporal layers is there.
                    let pictures: BTreeSet<u32> = stream
                        .samples
                        .iter()
                        .filter(|sample| sample.layer.1 <= temporal && sample.layer.0 == spatial)
                        .map(|sample| sample.packet.rtp_time.0)
                        .collect();
                    let shown: BTreeSet<u32> = stream
                        .samples
                        .iter()
                        .filter(|sample| frames.get(&sample.frame).is_some_and(|layer| layer.0 == spatial))
                        .map(|sample| sample.packet.rtp_time.0)
                        .collect();
                    assert_eq!(shown, pictures, "S{spatial}T{temporal}");
                }
            }
        }
    }
}

#[test]
fn wishes_that_change_at_any_moment_never_break_decoding() {
    for text in [VP9_KEY, VP9_FULL, AV1_KEY, AV1_FULL, AV1_FLAT] {
        for with_descriptor in [true, false] {
            if !with_descriptor && !text.contains(" b8") && !text.contains(" ba") {
                continue;
            }
            let stream = stream(text, 3, with_descriptor);
            for seed in 0..40 {
                let mut rng = StdRng::seed_from_u64(seed);
                let change = 0.02 + 0.3 * rng.random::<f64>();
                let frames = forward(&stream, &in_order(&stream), |_| {
                    rng.random_bool(change).then(|| at_most(rng.random_range(0..4), rng.random_range(0..4)))
                });
                assert!(frames.len() > 15, "{}", frames.len());
            }
        }
    }
}

#[test]
fn packets_that_come_late_are_judged_by_the_layers_of_their_time() {
    for text in [VP9_KEY, VP9_FULL, AV1_FULL] {
        let stream = stream(text, 2, true);
        for seed in 0..20 {
            let mut rng = StdRng::seed_from_u64(seed);
            // Each packet but the first may come up to thirty later; nothing is lost.
            let mut order = in_order(&stream);
            let lateness: Vec<usize> =
                order.iter().map(|at| if *at > 0 && rng.random_bool(0.1) { at + 30 } else { *at }).collect();
            order.sort_by_key(|at| (lateness[*at], *at));
            // Down at once, and up at the second keyframe.
            let (down, up) = (60, 120);
            let mut reference = LayerFilter::default();
            reference.set_wish(at_most(0, 0));
            let frames = forward(&stream, &order, |step| match step {
                0 => Some(at_most(7, 7)),
                step if step == down => Some(at_most(7, 0)),
                step if step == up => Some(at_most(7, 7)),
                _ => None,
            });
            assert_eq!(highest(&frames), (stream.samples.iter().map(|s| s.layer.0).max().unwrap(), 2));
        }
    }
}

#[test]
fn sizes_change_at_keyframes_only_when_layers_are_predicted_there_only() {
    let changes = |text: &str| {
        let stream = stream(text, 2, true);
        let frames = forward(&stream, &in_order(&stream), |step| match step {
            0 => Some(at_most(2, 2)),
            40 => Some(at_most(0, 2)),
            _ => None,
        });
        let second_keyframe = 1_000;
        frames.iter().filter(|(frame, layer)| **frame < second_keyframe && layer.0 == 2).count()
    };
    let all = |text: &str| {
        text.lines()
            .filter(|line| line.split(' ').nth(3) == Some("2"))
            .map(|line| line.split(' ').nth(2))
            .collect::<BTreeSet<_>>()
            .len()
    };
    assert!(changes(VP9_FULL) < all(VP9_FULL) / 2, "down at once");
    assert_eq!(changes(VP9_KEY), all(VP9_KEY), "not before the keyframe");
}

#[test]
fn a_filter_says_when_only_a_keyframe_helps() {
    for with_descriptor in [true, false] {
        let stream = stream(VP9_KEY, 1, with_descriptor);
        let mut filter = LayerFilter::default();
        filter.set_wish(at_most(1, 2));
        filter.enter(source(), &stream.samples[0].packet, &stream.dependencies);
        for (at, sample) in stream.samples.iter().enumerate().take(60) {
            if at == 30 {
                assert!(!filter.needs_keyframe());
                filter.set_wish(at_most(1, 0));
            }
            if at == 45 {
                assert!(!filter.needs_keyframe(), "a lower rate needs none");
                filter.set_wish(at_most(2, 0));
            }
            filter.decide(&sample.packet, &stream.dependencies);
        }
        assert!(filter.needs_keyframe());
        assert_eq!(filter.current(&stream.dependencies), Some((1, 0)));
        filter.set_wish(at_most(1, 0));
        assert!(!filter.needs_keyframe(), "nothing is wished for any more");
    }
}

#[test]
fn a_stream_without_layers_goes_on_whole() {
    let mut filter = LayerFilter::default();
    filter.set_wish(at_most(0, 0));
    let packet = Packet::for_test(ExtSeq(1));
    let dependencies = Dependencies::default();
    filter.enter(source(), &packet, &dependencies);
    assert_eq!(filter.decide(&packet, &dependencies), WHOLE);
    assert_eq!((filter.current(&dependencies), filter.needs_keyframe()), (None, false));
}

#[test]
fn vp8_loses_and_regains_its_temporal_layers() {
    let mut filter = LayerFilter::default();
    let dependencies = Dependencies::default();
    // Layers 0, 2, 1, 2; the ones above the base refer to it alone, except the last.
    let packet = |n: u32| {
        let (temporal, sync) = [(0, 0), (2, 1), (1, 1), (2, 0)][n as usize % 4];
        let payload =
            [0x90, 0xe0, 0x80, n as u8, (n / 4) as u8, temporal << 6 | sync << 5, u8::from(n > 0), 0, 0];
        let descriptor = PayloadDescriptor::Vp8(Vp8Descriptor::parse(&payload).unwrap());
        Packet { descriptor, rtp_time: RtpTime(n * 3_000), ..Packet::for_test(ExtSeq(u64::from(n))) }
    };
    filter.enter(source(), &packet(0), &dependencies);
    let mut seen = String::new();
    for n in 0..24 {
        match n {
            6 => filter.set_wish(at_most(0, 0)),
            13 => filter.set_wish(at_most(0, 7)),
            _ => {}
        }
        let goes_on = matches!(filter.decide(&packet(n), &dependencies), Verdict::Forward { .. });
        seen.push(if goes_on { char::from(b'0' + packet(n).layers().unwrap().1) } else { '-' });
    }
    // Up by one layer at a time: to 1 at the next picture that refers to the base only, then to 2.
    assert_eq!(seen, "021202--0---0-1-02120212");
    assert!(!filter.needs_keyframe());
}

/// libwebrtc takes each of them for a picture of its own then, and dav1d shows none of them.
#[test]
fn without_the_descriptor_only_vp9_can_have_spatial_layers() {
    let av1 = PayloadDescriptor::Video { keyframe_start: false, temporal_id: None };
    let vp9 = |line: &str| Vp9Descriptor::parse(&unhex(line.split(' ').nth(10).unwrap())).unwrap();
    for (text, codec, expected) in [
        (AV1_KEY, av1, 0),
        (AV1_FULL, av1, 0),
        (VP9_KEY, PayloadDescriptor::Vp9(vp9(VP9_KEY.lines().next().unwrap())), 2),
    ] {
        let mut stream = stream(text, 2, true);
        stream.samples.iter_mut().for_each(|sample| sample.packet.descriptor = codec);
        let mut filter = LayerFilter::default();
        filter.set_has_descriptor(false);
        filter.enter(source(), &stream.samples[0].packet, &stream.dependencies);
        let mut highest = (0, 0);
        for sample in &stream.samples {
            let verdict = filter.decide(&sample.packet, &stream.dependencies);
            let Verdict::Forward { ends_picture, .. } = verdict else { continue };
            assert_eq!(ends_picture, sample.ends_frame && sample.layer.0 == expected);
            highest = (highest.0.max(sample.layer.0), highest.1.max(sample.layer.1));
        }
        assert_eq!(highest, (expected, 2));
    }
}
