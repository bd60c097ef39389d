//! One direction of a network link: delay, jitter, loss, duplication, reordering, corruption, a bottleneck
//! with a drop-tail queue, and outages. It decides when a datagram arrives, if it does; it doesn't know where.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Time;

/// Bytes of IPv4 and UDP header that each datagram costs on a rate-limited link.
pub const HEADER_BYTES: usize = 28;

/// How a link treats datagrams. All of it may be changed while packets are in flight.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LinkConfig {
    /// Propagation delay, one way.
    pub delay: Duration,
    pub jitter: Jitter,
    /// Whether a datagram with little jitter may overtake one with more. Without it, jitter delays the
    /// datagrams behind, too.
    pub jitter_reorders: bool,
    /// Probability of independent loss, 0–1.
    pub loss: f64,
    /// Loss in bursts, on top of `loss`.
    pub burst_loss: Option<GilbertElliott>,
    /// Probability that a datagram arrives twice.
    pub duplicate: f64,
    /// Probability that a datagram is held back by `reorder_by`, so that those behind overtake it.
    pub reorder: f64,
    pub reorder_by: Duration,
    /// Probability that one bit of a datagram is flipped.
    pub corrupt: f64,
    pub rate: Option<RateLimit>,
    /// Times at which everything is lost.
    pub outages: Vec<Outage>,
}

impl LinkConfig {
    /// A link with this one-way delay and no faults.
    pub fn with_delay(delay: Duration) -> LinkConfig {
        LinkConfig { delay, ..LinkConfig::default() }
    }

    pub fn loss(mut self, loss: f64) -> LinkConfig {
        self.loss = loss;
        self
    }

    pub fn jitter(mut self, jitter: Jitter) -> LinkConfig {
        self.jitter = jitter;
        self
    }

    /// A bottleneck of `bits_per_second` that queues datagrams for at most `queue`.
    pub fn rate(mut self, bits_per_second: u64, queue: Duration) -> LinkConfig {
        self.rate = Some(RateLimit { bits_per_second, queue });
        self
    }
}

/// Random delay on top of the propagation delay.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Jitter {
    #[default]
    None,
    /// Between zero and this, evenly.
    Uniform(Duration),
    /// Normally distributed with this deviation around the link's delay, never below zero delay.
    Normal(Duration),
}

/// The two-state loss model of Gilbert and Elliott: mostly good, sometimes bad for several datagrams.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GilbertElliott {
    /// Probability per datagram of good → bad.
    pub to_bad: f64,
    /// Probability per datagram of bad → good.
    pub to_good: f64,
    /// Loss probability in the good state.
    pub loss_good: f64,
    /// Loss probability in the bad state.
    pub loss_bad: f64,
}

impl GilbertElliott {
    /// Loss of this average share in bursts of this mean length, where all of a burst is lost.
    pub fn average(loss: f64, burst: f64) -> GilbertElliott {
        let to_good = 1.0 / burst.max(1.0);
        let to_bad = if loss < 1.0 { (to_good * loss / (1.0 - loss)).min(1.0) } else { 1.0 };
        GilbertElliott { to_bad, to_good, loss_good: 0.0, loss_bad: 1.0 }
    }
}

/// A bottleneck with a drop-tail queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateLimit {
    pub bits_per_second: u64,
    /// A datagram that would wait longer than this is dropped.
    pub queue: Duration,
}

/// Nothing passes in `from..to`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outage {
    pub from: Time,
    pub to: Time,
}

/// What a link has done so far: a test that injects a fault can see that it happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LinkCounters {
    /// Datagrams and bytes handed in.
    pub offered: u64,
    pub offered_bytes: u64,
    /// Datagrams (with duplicates) and bytes that come out.
    pub passed: u64,
    pub passed_bytes: u64,
    pub lost_random: u64,
    pub lost_burst: u64,
    pub lost_queue: u64,
    pub lost_outage: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub corrupted: u64,
}

impl LinkCounters {
    /// Everything that went in and didn't come out.
    pub fn lost(&self) -> u64 {
        self.lost_random + self.lost_burst + self.lost_queue + self.lost_outage
    }
}

/// A datagram on its way out of a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrival {
    pub at: Time,
    pub bytes: Vec<u8>,
}

/// One direction of a link, with its own randomness, so that traffic elsewhere doesn't change its faults.
#[derive(Debug)]
pub struct Link {
    pub config: LinkConfig,
    counters: LinkCounters,
    rng: StdRng,
    in_burst: bool,
    /// When the bottleneck has sent all that it has accepted.
    busy_until: Time,
    last_arrival: Time,
}

