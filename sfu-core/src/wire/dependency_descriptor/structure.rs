//! The template dependency structure (§A.8.2): sent with keyframes, in force until the next. What of it forwarding
//! needs, in arrays of fixed size, so that a new structure is read into the old one's place.

use super::Indications;
use crate::wire::bits::BitReader;
use crate::wire::references::References;

/// Template ids have six bits.
const TEMPLATES_MAX: usize = 64;
/// `dt_cnt_minus_one` has five bits.
const TARGETS_MAX: usize = 32;
/// Spatial layers whose resolution is kept: what AV1 and VP9 can name at most.
const SPATIAL_MAX: usize = 8;

/// What all frames of one template have in common.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Template {
    pub spatial: u8,
    pub temporal: u8,
    pub indications: Indications,
    pub references: References,
}

/// A set of layers that can be decoded by themselves.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DecodeTarget {
    /// Its highest layers.
    pub spatial: u8,
    pub temporal: u8,
    /// The targets, one bit each, all of whose frames belong to this one, too.
    covers: u32,
}

impl DecodeTarget {
    /// Whether who has this target's frames has all of `other`'s.
    pub fn covers(&self, other: u8) -> bool {
        self.covers >> (other & 31) & 1 != 0
    }

    /// The targets that this one covers, one bit each; itself among them.
    pub fn covered(&self) -> u32 {
        self.covers
    }
}

/// A template dependency structure.
#[derive(Clone, Debug)]
pub struct Structure {
    id_offset: u8,
    template_count: u8,
    target_count: u8,
    templates: [Template; TEMPLATES_MAX],
    targets: [DecodeTarget; TARGETS_MAX],
    /// Largest rendered size of each spatial layer, zero where it isn't said.
    resolutions: [(u16, u16); SPATIAL_MAX],
}

impl Default for Structure {
    fn default() -> Structure {
        Structure {
            id_offset: 0,
            template_count: 0,
            target_count: 0,
            templates: [Template::default(); TEMPLATES_MAX],
            targets: [DecodeTarget::default(); TARGETS_MAX],
            resolutions: [(0, 0); SPATIAL_MAX],
        }
    }
}

/// What lies behind the counts is left from an earlier structure.
impl PartialEq for Structure {
    fn eq(&self, other: &Structure) -> bool {
        self.id_offset == other.id_offset
            && self.templates() == other.templates()
            && self.targets() == other.targets()
            && self.resolutions == other.resolutions
    }
}

impl Eq for Structure {}

impl Structure {
    /// The decode targets in their order.
    pub fn targets(&self) -> &[DecodeTarget] {
        self.targets.get(..usize::from(self.target_count)).unwrap_or_default()
    }

    pub fn target_count(&self) -> u8 {
        self.target_count
    }

    /// One bit for each target.
    pub fn all_targets(&self) -> u32 {
        u32::MAX.checked_shr(32 - u32::from(self.target_count)).unwrap_or(0)
    }

    /// The target to show for a wish for `spatial` and `temporal` at most, among those of the mask `active`: the highest
    /// picture first, then the highest rate; the least of all when nothing is so low.
    pub fn choose(&self, active: u32, spatial: u8, temporal: u8) -> Option<u8> {
        let active = (0..self.target_count).zip(self.targets()).filter(|(at, _)| active >> at & 1 != 0);
        let rank = |target: &DecodeTarget| (target.spatial, target.temporal);
        let within = |target: &DecodeTarget| target.spatial <= spatial && target.temporal <= temporal;
        let best = active.clone().filter(|(_, target)| within(target)).max_by_key(|(_, target)| rank(target));
        best.or(active.min_by_key(|(_, target)| rank(target))).map(|(at, _)| at)
    }

    /// Largest size of a spatial layer's pictures, where the structure says it.
    pub fn resolution(&self, spatial: u8) -> Option<(u16, u16)> {
        self.resolutions.get(usize::from(spatial)).copied().filter(|size| *size != (0, 0))
    }

    /// The template that a packet names.
    pub(super) fn template(&self, id: u8) -> Option<&Template> {
        let at = id.wrapping_add(64).wrapping_sub(self.id_offset) & 63;
        self.templates().get(usize::from(at))
    }

    fn templates(&self) -> &[Template] {
        self.templates.get(..usize::from(self.template_count)).unwrap_or_default()
    }

    /// Reads a structure in place of this one.
    pub(super) fn read(&mut self, reader: &mut BitReader<'_>) -> Option<()> {
        self.id_offset = reader.read(6)? as u8;
        self.target_count = reader.read(5)? as u8 + 1;
        self.read_layers(reader)?;
        let (targets, count) = (self.target_count, usize::from(self.template_count));
        for template in self.templates.iter_mut().take(count) {
            template.indications = Indications::read(reader, targets)?;
        }
        for template in self.templates.iter_mut().take(count) {
            template.references = References::default();
            while reader.read_bool()? {
                template.references.add(reader.read(4)?);
            }
        }
        self.skip_chains(reader)?;
        self.derive_targets();
        self.read_resolutions(reader)
    }

    /// `template_layers()`.
    fn read_layers(&mut self, reader: &mut BitReader<'_>) -> Option<()> {
        let (mut spatial, mut temporal, mut count) = (0_u8, 0_u8, 0_u8);
        loop {
            let template = self.templates.get_mut(usize::from(count))?;
            (template.spatial, template.temporal) = (spatial, temporal);
            count += 1;
            match reader.read(2)? {
                0 => {}
                1 => temporal += 1,
                2 => (spatial, temporal) = (spatial + 1, 0),
                _ => break,
            }
        }
        self.template_count = count;
        Some(())
    }

    /// `template_chains()`: receivers tell by them whether a target is intact.
    fn skip_chains(&self, reader: &mut BitReader<'_>) -> Option<()> {
        let chains = reader.read_non_symmetric(u32::from(self.target_count) + 1)?;
        if chains == 0 {
            return Some(());
        }
        for _ in 0..self.target_count {
            reader.read_non_symmetric(chains)?;
        }
        reader.skip(usize::from(self.template_count) * chains as usize * 4)
    }

    /// `decode_target_layers()`, and which targets contain which.
    fn derive_targets(&mut self) {
        let templates = self.templates.get(..usize::from(self.template_count)).unwrap_or_default();
        let all = u32::MAX.checked_shr(32 - u32::from(self.target_count)).unwrap_or(0);
        for (at, target) in (0..self.target_count).zip(&mut self.targets) {
            *target = DecodeTarget { spatial: 0, temporal: 0, covers: all };
            for template in templates {
                let present = template.indications.present();
                if present >> at & 1 != 0 {
                    target.spatial = target.spatial.max(template.spatial);
                    target.temporal = target.temporal.max(template.temporal);
                } else {
                    target.covers &= !present;
                }
            }
        }
    }

    fn read_resolutions(&mut self, reader: &mut BitReader<'_>) -> Option<()> {
        self.resolutions = [(0, 0); SPATIAL_MAX];
        if !reader.read_bool()? {
            return Some(());
        }
        let highest = self.templates().last().map_or(0, |template| template.spatial);
        for spatial in 0..=usize::from(highest) {
            let (width, height) = (reader.read(16)?, reader.read(16)?);
            if let Some(resolution) = self.resolutions.get_mut(spatial) {
                // Less one on the wire: a side of 65,536 is cut by one.
                *resolution =
                    (width.saturating_add(1).min(65_535) as u16, height.saturating_add(1).min(65_535) as u16);
            }
        }
        Some(())
    }
}
