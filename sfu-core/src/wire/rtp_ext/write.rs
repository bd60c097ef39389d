//! Writing header extensions: a chosen set of values into one block, under a receiver's ids.

use super::{
    AbsCaptureTime, AbsSendTime, AudioLevel, ExtensionIds, ONE_BYTE_PROFILE, PlayoutDelay, TWO_BYTE_PROFILE,
    VideoOrientation,
};
use crate::unit::{Mid, Rid, TwccSeq};
use crate::wire::rtp::EXTENSION_PREFIX_LEN;

/// Longest value and highest id of a one-byte element (RFC 8285 §4.2).
const ONE_BYTE_LEN_MAX: usize = 16;
const ONE_BYTE_ID_MAX: u8 = 14;

/// The values to send with one packet. Those without a negotiated id are left out.
#[derive(Clone, Copy, Default, Debug)]
pub struct OutgoingExtensions<'a> {
    pub mid: Option<Mid>,
    pub rid: Option<Rid>,
    pub repaired_rid: Option<Rid>,
    pub audio_level: Option<AudioLevel>,
    pub transport_cc: Option<TwccSeq>,
    pub abs_send_time: Option<AbsSendTime>,
    pub abs_capture_time: Option<AbsCaptureTime>,
    pub video_orientation: Option<VideoOrientation>,
    pub playout_delay: Option<PlayoutDelay>,
    pub dependency_descriptor: Option<&'a [u8]>,
    pub video_layers_allocation: Option<&'a [u8]>,
}

/// What [`ExtensionWriter::write`] has written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    /// Length of the whole block, a multiple of 4. Zero when no value has an id: then the header's X bit
    /// stays clear.
    pub len: usize,
    /// Where the two bytes of the transport-wide sequence number stand in the output.
    pub transport_cc_at: Option<usize>,
    /// Where the three bytes of the absolute send time stand in the output.
    pub abs_send_time_at: Option<usize>,
}

/// Writes extension blocks with the ids that one receiver negotiated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExtensionWriter {
    ids: ExtensionIds,
}

impl ExtensionWriter {
    pub fn new(ids: ExtensionIds) -> ExtensionWriter {
        ExtensionWriter { ids }
    }

    /// Writes a block at the start of `out`, which belongs right after the fixed header. One-byte form unless
    /// an id or a length needs the other (RFC 8285 §4.1.2). `None` when it doesn't fit.
    #[inline]
    pub fn write(&self, values: &OutgoingExtensions<'_>, out: &mut [u8]) -> Option<Written> {
        let mut two_byte = false;
        let mut values_len = 0;
        let mut count = 0;
        self.for_each(values, |_, id, value| {
            two_byte |= id > ONE_BYTE_ID_MAX || value.len() > ONE_BYTE_LEN_MAX || value.is_empty();
            values_len += value.len();
            count += 1;
            Some(())
        })?;
        if count == 0 {
            return Some(Written { len: 0, transport_cc_at: None, abs_send_time_at: None });
        }
        let prefix_len = if two_byte { 2 } else { 1 };
        let data_len = (values_len + count * prefix_len).next_multiple_of(4);
        let out = out.get_mut(..EXTENSION_PREFIX_LEN + data_len)?;
        let profile = if two_byte { TWO_BYTE_PROFILE } else { ONE_BYTE_PROFILE };
        out.get_mut(..2)?.copy_from_slice(&profile.to_be_bytes());
        out.get_mut(2..4)?.copy_from_slice(&u16::try_from(data_len / 4).ok()?.to_be_bytes());

        let mut written = Written { len: out.len(), transport_cc_at: None, abs_send_time_at: None };
        let mut at = EXTENSION_PREFIX_LEN;
        self.for_each(values, |kind, id, value| {
            if two_byte {
                let len = u8::try_from(value.len()).ok()?;
                out.get_mut(at..at + 2)?.copy_from_slice(&[id, len]);
            } else {
                *out.get_mut(at)? = id << 4 | (value.len() as u8).wrapping_sub(1);
            }
            at += prefix_len;
            match kind {
                Patchable::TransportCc => written.transport_cc_at = Some(at),
                Patchable::AbsSendTime => written.abs_send_time_at = Some(at),
                Patchable::No => {}
            }
            out.get_mut(at..at + value.len())?.copy_from_slice(value);
            at += value.len();
            Some(())
        })?;
        out.get_mut(at..)?.fill(0);
        Some(written)
    }

