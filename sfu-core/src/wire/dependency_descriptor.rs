//! The Dependency Descriptor (RTP Payload Format for AV1, appendix A): which layer a frame belongs to, what it refers
//! to, and what it means to each decode target, in a header extension and so without a look at the payload. Parses and
//! patches single descriptors; which structure is in force for a frame is the caller's affair.
//!
//! ```text
//!  0                   1                   2
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3
//! +-+-+-----------+-------------------------------+
//! |S|E| template  |         frame number          |   every packet
//! +-+-+-+-+-+-----+-------------------------------+
//! |T|A|D|F|C| structure if T, active targets if A, |   if longer than that
//! +-+-+-+-+-+ own DTIs if D, fdiffs if F, chains if C
//! ```

mod patch;
mod structure;

pub use patch::{Patch, patch};
pub use structure::{DecodeTarget, Structure};

use super::bits::BitReader;
use super::references::References;

/// Bytes of the fields that every packet has.
const MANDATORY_LEN: usize = 3;

/// Longest value of a header extension (RFC 8285 §4.3).
pub const DESCRIPTOR_LEN_MAX: usize = 255;

/// What a frame means to a decode target (§A.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Indication {
    /// Not part of it.
    NotPresent,
    /// Part of it, and no later frame of it refers to this one.
    Discardable,
    /// From a frame that can be decoded and has this, decoding of the target can go on.
    Switch,
    /// Part of it, and later frames refer to this one.
    Required,
}

/// The indications of one frame, two bits for each decode target, the first in the lowest bits.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Indications(u64);

impl Indications {
    /// What the frame means to `target`.
    pub fn of(self, target: u8) -> Indication {
        match self.0.checked_shr(u32::from(target) * 2).unwrap_or(0) & 3 {
            0 => Indication::NotPresent,
            1 => Indication::Discardable,
            2 => Indication::Switch,
            _ => Indication::Required,
        }
    }

    /// The targets that the frame is part of, one bit each.
    pub fn present(self) -> u32 {
        (0..32)
            .filter(|target| self.of(*target) != Indication::NotPresent)
            .fold(0, |all, target| all | 1 << target)
    }

    fn read(reader: &mut BitReader<'_>, targets: u8) -> Option<Indications> {
        let mut all = 0;
        for target in 0..targets {
            all |= u64::from(reader.read(2)?) << (target * 2);
        }
        Some(Indications(all))
    }
}

/// The mandatory fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mandatory {
    pub starts_frame: bool,
    pub ends_frame: bool,
    template_id: u8,
    pub frame_number: u16,
    /// A template structure follows.
    pub has_structure: bool,
}

impl Mandatory {
    /// Reads what needs no structure; `None` when the descriptor is cut short.
    pub fn parse(bytes: &[u8]) -> Option<Mandatory> {
        let (first, rest) = bytes.split_first()?;
        let (number, extended) = rest.split_first_chunk()?;
        Some(Mandatory {
            starts_frame: first & 0x80 != 0,
            ends_frame: first & 0x40 != 0,
            template_id: first & 0x3f,
            frame_number: u16::from_be_bytes(*number),
            has_structure: extended.first().is_some_and(|flags| flags & 0x80 != 0),
        })
    }
}

/// A parsed descriptor. Small and `Copy`: it is stored with each packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DependencyDescriptor {
    pub starts_frame: bool,
    pub ends_frame: bool,
    pub frame_number: u16,
    /// A template structure is attached: decoding can begin here.
    pub has_structure: bool,
    pub spatial: u8,
    pub temporal: u8,
    pub indications: Indications,
    pub references: References,
    /// The decode targets that the publisher sends from here on, if it says so; bit 0 is the first target.
    pub active_targets: Option<u32>,
    layout: Layout,
}

/// Where the parts of a descriptor lie, for [`patch`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Layout {
    /// Bits of the attached structure; 0 without one.
    structure_bits: u16,
    targets: u8,
    has_active_targets: bool,
}

impl DependencyDescriptor {
    /// Parses a descriptor that attaches no structure, by the structure in force.
    pub fn parse(bytes: &[u8], structure: &Structure) -> Option<DependencyDescriptor> {
        let mandatory = Mandatory::parse(bytes).filter(|mandatory| !mandatory.has_structure)?;
        let mut reader = extended(bytes)?;
        let flags = Flags::read(&mut reader)?;
        finish(mandatory, flags, &mut reader, structure, 0)
    }

    /// Parses a descriptor that attaches a structure, which is written into `structure`. That one holds nothing of use
    /// when the outcome is `None`.
    pub fn parse_attached(bytes: &[u8], structure: &mut Structure) -> Option<DependencyDescriptor> {
        let mandatory = Mandatory::parse(bytes).filter(|mandatory| mandatory.has_structure)?;
        let mut reader = extended(bytes)?;
        let flags = Flags::read(&mut reader)?;
        let before = reader.position();
        structure.read(&mut reader)?;
        let structure_bits = u16::try_from(reader.position().checked_sub(before)?).ok()?;
        finish(mandatory, flags, &mut reader, structure, structure_bits)
    }
}

/// A reader behind the mandatory fields.
fn extended(bytes: &[u8]) -> Option<BitReader<'_>> {
    let mut reader = BitReader::new(bytes.get(..bytes.len().min(DESCRIPTOR_LEN_MAX))?);
    reader.skip(MANDATORY_LEN * 8)?;
    Some(reader)
}

/// The flags of the extended fields; all clear without those.
#[derive(Clone, Copy, Default)]
struct Flags {
    active_targets: bool,
    custom_indications: bool,
    custom_references: bool,
}

impl Flags {
    const BITS: u32 = 5;

    fn read(reader: &mut BitReader<'_>) -> Option<Flags> {
        if reader.remaining() == 0 {
            return Some(Flags::default());
        }
        let bits = reader.read(Flags::BITS)?;
        Some(Flags {
            active_targets: bits & 0x08 != 0,
            custom_indications: bits & 0x04 != 0,
            custom_references: bits & 0x02 != 0,
        })
    }
}

/// What follows the structure. The frame's own chains come last and matter to receivers only: they aren't read.
fn finish(
    mandatory: Mandatory,
    flags: Flags,
    reader: &mut BitReader<'_>,
    structure: &Structure,
    structure_bits: u16,
) -> Option<DependencyDescriptor> {
    let targets = structure.target_count();
    let mut active_targets = mandatory.has_structure.then(|| structure.all_targets());
    if flags.active_targets {
        active_targets = Some(reader.read(u32::from(targets))?);
    }
    let template = structure.template(mandatory.template_id)?;
    let indications = match flags.custom_indications {
        true => Indications::read(reader, targets)?,
        false => template.indications,
    };
    let references = if flags.custom_references { read_references(reader)? } else { template.references };
    Some(DependencyDescriptor {
        starts_frame: mandatory.starts_frame,
        ends_frame: mandatory.ends_frame,
        frame_number: mandatory.frame_number,
        has_structure: mandatory.has_structure,
        spatial: template.spatial,
        temporal: template.temporal,
        indications,
        references,
        active_targets,
        layout: Layout { structure_bits, targets, has_active_targets: flags.active_targets },
    })
}

/// `frame_fdiffs()`: each in 4, 8 or 12 bits.
fn read_references(reader: &mut BitReader<'_>) -> Option<References> {
    let mut references = References::default();
    loop {
        match reader.read(2)? {
            0 => return Some(references),
            size => references.add(reader.read(4 * size)?),
        }
    }
}

#[cfg(test)]
mod tests;
