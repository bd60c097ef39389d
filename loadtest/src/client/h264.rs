//! H.264 in RTP (RFC 6184, packetization mode 1), as far as a synthetic stream needs it: any frame's bytes travel as the
//! slice of an access unit, keyframes behind their parameter sets. Nothing here could be decoded.

use bytes::Bytes;

use super::vp8::PART_MAX;

const SLICE: u8 = 1;
const IDR: u8 = 5;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const TYPE: u8 = 0x1f;
/// nal_ref_idc of what others refer to.
const REFERENCE: u8 = 0x60;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;

/// Sequence and picture parameter set in one aggregate.
const PARAMETER_SETS: [u8; 11] = [REFERENCE | STAP_A, 0, 4, 0x67, 0x42, 0xe0, 0x1f, 0, 2, 0x68, 0xce];

/// The payloads of one frame, in order.
pub fn packetize(frame: &[u8], key: bool) -> Vec<Vec<u8>> {
    let mut payloads: Vec<Vec<u8>> = key.then(|| PARAMETER_SETS.to_vec()).into_iter().collect();
    let unit = if key { IDR } else { SLICE };
    let parts = frame.len().div_ceil(PART_MAX).max(1);
    if parts == 1 {
        payloads.push([&[REFERENCE | unit], frame].concat());
        return payloads;
    }
    for (at, part) in frame.chunks(frame.len().div_ceil(parts)).enumerate() {
        let start = if at == 0 { FU_START } else { 0 };
        let end = if at + 1 == parts { FU_END } else { 0 };
        payloads.push([&[REFERENCE | FU_A, start | end | unit], part].concat());
    }
    payloads
}

/// What one payload holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unpacked {
    ParameterSets,
    /// Bytes of a frame; whether they are its first.
    Part {
        start: bool,
        bytes: Bytes,
    },
}

/// `None` for what [`packetize`] doesn't write.
pub fn unpack(payload: &Bytes) -> Option<Unpacked> {
    let part = |start, header: usize| Some(Unpacked::Part { start, bytes: payload.slice(header..) });
    match payload.first()? & TYPE {
        STAP_A => (payload[..] == PARAMETER_SETS).then_some(Unpacked::ParameterSets),
        SLICE | IDR => part(true, 1),
        FU_A => part(payload.get(1)? & FU_START != 0, 2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rtp::codec::h264::H264Packet;
    use rtp::packetizer::Depacketizer;

    use super::*;

    #[test]
    fn frames_read_back_here_and_with_another_s_reader() {
        let frame: Vec<u8> = (0..2_500u32).map(|i| i as u8 | 1).collect();
        for (key, unit) in [(false, 0x61), (true, 0x65)] {
            let (mut read, mut theirs, mut reader) = (Vec::new(), Vec::new(), H264Packet::default());
            let mut starts = 0;
            for payload in packetize(&frame, key).into_iter().map(Bytes::from) {
                assert!(payload.len() <= PART_MAX + 2);
                theirs.extend_from_slice(&reader.depacketize(&payload).unwrap());
                if let Some(Unpacked::Part { start, bytes }) = unpack(&payload) {
                    starts += u32::from(start);
                    read.extend_from_slice(&bytes);
                }
            }
            assert_eq!((&read, starts), (&frame, 1));
            let slice = [&[0, 0, 0, 1, unit], &frame[..]].concat();
            assert!(theirs.ends_with(&slice), "Annex B of the whole unit");
            assert_eq!(theirs.len() > slice.len(), key, "parameter sets come before a keyframe");
        }
        assert_eq!(packetize(&[1, 2, 3], false), [vec![0x61, 1, 2, 3]]);
    }
}
