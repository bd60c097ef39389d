//! The tracks that a client publishes: a tone, and a pattern in one or three layers. Says which packets are
//! due; doesn't know how they are protected or where they go.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rtp::packet::Packet;

use super::media::{FRAME_INTERVAL, LAYERS, OPUS_INTERVAL, OPUS_TICKS, library};
use super::sdp::{self, Section};
use super::send::{SendStream, StreamStart};
use super::signal::Kind;
use super::video::is_key;
use super::{h264, red, vp8};
use crate::net::Time;

/// Names of the simulcast layers, lowest first.
pub const RIDS: [&str; LAYERS] = ["q", "h", "f"];

/// A sender that was held up longer than this goes on with the present, as a camera would.
const CATCH_UP_MAX: Duration = Duration::from_millis(200);

/// Shortest time between two keyframes that are asked for.
const KEYFRAME_INTERVAL_MIN: Duration = Duration::from_millis(300);

/// How a track is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TrackConfig {
    /// Three layers with rids instead of one.
    pub simulcast: bool,
    /// Bits per second of the highest layer, reached by padding frames; a layer below has a quarter.
    pub video_bitrate: Option<u64>,
    pub start: Option<StreamStart>,
    /// Ignores keyframe requests, as some encoders do; a keyframe comes every four seconds.
    pub deaf: bool,
    /// The picture's frames travel as H.264.
    pub h264: bool,
    /// Redundant audio is offered, and sent if the server prefers it.
    pub red: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PublishStats {
    pub packets: u64,
    pub octets: u64,
    pub retransmitted: u64,
    pub forgotten: u64,
    pub frames: u64,
    pub keyframes: u64,
    /// PLI and FIR that named a stream of this track.
    pub keyframe_requests: u64,
}

/// A published track.
#[derive(Debug)]
pub struct Track {
    pub kind: Kind,
    pub mid: String,
    /// The id that the server gave it.
    pub id: Option<String>,
    muted: bool,
    config: TrackConfig,
    layers: Vec<Layer>,
    origin: Option<Time>,
    /// Number of the next frame or packet since `origin`.
    next: u64,
    frames: u64,
    keyframes: u64,
    keyframe_requests: u64,
}

#[derive(Debug)]
struct Layer {
    stream: SendStream,
    /// Which of the pattern's layers.
    pattern: usize,
    active: bool,
    /// Next frame of the pattern.
    frame: u64,
    picture_id: u16,
    tl0_pic_idx: u8,
    keyframe_wanted: bool,
    last_keyframe: Option<Time>,
}

impl Track {
    pub fn new(kind: Kind, mid: &str, config: TrackConfig, rng: &mut StdRng) -> Track {
        let simulcast = config.simulcast && kind == Kind::Video;
        let patterns = if simulcast { 0..LAYERS } else { LAYERS - 1..LAYERS };
        let layers = patterns.map(|pattern| {
            let start = config.start.unwrap_or_else(|| StreamStart {
                // In the first half, so that a receiver that starts with a reordered packet counts right.
                seq: rng.random_range(0..0x8000),
                timestamp: rng.random(),
                picture_id: rng.random_range(0..0x8000),
            });
            let rid = RIDS.get(pattern).filter(|_| simulcast).map(|rid| (*rid).to_owned());
            Layer {
                stream: SendStream::new(kind, mid, rid, rng.random(), rng.random(), start),
                pattern,
                active: true,
                frame: 0,
                picture_id: start.picture_id,
                tl0_pic_idx: rng.random(),
                keyframe_wanted: false,
                last_keyframe: None,
            }
        });
        Track {
            kind,
            mid: mid.into(),
            id: None,
            muted: false,
            config,
            layers: layers.collect(),
            origin: None,
            next: 0,
            frames: 0,
            keyframes: 0,
            keyframe_requests: 0,
        }
    }

    /// The section that offers this track.
    pub fn section(&self, cname: &str) -> Section {
        let mut section = Section::publish(&self.mid, self.kind, cname);
        section = match self.kind {
            Kind::Audio if self.config.red => section.with_red(),
            Kind::Video if self.config.h264 => section.in_h264(),
            _ => section,
        };
        if self.layers.len() > 1 {
            section.rids = RIDS.map(String::from).to_vec();
            return section;
        }
        for layer in &self.layers {
            section.ssrcs.push(layer.stream.ssrc);
            if self.kind == Kind::Video {
                section.ssrcs.push(layer.stream.rtx_ssrc);
                section.rtx_pairs.push((layer.stream.ssrc, layer.stream.rtx_ssrc));
            }
        }
        section
    }

