//! Our SRTP against the `rtc-srtp` crate's: 10^6 random packets, both directions, all profiles. Packets are
//! built with the `rtp` crate, so that a mistake in our own header code can't hide.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rtc_shared::marshal::Marshal;
use rtc_srtp::context::Context;
use rtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc_srtp::protection_profile::ProtectionProfile;
use sfu_core::transport::handshake::{MasterKey, SrtpKeys, SrtpProfile};
use sfu_core::transport::srtp::{SrtpReceiver, SrtpSender};
use sfu_core::unit::{ExtSeq, Ssrc};
use sfu_core::wire::rtp::RtpHeader;

const PACKETS_PER_TEST: usize = 170_000;
const STREAMS: usize = 5;

struct Peers {
    rng: StdRng,
    sender: SrtpSender,
    receiver: SrtpReceiver,
    their_sender: Context,
    their_receiver: Context,
    /// What each stream sends next.
    next: [ExtSeq; STREAMS],
}

fn peers(profile: SrtpProfile, seed: u64) -> Peers {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut master = || {
        let mut key = vec![0; profile.key_len()];
        let mut salt = vec![0; profile.salt_len()];
        rng.fill(key.as_mut_slice());
        rng.fill(salt.as_mut_slice());
        MasterKey { key, salt }
    };
    let (ours, theirs) = (master(), master());
    let their_profile = match profile {
        SrtpProfile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        SrtpProfile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        SrtpProfile::Aes128CmSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
    };
    let provider = rtc_crypto::default_provider().unwrap();
    let context = |master: &MasterKey| {
        let (rtp, rtcp) = (srtp_replay_protection(1_024), srtcp_replay_protection(128));
        let crypto = provider.crypto();
        Context::new(&master.key, &master.salt, their_profile, Some(rtp), Some(rtcp), crypto).unwrap()
    };
    let (their_sender, their_receiver) = (context(&theirs), context(&ours));
    let keys = SrtpKeys { profile, local: ours, remote: theirs };
    Peers {
        sender: SrtpSender::new(&keys).unwrap(),
        receiver: SrtpReceiver::new(&keys).unwrap(),
        their_sender,
        their_receiver,
        next: std::array::from_fn(|_| ExtSeq(rng.random_range(0..=0xffff))),
        rng,
    }
}

impl Peers {
    /// A packet of one of the streams, with random CSRCs, extensions and payload.
    fn packet(&mut self) -> (Ssrc, ExtSeq, Vec<u8>) {
        let rng = &mut self.rng;
        let stream = rng.random_range(0..STREAMS);
        let index =
            self.next[stream].plus(if rng.random_bool(0.02) { rng.random_range(1..5_000) } else { 0 });
        self.next[stream] = index.next();
        let ssrc = Ssrc(0x1111_0000 + stream as u32);
        let mut header = rtp::Header {
            version: 2,
            marker: rng.random(),
            payload_type: rng.random_range(0..128),
            sequence_number: index.wire().0,
            timestamp: rng.random(),
            ssrc: ssrc.0,
            csrc: (0..rng.random_range(0..4)).map(|_| rng.random()).collect(),
            ..rtp::Header::default()
        };
        for id in 1..=rng.random_range(0..5u8) {
            let len = rng.random_range(1..=16);
            let value: Vec<u8> = (0..len).map(|_| rng.random()).collect();
            header.set_extension(id, Bytes::from(value)).unwrap();
        }
        let mut packet = header.marshal().unwrap().to_vec();
        let header_len = packet.len();
        let payload_len =
            if rng.random_bool(0.1) { rng.random_range(0..1_200) } else { rng.random_range(0..160) };
        packet.resize(header_len + payload_len, 0);
        rng.fill(&mut packet[header_len..]);
        (ssrc, index, packet)
    }
}

fn both_directions(profile: SrtpProfile, seed: u64) {
    let mut peers = peers(profile, seed);
    for n in 0..PACKETS_PER_TEST {
        let (ssrc, index, plain) = peers.packet();
        let header = RtpHeader::parse(&plain).unwrap();

        let mut sealed = plain.clone();
        sealed.resize(plain.len() + peers.sender.tag_len(), 0);
        peers.sender.seal_rtp(ssrc, index, header.header_len(), &mut sealed).unwrap();
        let opened = peers.their_receiver.decrypt_rtp(&sealed).unwrap();
        assert!(opened == plain, "packet {n}, {index}: theirs opens ours");

        let mut sealed = peers.their_sender.encrypt_rtp(&plain).unwrap().to_vec();
        let unprotected = peers.receiver.unprotect_rtp(&header, &mut sealed).unwrap();
        assert_eq!(unprotected.index, index);
        assert!(sealed[..unprotected.len] == plain, "packet {n}, {index}: ours opens theirs");

        if n % 100 == 0 {
            rtcp_both_directions(&mut peers);
        }
    }
}

fn rtcp_both_directions(peers: &mut Peers) {
    let words = peers.rng.random_range(1..100u16);
    let mut plain = vec![0; 4 * (usize::from(words) + 1)];
    peers.rng.fill(plain.as_mut_slice());
    plain[..4].copy_from_slice(&[0x80, 201, (words >> 8) as u8, words as u8]);
    plain[4..8].copy_from_slice(&peers.rng.random_range(0..3u32).to_be_bytes());

    let mut sealed = plain.clone();
    peers.sender.seal_rtcp(&mut sealed).unwrap();
    assert_eq!(peers.their_receiver.decrypt_rtcp(&sealed).unwrap(), plain);

    let mut sealed = peers.their_sender.encrypt_rtcp(&plain).unwrap().to_vec();
    let len = peers.receiver.unprotect_rtcp(&mut sealed).unwrap();
    assert_eq!(sealed[..len], plain);
}

#[test]
fn gcm_128_agrees() {
    both_directions(SrtpProfile::AeadAes128Gcm, 1);
}

#[test]
fn gcm_256_agrees() {
    both_directions(SrtpProfile::AeadAes256Gcm, 2);
}

#[test]
fn cm_sha1_agrees() {
    both_directions(SrtpProfile::Aes128CmSha1_80, 3);
}
