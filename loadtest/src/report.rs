//! What a run is summed up to: for people on the terminal, for programs as JSON.

use std::fmt;
use std::time::Duration;

use loadtest::client::ClientState;
use loadtest::client::receive::StreamStats;
use loadtest::client::signal::Kind;
use loadtest::net::Time;
use serde::Serialize;

use crate::JoinArgs;
use crate::driver::{Failure, Measured, Outcome};

/// The sum over all clients of a run. Times in milliseconds count from each client's start.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Report {
    pub target: String,
    pub room: String,
    pub clients: usize,
    pub publishers: usize,
    pub joined: usize,
    pub connected: usize,
    pub measured_seconds: f64,
    pub connect_ms: Percentiles,
    pub first_packet_ms: Percentiles,
    pub first_frame_ms: Percentiles,
    /// Clients that should have received media and got none.
    pub without_media: usize,
    pub packets_published: u64,
    pub packets_received: u64,
    pub received_bits_per_second: f64,
    pub lost_before_repair: u64,
    pub lost_after_repair: u64,
    pub recovered: u64,
    pub duplicates: u64,
    pub frames: Frames,
    pub freezes: u64,
    pub frozen_ms: u64,
    pub longest_frame_gap_ms: u64,
    pub audio_gaps: u64,
    pub longest_audio_gap_ms: u64,
    pub nacks_sent: u64,
    pub packets_nacked: u64,
    pub plis_sent: u64,
    pub plis_received: u64,
    pub nacks_answered: u64,
    /// Sequence, picture id, TL0PICIDX or timestamp that don't continue; content that nobody published.
    pub continuity_violations: u64,
    pub unknown_content: u64,
    pub sealed_twice: u64,
    pub undecryptable: u64,
    pub server: Option<Server>,
    pub errors: Vec<String>,
}

/// Video frames received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Frames {
    pub complete: u64,
    pub decoded: u64,
    pub broken: u64,
    pub undecodable: u64,
    pub missing: u64,
    pub by_layer: [u64; 3],
}

#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Percentiles {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
}

/// What the run cost the server while everybody was connected.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Server {
    pub cpu_seconds: f64,
    /// CPU time over media packets that the clients received.
    pub cpu_ns_per_packet: Option<f64>,
    pub resident_mib: f64,
}

impl Report {
    pub fn new(args: &JoinArgs, outcomes: &[Outcome], measured: Measured) -> Report {
        let mut report = Report {
            target: args.target.clone(),
            room: args.room.clone(),
            clients: args.clients,
            publishers: args.publishers,
            measured_seconds: measured.seconds,
            received_bits_per_second: measured.bytes as f64 * 8.0 / measured.seconds.max(0.001),
            server: measured.server_cpu.map(|cpu| Server::new(cpu, &measured)),
            ..Report::default()
        };
        let (mut connect, mut first_packet, mut first_frame) = (Vec::new(), Vec::new(), Vec::new());
        for outcome in outcomes {
            let started = outcome.stats.started;
            let since = |at: Time| at.since(started).as_secs_f64() * 1e3;
            connect.extend(outcome.stats.connected.map(since));
            let streams = &outcome.stats.streams;
            first_packet.extend(streams.iter().filter_map(|s| s.reception.first_packet).min().map(since));
            first_frame.extend(streams.iter().filter_map(|s| s.video.first_decoded).min().map(since));
            report.add(outcome, args);
        }
        report.connect_ms = Percentiles::of(connect);
        report.first_packet_ms = Percentiles::of(first_packet);
        report.first_frame_ms = Percentiles::of(first_frame);
        report
    }

    /// Whether the run may count as a success.
    pub fn verdict(&self) -> Result<(), Failure> {
        if self.connected < self.clients {
            let reason = self.errors.first().cloned().unwrap_or_else(|| "no reason known".into());
            let (connected, clients) = (self.connected, self.clients);
            return Err(Failure::NotConnected { connected, clients, reason });
        }
        match self.without_media {
            0 => Ok(()),
            clients => Err(Failure::NoMedia { clients }),
        }
    }

    fn add(&mut self, outcome: &Outcome, args: &JoinArgs) {
        let stats = &outcome.stats;
        self.joined += usize::from(stats.joined.is_some());
        self.connected += usize::from(stats.connected.is_some());
        for published in &stats.published {
            self.packets_published += published.packets;
            self.nacks_answered += published.retransmitted;
        }
        self.plis_received += stats.feedback.plis + stats.feedback.firs;
        self.sealed_twice += stats.transport.srtp.sealed_twice;
        self.undecryptable += stats.transport.srtp.rtp_refused + stats.transport.srtp.rtcp_refused;
        stats.streams.iter().for_each(|stream| self.add_stream(stream));
        let others = args.publishers - usize::from(outcome.index < args.publishers);
        let received: u64 = stats.streams.iter().map(|stream| stream.reception.packets).sum();
        self.without_media += usize::from(others > 0 && received == 0);
        let ended = match &stats.state {
            ClientState::Closed(reason) => Some(format!("closed: {reason}")),
            ClientState::Failed(reason) => Some(reason.clone()),
            _ => None,
        };
        let errors = stats.errors.iter().cloned().chain(ended);
        self.errors.extend(errors.map(|error| format!("client {}: {error}", outcome.index)));
    }

