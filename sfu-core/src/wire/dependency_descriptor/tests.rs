//! Descriptors of Chromium 156 (`tests/descriptors`), each beside what another program read from it, and hostile bytes.

use super::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

const CORPUS: &[(&str, &str)] = &[
    ("av1_l1t3", include_str!("../../../tests/descriptors/av1_l1t3.txt")),
    ("av1_l2t3", include_str!("../../../tests/descriptors/av1_l2t3.txt")),
    ("av1_l2t3_key", include_str!("../../../tests/descriptors/av1_l2t3_key.txt")),
    ("vp9_l1t3", include_str!("../../../tests/descriptors/vp9_l1t3.txt")),
    ("vp9_l3t3", include_str!("../../../tests/descriptors/vp9_l3t3.txt")),
    ("vp9_l3t3_key", include_str!("../../../tests/descriptors/vp9_l3t3_key.txt")),
];

/// One packet of the corpus: the descriptor's bytes, then what a reading of the specification in another language
/// made of them.
struct Golden {
    bytes: Vec<u8>,
    starts_ends: (bool, bool),
    frame_number: u16,
    layer: (u8, u8),
    indications: String,
    references: Vec<u32>,
    active_targets: Option<u32>,
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn corpus() -> impl Iterator<Item = (&'static str, Vec<Golden>)> {
    CORPUS.iter().map(|(name, text)| (*name, text.lines().map(golden).collect()))
}

fn golden(line: &str) -> Golden {
    let fields: Vec<&str> = line.split(' ').collect();
    let number = |at: usize| fields[at].parse().unwrap();
    Golden {
        bytes: unhex(fields[0]),
        starts_ends: (&fields[1][..1] == "1", &fields[1][1..2] == "1"),
        frame_number: number(2),
        layer: (number(3) as u8, number(4) as u8),
        indications: fields[5].to_owned(),
        references: fields[6].split(',').filter_map(|fdiff| fdiff.parse().ok()).collect(),
        active_targets: fields[7].parse().ok(),
    }
}

fn parse(bytes: &[u8], structure: &mut Structure) -> Option<DependencyDescriptor> {
    match Mandatory::parse(bytes)?.has_structure {
        true => DependencyDescriptor::parse_attached(bytes, structure),
        false => DependencyDescriptor::parse(bytes, structure),
    }
}

fn letters(indications: Indications, targets: u8) -> String {
    let letter = |target| match indications.of(target) {
        Indication::NotPresent => '-',
        Indication::Discardable => 'D',
        Indication::Switch => 'S',
        Indication::Required => 'R',
    };
    (0..targets).map(letter).collect()
}

#[test]
fn chromium_s_descriptors_read_as_by_another_program() {
    for (name, packets) in corpus() {
        let mut structure = Structure::default();
        for golden in &packets {
            let parsed = parse(&golden.bytes, &mut structure).unwrap();
            assert_eq!((parsed.starts_frame, parsed.ends_frame), golden.starts_ends, "{name}");
            assert_eq!(parsed.frame_number, golden.frame_number, "{name}");
            assert_eq!((parsed.spatial, parsed.temporal), golden.layer, "{name}");
            assert_eq!(letters(parsed.indications, structure.target_count()), golden.indications, "{name}");
            assert_eq!(parsed.active_targets, golden.active_targets, "{name}");
            let mut references = References::default();
            golden.references.iter().for_each(|fdiff| references.add(fdiff - 1));
            assert_eq!(parsed.references, references, "{name}");
        }
    }
}

#[test]
fn targets_contain_the_lower_ones_unless_layers_are_predicted_at_keyframes_only() {
    let structure_of = |wanted: &str| {
        let (_, packets) = corpus().find(|(name, _)| *name == wanted).unwrap();
        let mut structure = Structure::default();
        parse(&packets[0].bytes, &mut structure).unwrap();
        structure
    };
    let full = structure_of("vp9_l3t3");
    let layers: Vec<(u8, u8)> =
        full.targets().iter().map(|target| (target.spatial, target.temporal)).collect();
    assert_eq!(layers, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]);
    assert_eq!(full.targets()[8].covered(), 0b1_1111_1111);
    assert_eq!(full.targets()[7].covered(), 0b0_1101_1011);
    assert_eq!(full.resolution(2), Some((960, 540)));
    assert_eq!(full.resolution(0), Some((240, 135)));
    let key = structure_of("vp9_l3t3_key");
    assert_eq!(key.targets()[8].covered(), 0b1_1100_0000);
    assert!(!key.targets()[8].covers(5) && key.targets()[5].covers(3));
}

#[test]
fn a_wish_takes_the_best_target_that_is_sent() {
    let (_, packets) = corpus().find(|(name, _)| *name == "vp9_l3t3_key").unwrap();
    let mut structure = Structure::default();
    parse(&packets[0].bytes, &mut structure).unwrap();
    let all = structure.all_targets();
    assert_eq!(structure.choose(all, 7, 7), Some(8));
    assert_eq!(structure.choose(all, 1, 0), Some(3));
    assert_eq!(structure.choose(all & 0b0_0011_1111, 2, 1), Some(4));
    assert_eq!(structure.choose(0b1_1100_0000, 0, 2), Some(6), "less than is sent");
    assert_eq!(structure.choose(0, 2, 2), None);
}

