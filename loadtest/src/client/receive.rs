//! One RTP stream that the client receives: what came, what came twice, what was repaired, and the feedback
//! that is due. What the media is worth is left to [`VideoReceiver`] and [`AudioReceiver`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use rtcp::reception_report::ReceptionReport;

use super::audio::{AudioReceiver, AudioStats};
use super::nack::NackGenerator;
use super::sdp::Section;
use super::seq::Unwrapper;
use super::signal::Kind;
use super::video::{VideoReceiver, VideoStats};
use crate::net::Time;

/// Numbers that are remembered to notice duplicates.
const WINDOW: usize = 4_096;

/// Shortest time between two PLIs for one stream.
const PLI_INTERVAL: Duration = Duration::from_millis(500);

/// What came on one stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReceptionStats {
    /// Packets of the stream itself, without duplicates.
    pub packets: u64,
    pub bytes: u64,
    /// RTX packets, and those of them that filled a hole.
    pub rtx_packets: u64,
    pub recovered: u64,
    /// Packets whose number had come already, also by RTX.
    pub duplicates: u64,
    pub padding_only: u64,
    /// Between the lowest and the highest number, both counted.
    pub expected: u64,
    pub nacks_sent: u64,
    pub packets_nacked: u64,
    pub plis_sent: u64,
    pub sender_reports: u64,
    pub first_packet: Option<Time>,
}

impl ReceptionStats {
    /// Packets that the network lost, before RTX.
    pub fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.packets)
    }

    /// Packets that are missing after RTX.
    pub fn lost_after_repair(&self) -> u64 {
        self.expected.saturating_sub(self.packets + self.recovered)
    }
}

/// What a payload type of a stream stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    Plain,
    H264,
    /// Redundant audio of this payload type.
    Red {
        opus: u8,
    },
}

/// The media of a stream.
#[derive(Debug)]
pub enum Media {
    Audio(AudioReceiver),
    Video(VideoReceiver),
}

/// Everything known of one received stream.
#[derive(Clone, PartialEq, Debug)]
pub struct StreamStats {
    pub mid: String,
    pub ssrc: u32,
    pub kind: Kind,
    pub reception: ReceptionStats,
    pub video: VideoStats,
    pub audio: AudioStats,
}

/// An incoming stream.
#[derive(Debug)]
pub struct ReceiveStream {
    pub mid: String,
    pub ssrc: u32,
    pub media: Media,
    /// By payload type, that of RTX too; what isn't here is VP8 or Opus.
    formats: BTreeMap<u8, Format>,
    nack: Option<NackGenerator>,
    unwrapper: Unwrapper,
    lowest: Option<u64>,
    window: BTreeSet<u64>,
    clock_rate: u64,
    /// Relative transit time and jitter in clock ticks (RFC 3550 §6.4.1, A.8).
    transit: Option<i64>,
    jitter: f64,
    /// Expected and received at the last report.
    prior: (u64, u64),
    last_sender_report: Option<(u32, Time)>,
    last_pli: Option<Time>,
    paused: bool,
    stats: ReceptionStats,
}

impl ReceiveStream {
    pub fn new(mid: &str, ssrc: u32, kind: Kind, nack: bool) -> ReceiveStream {
        let (media, clock_rate) = match kind {
            Kind::Audio => (Media::Audio(AudioReceiver::default()), 48_000),
            Kind::Video => (Media::Video(VideoReceiver::default()), 90_000),
        };
        ReceiveStream {
            mid: mid.into(),
            ssrc,
            media,
            formats: BTreeMap::new(),
            nack: nack.then(NackGenerator::default),
            unwrapper: Unwrapper::default(),
            lowest: None,
            window: BTreeSet::new(),
            clock_rate,
            transit: None,
            jitter: 0.0,
            prior: (0, 0),
            last_sender_report: None,
            last_pli: None,
            paused: false,
            stats: ReceptionStats::default(),
        }
    }

    /// What the payload types of its section are.
    pub fn expect(&mut self, section: &Section) {
        let opus = section.codecs.iter().find(|codec| codec.is("opus")).map_or(0, |codec| codec.pt);
        for codec in section.codecs.iter().filter(|codec| !codec.is("rtx")) {
            let format = if codec.is("H264") {
                Format::H264
            } else if codec.is("red") {
                Format::Red { opus }
            } else {
                Format::Plain
            };
            self.formats.extend(section.rtx(codec.pt).into_iter().chain([codec.pt]).map(|pt| (pt, format)));
        }
    }

    /// A packet of the stream itself.
    pub fn receive(&mut self, now: Time, seq: u16, timestamp: u32, marker: bool, pt: u8, payload: Bytes) {
        let ext = self.unwrapper.unwrap(seq);
        self.stats.first_packet.get_or_insert(now);
        self.stats.bytes += payload.len() as u64;
        self.note_jitter(now, timestamp);
        if !self.note_new(ext) {
            return;
        }
        self.stats.packets += 1;
        self.stats.padding_only += u64::from(payload.is_empty());
        self.deliver(now, ext, timestamp, marker, pt, payload);
    }

