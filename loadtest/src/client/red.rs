//! Redundant audio (RFC 2198), as Chromium sends it: each packet with a copy of the one before.

/// F: another header follows.
const FOLLOWS: u8 = 0x80;

/// A payload of `primary` with a copy of an earlier packet, `offset` ticks older.
pub fn pack(opus: u8, earlier: Option<(u16, &[u8])>, primary: &[u8]) -> Vec<u8> {
    let Some((offset, copy)) = earlier else { return [&[opus], primary].concat() };
    let fields = u32::from(offset) << 10 | (copy.len() as u32 & 0x3ff);
    let [_, fields @ ..] = fields.to_be_bytes();
    [&[FOLLOWS | opus], &fields[..], &[opus], copy, primary].concat()
}

/// The blocks of a payload with their payload types, oldest first, the primary one last; `None` if they are cut short.
pub fn unpack(payload: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let (mut headers, mut rest) = (Vec::new(), payload);
    loop {
        match rest {
            [first, _, high, low, after @ ..] if first & FOLLOWS != 0 => {
                headers.push((first & !FOLLOWS, Some(usize::from(high & 3) << 8 | usize::from(*low))));
                rest = after;
            }
            [first, after @ ..] if first & FOLLOWS == 0 => {
                headers.push((*first, None));
                rest = after;
                break;
            }
            _ => return None,
        }
    }
    let mut blocks = Vec::new();
    for (pt, len) in headers {
        let (block, after) = rest.split_at_checked(len.unwrap_or(rest.len()))?;
        blocks.push((pt, block));
        rest = after;
    }
    Some(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_there_and_back() {
        let payload = pack(111, Some((960, b"earlier")), b"now");
        assert_eq!(payload[..5], [0xef, 0x0f, 0x00, 0x07, 0x6f]);
        assert_eq!(unpack(&payload).unwrap(), [(111, &b"earlier"[..]), (111, b"now")]);
        assert_eq!(unpack(&pack(111, None, b"now")).unwrap(), [(111, &b"now"[..])]);
        assert_eq!(unpack(&payload[..8]), None);
    }
}