    /// Visits each value that has an id, until `visit` returns `None`. Always in the same order, so that
    /// packets with the same set of values have headers of the same layout.
    #[inline]
    fn for_each(
        &self,
        values: &OutgoingExtensions<'_>,
        mut visit: impl FnMut(Patchable, u8, &[u8]) -> Option<()>,
    ) -> Option<()> {
        let ids = &self.ids;
        if let (Some(id), Some(TwccSeq(seq))) = (ids.transport_cc, values.transport_cc) {
            visit(Patchable::TransportCc, id, &seq.to_be_bytes())?;
        }
        if let (Some(id), Some(AbsSendTime(time))) = (ids.abs_send_time, values.abs_send_time) {
            let [_, a, b, c] = time.to_be_bytes();
            visit(Patchable::AbsSendTime, id, &[a, b, c])?;
        }
        let mut other = |id: Option<u8>, value: Option<&[u8]>| match (id, value) {
            (Some(id), Some(value)) => visit(Patchable::No, id, value),
            _ => Some(()),
        };
        other(ids.mid, values.mid.as_ref().map(|mid| mid.0.as_bytes()))?;
        other(ids.rid, values.rid.as_ref().map(|rid| rid.0.as_bytes()))?;
        other(ids.repaired_rid, values.repaired_rid.as_ref().map(|rid| rid.0.as_bytes()))?;
        if let Some(AudioLevel { level, voice }) = values.audio_level {
            other(ids.audio_level, Some(&[level & 0x7f | u8::from(voice) << 7]))?;
        }
        if let Some(AbsCaptureTime { capture, clock_offset }) = values.abs_capture_time {
            let mut bytes = [0; 16];
            let (time, offset) = bytes.split_at_mut(8);
            time.copy_from_slice(&capture.0.to_be_bytes());
            offset.copy_from_slice(&clock_offset.unwrap_or_default().to_be_bytes());
            other(ids.abs_capture_time, bytes.get(..if clock_offset.is_some() { 16 } else { 8 }))?;
        }
        if let Some(VideoOrientation(byte)) = values.video_orientation {
            other(ids.video_orientation, Some(&[byte]))?;
        }
        if let Some(PlayoutDelay { min, max }) = values.playout_delay {
            let packed = u32::from(min & 0xfff) << 12 | u32::from(max & 0xfff);
            let [_, a, b, c] = packed.to_be_bytes();
            other(ids.playout_delay, Some(&[a, b, c]))?;
        }
        other(ids.dependency_descriptor, values.dependency_descriptor)?;
        other(ids.video_layers_allocation, values.video_layers_allocation)
    }
}

/// Values whose place is reported.
#[derive(Clone, Copy)]
enum Patchable {
    TransportCc,
    AbsSendTime,
    No,
}

#[cfg(test)]
mod tests {
    use super::super::tests::IDS;
    use super::*;
    use crate::unit::NtpTime;
    use crate::wire::rtp::RtpHeader;
    use crate::wire::rtp_ext::{ExtensionMap, Extensions};

