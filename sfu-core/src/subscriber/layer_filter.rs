//! Which layers of one stream a slot forwards (scalable coding): a wish for a spatial and a temporal layer becomes a
//! decision for each packet. Decoding must always be able to go on: less is sent at once where the receiver has all of
//! it, more only from frames where decoding of it can begin. Knows streams of other encodings as little as numbers.
//!
//! ```text
//! packet ─▶ first of the newest picture? ─▶ may the wished layers begin here? ─▶ new epoch
//!        └▶ epoch of its picture ─▶ its rule: forward or leave out
//! ```
//! A switch takes effect with a whole picture (RTP timestamp), so a late packet is judged by the rule of its time.

use std::num::NonZeroU32;

use crate::command::LayerRequest;
use crate::packet::{Dependency, Packet, StreamRef, StructureId};
use crate::publisher::dependencies::Dependencies;
use crate::unit::{ExtSeq, RtpTime};
use crate::wire::dependency_descriptor::{Indication, Structure};
use crate::wire::payload::PayloadDescriptor;
use crate::wire::payload::vp8::Vp8Descriptor;
use crate::wire::payload::vp9::Vp9Descriptor;

/// Epochs that late packets may belong to: switches come ten a second at most, repair takes less than one.
const EPOCHS: usize = 8;
/// Above every layer.
const ALL: u8 = u8::MAX;

/// Upper bounds for what is forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wish {
    pub spatial: u8,
    pub temporal: u8,
}

impl Wish {
    const ALL: Wish = Wish { spatial: ALL, temporal: ALL };

    /// What a request means inside a stream; where layers of size are streams of their own, the selector sees to those.
    pub fn of(request: LayerRequest, is_simulcast: bool) -> Wish {
        match request {
            LayerRequest::Highest | LayerRequest::Paused => Wish::ALL,
            LayerRequest::AtMost { spatial, temporal } => {
                Wish { spatial: if is_simulcast { ALL } else { spatial.0 }, temporal: temporal.0 }
            }
        }
    }
}

/// What to do with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Forward {
        ends_picture: bool,
        active_targets: Option<NonZeroU32>,
    },
    LeaveOut,
    /// Decoding can't go on here: a keyframe must come.
    Stuck,
}

const WHOLE: Verdict = Verdict::Forward { ends_picture: false, active_targets: None };

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    /// The stream names no layers.
    Whole,
    /// The frames of a decode target.
    Target { structure: StructureId, target: u8 },
    /// The frames up to these layers.
    Upto { spatial: u8, temporal: u8 },
}

#[derive(Clone, Copy, Debug)]
struct Epoch {
    /// The picture from which on the rule holds: its unwrapped timestamp.
    from: i64,
    rule: Rule,
}

#[derive(Debug)]
pub struct LayerFilter {
    wish: Wish,
    /// The highest spatial layer that the publisher sends.
    offered: u8,
    source: Option<StreamRef>,
    /// The receiver gets the dependency descriptor.
    has_descriptor: bool,
    /// The stream's payload says which spatial layer it is of.
    says_layers: bool,
    /// Newest last.
    epochs: [Epoch; EPOCHS],
    /// Timestamp of the newest picture, as it came and unwrapped.
    newest: (RtpTime, i64),
    /// Something of the newest picture was forwarded.
    has_begun: bool,
    /// The frame of the newest picture that was looked at last: what is decided for its first packet holds for all.
    considered: Option<ExtSeq>,
    /// The decode targets, one bit each, by which the same frames of the newest picture would have been forwarded.
    alike: u32,
    /// Nothing of the newest picture has come yet.
    is_new: bool,
    forwarded: Forwarded,
    /// Spatial layers, one bit each, of which nothing was left out since the last keyframe.
    complete: u8,
    /// The wished layers can't begin without a keyframe.
    needs_keyframe: bool,
}

