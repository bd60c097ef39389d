//! RTX payloads (RFC 4588 §4): the original sequence number before the original payload.

use crate::unit::SeqNo;

/// Length of the original sequence number.
pub const OSN_LEN: usize = 2;

/// Splits an RTX payload into the original sequence number and the original payload; `None` when it is too
/// short to hold the former, as with padding-only packets.
pub fn split(payload: &[u8]) -> Option<(SeqNo, &[u8])> {
    let (osn, original) = payload.split_first_chunk()?;
    Some((SeqNo(u16::from_be_bytes(*osn)), original))
}

/// The bytes that go before the original payload.
pub fn prefix(original: SeqNo) -> [u8; OSN_LEN] {
    original.0.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn original_sequence_number_there_and_back() {
        let mut payload = prefix(SeqNo(0xfffe)).to_vec();
        payload.extend_from_slice(b"vp8");
        assert_eq!(split(&payload), Some((SeqNo(0xfffe), &b"vp8"[..])));
        assert_eq!(split(&payload[..2]), Some((SeqNo(0xfffe), &[][..])));
        assert_eq!(split(&payload[..1]), None);
        assert_eq!(split(&[]), None);
    }
}
