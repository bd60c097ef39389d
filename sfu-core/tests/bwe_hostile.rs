//! Lies, noise and silence as feedback into the estimator: it stays within its bounds, finite and small, and what a
//! receiver claims raises it to no more than about what was really sent.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sfu_core::bwe::{BweConfig, Estimator, SentPacket};
use sfu_core::unit::{Bitrate, ExtSeq, SeqNo, Ssrc, Time};
use sfu_core::wire::rtcp::{RtcpPacket, packets, write};

const CONFIG: BweConfig =
    BweConfig { start: Bitrate(300_000), min: Bitrate(30_000), max: Bitrate(20_000_000) };

fn send(estimator: &mut Estimator, now: Time, n: u64, size: usize) {
    let packet = SentPacket { size, ssrc: Ssrc(n as u32 % 5), seq: SeqNo((n / 5) as u16), probe: None };
    estimator.sent(now, &packet);
}

fn check(estimator: &Estimator) {
    let estimate = estimator.estimate();
    assert!((CONFIG.min..=CONFIG.max).contains(&estimate.bitrate), "{estimate:?}");
    assert!(estimate.loss.is_finite() && (0.0..=1.0).contains(&estimate.loss), "{estimate:?}");
    assert!(estimator.memory() <= 40_000, "{}", estimator.memory());
}

fn hear(estimator: &mut Estimator, now: Time, compound: &[u8]) {
    for packet in packets(compound).map_while(Result::ok) {
        match packet {
            RtcpPacket::TransportCc(feedback) => estimator.transport_cc(now, &feedback),
            RtcpPacket::CongestionFeedback(feedback) => estimator.congestion_feedback(now, &feedback),
            RtcpPacket::Remb { bitrate, .. } => estimator.remb(bitrate),
            _ => {}
        }
    }
}

/// A feedback packet of this type with random contents behind its header.
fn noise(rng: &mut StdRng, first: u8) -> Vec<u8> {
    let words = rng.random_range(2..280u16);
    let mut bytes = vec![0; 4 * (usize::from(words) + 1)];
    rng.fill(bytes.as_mut_slice());
    bytes[..2].copy_from_slice(&[first, 205]);
    bytes[2..4].copy_from_slice(&words.to_be_bytes());
    bytes
}

#[test]
fn random_operations_keep_it_finite_and_within_bounds() {
    for seed in 0..16 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut estimator = Estimator::new(CONFIG);
        let (mut now, mut sent) = (Time::ZERO, 0u64);
        let mut heard = 0;
        for _ in 0..20_000 {
            match rng.random_range(0..12) {
                0..6 => {
                    sent += 1;
                    send(&mut estimator, now, sent, rng.random_range(0..3_000));
                }
                6 => hear(&mut estimator, now, &noise(&mut rng, 0x8f)),
                7 => hear(&mut estimator, now, &noise(&mut rng, 0x8b)),
                8 => {
                    // Well-formed, about real and other numbers, at times of the receiver's choice.
                    let base = ExtSeq(sent.saturating_sub(rng.random_range(0..300)));
                    let start = Time(rng.random_range(0..1u64 << 45));
                    let arrivals: Vec<_> = (0..rng.random_range(1..200))
                        .map(|n| {
                            (base.plus(n), start + Duration::from_micros(rng.random_range(0..20_000_000)))
                        })
                        .collect();
                    let mut out = Vec::new();
                    if write::transport_cc(&mut out, Ssrc(1), Ssrc(2), 0, base, &arrivals) > 0 {
                        hear(&mut estimator, now, &out);
                        hear(&mut estimator, now, &out);
                        heard += 1;
                    }
                }
                9 => now += Duration::from_micros(rng.random_range(0..50_000)),
                10 if rng.random_bool(0.01) => now += Duration::from_secs(rng.random_range(1..100_000)),
                10 if rng.random_bool(0.01) => estimator.route_changed(now),
                10 => estimator.remb(Bitrate(rng.random())),
                _ => estimator.handle_timeout(now),
            }
            while estimator.poll_probe().is_some() {}
            check(&estimator);
        }
        assert!(heard > 1_000, "seed {seed}: {heard}");
    }
}

