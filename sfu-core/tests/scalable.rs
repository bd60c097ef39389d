//! A scalable stream through the engine at five per cent loss on both sides: each layer is asked for in turn, and comes
//! within a keyframe's time; numbers have no gap, pictures can be decoded and end where they should.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod engine;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sfu_core::command::{Codec, Command, LayerRequest};
use sfu_core::transport::srtp::{SrtpReceiver, SrtpSender};
use sfu_core::unit::{ExtSeq, LayerId, SlotId, Ssrc, TemporalId, Time, TrackId, TransportId};
use sfu_core::wire::rtcp::write;
use sfu_core::wire::rtp::RtpHeader;
use sfu_core::wire::rtp_ext::{ExtensionMap, Extensions};
use sfu_core::{DropReason, SendBatch, Sfu};

use engine::scalable::{AV1_FULL, AV1_KEY, Scalable, VP9_FULL, VP9_KEY, tag};
use engine::{check, connect, engine, participants_receiver, participants_sender, path};

const LOSS: f64 = 0.05;
/// How long the publisher's repair takes.
const UPLINK_REPAIR: Duration = Duration::from_millis(60);
/// How long the subscriber waits for a packet before it asks, and asks again.
const NACK_AFTER: Duration = Duration::from_millis(15);
const NACK_AGAIN: Duration = Duration::from_millis(60);
/// Rounds of the corpus for which one layer is asked for: a keyframe comes with each.
const ROUNDS_PER_REQUEST: u64 = 3;

/// One packet that the subscriber has got.
#[derive(Clone, PartialEq, Debug)]
struct Got {
    /// `None` when it was empty.
    tag: Option<u64>,
    marker: bool,
    rtp_time: u32,
    descriptor: Option<Vec<u8>>,
    picture_id: u16,
}

struct Subscriber {
    receiver: SrtpReceiver,
    sender: SrtpSender,
    extensions: ExtensionMap,
    got: BTreeMap<u64, Got>,
    missing: BTreeMap<u64, Time>,
    repaired: usize,
}

impl Subscriber {
    fn receive(&mut self, now: Time, datagram: &[u8]) {
        let mut packet = datagram.to_vec();
        let Some(header) = RtpHeader::parse(&packet).filter(|header| header.ssrc.0 < 4_000_000) else {
            return;
        };
        if (64..96).contains(&header.pt.0) {
            return;
        }
        let opened = self.receiver.unprotect_rtp(&header, &mut packet).unwrap();
        let packet = &packet[..opened.len];
        let extensions = Extensions::parse(&self.extensions, &header, packet);
        let mut payload = &packet[header.payload(packet).unwrap()];
        let mut seq = opened.index.0;
        if header.ssrc == Ssrc(3_000_000) {
            let (osn, rest) = payload.split_at(2);
            let newest = *self.got.last_key_value().unwrap().0;
            seq =
                ExtSeq(newest).nearest(sfu_core::unit::SeqNo(u16::from_be_bytes(osn.try_into().unwrap()))).0;
            payload = rest;
            self.repaired += 1;
        }
        let got = Got {
            tag: (!payload.is_empty()).then(|| tag(payload)),
            marker: header.marker,
            rtp_time: header.time.0,
            descriptor: extensions.dependency_descriptor.map(|range| range.of(packet).to_vec()),
            picture_id: payload.get(1..3).map_or(0, |id| u16::from_be_bytes([id[0] & 0x7f, id[1]])),
        };
        if let Some((highest, _)) = self.got.last_key_value() {
            self.missing.extend((highest + 1..seq).map(|lost| (lost, now + NACK_AFTER)));
        }
        self.missing.remove(&seq);
        if let Some(before) = self.got.insert(seq, got.clone()) {
            assert_eq!(before, got, "two packets under one number");
        }
    }

    /// The NACK that is due, sealed.
    fn nack(&mut self, now: Time) -> Option<Vec<u8>> {
        let due: Vec<ExtSeq> =
            self.missing.iter().filter(|(_, at)| **at <= now).map(|(seq, _)| ExtSeq(*seq)).collect();
        due.iter().for_each(|seq| {
            self.missing.insert(seq.0, now + NACK_AGAIN);
        });
        let mut compound = Vec::new();
        write::receiver_report(&mut compound, Ssrc(9), &[]).unwrap();
        write::nack(&mut compound, Ssrc(9), Ssrc(2_000_000), &due);
        self.sender.seal_rtcp(&mut compound).unwrap();
        (!due.is_empty()).then_some(compound)
    }
}

