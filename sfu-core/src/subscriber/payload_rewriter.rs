//! Keeps the numbers inside a payload continuous over a switch: VP8's picture id and TL0PICIDX (RFC 7741 §4.2).
//! Offsets are fixed for a segment; the patch of one packet is a small addition.

use crate::wire::payload::PayloadDescriptor;
use crate::wire::payload::vp8::Vp8Patch;

/// What is added to a source's numbers in one segment, modulo their width.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PayloadOffsets {
    picture_id: u16,
    tl0_pic_idx: u8,
}

/// The last numbers that went out.
#[derive(Clone, Copy, Default, Debug)]
pub struct PayloadRewriter {
    last: Option<(u16, u8)>,
}

impl PayloadRewriter {
    /// The offsets of a segment that begins with this packet: its numbers follow the last ones that went out.
    pub fn begin(&self, first: &PayloadDescriptor) -> PayloadOffsets {
        let (PayloadDescriptor::Vp8(vp8), Some((picture_id, tl0_pic_idx))) = (first, self.last) else {
            return PayloadOffsets::default();
        };
        PayloadOffsets {
            picture_id: picture_id.wrapping_add(1).wrapping_sub(vp8.picture_id().unwrap_or(0)),
            tl0_pic_idx: tl0_pic_idx.wrapping_add(1).wrapping_sub(vp8.tl0_pic_idx().unwrap_or(0)),
        }
    }

    /// A packet goes out under these offsets.
    pub fn sent(&mut self, offsets: PayloadOffsets, descriptor: &PayloadDescriptor) {
        let Some(patch) = vp8_patch(offsets, descriptor) else { return };
        let newer = |last: u16| patch.picture_id.wrapping_sub(last) & 0x7fff < 0x4000;
        if self.last.is_none_or(|(picture_id, _)| newer(picture_id)) {
            self.last = Some((patch.picture_id, patch.tl0_pic_idx));
        }
    }
}

/// Patches a copy of the payload that `descriptor` was parsed from.
pub fn apply(offsets: PayloadOffsets, descriptor: &PayloadDescriptor, payload: &mut [u8]) {
    if let (Some(patch), PayloadDescriptor::Vp8(vp8)) = (vp8_patch(offsets, descriptor), descriptor) {
        patch.apply(vp8, payload);
    }
}

fn vp8_patch(offsets: PayloadOffsets, descriptor: &PayloadDescriptor) -> Option<Vp8Patch> {
    let PayloadDescriptor::Vp8(vp8) = descriptor else { return None };
    Some(Vp8Patch {
        picture_id: vp8.picture_id().unwrap_or(0).wrapping_add(offsets.picture_id) & 0x7fff,
        tl0_pic_idx: vp8.tl0_pic_idx().unwrap_or(0).wrapping_add(offsets.tl0_pic_idx),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::payload::vp8::Vp8Descriptor;

    fn vp8(picture_id: u16, tl0: u8) -> (PayloadDescriptor, Vec<u8>) {
        let [high, low] = picture_id.to_be_bytes();
        let payload = vec![0x90, 0xc0, high | 0x80, low, tl0, 0x01, 0, 0];
        (PayloadDescriptor::Vp8(Vp8Descriptor::parse(&payload).unwrap()), payload)
    }

    fn numbers(offsets: PayloadOffsets, picture_id: u16, tl0: u8) -> (u16, u8) {
        let (descriptor, mut payload) = vp8(picture_id, tl0);
        apply(offsets, &descriptor, &mut payload);
        let patched = Vp8Descriptor::parse(&payload).unwrap();
        (patched.picture_id().unwrap(), patched.tl0_pic_idx().unwrap())
    }

    #[test]
    fn picture_ids_continue_over_a_switch_and_over_the_wrap() {
        let mut rewriter = PayloadRewriter::default();
        let (first, _) = vp8(32_766, 254);
        let offsets = rewriter.begin(&first);
        rewriter.sent(offsets, &first);
        rewriter.sent(offsets, &vp8(32_767, 255).0);
        let offsets = rewriter.begin(&vp8(5, 7).0);
        assert_eq!(numbers(offsets, 5, 7), (0, 0));
        assert_eq!(numbers(offsets, 6, 8), (1, 1));
    }

    #[test]
    fn a_late_packet_does_not_move_the_last_number_back() {
        let mut rewriter = PayloadRewriter::default();
        let offsets = PayloadOffsets::default();
        rewriter.sent(offsets, &vp8(100, 10).0);
        rewriter.sent(offsets, &vp8(99, 9).0);
        assert_eq!(numbers(rewriter.begin(&vp8(7, 7).0), 7, 7), (101, 11));
    }
}
