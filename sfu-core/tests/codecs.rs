//! Slots whose source comes in one codec or another: which payload type goes out, where a change is entered, what a
//! repair looks like, what is refused. And redundant audio in all of its forms.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod engine;

use std::time::Duration;

use sfu_core::command::{Codec, Command, DeclaredSsrc, H264Profile, PayloadType, SlotSpec, TrackSpec};
use sfu_core::event::Event;
use sfu_core::transport::srtp::{SrtpReceiver, SrtpSender};
use sfu_core::unit::{ClockRate, ExtSeq, Kind, LayerId, Mid, Pt, RtpTime, Ssrc, Time, TrackId, TransportId};
use sfu_core::wire::rtp::{FIXED_LEN, OutgoingHeader, RtpHeader};
use sfu_core::{DropReason, SendBatch, Sfu};

use engine::{
    camera, connect, engine, extensions, participants_receiver, participants_sender, path, slot, vp8,
};

const H264: Codec = Codec::H264 { packetization_mode: 1, profile: H264Profile::ConstrainedBaseline };
const PUBLISHER: TransportId = TransportId(1);
const TRACK: TrackId = TrackId(1);
const SSRC: u32 = 1;

fn format(pt: u8, codec: Codec) -> PayloadType {
    let audio = matches!(codec, Codec::Opus | Codec::Red);
    PayloadType {
        pt: Pt(pt),
        codec,
        clock_rate: if audio { ClockRate::OPUS } else { ClockRate::VIDEO },
        rtx: (!audio).then_some(Pt(pt + 1)),
        nack: !audio,
        pli: !audio,
        transport_cc: true,
    }
}

/// What one subscriber got, opened.
#[derive(Clone, PartialEq, Debug)]
struct Got {
    to: u64,
    pt: u8,
    ssrc: u32,
    seq: u16,
    time: u32,
    payload: Vec<u8>,
}

/// An engine, its one publisher, and what comes out.
struct World {
    sfu: Sfu,
    /// Everybody's: SRTCP counts its own indices.
    sender: SrtpSender,
    receiver: Vec<SrtpReceiver>,
    now: Time,
}

impl World {
    /// Subscribers 2, 3, … show the publisher's track through these slots.
    fn new(track: TrackSpec, slots: &[SlotSpec]) -> World {
        let mut sfu = engine();
        connect(&mut sfu, Time::ZERO, 1);
        sfu.command(Time::ZERO, Command::PublishTrack { transport: PUBLISHER, track });
        for (n, slot) in (2..).zip(slots) {
            connect(&mut sfu, Time::ZERO, n);
            let transport = TransportId(n);
            let id = slot.id;
            sfu.command(Time::ZERO, Command::SetSlot { transport, slot: slot.clone() });
            sfu.command(Time::ZERO, Command::SetSlotSource { transport, slot: id, source: Some(TRACK) });
        }
        let receiver = slots.iter().map(|_| participants_receiver()).collect();
        let mut world = World { sfu, sender: participants_sender(), receiver, now: Time::ZERO };
        world.release();
        world
    }

    /// A packet of the publisher's arrives; what goes out for it.
    fn packet(&mut self, pt: u8, seq: u64, time: u32, marker: bool, payload: &[u8]) -> Vec<Got> {
        let header = OutgoingHeader {
            marker,
            pt: Pt(pt),
            seq: ExtSeq(seq).wire(),
            time: RtpTime(time),
            ssrc: Ssrc(SSRC),
            padded: false,
            extended: false,
        };
        let mut packet = vec![0; FIXED_LEN];
        header.write(&mut packet).unwrap();
        packet.extend_from_slice(payload);
        packet.resize(packet.len() + self.sender.tag_len(), 0);
        self.sender.seal_rtp(Ssrc(SSRC), ExtSeq(seq), FIXED_LEN, &mut packet).unwrap();
        self.now += Duration::from_millis(20);
        self.sfu.receive(self.now, path(1), &mut packet);
        self.release()
    }

