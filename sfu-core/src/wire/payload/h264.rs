//! Where keyframes begin in H.264 payloads (RFC 6184). Reads NAL unit types only.

/// NAL unit types (ITU-T H.264 table 7-1, RFC 6184 §5.2).
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const TYPE: u8 = 0x1f;
const FU_START: u8 = 0x80;

/// Whether a keyframe begins in this packet: it holds a sequence parameter set, alone, in an aggregate or as
/// the first fragment. An IDR slice doesn't count: its parameter sets came in a packet before it, and a
/// decoder that starts at the slice has none.
pub fn is_keyframe_start(payload: &[u8]) -> bool {
    let Some((indicator, rest)) = payload.split_first() else { return false };
    match indicator & TYPE {
        SPS => true,
        STAP_A => aggregated(rest).any(|unit| unit.first().is_some_and(|header| header & TYPE == SPS)),
        FU_A => rest.first().is_some_and(|header| header & FU_START != 0 && header & TYPE == SPS),
        _ => false,
    }
}

/// The units of an aggregate, each after its 16-bit length, up to the first that is cut short. H.265's
/// aggregates have the same form (RFC 7798 §4.4.2).
pub(super) fn aggregated(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, after) = rest.split_first_chunk()?;
        let (unit, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        rest = after;
        Some(unit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_sets_alone_aggregated_or_fragmented() {
        assert!(is_keyframe_start(&[0x67, 0x42, 0xe0, 0x1f]));
        assert!(is_keyframe_start(&[0x78, 0, 3, 0x67, 0x42, 0xe0, 0, 2, 0x68, 0xce]));
        assert!(is_keyframe_start(&[0x78, 0, 2, 0x09, 0x10, 0, 2, 0x67, 0x42]));
        assert!(is_keyframe_start(&[0x7c, 0x87, 0x42]));
    }

    #[test]
    fn slices_and_later_fragments_do_not_start_a_keyframe() {
        for payload in [&[0x65, 0x88][..], &[0x41], &[0x68, 0xce], &[0x7c, 0x85], &[0x7c, 0x07], &[0x7c]] {
            assert!(!is_keyframe_start(payload), "{payload:x?}");
        }
    }

    #[test]
    fn an_aggregate_that_is_cut_short_counts_up_to_there() {
        assert!(!is_keyframe_start(&[0x78, 0, 9, 0x67]));
        assert!(!is_keyframe_start(&[0x78, 0]));
        assert!(!is_keyframe_start(&[0x78, 0, 0, 0, 1]));
        assert!(!is_keyframe_start(&[]));
    }
}
