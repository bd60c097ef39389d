//! Application-limited or not: whether what is sent uses the estimate. Nothing can be learnt about a link from what
//! isn't sent on it.

use crate::unit::Time;

/// Share of the estimate that counts as using it.
const USED: f64 = 0.65;
/// How much of a window of credit must be left over to begin, and may be to go on.
const START: f64 = 0.80;
const STOP: f64 = 0.50;
/// The window, in seconds.
const WINDOW_S: f64 = 0.5;

/// A bucket that fills at the used share of the estimate and is emptied by what is sent.
#[derive(Default, Debug)]
pub struct Alr {
    credit_bits: f64,
    at: Option<Time>,
    since: Option<Time>,
}

impl Alr {
    /// `bytes` left at `now`, while the estimate was this.
    pub fn sent(&mut self, now: Time, bytes: usize, estimate_bps: f64) {
        let window = USED * estimate_bps * WINDOW_S;
        let elapsed = now.since(self.at.replace(now).unwrap_or(now)).as_secs_f64();
        self.credit_bits = self.credit_bits + USED * estimate_bps * elapsed - bytes as f64 * 8.0;
        self.credit_bits = self.credit_bits.clamp(-window, window);
        match self.since {
            None if self.credit_bits > START * window => self.since = Some(now),
            Some(_) if self.credit_bits < STOP * window => self.since = None,
            _ => {}
        }
    }

    /// Since when the sender has been application-limited; `None` when it isn't.
    pub fn since(&self) -> Option<Time> {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(alr: &mut Alr, from_ms: u64, kbps: f64, estimate: f64) {
        for n in 0..200 {
            alr.sent(Time::from_millis(from_ms + n * 10), (kbps * 10.0 / 8.0) as usize, estimate);
        }
    }

    #[test]
    fn a_third_of_the_estimate_is_limited_and_nearly_all_is_not() {
        let mut alr = Alr::default();
        send(&mut alr, 0, 330.0, 1e6);
        assert!(alr.since().is_some());
        send(&mut alr, 2_000, 900.0, 1e6);
        assert_eq!(alr.since(), None);
        send(&mut alr, 4_000, 700.0, 1e6);
        assert_eq!(alr.since(), None);
    }
}
