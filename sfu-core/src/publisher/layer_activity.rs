//! Which layers inside one stream arrive (scalable coding), by when their packets came last. Layers of the other kind,
//! streams of their own, are the track's affair.

use std::time::Duration;

use crate::unit::{LayerId, Time};

/// A layer that is silent for so long no longer counts: longer than the gaps of a slow screen share's top rate.
const SILENT: Duration = Duration::from_millis(500);
/// Layers of each kind that are told apart: what browsers and VP9 have at most is three, AV1 four.
const SPATIAL_MAX: usize = 4;
const TEMPORAL_MAX: usize = 4;

#[derive(Debug)]
pub struct LayerActivity {
    /// When the stream began.
    since: Time,
    last: [[Option<Time>; TEMPORAL_MAX]; SPATIAL_MAX],
    newest: Option<Time>,
}

impl LayerActivity {
    pub fn new(now: Time) -> LayerActivity {
        LayerActivity { since: now, last: [[None; TEMPORAL_MAX]; SPATIAL_MAX], newest: None }
    }

    /// A packet of these layers has arrived.
    pub fn received(&mut self, now: Time, spatial: u8, temporal: u8) {
        let (spatial, temporal) = (usize::from(spatial), usize::from(temporal));
        let row = self.last.get_mut(spatial.min(SPATIAL_MAX - 1));
        if let Some(last) = row.and_then(|row| row.get_mut(temporal.min(TEMPORAL_MAX - 1))) {
            *last = Some(now);
        }
        self.newest = Some(now);
    }

    /// How many temporal layers of each spatial layer arrive, lowest first; a silent layer is left out. When all are
    /// silent the last to be heard count: the source is slow, not smaller.
    pub fn arriving(&self, now: Time) -> impl Iterator<Item = (LayerId, u8)> {
        let reference = self.newest.map_or(now, |newest| newest.min(now));
        let arrives = move |last: &Option<Time>| last.is_some_and(|last| reference.since(last) < SILENT);
        (0..).map(LayerId).zip(&self.last).filter_map(move |(spatial, row)| {
            let highest = row.iter().rposition(arrives)?;
            Some((spatial, highest as u8 + 1))
        })
    }

    /// The highest spatial layer that arrives; `None` while the stream is too young for one to be missed.
    pub fn highest(&self, now: Time) -> Option<u8> {
        let highest = self.arriving(now).last().map(|(spatial, _)| spatial.0);
        highest.filter(|_| now.since(self.since) >= SILENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_falls_silent_is_left_out_and_a_slow_source_keeps_its_layers() {
        let mut activity = LayerActivity::new(Time::ZERO);
        assert_eq!(activity.highest(Time::ZERO), None);
        for ms in (0..1_000).step_by(33) {
            activity.received(Time::from_millis(ms), 0, (ms / 33 % 2) as u8);
            if ms < 400 {
                activity.received(Time::from_millis(ms), 1, 0);
            }
        }
        let at = |ms| activity.arriving(Time::from_millis(ms)).collect::<Vec<_>>();
        assert_eq!(at(500), [(LayerId(0), 2), (LayerId(1), 1)]);
        assert_eq!(at(1_000), [(LayerId(0), 2)]);
        assert_eq!(at(60_000), [(LayerId(0), 2)], "nothing comes at all");
        activity.received(Time::from_millis(2_000), 1, 3);
        assert_eq!(activity.highest(Time::from_millis(2_000)), Some(1));
    }
}