    /// A subscriber says that it misses a packet; what goes out for it.
    fn nack(&mut self, from: u64, media: u32, seq: u16) -> Vec<Got> {
        let mut compound = vec![0x81, 205, 0, 3, 0, 0, 0, 9];
        compound.extend_from_slice(&media.to_be_bytes());
        compound.extend_from_slice(&seq.to_be_bytes());
        compound.extend_from_slice(&[0, 0]);
        self.sender.seal_rtcp(&mut compound).unwrap();
        self.now += Duration::from_millis(20);
        self.sfu.receive(self.now, path(from), &mut compound);
        self.release()
    }

    fn release(&mut self) -> Vec<Got> {
        let mut batch = SendBatch::new(1 << 16, 64);
        let mut sealed: Vec<(u64, Vec<u8>)> = Vec::new();
        while self.sfu.release(self.now, &mut batch) {}
        for run in batch.runs() {
            let to = (2..).zip(&self.receiver).find(|(n, _)| path(*n).remote == run.path.remote);
            let Some((to, _)) = to else { continue };
            sealed.extend(batch.bytes(run).chunks(run.segment).map(|datagram| (to, datagram.to_vec())));
        }
        sealed.into_iter().filter_map(|(to, datagram)| self.open(to, datagram)).collect()
    }

    fn open(&mut self, to: u64, mut datagram: Vec<u8>) -> Option<Got> {
        // RTP with a payload type; RTCP and STUN are others' affair.
        if datagram[0] >> 6 != 2 || (64..96).contains(&(datagram[1] & 0x7f)) {
            return None;
        }
        let header = RtpHeader::parse(&datagram).unwrap();
        let opened = self.receiver[to as usize - 2].unprotect_rtp(&header, &mut datagram).unwrap();
        let payload = datagram[..opened.len][header.header_len()..].to_vec();
        Some(Got {
            to,
            pt: header.pt.0,
            ssrc: header.ssrc.0,
            seq: header.seq.0,
            time: header.time.0,
            payload,
        })
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.sfu.poll_event()).collect()
    }

    fn unsupported(&mut self) -> Vec<u64> {
        let transports = self.events().into_iter().filter_map(|event| match event {
            Event::SlotUnsupported { transport, .. } => Some(transport.0),
            _ => None,
        });
        transports.collect()
    }

    fn shown(&mut self) -> Vec<(u64, Option<LayerId>)> {
        let layers = self.events().into_iter().filter_map(|event| match event {
            Event::SlotLayer { transport, layer, .. } => Some((transport.0, layer)),
            _ => None,
        });
        layers.collect()
    }
}

fn pts(got: &[Got]) -> Vec<(u64, u8)> {
    let mut pts: Vec<(u64, u8)> = got.iter().map(|got| (got.to, got.pt)).collect();
    pts.sort_unstable();
    pts
}

/// VP8 under 96, H.264 under 102.
fn two_codecs() -> TrackSpec {
    TrackSpec { payload_types: vec![vp8(), format(102, H264)], ..camera(1) }
}

fn slot_of(formats: Vec<PayloadType>) -> SlotSpec {
    SlotSpec { payload_types: formats, ..slot(0) }
}

const VP8_KEY: &[u8] = &[0x90, 0x80, 0x80, 0x01, 0x00, 0, 0, 0x9d, 0x01, 0x2a];
const VP8_DELTA: &[u8] = &[0x90, 0x80, 0x80, 0x02, 0x01, 0, 0];
const H264_SETS: &[u8] = &[0x78, 0, 4, 0x67, 0x42, 0xe0, 0x1f, 0, 2, 0x68, 0xce];
const H264_IDR: &[u8] = &[0x7c, 0x85, 1, 2, 3];
const H264_DELTA: &[u8] = &[0x41, 1, 2, 3];

