//! RTP header extensions (RFC 8285): the elements of a block, and the values of those that the engine knows
//! by their negotiated ids. Knows no SDP; what the values mean is decided above.

mod write;

pub use write::{ExtensionWriter, OutgoingExtensions, Written};

use crate::unit::{Mid, NtpTime, Rid, Time, TwccSeq};
use crate::wire::rtp::{ExtensionBlock, RtpHeader};

/// Profile of a block of one-byte elements (RFC 8285 §4.2).
const ONE_BYTE_PROFILE: u16 = 0xbede;

/// Profile of a block of two-byte elements, whose low four bits are "appbits" (RFC 8285 §4.3).
const TWO_BYTE_PROFILE: u16 = 0x1000;

/// RTP header extensions that the engine knows (RFC 8285), by their negotiated id, 1–255.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ExtensionIds {
    pub mid: Option<u8>,
    pub rid: Option<u8>,
    pub repaired_rid: Option<u8>,
    pub audio_level: Option<u8>,
    pub transport_cc: Option<u8>,
    pub abs_send_time: Option<u8>,
    pub abs_capture_time: Option<u8>,
    pub video_orientation: Option<u8>,
    pub playout_delay: Option<u8>,
    pub dependency_descriptor: Option<u8>,
    pub video_layers_allocation: Option<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Mid,
    Rid,
    RepairedRid,
    AudioLevel,
    TransportCc,
    AbsSendTime,
    AbsCaptureTime,
    VideoOrientation,
    PlayoutDelay,
    DependencyDescriptor,
    VideoLayersAllocation,
}

/// Which extension an id stands for, in one table look-up. One map serves all m-sections of a transport:
/// in a BUNDLE group an id has one meaning (RFC 9143 §9.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExtensionMap {
    kinds: Box<[Option<Kind>; 256]>,
}

impl Default for ExtensionMap {
    fn default() -> Self {
        ExtensionMap { kinds: Box::new([None; 256]) }
    }
}

impl ExtensionMap {
    pub fn new(ids: &ExtensionIds) -> ExtensionMap {
        let mut map = ExtensionMap::default();
        map.add(ids);
        map
    }

    /// Adds the ids of another m-section. An id that had a meaning already takes the new one.
    pub fn add(&mut self, ids: &ExtensionIds) {
        let entries = [
            (ids.mid, Kind::Mid),
            (ids.rid, Kind::Rid),
            (ids.repaired_rid, Kind::RepairedRid),
            (ids.audio_level, Kind::AudioLevel),
            (ids.transport_cc, Kind::TransportCc),
            (ids.abs_send_time, Kind::AbsSendTime),
            (ids.abs_capture_time, Kind::AbsCaptureTime),
            (ids.video_orientation, Kind::VideoOrientation),
            (ids.playout_delay, Kind::PlayoutDelay),
            (ids.dependency_descriptor, Kind::DependencyDescriptor),
            (ids.video_layers_allocation, Kind::VideoLayersAllocation),
        ];
        for (id, kind) in entries {
            if let Some(entry) = id.and_then(|id| self.kinds.get_mut(usize::from(id))) {
                *entry = Some(kind);
            }
        }
    }

    fn kind(&self, id: u8) -> Option<Kind> {
        self.kinds[usize::from(id)]
    }
}

/// Audio level (RFC 6464).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AudioLevel {
    /// In −dBov: 0 is the loudest, 127 silence.
    pub level: u8,
    /// The encoder believes that this is voice.
    pub voice: bool,
}

/// Send time modulo 64 s, in 1/2^18 s: 24 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbsSendTime(pub u32);

impl AbsSendTime {
    /// The extension's value at `time`.
    pub fn at(time: Time) -> AbsSendTime {
        // 64 s are 2^24 units; reduced first, so that the product fits.
        let nanos = time.0 % 64_000_000_000;
        AbsSendTime(((nanos << 18) / 1_000_000_000) as u32 & 0xff_ffff)
    }
}

/// Absolute capture time: when the first frame of the packet was captured, on the capturer's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbsCaptureTime {
    pub capture: NtpTime,
    /// The capturer's clock minus the sender's, in 1/2^32 s, where the sender knows it.
    pub clock_offset: Option<i64>,
}

/// Coordination of video orientation (3GPP TS 26.114 §7.4.5), as it stands on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VideoOrientation(pub u8);

/// Playout delay limits in units of 10 ms, 12 bits each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlayoutDelay {
    pub min: u16,
    pub max: u16,
}

/// Where an extension's bytes stand in the packet it was parsed from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ByteRange {
    pub start: u16,
    pub len: u16,
}

impl ByteRange {
    /// The bytes of `packet` in this range; empty when it is shorter.
    pub fn of(self, packet: &[u8]) -> &[u8] {
        let start = usize::from(self.start);
        packet.get(start..start + usize::from(self.len)).unwrap_or_default()
    }
}

