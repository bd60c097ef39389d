//! Loss, bursts, reordering and duplication on the way down and on the way up: what repair gets back, and what it
//! may not cost.

use std::time::Duration;

use loadtest::client::signal::Kind;
use loadtest::net::{GilbertElliott, Jitter, LinkConfig, LinkCounters};
use sfu_core::DropReason;

use crate::world::{Id, World, assert_continuous, complete_ratio, good, publisher, subscriber};

/// A call of one publisher and one subscriber, twenty seconds of it over these links.
struct Call {
    world: World,
    publisher: Id,
    subscriber: Id,
}

fn call(seed: u64, publisher_up: LinkConfig, subscriber_down: LinkConfig) -> Call {
    let mut world = World::new(seed);
    let publisher = world.join(publisher("r"), publisher_up, good());
    let subscriber = world.join(subscriber("r"), good(), subscriber_down);
    world.run(Duration::from_secs(20));
    Call { world, publisher, subscriber }
}

/// Loss happened as configured: within five deviations of a binomial.
fn assert_loss(link: LinkCounters, loss: f64) {
    let (offered, lost) = (link.offered as f64, link.lost_random as f64);
    assert!(lost > 0.0 && (lost - offered * loss).abs() < 5.0 * (offered * loss).sqrt(), "{link:?}");
}

/// How many frames must come whole at which loss. RTX is lost, too, and a frame has four packets.
const REPAIRED: [(f64, f64); 2] = [(0.05, 0.995), (0.20, 0.90)];

#[test]
fn nack_and_rtx_repair_a_lossy_downlink() {
    for (loss, ratio) in REPAIRED {
        for seed in 0..8 {
            let mut call = call(seed, good(), good().loss(loss));
            assert_loss(call.world.downlink(call.subscriber), loss);
            let stream = call.world.stream(call.subscriber, Kind::Video).unwrap();
            let (video, reception) = (stream.video, stream.reception);
            assert!(video.complete > 500, "loss {loss} seed {seed}: {video:?}");
            assert!(complete_ratio(&video) >= ratio, "loss {loss} seed {seed}: {video:?}");
            assert_continuous(&video);
            let repaired = reception.recovered as f64 / reception.lost() as f64;
            assert!(repaired >= ratio, "loss {loss} seed {seed}: {repaired} of {reception:?}");
            assert!(call.world.sfu.counters().rtx_sent >= reception.recovered);
        }
    }
}

#[test]
fn nack_and_rtx_repair_a_lossy_uplink() {
    for (loss, ratio) in REPAIRED {
        for seed in 0..8 {
            let mut call = call(seed, good().loss(loss), good());
            assert_loss(call.world.uplink(call.publisher), loss);
            let video = call.world.video(call.subscriber);
            assert!(video.complete > 500, "loss {loss} seed {seed}: {video:?}");
            assert!(complete_ratio(&video) >= ratio, "loss {loss} seed {seed}: {video:?}");
            assert_continuous(&video);
            let counters = call.world.sfu.counters();
            assert!(counters.nacks_sent > 0 && counters.rtx_received > 0, "{counters:?}");
        }
    }
}

#[test]
fn bursts_are_repaired() {
    for seed in 0..8 {
        let bursts = || LinkConfig { burst_loss: Some(GilbertElliott::average(0.03, 5.0)), ..good() };
        let mut call = call(seed, bursts(), bursts());
        let (up, down) = (call.world.uplink(call.publisher), call.world.downlink(call.subscriber));
        assert!(up.lost_burst > 20 && down.lost_burst > 20, "seed {seed}: {up:?} {down:?}");
        let video = call.world.video(call.subscriber);
        assert!(complete_ratio(&video) >= 0.99, "seed {seed}: {video:?}");
        assert!(video.decoded > 540, "seed {seed}: {video:?}");
        assert_continuous(&video);
    }
}

