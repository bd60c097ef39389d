//! What a subscriber's path can carry, in the way of Google Congestion Control (draft-ietf-rmcat-gcc-02; Carlucci et
//! al. 2016), written anew: driven by packets that left and by feedback about them, with the time as an argument.
//! Decides nothing about layers and sends nothing itself. Feedback may be wrong in every way: it can lower the
//! estimate, and raise it to about what was really sent.
//!
//! ```text
//!   release ── sent ──┬─▶ send_history                  REMB ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ┐ without other
//!                     ├─▶ alr: is the estimate used?                                       feedback
//!                     └─▶ silence: is feedback due?                                       │
//!   transport-cc ─┐         │                                                             ▼
//!                 ├─▶ feedback: what became of each packet, once ──▶ remote clock      estimate
//!   RFC 8888 ─────┘         │                                                             ▲
//!        ┌──────────────┬───┴─────────┬──────────────┬──────────────┐                     │
//!        ▼              ▼             ▼              ▼              ▼                     │
//!   acked_rate     queue_delay   inter_arrival   probe_meter    loss_based ──┐            │
//!   what arrives   how long      groups          what probes    which        │            │
//!        │         is the queue     │            have shown     capacity     │            │
//!        │              └──────▶ trendline           │          explains     │            │
//!        │                      does it grow?        │          the losses   │            │
//!        │                          ▼                ▼                       ▼            │
//!        └─────────────────────▶  aimd  ◀──────── jump                      min ─▶ silence┘
//!                                   └─ delay-based estimate ─────────────────▲
//!
//!   estimate, what is wanted, calm? ─▶ probe (controller) ─▶ clusters ─▶ pacer
//! ```

mod acked_rate;
mod aimd;
mod alr;
mod feedback;
mod inter_arrival;
mod loss_based;
mod probe;
mod probe_meter;
mod queue_delay;
mod send_history;
mod silence;
mod standing;
mod trendline;

use std::time::Duration;

pub use self::feedback::{Outcome, RemoteTime};
pub use self::send_history::SentPacket;

use self::acked_rate::AckedRate;
use self::aimd::{Aimd, Signal};
use self::alr::Alr;
use self::feedback::ArrivalClock;
use self::inter_arrival::InterArrival;
use self::loss_based::LossBased;
use self::probe::{ProbeController, Situation};
use self::probe_meter::{ProbeMeter, Probed};
use self::queue_delay::QueueDelay;
use self::send_history::SendHistory;
use self::silence::Silence;
use self::standing::{StandingQueue, Verdict};
use self::trendline::{Trendline, Usage};
use crate::unit::{Bitrate, ProbeCluster, Time, TwccSeq};
use crate::wire::rtcp::{CongestionFeedback, Reception, TransportCc};

/// Packets that one report may be about; real ones are about some dozens.
pub const REPORTED_MAX: usize = 4_096;
/// Streams that one RFC 8888 report may be about: slots and their RTX.
const STREAMS_MAX: usize = 64;
/// Before the first feedback.
const RTT_START: Duration = Duration::from_millis(200);
const RTT_MAX: Duration = Duration::from_secs(5);
/// A receiver that has sent feedback about packets within this time isn't asked for REMB.
const REMB_AFTER: Duration = Duration::from_secs(5);
/// The pacing rate as a multiple of the estimate; while losses limit it.
const PACING: f64 = 2.5;
const PACING_LOSSY: f64 = 1.25;
/// Once a path has been full, a probe that meets its capacity counts only if it shows so much more than the estimate.
const SATURATED_WORTH: f64 = 2.0;
/// With a longer queue, nothing is probed.
const PROBE_QUEUE_MAX: Duration = Duration::from_millis(30);
/// More loss than this isn't calm.
const PROBE_LOSS_MAX: f64 = 0.30;
/// How long after a decrease nothing is probed.
const PROBE_AFTER_DECREASE: Duration = Duration::from_millis(700);

