//! Participants as the room sees them: resumed, replaced, coming and going by the hundred, gone without a trace.

use std::time::Duration;

use loadtest::client::ClientState;
use loadtest::client::signal::{ClientSignal, Kind};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sfu_core::Load;
use signaling::RoomsStats;

use crate::world::{Id, World, good, publisher, subscriber};

fn resume(world: &mut World, who: Id) {
    let token = world.client(who).resume_token().map(str::to_owned);
    assert!(token.is_some());
    let join = ClientSignal::Join {
        version: 1,
        room: "r".into(),
        identity: None,
        name: "subscriber".into(),
        resume: token,
        offer: None,
    };
    world.say(who, join);
}

#[test]
fn a_lost_signalling_connection_is_resumed_while_media_goes_on() {
    for seed in 0..8 {
        let (mut world, _, viewer) = World::call(seed, publisher("r"));
        let participant = world.stats(viewer).participant;
        world.lose_connection(viewer);
        world.run(Duration::from_secs(5));
        // Published while nobody could tell the viewer.
        world.join(publisher("r"), good(), good());
        world.run(Duration::from_secs(5));
        assert_eq!(world.streams(viewer, Kind::Video).len(), 1);
        assert!(world.video(viewer).longest_gap <= Duration::from_millis(100), "media doesn't care");
        resume(&mut world, viewer);
        world.run(Duration::from_secs(5));
        assert_eq!(world.stats(viewer).participant, participant, "the same participant");
        assert_eq!(world.rooms.stats().participants, 3);
        let streams = world.streams(viewer, Kind::Video);
        assert_eq!(streams.len(), 2, "seed {seed}");
        assert!(streams.iter().all(|stream| stream.video.decoded > 120), "seed {seed}: {streams:?}");
        assert_eq!(world.sfu.load().transports, 3);
        assert_eq!(world.state(viewer), ClientState::Connected);
    }
}

#[test]
fn a_connection_that_stays_lost_ends_the_session() {
    let (mut world, _, viewer) = World::call(1, publisher("r"));
    world.lose_connection(viewer);
    world.run(Duration::from_secs(29));
    assert_eq!(world.rooms.stats().participants, 2);
    world.run(Duration::from_secs(3));
    assert_eq!(world.rooms.stats().participants, 1);
    assert_eq!(world.sfu.load().transports, 1);
}

#[test]
fn a_second_join_with_the_same_identity_replaces_the_first() {
    for seed in 0..8 {
        let mut world = World::new(seed);
        let alice = || {
            let mut config = publisher("r");
            config.identity = Some("alice".into());
            config
        };
        let first = world.join(alice(), good(), good());
        let viewer = world.join(subscriber("r"), good(), good());
        world.run(Duration::from_secs(3));
        let second = world.join(alice(), good(), good());
        world.run(Duration::from_secs(3));
        assert_eq!(world.state(first), ClientState::Closed("replaced".into()));
        assert_eq!(world.state(second), ClientState::Connected);
        assert_eq!(world.rooms.stats().participants, 2);
        assert_eq!((world.sfu.load().transports, world.sfu.load().tracks), (2, 2));
        let video = world.video(viewer);
        assert!(video.longest_gap <= Duration::from_secs(1), "seed {seed}: {video:?}");
        assert!(video.decoded > 140 && video.undecodable == 0, "seed {seed}: {video:?}");
        assert_eq!(world.stats(viewer).sections, 2, "the freed slots were used again");
    }
}

#[test]
fn a_full_room_refuses_and_a_place_that_gets_free_is_given() {
    let mut world = World::with_rooms(1, |rooms| rooms.max_participants = 2);
    let (first, _) =
        (world.join(publisher("r"), good(), good()), world.join(subscriber("r"), good(), good()));
    let third = world.join(subscriber("r"), good(), good());
    world.run(Duration::from_secs(1));
    assert_eq!(world.refused(third), Some(&signaling::JoinError::RoomFull));
    world.client(first).leave();
    world.run(Duration::from_secs(1));
    let fourth = world.join(subscriber("r"), good(), good());
    world.run(Duration::from_secs(1));
    assert_eq!(world.refused(fourth), None);
}

/// How a participant of the churn goes.
fn depart(world: &mut World, who: Id, rng: &mut StdRng) {
    match rng.random_range(0..4) {
        0 => world.vanish(who),
        _ => world.client(who).leave(),
    }
}

#[test]
fn a_hundred_come_and_go_and_leave_nothing() {
    for seed in [1] {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = World::new(seed);
        let observer = world.join(subscriber("r"), good(), good());
        let mut present: Vec<Id> = Vec::new();
        let (mut peak, mut tracks_peak, mut departed) = (0, 0, 0);
        for step in 0..400 {
            let wanted = if step < 100 { step } else { rng.random_range(60..=100) };
            if present.len() < wanted {
                let sends = rng.random_bool(0.08);
                let config = if sends { publisher("r") } else { subscriber("r") };
                let who = world.join(config, good().loss(0.01), good().loss(0.01));
                if present.len() > 2 {
                    // Most cameras are off.
                    for kind in [Kind::Audio, Kind::Video] {
                        world.client(who).set_muted(kind, true);
                    }
                }
                present.push(who);
            } else {
                let at = rng.random_range(0..present.len().max(1));
                if let Some(who) = present.get(at).copied() {
                    present.swap_remove(at);
                    departed += 1;
                    depart(&mut world, who, &mut rng);
                }
            }
            world.run(Duration::from_millis(rng.random_range(20..200)));
            peak = peak.max(present.len());
            tracks_peak = tracks_peak.max(world.rooms.stats().tracks);
        }
        assert!(peak >= 99 && departed > 80, "seed {seed}: {peak} at once, {departed} went");
        let sections = world.stats(observer).sections;
        assert!(sections <= tracks_peak, "seed {seed}: {sections} sections for {tracks_peak} tracks");
        assert!(world.stats(observer).errors.is_empty(), "{:?}", world.stats(observer).errors);
        present.push(observer);
        for who in present {
            depart(&mut world, who, &mut rng);
        }
        // Consent of those who vanished, then the empty room's minute.
        world.run(Duration::from_secs(35 + 65));
        assert_eq!(world.sfu.load(), Load::default(), "seed {seed}");
        assert_eq!(world.rooms.stats(), RoomsStats::default(), "seed {seed}");
    }
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed: u64| {
        let mut world = World::new(seed);
        let mut rng = StdRng::seed_from_u64(seed);
        let mut present = Vec::new();
        for step in 0..40 {
            let room = ["r", "s", "t"][step % 3];
            let config = if step % 2 == 0 { publisher(room) } else { subscriber(room) };
            present.push(world.join(config, good().loss(0.05), good().loss(0.05)));
            if step % 4 == 3 {
                let who = present.swap_remove(rng.random_range(0..present.len()));
                depart(&mut world, who, &mut rng);
            }
            world.run(Duration::from_millis(150));
        }
        assert!(world.events.len() > 50);
        world.digest()
    };
    let (first, again, other) = (run(1), run(1), run(2));
    assert_eq!(first, again);
    assert!(first.0 != other.0 && first.1 != other.1);
}
