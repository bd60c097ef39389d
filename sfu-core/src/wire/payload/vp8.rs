//! The VP8 payload descriptor (RFC 7741 §4.2) and the first bytes of a frame (§4.3): parsed once per packet,
//! patched once per receiver. Knows no streams: what the numbers should become is the caller's affair.
//!
//! ```text
//!       0 1 2 3 4 5 6 7
//!      +-+-+-+-+-+-+-+-+
//!      |X|R|N|S|R| PID |
//!      +-+-+-+-+-+-+-+-+
//! X:   |I|L|T|K|  RSV  |
//!      +-+-+-+-+-+-+-+-+
//! I:   |M| PictureID   |   7 bits, or 15 when M is set
//!      +-+-+-+-+-+-+-+-+
//!      |   PictureID   |
//!      +-+-+-+-+-+-+-+-+
//! L:   |   TL0PICIDX   |
//!      +-+-+-+-+-+-+-+-+
//! T/K: |TID|Y| KEYIDX  |
//!      +-+-+-+-+-+-+-+-+
//! ```

const X: u8 = 0x80;
const N: u8 = 0x20;
const S: u8 = 0x10;
const PID: u8 = 0x07;
const I: u8 = 0x80;
const L: u8 = 0x40;
const T: u8 = 0x20;
const K: u8 = 0x10;
const M: u8 = super::PICTURE_ID_WIDE;
const Y: u8 = 0x20;

/// Where the picture id is, if it is: after the two bytes of flags.
const PICTURE_ID_AT: usize = 2;

/// A parsed descriptor. Small and `Copy`: it is stored with each packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vp8Descriptor {
    /// The first byte of the descriptor.
    first: u8,
    /// The byte of I, L, T, K; zero without one.
    fields: u8,
    picture_id: u16,
    picture_id_len: u8,
    tl0_pic_idx: u8,
    /// TID, Y and KEYIDX as they are on the wire.
    layer: u8,
    len: u8,
    keyframe: bool,
    width: u16,
    height: u16,
}

impl Vp8Descriptor {
    /// Parses the descriptor at the start of an RTP payload; `None` when it is cut short or nothing follows.
    pub fn parse(payload: &[u8]) -> Option<Vp8Descriptor> {
        let first = *payload.first()?;
        let mut at = 1;
        let mut next = || {
            let byte = payload.get(at).copied();
            at += 1;
            byte
        };
        let fields = if first & X != 0 { next()? } else { 0 };
        let (picture_id, picture_id_len) = match fields & I {
            0 => (0, 0),
            _ => match next()? {
                high if high & M != 0 => (u16::from_be_bytes([high & !M, next()?]), 2),
                low => (u16::from(low), 1),
            },
        };
        let tl0_pic_idx = if fields & L != 0 { next()? } else { 0 };
        let layer = if fields & (T | K) != 0 { next()? } else { 0 };
        let frame = payload.get(at..).filter(|frame| !frame.is_empty())?;
        let starts_frame = first & S != 0 && first & PID == 0;
        let keyframe = starts_frame && frame.first().is_some_and(|byte| byte & 1 == 0);
        let (width, height) = keyframe.then(|| keyframe_size(frame)).flatten().unwrap_or_default();
        Some(Vp8Descriptor {
            first,
            fields,
            picture_id,
            picture_id_len,
            tl0_pic_idx,
            layer,
            len: at as u8,
            keyframe,
            width,
            height,
        })
    }

    /// Length of the descriptor; the frame's bytes follow.
    pub fn descriptor_len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether this packet holds the first bytes of a frame: start of partition 0.
    pub fn is_frame_start(&self) -> bool {
        self.first & S != 0 && self.first & PID == 0
    }

    /// Whether this packet holds the first bytes of a keyframe.
    pub fn is_keyframe_start(&self) -> bool {
        self.keyframe
    }

    /// Whether no other frame refers to this one (N), so that leaving it out harms none.
    pub fn is_discardable(&self) -> bool {
        self.first & N != 0
    }

    /// 7 or 15 bits.
    pub fn picture_id(&self) -> Option<u16> {
        (self.picture_id_len != 0).then_some(self.picture_id)
    }

    /// The picture ids are counted modulo this plus one: 0x7f, 0x7fff, or 0 without any.
    pub fn picture_id_max(&self) -> u16 {
        match self.picture_id_len {
            0 => 0,
            1 => 0x7f,
            _ => 0x7fff,
        }
    }

    /// Running index of the base layer's frames.
    pub fn tl0_pic_idx(&self) -> Option<u8> {
        (self.fields & L != 0).then_some(self.tl0_pic_idx)
    }

    pub fn temporal_id(&self) -> Option<u8> {
        (self.fields & T != 0).then_some(self.layer >> 6)
    }

    /// Whether this frame depends on the base layer only (Y): a receiver may go up to its layer here.
    pub fn is_layer_sync(&self) -> bool {
        self.fields & T != 0 && self.layer & Y != 0
    }

    pub fn key_idx(&self) -> Option<u8> {
        (self.fields & K != 0).then_some(self.layer & 0x1f)
    }

    /// Width and height, in the packet that starts a keyframe.
    pub fn resolution(&self) -> Option<(u16, u16)> {
        (self.width != 0 && self.height != 0).then_some((self.width, self.height))
    }
}

/// What a receiver should see in place of the publisher's numbers. Fields that the descriptor lacks are left
/// out; the picture id keeps its width, so lengths don't change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vp8Patch {
    pub picture_id: u16,
    pub tl0_pic_idx: u8,
}