#[test]
fn each_slot_gets_the_codec_under_its_own_payload_type() {
    let own = slot_of(vec![format(120, Codec::Vp8), format(35, H264)]);
    let reversed = slot_of(vec![format(110, H264), format(100, Codec::Vp8)]);
    let mut world = World::new(two_codecs(), &[own, reversed]);
    assert_eq!(pts(&world.packet(96, 1, 0, true, VP8_KEY)), [(2, 120), (3, 100)]);
    assert_eq!(pts(&world.packet(102, 2, 3_000, false, H264_SETS)), [(2, 35), (3, 110)]);
    assert_eq!(pts(&world.packet(102, 3, 3_000, true, H264_IDR)), [(2, 35), (3, 110)]);
}

#[test]
fn a_stream_goes_to_a_section_whose_profile_contains_its_own() {
    let h264 = |packetization_mode, profile| Codec::H264 { packetization_mode, profile };
    let high = slot_of(vec![format(100, h264(1, H264Profile::High))]);
    let both = slot_of(vec![format(100, h264(1, H264Profile::Main)), format(102, H264)]);
    let other_mode = slot_of(vec![format(100, h264(0, H264Profile::ConstrainedBaseline))]);
    let track = TrackSpec { payload_types: vec![format(98, H264)], ..camera(1) };
    let mut world = World::new(track, &[high, both, other_mode]);
    assert_eq!(world.unsupported(), [4], "it is plain before the first packet");
    assert_eq!(pts(&world.packet(98, 1, 0, false, H264_SETS)), [(2, 100), (3, 102)]);
    assert!(world.unsupported().is_empty(), "once is enough");
}

#[test]
fn a_change_of_codec_is_entered_at_its_keyframe_only() {
    let mut world = World::new(two_codecs(), &[slot_of(vec![format(96, Codec::Vp8), format(102, H264)])]);
    let first = world.packet(96, 1, 0, true, VP8_KEY);
    // The keyframe's first packet is lost: what follows is of no use until the next.
    assert!(world.packet(102, 3, 3_000, true, H264_IDR).is_empty());
    assert!(world.packet(102, 4, 6_000, true, H264_DELTA).is_empty());
    let entered = world.packet(102, 5, 9_000, false, H264_SETS);
    assert_eq!(pts(&entered), [(2, 102)]);
    assert_eq!(entered[0].seq, first[0].seq.wrapping_add(1), "without a gap");
    assert!(entered[0].time.wrapping_sub(first[0].time) > 0);
    assert_eq!(pts(&world.packet(102, 6, 9_000, true, H264_IDR)), [(2, 102)]);
}

#[test]
fn a_straggler_of_the_old_codec_does_not_stop_the_new_one() {
    let mut world = World::new(two_codecs(), &[slot_of(vec![format(96, Codec::Vp8), format(102, H264)])]);
    let first = world.packet(96, 1, 0, true, VP8_KEY);
    world.packet(96, 3, 6_000, true, VP8_DELTA);
    world.packet(102, 4, 9_000, false, H264_SETS);
    let late = world.packet(96, 2, 3_000, true, VP8_DELTA);
    assert_eq!((late[0].pt, late[0].seq), (96, first[0].seq.wrapping_add(1)));
    assert_eq!(pts(&world.packet(102, 5, 9_000, true, H264_IDR)), [(2, 102)]);
}

#[test]
fn a_repair_goes_out_under_the_codec_that_the_packet_had() {
    let own = slot_of(vec![format(96, Codec::Vp8), format(102, H264)]);
    let (media, rtx) = (own.ssrc.0, own.rtx_ssrc.unwrap().0);
    let mut world = World::new(two_codecs(), &[own]);
    let old = world.packet(96, 1, 0, true, VP8_KEY);
    let new = world.packet(102, 2, 3_000, false, H264_SETS);
    for (lost, pt, payload) in [(&old[0], 97, VP8_KEY), (&new[0], 103, H264_SETS)] {
        let repair = world.nack(2, media, lost.seq);
        assert_eq!((repair[0].pt, repair[0].ssrc), (pt, rtx));
        assert_eq!(repair[0].payload, [&lost.seq.to_be_bytes(), payload].concat());
    }
}

