//! One media flow: a source that obeys the estimate or has a ladder of its own, the pacer's schedule, the estimator under
//! test, and a receiver that answers as a browser does.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sfu_core::bwe::{BweConfig, Estimator, LimitedBy, SentPacket};
use sfu_core::pacer::Schedule;
use sfu_core::unit::{Bitrate, ExtSeq, ProbeId, SeqNo, Ssrc, Time};
use sfu_core::wire::rtcp::{RtcpPacket, packets, write};

/// Bytes of IP and UDP, which the links count as well.
pub const HEADERS: usize = 28;
const PACKET: usize = 1_200;
const FRAME: Duration = Duration::from_nanos(33_333_333);
const AUDIO: Duration = Duration::from_millis(20);
/// 32 kbit/s of Opus.
const AUDIO_BYTES: usize = 80 + 40;
/// What an allocation leaves for sound, and the share of the estimate that it gives away.
const ALLOWANCE: f64 = 48e3;
const USED: f64 = 0.95;
/// Browsers report every 50 ms from 1 Mbit/s on.
pub const FEEDBACK: Duration = Duration::from_millis(50);

/// Browsers remember arrivals that they have reported for this long.
const REMEMBERED: Duration = Duration::from_millis(500);

/// What a flow has to send.
#[derive(Clone, Debug)]
pub enum Source {
    /// As much as the estimate allows, up to this many bits per second.
    Elastic(f64),
    /// The highest of these rates that fits, as an SFU's layers.
    Ladder(Vec<f64>),
}

#[derive(Clone, Debug)]
pub struct FlowSpec {
    pub source: Source,
    /// What a session begins with, in bits per second.
    pub start: f64,
    pub begins: Time,
    /// One way, on top of the bottleneck's delay.
    pub extra_delay: Duration,
    /// What the allocation is assumed to want; the source's maximum without it.
    pub wanted: Option<f64>,
}

impl FlowSpec {
    pub fn elastic(max: f64) -> FlowSpec {
        FlowSpec {
            source: Source::Elastic(max),
            start: 300e3,
            begins: Time::ZERO,
            extra_delay: Duration::ZERO,
            wanted: None,
        }
    }

    pub fn ladder(rates: &[f64]) -> FlowSpec {
        FlowSpec { source: Source::Ladder(rates.to_vec()), ..FlowSpec::elastic(0.0) }
    }

    pub fn begins(mut self, second: u64) -> FlowSpec {
        self.begins = Time::from_millis(second * 1_000);
        self
    }
}

/// A packet on its way: its number and size.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub seq: u64,
    pub size: usize,
    pub sent: Time,
}

pub struct Flow {
    pub spec: FlowSpec,
    pub estimator: Estimator,
    schedule: Schedule,
    queue: VecDeque<usize>,
    next_frame: Time,
    next_audio: Time,
    credit: f64,
    seq: u64,
    pub paused: bool,
    rng: StdRng,
    /// The receiver's side.
    arrived: BTreeMap<ExtSeq, Time>,
    next_reported: ExtSeq,
    next_feedback: Time,
    reports: u8,
    pub counts: Counts,
}

/// Everything since the last look.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counts {
    pub sent_bytes: usize,
    pub arrived_bytes: usize,
    pub sent: u64,
    pub arrived: u64,
    pub delay_max: Duration,
}

impl Flow {
    pub fn new(spec: FlowSpec, seed: u64) -> Flow {
        let config = BweConfig {
            start: Bitrate(spec.start as u64),
            min: Bitrate::from_kbps(30),
            max: Bitrate::from_kbps(50_000),
        };
        let mut estimator = Estimator::new(config);
        let most = match &spec.source {
            Source::Elastic(max) => *max,
            Source::Ladder(rates) => (rates.iter().copied().fold(0.0, f64::max) + ALLOWANCE) / USED,
        };
        estimator.set_wanted(Bitrate(spec.wanted.unwrap_or(most) as u64));
        Flow {
            estimator,
            schedule: Schedule::new(Bitrate(0)),
            queue: VecDeque::new(),
            next_frame: spec.begins,
            next_audio: spec.begins,
            credit: 0.0,
            seq: 0,
            paused: false,
            rng: StdRng::seed_from_u64(seed),
            arrived: BTreeMap::new(),
            next_reported: ExtSeq(1),
            next_feedback: spec.begins,
            reports: 0,
            counts: Counts::default(),
            spec,
        }
    }

