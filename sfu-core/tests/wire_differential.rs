//! Our RTP and RTCP code against the `rtp` and `rtcp` crates': a million headers, then feedback of all kinds,
//! in both directions; and hostile bytes, which must never panic.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rtc_shared::marshal::{Marshal, Unmarshal};
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
use sfu_core::unit::{Bitrate, ExtSeq, Mid, NtpTime, Pt, Rid, RtpTime, SeqNo, Ssrc, Time, TwccSeq};
use sfu_core::wire::payload::vp8::Vp8Descriptor;
use sfu_core::wire::rtcp::{ReportBlock, RtcpPacket, SenderReport, packets, write};
use sfu_core::wire::rtp::{FIXED_LEN, OutgoingHeader, RtpHeader};
use sfu_core::wire::rtp_ext::{
    AbsCaptureTime, AbsSendTime, AudioLevel, ExtensionIds, ExtensionMap, ExtensionWriter, Extensions,
    OutgoingExtensions, PlayoutDelay, VideoOrientation, elements,
};

const HEADERS: usize = 500_000;
const COMPOUNDS: usize = 50_000;

fn bytes(rng: &mut StdRng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng.fill(bytes.as_mut_slice());
    bytes
}

#[test]
fn headers_that_the_crate_writes() {
    let mut rng = StdRng::seed_from_u64(1);
    for _ in 0..HEADERS {
        let two_byte: bool = rng.random();
        let mut theirs = rtp::Header {
            version: 2,
            marker: rng.random(),
            padding: rng.random_bool(0.2),
            payload_type: rng.random_range(0..128),
            sequence_number: rng.random(),
            timestamp: rng.random(),
            ssrc: rng.random(),
            csrc: (0..rng.random_range(0..16)).map(|_| rng.random()).collect(),
            ..rtp::Header::default()
        };
        let count = rng.random_range(0..6);
        if count != 0 {
            theirs.extension = true;
            theirs.extension_profile = if two_byte { 0x1000 } else { 0xbede };
        }
        for _ in 0..count {
            let (id, len) = match two_byte {
                true => (rng.random_range(1..=255), rng.random_range(0..40)),
                false => (rng.random_range(1..=14), rng.random_range(1..=16)),
            };
            theirs.set_extension(id, Bytes::from(bytes(&mut rng, len))).unwrap();
        }
        let mut packet = theirs.marshal().unwrap().to_vec();
        let header_len = packet.len();
        let (payload_len, padding) = (rng.random_range(0..20), rng.random_range(1..=10u8));
        packet.resize(header_len + payload_len + usize::from(padding), padding);
        if !theirs.padding {
            packet.truncate(header_len + payload_len);
        }

        let ours = RtpHeader::parse(&packet).unwrap();
        assert_eq!(ours.marker, theirs.marker);
        assert_eq!(ours.pt, Pt(theirs.payload_type));
        assert_eq!(ours.seq, SeqNo(theirs.sequence_number));
        assert_eq!(ours.time, RtpTime(theirs.timestamp));
        assert_eq!(ours.ssrc, Ssrc(theirs.ssrc));
        assert_eq!(usize::from(ours.csrc_count), theirs.csrc.len());
        assert_eq!(ours.header_len(), header_len);
        assert_eq!(ours.payload(&packet), Some(header_len..header_len + payload_len));
        let block = ours.extension();
        let read = block.into_iter().flat_map(|block| elements(block, &packet));
        let read: Vec<_> = read.map(|(id, range)| (id, range.of(&packet))).collect();
        let written: Vec<_> = theirs.extensions.iter().map(|ext| (ext.id, ext.payload.as_ref())).collect();
        assert_eq!(read, written);
    }
}

/// Distinct ids for all extensions; with `wide`, up to 255.
fn random_ids(rng: &mut StdRng, wide: bool) -> ExtensionIds {
    let first = if wide { rng.random_range(1..=240) } else { rng.random_range(1..=4) };
    let mut next = first;
    let mut id = || {
        next += 1;
        rng.random_bool(0.9).then_some(next - 1)
    };
    ExtensionIds {
        mid: id(),
        rid: id(),
        repaired_rid: id(),
        audio_level: id(),
        transport_cc: id(),
        abs_send_time: id(),
        abs_capture_time: id(),
        video_orientation: id(),
        playout_delay: id(),
        dependency_descriptor: id(),
        video_layers_allocation: id(),
    }
}