/// The known extensions of one packet.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Extensions {
    pub mid: Option<Mid>,
    pub rid: Option<Rid>,
    pub repaired_rid: Option<Rid>,
    pub audio_level: Option<AudioLevel>,
    pub transport_cc: Option<TwccSeq>,
    pub abs_send_time: Option<AbsSendTime>,
    pub abs_capture_time: Option<AbsCaptureTime>,
    pub video_orientation: Option<VideoOrientation>,
    pub playout_delay: Option<PlayoutDelay>,
    pub dependency_descriptor: Option<ByteRange>,
    pub video_layers_allocation: Option<ByteRange>,
}

impl Extensions {
    /// The known extensions of `packet`. Elements with an unknown id or a length that their kind doesn't
    /// have are passed over; a block that is cut short counts up to there (RFC 8285 §4.1).
    #[inline]
    pub fn parse(map: &ExtensionMap, header: &RtpHeader, packet: &[u8]) -> Extensions {
        let mut extensions = Extensions::default();
        if let Some(block) = header.extension() {
            for (id, range) in elements(block, packet) {
                if let Some(kind) = map.kind(id) {
                    extensions.set(kind, range, range.of(packet));
                }
            }
        }
        extensions
    }

    fn set(&mut self, kind: Kind, range: ByteRange, value: &[u8]) {
        match (kind, value) {
            (Kind::Mid, _) => self.mid = Mid::new(value),
            (Kind::Rid, _) => self.rid = Rid::new(value),
            (Kind::RepairedRid, _) => self.repaired_rid = Rid::new(value),
            // RFC 6464 §3: the two-byte form may carry a second byte, to be ignored.
            (Kind::AudioLevel, [byte] | [byte, _]) => {
                self.audio_level = Some(AudioLevel { level: byte & 0x7f, voice: byte & 0x80 != 0 });
            }
            // Version 2 of the extension appends a feedback request of two bytes.
            (Kind::TransportCc, [hi, lo] | [hi, lo, _, _]) => {
                self.transport_cc = Some(TwccSeq(u16::from_be_bytes([*hi, *lo])));
            }
            (Kind::AbsSendTime, [a, b, c]) => {
                self.abs_send_time = Some(AbsSendTime(u32::from_be_bytes([0, *a, *b, *c])));
            }
            (Kind::AbsCaptureTime, _) => {
                if let Some((capture, rest)) = value.split_first_chunk() {
                    self.abs_capture_time = Some(AbsCaptureTime {
                        capture: NtpTime(u64::from_be_bytes(*capture)),
                        clock_offset: rest.first_chunk().map(|offset| i64::from_be_bytes(*offset)),
                    });
                }
            }
            (Kind::VideoOrientation, [byte]) => self.video_orientation = Some(VideoOrientation(*byte)),
            (Kind::PlayoutDelay, [a, b, c]) => {
                let (a, b, c) = (u16::from(*a), u16::from(*b), u16::from(*c));
                self.playout_delay = Some(PlayoutDelay { min: a << 4 | b >> 4, max: (b & 0x0f) << 8 | c });
            }
            (Kind::DependencyDescriptor, _) => self.dependency_descriptor = Some(range),
            (Kind::VideoLayersAllocation, _) => self.video_layers_allocation = Some(range),
            (
                Kind::AudioLevel
                | Kind::TransportCc
                | Kind::AbsSendTime
                | Kind::VideoOrientation
                | Kind::PlayoutDelay,
                _,
            ) => {}
        }
    }
}

/// Ids and places of the elements of `block`, in order, up to the first one that is invalid. Nothing for
/// profiles other than RFC 8285's.
pub fn elements(block: ExtensionBlock, packet: &[u8]) -> Elements<'_> {
    let range = block.range();
    let known = block.profile == ONE_BYTE_PROFILE || block.profile & 0xfff0 == TWO_BYTE_PROFILE;
    let bytes = packet.get(..range.end).filter(|_| known).unwrap_or_default();
    Elements { packet: bytes, at: range.start, one_byte: block.profile == ONE_BYTE_PROFILE }
}

/// See [`elements`].
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    /// The packet up to the end of the block.
    packet: &'a [u8],
    at: usize,
    one_byte: bool,
}