#[test]
fn a_slot_that_lacks_the_codec_works_again_when_the_source_changes_it() {
    let mut world = World::new(two_codecs(), &[slot_of(vec![format(96, Codec::Vp8)])]);
    assert!(world.unsupported().is_empty(), "VP8 might come");
    world.packet(102, 1, 0, false, H264_SETS);
    world.packet(102, 2, 0, true, H264_IDR);
    assert_eq!(world.unsupported(), [2]);
    assert_eq!(pts(&world.packet(96, 3, 3_000, true, VP8_KEY)), [(2, 96)]);
    assert_eq!(world.shown(), [(2, Some(LayerId(0)))]);
    // And the other way round.
    assert!(world.packet(102, 4, 6_000, false, H264_SETS).is_empty());
    let events = world.events();
    let [Event::SlotUnsupported { .. }, Event::SlotLayer { layer: None, .. }] = events[..] else {
        panic!("{events:?}")
    };
}

#[test]
fn a_new_description_of_the_slot_brings_the_codec() {
    let only_vp8 = slot_of(vec![format(96, Codec::Vp8)]);
    let track = TrackSpec { payload_types: vec![format(102, H264)], ..camera(1) };
    let mut world = World::new(track, std::slice::from_ref(&only_vp8));
    assert_eq!(world.unsupported(), [2]);
    let slot = SlotSpec { payload_types: vec![format(96, Codec::Vp8), format(108, H264)], ..only_vp8 };
    world.sfu.command(world.now, Command::SetSlot { transport: TransportId(2), slot });
    assert_eq!(pts(&world.packet(102, 1, 0, false, H264_SETS)), [(2, 108)]);
    assert_eq!(world.shown(), [(2, Some(LayerId(0)))]);
}

// Redundant audio.

const FRAME: u32 = 960;

/// A microphone that sends Opus under 111 and RED under 63.
fn microphone() -> TrackSpec {
    TrackSpec {
        id: TRACK,
        kind: Kind::Audio,
        mid: Mid::new(b"0"),
        payload_types: vec![format(63, Codec::Red), format(111, Codec::Opus)],
        extensions: extensions(),
        rids: vec![],
        ssrcs: vec![DeclaredSsrc { ssrc: Ssrc(SSRC), rtx: None }],
        muted: false,
    }
}

fn audio_slot(formats: Vec<PayloadType>) -> SlotSpec {
    SlotSpec { kind: Kind::Audio, rtx_ssrc: None, payload_types: formats, ..slot(0) }
}

/// Subscriber 2 takes RED, subscriber 3 doesn't.
fn redundant_call() -> World {
    let red = audio_slot(vec![format(100, Codec::Red), format(101, Codec::Opus)]);
    let plain = audio_slot(vec![format(109, Codec::Opus)]);
    World::new(microphone(), &[red, plain])
}

fn opus(seq: u64) -> Vec<u8> {
    vec![0xfc, seq as u8, 1, 2]
}

/// RED with a copy of the packet before.
fn redundant(inner: u8, seq: u64) -> Vec<u8> {
    let fields = FRAME << 10 | 4;
    let [_, fields @ ..] = fields.to_be_bytes();
    [&[0x80 | inner][..], &fields, &[inner], &opus(seq - 1), &opus(seq)].concat()
}

fn speak(world: &mut World, seq: u64) -> (Vec<Got>, Vec<Got>) {
    let got = world.packet(63, seq, seq as u32 * FRAME, false, &redundant(111, seq));
    got.into_iter().partition(|got| got.to == 2)
}

#[test]
fn redundant_audio_goes_on_with_the_slots_inner_payload_type_or_as_plain_opus() {
    let mut world = redundant_call();
    for seq in 10..20 {
        let (red, plain) = speak(&mut world, seq);
        assert_eq!((red[0].pt, &red[0].payload), (100, &redundant(101, seq)));
        assert_eq!((plain[0].pt, &plain[0].payload), (109, &opus(seq)));
        assert_eq!((red.len(), plain.len()), (1, 1));
    }
}

