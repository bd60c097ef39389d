//! The loss-based estimate: which capacity explains the losses best, when some of them are the path's own and come at
//! any rate (the idea of libwebrtc's second loss-based estimator). Candidates are compared by the likelihood of what
//! was observed at different rates. Knows nothing of delays, but whether there is a queue.
//!
//! ```text
//! outcomes ─▶ observations (packets, lost, rate) ─▶ for each candidate: its best inherent loss, its likelihood
//!                                                        └▶ the likeliest, higher ones preferred ─▶ estimate
//! ```

use std::time::Duration;

use crate::bwe::feedback::Outcome;
use crate::unit::Time;

/// Observations that are kept, and their length.
const OBSERVATIONS: usize = 20;
const OBSERVATION: Duration = Duration::from_millis(250);
const PACKETS_MIN: u32 = 15;
/// Weight of an observation against the next younger one.
const AGEING: f64 = 0.9;
/// Inherent loss is believed between these; with a queue it is congestion sooner.
const INHERENT_MIN: f64 = 0.001;
const INHERENT_MAX: f64 = 0.25;
const INHERENT_MAX_QUEUED: f64 = 0.12;
/// A queue longer than this is one.
const QUEUED: Duration = Duration::from_millis(30);
/// Preference for the higher of two candidates, per packet and e-fold of the rate.
const PREFER_HIGHER: f64 = 0.02;
/// Loss below this doesn't limit anything.
const HARMLESS: f64 = 0.02;
/// Loss beyond the inherent one by this much is an event: the estimate dips at once, and what follows tells why.
const EVENT: f64 = 0.06;
const DIP: f64 = 0.95;
/// Growth while limited, per observation.
const GROWTH: f64 = 1.25;
/// Halvings of the interval in which the best inherent loss is looked for.
const BISECTIONS: u32 = 8;

#[derive(Clone, Copy, Default, Debug)]
struct Observation {
    packets: f64,
    lost: f64,
    /// Bits per second that were sent.
    rate: f64,
}

/// The packets of the next observation.
#[derive(Clone, Copy, Debug)]
struct Partial {
    first_sent: Time,
    last_sent: Time,
    packets: u32,
    lost: u32,
    bytes: usize,
}

#[derive(Debug)]
pub struct LossBased {
    ring: [Observation; OBSERVATIONS],
    len: usize,
    next: usize,
    partial: Option<Partial>,
    /// Bits per second; `None` while loss doesn't limit.
    limit: Option<f64>,
    inherent: f64,
    /// Smoothed loss of everything.
    loss: f64,
}

impl Default for LossBased {
    fn default() -> LossBased {
        LossBased {
            ring: [Observation::default(); OBSERVATIONS],
            len: 0,
            next: 0,
            partial: None,
            limit: None,
            inherent: INHERENT_MIN,
            loss: 0.0,
        }
    }
}

impl LossBased {
    /// Takes one packet's fate.
    pub fn push(&mut self, outcome: &Outcome) {
        let new =
            Partial { first_sent: outcome.sent, last_sent: outcome.sent, packets: 0, lost: 0, bytes: 0 };
        let partial = self.partial.get_or_insert(new);
        if outcome.was_lost {
            // It counted already, as lost; most likely in this observation.
            partial.lost = partial.lost.saturating_sub(1);
            return;
        }
        partial.first_sent = partial.first_sent.min(outcome.sent);
        partial.last_sent = partial.last_sent.max(outcome.sent);
        partial.packets = partial.packets.saturating_add(1);
        partial.lost += u32::from(outcome.arrival.is_none());
        partial.bytes = partial.bytes.saturating_add(outcome.size);
    }

    /// Looks at what has come since; `delay_based` and `acked` are in bits per second.
    pub fn update(&mut self, delay_based: f64, acked: Option<f64>, queue: Duration) {
        let complete = |partial: &mut Partial| {
            partial.last_sent.since(partial.first_sent) >= OBSERVATION && partial.packets >= PACKETS_MIN
        };
        if let Some(partial) = self.partial.take_if(complete) {
            self.observe(&partial);
            self.decide(delay_based, acked.unwrap_or(delay_based), queue);
        }
        if self.limit.is_some_and(|limit| limit >= delay_based) {
            self.limit = None;
        }
    }

    /// Bits per second; `None` while loss doesn't limit.
    pub fn limit(&self) -> Option<f64> {
        self.limit
    }

    /// The smoothed share of packets that are lost.
    pub fn loss(&self) -> f64 {
        self.loss
    }

    pub fn reset(&mut self) {
        *self = LossBased::default();
    }

    fn observe(&mut self, partial: &Partial) {
        let seconds = partial.last_sent.since(partial.first_sent).as_secs_f64();
        let observation = Observation {
            packets: f64::from(partial.packets),
            lost: f64::from(partial.lost.min(partial.packets)),
            rate: partial.bytes as f64 * 8.0 / seconds.max(0.1),
        };
        if let Some(place) = self.ring.get_mut(self.next) {
            *place = observation;
        }
        self.next = (self.next + 1) % OBSERVATIONS;
        self.len = (self.len + 1).min(OBSERVATIONS);
        let (lost, packets) =
            self.weighted().fold((0.0, 0.0), |(l, n), (w, o)| (l + w * o.lost, n + w * o.packets));
        self.loss = lost / packets.max(1.0);
    }