/// Where an estimate begins and where it must stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BweConfig {
    pub start: Bitrate,
    pub min: Bitrate,
    pub max: Bitrate,
}

/// What holds the estimate where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LimitedBy {
    /// Nothing yet: it grows, or more isn't sent.
    Nothing,
    /// The queue grew.
    Delay,
    Loss,
    /// Feedback is missing.
    Silence,
    /// What the receiver says by REMB.
    Receiver,
    /// The configured bounds.
    Config,
}

/// The estimate and how it came about.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Estimate {
    pub bitrate: Bitrate,
    pub limited_by: LimitedBy,
    pub delay_based: Bitrate,
    /// `None` while loss doesn't limit.
    pub loss_based: Option<Bitrate>,
    /// What arrives; `None` before the first feedback.
    pub acked: Option<Bitrate>,
    pub rtt: Duration,
    pub queue: Duration,
    /// Share of packets lost, smoothed, 0–1.
    pub loss: f64,
}

/// The estimator of one subscriber.
#[derive(Debug)]
pub struct Estimator {
    config: BweConfig,
    history: SendHistory,
    clock: ArrivalClock,
    acked: AckedRate,
    queue: QueueDelay,
    standing: StandingQueue,
    groups: InterArrival,
    trend: Trendline,
    aimd: Aimd,
    loss: LossBased,
    alr: Alr,
    silence: Silence,
    meter: ProbeMeter,
    prober: ProbeController,
    wanted: Bitrate,
    rtt: Duration,
    heard: Option<Time>,
    remb: Option<Bitrate>,
}

/// What one report has brought together.
#[derive(Default)]
struct Report {
    /// When the newest packet that arrived had been sent.
    newest: Option<Time>,
    over: bool,
    probed: Option<Probed>,
}

impl Estimator {
    pub fn new(config: BweConfig) -> Estimator {
        Estimator {
            config,
            history: SendHistory::default(),
            clock: ArrivalClock::default(),
            acked: AckedRate::default(),
            queue: QueueDelay::default(),
            standing: StandingQueue::default(),
            groups: InterArrival::default(),
            trend: Trendline::default(),
            aimd: Aimd::new(config.start.0 as f64),
            loss: LossBased::default(),
            alr: Alr::default(),
            silence: Silence::default(),
            meter: ProbeMeter::default(),
            prober: ProbeController::default(),
            wanted: config.max,
            rtt: RTT_START,
            heard: None,
            remb: None,
        }
    }

    /// The transport-wide number of the next packet.
    pub fn next_seq(&self) -> TwccSeq {
        self.history.next_seq()
    }

    /// The packet with [`Estimator::next_seq`] leaves.
    pub fn sent(&mut self, now: Time, packet: &SentPacket) {
        self.alr.sent(now, packet.size, self.bits());
        self.silence.sent(now);
        self.history.record(now, packet, self.heard.is_some());
    }

    /// What could be used, if the path carried it: probing goes no further.
    pub fn set_wanted(&mut self, wanted: Bitrate) {
        self.wanted = wanted;
    }

    /// Takes transport-wide feedback.
    pub fn transport_cc(&mut self, now: Time, feedback: &TransportCc<'_>) {
        let mut report = Report::default();
        for result in feedback.results().take(REPORTED_MAX) {
            let arrival = result.arrival.map(|time| self.clock.transport_cc(time));
            if let Some(outcome) = self.history.resolve(now, result.seq, arrival) {
                self.take(&outcome, &mut report);
            }
        }
        self.conclude(now, &report);
    }

