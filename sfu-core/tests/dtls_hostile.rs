//! What a hostile peer can send before it has shown who it is: fragments of every wrong kind, floods, noise,
//! and altered handshakes. Bounded CPU, no panic, no keys.

// The libraries speak `Instant`, and real programs take real time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use sfu_core::transport::dtls::{DtlsFactory, DtlsIdentity};
use sfu_core::transport::handshake::{DtlsRole, Handshake, HandshakeError, HandshakeEvent, HandshakeFactory};
use sfu_core::unit::Time;
use support::link::{Direction, Link};
use support::peer::{Kind, Peer, RtcPeer};

/// For a whole attack, in a debug build on a busy machine; measured: 0.1 to 51 ms.
const CPU_BOUND: Duration = Duration::from_millis(2_000);

fn server() -> Box<dyn Handshake> {
    let factory = DtlsFactory::new(DtlsIdentity::generate().unwrap(), Instant::now()).unwrap();
    let peer = DtlsIdentity::generate().unwrap();
    factory.create(Time::ZERO, DtlsRole::Server, &[peer.fingerprint().clone()])
}

fn failure(handshake: &mut dyn Handshake) -> Option<HandshakeError> {
    std::iter::from_fn(|| handshake.poll()).find_map(|event| match event {
        HandshakeEvent::Failed(error) => Some(error),
        HandshakeEvent::Connected(_) => panic!("connected"),
        _ => None,
    })
}

fn record(seq: u64, body: &[u8]) -> Vec<u8> {
    let mut out = vec![22, 0xfe, 0xfd, 0, 0];
    out.extend_from_slice(&seq.to_be_bytes()[2..]);
    out.extend_from_slice(&(body.len() as u16).to_be_bytes());
    out.extend_from_slice(body);
    out
}

fn fragment(kind: u8, length: u32, message_seq: u16, offset: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&message_seq.to_be_bytes());
    out.extend_from_slice(&offset.to_be_bytes()[1..]);
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(bytes);
    out
}

/// The first datagram of a real client: one whole ClientHello.
fn client_hello(kind: Kind) -> Vec<u8> {
    let now = Instant::now();
    let mut peer = kind.peer(DtlsRole::Client, now);
    peer.start(now);
    peer.transmits().remove(0)
}

/// Sends every datagram, all at one time, and says how the association ended.
fn attack(datagrams: impl Iterator<Item = Vec<u8>>) -> (Option<HandshakeError>, Duration) {
    let mut server = server();
    let before = Instant::now();
    for datagram in datagrams {
        server.receive(Time::ZERO, &datagram);
    }
    let took = before.elapsed();
    println!("attack over after {took:?}");
    (failure(server.as_mut()), took)
}

fn is_peer_fault(error: &Option<HandshakeError>) -> bool {
    matches!(error, Some(HandshakeError::PeerFault(_)))
}

#[test]
fn a_client_hello_in_one_byte_fragments_is_capped() {
    let hello = client_hello(Kind::DimplAuto);
    let body = hello[13 + 12..].to_vec();
    // As many as fit into a datagram of 1,400 bytes.
    let pieces: Vec<Vec<u8>> = body
        .iter()
        .enumerate()
        .map(|(at, byte)| fragment(1, body.len() as u32, 0, at as u32, &[*byte]))
        .collect();
    let datagrams: Vec<_> =
        pieces.chunks(100).enumerate().map(|(seq, some)| record(seq as u64, &some.concat())).collect();
    let (error, took) = attack(datagrams.into_iter().cycle().take(75));
    assert!(is_peer_fault(&error), "{error:?}");
    assert!(took < CPU_BOUND, "{took:?}");
}

#[test]
fn forty_thousand_fragments_are_capped() {
    for kind in [1, 11, 16] {
        let (error, took) =
            attack((0..40_000u32).map(|i| {
                record(u64::from(i), &fragment(kind, 16_000, (i % 8) as u16, i % 16_000, &[7; 40]))
            }));
        assert!(is_peer_fault(&error), "{error:?}");
        assert!(took < CPU_BOUND, "{took:?}");
    }
}

