//! Hostile bytes through all parsers of the wire: none may panic, or promise more than a packet can hold.

#![allow(clippy::unwrap_used)]

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sfu_core::demux::Class;
use sfu_core::unit::{Bitrate, ExtSeq, NtpTime, RtpTime, Ssrc, Time};
use sfu_core::wire::dcep::{DcepMessage, LABEL_LEN_MAX};
use sfu_core::wire::payload::vp8::Vp8Descriptor;
use sfu_core::wire::payload::{av1, h264, h265, vp9};
use sfu_core::wire::rtcp::{RtcpPacket, SenderReport, packets, write};
use sfu_core::wire::rtp::RtpHeader;
use sfu_core::wire::rtp_ext::{ExtensionIds, ExtensionMap, Extensions};
use sfu_core::wire::{rtx, sctp};

fn bytes(rng: &mut StdRng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng.fill(bytes.as_mut_slice());
    bytes
}

fn map() -> ExtensionMap {
    ExtensionMap::new(&ExtensionIds {
        mid: Some(1),
        rid: Some(2),
        audio_level: Some(3),
        transport_cc: Some(4),
        abs_capture_time: Some(5),
        playout_delay: Some(6),
        dependency_descriptor: Some(7),
        ..ExtensionIds::default()
    })
}

/// Runs all that a parser offers on any bytes.
fn consume(map: &ExtensionMap, bytes: &[u8]) {
    Class::of(bytes);
    if let Some(DcepMessage::Open(open)) = DcepMessage::parse(bytes) {
        assert!(open.label.len() <= LABEL_LEN_MAX);
    }
    let chunks = sctp::Chunks::of(bytes).flatten().map(|chunk| match chunk {
        sctp::Chunk::Sack { gaps, .. } => usize::from(gaps.ascend()),
        sctp::Chunk::ForwardTsn { streams } => streams.iter().count(),
        sctp::Chunk::Reconfig(parameters) => parameters.count(),
        _ => 1,
    });
    assert!(chunks.sum::<usize>() <= bytes.len() / 4 + 1);
    if let Some(header) = RtpHeader::parse(bytes) {
        assert!(header.header_len() <= bytes.len());
        Extensions::parse(map, &header, bytes);
        if let Some(range) = header.payload(bytes) {
            let payload = &bytes[range];
            Vp8Descriptor::parse(payload);
            rtx::split(payload);
            h264::is_keyframe_start(payload);
            h265::is_keyframe_start(payload);
            vp9::is_keyframe_start(payload);
            vp9::temporal_id(payload);
            av1::is_keyframe_start(payload);
        }
    }
    for packet in packets(bytes).map_while(Result::ok) {
        match packet {
            RtcpPacket::SenderReport { blocks, .. } | RtcpPacket::ReceiverReport { blocks, .. } => {
                assert!(blocks.iter().count() <= 31);
            }
            RtcpPacket::Nack { lost, .. } => assert!(lost.seqs().count() <= bytes.len() / 4 * 17),
            RtcpPacket::Fir { entries } => assert!(entries.iter().count() <= bytes.len() / 8),
            RtcpPacket::TransportCc(feedback) => {
                assert_eq!(feedback.results().count(), usize::from(feedback.packet_count));
            }
            RtcpPacket::CongestionFeedback(feedback) => {
                assert_eq!(feedback.results().count(), feedback.packet_count);
                assert!(feedback.packet_count <= bytes.len() / 2);
            }
            RtcpPacket::Remb { ssrcs, .. } | RtcpPacket::Bye { ssrcs } => {
                assert!(ssrcs.iter().count() <= 255);
            }
            RtcpPacket::Pli { .. } | RtcpPacket::Other { .. } => {}
        }
    }
}

#[test]
fn hostile_bytes_of_every_length() {
    let mut rng = StdRng::seed_from_u64(5);
    let map = map();
    // Packet types with a plausible length field, so that parsing gets past the header.
    let kinds = [
        (0x81, 200),
        (0x82, 201),
        (0x83, 203),
        (0x81, 205),
        (0x8b, 205),
        (0x8f, 205),
        (0x84, 206),
        (0x8f, 206),
    ];
    for len in 0..=1_500usize {
        let mut random = bytes(&mut rng, len);
        consume(&map, &random);
        for (first, packet_type) in kinds {
            let words = (len / 4).saturating_sub(1) as u16;
            for (at, byte) in [first, packet_type].into_iter().chain(words.to_be_bytes()).enumerate() {
                random.get_mut(at).into_iter().for_each(|to| *to = byte);
            }
            consume(&map, &random[..len / 4 * 4]);
            consume(&map, &random);
        }
        for first in [0x80, 0x90, 0xb3, 0x9f] {
            random.get_mut(0).into_iter().for_each(|to| *to = first);
            consume(&map, &random);
        }
    }
}

/// One packet of every kind that we write.
fn compound(rng: &mut StdRng) -> Vec<u8> {
    let (sender, media) = (Ssrc(rng.random()), Ssrc(rng.random()));
    let report = SenderReport { ssrc: sender, ntp: NtpTime(1), rtp_time: RtpTime(2), packets: 3, octets: 4 };
    let mut seq = ExtSeq(rng.random_range(0..100_000));
    let received: Vec<_> = (0..rng.random_range(1..60))
        .map(|n| {
            seq = seq.plus(rng.random_range(1..20));
            (seq, Time::from_millis(100 * n))
        })
        .collect();
    let lost: Vec<_> = received.iter().map(|(seq, _)| *seq).collect();
    let mut out = Vec::new();
    write::sender_report(&mut out, &report, &[]).unwrap();
    write::cname(&mut out, sender, "name").unwrap();
    write::nack(&mut out, sender, media, &lost);
    write::transport_cc(&mut out, sender, media, 0, lost[0], &received);
    write::remb(&mut out, sender, Bitrate(rng.random()), &[media]).unwrap();
    write::pli(&mut out, sender, media).unwrap();
    write::bye(&mut out, &[sender]);
    out
}

#[test]
fn truncated_and_mutated_compounds() {
    let mut rng = StdRng::seed_from_u64(6);
    let map = map();
    for _ in 0..2_000 {
        let compound = compound(&mut rng);
        assert_eq!(packets(&compound).filter(Result::is_ok).count(), 7);
        (0..compound.len()).for_each(|len| consume(&map, &compound[..len]));
        for _ in 0..50 {
            let mut mutated = compound.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..mutated.len());
                mutated[at] = rng.random();
            }
            consume(&map, &mutated);
        }
    }
}
