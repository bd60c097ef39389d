//! Keeps the numbers that a payload and its dependency descriptor count by continuous over a switch: picture ids and
//! TL0PICIDX of VP8 (RFC 7741 §4.2) and VP9 (RFC 9628 §4.2), frame numbers of the descriptor. Offsets are fixed for a
//! segment; the patch of one packet is a small addition.
//!
//! Pictures that are left out of a VP8 stream are closed up, because receivers take a gap for loss. VP9 and the
//! descriptor name references by distance: their gaps stay.

use crate::packet::{Packet, Trim};
use crate::wire::payload::PayloadDescriptor;
use crate::wire::payload::vp8::Vp8Patch;
use crate::wire::payload::vp9::Vp9Patch;

/// Pictures ids have 15 bits, or 7.
const PICTURE_ID: u16 = 0x7fff;

/// What is added to a source's numbers in one segment, modulo their width.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PayloadOffsets {
    picture_id: u16,
    tl0_pic_idx: u8,
    /// Of the dependency descriptor.
    pub frame: u16,
}

/// The last numbers that went out.
#[derive(Clone, Default, Debug)]
pub struct PayloadRewriter {
    last: Option<(u16, u8)>,
    last_frame: Option<u16>,
    left_out: LeftOut,
}

impl PayloadRewriter {
    /// The offsets of a segment that begins with this packet: its numbers follow the last ones that went out.
    pub fn begin(&mut self, first: &Packet) -> PayloadOffsets {
        self.left_out = LeftOut::default();
        let mut offsets = PayloadOffsets::default();
        if let (Some(numbers), Some((picture_id, tl0_pic_idx))) = (numbers(&first.descriptor), self.last) {
            offsets.picture_id = picture_id.wrapping_add(1).wrapping_sub(numbers.0);
            offsets.tl0_pic_idx = tl0_pic_idx.wrapping_add(1).wrapping_sub(numbers.1);
        }
        if let (Some(dependency), Some(frame)) = (&first.dependency, self.last_frame) {
            offsets.frame = frame.wrapping_add(1).wrapping_sub(dependency.descriptor.frame_number);
        }
        offsets
    }

    /// A packet is left out: the pictures after its close up, unless it is late.
    pub fn left_out(&mut self, descriptor: &PayloadDescriptor) {
        if let PayloadDescriptor::Vp8(vp8) = descriptor
            && let Some(picture_id) = vp8.picture_id()
        {
            self.left_out.add(picture_id);
        }
    }

    /// How many pictures were left out before this one.
    pub fn pictures_out(&self, descriptor: &PayloadDescriptor) -> u16 {
        match descriptor {
            PayloadDescriptor::Vp8(vp8) => vp8.picture_id().map_or(0, |id| self.left_out.before(id)),
            _ => 0,
        }
    }

    /// A packet goes out under these offsets.
    pub fn sent(&mut self, offsets: PayloadOffsets, trim: Trim, packet: &Packet) {
        if let PayloadDescriptor::Vp8(vp8) = &packet.descriptor
            && let Some(picture_id) = vp8.picture_id()
        {
            self.left_out.went_on(picture_id);
        }
        if let Some(numbers) = patched(offsets, trim, &packet.descriptor) {
            let newer = |last: u16| numbers.0.wrapping_sub(last) & PICTURE_ID < 0x4000;
            if self.last.is_none_or(|(picture_id, _)| newer(picture_id)) {
                self.last = Some(numbers);
            }
        }
        if let Some(dependency) = &packet.dependency {
            let frame = dependency.descriptor.frame_number.wrapping_add(offsets.frame);
            if self.last_frame.is_none_or(|last| frame.wrapping_sub(last) < 0x8000) {
                self.last_frame = Some(frame);
            }
        }
    }
}

/// Patches a copy of the payload that `descriptor` was parsed from.
pub fn apply(offsets: PayloadOffsets, trim: Trim, descriptor: &PayloadDescriptor, payload: &mut [u8]) {
    let Some((picture_id, tl0_pic_idx)) = patched(offsets, trim, descriptor) else { return };
    match descriptor {
        PayloadDescriptor::Vp8(vp8) => Vp8Patch { picture_id, tl0_pic_idx }.apply(vp8, payload),
        PayloadDescriptor::Vp9(vp9) => Vp9Patch { picture_id, tl0_pic_idx }.apply(vp9, payload),
        _ => {}
    }
}

/// Picture id and TL0PICIDX of a packet, zero where it has none; `None` for codecs that count nothing.
fn numbers(descriptor: &PayloadDescriptor) -> Option<(u16, u8)> {
    match descriptor {
        PayloadDescriptor::Vp8(vp8) => Some((vp8.picture_id().unwrap_or(0), vp8.tl0_pic_idx().unwrap_or(0))),
        PayloadDescriptor::Vp9(vp9) => Some((vp9.picture_id().unwrap_or(0), vp9.tl0_pic_idx().unwrap_or(0))),
        _ => None,
    }
}

fn patched(offsets: PayloadOffsets, trim: Trim, descriptor: &PayloadDescriptor) -> Option<(u16, u8)> {
    let (picture_id, tl0_pic_idx) = numbers(descriptor)?;
    let picture_id = picture_id.wrapping_add(offsets.picture_id).wrapping_sub(trim.pictures_out) & PICTURE_ID;
    Some((picture_id, tl0_pic_idx.wrapping_add(offsets.tl0_pic_idx)))
}

/// The pictures that were left out of a segment, newest last.
#[derive(Clone, Default, Debug)]
struct LeftOut {
    recent: [u16; LeftOut::RECENT],
    count: u16,
    newest_on: Option<u16>,
}