/// 5 % of the datagrams come up to 50 ms late, 5 % come twice.
fn disorder() -> LinkConfig {
    LinkConfig { reorder: 0.05, reorder_by: Duration::from_millis(50), duplicate: 0.05, ..good() }
}

#[test]
fn reordering_and_duplication_on_the_uplink_cost_no_keyframe_and_nothing_goes_out_twice() {
    for seed in 0..8 {
        let mut call = call(seed, disorder(), good());
        let link = call.world.uplink(call.publisher);
        assert!(link.reordered > 50 && link.duplicated > 50, "seed {seed}: {link:?}");
        let video = call.world.video(call.subscriber);
        assert_eq!((video.broken, video.missing, video.undecodable), (0, 0, 0), "seed {seed}: {video:?}");
        assert!(video.decoded > 560, "seed {seed}: {video:?}");
        assert_continuous(&video);
        // The one that lets the subscriber in.
        assert_eq!(call.world.sfu.counters().keyframe_requests_sent, 1, "seed {seed}");
        assert!(call.world.sfu.counters().dropped(DropReason::SrtpReplayed) > 50);
        let stats = call.world.stats(call.subscriber);
        assert_eq!(stats.transport.srtp.repeats, 0, "seed {seed}: the server repeated a packet");
        let reception = call.world.stream(call.subscriber, Kind::Video).unwrap().reception;
        assert_eq!(reception.duplicates, reception.rtx_packets, "seed {seed}: {reception:?}");
    }
}

#[test]
fn reordering_and_duplication_on_the_downlink_cost_no_keyframe() {
    for seed in 0..8 {
        // From the second second on: the client's decoder begins with whichever frame comes first.
        let (mut world, publisher, subscriber) = World::call(seed, publisher("r"));
        world.set_links(subscriber, good(), disorder());
        world.run(Duration::from_secs(18));
        let mut call = Call { world, publisher, subscriber };
        let link = call.world.downlink(call.subscriber);
        assert!(link.reordered > 50 && link.duplicated > 50, "seed {seed}: {link:?}");
        let video = call.world.video(call.subscriber);
        assert_eq!((video.broken, video.missing, video.undecodable), (0, 0, 0), "seed {seed}: {video:?}");
        assert_continuous(&video);
        assert_eq!(call.world.sfu.counters().keyframe_requests_sent, 1, "seed {seed}");
        assert!(call.world.stats(call.subscriber).transport.srtp.repeats > 50, "duplicates arrived");
    }
}

#[test]
fn everything_at_once_is_survived() {
    for seed in 0..8 {
        let rough = || LinkConfig {
            jitter: Jitter::Uniform(Duration::from_millis(15)),
            burst_loss: Some(GilbertElliott::average(0.01, 3.0)),
            reorder: 0.02,
            reorder_by: Duration::from_millis(20),
            duplicate: 0.02,
            corrupt: 0.01,
            ..good().loss(0.02)
        };
        let mut call = call(seed, rough(), LinkConfig { corrupt: 0.0, ..rough() });
        let (up, down) = (call.world.uplink(call.publisher), call.world.downlink(call.subscriber));
        for link in [up, down] {
            let faults = [link.lost_random, link.lost_burst, link.reordered, link.duplicated];
            assert!(faults.into_iter().all(|count| count > 10), "seed {seed}: {link:?}");
        }
        let counters = call.world.sfu.counters();
        let damaged = [DropReason::SrtpAuthFailed, DropReason::RtpMalformed, DropReason::UnknownClass]
            .map(|reason| counters.dropped(reason));
        assert!(up.corrupted > 20 && damaged.iter().sum::<u64>() > 10, "seed {seed}: {up:?} {damaged:?}");
        let video = call.world.video(call.subscriber);
        assert!(complete_ratio(&video) >= 0.98 && video.decoded > 500, "seed {seed}: {video:?}");
        assert_continuous(&video);
    }
}
