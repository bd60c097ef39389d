use super::*;
use crate::unit::{Pt, RtpTime};
use crate::wire::rtp::OutgoingHeader;
use zeroize::Zeroizing;

const PROFILES: [SrtpProfile; 3] =
    [SrtpProfile::AeadAes128Gcm, SrtpProfile::AeadAes256Gcm, SrtpProfile::Aes128CmSha1_80];

/// Bytes from hex digits.
pub(super) fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4) | pair[1]).collect()
}

/// Both ends under one profile: what the sender seals, the receiver opens.
fn pair(profile: SrtpProfile) -> (SrtpSender, SrtpReceiver) {
    let master =
        MasterKey { key: (1..).take(profile.key_len()).collect(), salt: vec![7; profile.salt_len()] };
    let keys = SrtpKeys { profile, local: master.clone(), remote: master };
    (SrtpSender::new(&keys).unwrap(), SrtpReceiver::new(&keys).unwrap())
}

fn plain(ssrc: Ssrc, index: ExtSeq) -> Vec<u8> {
    let header = OutgoingHeader {
        marker: false,
        pt: Pt(96),
        seq: index.wire(),
        time: RtpTime(1),
        ssrc,
        padded: false,
        extended: false,
    };
    [&header.to_bytes()[..], &index.0.to_be_bytes(), b"payload"].concat()
}

fn seal(sender: &SrtpSender, ssrc: Ssrc, index: ExtSeq) -> Vec<u8> {
    let mut packet = plain(ssrc, index);
    packet.resize(packet.len() + sender.tag_len(), 0);
    sender.seal_rtp(ssrc, index, 12, &mut packet).unwrap();
    packet
}

fn open(receiver: &mut SrtpReceiver, sealed: &[u8]) -> Result<(ExtSeq, Vec<u8>), SrtpDrop> {
    let mut packet = sealed.to_vec();
    let header = RtpHeader::parse(&packet).unwrap();
    let opened = receiver.unprotect_rtp(&header, &mut packet)?;
    packet.truncate(opened.len);
    Ok((opened.index, packet))
}

/// Seals index by index, delivers some of them, in the given order.
fn deliver(profile: SrtpProfile, indices: &[u64]) {
    let (sender, mut receiver) = pair(profile);
    for index in indices.iter().copied().map(ExtSeq) {
        let sealed = seal(&sender, Ssrc(5), index);
        assert_eq!(open(&mut receiver, &sealed), Ok((index, plain(Ssrc(5), index))), "{index}");
    }
}

#[test]
fn rollover_with_loss_and_reordering() {
    for profile in PROFILES {
        deliver(profile, &[65_500, 65_501, 65_535, 65_537, 65_536, 65_534, 65_600]);
        deliver(profile, &[65_530, 65_540, 65_535, 98_000, 130_700, 131_080, 131_071, 131_072]);
        deliver(profile, &[0, 2, 1, 30_000, 60_000, 90_000, 120_000]);
    }
}

#[test]
fn a_late_packet_from_before_the_wrap_does_not_move_the_counter_back() {
    let (sender, mut receiver) = pair(SrtpProfile::AeadAes128Gcm);
    for index in [65_000, 65_540, 65_100, 65_541] {
        assert_eq!(open(&mut receiver, &seal(&sender, Ssrc(1), ExtSeq(index))).unwrap().0, ExtSeq(index));
    }
}

#[test]
fn replayed_and_too_old_packets_are_told_apart() {
    for profile in PROFILES {
        let (sender, mut receiver) = pair(profile);
        let first = seal(&sender, Ssrc(1), ExtSeq(10));
        assert!(open(&mut receiver, &first).is_ok());
        assert_eq!(open(&mut receiver, &first), Err(SrtpDrop::Replayed));
        assert!(open(&mut receiver, &seal(&sender, Ssrc(1), ExtSeq(1_033))).is_ok());
        assert_eq!(open(&mut receiver, &first), Err(SrtpDrop::Replayed));
        assert!(open(&mut receiver, &seal(&sender, Ssrc(1), ExtSeq(1_034))).is_ok());
        assert_eq!(open(&mut receiver, &first), Err(SrtpDrop::TooOld));
        assert!(open(&mut receiver, &seal(&sender, Ssrc(1), ExtSeq(11))).is_ok());
    }
}

