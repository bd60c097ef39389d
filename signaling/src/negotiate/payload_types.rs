//! The payload types of one transport: which a client uses for what, and which codecs our own offers list. A payload type
//! means the same in all sections of a bundle (RFC 8843 §10.1.1), and there are 61 of them, so the client's are used again.

use sfu_core::command::{Codec, PayloadType};
use sfu_core::unit::{Kind, Pt};

use super::codec::{AgreedCodec, agree, red_fmtp, row_for, row_of};
use crate::codec_policy::{CodecName, CodecPolicy};
use crate::sdp::RtpFormat;

/// A codec under the payload types that it has on this transport.
#[derive(Clone, Debug)]
struct Known {
    codec: Codec,
    pt: Pt,
    rtx: Option<Pt>,
    fmtp: String,
    /// In a section that the client receives through.
    received: bool,
}

/// What a client's offers have told of its codecs.
#[derive(Clone, Debug, Default)]
pub struct KnownPayloadTypes {
    /// First one wins: it is what the client will go on using.
    codecs: Vec<Known>,
    taken: u128,
    /// Kinds of which the client has shown all that it decodes.
    shown: Vec<Kind>,
}

impl KnownPayloadTypes {
    /// A section of the client's. What it only sends with need not be all that it decodes.
    pub fn learn(&mut self, kind: Kind, formats: &[RtpFormat], receives: bool) {
        for format in formats {
            self.taken |= 1 << format.pt.0.min(127);
        }
        for agreed in agree(&CodecName::ALL, formats) {
            let PayloadType { codec, pt, rtx, .. } = agreed.payload;
            match self.codecs.iter_mut().find(|known| known.codec == codec) {
                Some(known) => known.received |= receives,
                None => self.codecs.push(Known { codec, pt, rtx, fmtp: agreed.fmtp, received: receives }),
            }
        }
        if receives && !self.shown.contains(&kind) {
            self.shown.push(kind);
        }
    }

    /// The codecs of `kind` for a section that we offer to send through, as the policy orders them: all that the client
    /// decodes, once that is known; before, what it has shown and the basic profile of the rest.
    pub fn offer(&mut self, kind: Kind, policy: &CodecPolicy) -> Vec<AgreedCodec> {
        let shown = self.shown.contains(&kind);
        let names = policy.of(kind);
        let mut codecs: Vec<Codec> = names.iter().flat_map(|name| self.variants(*name, shown)).collect();
        if !codecs.iter().any(|codec| *codec != Codec::Red) {
            // Nothing in common. A section needs a codec; the client will refuse it.
            codecs = names.iter().filter_map(|name| Some(row_of(*name)?.offered.codec)).collect();
        }
        let mut offered: Vec<AgreedCodec> =
            codecs.into_iter().filter_map(|codec| self.offer_codec(codec)).collect();
        let opus = offered.iter().find(|other| other.payload.codec == Codec::Opus);
        let opus = opus.map(|opus| opus.payload.pt);
        for red in offered.iter_mut().filter(|codec| codec.payload.codec == Codec::Red) {
            red.fmtp = opus.map(red_fmtp).unwrap_or_default();
        }
        offered
    }

    /// The variants of a codec that are worth offering.
    fn variants(&self, name: CodecName, shown: bool) -> Vec<Codec> {
        let Some(row) = row_of(name) else { return Vec::new() };
        let of_name = |known: &&Known| row_for(known.codec).is_some_and(|row| row.name == name);
        let known: Vec<Codec> = self
            .codecs
            .iter()
            .filter(of_name)
            .filter(|known| known.received || !shown)
            .map(|known| known.codec)
            .collect();
        if known.is_empty() && !shown { vec![row.offered.codec] } else { known }
    }

    /// A codec under the payload types that the client has for it, else under free ones.
    fn offer_codec(&mut self, codec: Codec) -> Option<AgreedCodec> {
        let row = row_for(codec)?;
        if let Some(Known { pt, rtx, fmtp, .. }) = self.codecs.iter().find(|known| known.codec == codec) {
            // Of Opus the parameters say what the sender of them wants to receive: nothing here.
            let fmtp = if codec == Codec::Opus { row.offered.fmtp.to_owned() } else { fmtp.clone() };
            return Some(AgreedCodec::offered(row, codec, *pt, *rtx, fmtp));
        }
        let pt = self.take(row.offered.pt)?;
        let rtx = row.offered.rtx.and_then(|rtx| self.take(rtx));
        let fmtp = row.offered.fmtp.to_owned();
        self.codecs.push(Known { codec, pt, rtx, fmtp: fmtp.clone(), received: false });
        Some(AgreedCodec::offered(row, codec, pt, rtx, fmtp))
    }

