//! Where keyframes begin in AV1 payloads (RTP Payload Format for AV1, §4.4), and the temporal layer. Reads the aggregation
//! header and the first OBU's header only.
//!
//! ```text
//! aggregation header |Z|Y| W |N|-|-|-|    then, unless W is 1, the element's length (leb128)
//! OBU header         |F| type  |X|S|-|    X: |temporal id|spatial id|-|-|-|
//! ```

const Z: u8 = 0x80;
const W: u8 = 0x30;
const N: u8 = 0x08;
const X: u8 = 0x04;

/// OBU type of a sequence header (AV1 bitstream specification, §6.2.2).
const SEQUENCE_HEADER: u8 = 1;

/// A length takes at most this many bytes (AV1 bitstream specification, §4.10.5).
const LEB128_LEN_MAX: usize = 8;

/// Whether a coded video sequence begins in this packet: N is set, and a sequence header comes first. Encoders repeat
/// sequence headers within a sequence, so one alone says nothing.
pub fn is_keyframe_start(payload: &[u8]) -> bool {
    let new_sequence = payload.first().is_some_and(|aggregation| aggregation & N != 0);
    new_sequence && first_obu(payload).is_some_and(|obu| obu_type(obu) == Some(SEQUENCE_HEADER))
}

/// The temporal layer, if the packet begins with an OBU whose header names one.
pub fn temporal_id(payload: &[u8]) -> Option<u8> {
    match first_obu(payload)? {
        [header, extension, ..] if header & X != 0 => Some(extension >> 5),
        _ => None,
    }
}

/// The first OBU, unless it began in an earlier packet.
fn first_obu(payload: &[u8]) -> Option<&[u8]> {
    let (aggregation, elements) = payload.split_first()?;
    if aggregation & Z != 0 {
        return None;
    }
    if aggregation & W == 0x10 {
        return Some(elements);
    }
    let last = elements.iter().take(LEB128_LEN_MAX).position(|byte| byte & 0x80 == 0)?;
    elements.get(last + 1..)
}

fn obu_type(obu: &[u8]) -> Option<u8> {
    obu.first().map(|header| header >> 3 & 0x0f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_header_with_n_starts_a_keyframe() {
        assert!(is_keyframe_start(&[0x18, 0x0a, 0x0b]));
        assert!(is_keyframe_start(&[0x28, 0x0b, 0x08, 0x00]));
        assert!(is_keyframe_start(&[0x08, 0x8b, 0x01, 0x08, 0x00]));
        for payload in [
            &[0x10, 0x0a][..],
            &[0x98, 0x0a],
            &[0x18, 0x32],
            &[0x18],
            &[0x28, 0x0b],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x08],
            &[],
        ] {
            assert!(!is_keyframe_start(payload), "{payload:x?}");
        }
    }

    #[test]
    fn the_temporal_layer_is_in_the_first_obus_extension() {
        assert_eq!(temporal_id(&[0x10, 0x36, 0x48, 0x00]), Some(2));
        assert_eq!(temporal_id(&[0x20, 0x05, 0x36, 0x20]), Some(1));
        assert_eq!(temporal_id(&[0x10, 0x32, 0x48]), None);
        assert_eq!(temporal_id(&[0x90, 0x36, 0x48]), None);
        assert_eq!(temporal_id(&[0x10, 0x36]), None);
    }
}