    fn everything() -> OutgoingExtensions<'static> {
        OutgoingExtensions {
            mid: Mid::new(b"mid"),
            rid: Rid::new(b"0123456789abcdef"),
            repaired_rid: Rid::new(b"r"),
            audio_level: Some(AudioLevel { level: 127, voice: false }),
            transport_cc: Some(TwccSeq(0xabcd)),
            abs_send_time: Some(AbsSendTime(0xff_0102)),
            abs_capture_time: Some(AbsCaptureTime { capture: NtpTime(u64::MAX), clock_offset: Some(-1) }),
            video_orientation: Some(VideoOrientation(3)),
            playout_delay: Some(PlayoutDelay { min: 0xfff, max: 1 }),
            dependency_descriptor: Some(&[1, 2, 3]),
            video_layers_allocation: Some(&[4; 16]),
        }
    }

    /// What a receiver reads from a block.
    fn read(ids: &ExtensionIds, block: &[u8]) -> (Vec<u8>, Extensions) {
        let mut packet = vec![0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        packet.extend_from_slice(block);
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!(header.header_len(), packet.len());
        let extensions = Extensions::parse(&ExtensionMap::new(ids), &header, &packet);
        (packet, extensions)
    }

    fn assert_round_trip(ids: ExtensionIds, values: OutgoingExtensions<'_>, profile: u16) {
        let mut out = [0xff; 256];
        let written = ExtensionWriter::new(ids).write(&values, &mut out).unwrap();
        assert_eq!(out[..2], profile.to_be_bytes());
        let (packet, read) = read(&ids, &out[..written.len]);
        assert_eq!(read.mid, values.mid);
        assert_eq!(read.rid, values.rid);
        assert_eq!(read.repaired_rid, values.repaired_rid);
        assert_eq!(read.audio_level, values.audio_level);
        assert_eq!(read.transport_cc, values.transport_cc);
        assert_eq!(read.abs_send_time, values.abs_send_time);
        assert_eq!(read.abs_capture_time, values.abs_capture_time);
        assert_eq!(read.video_orientation, values.video_orientation);
        assert_eq!(read.playout_delay, values.playout_delay);
        assert_eq!(read.dependency_descriptor.map(|range| range.of(&packet)), values.dependency_descriptor);
        assert_eq!(
            read.video_layers_allocation.map(|range| range.of(&packet)),
            values.video_layers_allocation
        );
    }

    #[test]
    fn every_value_comes_back() {
        assert_round_trip(IDS, everything(), ONE_BYTE_PROFILE);
        let without_offset = AbsCaptureTime { capture: NtpTime(1), clock_offset: None };
        let values = OutgoingExtensions { abs_capture_time: Some(without_offset), ..everything() };
        assert_round_trip(IDS, values, ONE_BYTE_PROFILE);
    }

    #[test]
    fn high_ids_and_long_or_empty_values_take_the_two_byte_form() {
        assert_round_trip(ExtensionIds { mid: Some(15), ..IDS }, everything(), TWO_BYTE_PROFILE);
        assert_round_trip(ExtensionIds { mid: Some(255), ..IDS }, everything(), TWO_BYTE_PROFILE);
        for descriptor in [&[7; 17][..], &[]] {
            let values = OutgoingExtensions { dependency_descriptor: Some(descriptor), ..everything() };
            assert_round_trip(IDS, values, TWO_BYTE_PROFILE);
        }
    }

    #[test]
    fn transport_cc_can_be_patched_in_place() {
        let writer = ExtensionWriter::new(IDS);
        let mut out = [0; 64];
        let values = OutgoingExtensions {
            mid: Mid::new(b"0"),
            transport_cc: Some(TwccSeq(0)),
            abs_send_time: Some(AbsSendTime(0)),
            ..OutgoingExtensions::default()
        };
        let written = writer.write(&values, &mut out).unwrap();
        let (seq_at, time_at) = (written.transport_cc_at.unwrap(), written.abs_send_time_at.unwrap());
        out[seq_at..seq_at + 2].copy_from_slice(&[0x12, 0x34]);
        out[time_at..time_at + 3].copy_from_slice(&[1, 2, 3]);
        let (_, read) = read(&IDS, &out[..written.len]);
        assert_eq!(read.transport_cc, Some(TwccSeq(0x1234)));
        assert_eq!(read.abs_send_time, Some(AbsSendTime(0x01_0203)));
        assert_eq!(read.mid, Mid::new(b"0"));
    }

    #[test]
    fn nothing_negotiated_writes_nothing_and_too_little_room_is_told() {
        let nothing = ExtensionWriter::new(ExtensionIds::default());
        assert_eq!(nothing.write(&everything(), &mut []).map(|written| written.len), Some(0));
        let writer = ExtensionWriter::new(IDS);
        let mut out = [0; 256];
        let len = writer.write(&everything(), &mut out).unwrap().len;
        for short in 0..len {
            assert_eq!(writer.write(&everything(), &mut out[..short]), None);
        }
        let too_long = [0; 256];
        let values = OutgoingExtensions { dependency_descriptor: Some(&too_long), ..everything() };
        assert_eq!(writer.write(&values, &mut [0; 1_024]), None);
    }
}
