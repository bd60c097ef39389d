//! A stream's dependency descriptors: which template structure is in force for a frame, which decode targets the
//! publisher sends, and frame numbers that don't wrap. Keeps the last structures, because packets come late.

use crate::packet::{Dependency, StructureId};
use crate::unit::{ExtSeq, SeqNo, SeqUnwrapper};
use crate::wire::dependency_descriptor::{DependencyDescriptor, Mandatory, Structure};

/// Structures that are kept. Each holds from its keyframe to the next one's; what is repaired is younger than the second
/// newest.
const STRUCTURES: usize = 3;

/// What came of a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    Described(Dependency),
    /// The keyframe whose structure it needs is missing.
    Undescribed,
    /// It attaches a structure that is new: what came before it can be described now.
    Structured(Dependency),
}

#[derive(Debug)]
struct Known {
    id: StructureId,
    /// The frame that it came with.
    first: ExtSeq,
    structure: Structure,
}

#[derive(Debug, Default)]
pub struct Dependencies {
    /// Oldest first; allocated with the first descriptor.
    known: Vec<Known>,
    /// Where a structure is read before it is known to be good and new; allocated with the first.
    scratch: Option<Box<Structure>>,
    ids: u32,
    frames: SeqUnwrapper,
    /// The targets that are sent, and the frame that said so last.
    active: Option<(ExtSeq, u32)>,
}

impl Dependencies {
    /// Reads the descriptor of one packet; `None` when it is malformed.
    pub fn read(&mut self, bytes: &[u8]) -> Option<Reading> {
        let mandatory = Mandatory::parse(bytes)?;
        let frame = self.frames.peek(SeqNo(mandatory.frame_number));
        let reading = match mandatory.has_structure {
            true => self.read_attached(frame, bytes)?,
            false => match self.structure_of(frame) {
                Some(known) => {
                    let structure = known.id;
                    match DependencyDescriptor::parse(bytes, &known.structure) {
                        Some(descriptor) => Reading::Described(Dependency { descriptor, frame, structure }),
                        // A template that this structure doesn't have belongs to one that is missing yet.
                        None => Reading::Undescribed,
                    }
                }
                None => Reading::Undescribed,
            },
        };
        self.frames.unwrap(SeqNo(mandatory.frame_number));
        if let Reading::Described(dependency) | Reading::Structured(dependency) = reading {
            self.note_active(&dependency);
        }
        Some(reading)
    }

    /// A structure that is still kept.
    pub fn structure(&self, id: StructureId) -> Option<&Structure> {
        self.known.iter().find(|known| known.id == id).map(|known| &known.structure)
    }

    /// The decode targets that the publisher sends, one bit each.
    pub fn active_targets(&self) -> u32 {
        self.active.map_or(0, |(_, active)| active)
    }

    fn read_attached(&mut self, frame: ExtSeq, bytes: &[u8]) -> Option<Reading> {
        let descriptor = DependencyDescriptor::parse_attached(bytes, self.scratch.get_or_insert_default())?;
        let scratch = self.scratch.as_deref()?;
        // Most keyframes repeat the structure that holds: what follows one that comes late is described by it already.
        if let Some(known) = self.structure_of(frame).filter(|known| known.structure == *scratch) {
            return Some(Reading::Described(Dependency { descriptor, frame, structure: known.id }));
        }
        if self.known.len() == STRUCTURES && self.known.first().is_some_and(|oldest| frame < oldest.first) {
            return Some(Reading::Undescribed);
        }
        self.ids = self.ids.wrapping_add(1);
        let id = StructureId(self.ids);
        let mut known = match self.known.len() {
            STRUCTURES => self.known.remove(0),
            _ => Known { id, first: frame, structure: Structure::default() },
        };
        (known.id, known.first) = (id, frame);
        known.structure.clone_from(scratch);
        let at = self.known.partition_point(|other| other.first < frame);
        self.known.reserve_exact(STRUCTURES - self.known.len());
        self.known.insert(at, known);
        Some(Reading::Structured(Dependency { descriptor, frame, structure: id }))
    }

    fn structure_of(&self, frame: ExtSeq) -> Option<&Known> {
        self.known.iter().rev().find(|known| known.first <= frame)
    }

    fn note_active(&mut self, dependency: &Dependency) {
        let Some(active) = dependency.descriptor.active_targets else { return };
        if self.active.is_none_or(|(since, _)| dependency.frame >= since) {
            self.active = Some((dependency.frame, active));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(text: &str) -> Vec<Vec<u8>> {
        let byte = |line: &str, at: usize| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
        let bytes = |line: &str| {
            let hex = line.split(' ').next().unwrap().to_owned();
            (0..hex.len()).step_by(2).map(|at| byte(&hex, at)).collect()
        };
        text.lines().map(bytes).collect()
    }

    #[test]
    fn packets_wait_for_the_structure_of_their_keyframe() {
        let packets = packets(include_str!("../../tests/descriptors/vp9_l3t3_key.txt"));
        let mut dependencies = Dependencies::default();
        assert_eq!(dependencies.read(&packets[1]), Some(Reading::Undescribed));
        let Some(Reading::Structured(first)) = dependencies.read(&packets[0]) else { panic!() };
        assert_eq!((first.frame, dependencies.active_targets()), (ExtSeq(1), 0x1ff));
        assert!(matches!(dependencies.read(&packets[0]), Some(Reading::Described(again)) if again == first));
        assert!(matches!(dependencies.read(&packets[1]), Some(Reading::Described(_))));
        assert_eq!(dependencies.read(&[0x80, 0]), None);
    }

    #[test]
    fn a_late_packet_is_read_by_the_structure_of_its_time() {
        let packets = packets(include_str!("../../tests/descriptors/vp9_l3t3_key.txt"));
        let mut dependencies = Dependencies::default();
        dependencies.read(&packets[0]).unwrap();
        let Some(Reading::Described(before)) = dependencies.read(&packets[20]) else { panic!() };
        for round in 1..=u16::try_from(STRUCTURES).unwrap() {
            let mut keyframe = packets[0].clone();
            keyframe[1..3].copy_from_slice(&(1_000 * round).to_be_bytes());
            // Another offset of the template ids, in the low bits of the flags' byte and the three after.
            let offset = 20 * u32::from(round % 3);
            keyframe[0] = keyframe[0] & 0xc0 | offset as u8;
            keyframe[3] = keyframe[3] & 0xf8 | (offset >> 3) as u8;
            keyframe[4] = keyframe[4] & 0x1f | (offset << 5) as u8;
            assert!(matches!(dependencies.read(&keyframe), Some(Reading::Structured(_))));
        }
        assert_eq!(dependencies.known.len(), STRUCTURES);
        assert_eq!(dependencies.structure(before.structure), None);
        assert_eq!(dependencies.read(&packets[20]), Some(Reading::Undescribed), "its structure is forgotten");
        let mut late = packets[20].clone();
        late[1..3].copy_from_slice(&1_500_u16.to_be_bytes());
        late[0] += 20;
        let Some(Reading::Described(late)) = dependencies.read(&late) else { panic!() };
        assert!(dependencies.structure(late.structure).is_some());
        assert_ne!(dependencies.known.last().unwrap().id, late.structure);
    }
}