impl Default for LayerFilter {
    fn default() -> LayerFilter {
        LayerFilter {
            wish: Wish::ALL,
            offered: ALL,
            source: None,
            has_descriptor: true,
            says_layers: false,
            epochs: [Epoch { from: i64::MAX, rule: Rule::Whole }; EPOCHS],
            newest: (RtpTime(0), 0),
            has_begun: false,
            considered: None,
            alike: u32::MAX,
            is_new: true,
            forwarded: Forwarded::default(),
            complete: 0,
            needs_keyframe: false,
        }
    }
}

impl LayerFilter {
    pub fn set_wish(&mut self, wish: Wish) {
        if self.wish != wish {
            self.wish = wish;
            self.needs_keyframe = false;
        }
    }

    /// Whether the receiver gets the dependency descriptor. One that doesn't can put the spatial layers of a picture
    /// together only if the payload names them: VP9's does, AV1's doesn't.
    pub fn set_has_descriptor(&mut self, has: bool) {
        self.has_descriptor = has;
    }

    /// `highest` is the highest spatial layer of the stream that arrives.
    pub fn set_offered(&mut self, highest: u8) {
        if self.offered != highest {
            self.offered = highest;
            self.needs_keyframe = false;
        }
    }

    /// A slot enters the stream with this packet of a keyframe.
    pub fn enter(&mut self, source: StreamRef, packet: &Packet, dependencies: &Dependencies) {
        if self.source != Some(source) {
            let (wish, has_descriptor) = (self.wish, self.has_descriptor);
            *self = LayerFilter { wish, has_descriptor, source: Some(source), ..LayerFilter::default() };
            self.newest = (packet.rtp_time, 0);
        }
        self.advance(packet.rtp_time);
        self.offered = ALL;
        self.says_layers = matches!(packet.descriptor, PayloadDescriptor::Vp9(_));
        self.forwarded = Forwarded::default();
        self.complete = u8::MAX;
        let rule = match (&packet.dependency, &packet.descriptor) {
            (Some(dependency), _) => self.first_target(dependency, dependencies),
            (None, PayloadDescriptor::Vp9(vp9)) if vp9.temporal_id().is_some() => {
                self.note_structure(vp9);
                Some(self.upto())
            }
            (None, PayloadDescriptor::Vp8(vp8)) if vp8.temporal_id().is_some() => Some(self.upto()),
            _ => Some(Rule::Whole),
        };
        self.begin(rule.unwrap_or(Rule::Whole));
    }

    /// Decides on one packet of the stream that was entered last.
    pub fn decide(&mut self, packet: &Packet, dependencies: &Dependencies) -> Verdict {
        let time = self.advance(packet.rtp_time);
        if time == self.newest.1 {
            if self.consider(packet, dependencies).is_none() {
                return Verdict::Stuck;
            }
            self.is_new = false;
        }
        let Some(rule) = self.rule_at(time) else { return Verdict::LeaveOut };
        let verdict = judge(rule, packet, dependencies);
        if let Some(dependency) = packet.dependency.filter(|_| time == self.newest.1) {
            let present = dependency.descriptor.indications.present();
            self.alike &= if verdict == Verdict::LeaveOut { !present } else { present };
        }
        match verdict {
            Verdict::Forward { .. } => {
                self.has_begun |= time == self.newest.1;
                if let Some(frame) = frame_number(packet) {
                    self.forwarded.note(frame);
                }
            }
            Verdict::LeaveOut => self.note_left_out(rule, packet),
            Verdict::Stuck => {}
        }
        verdict
    }

    /// Whether the wished layers wait for a keyframe.
    pub fn needs_keyframe(&self) -> bool {
        self.needs_keyframe
    }

    /// The highest spatial and temporal layer that goes on now, where the stream names them.
    pub fn current(&self, dependencies: &Dependencies) -> Option<(u8, u8)> {
        match self.rule()? {
            Rule::Whole => None,
            Rule::Target { structure, target } => {
                let target = dependencies.structure(structure)?.targets().get(usize::from(target))?;
                Some((target.spatial, target.temporal))
            }
            Rule::Upto { spatial, temporal } => Some((spatial, temporal)),
        }
    }