    /// Observations with their weights, youngest first.
    fn weighted(&self) -> impl Iterator<Item = (f64, Observation)> {
        let mut weight = 1.0 / AGEING;
        (1..=self.len).filter_map(move |back| {
            weight *= AGEING;
            let at = (self.next + OBSERVATIONS - back) % OBSERVATIONS;
            self.ring.get(at).map(|observation| (weight, *observation))
        })
    }

    fn decide(&mut self, delay_based: f64, acked: f64, queue: Duration) {
        let before = self.limit.unwrap_or(delay_based);
        let latest = self.weighted().next().map_or(Observation::default(), |(_, latest)| latest);
        let latest_loss = latest.lost / latest.packets.max(1.0);
        if self.loss < HARMLESS && latest_loss < EVENT {
            self.grow(before, delay_based);
            return;
        }
        let inherent_max = if queue > QUEUED { INHERENT_MAX_QUEUED } else { INHERENT_MAX };
        let known = self.inherent;
        let candidates =
            [delay_based, before * 1.02, before, before * 0.95, before * 0.85, acked.min(before)];
        let mut best = (f64::NEG_INFINITY, before);
        for candidate in candidates {
            let inherent = self.best_inherent(candidate, inherent_max);
            let score = self.likelihood(candidate, inherent);
            if score > best.0 {
                best = (score, candidate);
                self.inherent = inherent;
            }
        }
        // Three deviations of the noise that so few packets have.
        let noise = 3.0 * (known * (1.0 - known) / latest.packets.max(1.0)).sqrt();
        let event = latest_loss > known + EVENT + noise;
        if event {
            self.limit = Some((acked * DIP).min(best.1));
        } else {
            self.grow(before, best.1);
        }
    }

    /// Goes to `to`, upwards not faster than [`GROWTH`].
    fn grow(&mut self, before: f64, to: f64) {
        self.limit = Some(to.min(before * GROWTH));
    }

    /// Share lost of what is sent above the capacity.
    fn excess(rate: f64, capacity: f64) -> f64 {
        if rate > capacity { ((rate - capacity) / rate).min(0.99) } else { 0.0 }
    }

    /// The inherent loss under which the observations are likeliest: where the derivative changes its sign.
    fn best_inherent(&self, capacity: f64, max: f64) -> f64 {
        let derivative = |p: f64| {
            self.weighted()
                .map(|(weight, o)| {
                    let x = LossBased::excess(o.rate, capacity);
                    weight * (o.lost * (1.0 - x) / (p + (1.0 - p) * x) - (o.packets - o.lost) / (1.0 - p))
                })
                .sum::<f64>()
        };
        let (mut low, mut high) = (INHERENT_MIN, max);
        for _ in 0..BISECTIONS {
            let middle = (low + high) / 2.0;
            if derivative(middle) > 0.0 { low = middle } else { high = middle }
        }
        (low + high) / 2.0
    }

    fn likelihood(&self, capacity: f64, inherent: f64) -> f64 {
        let preference = PREFER_HIGHER * capacity.max(1.0).ln();
        self.weighted()
            .map(|(weight, o)| {
                let x = LossBased::excess(o.rate, capacity);
                let lost = inherent + (1.0 - inherent) * x;
                let binomial = o.lost * lost.ln() + (o.packets - o.lost) * (1.0 - lost).ln();
                weight * (binomial + preference * o.packets)
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bwe::feedback::RemoteTime;

    /// A sender that obeys, on a link that loses `inherent` of everything and all that is above `capacity`; the
    /// share of `delay_based` that it ends with.
    fn run(inherent: f64, capacity: f64, delay_based: f64) -> f64 {
        let mut loss = LossBased::default();
        let (mut ms, mut random, mut limits) = (0.0, 1u32, vec![]);
        for step in 0..4_000 {
            let rate = loss.limit().unwrap_or(delay_based).min(delay_based);
            ms += 1_250.0 * 8e3 / rate;
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let lost = f64::from(random) / f64::from(u32::MAX)
                < inherent + (1.0 - inherent) * LossBased::excess(rate, capacity);
            let arrival = (!lost).then_some(RemoteTime(0));
            let sent = Time((ms * 1e6) as u64);
            loss.push(&Outcome { sent, size: 1_250, probe: None, arrival, was_lost: false });
            let acked = rate.min(capacity) * (1.0 - inherent);
            loss.update(delay_based, Some(acked), Duration::ZERO);
            if step >= 2_000 {
                limits.push(rate);
            }
        }
        limits.iter().sum::<f64>() / limits.len() as f64 / delay_based
    }

    #[test]
    fn loss_that_comes_at_any_rate_doesnt_limit() {
        for (inherent, least) in [(0.0, 0.99), (0.02, 0.97), (0.05, 0.95), (0.10, 0.90), (0.20, 0.75)] {
            let used = run(inherent, 1e9, 2e6);
            assert!(used >= least, "{inherent}: {used}");
        }
    }

    #[test]
    fn loss_that_comes_with_the_rate_does() {
        for capacity in [1e6, 1.5e6] {
            let used = run(0.0, capacity, 2e6) * 2e6 / capacity;
            assert!((0.75..1.1).contains(&used), "{capacity}: {used}");
        }
    }
}