#[test]
fn headers_that_the_crate_reads() {
    let mut rng = StdRng::seed_from_u64(2);
    for _ in 0..HEADERS {
        let wide: bool = rng.random();
        let ids = random_ids(&mut rng, wide);
        let descriptor_len = rng.random_range(0..30);
        let descriptor = bytes(&mut rng, descriptor_len);
        let capture = AbsCaptureTime {
            capture: NtpTime(rng.random()),
            clock_offset: rng.random::<bool>().then(|| rng.random()),
        };
        let values = OutgoingExtensions {
            mid: rng.random::<bool>().then_some(Mid::new(b"mid-0")).flatten(),
            rid: rng.random_bool(0.2).then_some(Rid::new(b"f")).flatten(),
            repaired_rid: None,
            audio_level: Some(AudioLevel { level: rng.random_range(0..128), voice: rng.random() }),
            transport_cc: Some(TwccSeq(rng.random())),
            abs_send_time: Some(AbsSendTime(rng.random_range(0..1 << 24))),
            abs_capture_time: rng.random_bool(0.1).then_some(capture),
            video_orientation: Some(VideoOrientation(rng.random())),
            playout_delay: Some(PlayoutDelay { min: rng.random_range(0..4096), max: 4095 }),
            dependency_descriptor: rng.random_bool(0.3).then_some(&descriptor),
            video_layers_allocation: None,
        };
        let mut packet = vec![0xff; 400];
        let written = ExtensionWriter::new(ids).write(&values, &mut packet[FIXED_LEN..]).unwrap();
        let outgoing = OutgoingHeader {
            marker: rng.random(),
            pt: Pt(rng.random_range(0..128)),
            seq: SeqNo(rng.random()),
            time: RtpTime(rng.random()),
            ssrc: Ssrc(rng.random()),
            padded: rng.random(),
            extended: written.len != 0,
        };
        outgoing.write(&mut packet).unwrap();
        packet.truncate(FIXED_LEN + written.len);

        let theirs = rtp::Header::unmarshal(&mut packet.as_slice()).unwrap();
        assert_eq!(theirs.marker, outgoing.marker);
        assert_eq!(theirs.padding, outgoing.padded);
        assert_eq!(theirs.payload_type, outgoing.pt.0);
        assert_eq!(theirs.sequence_number, outgoing.seq.0);
        assert_eq!(theirs.timestamp, outgoing.time.0);
        assert_eq!(theirs.ssrc, outgoing.ssrc.0);
        let read = |id: Option<u8>| id.and_then(|id| theirs.get_extension(id)).map(|value| value.to_vec());
        let expect = |id: Option<u8>, value: Option<Vec<u8>>| assert_eq!(read(id), id.and(value));
        expect(ids.mid, values.mid.map(|mid| mid.0.as_bytes().to_vec()));
        expect(ids.rid, values.rid.map(|rid| rid.0.as_bytes().to_vec()));
        expect(ids.transport_cc, values.transport_cc.map(|seq| seq.0.to_be_bytes().to_vec()));
        expect(ids.abs_send_time, values.abs_send_time.map(|time| time.0.to_be_bytes()[1..].to_vec()));
        expect(ids.video_orientation, values.video_orientation.map(|byte| vec![byte.0]));
        expect(ids.dependency_descriptor, values.dependency_descriptor.map(<[u8]>::to_vec));
        let header = RtpHeader::parse(&packet).unwrap();
        let ours = Extensions::parse(&ExtensionMap::new(&ids), &header, &packet);
        assert_eq!(ours.audio_level, ids.audio_level.and(values.audio_level));
        assert_eq!(ours.abs_capture_time, ids.abs_capture_time.and(values.abs_capture_time));
        assert_eq!(ours.playout_delay, ids.playout_delay.and(values.playout_delay));
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
fn feedback_that_the_crate_writes() {
    let mut rng = StdRng::seed_from_u64(3);
    for _ in 0..COMPOUNDS {
        let blocks: Vec<_> = (0..rng.random_range(0..5)).map(|_| random_block(&mut rng)).collect();
        let reports: Vec<_> = blocks.iter().map(their_block).collect();
        let (ssrc, media) = (Ssrc(rng.random()), Ssrc(rng.random()));
        let (media_ssrc, sender_ssrc) = (media.0, ssrc.0);
        let mut seqs: Vec<u16> = (0..rng.random_range(1..30)).map(|_| rng.random_range(0..400)).collect();
        seqs.sort_unstable();
        seqs.dedup();
        let report = SenderReport {
            ssrc,
            ntp: NtpTime(rng.random()),
            rtp_time: RtpTime(rng.random()),
            packets: rng.random(),
            octets: rng.random(),
        };
        let (feedback, results) = their_transport_cc(&mut rng);
        let bitrate = rng.random_range(1_000..100_000_000u32);
        let theirs: [Box<dyn rtcp::Packet>; 8] = [
            Box::new(TheirSenderReport {
                ssrc: ssrc.0,
                ntp_time: report.ntp.0,
                rtp_time: report.rtp_time.0,
                packet_count: report.packets,
                octet_count: report.octets,
                reports: reports.clone(),
                profile_extensions: Bytes::new(),
            }),
            Box::new(ReceiverReport { ssrc: ssrc.0, reports, profile_extensions: Bytes::new() }),
            Box::new(TransportLayerNack {
                sender_ssrc,
                media_ssrc,
                nacks: nack_pairs_from_sequence_numbers(&seqs),
            }),
            Box::new(PictureLossIndication { sender_ssrc, media_ssrc }),
            Box::new(FullIntraRequest {
                sender_ssrc,
                media_ssrc: 0,
                fir: vec![FirEntry { ssrc: media_ssrc, sequence_number: 7 }],
            }),
            Box::new(feedback.clone()),
            Box::new(ReceiverEstimatedMaximumBitrate {
                sender_ssrc,
                bitrate: bitrate as f32,
                ssrcs: vec![3],
            }),
            Box::new(Goodbye { sources: vec![1, 2], reason: Bytes::from_static(b"gone") }),
        ];
        let compound = rtcp::packet::marshal(&theirs).unwrap();
        let mut ours = packets(&compound).map(Result::unwrap);
        match ours.next() {
            Some(RtcpPacket::SenderReport { report: read, blocks: read_blocks }) => {
                assert_eq!(read, report);
                assert!(read_blocks.iter().eq(blocks.iter().copied()));
            }
            other => panic!("{other:?}"),
        }
        match ours.next() {
            Some(RtcpPacket::ReceiverReport { ssrc: read, blocks: read_blocks }) => {
                assert_eq!(read, ssrc);
                assert!(read_blocks.iter().eq(blocks));
            }
            other => panic!("{other:?}"),
        }
        match ours.next() {
            Some(RtcpPacket::Nack { media: read, lost }) => {
                assert_eq!(read, media);
                assert!(lost.seqs().map(|seq| seq.0).eq(seqs));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(ours.next(), Some(RtcpPacket::Pli { media: read }) if read == media));
        match ours.next() {
            Some(RtcpPacket::Fir { entries }) => assert!(entries.iter().eq([(media, 7)])),
            other => panic!("{other:?}"),
        }
        match ours.next() {
            Some(RtcpPacket::TransportCc(read)) => {
                assert_eq!(read.media, Ssrc(feedback.media_ssrc));
                assert_eq!(read.base, TwccSeq(feedback.base_sequence_number));
                assert_eq!(read.feedback_count, feedback.fb_pkt_count);
                let read = read.results().map(|result| (result.seq.0, result.arrival.map(|at| at.0)));
                assert!(read.eq(results));
            }
            other => panic!("{other:?}"),
        }
        match ours.next() {
            Some(RtcpPacket::Remb { bitrate: read, ssrcs }) => {
                assert!(
                    read.0.abs_diff(u64::from(bitrate)) <= u64::from(bitrate >> 16),
                    "{read:?} {bitrate}"
                );
                assert!(ssrcs.iter().eq([Ssrc(3)]));
            }
            other => panic!("{other:?}"),
        }
        match ours.next() {
            Some(RtcpPacket::Bye { ssrcs }) => assert!(ssrcs.iter().eq([Ssrc(1), Ssrc(2)])),
            other => panic!("{other:?}"),
        }
        assert!(ours.next().is_none());
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
fn feedback_that_the_crate_reads() {
    let mut rng = StdRng::seed_from_u64(4);
    for _ in 0..COMPOUNDS {
        let blocks: Vec<_> = (0..rng.random_range(0..4)).map(|_| random_block(&mut rng)).collect();
        let report = SenderReport {
            ssrc: Ssrc(rng.random()),
            ntp: NtpTime(rng.random()),
            rtp_time: RtpTime(rng.random()),
            packets: rng.random(),
            octets: rng.random(),
        };
        let (sender, media) = (Ssrc(rng.random()), Ssrc(rng.random()));
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
        write::sender_report(&mut out, &report, &blocks).unwrap();
        write::cname(&mut out, report.ssrc, "some-canonical-name").unwrap();
        write::receiver_report(&mut out, sender, &blocks).unwrap();
        assert_eq!(write::nack(&mut out, sender, media, &lost), lost.len());
        write::pli(&mut out, sender, media).unwrap();
        assert_eq!(write::transport_cc(&mut out, sender, media, 9, lost[0], &received), received.len());
        write::remb(&mut out, sender, bitrate, &[media]).unwrap();
        assert_eq!(write::bye(&mut out, &[sender, media]), 2);

        let theirs = rtcp::packet::unmarshal(&mut out.as_slice()).unwrap();
        let reports: Vec<_> = blocks.iter().map(their_block).collect();
        let read: &TheirSenderReport = theirs[0].as_any().downcast_ref().unwrap();
        assert_eq!(
            (read.ssrc, read.ntp_time, read.rtp_time),
            (report.ssrc.0, report.ntp.0, report.rtp_time.0)
        );
        assert_eq!((read.packet_count, read.octet_count), (report.packets, report.octets));
        assert_eq!(read.reports, reports);
        let read: &SourceDescription = theirs[1].as_any().downcast_ref().unwrap();
        assert_eq!(read.chunks[0].source, report.ssrc.0);
        assert_eq!(read.chunks[0].items[0].sdes_type, SdesType::SdesCname);
        assert_eq!(read.chunks[0].items[0].text.as_ref(), b"some-canonical-name");
        let read: &ReceiverReport = theirs[2].as_any().downcast_ref().unwrap();
        assert_eq!((read.ssrc, &read.reports), (sender.0, &reports));
        let read: &TransportLayerNack = theirs[3].as_any().downcast_ref().unwrap();
        assert_eq!((read.sender_ssrc, read.media_ssrc), (sender.0, media.0));
        let read = read.nacks.iter().flat_map(|pair| pair.packet_list());
        assert!(read.eq(lost.iter().map(|seq| seq.wire().0)));
        let read: &PictureLossIndication = theirs[4].as_any().downcast_ref().unwrap();
        assert_eq!((read.sender_ssrc, read.media_ssrc), (sender.0, media.0));
        let read: &TransportLayerCc = theirs[5].as_any().downcast_ref().unwrap();
        assert_eq!((read.sender_ssrc, read.media_ssrc, read.fb_pkt_count), (sender.0, media.0, 9));
        let arrivals = received.iter().map(|(seq, at)| (seq.wire().0, (at.0 / 250_000) as i64));
        assert_eq!(expand(read), arrivals.collect::<Vec<_>>());
        let read: &ReceiverEstimatedMaximumBitrate = theirs[6].as_any().downcast_ref().unwrap();
        assert_eq!(read.ssrcs, [media.0]);
        assert!((f64::from(read.bitrate) / bitrate.0 as f64 - 1.0).abs() < 1e-4);
        let read: &Goodbye = theirs[7].as_any().downcast_ref().unwrap();
        assert_eq!(read.sources, [sender.0, media.0]);
    }
}

/// Runs all that a parser offers on any bytes.
fn consume(map: &ExtensionMap, bytes: &[u8]) {
    if let Some(header) = RtpHeader::parse(bytes) {
        assert!(header.header_len() <= bytes.len());
        Extensions::parse(map, &header, bytes);
        if let Some(range) = header.payload(bytes) {
            Vp8Descriptor::parse(&bytes[range]);
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
    let map = ExtensionMap::new(&random_ids(&mut rng, false));
    // Packet types with a plausible length field, so that parsing gets past the header.
    let kinds = [(0x81, 200), (0x82, 201), (0x83, 203), (0x81, 205), (0x8f, 205), (0x84, 206), (0x8f, 206)];
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

#[test]
fn truncated_and_mutated_compounds() {
    let mut rng = StdRng::seed_from_u64(6);
    let map = ExtensionMap::new(&random_ids(&mut rng, false));
    for _ in 0..2_000 {
        let (feedback, _) = their_transport_cc(&mut rng);
        let remb = ReceiverEstimatedMaximumBitrate { sender_ssrc: 1, bitrate: 1e6, ssrcs: vec![3] };
        let theirs: [Box<dyn rtcp::Packet>; 2] = [Box::new(remb), Box::new(feedback)];
        let compound = rtcp::packet::marshal(&theirs).unwrap().to_vec();
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
