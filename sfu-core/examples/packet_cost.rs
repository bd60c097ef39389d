//! Prints what the per-packet pieces cost, in nanoseconds, for a 1,200-byte payload:
//! `cargo run --release -p sfu-core --example packet_cost`.

#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::hint::black_box;
use std::time::Instant;

use sfu_core::demux::Class;
use sfu_core::transport::handshake::{MasterKey, SrtpKeys, SrtpProfile};
use sfu_core::transport::srtp::{SrtpReceiver, SrtpSender};
use sfu_core::unit::{ExtSeq, Mid, Pt, RtpTime, Ssrc, TwccSeq};
use sfu_core::wire::payload::vp8::{Vp8Descriptor, Vp8Patch};
use sfu_core::wire::rtp::{FIXED_LEN, OutgoingHeader, RtpHeader};
use sfu_core::wire::rtp_ext::{
    AbsSendTime, ExtensionIds, ExtensionMap, ExtensionWriter, Extensions, OutgoingExtensions,
};

const ROUNDS: u64 = 200_000;
const PAYLOAD_LEN: usize = 1_200;

/// The best of five runs, per round.
fn measure(name: &str, mut round: impl FnMut(u64)) {
    let mut best = f64::MAX;
    for run in 0..5 {
        let start = Instant::now();
        (run * ROUNDS..(run + 1) * ROUNDS).for_each(&mut round);
        best = best.min(start.elapsed().as_nanos() as f64 / ROUNDS as f64);
    }
    println!("{name:<42} {best:>8.1} ns");
}

fn outgoing(index: ExtSeq) -> OutgoingHeader {
    OutgoingHeader {
        marker: false,
        pt: Pt(96),
        seq: index.wire(),
        time: RtpTime(7),
        ssrc: Ssrc(1),
        padded: false,
        extended: true,
    }
}

fn wire() {
    let ids =
        ExtensionIds { mid: Some(1), transport_cc: Some(2), abs_send_time: Some(3), ..Default::default() };
    let (map, writer) = (ExtensionMap::new(&ids), ExtensionWriter::new(ids));
    let values = OutgoingExtensions {
        mid: Mid::new(b"0"),
        transport_cc: Some(TwccSeq(5)),
        abs_send_time: Some(AbsSendTime(9)),
        ..Default::default()
    };
    let mut packet = vec![0; FIXED_LEN + 64 + PAYLOAD_LEN];
    outgoing(ExtSeq(1)).write(&mut packet);
    let block_len = writer.write(&values, &mut packet[FIXED_LEN..]).map_or(0, |written| written.len);
    packet.truncate(FIXED_LEN + block_len + PAYLOAD_LEN);

    measure("classify", |_| {
        black_box(Class::of(black_box(&packet)));
    });
    measure("header parse", |_| {
        black_box(RtpHeader::parse(black_box(&packet)));
    });
    let header = RtpHeader::parse(&packet);
    measure("extension parse (mid, transport-cc, time)", |_| {
        if let Some(header) = &header {
            black_box(Extensions::parse(black_box(&map), black_box(header), black_box(&packet)));
        }
    });
    measure("header and extension write", |n| {
        outgoing(ExtSeq(n)).write(black_box(&mut packet));
        black_box(writer.write(black_box(&values), &mut packet[FIXED_LEN..]));
    });
    let vp8 = [0x90, 0xe0, 0x92, 0x34, 0x56, 0x40, 0x50, 0x42, 0x01, 0x9d, 0x01, 0x2a, 0x80, 2, 0x68, 1];
    measure("VP8 descriptor parse", |_| {
        black_box(Vp8Descriptor::parse(black_box(&vp8)));
    });
    if let Some(descriptor) = Vp8Descriptor::parse(&vp8) {
        let mut payload = vp8;
        measure("VP8 descriptor patch", |n| {
            let patch = Vp8Patch { picture_id: n as u16, tl0_pic_idx: n as u8 };
            patch.apply(black_box(&descriptor), black_box(&mut payload));
        });
    }
}

fn srtp(name: &str, profile: SrtpProfile) {
    let master = MasterKey { key: vec![1; profile.key_len()], salt: vec![2; profile.salt_len()] };
    let keys = SrtpKeys { profile, local: master.clone(), remote: master };
    let Ok(sender) = SrtpSender::new(&keys) else { return };
    let payload = vec![3; PAYLOAD_LEN];
    let mut packet = vec![0; FIXED_LEN + PAYLOAD_LEN + sender.tag_len()];
    let header = |index: ExtSeq| OutgoingHeader { extended: false, ..outgoing(index) };

    measure(&format!("{name}: copy and seal in place"), |n| {
        header(ExtSeq(n)).write(&mut packet);
        packet[FIXED_LEN..FIXED_LEN + PAYLOAD_LEN].copy_from_slice(black_box(&payload));
        sender.seal_rtp(Ssrc(1), ExtSeq(n), FIXED_LEN, black_box(&mut packet)).unwrap_or_default();
    });
    measure(&format!("{name}: seal out of place"), |n| {
        header(ExtSeq(n)).write(&mut packet);
        let payload = black_box(&payload);
        sender
            .seal_rtp_from(Ssrc(1), ExtSeq(n), FIXED_LEN, payload, black_box(&mut packet))
            .unwrap_or_default();
    });
    open(&format!("{name}: parse and unprotect"), &keys, &sender, &payload);
}

/// Packets can be opened once only, so each run has a fresh receiver and a cache-sized set of packets.
fn open(name: &str, keys: &SrtpKeys, sender: &SrtpSender, payload: &[u8]) {
    const PACKETS: u64 = 256;
    let sealed: Vec<Vec<u8>> = (0..PACKETS)
        .map(|n| {
            let header = OutgoingHeader { extended: false, ..outgoing(ExtSeq(n)) };
            let mut packet = [&header.to_bytes()[..], payload, &vec![0; sender.tag_len()]].concat();
            sender.seal_rtp(Ssrc(1), ExtSeq(n), FIXED_LEN, &mut packet).unwrap_or_default();
            packet
        })
        .collect();
    let mut best = f64::MAX;
    for _ in 0..100 {
        let mut packets = sealed.clone();
        let Ok(mut receiver) = SrtpReceiver::new(keys) else { return };
        let start = Instant::now();
        for packet in &mut packets {
            if let Some(header) = RtpHeader::parse(packet) {
                black_box(receiver.unprotect_rtp(&header, packet).is_ok());
            }
        }
        best = best.min(start.elapsed().as_nanos() as f64 / PACKETS as f64);
    }
    println!("{name:<42} {best:>8.1} ns");
}

fn main() {
    wire();
    srtp("AES-128-GCM", SrtpProfile::AeadAes128Gcm);
    srtp("AES-256-GCM", SrtpProfile::AeadAes256Gcm);
    srtp("AES-CM HMAC-SHA1-80", SrtpProfile::Aes128CmSha1_80);
}