#[test]
fn a_datagram_of_64_kib_full_of_fragments_is_capped() {
    let body: Vec<u8> = (0..2_400u32).flat_map(|i| fragment(1, 2_400, 0, 2_399 - i, &[7])).collect();
    let (error, took) = attack((0..3).map(|seq| record(seq, &body)));
    assert!(is_peer_fault(&error), "{error:?}");
    assert!(took < CPU_BOUND, "{took:?}");
}

#[test]
fn lengths_that_lie_are_ignored_and_the_honest_hello_is_answered() {
    let hello = client_hello(Kind::DimplAuto);
    let body = hello[13 + 12..].to_vec();
    let length = body.len() as u32;
    let lies = [
        fragment(1, 0xff_ffff, 0, 0, &[0; 64]),
        fragment(1, length, 0, 0xff_fff0, &[0; 64]),
        fragment(1, length, 0, 0, &[]),
        fragment(1, length, 7, 0, &[]),
        fragment(1, 0, 9, 0, &[]),
        fragment(1, length, 0, length, &[0; 64]),
        fragment(1, length, 0xffff, 0, &[0; 64]),
        vec![1; 11],
    ];
    let mut server = server();
    for (seq, lie) in lies.iter().enumerate() {
        server.receive(Time::ZERO, &record(seq as u64, lie));
    }
    // In overlapping halves, the second one first.
    let middle = body.len() / 2;
    let second = fragment(1, length, 0, middle as u32 - 50, &body[middle - 50..]);
    let first = fragment(1, length, 0, 0, &body[..middle + 50]);
    server.receive(Time::ZERO, &record(20, &second));
    assert!(server.poll().is_none());
    server.receive(Time::ZERO, &record(21, &first));
    assert!(matches!(server.poll(), Some(HandshakeEvent::Transmit(_))));
}

#[test]
fn the_same_fragments_after_the_hello_are_capped_too() {
    for kind in [Kind::DimplAuto, Kind::RtcRsa] {
        let hello = client_hello(kind);
        let rest = (0..40_000u32).map(|i| {
            let piece = fragment(11, 8_000, 1 + (i % 4) as u16, (i * 7) % 8_000, &[7; 33]);
            record(u64::from(i) + 10, &piece)
        });
        let (error, took) = attack(std::iter::once(hello).chain(rest));
        assert!(is_peer_fault(&error), "{kind:?}: {error:?}");
        assert!(took < CPU_BOUND, "{kind:?}: {took:?}");
    }
}

#[test]
fn a_flood_of_encrypted_records_is_capped() {
    for kind in [Kind::DimplAuto, Kind::RtcRsa] {
        for first_byte in [22, 0x2e] {
            let hello = client_hello(kind);
            let rest = (0..40_000u64).map(|seq| {
                let mut datagram = record(seq, &[9; 60]);
                datagram[0] = first_byte;
                datagram[4] = 1;
                datagram
            });
            let (error, took) = attack(std::iter::once(hello).chain(rest));
            assert!(is_peer_fault(&error), "{kind:?}: {error:?}");
            assert!(took < CPU_BOUND, "{kind:?}: {took:?}");
        }
    }
}

#[test]
fn noise_neither_panics_nor_connects() {
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..2_000 {
        let mut server = server_shared();
        for _ in 0..8 {
            let mut datagram = vec![0; random.random_range(0..200)];
            random.fill_bytes(&mut datagram);
            if let Some(first) = datagram.first_mut() {
                *first = random.random_range(20..64);
            }
            server.receive(Time::ZERO, &datagram);
        }
        let error = failure(server.as_mut());
        assert!(!matches!(error, Some(HandshakeError::Internal(_))), "{error:?}");
    }
}