    /// Takes RFC 8888 feedback.
    pub fn congestion_feedback(&mut self, now: Time, feedback: &CongestionFeedback<'_>) {
        let at = self.clock.report(feedback.report_time);
        let mut report = Report::default();
        let (mut stream, mut streams, mut from) = (None, 0, 0);
        for result in feedback.results().take(REPORTED_MAX) {
            if stream != Some(result.ssrc) {
                (stream, from) = (Some(result.ssrc), 0);
                streams += 1;
            }
            if streams > STREAMS_MAX {
                break;
            }
            let found = self.history.find(from, result.ssrc, result.seq);
            from = found.map_or_else(|beyond| beyond, |number| number + 1);
            let Ok(number) = found else { continue };
            let arrival = match result.reception {
                Reception::Lost => None,
                Reception::Before(offset) => Some(at.before(offset)),
                Reception::SomeTime => {
                    self.history.received_some_time(number);
                    continue;
                }
            };
            if let Some(outcome) = self.history.resolve_number(now, number, arrival) {
                self.take(&outcome, &mut report);
            }
        }
        self.conclude(now, &report);
    }

    /// Takes the receiver's own estimate (draft-alvestrand-rmcat-remb-03): it counts only from receivers that
    /// send nothing better.
    pub fn remb(&mut self, bitrate: Bitrate) {
        self.remb = Some(bitrate);
    }

    /// Everything that was known is about another path.
    pub fn route_changed(&mut self, now: Time) {
        let start = self.bits().min(self.config.start.0 as f64);
        self.history.forget();
        self.acked.reset();
        self.queue.reset();
        self.standing = StandingQueue::default();
        self.groups.reset();
        self.trend = Trendline::default();
        self.aimd = Aimd::new(start);
        self.loss.reset();
        self.silence.reset();
        self.alr = Alr::default();
        self.prober.restart();
        (self.rtt, self.remb, self.heard) = (RTT_START, None, self.heard.map(|_| now));
    }

    /// When [`Estimator::handle_timeout`] is wanted next.
    pub fn next_timeout(&self) -> Option<Time> {
        self.heard?;
        self.silence.next_timeout(self.rtt).into_iter().chain(self.prober.next_timeout()).min()
    }

    pub fn handle_timeout(&mut self, now: Time) {
        if self.heard.is_some() {
            self.silence.handle_timeout(now, self.rtt);
            self.probe(now);
        }
    }

    /// The next cluster that should be sent.
    pub fn poll_probe(&mut self) -> Option<ProbeCluster> {
        let cluster = self.prober.poll()?;
        self.meter.expect(&cluster);
        Some(cluster)
    }

    pub fn bitrate(&self) -> Bitrate {
        Bitrate(self.bits() as u64)
    }

    /// How fast packets may leave that wait: above the estimate, so that frames leave as they come, but smoothly
    /// where bursts are lost.
    pub fn pacing_rate(&self) -> Bitrate {
        let multiple = if self.loss.limit().is_some() { PACING_LOSSY } else { PACING };
        Bitrate((self.bits() * multiple) as u64)
    }

    /// The estimate and how it came about.
    pub fn estimate(&self) -> Estimate {
        let rate = |bps: f64| Bitrate(bps.max(0.0) as u64);
        Estimate {
            bitrate: self.bitrate(),
            limited_by: self.limited_by(),
            delay_based: rate(self.aimd.estimate()),
            loss_based: self.loss.limit().map(rate),
            acked: self.acked.received().map(rate),
            rtt: self.rtt,
            queue: self.queue.get(),
            loss: self.loss.loss(),
        }
    }

    /// Bytes of the largest part of it.
    pub fn memory(&self) -> usize {
        size_of::<Estimator>() + self.history.memory()
    }

    /// One packet's fate goes to everybody whom it concerns.
    fn take(&mut self, outcome: &Outcome, report: &mut Report) {
        self.loss.push(outcome);
        let Some(arrival) = outcome.arrival else { return };
        report.newest = report.newest.max(Some(outcome.sent));
        self.acked.push(outcome.sent, arrival, outcome.size);
        self.queue.push(outcome.sent, arrival);
        if let Some(id) = outcome.probe {
            report.probed = self.meter.push(id, outcome.sent, arrival, outcome.size).or(report.probed);
        }
        if let Some(delta) = self.groups.push(outcome.sent, arrival) {
            report.over |= self.trend.update(&delta, self.queue.is_queued()) == Usage::Over;
        }
    }

