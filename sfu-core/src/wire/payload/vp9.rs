//! Where keyframes begin in VP9 payloads (RFC 9628 §4.2). Reads the descriptor's flags and layer indices only.

const I: u8 = 0x80;
const P: u8 = 0x40;
const L: u8 = 0x20;
const B: u8 = 0x08;
const M: u8 = 0x80;

/// Whether a keyframe begins in this packet: the first of a frame that isn't inter-picture predicted, in the
/// lowest spatial layer. The layers above are predicted from it and belong to the same picture.
pub fn is_keyframe_start(payload: &[u8]) -> bool {
    let Some(flags) = payload.first() else { return false };
    flags & P == 0 && flags & B != 0 && spatial_id(payload) == Some(0) && payload.len() > 1
}

/// The spatial layer; 0 for a stream without layers, `None` when the descriptor is cut short.
pub fn spatial_id(payload: &[u8]) -> Option<u8> {
    Some(layer_indices(payload)?.map_or(0, |indices| indices >> 1 & 0x07))
}

/// The temporal layer, if the descriptor names one.
pub fn temporal_id(payload: &[u8]) -> Option<u8> {
    layer_indices(payload)?.map(|indices| indices >> 5)
}

/// The byte of TID, U, SID and D: after the flags and a picture id of 7 or 15 bits.
fn layer_indices(payload: &[u8]) -> Option<Option<u8>> {
    let flags = payload.first()?;
    if flags & L == 0 {
        return Some(None);
    }
    let at = match flags & I {
        0 => 1,
        _ if payload.get(1)? & M != 0 => 3,
        _ => 2,
    };
    payload.get(at).copied().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_packet_of_the_lowest_layer_of_an_intra_picture() {
        assert!(is_keyframe_start(&[0x8a, 0x81, 0x23, 0x00]));
        assert!(is_keyframe_start(&[0xaa, 0x81, 0x23, 0x00, 0x05]));
        assert!(is_keyframe_start(&[0x08, 0x00]));
    }

    #[test]
    fn predicted_later_or_higher_is_no_start() {
        for payload in [
            &[0xca, 0x81, 0x23, 0x00][..],
            &[0x82, 0x81, 0x23, 0x00],
            &[0xaa, 0x81, 0x23, 0x03, 0x05],
            &[0xaa, 0x81, 0x23],
            &[0xaa],
            &[0x08],
            &[],
        ] {
            assert!(!is_keyframe_start(payload), "{payload:x?}");
        }
    }

    #[test]
    fn layer_indices_after_either_picture_id() {
        assert_eq!(temporal_id(&[0xa8, 0x81, 0x23, 0b0101_0010]), Some(2));
        assert_eq!(spatial_id(&[0xa8, 0x81, 0x23, 0b0101_0010]), Some(1));
        assert_eq!(temporal_id(&[0xa8, 0x23, 0b0100_0000]), Some(2));
        assert_eq!(temporal_id(&[0x28, 0b0010_0000]), Some(1));
        assert_eq!(temporal_id(&[0x88, 0x23, 0xff]), None);
        assert_eq!(spatial_id(&[0x88, 0x23, 0xff]), Some(0));
    }
}
