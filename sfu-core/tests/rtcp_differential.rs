//! Our RTCP against the `rtcp` crate's, in both directions: reports, requests and transport-wide feedback.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rtcp::goodbye::Goodbye;
use rtcp::payload_feedbacks::full_intra_request::{FirEntry, FullIntraRequest};
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtcp::receiver_report::ReceiverReport;
use rtcp::reception_report::ReceptionReport;
use rtcp::sender_report::SenderReport as TheirSenderReport;
use rtcp::source_description::{SdesType, SourceDescription};
use rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, RunLengthChunk, StatusChunkTypeTcc, StatusVectorChunk, SymbolSizeTypeTcc,
    SymbolTypeTcc, TransportLayerCc,
};
use rtcp::transport_feedbacks::transport_layer_nack::{TransportLayerNack, nack_pairs_from_sequence_numbers};
use sfu_core::unit::{Bitrate, ExtSeq, NtpTime, RtpTime, Ssrc, Time, TwccSeq};
use sfu_core::wire::rtcp::{ReportBlock, RtcpPacket, SenderReport, packets, write};

const COMPOUNDS: usize = 50_000;
const US: Ssrc = Ssrc(0x0102_0304);
const MEDIA: Ssrc = Ssrc(0x0a0b_0c0d);

/// What we read from a compound of the crate's.
fn read(theirs: &[Box<dyn rtcp::Packet>], check: impl FnOnce(&mut dyn Iterator<Item = RtcpPacket<'_>>)) {
    let compound = rtcp::packet::marshal(theirs).unwrap();
    let mut ours = packets(&compound).map(Result::unwrap);
    check(&mut ours);
    assert!(ours.next().is_none());
}

fn random_report(rng: &mut StdRng) -> SenderReport {
    SenderReport {
        ssrc: US,
        ntp: NtpTime(rng.random()),
        rtp_time: RtpTime(rng.random()),
        packets: rng.random(),
        octets: rng.random(),
    }
}

fn random_block(rng: &mut StdRng) -> ReportBlock {
    ReportBlock {
        ssrc: Ssrc(rng.random()),
        fraction_lost: rng.random(),
        lost: rng.random_range(0..0x80_0000),
        highest_seq: rng.random(),
        jitter: rng.random(),
        last_sr: rng.random(),
        delay_since_last_sr: rng.random(),
    }
}

fn their_block(block: &ReportBlock) -> ReceptionReport {
    ReceptionReport {
        ssrc: block.ssrc.0,
        fraction_lost: block.fraction_lost,
        total_lost: block.lost as u32,
        last_sequence_number: block.highest_seq,
        jitter: block.jitter,
        last_sender_report: block.last_sr,
        delay: block.delay_since_last_sr,
    }
}

#[test]
fn reports_that_the_crate_writes() {
    let mut rng = StdRng::seed_from_u64(1);
    for _ in 0..COMPOUNDS {
        let blocks: Vec<_> = (0..rng.random_range(0..5)).map(|_| random_block(&mut rng)).collect();
        let reports: Vec<_> = blocks.iter().map(their_block).collect();
        let report = random_report(&mut rng);
        let theirs: [Box<dyn rtcp::Packet>; 2] = [
            Box::new(TheirSenderReport {
                ssrc: report.ssrc.0,
                ntp_time: report.ntp.0,
                rtp_time: report.rtp_time.0,
                packet_count: report.packets,
                octet_count: report.octets,
                reports: reports.clone(),
                profile_extensions: Bytes::new(),
            }),
            Box::new(ReceiverReport { ssrc: MEDIA.0, reports, profile_extensions: Bytes::new() }),
        ];
        read(&theirs, |ours| {
            match ours.next() {
                Some(RtcpPacket::SenderReport { report: read, blocks: read_blocks }) => {
                    assert_eq!(read, report);
                    assert!(read_blocks.iter().eq(blocks.iter().copied()));
                }
                other => panic!("{other:?}"),
            }
            match ours.next() {
                Some(RtcpPacket::ReceiverReport { ssrc, blocks: read_blocks }) => {
                    assert_eq!(ssrc, MEDIA);
                    assert!(read_blocks.iter().eq(blocks));
                }
                other => panic!("{other:?}"),
            }
        });
    }
}

#[test]
fn requests_that_the_crate_writes() {
    let mut rng = StdRng::seed_from_u64(2);
    let (sender_ssrc, media_ssrc) = (US.0, MEDIA.0);
    for _ in 0..COMPOUNDS {
        let mut seqs: Vec<u16> = (0..rng.random_range(1..30)).map(|_| rng.random_range(0..400)).collect();
        seqs.sort_unstable();
        seqs.dedup();
        let nacks = nack_pairs_from_sequence_numbers(&seqs);
        let fir = vec![FirEntry { ssrc: media_ssrc, sequence_number: 7 }];
        let bitrate = rng.random_range(1_000..100_000_000u32);
        let theirs: [Box<dyn rtcp::Packet>; 5] = [
            Box::new(TransportLayerNack { sender_ssrc, media_ssrc, nacks }),
            Box::new(PictureLossIndication { sender_ssrc, media_ssrc }),
            Box::new(FullIntraRequest { sender_ssrc, media_ssrc: 0, fir }),
            Box::new(ReceiverEstimatedMaximumBitrate {
                sender_ssrc,
                bitrate: bitrate as f32,
                ssrcs: vec![3],
            }),
            Box::new(Goodbye { sources: vec![1, 2], reason: Bytes::from_static(b"gone") }),
        ];
        read(&theirs, |ours| {
            match ours.next() {
                Some(RtcpPacket::Nack { media: MEDIA, lost }) => {
                    assert!(lost.seqs().map(|seq| seq.0).eq(seqs));
                }
                other => panic!("{other:?}"),
            }
            assert!(matches!(ours.next(), Some(RtcpPacket::Pli { media: MEDIA })));
            match ours.next() {
                Some(RtcpPacket::Fir { entries }) => assert!(entries.iter().eq([(MEDIA, 7)])),
                other => panic!("{other:?}"),
            }
            match ours.next() {
                Some(RtcpPacket::Remb { bitrate: read, ssrcs }) => {
                    assert!(read.0.abs_diff(u64::from(bitrate)) <= u64::from(bitrate >> 16));
                    assert!(ssrcs.iter().eq([Ssrc(3)]));
                }
                other => panic!("{other:?}"),
            }
            match ours.next() {
                Some(RtcpPacket::Bye { ssrcs }) => assert!(ssrcs.iter().eq([Ssrc(1), Ssrc(2)])),
                other => panic!("{other:?}"),
            }
        });
    }
}

/// A feedback packet of the crate's, and what it says: per packet, the arrival in units of 250 µs.
fn their_transport_cc(rng: &mut StdRng) -> (TransportLayerCc, Vec<(u16, Option<i64>)>) {
    let base: u16 = rng.random();
    let reference_time = rng.random_range(0..0x80_0000);
    let mut symbols = Vec::new();
    let mut chunks = Vec::new();
    for _ in 0..rng.random_range(1..20) {
        chunks.push(match rng.random_range(0..3) {
            0 => {
                let symbol = SymbolTypeTcc::from(rng.random_range(0..3u16));
                let run_length = rng.random_range(1..40);
                symbols.extend(std::iter::repeat_n(symbol, usize::from(run_length)));
                PacketStatusChunk::RunLengthChunk(RunLengthChunk {
                    type_tcc: StatusChunkTypeTcc::RunLengthChunk,
                    packet_status_symbol: symbol,
                    run_length,
                })
            }
            kind => {
                let (symbol_size, count, max) = match kind {
                    1 => (SymbolSizeTypeTcc::OneBit, 14, 2u16),
                    _ => (SymbolSizeTypeTcc::TwoBit, 7, 3),
                };
                let symbol_list: Vec<_> =
                    (0..count).map(|_| SymbolTypeTcc::from(rng.random_range(0..max))).collect();
                symbols.extend(&symbol_list);
                PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
                    type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
                    symbol_size,
                    symbol_list,
                })
            }
        });
    }
    let mut time = i64::from(reference_time) * 256;
    let mut recv_deltas = Vec::new();
    let mut expected = Vec::new();
    for (n, symbol) in symbols.iter().enumerate() {
        let ticks = match symbol {
            SymbolTypeTcc::PacketReceivedSmallDelta => Some(rng.random_range(0..=255)),
            SymbolTypeTcc::PacketReceivedLargeDelta => Some(rng.random_range(-32_768..0)),
            _ => None,
        };
        if let Some(ticks) = ticks {
            time += ticks;
            recv_deltas.push(RecvDelta { type_tcc_packet: *symbol, delta: ticks * 250 });
        }
        expected.push((base.wrapping_add(n as u16), ticks.map(|_| time)));
    }
    let feedback = TransportLayerCc {
        sender_ssrc: rng.random(),
        media_ssrc: rng.random(),
        base_sequence_number: base,
        packet_status_count: symbols.len() as u16,
        reference_time,
        fb_pkt_count: rng.random(),
        packet_chunks: chunks,
        recv_deltas,
    };
    (feedback, expected)
}

