//! What a receiver should see in place of the publisher's descriptor: frame numbers that go on over a switch of the
//! source, and the decode targets that it really gets. Everything else is copied bit by bit.

use super::{DependencyDescriptor, Flags, MANDATORY_LEN};
use crate::wire::bits::{BitReader, BitWriter};

/// The changes to one descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patch {
    /// Added to the frame number, modulo 2^16.
    pub frame_offset: u16,
    /// The targets that the receiver gets; `None` leaves what the publisher says.
    pub active_targets: Option<u32>,
}

const ACTIVE_TARGETS: u32 = 0x08;

/// Writes the descriptor `bytes`, that `descriptor` was parsed from, with the changes into `out`. Returns its length;
/// `None` when it doesn't fit.
pub fn patch(
    bytes: &[u8],
    descriptor: &DependencyDescriptor,
    changes: Patch,
    out: &mut [u8],
) -> Option<usize> {
    let number = descriptor.frame_number.wrapping_add(changes.frame_offset).to_be_bytes();
    let Some(active) = changes.active_targets else {
        let out = out.get_mut(..bytes.len())?;
        out.copy_from_slice(bytes);
        out.get_mut(1..MANDATORY_LEN)?.copy_from_slice(&number);
        return Some(bytes.len());
    };
    let layout = descriptor.layout;
    let mut reader = BitReader::new(bytes);
    let mut writer = BitWriter::new(out);
    writer.write(reader.read(8)?, 8)?;
    reader.skip(16)?;
    writer.write(u32::from(u16::from_be_bytes(number)), 16)?;
    let flags = if reader.remaining() == 0 { 0 } else { reader.read(Flags::BITS)? };
    writer.write(flags | ACTIVE_TARGETS, Flags::BITS)?;
    writer.copy(&mut reader, usize::from(layout.structure_bits))?;
    if layout.has_active_targets {
        reader.skip(usize::from(layout.targets))?;
    }
    writer.write(active, u32::from(layout.targets))?;
    let rest = reader.remaining();
    writer.copy(&mut reader, rest)?;
    Some(writer.bytes_begun())
}