/// The layers in the order in which they are asked for: up, down, and across.
fn requests(spatial_count: u8) -> Vec<(u8, u8)> {
    let grid = |spatial| (0..3).map(move |temporal| (spatial, temporal));
    let mut all: Vec<(u8, u8)> = (0..spatial_count).flat_map(grid).collect();
    all.extend((0..spatial_count).rev().flat_map(grid).collect::<Vec<_>>().into_iter().rev());
    all.extend([(0, 0), (spatial_count - 1, 2), (0, 2), (spatial_count - 1, 0)]);
    all
}

/// Plays a stream to one subscriber, asking for each layer in turn.
fn play(stream: &Scalable, requests: &[(u8, u8)], seed: u64) -> Subscriber {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut sfu = engine();
    connect(&mut sfu, Time::ZERO, 1);
    connect(&mut sfu, Time::ZERO, 2);
    sfu.command(Time::ZERO, Command::PublishTrack { transport: TransportId(1), track: stream.track(1) });
    let (transport, slot) = (TransportId(2), SlotId(0));
    sfu.command(Time::ZERO, Command::SetSlot { transport, slot: stream.slot(0) });
    sfu.command(Time::ZERO, Command::SetSlotSource { transport, slot, source: Some(TrackId(1)) });
    let mut subscriber = Subscriber {
        receiver: participants_receiver(),
        sender: participants_sender(),
        extensions: ExtensionMap::new(&stream.ids),
        got: BTreeMap::new(),
        missing: BTreeMap::new(),
        repaired: 0,
    };
    let sender = participants_sender();
    let per_request = ROUNDS_PER_REQUEST * stream.lines.len() as u64;
    let total = per_request * requests.len() as u64;
    // What reaches the server, in order: the packet, and whether as its repair.
    let mut arrivals: BTreeMap<(Time, u64), bool> = BTreeMap::new();
    for n in 0..total {
        let lost = n > 0 && rng.random_bool(LOSS);
        arrivals.insert((stream.at(n) + if lost { UPLINK_REPAIR } else { Duration::ZERO }, n), lost);
    }
    let (mut batch, mut repairs, mut checked) = (SendBatch::new(1 << 18, 256), 0, Time::ZERO);
    for ((now, n), lost) in arrivals {
        if n % per_request == 0 {
            let (spatial, temporal) = requests[(n / per_request) as usize];
            let layer = LayerRequest::AtMost { spatial: LayerId(spatial), temporal: TemporalId(temporal) };
            sfu.command(now, Command::SetSlotLayer { transport, slot, layer });
        }
        if now.since(checked) > Duration::from_secs(5) {
            checked = now;
            [1, 2].into_iter().for_each(|peer| sfu.receive(now, path(peer), &mut check(peer)));
        }
        let mut packet = stream.packet(&sender, 1, n, lost.then_some(repairs));
        repairs += u64::from(lost);
        sfu.receive(now, path(1), &mut packet);
        turn(&mut sfu, now, &mut batch, &mut subscriber, &mut rng);
        if let Some(mut nack) = subscriber.nack(now) {
            sfu.receive(now, path(2), &mut nack);
            turn(&mut sfu, now, &mut batch, &mut subscriber, &mut rng);
        }
    }
    assert_eq!(sfu.counters().dropped(DropReason::SealedBefore), 0);
    subscriber
}

/// Lets the engine do what is due, and loses some of what it sends.
fn turn(sfu: &mut Sfu, now: Time, batch: &mut SendBatch, subscriber: &mut Subscriber, rng: &mut StdRng) {
    if sfu.next_timeout().is_some_and(|due| due <= now) {
        sfu.handle_timeout(now);
    }
    let mut sent: Vec<Vec<u8>> = Vec::new();
    loop {
        let more = sfu.release(now, batch);
        for run in batch.runs().iter().filter(|run| run.path == path(2)) {
            sent.extend(batch.bytes(run).chunks(run.segment).map(<[u8]>::to_vec));
        }
        batch.clear();
        if !more {
            break;
        }
    }
    for datagram in sent {
        if subscriber.got.is_empty() || !rng.random_bool(LOSS) {
            subscriber.receive(now, &datagram);
        }
    }
    while sfu.poll_event().is_some() {}
}