impl Link {
    pub fn new(config: LinkConfig, seed: u64) -> Link {
        Link {
            config,
            counters: LinkCounters::default(),
            rng: StdRng::seed_from_u64(seed),
            in_burst: false,
            busy_until: Time::ZERO,
            last_arrival: Time::ZERO,
        }
    }

    /// Sends a datagram: it arrives never, once or twice.
    pub fn transmit(&mut self, now: Time, mut bytes: Vec<u8>) -> [Option<Arrival>; 2] {
        self.counters.offered += 1;
        self.counters.offered_bytes += bytes.len() as u64;
        if self.config.outages.iter().any(|outage| (outage.from..outage.to).contains(&now)) {
            self.counters.lost_outage += 1;
            return [None, None];
        }
        let Some(departure) = self.depart(now, bytes.len()) else {
            self.counters.lost_queue += 1;
            return [None, None];
        };
        if self.lose_in_burst() {
            self.counters.lost_burst += 1;
            return [None, None];
        }
        if self.happens(self.config.loss) {
            self.counters.lost_random += 1;
            return [None, None];
        }
        if self.happens(self.config.corrupt) {
            self.corrupt(&mut bytes);
        }
        let duplicate = self.happens(self.config.duplicate).then(|| bytes.clone());
        let first = self.arrive(departure, bytes);
        let second = duplicate.map(|bytes| {
            self.counters.duplicated += 1;
            self.arrive(departure, bytes)
        });
        [Some(first), second]
    }

    pub fn counters(&self) -> LinkCounters {
        self.counters
    }

    fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.random::<f64>() < probability
    }

    /// When the bottleneck has put the datagram on the wire; `None` if its queue is full.
    fn depart(&mut self, now: Time, len: usize) -> Option<Time> {
        let Some(limit) = self.config.rate else { return Some(now) };
        let start = self.busy_until.max(now);
        if start.since(now) > limit.queue || limit.bits_per_second == 0 {
            return None;
        }
        let bits = (len + HEADER_BYTES) as u128 * 8;
        let nanos = bits * 1_000_000_000 / u128::from(limit.bits_per_second);
        self.busy_until = start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Some(self.busy_until)
    }

    fn lose_in_burst(&mut self) -> bool {
        let Some(model) = self.config.burst_loss else { return false };
        let turn = if self.in_burst { model.to_good } else { model.to_bad };
        if self.happens(turn) {
            self.in_burst = !self.in_burst;
        }
        self.happens(if self.in_burst { model.loss_bad } else { model.loss_good })
    }

    fn corrupt(&mut self, bytes: &mut [u8]) {
        if bytes.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..bytes.len());
        let bit = self.rng.random_range(0..8u8);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << bit;
            self.counters.corrupted += 1;
        }
    }

    fn arrive(&mut self, departure: Time, bytes: Vec<u8>) -> Arrival {
        self.counters.passed += 1;
        self.counters.passed_bytes += bytes.len() as u64;
        let mut at = departure + self.delay();
        if self.happens(self.config.reorder) {
            self.counters.reordered += 1;
            return Arrival { at: at + self.config.reorder_by, bytes };
        }
        if at < self.last_arrival {
            if self.config.jitter_reorders {
                self.counters.reordered += 1;
            } else {
                at = self.last_arrival;
            }
        }
        self.last_arrival = self.last_arrival.max(at);
        Arrival { at, bytes }
    }

    fn delay(&mut self) -> Duration {
        let delay = self.config.delay.as_nanos() as f64;
        let jitter = match self.config.jitter {
            Jitter::None => return self.config.delay,
            Jitter::Uniform(most) => self.rng.random::<f64>() * most.as_nanos() as f64,
            Jitter::Normal(deviation) => self.standard_normal() * deviation.as_nanos() as f64,
        };
        Duration::from_nanos((delay + jitter).max(0.0) as u64)
    }

    /// Box and Muller's transform of two uniform numbers.
    fn standard_normal(&mut self) -> f64 {
        let radius: f64 = 1.0 - self.rng.random::<f64>();
        let angle: f64 = self.rng.random();
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `n` datagrams of `len` bytes, one a millisecond; when each arrived.
    fn run(link: &mut Link, n: u64, len: usize) -> Vec<Arrival> {
        (0..n)
            .flat_map(|i| link.transmit(Time::from_millis(i), vec![i as u8; len]).into_iter().flatten())
            .collect()
    }

    #[test]
    fn random_loss_is_close_to_what_was_asked() {
        let mut link = Link::new(LinkConfig::default().loss(0.05), 1);
        let arrived = run(&mut link, 100_000, 10).len() as u64;
        let lost = link.counters().lost_random;
        // Five standard deviations of a binomial with n = 10⁵, p = 0.05 are 345.
        assert!(lost.abs_diff(5_000) < 345, "{lost}");
        assert_eq!(arrived + lost, 100_000);
        assert_eq!(link.counters().lost(), lost);
    }

    #[test]
    fn burst_loss_has_the_average_and_the_burst_length_asked() {
        let model = GilbertElliott::average(0.10, 5.0);
        let mut link = Link::new(LinkConfig { burst_loss: Some(model), ..LinkConfig::default() }, 2);
        let mut bursts = 0u64;
        let mut was_lost = false;
        for i in 0..200_000 {
            let lost = link.transmit(Time::from_millis(i), vec![0]).iter().all(Option::is_none);
            bursts += u64::from(lost && !was_lost);
            was_lost = lost;
        }
        let share = link.counters().lost_burst as f64 / 200_000.0;
        let length = link.counters().lost_burst as f64 / bursts as f64;
        assert!((0.09..0.11).contains(&share), "{share}");
        assert!((4.5..5.5).contains(&length), "{length}");
    }

    #[test]
    fn a_bottleneck_passes_exactly_its_rate_and_drops_the_tail() {
        // 972 + 28 bytes at 1 Mbit/s take 8 ms; one a millisecond is offered for a second.
        let config = LinkConfig::default().rate(1_000_000, Duration::from_millis(40));
        let mut link = Link::new(config, 3);
        let arrivals = run(&mut link, 1_000, 972);
        for (i, arrival) in arrivals.iter().enumerate() {
            assert_eq!(arrival.at, Time::from_millis(8 * (i as u64 + 1)));
        }
        let counters = link.counters();
        assert_eq!(counters.passed + counters.lost_queue, 1_000);
        // The last is accepted while at most 40 ms wait before it.
        let last = arrivals.last().map(|arrival| arrival.at).unwrap();
        assert!(last <= Time::from_millis(999 + 40 + 8) && last > Time::from_millis(999 + 32), "{last:?}");
    }

    #[test]
    fn jitter_keeps_order_unless_it_may_not() {
        let mut config = LinkConfig::with_delay(Duration::from_millis(20));
        config.jitter = Jitter::Normal(Duration::from_millis(5));
        let mut link = Link::new(config.clone(), 4);
        assert!(run(&mut link, 5_000, 10).is_sorted_by_key(|arrival| arrival.at));
        assert_eq!(link.counters().reordered, 0);

        config.jitter_reorders = true;
        let mut link = Link::new(config, 4);
        let arrivals = run(&mut link, 5_000, 10);
        assert!(!arrivals.is_sorted_by_key(|arrival| arrival.at));
        assert!(link.counters().reordered > 1_000);
        let mean = arrivals
            .iter()
            .enumerate()
            .map(|(i, arrival)| arrival.at.since(Time::from_millis(i as u64)).as_secs_f64())
            .sum::<f64>()
            / 5_000.0;
        assert!((0.0195..0.0205).contains(&mean), "{mean}");
    }

    #[test]
    fn each_fault_is_counted() {
        let config = LinkConfig {
            duplicate: 0.1,
            reorder: 0.1,
            reorder_by: Duration::from_millis(30),
            corrupt: 0.1,
            outages: vec![Outage { from: Time::from_millis(100), to: Time::from_millis(200) }],
            ..LinkConfig::default()
        };
        let mut link = Link::new(config, 5);
        let arrivals = run(&mut link, 1_000, 8);
        let counters = link.counters();
        assert_eq!(counters.lost_outage, 100);
        assert!(arrivals.iter().all(|arrival| !(100..200).contains(&(arrival.at.0 / 1_000_000))
            || arrival.at < Time::from_millis(130)));
        assert_eq!(arrivals.len() as u64, 900 + counters.duplicated);
        for count in [counters.duplicated, counters.reordered, counters.corrupted] {
            assert!((50..150).contains(&count), "{counters:?}");
        }
        let damaged =
            arrivals.iter().filter(|arrival| arrival.bytes.iter().any(|b| *b != arrival.bytes[0])).count();
        assert!(damaged as u64 >= counters.corrupted);
    }
}