    /// Everything that leaves at `now`.
    pub fn send(&mut self, now: Time) -> Vec<Packet> {
        let mut out = Vec::new();
        if now < self.spec.begins {
            return out;
        }
        if self.estimator.next_timeout().is_some_and(|due| due <= now) {
            self.estimator.handle_timeout(now);
        }
        self.schedule.set_rate(self.estimator.pacing_rate());
        while let Some(cluster) = self.estimator.poll_probe() {
            self.schedule.probe(cluster);
        }
        if now >= self.next_audio {
            self.next_audio += AUDIO;
            if !self.paused {
                let audio = self.packet(now, AUDIO_BYTES, None);
                self.schedule.sent_unpaced(AUDIO_BYTES);
                out.push(audio);
            }
        }
        self.encode(now);
        if !now.0.is_multiple_of(sfu_core::pacer::TICK.as_nanos() as u64) {
            return out;
        }
        self.schedule.advance(now);
        while self.schedule.allows() {
            let size = match self.queue.pop_front() {
                Some(size) => size,
                None if self.schedule.cluster().is_some() => PACKET,
                None => break,
            };
            let cluster = self.schedule.cluster();
            self.schedule.sent(size);
            out.push(self.packet(now, size, cluster));
        }
        out
    }

    fn encode(&mut self, now: Time) {
        if now < self.next_frame {
            return;
        }
        self.next_frame += FRAME;
        if self.paused {
            self.credit = 0.0;
            return;
        }
        let estimate = self.estimator.bitrate().0 as f64;
        let rate = match &self.spec.source {
            Source::Elastic(max) => (estimate * USED - ALLOWANCE).clamp(0.0, *max),
            Source::Ladder(rates) => {
                rates.iter().copied().filter(|rate| rate + ALLOWANCE <= estimate * USED).fold(0.0, f64::max)
            }
        };
        // An encoder skips frames when the pacer's queue grows.
        if self.queue.iter().sum::<usize>() as f64 * 8.0 > estimate * 0.25 {
            return;
        }
        // Frames differ in size.
        self.credit += rate / 8.0 * FRAME.as_secs_f64() * self.rng.random_range(0.7..1.3);
        let mut bytes = self.credit as usize;
        self.credit -= bytes as f64;
        while bytes > 0 {
            let size = bytes.min(PACKET);
            self.queue.push_back(size.max(60));
            bytes -= size;
        }
    }

    fn packet(&mut self, now: Time, size: usize, probe: Option<ProbeId>) -> Packet {
        let packet = SentPacket { size, ssrc: Ssrc(1), seq: SeqNo(self.seq as u16), probe };
        self.estimator.sent(now, &packet);
        self.seq += 1;
        self.counts.sent += 1;
        self.counts.sent_bytes += size;
        Packet { seq: self.seq, size, sent: now }
    }

    /// What holds the estimate.
    pub fn note(&self) -> &'static str {
        match self.estimator.estimate().limited_by {
            LimitedBy::Nothing => "",
            LimitedBy::Delay => "delay",
            LimitedBy::Loss => "loss",
            LimitedBy::Silence => "silence",
            LimitedBy::Receiver => "receiver",
            LimitedBy::Config => "config",
        }
    }

    /// A packet reaches the receiver.
    pub fn arrive(&mut self, at: Time, packet: &Packet, queued: Duration) {
        self.counts.arrived += 1;
        self.counts.arrived_bytes += packet.size;
        self.counts.delay_max = self.counts.delay_max.max(queued);
        let seq = ExtSeq(packet.seq);
        self.arrived.entry(seq).or_insert(at);
        // What comes late is reported with all that follows it, as browsers do.
        self.next_reported = self.next_reported.min(seq);
    }

    /// Feedback that the receiver sends at `now`.
    pub fn report(&mut self, now: Time) -> Option<Vec<u8>> {
        let fresh: Vec<(ExtSeq, Time)> =
            self.arrived.range(self.next_reported..).map(|(seq, at)| (*seq, *at)).collect();
        if now < self.next_feedback || fresh.is_empty() {
            return None;
        }
        self.next_feedback = now + FEEDBACK;
        let mut out = Vec::new();
        let taken = write::transport_cc(&mut out, Ssrc(2), Ssrc(1), self.reports, self.next_reported, &fresh);
        self.reports = self.reports.wrapping_add(1);
        self.next_reported = fresh[taken - 1].0.next();
        let next = self.next_reported;
        self.arrived.retain(|seq, at| *seq >= next || now.since(*at) < REMEMBERED);
        Some(out)
    }

    /// Feedback reaches the sender.
    pub fn feedback(&mut self, now: Time, compound: &[u8]) {
        for packet in packets(compound) {
            if let Ok(RtcpPacket::TransportCc(feedback)) = packet {
                self.estimator.transport_cc(now, &feedback);
            }
        }
    }
}