    /// `wanted`, or a dynamic payload type that is free (RFC 3551 §6; 64–95 would look like RTCP, RFC 5761 §4).
    fn take(&mut self, wanted: Pt) -> Option<Pt> {
        let mut candidates = std::iter::once(wanted.0).chain((96..128).rev()).chain(35..64);
        let free = candidates.find(|pt| self.taken & (1 << pt) == 0)?;
        self.taken |= 1 << free;
        Some(Pt(free))
    }
}

#[cfg(test)]
mod tests {
    use sfu_core::command::H264Profile;

    use super::*;

    fn format(pt: u8, name: &str, fmtp: &str, feedback: &[&str]) -> RtpFormat {
        let audio = matches!(name, "opus" | "red");
        RtpFormat {
            pt: Pt(pt),
            name: name.to_owned(),
            clock_rate: if audio { 48_000 } else { 90_000 },
            channels: audio.then_some(2),
            fmtp: fmtp.to_owned(),
            feedback: feedback.iter().map(|value| (*value).to_owned()).collect(),
        }
    }

    fn allowed(names: &[CodecName]) -> CodecPolicy {
        CodecPolicy::new(vec![CodecName::Opus, CodecName::Red], names.to_vec()).unwrap()
    }

    fn pts(codecs: &[AgreedCodec]) -> Vec<(u8, Option<u8>)> {
        codecs.iter().map(|codec| (codec.payload.pt.0, codec.payload.rtx.map(|rtx| rtx.0))).collect()
    }

    const H264_HIGH: &str = "packetization-mode=1;profile-level-id=64001f";
    const H264_BASIC: &str = "packetization-mode=1;profile-level-id=42c01f";

    #[test]
    fn nack_needs_rtx() {
        let vp8 = format(96, "VP8", "", &["nack", "nack pli"]);
        let alone = agree(&CodecName::ALL, std::slice::from_ref(&vp8));
        assert!(!alone[0].payload.nack);
        assert!(alone[0].payload.pli);
        let with_rtx = agree(&CodecName::ALL, &[vp8, format(97, "rtx", "apt=96", &[])]);
        assert!(with_rtx[0].payload.nack);
        assert_eq!(with_rtx[0].payload.rtx, Some(Pt(97)));
    }

    #[test]
    fn opus_keeps_offered_parameters_and_gains_fec() {
        let opus = format(109, "opus", "maxplaybackrate=48000;stereo=1;useinbandfec=0", &[]);
        let agreed = agree(&CodecName::ALL, &[opus]);
        assert_eq!(agreed[0].lines()[0].1, "109 opus/48000/2");
        assert_eq!(agreed[0].lines()[1].1, "109 maxplaybackrate=48000;stereo=1;useinbandfec=1");
    }

    #[test]
    fn red_is_taken_when_it_is_made_of_the_sections_opus() {
        let opus = || format(111, "opus", "", &[]);
        for (fmtp, count) in [("111/111", 2), ("111/111/111", 2), ("111/0", 1), ("", 1), ("109/109", 1)] {
            assert_eq!(
                agree(&CodecName::ALL, &[format(63, "red", fmtp, &[]), opus()]).len(),
                count,
                "{fmtp}"
            );
        }
        let names = [CodecName::Red, CodecName::Opus];
        let first = agree(&names, &[opus(), format(63, "red", "111/111", &[])]);
        assert_eq!(pts(&first), [(63, None), (111, None)]);
        assert_eq!(first[0].lines()[1].1, "63 111/111");
        // Redundant video is something else.
        let video = RtpFormat { clock_rate: 90_000, ..format(116, "red", "96/96", &[]) };
        assert!(agree(&CodecName::ALL, &[video]).is_empty());
    }