    pub fn configure(&mut self, accepted: &Section) {
        self.layers.iter_mut().for_each(|layer| layer.stream.configure(accepted));
    }

    /// From now on packets are due.
    pub fn start(&mut self, now: Time) {
        self.origin.get_or_insert(now);
    }

    pub fn is_muted(&self) -> bool {
        self.muted
    }

    /// A muted track sends nothing; its clock goes on. Its first frame afterwards is a keyframe.
    pub fn set_muted(&mut self, muted: bool) {
        self.muted = muted;
        for layer in &mut self.layers {
            layer.keyframe_wanted |= !muted;
        }
    }

    /// Stops or resumes one simulcast layer (0 is the lowest), as a browser does by itself.
    pub fn set_layer_active(&mut self, layer: usize, active: bool) {
        if let Some(layer) = self.layers.get_mut(layer) {
            layer.keyframe_wanted |= active && !layer.active;
            layer.active = active;
        }
    }

    pub fn next_timeout(&self) -> Option<Time> {
        self.origin.map(|origin| origin + self.media_time(self.next))
    }

    /// All packets that are due, in the order in which they are to be sent.
    pub fn poll(&mut self, now: Time, twcc: &mut u16) -> Vec<Packet> {
        let Some(origin) = self.origin else { return Vec::new() };
        let mut packets = Vec::new();
        while origin + self.media_time(self.next) <= now {
            let at = self.media_time(self.next);
            let present = now.since(origin + at) < CATCH_UP_MAX;
            if present && !self.muted {
                match self.kind {
                    Kind::Audio => self.tone(now, at, twcc, &mut packets),
                    Kind::Video => self.picture(now, at, twcc, &mut packets),
                }
            }
            self.next += 1;
        }
        packets
    }

    /// The stream is one of ours and is asked for a keyframe (RFC 4585 §6.3.1, RFC 5104 §4.3.1).
    pub fn keyframe_request(&mut self, ssrc: u32) {
        for layer in self.layers.iter_mut().filter(|layer| layer.stream.ssrc == ssrc) {
            layer.keyframe_wanted |= !self.config.deaf;
            self.keyframe_requests += 1;
        }
    }

    /// The packet again, if the stream is one of ours.
    pub fn retransmit(&mut self, now: Time, ssrc: u32, seq: u16, twcc: &mut u16) -> Option<Packet> {
        self.layers.iter_mut().find(|layer| layer.stream.ssrc == ssrc)?.stream.retransmit(now, seq, twcc)
    }

    pub fn streams(&self) -> impl Iterator<Item = &SendStream> {
        self.layers.iter().map(|layer| &layer.stream)
    }

    pub fn stats(&self) -> PublishStats {
        let mut stats = PublishStats {
            frames: self.frames,
            keyframes: self.keyframes,
            keyframe_requests: self.keyframe_requests,
            ..PublishStats::default()
        };
        for sent in self.layers.iter().map(|layer| layer.stream.stats()) {
            stats.packets += sent.packets;
            stats.octets += sent.octets;
            stats.retransmitted += sent.retransmitted;
            stats.forgotten += sent.forgotten;
        }
        stats
    }

    fn media_time(&self, n: u64) -> Duration {
        let interval = if self.kind == Kind::Audio { OPUS_INTERVAL } else { FRAME_INTERVAL };
        Duration::from_nanos(n.saturating_mul(interval.as_nanos() as u64))
    }

    fn tone(&mut self, now: Time, at: Duration, twcc: &mut u16, packets: &mut Vec<Packet>) {
        let tone = library().opus(self.next);
        let first = self.frames == 0;
        self.frames += 1;
        for layer in &mut self.layers {
            let earlier = (!first).then(|| (OPUS_TICKS, library().opus(self.next.wrapping_sub(1))));
            let payload =
                if layer.stream.sends_red() { red::pack(sdp::OPUS, earlier, tone) } else { tone.to_vec() };
            packets.push(layer.stream.packet(now, at, first, payload, twcc));
        }
    }

