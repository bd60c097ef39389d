//! A publisher's packets over the virtual network to a receiver that asks for what is missing: the sending and
//! the receiving half of the client against each other, with no server between them.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use loadtest::client::publish::{Track, TrackConfig};
use loadtest::client::receive::{ReceiveStream, StreamStats};
use loadtest::client::sdp::VP8_RTX;
use loadtest::client::send::StreamStart;
use loadtest::client::signal::Kind;
use loadtest::net::{GilbertElliott, Jitter, LinkConfig, LinkCounters, Time, VirtualNet};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rtc_shared::marshal::{Marshal, Unmarshal};
use rtp::packet::Packet;

const RTT: Duration = Duration::from_millis(40);

struct Run {
    stats: StreamStats,
    link: LinkCounters,
    keyframes_asked: u64,
}

/// Fifteen seconds of video at 1 Mbit/s over `link`, repaired if `nack`. Requests come back without loss.
fn run(seed: u64, link: LinkConfig, nack: bool) -> Run {
    let sender: SocketAddr = "10.0.0.1:1".parse().unwrap();
    let receiver: SocketAddr = "10.0.0.2:2".parse().unwrap();
    let mut net = VirtualNet::new(seed);
    net.add_node(sender, link, LinkConfig::default());
    net.add_node(receiver, LinkConfig::default(), LinkConfig::default());

    // Sequence, timestamp and picture id wrap on the way.
    let start = StreamStart { seq: 65_000, timestamp: u32::MAX - 400_000, picture_id: 0x7fff - 60 };
    let config = TrackConfig { video_bitrate: Some(1_000_000), start: Some(start), ..TrackConfig::default() };
    let mut track = Track::new(Kind::Video, "0", config, &mut StdRng::seed_from_u64(seed));
    track.configure(&track.section("c"));
    track.start(Time::ZERO);
    let ssrc = track.streams().next().unwrap().ssrc;
    let mut stream = ReceiveStream::new("s0", ssrc, Kind::Video, nack);
    let mut requests: VecDeque<(Time, Vec<u16>, bool)> = VecDeque::new();

    let end = Time::from_secs(15);
    let mut now = Time::ZERO;
    while now < end {
        for packet in track.poll(now, &mut 0) {
            net.send(now, sender, receiver, packet.marshal().unwrap().to_vec());
        }
        while let Some((_, seqs, keyframe)) = requests.pop_front_if(|(at, ..)| *at <= now) {
            if keyframe {
                track.keyframe_request(ssrc);
            }
            for seq in seqs {
                if let Some(packet) = track.retransmit(now, ssrc, seq, &mut 0) {
                    net.send(now, sender, receiver, packet.marshal().unwrap().to_vec());
                }
            }
        }
        for delivery in net.poll(now) {
            let Ok(Packet { header, payload }) = Packet::unmarshal(&mut Bytes::from(delivery.bytes)) else {
                continue;
            };
            if header.payload_type == VP8_RTX {
                stream.receive_rtx(now, header.timestamp, header.marker, header.payload_type, payload);
            } else {
                let (seq, pt) = (header.sequence_number, header.payload_type);
                stream.receive(now, seq, header.timestamp, header.marker, pt, payload);
            }
        }
        stream.handle_timeout(now);
        let (missing, keyframe) = (stream.nack_due(now, RTT), stream.pli_due(now));
        if !missing.is_empty() || keyframe {
            requests.push_back((now + RTT / 2, missing, keyframe));
        }
        now += Duration::from_millis(1);
    }
    let link = net.uplink(sender).unwrap().counters();
    Run { stats: stream.stats(end), link, keyframes_asked: track.stats().keyframe_requests }
}

fn assert_continuous(stats: &StreamStats) {
    let video = &stats.video;
    assert_eq!(video.unknown_content, 0);
    assert_eq!(
        (video.picture_id_violations, video.tl0_pic_idx_violations, video.timestamp_violations),
        (0, 0, 0),
        "{video:?}"
    );
}

#[test]
fn every_frame_arrives_over_a_perfect_link_and_all_wraps() {
    let run = run(1, LinkConfig::with_delay(RTT / 2), false);
    // The last frame or two are still on their way.
    assert!(run.stats.video.decoded >= 448, "{:?}", run.stats.video);
    assert_eq!((run.stats.reception.lost(), run.stats.video.freezes, run.keyframes_asked), (0, 0, 0));
    assert_continuous(&run.stats);
}

#[test]
fn five_and_twenty_percent_loss_are_repaired_by_rtx() {
    for (seed, loss, repaired) in [(2, 0.05, 0.999), (3, 0.20, 0.99)] {
        let run = run(seed, LinkConfig::with_delay(RTT / 2).loss(loss), true);
        let reception = &run.stats.reception;
        let share = reception.lost() as f64 / reception.expected as f64;
        // Five standard deviations of a binomial.
        let tolerance = 5.0 * (loss * (1.0 - loss) / reception.expected as f64).sqrt();
        assert!((share - loss).abs() < tolerance, "{share}");
        let arrived = 1.0 - reception.lost_after_repair() as f64 / reception.expected as f64;
        assert!(arrived >= repaired, "{arrived} {reception:?}");
        assert!(run.stats.video.decoded >= 440, "{:?}", run.stats.video);
        assert!(run.link.lost_random > 0);
        assert_continuous(&run.stats);
    }
}

#[test]
fn without_repair_loss_breaks_frames_and_costs_keyframes() {
    let run = run(4, LinkConfig::with_delay(RTT / 2).loss(0.05), false);
    let video = &run.stats.video;
    assert!(video.broken > 20 && video.undecodable > 20, "{video:?}");
    assert!(run.keyframes_asked > 5);
    assert!(video.freezes > 0);
    assert_continuous(&run.stats);
}

#[test]
fn bursts_jitter_reordering_and_duplicates_together_are_survived() {
    let link = LinkConfig {
        burst_loss: Some(GilbertElliott::average(0.03, 4.0)),
        jitter: Jitter::Uniform(Duration::from_millis(10)),
        jitter_reorders: true,
        duplicate: 0.02,
        reorder: 0.02,
        reorder_by: Duration::from_millis(15),
        ..LinkConfig::with_delay(RTT / 2)
    };
    let run = run(5, link, true);
    for count in [run.link.lost_burst, run.link.duplicated, run.link.reordered] {
        assert!(count > 10, "{:?}", run.link);
    }
    assert!(run.stats.video.decoded >= 440, "{:?}", run.stats.video);
    assert!(run.stats.reception.duplicates > 0);
    assert_continuous(&run.stats);
}