#[test]
fn a_patch_changes_what_it_says_and_nothing_else() {
    for (name, packets) in corpus() {
        let (mut structure, mut again) = (Structure::default(), Structure::default());
        for golden in &packets {
            let parsed = parse(&golden.bytes, &mut structure).unwrap();
            let mut out = [0xff; DESCRIPTOR_LEN_MAX];
            let changes = Patch { frame_offset: 0, active_targets: None };
            let len = patch(&golden.bytes, &parsed, changes, &mut out).unwrap();
            assert_eq!(out[..len], golden.bytes, "{name}");
            let active = 0b101 & structure.all_targets();
            let changes = Patch { frame_offset: 40_000, active_targets: Some(active) };
            let len = patch(&golden.bytes, &parsed, changes, &mut out).unwrap();
            assert!(len <= golden.bytes.len() + 5, "{name}");
            let patched = parse(&out[..len], &mut again).unwrap();
            let expected = DependencyDescriptor {
                frame_number: golden.frame_number.wrapping_add(40_000),
                active_targets: Some(active),
                layout: Layout { has_active_targets: true, ..parsed.layout },
                ..parsed
            };
            assert_eq!(patched, expected, "{name}");
            assert_eq!(again, structure, "{name}");
            // A second change goes over the first.
            let mut twice = [0; DESCRIPTOR_LEN_MAX];
            let changes = Patch { frame_offset: 0, active_targets: Some(active) };
            let same = patch(&out[..len], &patched, changes, &mut twice).unwrap();
            assert_eq!(twice[..same], out[..len], "{name}");
        }
    }
}

#[test]
fn too_little_room_is_told() {
    let (_, packets) = corpus().next().unwrap();
    let mut structure = Structure::default();
    let parsed = parse(&packets[0].bytes, &mut structure).unwrap();
    let changes = Patch { frame_offset: 1, active_targets: Some(1) };
    let mut out = [0; DESCRIPTOR_LEN_MAX];
    let len = patch(&packets[0].bytes, &parsed, changes, &mut out).unwrap();
    for short in 0..len {
        assert_eq!(patch(&packets[0].bytes, &parsed, changes, &mut out[..short]), None);
    }
}

#[test]
fn own_references_of_a_frame_replace_the_template_s() {
    let (_, packets) = corpus().find(|(name, _)| *name == "vp9_l1t3").unwrap();
    let mut structure = Structure::default();
    parse(&packets[0].bytes, &mut structure).unwrap();
    // The custom fdiffs flag, then 4 (in four bits) and 64 (in eight); in the other frame 4,096 (in twelve).
    let frame = |bits: &str| {
        let bits = format!("{:08b}{:016b}{}", 0xc0, 7, bits.replace('_', ""));
        let padded = format!("{bits:0<width$}", width = bits.len().next_multiple_of(8));
        let byte = |at: usize| u8::from_str_radix(&padded[at..at + 8], 2).unwrap();
        (0..padded.len()).step_by(8).map(byte).collect::<Vec<u8>>()
    };
    let parsed = parse(&frame("00010_01_0011_10_00111111_00"), &mut structure).unwrap();
    assert!(parsed.references.are_within(1 << 3 | 1 << 63));
    assert!(!parsed.references.are_within(1 << 3) && !parsed.references.is_none());
    let far = parse(&frame("00010_11_111111111111_00"), &mut structure).unwrap();
    assert!(!far.references.are_within(u64::MAX));
    let none = parse(&frame("00010_00"), &mut structure).unwrap();
    assert!(none.references.is_none() && none.references.are_within(0));
}

#[test]
fn hostile_bytes_are_survived() {
    let mut rng = StdRng::seed_from_u64(1);
    let streams: Vec<Vec<Golden>> = corpus().map(|(_, packets)| packets).collect();
    let mut parsed_count = 0;
    for round in 0..40_000 {
        let packets = &streams[rng.random_range(0..streams.len())];
        let mut structure = Structure::default();
        parse(&packets[0].bytes, &mut structure).unwrap();
        let mut bytes = packets[rng.random_range(0..packets.len())].bytes.clone();
        match round % 3 {
            0 => {
                bytes.resize(rng.random_range(0..300), 0);
                rng.fill(bytes.as_mut_slice());
            }
            1 => bytes.truncate(rng.random_range(0..=bytes.len())),
            _ => (0..3).for_each(|_| {
                let at = rng.random_range(0..bytes.len());
                bytes[at] ^= 1 << rng.random_range(0..8);
            }),
        }
        let Some(parsed) = parse(&bytes, &mut structure) else { continue };
        parsed_count += 1;
        let active = structure.all_targets() & rng.random::<u32>();
        if let Some(target) = structure.choose(active, rng.random_range(0..4), rng.random_range(0..4)) {
            assert!(active >> target & 1 == 1 && structure.targets()[usize::from(target)].covers(target));
        }
        let mut out = [0; DESCRIPTOR_LEN_MAX];
        let changes = Patch { frame_offset: rng.random(), active_targets: Some(active) };
        if bytes.len() <= DESCRIPTOR_LEN_MAX
            && let Some(len) = patch(&bytes, &parsed, changes, &mut out)
        {
            let again = parse(&out[..len], &mut structure).unwrap();
            assert_eq!((again.indications, again.references), (parsed.indications, parsed.references));
            assert_eq!(again.active_targets, Some(active));
        }
    }
    assert!(parsed_count > 5_000, "{parsed_count}");
}

#[test]
fn stays_small() {
    assert!(size_of::<DependencyDescriptor>() <= 48);
    assert!(size_of::<Structure>() <= 4_096);
}
