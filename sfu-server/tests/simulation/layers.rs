//! Simulcast: which layer a slot shows, and what a switch may cost; keyframe requests, however many ask.

use std::time::Duration;

use loadtest::client::ClientConfig;
use loadtest::client::signal::{Kind, Layer};

use crate::world::{World, assert_continuous, good, publisher, subscriber};

fn simulcast() -> ClientConfig {
    let mut config = publisher("r");
    config.track.simulcast = true;
    config
}

#[test]
fn a_preferred_layer_comes_without_a_break() {
    for seed in 0..8 {
        let (mut world, source, viewer) = World::call(seed, simulcast());
        let track = world.track(source, Kind::Video);
        let mut switches = world.video(viewer).layer_switches;
        for layer in [Layer::Low, Layer::High, Layer::Medium, Layer::Low, Layer::Medium, Layer::High] {
            world.client(viewer).prefer(&track, layer, false);
            world.until(Duration::from_millis(900), "the layer asked for", |world| {
                world.video(viewer).layer_switches > switches
            });
            switches += 1;
            world.run(Duration::from_millis(1_500));
        }
        let video = world.video(viewer);
        assert_eq!(video.layer_switches, switches, "seed {seed}: {video:?}");
        assert_eq!((video.undecodable, video.broken, video.missing), (0, 0, 0), "seed {seed}: {video:?}");
        assert!(video.by_layer.iter().all(|frames| *frames > 40), "seed {seed}: {video:?}");
        assert!(video.longest_gap <= Duration::from_millis(100), "seed {seed}: {video:?}");
        assert_continuous(&video);
        let reception = world.stream(viewer, Kind::Video).unwrap().reception;
        assert_eq!(reception.lost(), 0, "sequence numbers go on without a gap: {reception:?}");
    }
}

#[test]
fn a_layer_that_falls_silent_is_replaced_and_comes_back() {
    for seed in 0..8 {
        let (mut world, source, viewer) = World::call(seed, simulcast());
        for silent in [&[2][..], &[1, 2]] {
            let before = world.video(viewer);
            silent.iter().for_each(|layer| world.client(source).set_layer_active(*layer, false));
            let stall = world.longest_stall(viewer, Duration::from_millis(1_500));
            // Three frames of the lower layer, a tick, the request's way and the keyframe's.
            assert!(stall <= Duration::from_millis(420), "seed {seed}: {stall:?} without {silent:?}");
            let during = world.video(viewer);
            assert!(during.decoded > before.decoded + 20, "seed {seed}: {during:?}");
            let lower = (0..silent[0]).map(|layer| during.by_layer[layer]).sum::<u64>();
            assert!(lower > (0..silent[0]).map(|layer| before.by_layer[layer]).sum(), "seed {seed}");
            silent.iter().for_each(|layer| world.client(source).set_layer_active(*layer, true));
            world.run(Duration::from_millis(1_500));
            assert!(
                world.video(viewer).by_layer[2] > during.by_layer[2] + 20,
                "seed {seed}: the top is back"
            );
        }
        let video = world.video(viewer);
        assert_eq!((video.undecodable, video.broken, video.missing), (0, 0, 0), "seed {seed}: {video:?}");
        assert_continuous(&video);
        let reception = world.stream(viewer, Kind::Video).unwrap().reception;
        assert_eq!(reception.lost(), 0, "{reception:?}");
    }
}

#[test]
fn keyframe_requests_of_a_crowd_are_merged() {
    for seed in 0..8 {
        let mut world = World::new(seed);
        let source = world.join(simulcast(), good(), good());
        world.run(Duration::from_secs(2));
        let mut crowd = Vec::new();
        // Requests that the publisher has seen after every tenth of a second.
        let mut asked = Vec::new();
        for tenth in 0..50 {
            for _ in 0..if tenth < 10 { 3 } else { 0 } {
                crowd.push(world.join(subscriber("r"), good(), good()));
            }
            world.run(Duration::from_millis(100));
            asked.push(world.stats(source).published[1].keyframe_requests);
        }
        assert_eq!(crowd.len(), 30);
        let worst = asked.windows(11).map(|window| window[10] - window[0]).max().unwrap();
        assert!(worst <= 2 * 3, "seed {seed}: {worst} requests for three layers within a second: {asked:?}");
        assert!(*asked.last().unwrap() > 0);
        for viewer in crowd {
            let video = world.video(viewer);
            assert!(video.by_layer[2] > 60 && video.undecodable == 0, "seed {seed}: {video:?}");
            let waited = world.stats(viewer).connected.unwrap();
            let first = video.first_decoded.unwrap().since(waited);
            assert!(first <= Duration::from_millis(650), "seed {seed}: {first:?}");
            assert_continuous(&video);
        }
    }
}

/// The top layer stutters, as when its encoder is late: nobody goes down, and nobody is asked to.
#[test]
fn a_stutter_of_the_top_layer_is_no_silence() {
    for seed in 0..8 {
        let (mut world, source, viewer) = World::call(seed, simulcast());
        world.run(Duration::from_secs(1));
        let before = world.video(viewer).layer_switches;
        for _ in 0..10 {
            world.client(source).set_layer_active(2, false);
            world.run(Duration::from_millis(150));
            world.client(source).set_layer_active(2, true);
            world.run(Duration::from_millis(850));
        }
        let video = world.video(viewer);
        assert_eq!(video.layer_switches, before, "seed {seed}: {video:?}");
        assert!((150..=250).contains(&video.longest_gap.as_millis()), "seed {seed}: {video:?}");
        assert_continuous(&video);
    }
}

/// All layers stop at once, as on a slow screen share: half a second apart is still one stream.
#[test]
fn a_slow_source_stays_in_its_layer() {
    let (mut world, source, viewer) = World::call(1, simulcast());
    let before = world.video(viewer).layer_switches;
    for _ in 0..10 {
        (0..3).for_each(|layer| world.client(source).set_layer_active(layer, false));
        world.run(Duration::from_millis(400));
        (0..3).for_each(|layer| world.client(source).set_layer_active(layer, true));
        world.run(Duration::from_millis(70));
    }
    let video = world.video(viewer);
    assert_eq!((video.layer_switches, video.undecodable), (before, 0), "{video:?}");
    assert_continuous(&video);
}
