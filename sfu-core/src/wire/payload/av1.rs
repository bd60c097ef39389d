//! Where keyframes begin in AV1 payloads (RTP Payload Format for AV1, §4.4). Reads the aggregation header
//! only; layers are in the dependency descriptor.

const Z: u8 = 0x80;
const N: u8 = 0x08;

/// Whether a coded video sequence begins in this packet: N is set, and its first element continues no other.
pub fn is_keyframe_start(payload: &[u8]) -> bool {
    payload.len() > 1 && payload.first().is_some_and(|header| header & N != 0 && header & Z == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_coded_video_sequence_starts_a_keyframe() {
        assert!(is_keyframe_start(&[0x18, 0x0a]));
        assert!(is_keyframe_start(&[0x68, 0x0a]));
        for payload in [&[0x10, 0x0a][..], &[0x98, 0x0a], &[0x18], &[]] {
            assert!(!is_keyframe_start(payload), "{payload:x?}");
        }
    }
}
