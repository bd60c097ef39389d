//! What a source does: publishes anew, mutes, wraps its numbers, goes on for long. The subscriber sees one continuous
//! stream throughout.

use std::time::Duration;

use loadtest::client::send::StreamStart;
use loadtest::client::signal::{ClientSignal, Kind};
use loadtest::net::LinkConfig;
use sfu_core::DropReason;
use sfu_core::event::Event;

use crate::world::{World, assert_continuous, complete_ratio, good, publisher, subscriber};

#[test]
fn a_publisher_that_begins_anew_under_other_ssrcs_looks_continuous() {
    for simulcast in [false, true] {
        for seed in 0..8 {
            let mut config = publisher("r");
            config.track.simulcast = simulcast;
            let (mut world, source, viewer) = World::call(seed, config);
            let ssrc = world.stream(viewer, Kind::Video).unwrap().ssrc;
            for _ in 0..3 {
                let now = world.net_now();
                world.client(source).restart_publishing(now);
                world.run(Duration::from_secs(3));
            }
            let stream = world.stream(viewer, Kind::Video).unwrap();
            let video = stream.video;
            assert_eq!(stream.ssrc, ssrc, "the subscriber keeps its stream");
            assert_eq!(stream.reception.lost(), 0, "seed {seed}: {:?}", stream.reception);
            assert!(video.longest_gap <= Duration::from_secs(1), "seed {seed}: {video:?}");
            assert_eq!((video.undecodable, video.broken, video.missing), (0, 0, 0), "seed {seed}: {video:?}");
            assert!(video.keyframes >= 4 && video.decoded > 300, "seed {seed}: {video:?}");
            assert_continuous(&video);
            let audio = world.stream(viewer, Kind::Audio).unwrap();
            assert_eq!((audio.audio.timestamp_violations, audio.reception.lost()), (0, 0));
            assert_eq!(world.stats(viewer).unknown_ssrc, 0);
            assert_eq!(world.sfu.load().tracks, 2);
        }
    }
}

#[test]
fn a_joiner_is_told_that_the_publisher_sends_no_keyframe() {
    for seed in 0..8 {
        let mut config = publisher("r");
        config.track.deaf = true;
        let mut world = World::new(seed);
        let source = world.join(config, good(), good());
        world.run(Duration::from_millis(4_500));
        let joined = world.now();
        let viewer = world.join(subscriber("r"), good(), good());
        world.run(Duration::from_secs(5));
        let told: Vec<_> = world
            .events
            .iter()
            .filter(|(at, event)| *at > joined && matches!(event, Event::SlotLayer { layer: None, .. }))
            .map(|(at, _)| at.since(joined))
            .collect();
        assert_eq!(told.len(), 1, "once: {told:?}");
        assert!(told[0] >= Duration::from_secs(1) && told[0] < Duration::from_secs(2), "{told:?}");
        assert!(world.stats(source).published[1].keyframe_requests > 0);
        assert!(world.video(viewer).decoded > 20, "its next keyframe is shown: {:?}", world.video(viewer));
    }
}

#[test]
fn muted_means_silent_and_unmuting_begins_with_a_keyframe() {
    for seed in 0..8 {
        let (mut world, source, viewer) = World::call(seed, publisher("r"));
        for round in 0..3 {
            for kind in [Kind::Audio, Kind::Video] {
                world.client(source).set_muted(kind, true);
            }
            world.run(Duration::from_millis(200));
            let quiet = (world.video(viewer), world.stream(viewer, Kind::Audio).unwrap().audio.packets);
            world.run(Duration::from_millis(2_500));
            let audio = world.stream(viewer, Kind::Audio).unwrap().audio;
            assert_eq!((world.video(viewer).complete, audio.packets), (quiet.0.complete, quiet.1));
            for kind in [Kind::Audio, Kind::Video] {
                world.client(source).set_muted(kind, false);
            }
            world.until(Duration::from_secs(1), "a frame", |world| {
                world.video(viewer).complete > quiet.0.complete
            });
            let video = world.video(viewer);
            assert_eq!(video.keyframes, quiet.0.keyframes + 1, "seed {seed} round {round}: {video:?}");
            world.run(Duration::from_secs(1));
        }
        let video = world.video(viewer);
        assert_eq!((video.undecodable, video.broken, video.missing), (0, 0, 0), "seed {seed}: {video:?}");
        assert!(video.longest_gap <= Duration::from_millis(400), "mute is no freeze: {video:?}");
        assert_continuous(&video);
        let stream = world.stream(viewer, Kind::Audio).unwrap();
        assert_eq!(stream.audio.timestamp_violations, 0);
        // One jump per mute: the timestamps went on with the time, the numbers without a gap.
        assert_eq!((stream.audio.timestamp_jumps, stream.reception.lost()), (3, 0), "{stream:?}");
    }
}

