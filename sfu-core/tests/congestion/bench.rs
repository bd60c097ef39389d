//! A bottleneck with flows on it, under a virtual clock: packets down, feedback up. One seed is one run.

use std::collections::BTreeMap;
use std::time::Duration;

use loadtest::net::{self, Link, LinkConfig};
use sfu_core::unit::Time;

use crate::flow::{Flow, FlowSpec, HEADERS, Packet};
use crate::tcp::{Tcp, TcpSpec};

const STEP: Duration = Duration::from_millis(1);
/// A sample of a run is taken this often.
pub const SAMPLE: Duration = Duration::from_millis(100);

/// What happens during a run.
#[derive(Clone, Debug)]
pub enum Change {
    /// The bottleneck's rate, in bits per second.
    Capacity(f64),
    Up(LinkConfig),
    Pause(usize, bool),
    Route(LinkConfig),
}

#[derive(Clone, Debug)]
pub struct Scenario {
    pub down: LinkConfig,
    pub up: LinkConfig,
    pub flows: Vec<FlowSpec>,
    pub tcp: Vec<TcpSpec>,
    /// In seconds.
    pub changes: Vec<(f64, Change)>,
    pub length_s: u64,
}

/// A tenth of a second of one flow. Rates in bits per second.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sample {
    pub at_s: f64,
    pub estimate: f64,
    pub sent: f64,
    pub arrived: f64,
    pub lost: f64,
    pub queue: Duration,
    pub note: &'static str,
}

/// All samples of all flows, and how much TCP got in each.
pub struct Run {
    pub flows: Vec<Vec<Sample>>,
    pub tcp: Vec<f64>,
}

impl Run {
    /// What a flow did, a line a second.
    pub fn print(&self, flow: usize) {
        for chunk in self.flows[flow].chunks(10) {
            let mean = |of: &dyn Fn(&Sample) -> f64| chunk.iter().map(of).sum::<f64>() / chunk.len() as f64;
            println!(
                "{:5.1} s  estimate {:6.0}  sent {:6.0}  arrived {:6.0} kbit/s  lost {:5.1} %  queue {:4.0} ms  {}",
                chunk[0].at_s,
                mean(&|s| s.estimate / 1e3),
                mean(&|s| s.sent / 1e3),
                mean(&|s| s.arrived / 1e3),
                mean(&|s| s.lost * 100.0),
                mean(&|s| s.queue.as_secs_f64() * 1e3),
                chunk[0].note,
            );
        }
    }

    /// The samples of a flow between two seconds.
    pub fn window(&self, flow: usize, from_s: f64, to_s: f64) -> impl Iterator<Item = &Sample> + Clone {
        self.flows[flow].iter().filter(move |sample| (from_s..to_s).contains(&sample.at_s))
    }

    pub fn mean(&self, flow: usize, from_s: f64, to_s: f64, of: impl Fn(&Sample) -> f64) -> f64 {
        let (sum, n) = self.window(flow, from_s, to_s).fold((0.0, 0), |(sum, n), s| (sum + of(s), n + 1));
        sum / f64::from(n.max(1))
    }

    pub fn least(&self, flow: usize, from_s: f64, to_s: f64, of: impl Fn(&Sample) -> f64) -> f64 {
        self.window(flow, from_s, to_s).map(of).fold(f64::INFINITY, f64::min)
    }

    pub fn percentile(
        &self,
        flow: usize,
        from_s: f64,
        to_s: f64,
        p: f64,
        of: impl Fn(&Sample) -> f64,
    ) -> f64 {
        let mut values: Vec<f64> = self.window(flow, from_s, to_s).map(of).collect();
        values.sort_by(f64::total_cmp);
        let at = ((values.len() as f64 - 1.0) * p).round().max(0.0) as usize;
        values.get(at).copied().unwrap_or_default()
    }

    /// Seconds after `from_s` until something is so and stays so for half a second.
    pub fn until(&self, flow: usize, from_s: f64, is_so: impl Fn(&Sample) -> bool) -> f64 {
        let samples: Vec<&Sample> = self.window(flow, from_s, f64::INFINITY).collect();
        let found = samples.windows(5).find(|window| window.iter().all(|sample| is_so(sample)));
        found.map_or(f64::INFINITY, |window| window[0].at_s - from_s)
    }
}

/// Jain's index of fairness.
pub fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    sum * sum / (shares.len() as f64 * squares)
}

enum What {
    Media(usize, Packet),
    Report(usize, Vec<u8>),
    Segment(usize, u64, usize),
    Ack(usize, u64),
}

struct World {
    down: Link,
    up: Link,
    flows: Vec<Flow>,
    tcp: Vec<Tcp>,
    /// By when they happen, and among those by when they were pushed.
    events: BTreeMap<(Time, u64), What>,
    order: u64,
}

impl Scenario {
    pub fn new(down: LinkConfig, flows: Vec<FlowSpec>, length_s: u64) -> Scenario {
        let up = LinkConfig::with_delay(down.delay);
        Scenario { down, up, flows, tcp: Vec::new(), changes: Vec::new(), length_s }
    }