    fn add_stream(&mut self, stream: &StreamStats) {
        let (reception, video, audio) = (&stream.reception, &stream.video, &stream.audio);
        self.packets_received += reception.packets + reception.rtx_packets;
        self.lost_before_repair += reception.lost();
        self.lost_after_repair += reception.lost_after_repair();
        self.recovered += reception.recovered;
        self.duplicates += reception.duplicates;
        self.nacks_sent += reception.nacks_sent;
        self.packets_nacked += reception.packets_nacked;
        self.plis_sent += reception.plis_sent;
        self.unknown_content += video.unknown_content + audio.unknown_content;
        if stream.kind == Kind::Audio {
            self.audio_gaps += audio.gaps;
            self.longest_audio_gap_ms = self.longest_audio_gap_ms.max(millis(audio.longest_gap));
            self.continuity_violations += audio.timestamp_violations;
            return;
        }
        self.frames.add(stream);
        self.freezes += video.freezes;
        self.frozen_ms += millis(video.frozen);
        self.longest_frame_gap_ms = self.longest_frame_gap_ms.max(millis(video.longest_gap));
        self.continuity_violations +=
            video.picture_id_violations + video.tl0_pic_idx_violations + video.timestamp_violations;
    }
}

impl Frames {
    fn add(&mut self, stream: &StreamStats) {
        let video = &stream.video;
        self.complete += video.complete;
        self.decoded += video.decoded;
        self.broken += video.broken;
        self.undecodable += video.undecodable;
        self.missing += video.missing;
        self.by_layer.iter_mut().zip(video.by_layer).for_each(|(sum, count)| *sum += count);
    }
}

impl Percentiles {
    fn of(mut values: Vec<f64>) -> Percentiles {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = (share * values.len() as f64).ceil() as usize;
            values.get(rank.saturating_sub(1)).copied()
        };
        Percentiles { p50: at(0.50), p95: at(0.95) }
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.p50, self.p95) {
            (Some(p50), Some(p95)) => write!(f, "p50 {p50:.0} ms, p95 {p95:.0} ms"),
            _ => f.write_str("never"),
        }
    }
}

impl Server {
    fn new(cpu: Duration, measured: &Measured) -> Server {
        let per_packet = (measured.datagrams > 0).then(|| cpu.as_nanos() as f64 / measured.datagrams as f64);
        Server {
            cpu_seconds: cpu.as_secs_f64(),
            cpu_ns_per_packet: per_packet,
            resident_mib: measured.server_resident_bytes.unwrap_or_default() as f64 / f64::from(1 << 20),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: String| writeln!(f, "{name:<18}{value}");
        line(
            "clients",
            format!("{} joined, {} connected, of {}", self.joined, self.connected, self.clients),
        )?;
        line("connected after", self.connect_ms.to_string())?;
        line("first packet", self.first_packet_ms.to_string())?;
        line("first frame", self.first_frame_ms.to_string())?;
        let rate = self.received_bits_per_second * 1e-6;
        line(
            "packets",
            format!(
                "{} received, {} published, {rate:.2} Mbit/s",
                self.packets_received, self.packets_published
            ),
        )?;
        let (before, after) = (self.lost_before_repair, self.lost_after_repair);
        line("lost", format!("{before} before repair, {after} after, {} duplicates", self.duplicates))?;
        let frames = &self.frames;
        let bad = format!(
            "{} broken, {} undecodable, {} missing",
            frames.broken, frames.undecodable, frames.missing
        );
        line("frames", format!("{} complete, {} decodable, {bad}", frames.complete, frames.decoded))?;
        let [low, middle, high] = frames.by_layer;
        line("layers", format!("{low} low, {middle} middle, {high} high"))?;
        let gap = self.longest_frame_gap_ms;
        line("freezes", format!("{}, {} ms in all, longest gap {gap} ms", self.freezes, self.frozen_ms))?;
        line("audio gaps", format!("{}, longest {} ms", self.audio_gaps, self.longest_audio_gap_ms))?;
        let asked = format!(
            "{} NACKs for {} packets, {} PLIs sent",
            self.nacks_sent, self.packets_nacked, self.plis_sent
        );
        line(
            "feedback",
            format!("{asked}; {} repaired, {} PLIs got", self.nacks_answered, self.plis_received),
        )?;
        let faults = format!("{} continuity, {} content", self.continuity_violations, self.unknown_content);
        line(
            "violations",
            format!("{faults}, {} sealed twice, {} undecryptable", self.sealed_twice, self.undecryptable),
        )?;
        if let Some(server) = &self.server {
            let per_packet = server.cpu_ns_per_packet.map_or("–".into(), |ns| format!("{ns:.0} ns"));
            let (cpu, memory) = (server.cpu_seconds, server.resident_mib);
            line("server", format!("{cpu:.2} s CPU, {per_packet} per forwarded packet, {memory:.1} MiB"))?;
        }
        for error in &self.errors {
            line("error", error.clone())?;
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let many = Percentiles::of((1..=100).rev().map(f64::from).collect());
        assert_eq!(many, Percentiles { p50: Some(50.0), p95: Some(95.0) });
        assert_eq!(Percentiles::of(vec![7.0]), Percentiles { p50: Some(7.0), p95: Some(7.0) });
        assert_eq!(Percentiles::of(Vec::new()).to_string(), "never");
    }

    #[test]
    fn a_run_fails_when_somebody_is_not_connected_or_sees_nothing() {
        let well = Report { clients: 3, connected: 3, ..Report::default() };
        assert_eq!(well.verdict(), Ok(()));
        let absent = Report { connected: 2, ..well.clone() };
        assert_eq!(absent.verdict().unwrap_err().exit_code(), 6);
        let dark = Report { without_media: 1, ..well };
        assert_eq!(dark.verdict().unwrap_err().exit_code(), 5);
    }
}
