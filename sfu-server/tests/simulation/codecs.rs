//! Codecs that not everybody has: who gets what, who is told, and what redundant audio brings back.

use std::time::Duration;

use loadtest::client::ClientConfig;
use loadtest::client::sdp::Accepts;
use loadtest::client::signal::Kind;
use sfu_core::DropReason;
use signaling::{CodecName, CodecPolicy};

use crate::world::{Id, World, assert_continuous, complete_ratio, good, publisher, subscriber};

fn viewer(accepts: Accepts) -> ClientConfig {
    ClientConfig { accepts, ..subscriber("r") }
}

#[test]
fn h264_reaches_those_who_have_it_whole_and_the_others_are_told() {
    for seed in 0..8 {
        let mut world = World::new(seed);
        let mut config = publisher("r");
        config.track.h264 = true;
        let source = world.join(config, good().loss(0.05), good());
        let both = Accepts { h264: true, ..Accepts::default() };
        let viewers = [both, Accepts { vp8: false, ..both }]
            .map(|accepts| world.join(viewer(accepts), good(), good().loss(0.05)));
        let without = world.join(subscriber("r"), good(), good());
        world.run(Duration::from_secs(10));
        assert!(world.uplink(source).lost_random > 30);
        for viewer in viewers {
            let video = world.video(viewer);
            assert!(complete_ratio(&video) >= 0.99 && video.decoded > 240, "seed {seed}: {video:?}");
            // Entered and switched at parameter sets, so none of its keyframes lacks them; but nobody misses a first packet
            // that is lost.
            let sets = video.parameter_sets + 1;
            assert!(sets >= video.keyframes && video.keyframes > 0, "seed {seed}: {video:?}");
            assert_continuous(&video);
            assert!(!told_unsupported(&world, viewer));
        }
        assert!(told_unsupported(&world, without));
        let told = world.told(without).iter().filter(|kind| *kind == "codec_unsupported").count();
        assert_eq!(told, 1, "once is enough");
        assert_eq!(world.streams(without, Kind::Video).len(), 0);
        assert!(world.stream(without, Kind::Audio).unwrap().audio.packets > 400, "it hears all the same");
    }
}

fn told_unsupported(world: &World, viewer: Id) -> bool {
    world.told(viewer).iter().any(|kind| kind == "codec_unsupported")
}

/// Audio with redundancy first, so that publishers send it.
fn redundant_world(seed: u64) -> World {
    World::with_rooms(seed, |rooms| {
        let video = CodecPolicy::default().of(sfu_core::unit::Kind::Video).to_vec();
        rooms.codecs = CodecPolicy::new(vec![CodecName::Red, CodecName::Opus], video).unwrap();
    })
}

/// One publisher of redundant audio behind an uplink that loses `loss`; a viewer that takes it, and one that doesn't.
fn redundant_call(seed: u64, loss: f64) -> (World, Id, [Id; 2]) {
    let mut world = redundant_world(seed);
    let mut config = publisher("r");
    config.track.red = true;
    config.publish_video = false;
    let source = world.join(config, good().loss(loss), good());
    let takes_red = Accepts { red: true, ..Accepts::default() };
    let viewers = [takes_red, Accepts::default()].map(|accepts| world.join(viewer(accepts), good(), good()));
    world.run(Duration::from_secs(30));
    (world, source, viewers)
}

#[test]
fn redundancy_gives_back_what_the_uplink_lost_also_to_those_without_red() {
    for seed in 0..8 {
        let (mut world, source, [takes_red, plain]) = redundant_call(seed, 0.1);
        assert!(world.uplink(source).lost_random > 100);
        let heard = [takes_red, plain].map(|viewer| world.stream(viewer, Kind::Audio).unwrap());
        for stream in &heard {
            let audio = stream.audio;
            assert_eq!((audio.unknown_content, audio.timestamp_violations, audio.timestamp_jumps), (0, 0, 0));
        }
        let lost = heard.each_ref().map(|stream| {
            let reception = stream.reception;
            reception.lost() as f64 / reception.expected as f64
        });
        // Who takes RED misses packets and has their copies; the other gets them, but for two lost in a row.
        assert!((0.06..0.15).contains(&lost[0]), "seed {seed}: {lost:?}");
        assert!(lost[1] < 0.03, "seed {seed}: {lost:?}");
        assert!(heard[0].audio.redundant > 1_000 && heard[1].audio.redundant == 0);
        let counters = world.sfu.counters();
        assert!(counters.red_recovered > 80, "seed {seed}: {counters:?}");
        assert_eq!(counters.dropped(DropReason::RedMalformed), 0);
    }
}

#[test]
fn without_loss_redundancy_changes_nothing() {
    for seed in 0..4 {
        let (world, _, viewers) = redundant_call(seed, 0.0);
        for viewer in viewers {
            let stream = world.stream(viewer, Kind::Audio).unwrap();
            assert_eq!((stream.reception.lost(), stream.audio.unknown_content), (0, 0), "seed {seed}");
            assert_eq!((stream.audio.timestamp_violations, stream.audio.timestamp_jumps), (0, 0));
        }
        assert_eq!(world.sfu.counters().red_recovered, 0, "seed {seed}");
    }
}

#[test]
fn plain_opus_is_sent_where_the_policy_prefers_it() {
    let mut world = World::new(1);
    let mut config = publisher("r");
    config.track.red = true;
    world.join(config, good(), good());
    let takes_red = world.join(viewer(Accepts { red: true, ..Accepts::default() }), good(), good());
    world.run(Duration::from_secs(3));
    let audio = world.stream(takes_red, Kind::Audio).unwrap().audio;
    assert!(audio.packets > 100 && audio.redundant == 0 && audio.unknown_content == 0, "{audio:?}");
}
