//! Whether the queue in front of the bottleneck grows: a line through the delays of the last groups, its slope against
//! a threshold that adapts to the path's own restlessness (draft-ietf-rmcat-gcc-02 §5.3–5.4; Carlucci et al., "Analysis
//! and Design of the Google Congestion Control for WebRTC", 2016). Knows nothing of rates.

use crate::bwe::inter_arrival::GroupDelta;

/// Groups that the line is laid through.
const WINDOW: usize = 20;
/// Weight of the history in the smoothed delay.
const SMOOTHING: f64 = 0.9;
/// Scales the slope to the threshold's unit.
const GAIN: f64 = 4.0;
/// A slope counts for more the longer it has been watched, up to so many groups.
const DELTAS_MAX: f64 = 60.0;

const THRESHOLD_START: f64 = 12.5;
const THRESHOLD_MIN: f64 = 6.0;
const THRESHOLD_MAX: f64 = 600.0;
/// How fast the threshold follows the slope, per millisecond, upwards and downwards.
const FOLLOW_UP: f64 = 0.0087;
const FOLLOW_DOWN: f64 = 0.039;
/// A slope this far above the threshold is a fault that the threshold shouldn't learn from.
const OUTLIER: f64 = 15.0;
/// Longest time that one step of the threshold accounts for.
const STEP_MS_MAX: f64 = 100.0;
/// The slope must stay above the threshold for so long.
const OVERUSE_MS: f64 = 10.0;

/// What the delays say about the link.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Usage {
    #[default]
    Normal,
    /// The queue grows.
    Over,
    /// The queue drains.
    Under,
}

#[derive(Debug)]
pub struct Trendline {
    /// Arrival and smoothed delay, in milliseconds since the first group.
    points: [(f64, f64); WINDOW],
    len: usize,
    next: usize,
    groups: u32,
    now_ms: f64,
    delay_ms: f64,
    smoothed_ms: f64,
    threshold: f64,
    over_ms: Option<f64>,
    overs: u32,
    last_slope: f64,
    usage: Usage,
}

impl Default for Trendline {
    fn default() -> Trendline {
        Trendline {
            points: [(0.0, 0.0); WINDOW],
            len: 0,
            next: 0,
            groups: 0,
            now_ms: 0.0,
            delay_ms: 0.0,
            smoothed_ms: 0.0,
            threshold: THRESHOLD_START,
            over_ms: None,
            overs: 0,
            last_slope: 0.0,
            usage: Usage::Normal,
        }
    }
}

impl Trendline {
    /// Takes the next group's delta. `queued` says whether delays are above their floor at all: without a queue a
    /// slope is jitter.
    pub fn update(&mut self, delta: &GroupDelta, queued: bool) -> Usage {
        self.groups = self.groups.saturating_add(1);
        self.now_ms += delta.arrived_ms;
        self.delay_ms += delta.arrived_ms - delta.sent_ms;
        self.smoothed_ms = SMOOTHING * self.smoothed_ms + (1.0 - SMOOTHING) * self.delay_ms;
        if let Some(point) = self.points.get_mut(self.next) {
            *point = (self.now_ms, self.smoothed_ms);
        }
        self.next = (self.next + 1) % WINDOW;
        self.len = (self.len + 1).min(WINDOW);
        let slope = if self.len == WINDOW { self.slope() } else { 0.0 };
        self.detect(slope * f64::from(self.groups).min(DELTAS_MAX) * GAIN, slope, delta, queued);
        self.usage
    }

    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Least squares over the window; zero when all groups came at once.
    fn slope(&self) -> f64 {
        let n = self.len as f64;
        let points = self.points.iter().take(self.len);
        let (sum_x, sum_y) = points.clone().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
        let (mean_x, mean_y) = (sum_x / n, sum_y / n);
        let (above, below) = points.fold((0.0, 0.0), |(above, below), point| {
            let x = point.0 - mean_x;
            (above + x * (point.1 - mean_y), below + x * x)
        });
        if below > 0.0 { above / below } else { 0.0 }
    }

    fn detect(&mut self, scaled: f64, slope: f64, delta: &GroupDelta, queued: bool) {
        if scaled > self.threshold && queued {
            // As if half of the first group's time had been over the threshold.
            let over = self.over_ms.map_or(delta.sent_ms / 2.0, |over| over + delta.sent_ms);
            self.over_ms = Some(over);
            self.overs += 1;
            if over > OVERUSE_MS && self.overs > 1 && slope >= self.last_slope {
                self.over_ms = Some(0.0);
                self.overs = 0;
                self.usage = Usage::Over;
            }
        } else {
            self.over_ms = None;
            self.overs = 0;
            self.usage = if scaled < -self.threshold { Usage::Under } else { Usage::Normal };
        }
        self.last_slope = slope;
        self.adapt(scaled, delta.arrived_ms, queued);
    }

    fn adapt(&mut self, scaled: f64, elapsed_ms: f64, queued: bool) {
        let beyond = scaled.abs() - self.threshold;
        if queued && beyond > OUTLIER {
            return;
        }
        let follow = if beyond < 0.0 { FOLLOW_DOWN } else { FOLLOW_UP };
        self.threshold += follow * beyond * elapsed_ms.clamp(0.0, STEP_MS_MAX);
        self.threshold = self.threshold.clamp(THRESHOLD_MIN, THRESHOLD_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bwe::feedback::RemoteTime;

    fn delta(sent_ms: f64, arrived_ms: f64) -> GroupDelta {
        GroupDelta { sent_ms, arrived_ms, at: RemoteTime(0) }
    }

    /// How many groups it takes until this usage.
    fn groups_until(trend: &mut Trendline, usage: Usage, delta: GroupDelta) -> Option<usize> {
        (0..500).position(|_| trend.update(&delta, true) == usage)
    }

    #[test]
    fn a_growing_queue_is_overuse_and_a_draining_one_underuse() {
        let mut trend = Trendline::default();
        assert_eq!(groups_until(&mut trend, Usage::Over, delta(20.0, 20.0)), None);
        let over = groups_until(&mut trend, Usage::Over, delta(20.0, 24.0)).unwrap();
        assert!(over <= 10, "{over} groups of 20 ms, 20 % too fast");
        let under = groups_until(&mut trend, Usage::Under, delta(20.0, 15.0)).unwrap();
        assert!(under <= 25, "{under}");
    }

    #[test]
    fn without_a_queue_a_slope_is_jitter() {
        let mut trend = Trendline::default();
        let over = (0..500).any(|n| {
            let arrived = 20.0 + 30.0 * f64::from(n * 37 % 100) / 100.0;
            trend.update(&delta(20.0, arrived), false) == Usage::Over
        });
        assert!(!over);
    }

    #[test]
    fn groups_that_come_at_once_have_no_slope() {
        let mut trend = Trendline::default();
        for _ in 0..1_000 {
            assert_eq!(trend.update(&delta(0.0, 0.0), true), Usage::Normal);
        }
        assert!(trend.threshold.is_finite() && trend.smoothed_ms.is_finite());
    }
}