#[test]
fn transport_cc_that_the_crate_writes() {
    let mut rng = StdRng::seed_from_u64(3);
    for _ in 0..COMPOUNDS {
        let (feedback, results) = their_transport_cc(&mut rng);
        read(&[Box::new(feedback.clone())], |ours| match ours.next() {
            Some(RtcpPacket::TransportCc(read)) => {
                assert_eq!(read.media, Ssrc(feedback.media_ssrc));
                assert_eq!(read.base, TwccSeq(feedback.base_sequence_number));
                assert_eq!(read.feedback_count, feedback.fb_pkt_count);
                let read = read.results().map(|result| (result.seq.0, result.arrival.map(|at| at.0)));
                assert!(read.eq(results));
            }
            other => panic!("{other:?}"),
        });
    }
}

/// What the crate makes of a transport-cc packet: arrivals in units of 250 µs.
fn expand(feedback: &TransportLayerCc) -> Vec<(u16, i64)> {
    let mut symbols = Vec::new();
    for chunk in &feedback.packet_chunks {
        match chunk {
            PacketStatusChunk::RunLengthChunk(run) => {
                symbols.extend(std::iter::repeat_n(run.packet_status_symbol, usize::from(run.run_length)));
            }
            PacketStatusChunk::StatusVectorChunk(vector) => symbols.extend(&vector.symbol_list),
        }
    }
    let mut deltas = feedback.recv_deltas.iter();
    let mut time = i64::from(feedback.reference_time) * 256;
    let mut arrived = Vec::new();
    for (n, symbol) in symbols.into_iter().enumerate() {
        if symbol != SymbolTypeTcc::PacketNotReceived {
            time += deltas.next().unwrap().delta / 250;
            arrived.push((feedback.base_sequence_number.wrapping_add(n as u16), time));
        }
    }
    assert!(deltas.next().is_none());
    arrived
}

