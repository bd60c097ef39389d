//! What happens to a path: NATs that forget, networks that go away for a while or for good, ICE restarts.

use std::net::SocketAddr;
use std::time::Duration;

use loadtest::client::ClientState;
use loadtest::client::signal::Kind;
use loadtest::net::{Change, LinkConfig, Outage};
use sfu_core::DropReason;
use sfu_core::event::{CloseReason, Event};

use crate::world::{Id, World, assert_continuous, good, publisher};

/// The longest time between two consent checks of the client.
const CONSENT_INTERVAL: Duration = Duration::from_millis(2_500);

/// From a check at the new address to the next decoded frame: half a round trip for the check, half for the media,
/// and a keyframe if packets were lost for good.
const RECOVERY: Duration = Duration::from_millis(1_000);

fn rebind(world: &mut World, who: Id) {
    let (at, nat) = (world.net_now(), world.nat(who));
    world.net.schedule(at, Change::Rebind { nat, public: None });
}

#[test]
fn a_subscriber_behind_a_rebound_nat_is_found_again_by_its_next_check_and_by_nothing_else() {
    for seed in 0..8 {
        let (mut world, _, viewer) = World::call(seed, publisher("r"));
        world.run(Duration::from_millis(seed * 300));
        let (checks, offered) = (world.stats(viewer).ice.checks_sent, world.downlink(viewer).offered);
        rebind(&mut world, viewer);
        world.until(CONSENT_INTERVAL, "a check from the new address", |world| {
            world.stats(viewer).ice.checks_sent > checks
        });
        // Until the check has arrived, reports from the new address move nothing.
        let unknown = world.sfu.counters().dropped(DropReason::UnknownAddress);
        assert!(seed == 0 || unknown > 0, "seed {seed}: {unknown}");
        let in_flight = world.downlink(viewer).offered - offered;
        assert!(in_flight < 20, "seed {seed}: {in_flight} datagrams");
        world.run(Duration::from_secs(5));
        assert_eq!(world.net.nat(world.nat(viewer)).unwrap().counters().rebinds, 1);
        let video = world.video(viewer);
        assert!(video.longest_gap <= CONSENT_INTERVAL + RECOVERY, "seed {seed}: {video:?}");
        assert_eq!(world.stats(viewer).state, ClientState::Connected);
        // Until the path has moved, and until the keyframe if repair can't catch up.
        assert!(video.freezes <= 2, "seed {seed}: {video:?}");
        let decoded = video.decoded;
        world.run(Duration::from_secs(2));
        assert!(world.video(viewer).decoded >= decoded + 58, "seed {seed}");
        assert_continuous(&world.video(viewer));
    }
}

#[test]
fn a_publisher_behind_a_rebound_nat_is_heard_again_after_its_next_check() {
    for seed in 0..8 {
        let (mut world, source, viewer) = World::call(seed, publisher("r"));
        world.run(Duration::from_millis(seed * 300));
        rebind(&mut world, source);
        world.run(Duration::from_secs(6));
        assert!(world.sfu.counters().dropped(DropReason::UnknownAddress) > 0, "seed {seed}");
        let video = world.video(viewer);
        assert!(video.longest_gap <= CONSENT_INTERVAL + RECOVERY, "seed {seed}: {video:?}");
        let decoded = video.decoded;
        world.run(Duration::from_secs(2));
        assert!(world.video(viewer).decoded >= decoded + 58, "seed {seed}");
        assert_continuous(&world.video(viewer));
    }
}

#[test]
fn strangers_datagrams_move_no_path() {
    let (mut world, _, viewer) = World::call(1, publisher("r"));
    let (stranger, server): (SocketAddr, SocketAddr) =
        ("203.0.113.9:9".parse().unwrap(), "198.51.100.1:7882".parse().unwrap());
    world.net.add_node(stranger, good(), good());
    for _ in 0..100 {
        let now = world.net_now();
        for first in [128, 144, 22, 20] {
            world.net.send(now, stranger, server, vec![first; 200]);
        }
        world.run(Duration::from_millis(20));
    }
    world.run(Duration::from_millis(100));
    assert!(world.sfu.counters().dropped(DropReason::UnknownAddress) >= 300);
    let heard = world.net.downlink(stranger).unwrap().counters().offered;
    assert_eq!(heard, 0, "nothing is sent to an address that passed no check");
    let video = world.video(viewer);
    assert!(video.longest_gap <= Duration::from_millis(100) && video.undecodable == 0, "{video:?}");
}