#[test]
fn an_altered_handshake_never_connects_wrongly_and_never_panics() {
    // One bit of one datagram of the client is flipped. Either it is repaired by a re-send, with both
    // sides holding the same keys, or the handshake fails; no library may panic.
    let mut random = StdRng::seed_from_u64(2);
    for round in 0..200 {
        let kind = Kind::ALL[round % 3];
        let mut link = Link::new(DtlsRole::Server, |theirs, now| kind.peer(theirs, now));
        let target = random.random_range(0..6);
        let bit = random.random::<u64>();
        let mut seen = 0;
        link.run_altered(Time::from_millis(5_000), |direction, datagram| {
            if direction == Direction::ToUs {
                if seen == target && !datagram.is_empty() {
                    let at = (bit as usize / 8) % datagram.len();
                    datagram[at] ^= 1 << (bit % 8);
                }
                seen += 1;
            }
        });
        if link.connected_at.is_some() {
            let (ours, theirs) = (link.our_keys.as_ref().unwrap(), link.peer.keys().unwrap());
            assert!(support::srtp::agree(ours, theirs), "round {round}");
        }
        assert!(!matches!(link.failure, Some(HandshakeError::Internal(_))), "{:?}", link.failure);
    }
}

#[test]
fn forgeries_after_connected_change_nothing() {
    for kind in Kind::ALL {
        let mut link = Link::new(DtlsRole::Server, |theirs, now| kind.peer(theirs, now));
        link.run(Time::from_millis(5_000), |_| false);
        link.run_on(link.now + Duration::from_secs(1));
        let typed = |kind: u8, epoch: u8, body: &[u8]| {
            let mut datagram = record(1 << 20, body);
            (datagram[0], datagram[4]) = (kind, epoch);
            datagram
        };
        let forgeries = [
            typed(21, 0, &[2, 40]),
            typed(21, 0, &[1, 0]),
            typed(21, 1, &[0; 26]),
            typed(20, 0, &[1]),
            typed(22, 0, &fragment(1, 60, 0, 0, &[3; 60])),
            typed(22, 0, &fragment(20, 12, 9, 0, &[3; 12])),
            typed(22, 1, &[5; 61]),
            typed(23, 0, b"plain data"),
            typed(23, 1, &[6; 80]),
            vec![0x2f; 90],
            vec![22, 0xfe],
        ];
        for forgery in &forgeries {
            link.us.receive(link.now, forgery);
        }
        let instant = link.base + Duration::from_nanos(link.now.0);
        link.peer.send(instant, b"genuine");
        link.run_on(link.now + Duration::from_secs(1));
        assert_eq!(link.failure, None, "{kind:?}");
        assert_eq!(link.received, [b"genuine".to_vec()], "{kind:?}");
    }
}

#[test]
fn a_finished_that_is_sealed_well_but_wrong_is_refused() {
    for spoil in [false, true] {
        let base = Instant::now();
        let peer = RtcPeer::with_provider(
            DtlsRole::Client,
            &rcgen::PKCS_ECDSA_P256_SHA256,
            vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm],
            support::tamper::provider(spoil),
        );
        let declared = peer.fingerprint();
        let mut link = Link::with_fingerprint(DtlsRole::Server, Box::new(peer), &declared, base);
        link.run(Time::from_millis(5_000), |_| false);
        assert_eq!(link.connected_at.is_some(), !spoil);
        assert_eq!(link.failure, spoil.then_some(HandshakeError::PeerFault("Finished")));
        assert_eq!(link.our_keys.is_some(), !spoil);
    }
}

/// Why the check exists: when this fails, `rtc-dtls` compares Finished itself and ours can go.
#[test]
fn rtc_dtls_alone_takes_a_wrong_finished() {
    let profiles = || vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm];
    let algorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
    let provider = support::tamper::provider(true);
    let mut client = RtcPeer::with_provider(DtlsRole::Client, algorithm, profiles(), provider);
    let mut server = RtcPeer::new(DtlsRole::Server, algorithm, profiles());
    let now = Instant::now();
    client.start(now);
    for _ in 0..4 {
        client.transmits().iter().for_each(|datagram| server.receive(now, datagram));
        server.transmits().iter().for_each(|datagram| client.receive(now, datagram));
    }
    assert!(server.keys().is_some());
}

fn server_shared() -> Box<dyn Handshake> {
    use std::sync::OnceLock;
    static FACTORY: OnceLock<DtlsFactory> = OnceLock::new();
    let factory =
        FACTORY.get_or_init(|| DtlsFactory::new(DtlsIdentity::generate().unwrap(), Instant::now()).unwrap());
    factory.create(Time::ZERO, DtlsRole::Server, &[])
}