#[test]
fn any_flipped_bit_is_noticed_and_changes_no_state() {
    for profile in PROFILES {
        let (sender, mut receiver) = pair(profile);
        let sealed = seal(&sender, Ssrc(1), ExtSeq(100));
        // Bytes 0 and 1 decide how the header is parsed; from the sequence number on, all is data.
        for at in 2..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 0x40;
            assert_eq!(open(&mut receiver, &forged), Err(SrtpDrop::AuthFailed), "{profile:?} byte {at}");
        }
        assert!(receiver.rtp_sources.ssrcs.is_empty());
        assert!(open(&mut receiver, &sealed).is_ok());
        // A forged jump must not move the window, nor one within it mark an index as seen.
        for index in [60_000, 101] {
            let mut forged = seal(&sender, Ssrc(1), ExtSeq(index));
            *forged.last_mut().unwrap() ^= 1;
            assert_eq!(open(&mut receiver, &forged), Err(SrtpDrop::AuthFailed));
        }
        assert_eq!(open(&mut receiver, &sealed), Err(SrtpDrop::Replayed));
        assert!(open(&mut receiver, &seal(&sender, Ssrc(1), ExtSeq(101))).is_ok());
    }
}

#[test]
fn sources_are_bounded_and_can_be_forgotten() {
    let (sender, mut receiver) = pair(SrtpProfile::AeadAes128Gcm);
    for n in 0..SOURCES_MAX as u32 {
        assert!(open(&mut receiver, &seal(&sender, Ssrc(n), ExtSeq(1))).is_ok());
    }
    let one_more = seal(&sender, Ssrc(1_000), ExtSeq(1));
    assert_eq!(open(&mut receiver, &one_more), Err(SrtpDrop::TooManySsrcs));
    receiver.forget(Ssrc(3));
    assert!(open(&mut receiver, &one_more).is_ok());
    for n in (0..SOURCES_MAX as u32).filter(|n| *n != 3) {
        assert_eq!(open(&mut receiver, &seal(&sender, Ssrc(n), ExtSeq(1))), Err(SrtpDrop::Replayed));
    }
}

#[test]
fn the_last_index_is_the_last() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let last = ExtSeq(RTP_INDEX_MAX);
        let sealed = seal(&sender, Ssrc(1), last);
        receiver.rtp_sources.record(None, Ssrc(1), last.0 - 1);
        assert_eq!(open(&mut receiver, &sealed), Ok((last, plain(Ssrc(1), last))));
        let mut packet = vec![0; 40];
        packet[..12].copy_from_slice(&plain(Ssrc(1), last.next())[..12]);
        assert_eq!(sender.seal_rtp(Ssrc(1), last.next(), 12, &mut packet), Err(SrtpDrop::IndexExhausted));

        sender.rtcp_index = RTCP_ENCRYPTED - 1;
        assert_eq!(sender.seal_rtcp(&mut vec![0; 8]), Ok(()));
        assert_eq!(sender.seal_rtcp(&mut vec![0; 8]), Err(SrtpDrop::IndexExhausted));
    }
}

#[test]
fn sealing_out_of_place_is_the_same() {
    for profile in PROFILES {
        let (sender, _) = pair(profile);
        let (ssrc, index) = (Ssrc(9), ExtSeq(70_000));
        let plain = plain(ssrc, index);
        let mut packet = vec![0xff; plain.len() + sender.tag_len()];
        packet[..12].copy_from_slice(&plain[..12]);
        sender.seal_rtp_from(ssrc, index, 12, &plain[12..], &mut packet).unwrap();
        assert_eq!(packet, seal(&sender, ssrc, index));
        let short = packet.len() - 1;
        let result = sender.seal_rtp_from(ssrc, index, 12, &plain[12..], &mut packet[..short]);
        assert_eq!(result, Err(SrtpDrop::Malformed));
    }
}

#[test]
fn srtcp_there_and_back_once() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let plain = hex("81c9000700000001000000020000000000000000000000000000000000000000");
        let mut sealed = Vec::new();
        for _ in 0..200 {
            let mut packet = plain.clone();
            sender.seal_rtcp(&mut packet).unwrap();
            assert_eq!(packet.len(), plain.len() + sender.rtcp_overhead());
            assert_eq!(packet[..8], plain[..8]);
            assert_ne!(packet[8..32], plain[8..]);
            sealed.push(packet);
        }
        for packet in sealed[100..].iter().chain(&sealed[72..100]) {
            let mut packet = packet.clone();
            assert_eq!(receiver.unprotect_rtcp(&mut packet), Ok(plain.len()));
            assert_eq!(packet[..plain.len()], plain);
        }
        assert_eq!(receiver.unprotect_rtcp(&mut sealed[150].clone()), Err(SrtpDrop::Replayed));
        assert_eq!(receiver.unprotect_rtcp(&mut sealed[71].clone()), Err(SrtpDrop::TooOld));
    }
}

