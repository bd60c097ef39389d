//! Our DTLS adapter against the libraries as peers, in one process on a virtual clock: every library that
//! may answer, both roles, lost flights, loss, and peers that are not who they claim to be.

// The libraries speak `Instant`, and real programs take real time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sfu_core::transport::handshake::{DtlsRole, FingerprintAlgorithm, HandshakeError, SrtpProfile};
use sfu_core::unit::Time;
use support::link::{DELAY, Direction, Link};
use support::peer::Kind;
use support::srtp;

const TEN_SECONDS: Time = Time::from_millis(10_000);

/// Who can connect in which of our roles: an RSA certificate only as a client (ADR 1).
fn pairs() -> Vec<(DtlsRole, Kind)> {
    let mut pairs: Vec<_> = Kind::ALL.into_iter().map(|kind| (DtlsRole::Server, kind)).collect();
    pairs.extend([Kind::DimplAuto, Kind::Dimpl12, Kind::Rtc].map(|kind| (DtlsRole::Client, kind)));
    pairs
}

/// A bare `rtc-dtls` server as our peer: any record stops its retransmission timer, after which it never repeats
/// a flight, and no client can make it. Of no use where its own flights get lost.
const STUCK: (DtlsRole, Kind) = (DtlsRole::Client, Kind::Rtc);

fn link(role: DtlsRole, kind: Kind) -> Link {
    Link::new(role, |theirs, now| kind.peer(theirs, now))
}

#[test]
fn every_peer_connects_in_both_roles_and_srtp_passes() {
    for (role, kind) in pairs() {
        let mut link = link(role, kind);
        link.run(TEN_SECONDS, |_| false);
        assert_eq!(link.failure, None, "{role:?} {kind:?}");
        let at = link.connected_at.unwrap_or_else(|| panic!("{role:?} {kind:?} did not connect"));
        let (ours, theirs) = (link.our_keys.as_ref().unwrap(), link.peer.keys().unwrap());
        assert!(srtp::agree(ours, theirs), "{role:?} {kind:?}");
        assert_eq!(ours.profile != SrtpProfile::Aes128CmSha1_80, kind != Kind::RtcRsa, "{role:?} {kind:?}");
        println!("{role:?} {kind:?}: {:?} after {} ms", ours.profile, at.as_millis());
    }
}

#[test]
fn application_data_passes_both_ways_and_close_is_seen() {
    for (role, kind) in pairs() {
        let mut link = link(role, kind);
        link.run(TEN_SECONDS, |_| false);
        let soon = link.now + Duration::from_secs(1);
        link.run_on(soon);
        link.us.send_application_data(link.now, b"from us");
        let instant = link.base + Duration::from_nanos(link.now.0);
        link.peer.send(instant, b"from them");
        let later = link.now + Duration::from_secs(1);
        link.run_on(later);
        assert_eq!(link.received, [b"from them".to_vec()], "{role:?} {kind:?}");
        assert_eq!(link.peer.received(), [b"from us".to_vec()], "{role:?} {kind:?}");
        link.us.close(link.now);
        let mut sent = 0;
        while let Some(event) = link.us.poll() {
            sent += usize::from(matches!(event, sfu_core::transport::handshake::HandshakeEvent::Transmit(_)));
        }
        assert_eq!(sent, 1, "{role:?} {kind:?}: close_notify");
    }
}

#[test]
fn a_lost_flight_is_repaired_within_200_ms() {
    for (role, kind) in pairs() {
        let mut undisturbed = link(role, kind);
        undisturbed.run(TEN_SECONDS, |_| false);
        let usual = undisturbed.connected_at.unwrap();
        for direction in [Direction::FromUs, Direction::ToUs] {
            if direction == Direction::ToUs && (role, kind) == STUCK {
                continue;
            }
            for flight in 0..4 {
                let mut link = link(role, kind);
                let mut lost = 0;
                link.run(TEN_SECONDS, |departure| {
                    let lose = departure.direction == direction && departure.flight == flight;
                    lost += usize::from(lose);
                    lose
                });
                if lost == 0 {
                    continue;
                }
                let name = format!("{role:?} {kind:?}, {direction:?} flight {flight}");
                let at = link.connected_at.unwrap_or_else(|| panic!("{name}: not repaired"));
                let delay = at.since(usual);
                println!("{name}: {} ms later", delay.as_millis());
                assert!(delay <= Duration::from_millis(200), "{name}: {delay:?}");
            }
        }
    }
}