    #[test]
    fn what_the_policy_lists_comes_in_its_order_and_the_widest_profile_first() {
        let formats = [
            format(96, "VP8", "", &[]),
            format(39, "H264", "packetization-mode=0;profile-level-id=42e01f", &[]),
            format(100, "H264", H264_HIGH, &[]),
            format(102, "H264", H264_BASIC, &[]),
            format(98, "VP9", "profile-id=2", &[]),
            format(99, "VP9", "", &[]),
            format(45, "AV1", "profile=0", &[]),
        ];
        let agreed = agree(&[CodecName::H264, CodecName::Vp9, CodecName::Vp8], &formats);
        assert_eq!(
            agreed.iter().map(|codec| codec.payload.pt.0).collect::<Vec<_>>(),
            [102, 39, 100, 99, 98, 96]
        );
        let profile = H264Profile::ConstrainedBaseline;
        assert_eq!(agreed[0].payload.codec, Codec::H264 { packetization_mode: 1, profile });
    }

    #[test]
    fn variants_that_we_can_not_judge_are_left_out() {
        for (name, fmtp) in [
            ("H264", "packetization-mode=2;profile-level-id=42e01f"),
            ("H264", "profile-level-id=42e0"),
            ("H264", "profile-level-id=f4001f"),
            ("VP9", "profile-id=1"),
            ("VP9", "profile-id=x"),
            ("AV1", "profile=3"),
            ("H265", "tx-mode=MRST"),
            ("H265", "profile-id=4"),
        ] {
            assert!(agree(&CodecName::ALL, &[format(96, name, fmtp, &[])]).is_empty(), "{name} {fmtp}");
        }
    }

    #[test]
    fn our_payload_types_evade_the_clients() {
        let policy = allowed(&[CodecName::Vp8]);
        let mut known = KnownPayloadTypes::default();
        let formats = [format(96, "G711", "", &[]), format(111, "rtx", "apt=96", &[])];
        known.learn(Kind::Video, &formats, false);
        let vp8 = known.offer(Kind::Video, &policy);
        assert_eq!(pts(&vp8), [(127, Some(97))]);
        let audio = known.offer(Kind::Audio, &policy);
        assert_eq!(pts(&audio), [(126, None), (63, None)]);
        assert_eq!(audio[1].fmtp, "126/126");
        assert_eq!(known.offer(Kind::Video, &policy), vp8);
    }

    #[test]
    fn a_client_that_has_only_sent_is_offered_the_basics_beside_what_it_sends() {
        let policy = allowed(&[CodecName::Vp8, CodecName::H264, CodecName::Av1]);
        let mut known = KnownPayloadTypes::default();
        known.learn(Kind::Video, &[format(100, "H264", H264_HIGH, &[])], false);
        let offered = known.offer(Kind::Video, &policy);
        assert_eq!(pts(&offered), [(96, Some(97)), (100, None), (45, Some(46))]);
    }

    #[test]
    fn a_client_that_has_shown_what_it_decodes_is_offered_that_and_nothing_else() {
        let policy = allowed(&[CodecName::Vp8, CodecName::H264, CodecName::Av1]);
        let mut known = KnownPayloadTypes::default();
        known.learn(Kind::Video, &[format(96, "VP8", "", &[]), format(102, "H264", H264_BASIC, &[])], false);
        known.learn(Kind::Video, &[format(96, "VP8", "", &[]), format(98, "VP9", "", &[])], true);
        assert_eq!(pts(&known.offer(Kind::Video, &policy)), [(96, None)]);
        // Nothing in common: it is offered what the room speaks, and will refuse.
        let policy = allowed(&[CodecName::H264]);
        assert_eq!(pts(&known.offer(Kind::Video, &policy)), [(102, None)]);
    }

    #[test]
    fn a_hundred_offers_take_no_more_payload_types_than_one() {
        let policy = CodecPolicy::default();
        let mut known = KnownPayloadTypes::default();
        let first = (known.offer(Kind::Audio, &policy), known.offer(Kind::Video, &policy));
        let taken = known.taken;
        for _ in 0..100 {
            assert_eq!((known.offer(Kind::Audio, &policy), known.offer(Kind::Video, &policy)), first);
        }
        assert_eq!((known.taken, taken.count_ones()), (taken, 12));
    }

    #[test]
    fn when_no_payload_type_is_left_the_offer_is_shorter() {
        let mut known = KnownPayloadTypes::default();
        let all = (35..64).chain(96..127).map(|pt| format(pt, "G711", "", &[])).collect::<Vec<_>>();
        known.learn(Kind::Video, &all, false);
        assert_eq!(pts(&known.offer(Kind::Video, &CodecPolicy::default())), [(127, None)]);
    }
}