#[test]
fn forged_srtcp_changes_no_state() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let mut sealed = hex("81c9000700000001000000020000000000000000000000000000000000000000");
        sender.seal_rtcp(&mut sealed).unwrap();
        for at in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 0x01;
            assert_eq!(receiver.unprotect_rtcp(&mut forged), Err(SrtpDrop::AuthFailed), "{profile:?} {at}");
        }
        assert!(receiver.rtcp_sources.ssrcs.is_empty());
        assert!(receiver.unprotect_rtcp(&mut sealed).is_ok());
    }
}

#[test]
fn truncated_packets_are_survived() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let sealed = seal(&sender, Ssrc(1), ExtSeq(1));
        let header = RtpHeader::parse(&sealed).unwrap();
        for len in 0..sealed.len() {
            assert!(receiver.unprotect_rtp(&header, &mut sealed.clone()[..len]).is_err());
        }
        let mut sealed = vec![0x81; 40];
        sender.seal_rtcp(&mut sealed).unwrap();
        for len in 0..sealed.len() {
            assert!(receiver.unprotect_rtcp(&mut sealed.clone()[..len]).is_err());
        }
        let mut short = plain(Ssrc(1), ExtSeq(1));
        short.resize(sender.tag_len() + 11, 0);
        assert_eq!(sender.seal_rtp(Ssrc(1), ExtSeq(1), 12, &mut short), Err(SrtpDrop::Malformed));
        assert_eq!(sender.seal_rtcp(&mut vec![0; 7]), Err(SrtpDrop::Malformed));
    }
}

#[test]
fn nothing_secret_is_printed() {
    let (sender, receiver) = pair(SrtpProfile::AeadAes128Gcm);
    assert_eq!(format!("{sender:?}"), "SrtpSender { rtcp_index: 0, .. }");
    assert_eq!(format!("{receiver:?}"), "SrtpReceiver { sources: [], .. }");
}

/// RFC 7714's vectors give session keys, not master keys.
fn rfc_7714_cipher(key_len: usize) -> Gcm {
    let keys = SessionKeys {
        cipher: Zeroizing::new((0..key_len as u8).collect()),
        auth: Zeroizing::new([0; 20]),
        salt: Zeroizing::new(hex("517569642070726f2071756f0000").try_into().unwrap()),
    };
    Gcm::new(&keys).unwrap()
}

#[test]
fn rfc_7714_section_16_srtp() {
    let plain = hex("8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e697320646976\
                     69736120696e207061727465732074726573");
    let sealed_128 = "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd5\
                      0d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce";
    let sealed_256 = "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab1801238\
                      9a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13";
    for (key_len, sealed) in [(16, hex(sealed_128)), (32, hex(sealed_256))] {
        let gcm = rfc_7714_cipher(key_len);
        let mut packet = plain.clone();
        packet.resize(plain.len() + gcm::TAG_LEN, 0);
        gcm.seal_rtp(Ssrc(0x5501_a0b2), 0xf17b, 12, &mut packet).unwrap();
        assert_eq!(packet, sealed);
        let len = gcm.open_rtp(Ssrc(0x5501_a0b2), 0xf17b, 12, &mut packet).unwrap();
        assert_eq!(packet[..len], plain);
    }
}

#[test]
fn rfc_7714_section_17_srtcp() {
    let plain = hex("81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61\
                     deadbeefdeadbeefdeadbeefdeadbeefdeadbeef");
    let sealed_128 = "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32d\
                      c676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf872\
                      45d9eade800005d4";
    let sealed_256 = "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50\
                      a2eaa5c1110555be8415f658c61de0476f1b6fad1d1eb30c4446839f57ff6f6c\
                      b26ac3be800005d4";
    for (key_len, sealed) in [(16, hex(sealed_128)), (32, hex(sealed_256))] {
        let gcm = rfc_7714_cipher(key_len);
        let mut packet = plain.clone();
        gcm.seal_rtcp(Ssrc(0x4d61_7273), 0x5d4, &mut packet).unwrap();
        assert_eq!(packet, sealed);
        let len = gcm.open_rtcp(Ssrc(0x4d61_7273), RTCP_ENCRYPTED | 0x5d4, &mut packet).unwrap();
        assert_eq!(packet[..len], plain);
    }
}

#[test]
fn rfc_7714_section_17_3_srtcp_in_the_clear() {
    let tagged = hex("81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61\
                      deadbeefdeadbeefdeadbeefdeadbeefdeadbeef841dd9683dd78ec92ae58790\
                      125f62b3000005d4");
    let gcm = rfc_7714_cipher(16);
    assert_eq!(gcm.open_rtcp(Ssrc(0x4d61_7273), 0x5d4, &mut tagged.clone()), Ok(tagged.len() - 20));
    let mut forged = tagged.clone();
    forged[20] ^= 1;
    assert_eq!(gcm.open_rtcp(Ssrc(0x4d61_7273), 0x5d4, &mut forged), Err(SrtpDrop::AuthFailed));
}