#[test]
fn what_was_lost_comes_out_of_the_next_packet_for_those_without_red() {
    let mut world = redundant_call();
    let (red_before, plain_before) = speak(&mut world, 10);
    let (red, plain) = speak(&mut world, 12);
    assert_eq!(red.len(), 1, "the copy is inside");
    assert_eq!(red[0].seq, red_before[0].seq.wrapping_add(2), "the number of the lost one stays free");
    let seqs: Vec<u16> = plain.iter().map(|got| got.seq.wrapping_sub(plain_before[0].seq)).collect();
    let times: Vec<u32> = plain.iter().map(|got| got.time.wrapping_sub(plain_before[0].time)).collect();
    let payloads: Vec<&[u8]> = plain.iter().map(|got| &got.payload[..]).collect();
    assert_eq!((seqs, times), (vec![1, 2], vec![FRAME, 2 * FRAME]));
    assert_eq!(payloads, [&opus(11)[..], &opus(12)]);
    assert_eq!(world.sfu.counters().red_recovered, 1);
    // The lost one was only late: nobody gets it twice.
    let (red, plain) = speak(&mut world, 11);
    assert!(red.is_empty() && plain.is_empty());
    assert_eq!(world.sfu.counters().dropped(DropReason::Duplicate), 1);
}

#[test]
fn a_publisher_may_go_from_opus_to_red_and_back() {
    let mut world = redundant_call();
    let mut heard = Vec::new();
    for seq in 10..16 {
        let got = if seq % 2 == 0 {
            world.packet(111, seq, seq as u32 * FRAME, false, &opus(seq))
        } else {
            world.packet(63, seq, seq as u32 * FRAME, false, &redundant(111, seq))
        };
        heard.extend(got.into_iter().map(|got| (got.to, got.pt, got.seq, got.time)));
    }
    for (to, pts) in [(2, [101, 100, 101, 100, 101, 100]), (3, [109; 6])] {
        let own: Vec<_> = heard.iter().filter(|got| got.0 == to).collect();
        assert_eq!(own.iter().map(|got| got.1).collect::<Vec<_>>(), pts);
        let steps =
            own.windows(2).map(|two| (two[1].2.wrapping_sub(two[0].2), two[1].3.wrapping_sub(two[0].3)));
        assert!(steps.into_iter().all(|step| step == (1, FRAME)));
    }
}

#[test]
fn what_was_said_while_muted_does_not_leave_as_a_copy() {
    let mut world = redundant_call();
    speak(&mut world, 10);
    world.sfu.command(world.now, Command::SetTrackMuted { track: TRACK, muted: true });
    for seq in 11..15 {
        let (red, plain) = speak(&mut world, seq);
        assert!(red.is_empty() && plain.is_empty());
    }
    world.sfu.command(world.now, Command::SetTrackMuted { track: TRACK, muted: false });
    let (red, plain) = speak(&mut world, 15);
    assert_eq!((red.len(), red[0].pt, &red[0].payload), (1, 101, &opus(15)));
    assert_eq!((plain.len(), &plain[0].payload), (1, &opus(15)));
    let (red, _) = speak(&mut world, 16);
    assert_eq!((red[0].pt, &red[0].payload), (100, &redundant(101, 16)));
}

#[test]
fn malformed_redundancy_is_dropped_and_counted() {
    let mut world = redundant_call();
    let other_codec = redundant(13, 10);
    for (seq, payload) in (10..).zip([&other_codec[..], &[111], &[0xef, 0, 0, 9, 111, 1], &[0xef; 200]]) {
        assert!(world.packet(63, seq, seq as u32 * FRAME, false, payload).is_empty());
    }
    assert_eq!(world.sfu.counters().dropped(DropReason::RedMalformed), 4);
}