    /// A packet of its RTX stream: two bytes of original number, then the original payload (RFC 4588 §4).
    pub fn receive_rtx(&mut self, now: Time, timestamp: u32, marker: bool, pt: u8, payload: Bytes) {
        self.stats.rtx_packets += 1;
        let Some((seq, _)) = payload.split_first_chunk() else {
            // A probe carries nothing.
            return;
        };
        let ext = self.unwrapper.unwrap(u16::from_be_bytes(*seq));
        if !self.note_new(ext) {
            return;
        }
        self.stats.recovered += 1;
        self.deliver(now, ext, timestamp, marker, pt, payload.slice(2..));
    }

    pub fn sender_report(&mut self, now: Time, ntp: u64) {
        self.stats.sender_reports += 1;
        self.last_sender_report = Some(((ntp >> 16) as u32, now));
    }

    pub fn handle_timeout(&mut self, now: Time) {
        if let Media::Video(video) = &mut self.media {
            video.handle_timeout(now);
        }
    }

    /// Whether the source is stopped on purpose; gaps don't count then.
    pub fn set_paused(&mut self, paused: bool) {
        if std::mem::replace(&mut self.paused, paused) != paused {
            self.restart_gap();
        }
    }

    /// The slot shows another source: what lies between isn't a gap.
    pub fn restart_gap(&mut self) {
        match &mut self.media {
            Media::Audio(audio) => audio.pause(),
            Media::Video(video) => video.pause(),
        }
    }

    /// Numbers to ask for now.
    pub fn nack_due(&mut self, now: Time, rtt: Duration) -> Vec<u16> {
        let due: Vec<u16> = match &mut self.nack {
            Some(nack) => nack.due(now, rtt).into_iter().map(|ext| ext as u16).collect(),
            None => Vec::new(),
        };
        self.stats.packets_nacked += due.len() as u64;
        self.stats.nacks_sent += u64::from(!due.is_empty());
        due
    }

    pub fn wants_nack(&self) -> bool {
        self.nack.as_ref().is_some_and(|nack| !nack.is_empty())
    }

    /// Whether a PLI may have to be sent.
    pub fn wants_keyframe(&self) -> bool {
        !self.paused && matches!(&self.media, Media::Video(video) if video.needs_keyframe())
    }