#[test]
fn reports_that_the_crate_reads() {
    let mut rng = StdRng::seed_from_u64(4);
    for _ in 0..COMPOUNDS {
        let blocks: Vec<_> = (0..rng.random_range(0..4)).map(|_| random_block(&mut rng)).collect();
        let reports: Vec<_> = blocks.iter().map(their_block).collect();
        let report = random_report(&mut rng);
        let mut out = Vec::new();
        write::sender_report(&mut out, &report, &blocks).unwrap();
        write::cname(&mut out, US, "some-canonical-name").unwrap();
        write::receiver_report(&mut out, US, &blocks).unwrap();

        let theirs = rtcp::packet::unmarshal(&mut out.as_slice()).unwrap();
        let read: &TheirSenderReport = theirs[0].as_any().downcast_ref().unwrap();
        assert_eq!((read.ssrc, read.ntp_time, read.rtp_time), (US.0, report.ntp.0, report.rtp_time.0));
        assert_eq!((read.packet_count, read.octet_count), (report.packets, report.octets));
        assert_eq!(read.reports, reports);
        let read: &SourceDescription = theirs[1].as_any().downcast_ref().unwrap();
        assert_eq!(read.chunks[0].source, US.0);
        assert_eq!(read.chunks[0].items[0].sdes_type, SdesType::SdesCname);
        assert_eq!(read.chunks[0].items[0].text.as_ref(), b"some-canonical-name");
        let read: &ReceiverReport = theirs[2].as_any().downcast_ref().unwrap();
        assert_eq!((read.ssrc, &read.reports), (US.0, &reports));
    }
}

