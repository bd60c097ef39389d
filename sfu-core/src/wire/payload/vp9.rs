//! The VP9 payload descriptor (RFC 9628 §4.2): parsed once per packet, patched once per receiver. Knows no streams: what
//! the numbers should become, and which layers go on, is the caller's affair.
//!
//! ```text
//!       0 1 2 3 4 5 6 7
//!      +-+-+-+-+-+-+-+-+
//!      |I|P|L|F|B|E|V|Z|
//!      +-+-+-+-+-+-+-+-+
//! I:   |M| PictureID   |   7 bits, or 15 when M is set
//!      +-+-+-+-+-+-+-+-+
//!      |   PictureID   |
//!      +-+-+-+-+-+-+-+-+
//! L:   | TID |U| SID |D|
//!      +-+-+-+-+-+-+-+-+
//!      |   TL0PICIDX   |   in non-flexible mode (F clear)
//!      +-+-+-+-+-+-+-+-+
//! P,F: |   P_DIFF    |N|   up to three times
//!      +-+-+-+-+-+-+-+-+
//! V:   | SS …          |
//! ```

use crate::wire::references::References;

const I: u8 = 0x80;
const P: u8 = 0x40;
const L: u8 = 0x20;
const F: u8 = 0x10;
const B: u8 = 0x08;
const E: u8 = 0x04;
const V: u8 = 0x02;
const Z: u8 = 0x01;
const M: u8 = super::PICTURE_ID_WIDE;
const U: u8 = 0x10;
const N: u8 = 0x01;

/// Where the picture id is, if it is: after the flags.
const PICTURE_ID_AT: usize = 1;
/// A frame names at most this many references (RFC 9628 §4.2).
const REFERENCES_MAX: usize = 3;
/// Spatial layers that a structure can name.
pub const SPATIAL_MAX: usize = 8;

/// A parsed descriptor. Small and `Copy`: it is stored with each packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vp9Descriptor {
    flags: u8,
    picture_id: u16,
    picture_id_len: u8,
    /// TID, U, SID and D as they are on the wire; zero without them.
    indices: u8,
    tl0_pic_idx: u8,
    references: References,
    structure: Option<ScalabilityStructure>,
}

impl Vp9Descriptor {
    /// Parses the descriptor at the start of an RTP payload; `None` when it is cut short or nothing follows.
    pub fn parse(payload: &[u8]) -> Option<Vp9Descriptor> {
        let mut fields = Fields { payload, at: 0 };
        let flags = fields.next()?;
        let (picture_id, picture_id_len) = match flags & I {
            0 => (0, 0),
            _ => match fields.next()? {
                high if high & M != 0 => (u16::from_be_bytes([high & !M, fields.next()?]), 2),
                low => (u16::from(low), 1),
            },
        };
        let indices = if flags & L != 0 { fields.next()? } else { 0 };
        let tl0_pic_idx = if flags & L != 0 && flags & F == 0 { fields.next()? } else { 0 };
        let mut references = References::default();
        if flags & (P | F) == P | F {
            for place in 1..=REFERENCES_MAX {
                let byte = fields.next()?;
                // A difference of zero would be the picture itself.
                references.add(u32::from(byte >> 1).checked_sub(1)?);
                if byte & N == 0 {
                    break;
                }
                if place == REFERENCES_MAX {
                    return None;
                }
            }
        }
        let structure = if flags & V != 0 { Some(ScalabilityStructure::read(&mut fields)?) } else { None };
        (fields.at < payload.len()).then_some(Vp9Descriptor {
            flags,
            picture_id,
            picture_id_len,
            indices,
            tl0_pic_idx,
            references,
            structure,
        })
    }

    /// Whether a keyframe begins in this packet: the first of a frame that isn't inter-picture predicted, in the lowest
    /// spatial layer. The layers above are predicted from it and belong to the same picture.
    pub fn is_keyframe_start(&self) -> bool {
        self.flags & B != 0 && self.is_key_picture()
    }

    /// Whether this packet is of a frame of the lowest spatial layer that refers to no other picture.
    pub fn is_key_picture(&self) -> bool {
        self.flags & P == 0 && self.spatial() == 0
    }

    /// Whether this packet holds the first bytes of a frame (B).
    pub fn starts_frame(&self) -> bool {
        self.flags & B != 0
    }

    /// Whether this packet holds the last bytes of a frame (E).
    pub fn ends_frame(&self) -> bool {
        self.flags & E != 0
    }

    /// Whether frames refer to pictures of any distance that they name themselves (F).
    pub fn is_flexible(&self) -> bool {
        self.flags & F != 0
    }

    /// Whether no frame of a higher spatial layer, in this picture or later, refers to this one (Z).
    pub fn is_unused_above(&self) -> bool {
        self.flags & Z != 0
    }