    /// All of a report is taken: what follows from it.
    fn conclude(&mut self, now: Time, report: &Report) {
        let Some(newest) = report.newest else { return };
        self.heard = Some(now);
        self.rtt = now.since(newest).min(RTT_MAX);
        self.silence.heard(now, self.rtt);
        if newest == self.history.last_sent() {
            self.silence.idle();
        }
        let standing = self.standing.update(now, self.queue.get(), self.aimd.estimate());
        let usage = match standing {
            Verdict::Over => Usage::Over,
            Verdict::Contended(before) => {
                self.aimd.jump(now, before.max(self.aimd.estimate()));
                Usage::Normal
            }
            Verdict::Quiet if self.standing.is_contended() => Usage::Normal,
            Verdict::Quiet if report.over => Usage::Over,
            Verdict::Quiet => self.trend.usage(),
        };
        let signal = Signal {
            usage,
            acked: self.acked.received(),
            keeps_up: self.acked.keeps_up(),
            unused: self.alr.since().is_some(),
            rtt: self.rtt,
        };
        self.aimd.update(now, &signal);
        if let Some(probed) = report.probed.filter(|_| usage != Usage::Over) {
            // A cluster that meets the capacity takes its share from the others there. Who has much would get more.
            let shared = probed.met_capacity && self.aimd.decreased().is_some() && !signal.unused;
            let worth = if shared { SATURATED_WORTH } else { 1.0 };
            if probed.rate > worth * self.aimd.estimate() {
                self.aimd.jump(now, probed.rate);
            }
        }
        self.aimd.cap(self.config.max.0 as f64);
        self.loss.update(self.aimd.estimate(), self.acked.received(), self.queue.get());
        self.probe(now);
    }

    fn probe(&mut self, now: Time) {
        let settled = self.aimd.decreased().is_none_or(|at| now.since(at) >= PROBE_AFTER_DECREASE);
        let calm = settled
            && self.trend.usage() == Usage::Normal
            && self.queue.get() < PROBE_QUEUE_MAX
            && self.loss.loss() < PROBE_LOSS_MAX
            && !self.silence.is_silent();
        let situation = Situation { estimate: self.bits(), wanted: self.wanted.0 as f64, calm };
        self.prober.update(now, &situation);
    }

    /// Bits per second.
    fn bits(&self) -> f64 {
        self.unbounded().clamp(self.config.min.0 as f64, self.config.max.0 as f64)
    }

    fn unbounded(&self) -> f64 {
        if let Some(remb) = self.receivers_estimate() {
            return remb;
        }
        let delay = self.aimd.estimate();
        self.loss.limit().map_or(delay, |loss| loss.min(delay)) * self.silence.share() * self.standing.share()
    }

    fn receivers_estimate(&self) -> Option<f64> {
        let unheard = self.heard.is_none_or(|at| self.history.last_sent().since(at) > REMB_AFTER);
        self.remb.filter(|_| unheard).map(|remb| remb.0 as f64)
    }

    fn limited_by(&self) -> LimitedBy {
        let bits = self.unbounded();
        if self.receivers_estimate().is_some() {
            LimitedBy::Receiver
        } else if !(self.config.min.0 as f64..self.config.max.0 as f64).contains(&bits) {
            LimitedBy::Config
        } else if self.silence.is_silent() {
            LimitedBy::Silence
        } else if self.loss.limit().is_some() {
            LimitedBy::Loss
        } else if self.aimd.decreased().is_some() {
            LimitedBy::Delay
        } else {
            LimitedBy::Nothing
        }
    }
}