#[test]
fn blackholes_of_two_seconds_every_seven() {
    for seed in 0..8 {
        let (mut world, _, viewer) = World::call(seed, publisher("r"));
        let start = world.net_now();
        let at = |second: u64| start + Duration::from_secs(second);
        let outages: Vec<Outage> =
            (0..5).map(|n| Outage { from: at(n * 7 + 5), to: at(n * 7 + 7) }).collect();
        let holes = || LinkConfig { outages: outages.clone(), ..good() };
        world.set_links(viewer, holes(), holes());
        let mut decoded = world.video(viewer).decoded;
        for period in 0..5 {
            world.run(Duration::from_secs(7));
            let after = world.video(viewer).decoded;
            // Five seconds pass; the first of them is spent on a keyframe.
            assert!(after - decoded >= 4 * 30, "seed {seed} period {period}: {}", after - decoded);
            decoded = after;
        }
        let (up, down) = (world.uplink(viewer), world.downlink(viewer));
        assert!(down.lost_outage > 1_000 && up.lost_outage > 0, "seed {seed}: {down:?} {up:?}");
        let video = world.video(viewer);
        assert!(video.longest_gap <= Duration::from_secs(2) + RECOVERY, "seed {seed}: {video:?}");
        assert_continuous(&video);
        let disturbed = |event: &Event| matches!(event, Event::TransportDisconnected { .. });
        assert!(!world.events.iter().any(|(_, event)| disturbed(event)), "two seconds are no disconnection");
    }
}

#[test]
fn a_lost_network_is_told_after_ten_seconds_and_ends_the_session_after_thirty() {
    for seed in 0..4 {
        let (mut world, source, viewer) = World::call(seed, publisher("r"));
        world.run(Duration::from_millis(seed * 700));
        let lost_at = world.now();
        world.set_links(viewer, good().loss(1.0), good().loss(1.0));
        world.run(Duration::from_secs(27));
        assert_eq!(world.rooms.stats().participants, 2);
        world.run(Duration::from_secs(8));
        assert_eq!(world.rooms.stats().participants, 1, "the participant has left");
        let when = |world: &World, what: &dyn Fn(&Event) -> bool| {
            let found = world.events.iter().find(|(_, event)| what(event));
            found.map(|(at, _)| at.since(lost_at)).unwrap()
        };
        let told = when(&world, &|event| matches!(event, Event::TransportDisconnected { .. }));
        let ended = when(&world, &|event| {
            matches!(event, Event::TransportClosed { reason: CloseReason::ConsentExpired, .. })
        });
        // Counted from the last check, which was up to an interval before the loss.
        assert!(told <= Duration::from_secs(10) && told + CONSENT_INTERVAL >= Duration::from_secs(10));
        assert!(ended <= Duration::from_secs(30) && ended + CONSENT_INTERVAL >= Duration::from_secs(30));
        assert_eq!(world.state(viewer), ClientState::Closed("consent_expired".into()));
        let told = world.told(source);
        let at = |kind: &str| told.iter().rposition(|told| told == kind).unwrap();
        assert!(at("participant_state") < at("participant_left"), "reconnecting, then left: {told:?}");
    }
}

#[test]
fn a_network_that_returns_within_thirty_seconds_goes_on() {
    for seed in 0..4 {
        let (mut world, _, viewer) = World::call(seed, publisher("r"));
        world.set_links(viewer, good().loss(1.0), good().loss(1.0));
        world.run(Duration::from_secs(20));
        world.set_links(viewer, good(), good());
        world.run(Duration::from_secs(6));
        let recovered = |event: &Event| matches!(event, Event::TransportRecovered { .. });
        assert_eq!(world.events.iter().filter(|(_, event)| recovered(event)).count(), 1);
        let decoded = world.video(viewer).decoded;
        world.run(Duration::from_secs(2));
        assert!(world.video(viewer).decoded >= decoded + 58, "seed {seed}");
        assert_continuous(&world.video(viewer));
    }
}

#[test]
fn an_ice_restart_is_not_seen() {
    for seed in 0..8 {
        let (mut world, source, viewer) = World::call(seed, publisher("r"));
        for _ in 0..3 {
            for who in [viewer, source] {
                let now = world.net_now();
                world.client(who).restart_ice(now);
                world.run(Duration::from_secs(2));
            }
        }
        let video = world.video(viewer);
        assert!(video.longest_gap <= Duration::from_millis(100), "seed {seed}: {video:?}");
        assert_eq!((video.undecodable, video.missing, video.broken), (0, 0, 0));
        assert!(world.stats(viewer).errors.is_empty() && world.stats(source).errors.is_empty());
        assert_eq!(world.state(viewer), ClientState::Connected);
        let load = world.sfu.load();
        assert_eq!((load.transports, load.remotes), (2, 2));
        assert!(load.ufrags <= 4, "{load:?}");
        assert!(world.stream(viewer, Kind::Audio).unwrap().audio.gaps == 0);
    }
}

#[test]
fn an_ice_restart_moves_a_laptop_to_another_network() {
    for seed in 0..8 {
        let (mut world, _, viewer) = World::call(seed, publisher("r"));
        rebind(&mut world, viewer);
        let now = world.net_now();
        world.client(viewer).restart_ice(now);
        world.run(Duration::from_secs(2));
        assert!(world.net.counters().no_destination > 0, "something was on its way to the old address");
        let video = world.video(viewer);
        // A round trip for the check and one for the repair.
        assert!(video.longest_gap <= Duration::from_millis(150), "seed {seed}: {video:?}");
        assert_eq!((video.undecodable, video.missing, video.broken), (0, 0, 0), "seed {seed}: {video:?}");
        assert_continuous(&video);
    }
}