    /// Whether no later picture of a higher temporal layer refers to one of a higher layer from before this one (U).
    pub fn is_switching_up_point(&self) -> bool {
        self.flags & L != 0 && self.indices & U != 0
    }

    /// Whether this frame refers to the lower spatial layer of its picture (D).
    pub fn is_inter_layer_predicted(&self) -> bool {
        self.indices & 1 != 0
    }

    /// 7 or 15 bits.
    pub fn picture_id(&self) -> Option<u16> {
        (self.picture_id_len != 0).then_some(self.picture_id)
    }

    /// Running index of the base layer's pictures; in non-flexible mode.
    pub fn tl0_pic_idx(&self) -> Option<u8> {
        (self.flags & L != 0 && self.flags & F == 0).then_some(self.tl0_pic_idx)
    }

    /// The temporal layer, if the descriptor names one.
    pub fn temporal_id(&self) -> Option<u8> {
        (self.flags & L != 0).then_some(self.indices >> 5)
    }

    /// The spatial layer; 0 for a stream without layers.
    pub fn spatial(&self) -> u8 {
        self.indices >> 1 & 0x07
    }

    /// The pictures that this frame refers to, in flexible mode.
    pub fn references(&self) -> References {
        self.references
    }

    /// How many spatial layers there are, and how large they are, when this packet says so.
    pub fn structure(&self) -> Option<ScalabilityStructure> {
        self.structure
    }
}

/// What of the scalability structure matters here: the spatial layers. Reads over the description of the pictures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScalabilityStructure {
    pub spatial_count: u8,
    /// Of the highest spatial layer, where the structure says it.
    pub resolution: Option<(u16, u16)>,
}

impl ScalabilityStructure {
    fn read(fields: &mut Fields<'_>) -> Option<ScalabilityStructure> {
        let head = fields.next()?;
        let spatial_count = (head >> 5) + 1;
        let mut resolution = None;
        if head & 0x10 != 0 {
            for _ in 0..spatial_count {
                resolution = Some((fields.next_u16()?, fields.next_u16()?));
            }
        }
        if head & 0x08 != 0 {
            for _ in 0..fields.next()? {
                let references = fields.next()? >> 2 & 3;
                for _ in 0..references {
                    fields.next()?;
                }
            }
        }
        Some(ScalabilityStructure { spatial_count, resolution })
    }
}

/// What a receiver should see in place of the publisher's numbers. Fields that the descriptor lacks are left out; the
/// picture id keeps its width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vp9Patch {
    pub picture_id: u16,
    pub tl0_pic_idx: u8,
}

impl Vp9Patch {
    /// Writes the numbers into `payload`, a copy of the payload that `descriptor` was parsed from.
    #[inline]
    pub fn apply(self, descriptor: &Vp9Descriptor, payload: &mut [u8]) {
        let picture_id_len = usize::from(descriptor.picture_id_len);
        super::write_picture_id(payload, PICTURE_ID_AT, picture_id_len, self.picture_id);
        if descriptor.tl0_pic_idx().is_some()
            && let Some(byte) = payload.get_mut(PICTURE_ID_AT + picture_id_len + 1)
        {
            *byte = self.tl0_pic_idx;
        }
    }
}