/// The client is muted in the signalling, but its page sends on.
#[test]
fn what_a_muted_track_sends_stops_at_the_door() {
    for seed in 0..8 {
        let (mut world, source, viewer) = World::call(seed, publisher("r"));
        let tracks = [Kind::Audio, Kind::Video].map(|kind| world.track(source, kind));
        for track in &tracks {
            world.say(source, ClientSignal::Mute { track: track.clone(), muted: true });
        }
        world.run(Duration::from_millis(100));
        let quiet = (world.video(viewer), world.stream(viewer, Kind::Audio).unwrap().audio);
        world.run(Duration::from_secs(3));
        assert!(world.sfu.counters().dropped(DropReason::Muted) > 300);
        assert_eq!(world.video(viewer).complete, quiet.0.complete, "seed {seed}");
        let heard = world.stream(viewer, Kind::Audio).unwrap().audio.packets;
        assert_eq!(heard, quiet.1.packets, "seed {seed}");
        for track in &tracks {
            world.say(source, ClientSignal::Mute { track: track.clone(), muted: false });
        }
        let waited = world.until(Duration::from_secs(1), "a frame", |world| {
            world.video(viewer).complete > quiet.0.complete
        });
        let video = world.video(viewer);
        assert_eq!(video.keyframes, quiet.0.keyframes + 1, "seed {seed}: the first one is a keyframe");
        assert!(waited <= Duration::from_millis(200), "seed {seed}: {waited:?}");
        world.run(Duration::from_secs(1));
        let video = world.video(viewer);
        assert_eq!((video.undecodable, video.broken, video.missing), (0, 0, 0), "seed {seed}: {video:?}");
        assert_continuous(&video);
        let stream = world.stream(viewer, Kind::Audio).unwrap();
        assert_eq!((stream.audio.timestamp_violations, stream.reception.lost()), (0, 0), "{stream:?}");
    }
}

#[test]
fn numbers_wrap_under_loss_and_reordering() {
    let far = StreamStart { seq: 1_000, timestamp: 1_000_000, picture_id: 1_000 };
    let starts = [
        StreamStart { seq: 65_300, ..far },
        StreamStart { seq: 0x7fff - 200, ..far },
        StreamStart { timestamp: u32::MAX - 500_000, ..far },
        StreamStart { picture_id: 0x7fff - 100, ..far },
        StreamStart { seq: 65_350, timestamp: u32::MAX - 400_000, picture_id: 0x7fff - 90 },
    ];
    for start in starts {
        for seed in 0..8 {
            let mut config = publisher("r");
            config.track.start = Some(start);
            let rough =
                || LinkConfig { reorder: 0.05, reorder_by: Duration::from_millis(30), ..good().loss(0.1) };
            let mut world = World::new(seed);
            let source = world.join(config, rough(), good());
            let viewer = world.join(subscriber("r"), good(), rough());
            world.run(Duration::from_secs(12));
            assert!(world.stats(source).published[1].packets > 1_200, "every number has wrapped");
            let (up, down) = (world.uplink(source), world.downlink(viewer));
            assert!(up.lost_random > 50 && down.lost_random > 50 && up.reordered > 20 && down.reordered > 20);
            let counters = world.sfu.counters();
            assert_eq!(counters.dropped(DropReason::SrtpAuthFailed), 0, "{start:?} seed {seed}: wrong ROC");
            let video = world.video(viewer);
            assert!(complete_ratio(&video) >= 0.97, "{start:?} seed {seed}: {video:?}");
            assert!(video.decoded > 300, "{start:?} seed {seed}: {video:?}");
            assert_continuous(&video);
            let audio = world.stream(viewer, Kind::Audio).unwrap().audio;
            assert_eq!((audio.timestamp_violations, audio.unknown_content), (0, 0));
        }
    }
}

/// More than 65,536 packets: the rollover counter of the outgoing stream counts, too.
#[test]
fn seventy_thousand_packets_of_one_stream() {
    let mut config = publisher("r");
    config.publish_audio = false;
    config.track.video_bitrate = Some(10_000_000);
    let mut world = World::new(7);
    let source = world.join(config, good().loss(0.01), good());
    let viewer = world.join(subscriber("r"), good(), good().loss(0.01));
    world.run(Duration::from_secs(75));
    let stream = world.stream(viewer, Kind::Video).unwrap();
    assert!(stream.reception.packets > 65_536, "{:?}", stream.reception);
    assert!(world.uplink(source).lost_random > 500 && world.downlink(viewer).lost_random > 500);
    assert!(complete_ratio(&stream.video) >= 0.999, "{:?}", stream.video);
    assert_continuous(&stream.video);
    assert_eq!(world.sfu.counters().dropped(DropReason::SrtpAuthFailed), 0);
}
