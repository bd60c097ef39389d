//! Decides which layer of its source a slot forwards. Computed from `&self`; the slot commits. Switches only at
//! keyframes: up when the target's keyframe arrives, down when the current layer has fallen silent.

use crate::command::LayerRequest;
use crate::unit::LayerId;

/// What to do with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Selection {
    /// It belongs to the layer that is being forwarded.
    Forward,
    /// It begins a keyframe of the layer to go to.
    Switch,
    /// Another layer, or not decodable yet.
    Skip,
}

#[derive(Clone, Copy, Default, Debug)]
pub struct LayerSelector {
    request: LayerRequest,
    current: Option<LayerId>,
    target: Option<LayerId>,
}

impl LayerSelector {
    pub fn set_request(&mut self, request: LayerRequest) {
        self.request = request;
        if request == LayerRequest::Paused {
            self.reset();
        }
    }

    /// Chooses the target among the layers that arrive, lowest first: the highest one allowed, else the lowest.
    pub fn retarget(&mut self, arriving: &[LayerId]) {
        self.target = match self.request {
            LayerRequest::Paused => None,
            LayerRequest::Highest => arriving.last().copied(),
            LayerRequest::AtMost(most) => {
                arriving.iter().rev().find(|layer| **layer <= most).or(arriving.first()).copied()
            }
        };
    }

    /// What a packet of `layer` means; `entry` when decoding can begin with it.
    pub fn select(&self, layer: LayerId, entry: bool) -> Selection {
        if self.current == Some(layer) {
            return Selection::Forward;
        }
        let wanted = self.target == Some(layer) || (self.current.is_none() && self.allows(layer));
        if wanted && entry { Selection::Switch } else { Selection::Skip }
    }

    /// Whether `layer` is what the slot shows or, while it shows nothing, might begin with.
    pub fn concerns(&self, layer: LayerId) -> bool {
        match self.current {
            Some(current) => current == layer,
            None => self.target == Some(layer) || self.allows(layer),
        }
    }

    pub fn switched(&mut self, layer: LayerId) {
        self.current = Some(layer);
    }

    /// The source is gone, muted or begins anew: wait for a keyframe.
    pub fn reset(&mut self) {
        self.current = None;
    }

    pub fn current(&self) -> Option<LayerId> {
        self.current
    }

    /// The layer whose keyframe would move the slot.
    pub fn waits_for(&self) -> Option<LayerId> {
        self.target.filter(|target| self.current != Some(*target))
    }

    fn allows(&self, layer: LayerId) -> bool {
        match self.request {
            LayerRequest::Paused => false,
            LayerRequest::Highest => true,
            LayerRequest::AtMost(most) => layer <= most,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LADDER: [LayerId; 3] = [LayerId(0), LayerId(1), LayerId(2)];

    #[test]
    fn starts_with_whichever_keyframe_comes_first_and_climbs_at_the_next() {
        let mut selector = LayerSelector::default();
        selector.retarget(&LADDER);
        assert_eq!(selector.select(LayerId(0), false), Selection::Skip);
        assert_eq!(selector.select(LayerId(0), true), Selection::Switch);
        selector.switched(LayerId(0));
        assert_eq!(selector.waits_for(), Some(LayerId(2)));
        assert_eq!(selector.select(LayerId(1), true), Selection::Skip);
        assert_eq!(selector.select(LayerId(2), true), Selection::Switch);
    }

    #[test]
    fn goes_down_when_the_top_falls_silent() {
        let mut selector = LayerSelector::default();
        selector.retarget(&LADDER);
        selector.switched(LayerId(2));
        assert_eq!(selector.waits_for(), None);
        selector.retarget(&LADDER[..1]);
        assert_eq!(selector.waits_for(), Some(LayerId(0)));
        assert_eq!(selector.select(LayerId(0), true), Selection::Switch);
    }

    #[test]
    fn a_request_caps_the_ladder_and_a_pause_stops_it() {
        let mut selector = LayerSelector::default();
        selector.set_request(LayerRequest::AtMost(LayerId(1)));
        selector.retarget(&LADDER);
        assert_eq!(selector.waits_for(), Some(LayerId(1)));
        assert_eq!(selector.select(LayerId(2), true), Selection::Skip);
        selector.switched(LayerId(1));
        selector.set_request(LayerRequest::Paused);
        selector.retarget(&LADDER);
        assert_eq!(selector.select(LayerId(1), true), Selection::Skip);
        assert_eq!(selector.waits_for(), None);
    }

    #[test]
    fn asking_for_less_than_arrives_takes_the_lowest() {
        let mut selector = LayerSelector::default();
        selector.set_request(LayerRequest::AtMost(LayerId(0)));
        selector.retarget(&LADDER[1..]);
        assert_eq!(selector.waits_for(), Some(LayerId(1)));
    }
}
