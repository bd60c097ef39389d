//! An authenticated peer that sends any SCTP at all: random chunks under a good checksum, and packets of a real
//! association, mutated. The engine doesn't panic, the library behind it neither, and nothing grows without a bound.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod data;
mod engine;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rtc_datachannel::message::message_channel_open::ChannelType as Wire;
use rtc_sctp::PayloadProtocolIdentifier as Ppid;
use sfu_core::event::{DataCloseReason, Event};
use sfu_core::transport::handshake::DtlsRole;
use sfu_core::wire::sctp::{Chunk, Chunks};
use sfu_core::{Counters, DropReason};

use data::{TRANSPORT, World, text};

/// Chunk types of RFC 9260, 3758, 6525 and 8260, and one that nobody knows.
const TYPES: [u8; 20] = [0, 0, 0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 130, 130, 192, 77];

/// What one attacked transport may make wait for the next release.
const QUEUED_MAX: usize = 4_096;

/// CRC32c, bit by bit (RFC 9260 appendix A), over a packet whose checksum field counts as zero.
fn seal(packet: &mut [u8]) {
    if packet.len() < 12 {
        return;
    }
    packet[8..12].fill(0);
    let mut crc = u32::MAX;
    for byte in packet.iter() {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(crc & 1));
        }
    }
    packet[8..12].copy_from_slice(&(!crc).to_le_bytes());
}

/// A world with a channel in use, so that every kind of chunk has been seen.
fn busy_world(seed: u64) -> World {
    let mut world = World::connected(seed);
    world.loss = 10;
    world.open(2, Some("a"), Wire::Reliable, 0);
    world.open(4, Some("b"), Wire::PartialReliableRexmitUnordered, 0);
    world.until("both are open", |world| world.peer.acked.len() == 2);
    for index in 0..30 {
        world.say(2, Ppid::String, "m".repeat(index * 97).as_bytes());
        world.say(4, Ppid::Binary, &[index as u8; 300]);
        world.send(text("a", "n".repeat(index * 53)));
        world.run(Duration::from_millis(20));
    }
    world.hang_up(4);
    world.run(Duration::from_secs(3));
    world.loss = 0;
    world
}

fn check(world: &World, seed: u64) {
    let internal = Event::DataClosed { transport: TRANSPORT, reason: DataCloseReason::Internal };
    assert!(!world.events.contains(&internal), "seed {seed}: the library panicked");
    let load = world.sfu.load();
    assert!(load.queued <= QUEUED_MAX, "seed {seed}: {load:?}");
}

fn random_packet(rng: &mut StdRng, like: &[u8]) -> Vec<u8> {
    let mut packet = like.get(..12).unwrap_or(&[0; 12]).to_vec();
    for _ in 0..rng.random_range(1..6) {
        let len = if rng.random_bool(0.1) { rng.random_range(0..1_200) } else { rng.random_range(0..60) };
        let claimed = if rng.random_bool(0.1) { rng.random() } else { len as u16 + 4 };
        packet.extend([TYPES[rng.random_range(0..TYPES.len())], rng.random()]);
        packet.extend(claimed.to_be_bytes());
        packet.extend((0..len).map(|_| if rng.random_bool(0.5) { 0 } else { rng.random::<u8>() }));
        packet.resize(packet.len().next_multiple_of(4), 0);
    }
    packet
}

fn mutate(rng: &mut StdRng, packet: &mut Vec<u8>) {
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..packet.len());
        match rng.random_range(0..6) {
            0 => packet[at] ^= 1 << rng.random_range(0..8),
            1 => packet[at] = [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)],
            2 => packet.truncate(at.max(13)),
            3 => packet.insert(at, rng.random()),
            4 => packet.extend_from_within(12..),
            _ => {
                let from = rng.random_range(0..packet.len());
                let len = rng.random_range(0..16).min(packet.len() - at.max(from));
                packet.copy_within(from..from + len, at);
            }
        }
    }
}

#[test]
fn random_chunks_before_and_after_the_association_stands() {
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world =
            if seed % 2 == 0 { World::connected(seed) } else { World::new(seed, DtlsRole::Server) };
        let like = world.sent.last().cloned().unwrap_or_else(|| vec![0x13, 0x88, 0x13, 0x88, 0, 0, 0, 0]);
        for _ in 0..400 {
            let mut packet = random_packet(&mut rng, &like);
            seal(&mut packet);
            world.inject(&packet);
            if rng.random_bool(0.2) {
                world.run(Duration::from_millis(rng.random_range(1..30)));
            }
        }
        check(&world, seed);
    }
}

#[test]
fn mutated_packets_of_a_real_association() {
    let mut total = Counters::default();
    for seed in 100..140 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = busy_world(seed);
        let corpus = world.sent.clone();
        for _ in 0..600 {
            let mut packet = corpus[rng.random_range(0..corpus.len())].clone();
            mutate(&mut rng, &mut packet);
            seal(&mut packet);
            world.inject(&packet);
            if rng.random_bool(0.1) {
                world.send(text("a", "x".repeat(rng.random_range(0..5_000))));
            }
            if rng.random_bool(0.2) {
                world.run(Duration::from_millis(rng.random_range(1..30)));
            }
        }
        check(&world, seed);
        total = *world.sfu.counters();
    }
    assert!(total.dropped(DropReason::SctpMalformed) + total.dropped(DropReason::SctpRefused) > 0);
}

/// The number of the last chunk that the peer has sent.
fn last_tsn(world: &World) -> u32 {
    let chunks = world.sent.iter().flat_map(|packet| Chunks::of(packet).flatten());
    let tsns = chunks.filter_map(|chunk| match chunk {
        Chunk::Data { tsn, .. } => Some(tsn.0),
        _ => None,
    });
    tsns.last().unwrap()
}

/// Pieces of messages that never become whole, on as many streams as there are.
#[test]
fn unfinished_messages_fill_no_memory() {
    let mut world = World::connected(200);
    world.open(2, Some("a"), Wire::Reliable, 0);
    world.run(Duration::from_secs(1));
    // Its header, with the right tag, from the last packet that the peer sent.
    let header = world.sent.last().unwrap()[..12].to_vec();
    let mut tsn = last_tsn(&world);
    for round in 0..20_000u32 {
        let mut packet = header.clone();
        tsn = tsn.wrapping_add(1);
        packet.extend([0, 2, 0, 17]);
        packet.extend(tsn.to_be_bytes());
        packet.extend(((round % 1_100) as u16).to_be_bytes());
        packet.extend([0, 0, 0, 0, 0, 51, 7, 0, 0, 0]);
        seal(&mut packet);
        world.inject(&packet);
        if round % 4 == 0 {
            world.step();
        }
    }
    check(&world, 200);
    let counters = world.sfu.counters();
    assert!(counters.dropped(DropReason::SctpRefused) > 4_000, "{counters:?}");
}
