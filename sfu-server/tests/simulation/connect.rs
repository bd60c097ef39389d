//! How a call begins: time to the first decoded frame, with and without loss, whoever comes first.

use std::time::Duration;

use loadtest::client::ClientState;
use loadtest::client::signal::Kind;

use crate::world::{World, assert_continuous, good, publisher, subscriber};

/// Runs until both see a picture of the other and hear something; how long the slower one waited.
#[test]
fn two_publishers_see_each_other() {
    for seed in 0..8 {
        let mut world = World::new(seed);
        let (a, b) = (world.join(publisher("r"), good(), good()), world.join(publisher("r"), good(), good()));
        let waited = world.until(Duration::from_secs(2), "pictures both ways", |world| {
            world.video(a).decoded > 0 && world.video(b).decoded > 0
        });
        assert!(waited <= Duration::from_millis(300), "seed {seed}: {waited:?}");
        world.run(Duration::from_secs(5));
        for id in [a, b] {
            let video = world.video(id);
            assert!(video.decoded >= 140, "seed {seed}: {video:?}");
            assert_eq!((video.freezes, video.undecodable, video.broken, video.missing), (0, 0, 0, 0));
            assert_continuous(&video);
            let audio = world.stream(id, Kind::Audio).unwrap().audio;
            assert!(audio.packets >= 230 && audio.gaps == 0, "seed {seed}: {audio:?}");
            assert_eq!((audio.unknown_content, audio.timestamp_violations, audio.timestamp_jumps), (0, 0, 0));
            assert_eq!(world.stats(id).errors, Vec::<String>::new());
            assert_eq!(world.stats(id).unknown_ssrc, 0);
        }
    }
}

#[test]
fn a_latecomer_sees_the_first_frame_within_three_round_trips() {
    for seed in 0..8 {
        let mut world = World::new(seed);
        world.join(publisher("r"), good(), good());
        world.run(Duration::from_millis(5_000 + seed * 13));
        let late = world.join(subscriber("r"), good(), good());
        let waited = world.until(Duration::from_secs(2), "a picture", |world| world.video(late).decoded > 0);
        assert!(waited <= Duration::from_millis(250), "seed {seed}: {waited:?}");
    }
}

#[test]
fn connects_at_thirty_percent_loss_both_ways() {
    for seed in 0..16 {
        let mut world = World::new(seed);
        let lossy = || good().loss(0.3);
        let a = world.join(publisher("r"), lossy(), lossy());
        let b = world.join(publisher("r"), lossy(), lossy());
        let waited = world.until(Duration::from_secs(5), "both connected", |world| {
            world.state(a) == ClientState::Connected && world.state(b) == ClientState::Connected
        });
        world.until(Duration::from_secs(5), "pictures both ways", |world| {
            world.video(a).decoded > 0 && world.video(b).decoded > 0
        });
        assert!(waited < Duration::from_secs(3), "seed {seed}: {waited:?}");
        for id in [a, b] {
            assert!(world.uplink(id).lost_random > 0 && world.downlink(id).lost_random > 0, "seed {seed}");
        }
    }
}