    /// Notes the picture that a packet belongs to; its unwrapped timestamp.
    fn advance(&mut self, rtp_time: RtpTime) -> i64 {
        let (newest, unwrapped) = self.newest;
        let time = unwrapped.saturating_add(i64::from(rtp_time.since(newest)));
        if time > unwrapped {
            self.newest = (rtp_time, time);
            self.has_begun = false;
            self.is_new = true;
            self.considered = None;
            self.alike = u32::MAX;
        }
        time
    }

    fn rule(&self) -> Option<Rule> {
        let [.., newest] = self.epochs;
        (newest.from != i64::MAX).then_some(newest.rule)
    }

    fn rule_at(&self, time: i64) -> Option<Rule> {
        let mut epochs = self.epochs.iter().rev().filter(|epoch| epoch.from != i64::MAX);
        epochs.find(|epoch| epoch.from <= time).map(|epoch| epoch.rule)
    }

    /// From the newest picture on another rule holds.
    fn begin(&mut self, rule: Rule) {
        let epoch = Epoch { from: self.newest.1, rule };
        self.needs_keyframe = false;
        if let Some(newest) = self.epochs.last_mut()
            && newest.from == epoch.from
        {
            *newest = epoch;
            return;
        }
        self.epochs.rotate_left(1);
        if let Some(newest) = self.epochs.last_mut() {
            *newest = epoch;
        }
    }

    /// Looks whether other layers can begin with this packet of the newest picture. `None` when nothing can go on without
    /// a keyframe.
    fn consider(&mut self, packet: &Packet, dependencies: &Dependencies) -> Option<()> {
        let is_new = self.is_new;
        match (self.rule()?, &packet.dependency, &packet.descriptor) {
            (Rule::Target { structure, target }, Some(dependency), _)
                if self.considered.replace(dependency.frame) != Some(dependency.frame) =>
            {
                self.consider_target(structure, target, dependency, dependencies)?;
            }
            (Rule::Upto { spatial, temporal }, None, PayloadDescriptor::Vp9(vp9)) if is_new => {
                self.consider_vp9(spatial, temporal, vp9);
            }
            (Rule::Upto { temporal, .. }, None, PayloadDescriptor::Vp8(vp8)) if is_new => {
                self.consider_vp8(temporal, vp8);
            }
            _ => {}
        }
        Some(())
    }

    /// By dependency descriptor (RTP Payload Format for AV1, §A.4): a target may begin with a frame that is a switch
    /// indication for it and that can be decoded; at once if everything of it was forwarded anyway.
    fn consider_target(
        &mut self,
        current: StructureId,
        target: u8,
        dependency: &Dependency,
        dependencies: &Dependencies,
    ) -> Option<()> {
        if dependency.structure != current {
            if self.has_begun {
                return Some(());
            }
            let rule = self.first_target(dependency, dependencies)?;
            self.begin(rule);
            return Some(());
        }
        let Some(structure) = dependencies.structure(current) else { return Some(()) };
        let wished = self.choose(structure, dependencies.active_targets());
        let Some(wished) = wished.filter(|wished| *wished != target) else {
            self.needs_keyframe = false;
            return Some(());
        };
        let spatial = |target: u8| structure.targets().get(usize::from(target)).map(|target| target.spatial);
        let same_size = spatial(wished) == spatial(target);
        // Within a picture what has come of it must be the same by both, and so must its end.
        let in_time = (same_size || !self.has_begun) && self.alike >> (wished & 31) & 1 != 0;
        let covered =
            structure.targets().get(usize::from(target)).is_some_and(|target| target.covers(wished));
        let descriptor = &dependency.descriptor;
        let can_begin = descriptor.indications.of(wished) == Indication::Switch
            && descriptor.references.are_within(self.forwarded.before(dependency.frame));
        if in_time && (covered || can_begin) {
            self.begin(Rule::Target { structure: current, target: wished });
        } else {
            self.needs_keyframe = !same_size && !covered;
        }
        Some(())
    }