impl LeftOut {
    /// Pictures that a late packet may precede: more than a second of the highest temporal layer.
    const RECENT: usize = 32;

    fn add(&mut self, id: u16) {
        // Another packet of the same picture, or a late one: its place is taken.
        let is_old = |other: u16| other.wrapping_sub(id) & PICTURE_ID < 0x4000;
        if self.newest_on.is_some_and(is_old) || self.newest().is_some_and(is_old) {
            return;
        }
        if let Some(place) = self.recent.get_mut(usize::from(self.count) % LeftOut::RECENT) {
            *place = id;
        }
        self.count = self.count.wrapping_add(1);
    }

    fn went_on(&mut self, id: u16) {
        if self.newest_on.is_none_or(|newest| id.wrapping_sub(newest) & PICTURE_ID < 0x4000) {
            self.newest_on = Some(id);
        }
    }

    fn newest(&self) -> Option<u16> {
        let last = usize::from(self.count.checked_sub(1)?) % LeftOut::RECENT;
        self.recent.get(last).copied()
    }

    fn before(&self, id: u16) -> u16 {
        let kept = usize::from(self.count).min(LeftOut::RECENT);
        let newest_first = (1..=kept).filter_map(|back| {
            let at = usize::from(self.count.wrapping_sub(back as u16)) % LeftOut::RECENT;
            self.recent.get(at)
        });
        let after = newest_first.take_while(|out| out.wrapping_sub(id) & PICTURE_ID < 0x4000).count();
        self.count.wrapping_sub(after as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::ExtSeq;
    use crate::wire::payload::vp8::Vp8Descriptor;
    use crate::wire::payload::vp9::Vp9Descriptor;

    fn packet(descriptor: PayloadDescriptor) -> Packet {
        Packet { descriptor, ..Packet::for_test(ExtSeq(1)) }
    }

    fn vp8(picture_id: u16, tl0: u8) -> (PayloadDescriptor, Vec<u8>) {
        let [high, low] = picture_id.to_be_bytes();
        let payload = vec![0x90, 0xc0, high | 0x80, low, tl0, 0x01, 0, 0];
        (PayloadDescriptor::Vp8(Vp8Descriptor::parse(&payload).unwrap()), payload)
    }

    fn numbers(offsets: PayloadOffsets, picture_id: u16, tl0: u8) -> (u16, u8) {
        let (descriptor, mut payload) = vp8(picture_id, tl0);
        apply(offsets, Trim::default(), &descriptor, &mut payload);
        let patched = Vp8Descriptor::parse(&payload).unwrap();
        (patched.picture_id().unwrap(), patched.tl0_pic_idx().unwrap())
    }

    #[test]
    fn picture_ids_continue_over_a_switch_and_over_the_wrap() {
        let mut rewriter = PayloadRewriter::default();
        let first = packet(vp8(32_766, 254).0);
        let offsets = rewriter.begin(&first);
        rewriter.sent(offsets, Trim::default(), &first);
        rewriter.sent(offsets, Trim::default(), &packet(vp8(32_767, 255).0));
        let offsets = rewriter.begin(&packet(vp8(5, 7).0));
        assert_eq!(numbers(offsets, 5, 7), (0, 0));
        assert_eq!(numbers(offsets, 6, 8), (1, 1));
    }

    #[test]
    fn a_late_packet_does_not_move_the_last_number_back() {
        let mut rewriter = PayloadRewriter::default();
        let offsets = PayloadOffsets::default();
        rewriter.sent(offsets, Trim::default(), &packet(vp8(100, 10).0));
        rewriter.sent(offsets, Trim::default(), &packet(vp8(99, 9).0));
        assert_eq!(numbers(rewriter.begin(&packet(vp8(7, 7).0)), 7, 7), (101, 11));
    }

    #[test]
    fn vp9_continues_from_vp8_and_keeps_its_gaps() {
        let mut rewriter = PayloadRewriter::default();
        rewriter.sent(PayloadOffsets::default(), Trim::default(), &packet(vp8(100, 10).0));
        let vp9 = |id: u8, tl0: u8| {
            let payload = vec![0xa8, 0x80, id, 0, tl0, 1];
            (packet(PayloadDescriptor::Vp9(Vp9Descriptor::parse(&payload).unwrap())), payload)
        };
        let offsets = rewriter.begin(&vp9(7, 3).0);
        let (packet, mut payload) = vp9(9, 4);
        apply(offsets, Trim::default(), &packet.descriptor, &mut payload);
        assert_eq!(payload, [0xa8, 0x80, 103, 0, 12, 1]);
    }

    #[test]
    fn pictures_that_are_left_out_close_up_and_late_ones_keep_their_place() {
        let mut rewriter = PayloadRewriter::default();
        let offsets = rewriter.begin(&packet(vp8(32_760, 0).0));
        let mut seen = Vec::new();
        // Every other picture is left out, in two packets; the tenth comes late.
        let order = (0..9).chain(10..20).chain([9, 8]).map(|n| (n, (32_760 + n) & PICTURE_ID));
        for (n, id) in order {
            let descriptor = vp8(id, 0).0;
            if n % 2 == 1 {
                rewriter.left_out(&descriptor);
                rewriter.left_out(&descriptor);
                continue;
            }
            let trim = Trim { pictures_out: rewriter.pictures_out(&descriptor), ..Trim::default() };
            rewriter.sent(offsets, trim, &packet(descriptor));
            seen.push(patched(offsets, trim, &descriptor).unwrap().0);
        }
        // The ninth picture's number is missing: it came when its place was gone.
        let expected = [32_760, 32_761, 32_762, 32_763, 32_764, 32_766, 32_767, 0, 1, 2, 32_764];
        assert_eq!(seen, expected);
    }
}
