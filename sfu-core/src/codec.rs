//! Codecs as negotiated, and which receiver decodes which stream. Knows neither SDP nor payloads.

/// A codec with the parameters that decide whether a receiver can decode it (RFC 7587, 2198, 7741, 9628, 6184, 7798, AV1
/// RTP specification). Levels aren't among them: browsers announce level 3.1 and send and decode 1080p under it, so a
/// rule about levels would refuse what works.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Codec {
    Opus,
    /// Redundant Opus (RFC 2198).
    Red,
    Vp8,
    Vp9 {
        profile: u8,
    },
    H264 {
        packetization_mode: u8,
        profile: H264Profile,
    },
    /// In a single stream over a single transport (SRST).
    H265 {
        profile: u8,
        /// 0 is main, 1 is high.
        tier: u8,
    },
    Av1 {
        profile: u8,
    },
}

impl Codec {
    /// Whether who has negotiated `self` can decode a stream of `source`: the same codec, packetised in the same way, of
    /// this profile or one that it contains.
    pub fn decodes(self, source: Codec) -> bool {
        match (self, source) {
            (
                Codec::H264 { packetization_mode, profile },
                Codec::H264 { packetization_mode: source_mode, profile: source_profile },
            ) => packetization_mode == source_mode && profile.contains(source_profile),
            // Main 10 contains Main (ITU-T H.265 A.3.3).
            (Codec::H265 { profile, tier }, Codec::H265 { profile: source_profile, tier: source_tier }) => {
                tier >= source_tier && (profile == source_profile || (profile, source_profile) == (2, 1))
            }
            // Main, High, Professional: each contains the one before (AV1 bitstream specification, A.2).
            (Codec::Av1 { profile }, Codec::Av1 { profile: source_profile }) => profile >= source_profile,
            (own, source) => own == source,
        }
    }
}

/// Profiles of H.264 that occur in WebRTC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum H264Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    ConstrainedHigh,
    High,
}

impl H264Profile {
    /// The profile of a `profile-level-id`: profile_idc, constraint flags, level_idc (RFC 6184 §8.1, table 5). The same
    /// profile can be written in several ways.
    pub fn of(profile_level_id: u32) -> Option<H264Profile> {
        let [_, idc, flags, _] = profile_level_id.to_be_bytes();
        // constraint_set0_flag is the highest bit; set4, set5 and two reserved bits are the lowest.
        match (idc, flags) {
            (0x42, flags) if flags & 0b0100_1111 == 0b0100_0000 => Some(H264Profile::ConstrainedBaseline),
            (0x4d, flags) if flags & 0b1000_1111 == 0b1000_0000 => Some(H264Profile::ConstrainedBaseline),
            (0x58, flags) if flags & 0b1100_1111 == 0b1100_0000 => Some(H264Profile::ConstrainedBaseline),
            (0x42, flags) if flags & 0b0100_1111 == 0 => Some(H264Profile::Baseline),
            (0x58, flags) if flags & 0b1100_1111 == 0b1000_0000 => Some(H264Profile::Baseline),
            (0x4d, flags) if flags & 0b1010_1111 == 0 => Some(H264Profile::Main),
            (0x64, 0b0000_1100) => Some(H264Profile::ConstrainedHigh),
            (0x64, 0) => Some(H264Profile::High),
            _ => None,
        }
    }

    /// Whether a decoder of this profile decodes the streams of `other` (ITU-T H.264 A.2). What is announced as Baseline
    /// counts as Constrained Baseline: FFmpeg and libwebrtc call theirs so, and no encoder of today uses the tools that
    /// are Baseline's alone.
    pub fn contains(self, other: H264Profile) -> bool {
        use H264Profile::{Baseline, ConstrainedBaseline, ConstrainedHigh, High, Main};
        match (self, other) {
            (_, ConstrainedBaseline | Baseline) | (High, Main | ConstrainedHigh) => true,
            (own, other) => own == other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_profile_is_written_in_several_ways() {
        let cases = [
            (0x42_e0_1f, Some(H264Profile::ConstrainedBaseline)),
            (0x42_c0_1f, Some(H264Profile::ConstrainedBaseline)),
            (0x42_40_0a, Some(H264Profile::ConstrainedBaseline)),
            (0x4d_80_1f, Some(H264Profile::ConstrainedBaseline)),
            (0x58_c0_1f, Some(H264Profile::ConstrainedBaseline)),
            (0x42_00_1f, Some(H264Profile::Baseline)),
            (0x58_80_1f, Some(H264Profile::Baseline)),
            (0x4d_00_1f, Some(H264Profile::Main)),
            (0x4d_40_28, Some(H264Profile::Main)),
            (0x64_00_1f, Some(H264Profile::High)),
            (0x64_0c_1f, Some(H264Profile::ConstrainedHigh)),
            (0xf4_00_1f, None),
            (0x42_01_1f, None),
            (0, None),
        ];
        for (profile_level_id, profile) in cases {
            assert_eq!(H264Profile::of(profile_level_id), profile, "{profile_level_id:06x}");
        }
    }

    fn h264(packetization_mode: u8, profile_level_id: u32) -> Codec {
        Codec::H264 { packetization_mode, profile: H264Profile::of(profile_level_id).unwrap() }
    }

    #[test]
    fn everybody_decodes_baseline_in_their_own_packetisation() {
        for own in [0x42_e0_1f, 0x42_00_1f, 0x4d_00_1f, 0x64_00_1f, 0x64_0c_1f] {
            // As FFmpeg announces what it encodes.
            assert!(h264(1, own).decodes(h264(1, 0x42_00_0d)), "{own:06x}");
            assert!(h264(1, own).decodes(h264(1, 0x42_e0_34)), "{own:06x}");
            assert!(!h264(0, own).decodes(h264(1, 0x42_e0_1f)), "{own:06x}");
        }
        assert!(h264(1, 0x64_00_1f).decodes(h264(1, 0x4d_00_1f)));
        assert!(!h264(1, 0x4d_00_1f).decodes(h264(1, 0x64_00_1f)));
        assert!(!h264(1, 0x64_0c_1f).decodes(h264(1, 0x4d_00_1f)));
    }

    #[test]
    fn higher_profiles_contain_lower_ones_where_the_codec_says_so() {
        assert!(Codec::Av1 { profile: 1 }.decodes(Codec::Av1 { profile: 0 }));
        assert!(!Codec::Av1 { profile: 0 }.decodes(Codec::Av1 { profile: 1 }));
        assert!(!Codec::Vp9 { profile: 2 }.decodes(Codec::Vp9 { profile: 0 }));
        assert!(Codec::H265 { profile: 2, tier: 1 }.decodes(Codec::H265 { profile: 1, tier: 0 }));
        assert!(!Codec::H265 { profile: 1, tier: 0 }.decodes(Codec::H265 { profile: 1, tier: 1 }));
        assert!(!Codec::Vp8.decodes(Codec::Av1 { profile: 0 }));
    }
}