impl Iterator for Elements<'_> {
    type Item = (u8, ByteRange);

    #[inline]
    fn next(&mut self) -> Option<(u8, ByteRange)> {
        loop {
            let first = *self.packet.get(self.at)?;
            if first == 0 {
                self.at += 1;
                continue;
            }
            let (id, len, start) = if self.one_byte {
                // Id 15, and id 0 with a length, end the block (RFC 8285 §4.2).
                if first >> 4 == 15 || first >> 4 == 0 {
                    return None;
                }
                (first >> 4, usize::from(first & 0x0f) + 1, self.at + 1)
            } else {
                (first, usize::from(*self.packet.get(self.at + 1)?), self.at + 2)
            };
            if start + len > self.packet.len() {
                return None;
            }
            self.at = start + len;
            // A header is at most 65,535 bytes long, so both fit.
            return Some((id, ByteRange { start: start as u16, len: len as u16 }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const IDS: ExtensionIds = ExtensionIds {
        mid: Some(1),
        rid: Some(2),
        repaired_rid: Some(3),
        audio_level: Some(4),
        transport_cc: Some(5),
        abs_send_time: Some(6),
        abs_capture_time: Some(7),
        video_orientation: Some(8),
        playout_delay: Some(9),
        dependency_descriptor: Some(10),
        video_layers_allocation: Some(11),
    };

    pub(super) fn packet(profile: u16, data: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        packet.extend_from_slice(&profile.to_be_bytes());
        packet.extend_from_slice(&(data.len().div_ceil(4) as u16).to_be_bytes());
        packet.extend_from_slice(data);
        packet.resize(packet.len().next_multiple_of(4), 0);
        packet
    }

    fn parse(profile: u16, data: &[u8]) -> Extensions {
        let packet = packet(profile, data);
        let header = RtpHeader::parse(&packet).unwrap();
        Extensions::parse(&ExtensionMap::new(&IDS), &header, &packet)
    }

    #[test]
    fn one_byte_elements_with_padding_between() {
        let extensions = parse(0xbede, &[0x10, b'0', 0x51, 0x12, 0x34, 0, 0, 0x62, 1, 2, 3, 0x40, 0x85]);
        assert_eq!(extensions.mid, Mid::new(b"0"));
        assert_eq!(extensions.transport_cc, Some(TwccSeq(0x1234)));
        assert_eq!(extensions.abs_send_time, Some(AbsSendTime(0x01_0203)));
        assert_eq!(extensions.audio_level, Some(AudioLevel { level: 5, voice: true }));
    }

    #[test]
    fn two_byte_elements_with_appbits() {
        let data = [2, 2, b'h', b'i', 9, 3, 0x12, 0x34, 0x56, 10, 0, 8, 1, 3, 0, 0];
        let extensions = parse(0x1007, &data);
        assert_eq!(extensions.rid, Rid::new(b"hi"));
        assert_eq!(extensions.playout_delay, Some(PlayoutDelay { min: 0x123, max: 0x456 }));
        assert_eq!(extensions.dependency_descriptor.map(|range| range.len), Some(0));
        assert_eq!(extensions.video_orientation, Some(VideoOrientation(3)));
    }

    #[test]
    fn send_time_counts_in_18_bits_of_a_second_and_wraps_after_64() {
        assert_eq!(AbsSendTime::at(Time::ZERO), AbsSendTime(0));
        assert_eq!(AbsSendTime::at(Time::from_millis(500)), AbsSendTime(1 << 17));
        assert_eq!(AbsSendTime::at(Time(63_999_999_999)), AbsSendTime(0xff_ffff));
        assert_eq!(AbsSendTime::at(Time::from_millis(64_250)), AbsSendTime(1 << 16));
        assert!(AbsSendTime::at(Time::MAX).0 <= 0xff_ffff);
    }

    #[test]
    fn capture_time_with_and_without_offset() {
        let mut data = vec![7, 8];
        data.extend_from_slice(&77u64.to_be_bytes());
        let without = AbsCaptureTime { capture: NtpTime(77), clock_offset: None };
        assert_eq!(parse(0x1000, &data).abs_capture_time, Some(without));
        data[1] = 16;
        data.extend_from_slice(&(-5i64).to_be_bytes());
        let with = AbsCaptureTime { capture: NtpTime(77), clock_offset: Some(-5) };
        assert_eq!(parse(0x1000, &data).abs_capture_time, Some(with));
    }

    #[test]
    fn the_block_ends_at_id_15_at_a_long_id_0_and_at_an_element_that_overruns() {
        assert_eq!(parse(0xbede, &[0xf0, 1, 0x10, b'a']).mid, None);
        assert_eq!(parse(0xbede, &[0x03, 1, 0x10, b'a']).mid, None);
        let overrun = parse(0xbede, &[0x10, b'a', 0x2f, b'b']);
        assert_eq!((overrun.mid, overrun.rid), (Mid::new(b"a"), None));
        assert_eq!(parse(0x1000, &[1, 1, b'a', 2]).rid, None);
    }

    #[test]
    fn unknown_profiles_ids_and_lengths_are_passed_over() {
        assert_eq!(parse(0xabac, &[0x10, b'0', 0, 0]), Extensions::default());
        assert_eq!(parse(0xbede, &[0xe0, 1, 0x50, 9]), Extensions::default());
        assert_eq!(parse(0x1000, &[6, 2, 1, 2, 4, 0]), Extensions::default());
    }

    #[test]
    fn random_blocks_never_reach_beyond_the_header() {
        use rand::{Rng, SeedableRng, rngs::StdRng};
        let mut rng = StdRng::seed_from_u64(1);
        let map = ExtensionMap::new(&IDS);
        for _ in 0..50_000 {
            let mut data = vec![0; rng.random_range(0..80)];
            rng.fill(data.as_mut_slice());
            let profile = if rng.random() { 0xbede } else { 0x1000 };
            let packet = packet(profile, &data);
            let header = RtpHeader::parse(&packet).unwrap();
            Extensions::parse(&map, &header, &packet);
            if let Some(block) = header.extension() {
                for (_, range) in elements(block, &packet) {
                    assert!(usize::from(range.start + range.len) <= header.header_len());
                }
            }
        }
    }
}