impl Vp8Patch {
    /// Writes the numbers into `payload`, a copy of the payload that `descriptor` was parsed from.
    #[inline]
    pub fn apply(self, descriptor: &Vp8Descriptor, payload: &mut [u8]) {
        let picture_id_len = usize::from(descriptor.picture_id_len);
        super::write_picture_id(payload, PICTURE_ID_AT, picture_id_len, self.picture_id);
        if descriptor.fields & L != 0
            && let Some(byte) = payload.get_mut(PICTURE_ID_AT + picture_id_len)
        {
            *byte = self.tl0_pic_idx;
        }
    }
}

/// Width and height from the uncompressed header of a keyframe (RFC 6386 §9.1): three bytes of frame tag,
/// the start code, and two times 14 bits with two bits of scale above.
fn keyframe_size(frame: &[u8]) -> Option<(u16, u16)> {
    match frame {
        [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] => {
            Some((u16::from_le_bytes([*w0, *w1]) & 0x3fff, u16::from_le_bytes([*h0, *h1]) & 0x3fff))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A keyframe of 640 × 360 as libvpx writes it.
    const KEYFRAME: [u8; 10] = [0x50, 0x42, 0x01, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01];

    fn with_frame(descriptor: &[u8], frame: &[u8]) -> Vec<u8> {
        [descriptor, frame].concat()
    }

    #[test]
    fn full_descriptor_of_a_keyframe() {
        let payload = with_frame(&[0x90, 0xf0, 0x92, 0x34, 0x56, 0b0110_0101], &KEYFRAME);
        let vp8 = Vp8Descriptor::parse(&payload).unwrap();
        assert_eq!(vp8.descriptor_len(), 6);
        assert_eq!((vp8.picture_id(), vp8.picture_id_max()), (Some(0x1234), 0x7fff));
        assert_eq!(vp8.tl0_pic_idx(), Some(0x56));
        assert_eq!((vp8.temporal_id(), vp8.key_idx()), (Some(1), Some(5)));
        assert!(vp8.is_layer_sync() && vp8.is_frame_start() && vp8.is_keyframe_start());
        assert!(!vp8.is_discardable());
        assert_eq!(vp8.resolution(), Some((640, 360)));
    }

    #[test]
    fn minimal_descriptor_of_a_delta_frame() {
        let vp8 = Vp8Descriptor::parse(&[0x30, 0x11]).unwrap();
        assert_eq!(vp8.descriptor_len(), 1);
        assert_eq!((vp8.picture_id(), vp8.tl0_pic_idx(), vp8.temporal_id()), (None, None, None));
        assert!(vp8.is_frame_start() && !vp8.is_keyframe_start() && vp8.is_discardable());
        assert_eq!(vp8.resolution(), None);
    }

    #[test]
    fn later_packets_and_partitions_of_a_keyframe_do_not_start_it() {
        for first in [0x00, 0x11, 0x17] {
            let vp8 = Vp8Descriptor::parse(&with_frame(&[first], &KEYFRAME)).unwrap();
            assert!(!vp8.is_keyframe_start() && !vp8.is_frame_start());
        }
    }

    #[test]
    fn patch_keeps_the_width_of_the_picture_id() {
        let patch = Vp8Patch { picture_id: 0x7abc, tl0_pic_idx: 9 };
        for (descriptor, expected) in [
            (&[0x90, 0xe0, 0x92, 0x34, 0x56, 0x40][..], &[0x90, 0xe0, 0xfa, 0xbc, 9, 0x40][..]),
            (&[0x90, 0xc0, 0x12, 0x56], &[0x90, 0xc0, 0x3c, 9]),
            (&[0x90, 0x40, 0x56], &[0x90, 0x40, 9]),
            (&[0x90, 0x80, 0x81, 0x02], &[0x90, 0x80, 0xfa, 0xbc]),
            (&[0x90, 0x20, 0x40], &[0x90, 0x20, 0x40]),
            (&[0x10], &[0x10]),
        ] {
            let mut payload = with_frame(descriptor, &KEYFRAME);
            let vp8 = Vp8Descriptor::parse(&payload).unwrap();
            patch.apply(&vp8, &mut payload);
            assert_eq!(payload, with_frame(expected, &KEYFRAME));
        }
    }

    #[test]
    fn every_truncation_and_random_bytes_are_survived() {
        use rand::{Rng, SeedableRng, rngs::StdRng};
        let payload = with_frame(&[0x90, 0xf0, 0x92, 0x34, 0x56, 0x65], &KEYFRAME);
        for len in 0..=6 {
            assert_eq!(Vp8Descriptor::parse(&payload[..len]), None);
        }
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..100_000 {
            let mut bytes = vec![0; rng.random_range(0..20)];
            rng.fill(bytes.as_mut_slice());
            if let Some(vp8) = Vp8Descriptor::parse(&bytes) {
                assert!(vp8.descriptor_len() < bytes.len());
                let original = bytes.clone();
                let patch = Vp8Patch {
                    picture_id: vp8.picture_id().unwrap_or(7),
                    tl0_pic_idx: vp8.tl0_pic_idx().unwrap_or(7),
                };
                patch.apply(&vp8, &mut bytes);
                assert_eq!(bytes, original);
            }
        }
    }

    #[test]
    fn stays_small() {
        assert!(size_of::<Vp8Descriptor>() <= 16);
    }
}
