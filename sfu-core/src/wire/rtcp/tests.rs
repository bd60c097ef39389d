use super::*;
use crate::unit::{ExtSeq, Time, TwccSeq};

const US: Ssrc = Ssrc(0x0102_0304);
const MEDIA: Ssrc = Ssrc(0x0a0b_0c0d);

fn one(compound: &[u8]) -> RtcpPacket<'_> {
    let mut packets = packets(compound);
    let first = packets.next().unwrap().unwrap();
    assert!(packets.next().is_none());
    first
}

fn block(n: u32) -> ReportBlock {
    ReportBlock {
        ssrc: Ssrc(n),
        fraction_lost: n as u8,
        lost: -(n as i32),
        highest_seq: 0x1_0000 + n,
        jitter: 3,
        last_sr: 4,
        delay_since_last_sr: 5,
    }
}

#[test]
fn sender_report_with_cname_and_blocks() {
    let report =
        SenderReport { ssrc: US, ntp: NtpTime(u64::MAX - 1), rtp_time: RtpTime(9), packets: 10, octets: 11 };
    let blocks: Vec<ReportBlock> = (0..3).map(block).collect();
    let mut out = Vec::new();
    assert_eq!(write::sender_report(&mut out, &report, &blocks), Some(3));
    assert_eq!(out.len(), 28 + 3 * 24);
    assert_eq!(out[..8], [0x83, 200, 0, 24, 1, 2, 3, 4]);
    write::cname(&mut out, US, "abc").unwrap();
    assert_eq!(out[100..], [0x81, 202, 0, 3, 1, 2, 3, 4, 1, 3, b'a', b'b', b'c', 0, 0, 0]);
    let mut packets = packets(&out);
    match packets.next().unwrap().unwrap() {
        RtcpPacket::SenderReport { report: read, blocks: read_blocks } => {
            assert_eq!(read, report);
            assert!(read_blocks.iter().eq(blocks));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(packets.next(), Some(Ok(RtcpPacket::Other { packet_type: 202 }))));
    assert!(packets.next().is_none());
}

#[test]
fn receiver_report_takes_31_blocks_and_says_so() {
    let blocks: Vec<ReportBlock> = (0..40).map(block).collect();
    let mut out = Vec::new();
    assert_eq!(write::receiver_report(&mut out, US, &blocks), Some(31));
    match one(&out) {
        RtcpPacket::ReceiverReport { ssrc, blocks: read } => {
            assert_eq!(ssrc, US);
            assert!(read.iter().eq(blocks.into_iter().take(31)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn nack_packs_seventeen_in_an_entry_across_the_wrap() {
    let lost: Vec<ExtSeq> = [65_530, 65_531, 65_546, 65_547, 70_000].map(ExtSeq).to_vec();
    let mut out = Vec::new();
    assert_eq!(write::nack(&mut out, US, MEDIA, &lost), 5);
    assert_eq!(out[..4], [0x81, 205, 0, 5]);
    assert_eq!(out[12..], [0xff, 0xfa, 0x80, 0x01, 0, 11, 0, 0, 0x11, 0x70, 0, 0]);
    match one(&out) {
        RtcpPacket::Nack { media, lost: read } => {
            assert_eq!(media, MEDIA);
            assert!(read.seqs().eq(lost.into_iter().map(ExtSeq::wire)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_long_nack_list_goes_over_several_compounds() {
    let lost: Vec<ExtSeq> = (0..1_000).map(|n| ExtSeq(100 + 20 * n)).collect();
    let mut read = Vec::new();
    let mut covered = 0;
    while covered < lost.len() {
        let mut out = Vec::new();
        let count = write::nack(&mut out, US, MEDIA, &lost[covered..]);
        assert!(count > 0 && out.len() <= write::COMPOUND_LEN_MAX);
        covered += count;
        match one(&out) {
            RtcpPacket::Nack { lost, .. } => read.extend(lost.seqs()),
            other => panic!("{other:?}"),
        }
    }
    assert!(read.into_iter().eq(lost.into_iter().map(ExtSeq::wire)));
}

#[test]
fn pli_fir_remb_bye() {
    let mut out = Vec::new();
    write::pli(&mut out, US, MEDIA).unwrap();
    assert_eq!(out, [0x81, 206, 0, 2, 1, 2, 3, 4, 10, 11, 12, 13]);
    assert!(matches!(one(&out), RtcpPacket::Pli { media: MEDIA }));

    let fir = [0x84, 206, 0, 4, 1, 2, 3, 4, 0, 0, 0, 0, 10, 11, 12, 13, 7, 0, 0, 0];
    match one(&fir) {
        RtcpPacket::Fir { entries } => assert!(entries.iter().eq([(MEDIA, 7)])),
        other => panic!("{other:?}"),
    }

    for bitrate in [0, 1, 262_143, 262_144, 2_500_000, u64::MAX] {
        let mut out = Vec::new();
        write::remb(&mut out, US, Bitrate(bitrate), &[MEDIA, US]).unwrap();
        match one(&out) {
            RtcpPacket::Remb { bitrate: read, ssrcs } => {
                assert!(read.0 <= bitrate && bitrate - read.0 <= bitrate >> 17, "{bitrate} {read:?}");
                assert!(ssrcs.iter().eq([MEDIA, US]));
            }
            other => panic!("{other:?}"),
        }
    }

    let mut out = Vec::new();
    assert_eq!(write::bye(&mut out, &[US, MEDIA]), 2);
    match one(&out) {
        RtcpPacket::Bye { ssrcs } => assert!(ssrcs.iter().eq([US, MEDIA])),
        other => panic!("{other:?}"),
    }
}

#[test]
fn transport_cc_vector_of_the_draft_s_shape() {
    // Base 5, 4 packets: received 1 ms in, lost, received 0.25 ms later, received 1 ms before that.
    #[rustfmt::skip]
    let bytes = [
        0xaf, 205, 0, 6, 1, 2, 3, 4, 10, 11, 12, 13, 0, 5, 0, 4, 0xff, 0xff, 0xff, 9,
        0b1101_0001, 0b1000_0000, 4, 1, 0xff, 0xfc, 0, 2,
    ];
    match one(&bytes) {
        RtcpPacket::TransportCc(feedback) => {
            assert_eq!((feedback.media, feedback.base, feedback.packet_count), (MEDIA, TwccSeq(5), 4));
            assert_eq!((feedback.reference_time, feedback.feedback_count), (-1, 9));
            let results: Vec<_> = feedback.results().map(|r| (r.seq.0, r.arrival.map(|t| t.0))).collect();
            assert_eq!(results, [(5, Some(-252)), (6, None), (7, Some(-251)), (8, Some(-255))]);
        }
        other => panic!("{other:?}"),
    }
}

/// What our own parser makes of feedback that we wrote.
fn transport_cc_results(compound: &[u8]) -> Vec<(u16, Option<i64>)> {
    match one(compound) {
        RtcpPacket::TransportCc(feedback) => {
            feedback.results().map(|result| (result.seq.0, result.arrival.map(|time| time.0))).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn transport_cc_reports_losses_reordering_and_long_pauses() {
    let received: Vec<(ExtSeq, Time)> = [
        (65_534, 1_000),
        (65_535, 1_001),
        (65_538, 1_000),
        (65_539, 1_100),
        (65_600, 1_164),
        (65_601, 99_000),
    ]
    .map(|(seq, ms)| (ExtSeq(seq), Time::from_millis(ms)))
    .to_vec();
    let mut out = Vec::new();
    let taken = write::transport_cc(&mut out, US, MEDIA, 3, ExtSeq(65_532), &received);
    assert_eq!(taken, 5, "98 s don't fit a delta");
    let results = transport_cc_results(&out);
    assert_eq!(results.len(), 69);
    assert_eq!(results[0], (65_532, None));
    let arrived: Vec<_> = results.into_iter().filter_map(|(seq, at)| Some((seq, at?))).collect();
    assert_eq!(arrived, [(65_534, 4_000), (65_535, 4_004), (2, 4_000), (3, 4_400), (64, 4_656)]);

    let mut out = Vec::new();
    assert_eq!(write::transport_cc(&mut out, US, MEDIA, 4, ExtSeq(65_601), &received[5..]), 1);
    assert_eq!(transport_cc_results(&out), [(65, Some(396_000))]);
}

#[test]
fn random_transport_cc_comes_back_in_packets_of_bounded_length() {
    use rand::{Rng, SeedableRng, rngs::StdRng};
    let mut rng = StdRng::seed_from_u64(2);
    for _ in 0..2_000 {
        let base = ExtSeq(rng.random_range(0..200_000));
        let (loss, jump) = (rng.random_range(0.0..0.9), rng.random_range(1..40_000u64));
        let mut now = Time::from_millis(rng.random_range(0..1_000_000));
        let mut seq = base;
        let mut received = Vec::new();
        for _ in 0..rng.random_range(1..1_500) {
            seq = seq.plus(if rng.random_bool(0.001) { jump } else { 1 });
            now = Time(now.0 + if rng.random_bool(0.1) { 100_000_000 } else { 300_000 });
            if rng.random_bool(0.1) {
                now = now - std::time::Duration::from_millis(30);
            }
            if !rng.random_bool(loss) {
                received.push((seq, now));
            }
        }
        let mut from = base;
        let mut rest = &received[..];
        while !rest.is_empty() {
            let mut out = Vec::new();
            let taken = write::transport_cc(&mut out, US, MEDIA, 0, from, rest);
            assert!(taken > 0 && out.len() <= write::COMPOUND_LEN_MAX);
            let results = transport_cc_results(&out);
            let arrived: Vec<_> = results.iter().filter_map(|(seq, at)| Some((*seq, (*at)?))).collect();
            let expected: Vec<_> =
                rest[..taken].iter().map(|(seq, at)| (seq.wire().0, at.0 as i64 / 250_000)).collect();
            assert_eq!(arrived, expected);
            from = rest[taken - 1].0.next();
            rest = &rest[taken..];
        }
    }
}

#[test]
fn padding_and_lengths_are_checked() {
    let padded = [0xa1, 206, 0, 3, 1, 2, 3, 4, 10, 11, 12, 13, 0, 0, 0, 4];
    assert!(matches!(one(&padded), RtcpPacket::Pli { media: MEDIA }));
    for bad in [
        &[0x81, 206, 0, 3, 1, 2, 3, 4, 10, 11, 12, 13][..],
        &[0x41, 206, 0, 2, 1, 2, 3, 4, 10, 11, 12, 13],
        &[0xa1, 206, 0, 2, 1, 2, 3, 4, 10, 11, 12, 0],
        &[0xa1, 206, 0, 2, 1, 2, 3, 4, 10, 11, 12, 9],
        &[0x82, 203, 0, 1, 1, 2, 3, 4],
        &[0x81, 201, 0, 1, 1, 2, 3, 4],
        &[0x81, 206, 0],
    ] {
        let mut packets = packets(bad);
        assert!(matches!(packets.next(), Some(Err(Malformed))), "{bad:?}");
        assert!(packets.next().is_none());
    }
}

#[test]
fn a_full_compound_takes_nothing_more() {
    let mut out = vec![0; write::COMPOUND_LEN_MAX - 4];
    let report = SenderReport { ssrc: US, ntp: NtpTime(0), rtp_time: RtpTime(0), packets: 0, octets: 0 };
    assert_eq!(write::sender_report(&mut out, &report, &[]), None);
    assert_eq!(write::receiver_report(&mut out, US, &[]), None);
    assert_eq!(write::cname(&mut out, US, "a"), None);
    assert_eq!(write::nack(&mut out, US, MEDIA, &[ExtSeq(1)]), 0);
    assert_eq!(write::pli(&mut out, US, MEDIA), None);
    assert_eq!(write::remb(&mut out, US, Bitrate(1), &[]), None);
    assert_eq!(write::transport_cc(&mut out, US, MEDIA, 0, ExtSeq(1), &[(ExtSeq(1), Time::ZERO)]), 0);
    assert_eq!(write::bye(&mut out, &[US]), 0);
    assert_eq!(out.len(), write::COMPOUND_LEN_MAX - 4);
}