    /// When [`ReceiveStream::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Time> {
        match &self.media {
            Media::Audio(_) => None,
            Media::Video(video) => video.next_timeout(),
        }
    }

    /// Whether to send a PLI now.
    pub fn pli_due(&mut self, now: Time) -> bool {
        let rested = self.last_pli.is_none_or(|at| now.since(at) >= PLI_INTERVAL);
        if !self.wants_keyframe() || !rested {
            return false;
        }
        self.last_pli = Some(now);
        self.stats.plis_sent += 1;
        true
    }

    /// A block of the next receiver report (RFC 3550 §6.4.1); `None` before the first packet.
    pub fn reception_report(&mut self, now: Time) -> Option<ReceptionReport> {
        let highest = self.unwrapper.highest()?;
        let received = self.stats.packets + self.stats.duplicates;
        let expected = self.stats.expected.saturating_sub(self.prior.0);
        let lost = expected.saturating_sub(received.saturating_sub(self.prior.1));
        self.prior = (self.stats.expected, received);
        let (last_sender_report, delay) = match self.last_sender_report {
            Some((ntp, at)) => (ntp, (now.since(at).as_nanos() * 65_536 / 1_000_000_000) as u32),
            None => (0, 0),
        };
        Some(ReceptionReport {
            ssrc: self.ssrc,
            fraction_lost: (lost * 256).checked_div(expected).map_or(0, |fraction| fraction.min(255) as u8),
            total_lost: self.stats.lost().min(0x7f_ffff) as u32,
            last_sequence_number: highest as u32,
            jitter: self.jitter as u32,
            last_sender_report,
            delay,
        })
    }

    pub fn stats(&self, now: Time) -> StreamStats {
        let mut stats = StreamStats {
            mid: self.mid.clone(),
            ssrc: self.ssrc,
            kind: Kind::Audio,
            reception: self.stats,
            video: VideoStats::default(),
            audio: AudioStats::default(),
        };
        match &self.media {
            Media::Audio(audio) => stats.audio = audio.stats(now),
            Media::Video(video) => {
                stats.kind = Kind::Video;
                stats.video = video.stats(now);
            }
        }
        stats
    }

    /// Counts a number; whether it is the first time.
    fn note_new(&mut self, ext: u64) -> bool {
        let lowest = *self.lowest.get_or_insert(ext);
        self.lowest = Some(lowest.min(ext));
        if let (Some(low), Some(high)) = (self.lowest, self.unwrapper.highest()) {
            self.stats.expected = high - low + 1;
        }
        // Older than the window: nobody can say, and it is useless anyway.
        let forgotten = self.window.len() >= WINDOW && self.window.first().is_some_and(|first| ext < *first);
        if forgotten || !self.window.insert(ext) {
            self.stats.duplicates += 1;
            return false;
        }
        if self.window.len() > WINDOW {
            self.window.pop_first();
        }
        true
    }

    fn deliver(&mut self, now: Time, ext: u64, timestamp: u32, marker: bool, pt: u8, payload: Bytes) {
        if let Some(nack) = &mut self.nack {
            nack.received(now, ext);
        }
        let format = self.formats.get(&pt).copied().unwrap_or(Format::Plain);
        match (&mut self.media, format) {
            (Media::Audio(audio), Format::Red { opus }) => {
                audio.receive_red(now, ext, timestamp, &payload, opus);
            }
            (Media::Audio(audio), _) => audio.receive(now, ext, timestamp, &payload),
            (Media::Video(video), Format::H264) => video.receive_h264(now, ext, timestamp, marker, payload),
            (Media::Video(video), _) => video.receive(now, ext, timestamp, marker, payload),
        }
        if self.paused {
            self.restart_gap();
        }
    }

    fn note_jitter(&mut self, now: Time, timestamp: u32) {
        let arrival = (u128::from(now.0) * u128::from(self.clock_rate) / 1_000_000_000) as u32;
        let transit = i64::from(arrival.wrapping_sub(timestamp).cast_signed());
        if let Some(last) = self.transit.replace(transit) {
            let difference = transit.abs_diff(last) as f64;
            self.jitter += (difference - self.jitter) / 16.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_counted_before_and_after_repair() {
        let mut stream = ReceiveStream::new("s0", 1, Kind::Audio, false);
        for seq in [65_533u16, 65_534, 1, 2, 2] {
            stream.receive(Time::ZERO, seq, 0, false, 111, Bytes::from_static(b"x"));
        }
        stream.receive_rtx(Time::ZERO, 0, false, 97, Bytes::from_static(&[0xff, 0xff, b'x']));
        stream.receive_rtx(Time::ZERO, 0, false, 97, Bytes::from_static(&[0, 1, b'x']));
        stream.receive_rtx(Time::ZERO, 0, false, 97, Bytes::new());
        let stats = stream.stats(Time::ZERO).reception;
        assert_eq!((stats.packets, stats.expected, stats.duplicates), (4, 6, 2));
        assert_eq!((stats.lost(), stats.lost_after_repair()), (2, 1));
        assert_eq!((stats.rtx_packets, stats.recovered), (3, 1));
    }

    #[test]
    fn a_report_block_tells_the_loss_since_the_last_and_the_sender_s_clock() {
        let mut stream = ReceiveStream::new("s0", 1, Kind::Video, true);
        assert!(stream.reception_report(Time::ZERO).is_none());
        for seq in 0..10 {
            stream.receive(Time::from_millis(seq), seq as u16, 90 * seq as u32, false, 96, Bytes::new());
        }
        stream.sender_report(Time::from_millis(100), 0x1234_5678_9abc_def0);
        let report = stream.reception_report(Time::from_millis(600)).unwrap();
        assert_eq!((report.fraction_lost, report.total_lost, report.jitter), (0, 0, 0));
        assert_eq!((report.last_sender_report, report.delay), (0x5678_9abc, 32_768));
        for seq in (10..20).step_by(2) {
            stream.receive(Time::from_millis(seq), seq as u16, 0, false, 96, Bytes::new());
        }
        let report = stream.reception_report(Time::from_millis(600)).unwrap();
        // Nine were expected since then, five came.
        assert_eq!((report.fraction_lost, report.total_lost), ((4 * 256 / 9) as u8, 4));
        assert_eq!(stream.nack_due(Time::from_millis(20), Duration::from_millis(40)), [11, 13, 15, 17]);
    }

    #[test]
    fn a_stream_without_keyframe_is_asked_for_one_twice_a_second() {
        let mut stream = ReceiveStream::new("s0", 1, Kind::Video, true);
        assert!(!stream.pli_due(Time::ZERO));
        stream.receive(Time::ZERO, 5, 0, true, 96, Bytes::from_static(&[0x80, 0, 1, 1, 1, 1]));
        let plis = (0..2_000).filter(|ms| stream.pli_due(Time::from_millis(*ms))).count();
        assert_eq!(plis, 4);
        stream.set_paused(true);
        assert!(!stream.pli_due(Time::from_secs(10)));
    }
}