/// Everything that must hold whatever is asked for.
fn assert_whole(stream: &Scalable, subscriber: &Subscriber) {
    let (first, last) =
        (*subscriber.got.first_key_value().unwrap().0, *subscriber.got.last_key_value().unwrap().0);
    let gaps: Vec<u64> = (first..last - 100).filter(|seq| !subscriber.got.contains_key(seq)).collect();
    assert!(gaps.is_empty(), "numbers without a packet: {gaps:?}");
    let full: Vec<(&u64, &Got)> =
        subscriber.got.iter().filter(|(seq, got)| got.tag.is_some() && **seq < last - 100).collect();
    let mut tags = BTreeSet::new();
    let mut frames: BTreeMap<u64, usize> = BTreeMap::new();
    for (_, got) in &full {
        assert!(tags.insert(got.tag), "a packet came twice");
        *frames.entry(stream.line(got.tag.unwrap()).frame).or_default() += 1;
    }
    for (_, got) in &full {
        let line = stream.line(got.tag.unwrap());
        let missing = line.references.iter().find(|frame| !frames.contains_key(frame));
        assert_eq!(missing, None, "frame {} {:?} can't be decoded", line.frame, line.layer);
        let Some(descriptor) = &got.descriptor else {
            assert!(stream.ids.dependency_descriptor.is_none());
            continue;
        };
        assert_eq!(descriptor[1..3], (line.frame as u16).to_be_bytes());
    }
    for pair in full.windows(2) {
        let [(_, one), (_, next)] = pair else { unreachable!() };
        assert!(one.tag < next.tag, "in the publisher's order");
        let step = next.picture_id.wrapping_sub(one.picture_id) & 0x7fff;
        assert!(!matches!(stream.codec, Codec::Vp9 { .. }) || step < 16, "picture ids go on: {step}");
        assert_eq!(one.marker, one.rtp_time != next.rtp_time, "the last packet of a picture ends it");
    }
    // Whole but for the end, where repair is under way.
    let end = stream.line(full.last().unwrap().1.tag.unwrap()).frame;
    for (frame, count) in frames.range(..end.saturating_sub(30)) {
        let per_round = stream.lines.iter().map(|line| line.frame).max().unwrap();
        let in_corpus = (frame - 1) % per_round + 1;
        let whole = stream.lines.iter().filter(|line| line.frame == in_corpus).count();
        assert_eq!(*count, whole, "frame {frame}");
    }
}

/// What was asked for is what came, from the second keyframe after the request on.
fn assert_layers(stream: &Scalable, subscriber: &Subscriber, requests: &[(u8, u8)]) {
    let round = stream.lines.len() as u64;
    let shown: BTreeSet<u64> = subscriber.got.values().filter_map(|got| got.tag).collect();
    for (at, (spatial, temporal)) in requests.iter().enumerate() {
        let from = (at as u64 * ROUNDS_PER_REQUEST + 1) * round;
        // The last round is left out where repair is under way at the end.
        let until =
            from + (ROUNDS_PER_REQUEST - 1) * round - if at + 1 == requests.len() { round } else { 0 };
        let lines = || shown.range(from..until).map(|n| stream.line(*n));
        let highest = (lines().map(|line| line.layer.0).max(), lines().map(|line| line.layer.1).max());
        assert_eq!(highest, (Some(*spatial), Some(*temporal)), "request {at}");
        let pictures = |all: &mut dyn Iterator<Item = u64>| {
            let lines = all.map(|n| stream.line(n));
            lines
                .filter(|line| line.layer.0 == *spatial && line.layer.1 <= *temporal)
                .map(|line| line.time)
                .collect::<BTreeSet<_>>()
        };
        let (wanted, got) = (pictures(&mut (from..until)), pictures(&mut shown.range(from..until).copied()));
        assert_eq!(got, wanted, "request {at} for S{spatial}T{temporal}: every picture");
    }
}

#[test]
fn each_layer_comes_when_asked_for_and_nothing_is_missed() {
    let vp9 = Codec::Vp9 { profile: 0 };
    let av1 = Codec::Av1 { profile: 0 };
    for (text, codec, with_descriptor, spatial_count) in [
        (VP9_KEY, vp9, true, 3),
        (VP9_KEY, vp9, false, 3),
        (VP9_FULL, vp9, true, 3),
        (VP9_FULL, vp9, false, 3),
        (AV1_FULL, av1, true, 2),
        (AV1_KEY, av1, true, 2),
    ] {
        let stream = Scalable::new(text, codec, with_descriptor);
        let requests = requests(spatial_count);
        for seed in 0..3 {
            let subscriber = play(&stream, &requests, seed);
            assert_whole(&stream, &subscriber);
            assert_layers(&stream, &subscriber, &requests);
            assert!(subscriber.repaired > 100, "{}", subscriber.repaired);
            let fillers = subscriber.got.values().filter(|got| got.tag.is_none()).count();
            assert!(fillers > 10, "late packets of other layers left numbers: {fillers}");
        }
    }
}