/// The bytes of a descriptor, in order.
struct Fields<'a> {
    payload: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = *self.payload.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn next_u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.next()?, self.next()?]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(payload: &[u8]) -> Vp9Descriptor {
        Vp9Descriptor::parse(payload).unwrap()
    }

    #[test]
    fn first_packet_of_the_lowest_layer_of_an_intra_picture_starts_a_keyframe() {
        for payload in [&[0x8a, 0x81, 0x23, 0x00, 1][..], &[0xa8, 0x81, 0x23, 0x00, 0x05, 1], &[0x08, 0x00]] {
            assert!(parse(payload).is_keyframe_start(), "{payload:x?}");
        }
        for payload in
            [&[0xc8, 0x81, 0x23, 0x00][..], &[0x80, 0x81, 0x23, 0x00], &[0xa8, 0x81, 0x23, 0x03, 0x05, 1]]
        {
            assert!(!parse(payload).is_keyframe_start(), "{payload:x?}");
        }
    }

    #[test]
    fn every_field_of_a_non_flexible_descriptor() {
        let vp9 = parse(&[0xe4, 0x92, 0x34, 0b0101_0011, 0x56, 1]);
        assert_eq!((vp9.picture_id(), vp9.tl0_pic_idx()), (Some(0x1234), Some(0x56)));
        assert_eq!((vp9.temporal_id(), vp9.spatial()), (Some(2), 1));
        assert!(vp9.is_switching_up_point() && vp9.is_inter_layer_predicted() && vp9.ends_frame());
        assert!(!vp9.starts_frame() && !vp9.is_flexible() && !vp9.is_unused_above());
        let narrow = parse(&[0x80, 0x23, 0xff]);
        assert_eq!((narrow.picture_id(), narrow.temporal_id(), narrow.spatial()), (Some(0x23), None, 0));
    }

    #[test]
    fn flexible_references_and_the_structure() {
        let vp9 = parse(&[0xf9, 0x81, 0x23, 0x30, 0x03, 0x08, 1]);
        assert!(vp9.is_flexible() && vp9.is_unused_above() && vp9.starts_frame());
        assert!(vp9.references().are_within(0b1001) && !vp9.references().are_within(0b0001));
        assert_eq!(Vp9Descriptor::parse(&[0xf8, 0x81, 0x23, 0x30, 0x03, 0x05, 0x07, 1]), None, "a fourth");
        let chromium = [0xba, 0x81, 0x23, 0x00, 0x50, 1, 0x40, 0, 0xb4, 2, 0x80, 1, 0x68, 5, 0, 2, 0xd0, 9];
        let structure = parse(&[&chromium[..5], &chromium[5..]].concat()).structure();
        assert_eq!(structure, Some(ScalabilityStructure { spatial_count: 3, resolution: Some((1280, 720)) }));
        let pictures = parse(&[0x0a, 0x08, 2, 0x04, 1, 0x38, 1, 2, 7]);
        assert_eq!(pictures.structure(), Some(ScalabilityStructure { spatial_count: 1, resolution: None }));
    }

    #[test]
    fn chromium_s_descriptors_name_the_layers_that_its_dependency_descriptors_do() {
        for text in [
            include_str!("../../../tests/descriptors/vp9_l3t3_key.txt"),
            include_str!("../../../tests/descriptors/vp9_l3t3.txt"),
            include_str!("../../../tests/descriptors/vp9_l1t3.txt"),
        ] {
            for line in text.lines() {
                let fields: Vec<&str> = line.split(' ').collect();
                let payload: Vec<u8> = (0..fields[10].len())
                    .step_by(2)
                    .map(|at| u8::from_str_radix(&fields[10][at..at + 2], 16).unwrap())
                    .collect();
                let vp9 = parse(&payload);
                let layer = (fields[3].parse().unwrap(), Some(fields[4].parse().unwrap()));
                assert_eq!((vp9.spatial(), vp9.temporal_id()), layer, "{line}");
                let ends = format!("{}{}", u8::from(vp9.starts_frame()), u8::from(vp9.ends_frame()));
                assert_eq!(ends, fields[1][..2], "{line}");
            }
        }
    }

    #[test]
    fn patch_keeps_the_width_of_the_picture_id() {
        let patch = Vp9Patch { picture_id: 0x7abc, tl0_pic_idx: 9 };
        for (before, after) in [
            (&[0xa8, 0x92, 0x34, 0x40, 0x56, 1][..], &[0xa8, 0xfa, 0xbc, 0x40, 9, 1][..]),
            (&[0xa8, 0x12, 0x40, 0x56, 1], &[0xa8, 0x3c, 0x40, 9, 1]),
            (&[0xb8, 0x92, 0x34, 0x40, 1], &[0xb8, 0xfa, 0xbc, 0x40, 1]),
            (&[0x28, 0x40, 0x56, 1], &[0x28, 0x40, 9, 1]),
            (&[0x08, 1], &[0x08, 1]),
        ] {
            let mut payload = before.to_vec();
            patch.apply(&parse(before), &mut payload);
            assert_eq!(payload, after);
        }
    }

    #[test]
    fn truncations_and_random_bytes_are_survived() {
        use rand::{Rng, SeedableRng, rngs::StdRng};
        let whole = [0xfa, 0x81, 0x23, 0x30, 0x03, 0x08, 0x18, 1, 0, 0, 1, 0x04, 1];
        (0..whole.len()).for_each(|len| assert_eq!(Vp9Descriptor::parse(&whole[..len]), None, "{len}"));
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..100_000 {
            let mut bytes = vec![0; rng.random_range(0..40)];
            rng.fill(bytes.as_mut_slice());
            if let Some(vp9) = Vp9Descriptor::parse(&bytes) {
                let original = bytes.clone();
                let patch = Vp9Patch {
                    picture_id: vp9.picture_id().unwrap_or(7),
                    tl0_pic_idx: vp9.tl0_pic_idx().unwrap_or(7),
                };
                patch.apply(&vp9, &mut bytes);
                assert_eq!(bytes, original);
            }
        }
        assert!(size_of::<Vp9Descriptor>() <= 40);
    }
}