    fn picture(&mut self, now: Time, at: Duration, twcc: &mut u16, packets: &mut Vec<Packet>) {
        let top = self.layers.len();
        for (i, layer) in self.layers.iter_mut().enumerate().filter(|(_, layer)| layer.active) {
            let bitrate = self.config.video_bitrate.map(|bitrate| bitrate >> (2 * (top - 1 - i)));
            let frame = layer.next_frame(now, bitrate);
            self.frames += 1;
            self.keyframes += u64::from(layer.last_keyframe == Some(now));
            let payloads = if self.config.h264 {
                h264::packetize(&frame, is_key(&frame))
            } else {
                vp8::packetize(&frame, layer.picture_id, layer.tl0_pic_idx)
            };
            let last = payloads.len().saturating_sub(1);
            for (n, payload) in payloads.into_iter().enumerate() {
                packets.push(layer.stream.packet(now, at, n == last, payload, twcc));
            }
        }
    }
}

impl Layer {
    fn next_frame(&mut self, now: Time, bitrate: Option<u64>) -> Vec<u8> {
        let rested = self.last_keyframe.is_none_or(|at| now.since(at) >= KEYFRAME_INTERVAL_MIN);
        if self.keyframe_wanted && rested {
            self.frame = 0;
            self.keyframe_wanted = false;
        }
        let mut frame = library().vp8(self.pattern, self.frame).to_vec();
        if is_key(&frame) {
            self.last_keyframe = Some(now);
            self.keyframe_wanted = false;
        }
        let size = bitrate.map_or(0, |bitrate| bitrate / 8 / 30);
        frame.resize(frame.len().max(usize::try_from(size).unwrap_or_default()), 0);
        self.frame += 1;
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        self.tl0_pic_idx = self.tl0_pic_idx.wrapping_add(1);
        frame
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::super::video::VideoReceiver;
    use super::*;

    fn track(kind: Kind, config: TrackConfig) -> Track {
        let mut track = Track::new(kind, "1", config, &mut StdRng::seed_from_u64(1));
        track.configure(&track.section("c"));
        track.start(Time::ZERO);
        track
    }

    #[test]
    fn three_layers_share_the_clock_and_have_streams_of_their_own() {
        let mut track = track(Kind::Video, TrackConfig { simulcast: true, ..TrackConfig::default() });
        let packets = track.poll(Time::from_millis(33), &mut 0);
        let mut ssrcs: Vec<u32> = packets.iter().map(|packet| packet.header.ssrc).collect();
        ssrcs.dedup();
        assert_eq!(ssrcs.len(), 3);
        track.set_layer_active(2, false);
        track.poll(Time::from_millis(34), &mut 0);
        let later = track.poll(Time::from_millis(67), &mut 0);
        assert!(later.iter().all(|packet| packet.header.ssrc != ssrcs[2]));
    }

    #[test]
    fn a_keyframe_request_jumps_to_the_keyframe_but_not_too_often() {
        let mut track = track(Kind::Video, TrackConfig::default());
        let ssrc = track.streams().next().unwrap().ssrc;
        let mut keyframes = Vec::new();
        for ms in 0..1_000 {
            if ms >= 500 {
                track.keyframe_request(ssrc);
            }
            for packet in track.poll(Time::from_millis(ms), &mut 0) {
                if packet.payload[0] & 0x10 != 0 && packet.payload[6] & 1 == 0 {
                    keyframes.push(ms);
                }
            }
        }
        assert_eq!(keyframes, [0, 500, 800]);
    }

    #[test]
    fn padded_frames_reach_the_bitrate_and_stay_the_same_pictures() {
        let mut track =
            track(Kind::Video, TrackConfig { video_bitrate: Some(1_000_000), ..TrackConfig::default() });
        let mut receiver = VideoReceiver::default();
        for (seq, packet) in track.poll(Time::from_millis(199), &mut 0).into_iter().enumerate() {
            let header = packet.header;
            receiver.receive(Time::ZERO, seq as u64, header.timestamp, header.marker, packet.payload);
        }
        let stats = receiver.stats(Time::ZERO);
        assert_eq!((stats.decoded, stats.unknown_content), (6, 0));
        assert!((24_000..30_000).contains(&track.stats().octets), "{:?}", track.stats());
    }

    #[test]
    fn mute_is_silent_and_the_clock_goes_on() {
        let mut track = track(Kind::Audio, TrackConfig::default());
        let before = track.poll(Time::from_millis(10), &mut 0)[0].header.timestamp;
        track.set_muted(true);
        assert!(track.poll(Time::from_millis(110), &mut 0).is_empty());
        track.set_muted(false);
        let after = &track.poll(Time::from_millis(120), &mut 0)[0].header;
        assert_eq!(after.timestamp.wrapping_sub(before), 6 * 960);
    }
}