    pub fn change(mut self, at_s: f64, change: Change) -> Scenario {
        self.changes.push((at_s, change));
        self
    }

    pub fn tcp(mut self, from_s: u64, to_s: u64) -> Scenario {
        let at = |second: u64| Time::from_millis(second * 1_000);
        self.tcp.push(TcpSpec { from: at(from_s), to: at(to_s) });
        self
    }

    pub fn run(&self, seed: u64) -> Run {
        let mut world = World {
            down: Link::new(self.down.clone(), seed),
            up: Link::new(self.up.clone(), seed ^ 0x5555),
            flows: (self.flows.iter().zip(1..))
                .map(|(flow, n)| Flow::new(flow.clone(), seed << 8 | n))
                .collect(),
            tcp: self.tcp.iter().copied().map(Tcp::new).collect(),
            events: BTreeMap::new(),
            order: 0,
        };
        let mut run = Run { flows: vec![Vec::new(); self.flows.len()], tcp: Vec::new() };
        let mut changes = self.changes.clone();
        changes.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut now, end) = (Time::ZERO, Time::from_millis(self.length_s * 1_000));
        while now < end {
            let at_s = now.0 as f64 / 1e9;
            while changes.last().is_some_and(|(at, _)| *at <= at_s) {
                let (_, change) = changes.pop().unwrap();
                world.change(now, change);
            }
            world.step(now);
            now += STEP;
            if now.0.is_multiple_of(SAMPLE.as_nanos() as u64) {
                world.sample(at_s, &mut run);
            }
        }
        run
    }
}

impl World {
    fn change(&mut self, now: Time, change: Change) {
        match change {
            Change::Capacity(bps) => {
                if let Some(rate) = &mut self.down.config.rate {
                    rate.bits_per_second = bps as u64;
                }
            }
            Change::Up(config) => self.up.config = config,
            Change::Pause(flow, paused) => self.flows[flow].paused = paused,
            Change::Route(config) => {
                self.up.config = LinkConfig::with_delay(config.delay);
                self.down.config = config;
                self.flows.iter_mut().for_each(|flow| flow.estimator.route_changed(now));
            }
        }
    }

    fn push(&mut self, at: net::Time, extra: Duration, what: What) {
        self.order += 1;
        self.events.insert((Time(at.0) + extra, self.order), what);
    }

    fn step(&mut self, now: Time) {
        let net_now = net::Time(now.0);
        while let Some(event) = self.events.first_entry().filter(|event| event.key().0 <= now) {
            let ((at, _), what) = event.remove_entry();
            match what {
                What::Media(flow, packet) => {
                    let flow = &mut self.flows[flow];
                    let way = self.down.config.delay + flow.spec.extra_delay;
                    flow.arrive(at, &packet, at.since(packet.sent).saturating_sub(way));
                }
                What::Report(flow, compound) => self.flows[flow].feedback(now, &compound),
                What::Segment(tcp, seq, size) => {
                    self.tcp[tcp].arrived_bytes += size;
                    let delay = self.up.config.delay;
                    self.push(net_now, delay, What::Ack(tcp, seq));
                }
                What::Ack(tcp, seq) => self.tcp[tcp].acked(now, seq),
            }
        }
        for flow in 0..self.flows.len() {
            let extra = self.flows[flow].spec.extra_delay;
            for packet in self.flows[flow].send(now) {
                let arrivals = self.down.transmit(net_now, vec![0; packet.size.saturating_sub(HEADERS)]);
                for arrival in arrivals.into_iter().flatten() {
                    self.push(arrival.at, extra, What::Media(flow, packet));
                }
            }
            if let Some(report) = self.flows[flow].report(now) {
                for arrival in self.up.transmit(net_now, report).into_iter().flatten() {
                    self.push(arrival.at, extra, What::Report(flow, arrival.bytes));
                }
            }
        }
        for tcp in 0..self.tcp.len() {
            for (seq, size) in self.tcp[tcp].send(now) {
                for arrival in self.down.transmit(net_now, vec![0; size]).into_iter().flatten() {
                    self.push(arrival.at, Duration::ZERO, What::Segment(tcp, seq, size));
                }
            }
        }
    }

    fn sample(&mut self, at_s: f64, run: &mut Run) {
        let rate = |bytes: usize| bytes as f64 * 8.0 / SAMPLE.as_secs_f64();
        for (flow, samples) in self.flows.iter_mut().zip(&mut run.flows) {
            let counts = std::mem::take(&mut flow.counts);
            samples.push(Sample {
                at_s,
                estimate: flow.estimator.bitrate().0 as f64,
                sent: rate(counts.sent_bytes),
                arrived: rate(counts.arrived_bytes),
                lost: 1.0 - counts.arrived as f64 / (counts.sent as f64).max(1.0),
                queue: counts.delay_max,
                note: flow.note(),
            });
        }
        run.tcp.push(self.tcp.iter_mut().map(|tcp| rate(std::mem::take(&mut tcp.arrived_bytes))).sum());
    }
}