#[test]
fn requests_and_transport_cc_that_the_crate_reads() {
    let mut rng = StdRng::seed_from_u64(5);
    for _ in 0..COMPOUNDS {
        let mut seq = ExtSeq(rng.random_range(0..100_000));
        let mut now = Time::from_millis(rng.random_range(0..10_000_000));
        let mut received = Vec::new();
        for _ in 0..rng.random_range(1..40) {
            seq = seq.plus(rng.random_range(1..4));
            now = Time((now.0 + rng.random_range(0..70_000_000)).saturating_sub(5_000_000));
            received.push((seq, now));
        }
        let lost: Vec<_> = received.iter().map(|(seq, _)| *seq).collect();
        let bitrate = Bitrate(rng.random_range(1_000..1 << 40));
        let mut out = Vec::new();
        assert_eq!(write::nack(&mut out, US, MEDIA, &lost), lost.len());
        write::pli(&mut out, US, MEDIA).unwrap();
        assert_eq!(write::transport_cc(&mut out, US, MEDIA, 9, lost[0], &received), received.len());
        write::remb(&mut out, US, bitrate, &[MEDIA]).unwrap();
        assert_eq!(write::bye(&mut out, &[US, MEDIA]), 2);

        let theirs = rtcp::packet::unmarshal(&mut out.as_slice()).unwrap();
        let read: &TransportLayerNack = theirs[0].as_any().downcast_ref().unwrap();
        assert_eq!((read.sender_ssrc, read.media_ssrc), (US.0, MEDIA.0));
        let read = read.nacks.iter().flat_map(|pair| pair.packet_list());
        assert!(read.eq(lost.iter().map(|seq| seq.wire().0)));
        let read: &PictureLossIndication = theirs[1].as_any().downcast_ref().unwrap();
        assert_eq!((read.sender_ssrc, read.media_ssrc), (US.0, MEDIA.0));
        let read: &TransportLayerCc = theirs[2].as_any().downcast_ref().unwrap();
        assert_eq!((read.sender_ssrc, read.media_ssrc, read.fb_pkt_count), (US.0, MEDIA.0, 9));
        let arrivals = received.iter().map(|(seq, at)| (seq.wire().0, (at.0 / 250_000) as i64));
        assert_eq!(expand(read), arrivals.collect::<Vec<_>>());
        let read: &ReceiverEstimatedMaximumBitrate = theirs[3].as_any().downcast_ref().unwrap();
        assert_eq!(read.ssrcs, [MEDIA.0]);
        assert!((f64::from(read.bitrate) / bitrate.0 as f64 - 1.0).abs() < 1e-4);
        let read: &Goodbye = theirs[4].as_any().downcast_ref().unwrap();
        assert_eq!(read.sources, [US.0, MEDIA.0]);
    }
}