/// 200 kbit/s are sent; the receiver claims that all of it came at once, again and again.
#[test]
fn a_receiver_that_claims_a_fast_link_gets_little_more_than_was_sent() {
    let mut estimator = Estimator::new(CONFIG);
    let (mut now, mut remote) = (Time::ZERO, Time::from_millis(1_000));
    let mut reported = 0;
    for n in 1..=6_000u64 {
        now += Duration::from_millis(40);
        send(&mut estimator, now, n, 1_000);
        if n.is_multiple_of(10) {
            let arrivals: Vec<_> = (reported + 1..=n)
                .map(|seq| {
                    remote += Duration::from_micros(250);
                    (ExtSeq(seq), remote)
                })
                .collect();
            reported = n;
            remote += Duration::from_millis(1);
            let mut out = Vec::new();
            write::transport_cc(&mut out, Ssrc(1), Ssrc(2), 0, arrivals[0].0, &arrivals);
            hear(&mut estimator, now, &out);
        }
        check(&estimator);
    }
    assert!(estimator.bitrate() <= Bitrate(600_000), "{:?}", estimator.estimate());
}

#[test]
fn feedback_about_what_was_never_sent_or_long_ago_changes_nothing() {
    let mut estimator = Estimator::new(CONFIG);
    for n in 1..100 {
        send(&mut estimator, Time::from_millis(n * 10), n, 1_000);
    }
    let before = estimator.estimate();
    let now = Time::from_millis(20_000);
    for base in [100, 200, 40_000, 65_000] {
        let arrivals: Vec<_> = (0..100).map(|n| (ExtSeq(base + n), Time::from_millis(n))).collect();
        let mut out = Vec::new();
        write::transport_cc(&mut out, Ssrc(1), Ssrc(2), 0, ExtSeq(base), &arrivals);
        hear(&mut estimator, now, &out);
    }
    assert_eq!(estimator.estimate(), before);
}

/// RFC 8888 names the same packets by stream and number, and leads to the same estimate.
#[test]
fn both_kinds_of_feedback_say_the_same() {
    let mut both = [Estimator::new(CONFIG), Estimator::new(CONFIG)];
    let mut now = Time::ZERO;
    for report in 0..200u64 {
        let (first, mut arrivals) = (report * 10, Vec::new());
        for n in first..first + 10 {
            now += Duration::from_millis(5);
            both.iter_mut().for_each(|estimator| send(estimator, now, n, 1_200));
            arrivals.push((n, Time::from_millis(1_000 + n * 5 + n * 7 % 4)));
        }
        let twcc: Vec<_> = arrivals.iter().map(|(n, at)| (ExtSeq(n + 1), *at)).collect();
        let mut out = Vec::new();
        write::transport_cc(&mut out, Ssrc(1), Ssrc(2), report as u8, twcc[0].0, &twcc);
        hear(&mut both[0], now, &out);
        hear(&mut both[1], now, &congestion_feedback(&arrivals));
    }
    let [twcc, ccfb] = both.map(|estimator| estimator.estimate());
    assert!(twcc.acked.unwrap().0.abs_diff(1_920_000) < 100_000, "{twcc:?}");
    let apart = twcc.bitrate.0.abs_diff(ccfb.bitrate.0) as f64 / twcc.bitrate.0 as f64;
    assert!(apart < 0.05, "{twcc:?} {ccfb:?}");
}

/// A report on these packets of [`send`]'s five streams, written when the last of them came.
fn congestion_feedback(arrivals: &[(u64, Time)]) -> Vec<u8> {
    let last = arrivals.last().unwrap().1;
    let mut body = vec![0, 0, 0, 1];
    for ssrc in 0..5u64 {
        let of: Vec<_> = arrivals.iter().filter(|(n, _)| n % 5 == ssrc).collect();
        body.extend((ssrc as u32).to_be_bytes());
        body.extend(((of[0].0 / 5) as u16).to_be_bytes());
        body.extend((of.len() as u16).to_be_bytes());
        for (_, at) in &of {
            let offset = last.since(*at).as_micros() as u64 * 1_024 / 1_000_000;
            body.extend((0x8000 | offset as u16).to_be_bytes());
        }
        body.resize(body.len().next_multiple_of(4), 0);
    }
    body.extend(((last.as_micros() * 65_536 / 1_000_000) as u32).to_be_bytes());
    let words = (body.len() / 4) as u16;
    [&[0x8b, 205][..], &words.to_be_bytes(), &body].concat()
}