    /// The target to begin with at a keyframe.
    fn first_target(&self, dependency: &Dependency, dependencies: &Dependencies) -> Option<Rule> {
        let structure = dependencies.structure(dependency.structure)?;
        let descriptor = &dependency.descriptor;
        let wished = self.choose(structure, descriptor.active_targets.unwrap_or(structure.all_targets()))?;
        let can_begin = descriptor.indications.of(wished) == Indication::Switch
            && descriptor.references.are_within(self.forwarded.before(dependency.frame));
        can_begin.then_some(Rule::Target { structure: dependency.structure, target: wished })
    }

    fn choose(&self, structure: &Structure, active: u32) -> Option<u8> {
        let is_told = self.has_descriptor || self.says_layers;
        structure.choose(active, if is_told { self.wish.spatial } else { 0 }, self.wish.temporal)
    }

    /// By VP9's own descriptor: sizes change at keyframes, or where all of the other layer was forwarded; the rate goes
    /// up at switching up points (RFC 9628 §4.2, U) that refer to nothing that was left out.
    fn consider_vp9(&mut self, spatial: u8, temporal: u8, vp9: &Vp9Descriptor) {
        if vp9.is_key_picture() {
            self.note_structure(vp9);
            self.complete = u8::MAX;
            self.forwarded = Forwarded::default();
            let rule = self.upto();
            return self.begin_if_other(rule);
        }
        let wished = self.wish.spatial.min(self.offered);
        let is_complete = |layer: u8| self.complete >> layer.min(7) & 1 != 0;
        if wished != spatial && is_complete(wished) {
            let temporal = temporal.min(self.wish.temporal);
            return self.begin(Rule::Upto { spatial: wished, temporal });
        }
        self.needs_keyframe = wished != spatial;
        if self.wish.temporal < temporal {
            return self.begin(Rule::Upto { spatial, temporal: self.wish.temporal });
        }
        let own = vp9.temporal_id().unwrap_or(0);
        let refers_to_known = !vp9.is_flexible()
            || frame_number_of(vp9).is_some_and(|id| vp9.references().are_within(self.forwarded.before(id)));
        let next = own <= temporal.saturating_add(1) && own <= self.wish.temporal;
        if self.wish.temporal > temporal && vp9.is_switching_up_point() && next && refers_to_known {
            self.begin(Rule::Upto { spatial, temporal: self.wish.temporal });
        }
    }

    /// RFC 7741 §4.2: up one layer at a frame that depends on the base layer only (Y).
    fn consider_vp8(&mut self, temporal: u8, vp8: &Vp8Descriptor) {
        let wished = self.wish.temporal;
        if vp8.is_keyframe_start() || wished < temporal {
            let rule = Rule::Upto { spatial: ALL, temporal: wished };
            return self.begin_if_other(rule);
        }
        let next = temporal.saturating_add(1);
        if wished > temporal && vp8.is_layer_sync() && vp8.temporal_id() == Some(next) {
            self.begin(Rule::Upto { spatial: ALL, temporal: next });
        }
    }

    fn begin_if_other(&mut self, rule: Rule) {
        self.needs_keyframe = false;
        if self.rule() != Some(rule) {
            self.begin(rule);
        }
    }

    fn upto(&self) -> Rule {
        Rule::Upto { spatial: self.wish.spatial.min(self.offered), temporal: self.wish.temporal }
    }

    fn note_structure(&mut self, vp9: &Vp9Descriptor) {
        if let Some(structure) = vp9.structure() {
            self.offered = structure.spatial_count.saturating_sub(1);
        }
    }

    fn note_left_out(&mut self, rule: Rule, packet: &Packet) {
        if let (Rule::Upto { temporal, .. }, Some((spatial, own))) = (rule, packet.layers())
            && own <= temporal
        {
            self.complete &= !(1_u8.checked_shl(u32::from(spatial)).unwrap_or(0));
        }
    }
}