#[test]
fn sixty_of_sixty_connect_at_ten_percent_loss() {
    for (role, kind) in pairs().into_iter().filter(|pair| *pair != STUCK) {
        let mut times = Vec::new();
        for seed in 0..60 {
            let mut random = StdRng::seed_from_u64(seed);
            let mut link = link(role, kind);
            link.run(Time::from_millis(30_000), |_| random.random_bool(0.1));
            let at = link.connected_at.unwrap_or_else(|| panic!("{role:?} {kind:?} seed {seed}"));
            times.push(at.as_millis());
        }
        times.sort_unstable();
        println!("{role:?} {kind:?}: median {} ms, worst {} ms", times[30], times[59]);
    }
}

#[test]
fn another_certificate_than_the_declared_one_gets_no_keys() {
    for (role, kind) in pairs() {
        let base = Instant::now();
        let theirs = if role == DtlsRole::Server { DtlsRole::Client } else { DtlsRole::Server };
        let peer = kind.peer(theirs, base);
        let mut declared = peer.fingerprint();
        declared.digest[31] ^= 1;
        let mut link = Link::with_fingerprint(role, peer, &declared, base);
        link.run(TEN_SECONDS, |_| false);
        assert_eq!(link.failure, Some(HandshakeError::FingerprintMismatch), "{role:?} {kind:?}");
        assert!(link.our_keys.is_none());
        assert_eq!(link.us.next_timeout(), None);
    }
}

#[test]
fn fingerprints_of_all_three_hashes_are_understood() {
    for algorithm in [FingerprintAlgorithm::Sha384, FingerprintAlgorithm::Sha512] {
        let base = Instant::now();
        let peer = support::peer::DimplPeer::new(Kind::DimplAuto, DtlsRole::Client, base);
        let declared = peer.fingerprint_by(algorithm);
        let mut link = Link::with_fingerprint(DtlsRole::Server, Box::new(peer), &declared, base);
        link.run(TEN_SECONDS, |_| false);
        assert!(link.connected_at.is_some(), "{algorithm:?}");
    }
}

#[test]
fn a_silent_peer_times_out() {
    let mut link = link(DtlsRole::Client, Kind::DimplAuto);
    link.run(Time::from_millis(60_000), |departure| departure.direction == Direction::ToUs);
    assert_eq!(link.failure, Some(HandshakeError::TimedOut));
    assert!(link.now <= Time::from_millis(15_000) + DELAY, "{:?}", link.now);
    // And one that stops half way.
    let mut link = self::link(DtlsRole::Server, Kind::Rtc);
    link.run(Time::from_millis(60_000), |departure| {
        departure.direction == Direction::ToUs && departure.flight > 0
    });
    assert_eq!(link.failure, Some(HandshakeError::TimedOut));
    assert!(link.now <= Time::from_millis(15_000) + DELAY * 2, "{:?}", link.now);
}

/// `cargo test --release -p sfu-core --test dtls_handshake -- --ignored --nocapture cpu`
#[test]
#[ignore = "a measurement"]
fn cpu_per_handshake() {
    for (role, kind) in pairs() {
        let mut times: Vec<Duration> = (0..300)
            .map(|_| {
                let mut link = link(role, kind);
                link.run(TEN_SECONDS, |_| false);
                assert!(link.connected_at.is_some());
                link.cpu
            })
            .collect();
        times.sort_unstable();
        println!("{role:?} {kind:?}: median {:?}, p95 {:?}", times[150], times[285]);
    }
}
