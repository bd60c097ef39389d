//! Our RTP headers and extensions against the `rtp` crate's: a million random ones, half written and half read
//! by each side.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rtc_shared::marshal::{Marshal, Unmarshal};
use sfu_core::unit::{Mid, NtpTime, Pt, Rid, RtpTime, SeqNo, Ssrc, TwccSeq};
use sfu_core::wire::rtp::{FIXED_LEN, OutgoingHeader, RtpHeader};
use sfu_core::wire::rtp_ext::{
    AbsCaptureTime, AbsSendTime, AudioLevel, ExtensionIds, ExtensionMap, ExtensionWriter, Extensions,
    OutgoingExtensions, PlayoutDelay, VideoOrientation, elements,
};

const HEADERS: usize = 500_000;

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