/// What a rule makes of a packet.
fn judge(rule: Rule, packet: &Packet, dependencies: &Dependencies) -> Verdict {
    match (rule, &packet.dependency, &packet.descriptor) {
        (Rule::Whole, ..) => WHOLE,
        (Rule::Target { structure, target }, Some(dependency), _) if dependency.structure == structure => {
            let descriptor = &dependency.descriptor;
            if descriptor.indications.of(target) == Indication::NotPresent {
                return Verdict::LeaveOut;
            }
            let Some(structure) = dependencies.structure(structure) else { return WHOLE };
            let Some(layers) = structure.targets().get(usize::from(target)) else { return WHOLE };
            let left = layers.covered() & structure.all_targets();
            let says = descriptor.starts_frame && left != structure.all_targets();
            let active = NonZeroU32::new(left & dependencies.active_targets());
            Verdict::Forward {
                ends_picture: descriptor.ends_frame && descriptor.spatial == layers.spatial,
                active_targets: active.filter(|_| says),
            }
        }
        // Described by a structure that isn't in force, or not at all: the receiver couldn't read it either.
        (Rule::Target { .. }, ..) => Verdict::LeaveOut,
        (Rule::Upto { spatial, temporal }, _, PayloadDescriptor::Vp9(vp9)) => {
            let above = vp9.spatial() > spatial || vp9.temporal_id().is_some_and(|own| own > temporal);
            if above || vp9.spatial() < spatial && spatial != ALL && vp9.is_unused_above() {
                return Verdict::LeaveOut;
            }
            let ends_picture = vp9.ends_frame() && vp9.spatial() == spatial;
            Verdict::Forward { ends_picture, active_targets: None }
        }
        (Rule::Upto { temporal, .. }, _, descriptor) => {
            if descriptor.temporal_id().is_some_and(|own| own > temporal) { Verdict::LeaveOut } else { WHOLE }
        }
    }
}

/// The number by which other frames refer to this one.
fn frame_number(packet: &Packet) -> Option<ExtSeq> {
    match (&packet.dependency, &packet.descriptor) {
        (Some(dependency), _) => Some(dependency.frame),
        (None, PayloadDescriptor::Vp9(vp9)) => frame_number_of(vp9),
        _ => None,
    }
}

/// VP9's picture ids wrap: the window is told by its low bits only.
fn frame_number_of(vp9: &Vp9Descriptor) -> Option<ExtSeq> {
    vp9.picture_id().map(|id| ExtSeq(u64::from(id)))
}

/// The last frames that were forwarded.
#[derive(Clone, Copy, Default, Debug)]
struct Forwarded {
    newest: Option<ExtSeq>,
    /// Bit i: the frame whose number is i lower than the newest.
    window: u64,
}

impl Forwarded {
    fn note(&mut self, frame: ExtSeq) {
        let Some(newest) = self.newest else {
            *self = Forwarded { newest: Some(frame), window: 1 };
            return;
        };
        let ahead = frame.since(newest);
        if ahead > 0 {
            self.window =
                u32::try_from(ahead).ok().and_then(|by| self.window.checked_shl(by)).unwrap_or(0) | 1;
            self.newest = Some(frame);
        } else if let Some(bit) = u32::try_from(-ahead).ok().and_then(|by| 1_u64.checked_shl(by)) {
            self.window |= bit;
        } else {
            // Numbers have wrapped or begun anew.
            *self = Forwarded { newest: Some(frame), window: 1 };
        }
    }

    /// Bit i: whether the frame whose number is i + 1 lower than `frame` was forwarded.
    fn before(&self, frame: ExtSeq) -> u64 {
        let Some(newest) = self.newest else { return 0 };
        let ahead = frame.since(newest).saturating_sub(1);
        let shift = |by: u64| u32::try_from(by).unwrap_or(u32::MAX);
        if ahead >= 0 {
            self.window.checked_shl(shift(ahead.unsigned_abs())).unwrap_or(0)
        } else {
            self.window.checked_shr(shift(ahead.unsigned_abs())).unwrap_or(0)
        }
    }
}

#[cfg(test)]
mod tests;
