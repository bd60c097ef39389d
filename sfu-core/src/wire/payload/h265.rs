//! Where keyframes begin in H.265 payloads (RFC 7798), and the temporal layer. Reads NAL unit headers only.

use super::h264::aggregated;

/// NAL unit types (ITU-T H.265 table 7-1, RFC 7798 §4.4).
const VPS: u8 = 32;
const SPS: u8 = 33;
const AGGREGATE: u8 = 48;
const FRAGMENT: u8 = 49;
const FU_START: u8 = 0x80;
const FU_TYPE: u8 = 0x3f;

/// Whether a keyframe begins in this packet: it holds a video or sequence parameter set, alone, in an
/// aggregate or as the first fragment.
pub fn is_keyframe_start(payload: &[u8]) -> bool {
    let Some(([first, _], rest)) = payload.split_first_chunk() else { return false };
    match unit_type(*first) {
        VPS | SPS => true,
        AGGREGATE => aggregated(rest)
            .any(|unit| unit.first().is_some_and(|header| matches!(unit_type(*header), VPS | SPS))),
        FRAGMENT => {
            rest.first().is_some_and(|header| header & FU_START != 0 && matches!(header & FU_TYPE, VPS | SPS))
        }
        _ => false,
    }
}

/// The temporal sub-layer: in every payload header, for aggregates the lowest of their units (RFC 7798 §1.1.4, §4.4.2).
pub fn temporal_id(payload: &[u8]) -> Option<u8> {
    let [_, second] = payload.first_chunk()?;
    (second & 0x07).checked_sub(1)
}

fn unit_type(header: u8) -> u8 {
    header >> 1 & 0x3f
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_sets_alone_aggregated_or_fragmented() {
        assert!(is_keyframe_start(&[0x40, 0x01, 0x0c]));
        assert!(is_keyframe_start(&[0x42, 0x01, 0x01]));
        assert!(is_keyframe_start(&[0x60, 0x01, 0, 2, 0x46, 0x01, 0, 2, 0x40, 0x01]));
        assert!(is_keyframe_start(&[0x62, 0x01, 0xa0, 0x0c]));
    }

    #[test]
    fn slices_and_later_fragments_do_not_start_a_keyframe() {
        for payload in
            [&[0x26, 0x01, 0xaf][..], &[0x02, 0x01], &[0x62, 0x01, 0x20], &[0x62, 0x01, 0x93], &[0x40], &[]]
        {
            assert!(!is_keyframe_start(payload), "{payload:x?}");
        }
    }

    #[test]
    fn every_payload_header_names_the_temporal_layer() {
        assert_eq!(temporal_id(&[0x02, 0x01]), Some(0));
        assert_eq!(temporal_id(&[0x62, 0x03, 0x81]), Some(2));
        assert_eq!(temporal_id(&[0x02, 0x00]), None);
        assert_eq!(temporal_id(&[0x02]), None);
    }
}
