//! Arbitrary bytes where SDP and JSON are expected: no panic, and no effect unless they are accepted.

// The one test that measures needs a clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use sfu_core::transport::handshake::{Fingerprint, FingerprintAlgorithm};
use sfu_core::unit::{Kind, ParticipantId, TrackId, WorkerId};
use signaling::negotiate::{LocalTransport, Negotiation, UfragPrefix};
use signaling::slots::{Group, Wanted};
use signaling::{NodeId, parse_client_message, sdp};

const FIXTURES: [&str; 6] = [
    include_str!("fixtures/chromium_simulcast.sdp"),
    include_str!("fixtures/chromium_sendrecv.sdp"),
    include_str!("fixtures/chromium_recvonly.sdp"),
    include_str!("fixtures/firefox_simulcast.sdp"),
    include_str!("fixtures/firefox_sendrecv.sdp"),
    include_str!("fixtures/firefox_recvonly.sdp"),
];

const TOKENS: [&str; 24] = [
    "a=mid:1",
    "a=mid:",
    "a=mid:s0",
    "m=video 9 UDP/TLS/RTP/SAVPF 96",
    "m=audio 0 X 0",
    "a=sendrecv",
    "a=inactive",
    "a=simulcast:send ;;,~",
    "a=rid: send",
    "a=ssrc-group:SIM 1 1 1",
    "a=ssrc-group:FID 1",
    "a=ssrc:99999999999",
    "a=extmap:0/ x",
    "a=extmap:999 y",
    "a=rtpmap:300 VP8/90000",
    "a=rtpmap:96 VP8",
    "a=fmtp:97 apt=999",
    "a=group:BUNDLE",
    "a=fingerprint:sha-256 :::",
    "a=setup:holdconn",
    "=",
    "\u{0}",
    "é=ü",
    "t=1d 2h",
];

fn negotiation() -> (Negotiation, StdRng) {
    let mut rng = StdRng::from_seed([3; 32]);
    let local = LocalTransport {
        fingerprint: Fingerprint { algorithm: FingerprintAlgorithm::Sha256, digest: vec![0xab; 32] },
        candidates: vec!["192.0.2.1:7882".parse().unwrap()],
        ufrag_prefix: UfragPrefix::new(NodeId::new("n0de").unwrap(), WorkerId(0)),
        codecs: signaling::CodecPolicy::default(),
    };
    (Negotiation::new(local, &mut rng), rng)
}

/// A few lines moved, doubled, dropped or replaced, a few bytes changed.
fn mutate(text: &str, rng: &mut StdRng) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..rng.random_range(0..6) {
        let (at, other) = (rng.random_range(0..lines.len()), rng.random_range(0..lines.len()));
        match rng.random_range(0..5) {
            0 => lines.swap(at, other),
            1 => lines.insert(at, lines[other].clone()),
            2 if lines.len() > 1 => drop(lines.remove(at)),
            3 => lines[at] = (*TOKENS.choose(rng).unwrap()).to_owned(),
            _ => {
                let mut bytes = lines[at].clone().into_bytes();
                if !bytes.is_empty() {
                    let place = rng.random_range(0..bytes.len());
                    bytes[place] = rng.random();
                }
                lines[at] = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
    }
    let end = if rng.random_bool(0.5) { "\r\n" } else { "\n" };
    lines.join(end) + end
}

#[test]
fn mutated_sdp_never_panics_and_a_refused_one_changes_nothing() {
    let mut rng = StdRng::seed_from_u64(1);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..400 {
        let (mut negotiation, mut own_rng) = negotiation();
        for step in 0..8u64 {
            let text = mutate(FIXTURES.choose(&mut rng).unwrap(), &mut rng);
            let before = format!("{negotiation:?}");
            let ok = if let Some((id, sdp)) =
                negotiation.outstanding().map(|offer| (offer.id, offer.sdp.clone()))
            {
                negotiation.receive_answer(id, &mutate(&sdp.replace("actpass", "active"), &mut rng)).is_ok()
            } else {
                negotiation.receive_offer(&text, &mut own_rng).is_ok()
            };
            if ok {
                accepted += 1;
                // What we make of it is something that we could read ourselves.
                let group = Group { participant: ParticipantId(step), screen: round % 2 == 0 };
                let kind = if step % 2 == 0 { Kind::Audio } else { Kind::Video };
                negotiation.slots.assign(&[Wanted { track: TrackId(step), kind, group }], &mut own_rng);
                if negotiation.wants_offer() {
                    sdp::parse(&negotiation.make_offer().sdp, 1 << 20, 100).unwrap();
                }
            } else {
                refused += 1;
                assert_eq!(format!("{negotiation:?}"), before);
            }
        }
    }
    assert!(accepted > 200 && refused > 200, "{accepted} accepted, {refused} refused");
}

#[test]
fn random_bytes_are_no_sdp_and_no_message() {
    let mut rng = StdRng::seed_from_u64(2);
    for _ in 0..5_000 {
        let bytes: Vec<u8> = (0..rng.random_range(0..200)).map(|_| rng.random()).collect();
        let text = String::from_utf8_lossy(&bytes);
        assert!(sdp::parse(&text, 1_000_000, 64).is_err() || text.starts_with("v="));
        assert!(parse_client_message(&text).is_err());
    }
}

#[test]
fn the_work_grows_with_the_length_of_the_sdp_only() {
    let base = FIXTURES[0].replace("\r\n", "\n");
    for line in [
        "a=rtpmap:96 VP8/90000\n",
        "a=rtcp-fb:* nack\n",
        "a=ssrc:1 cname:x\n",
        "a=ssrc-group:FID 1 2\n",
        "a=extmap:1 u\n",
        "a=rid:q send\n",
        "a=fingerprint:sha-256 00\n",
        "a=x\n",
    ] {
        let filler = line.repeat((64 * 1_024 - base.len()) / line.len());
        let text = format!("{base}{filler}");
        let (mut negotiation, mut rng) = negotiation();
        let start = Instant::now();
        let _ = negotiation.receive_offer(&text, &mut rng);
        assert!(start.elapsed() < Duration::from_millis(500), "{line:?} took {:?}", start.elapsed());
    }
}
