//! What a decoder would make of a received stream, VP8 or VP8's frames dressed as H.264: puts frames together from packets in any order, knows
//! when a reference is missing, and watches everything that a sender must keep continuous. It decodes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rtp::codec::vp8::Vp8Packet;
use rtp::packetizer::Depacketizer;

use super::h264::{self, Unpacked};
use super::media::{LAYERS, library};
use crate::net::Time;

/// How long the receiver waits for a missing packet before it goes on without the frame.
pub const PATIENCE: Duration = Duration::from_millis(600);

/// A picture that stands this long is a freeze.
pub const FREEZE: Duration = Duration::from_millis(500);

/// Packets that wait for others; two seconds at 10 Mbit/s.
const PACKETS_MAX: usize = 2_048;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VideoStats {
    /// Frames of which every packet came.
    pub complete: u64,
    pub keyframes: u64,
    /// Complete frames that a decoder could show.
    pub decoded: u64,
    /// Complete frames whose reference is missing.
    pub undecodable: u64,
    /// Frames of which only some packets came.
    pub broken: u64,
    /// Frames that never became complete, by picture id.
    pub missing: u64,
    /// Complete frames that aren't byte for byte one of the source's.
    pub unknown_content: u64,
    /// Complete frames by the source's layer.
    pub by_layer: [u64; LAYERS],
    /// Times that the layer changed from one decoded frame to the next.
    pub layer_switches: u64,
    pub picture_id_violations: u64,
    pub tl0_pic_idx_violations: u64,
    /// Frames whose timestamp isn't after the one before.
    pub timestamp_violations: u64,
    /// Packets of H.264 parameter sets.
    pub parameter_sets: u64,
    /// Packets whose payload descriptor can't be read.
    pub unreadable: u64,
    /// Packets that came after the receiver had given them up.
    pub late: u64,
    pub first_decoded: Option<Time>,
    pub longest_gap: Duration,
    /// Gaps of at least [`FREEZE`], and their sum.
    pub freezes: u64,
    pub frozen: Duration,
}

/// One received VP8 stream.
#[derive(Debug, Default)]
pub struct VideoReceiver {
    packets: BTreeMap<u64, Part>,
    /// The extended sequence number that the next frame begins with.
    next: Option<u64>,
    gap_since: Option<Time>,
    /// What the next frame refers to is there. Set by a keyframe, cleared by a loss.
    has_reference: bool,
    /// Something came that is of no use without a keyframe.
    starving: bool,
    last: Option<Last>,
    /// Something was skipped since `last`.
    skipped: bool,
    last_decoded: Option<Time>,
    last_layer: Option<usize>,
    stats: VideoStats,
}

#[derive(Debug)]
struct Part {
    timestamp: u32,
    marker: bool,
    /// Begins a frame.
    start: bool,
    descriptor: Vp8Packet,
    /// Empty in a padding-only packet.
    payload: Bytes,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    picture_id: u16,
    tl0_pic_idx: u8,
    timestamp: u32,
}

enum Front {
    /// A whole frame, up to and with this number.
    Frame(u64),
    /// Its rest isn't here yet, and nothing after it is.
    Unfinished,
    /// Something is missing before what is here.
    Gap,
}

impl VideoReceiver {
    /// A packet of the stream; `seq` is its extended sequence number.
    pub fn receive(&mut self, now: Time, seq: u64, timestamp: u32, marker: bool, payload: Bytes) {
        let mut descriptor = Vp8Packet::default();
        let payload = if payload.is_empty() {
            payload
        } else {
            match descriptor.depacketize(&payload) {
                Ok(payload) => payload,
                Err(_) => {
                    self.stats.unreadable += 1;
                    return;
                }
            }
        };
        let start = descriptor.s == 1 && descriptor.pid == 0;
        self.insert(now, seq, Part { timestamp, marker, start, descriptor, payload });
    }

    /// The same for a packet of H.264.
    pub fn receive_h264(&mut self, now: Time, seq: u64, timestamp: u32, marker: bool, payload: Bytes) {
        let (start, payload) = match h264::unpack(&payload) {
            Some(Unpacked::Part { start, bytes }) => (start, bytes),
            Some(Unpacked::ParameterSets) => {
                self.stats.parameter_sets += 1;
                (false, Bytes::new())
            }
            None if payload.is_empty() => (false, payload),
            None => {
                self.stats.unreadable += 1;
                return;
            }
        };
        self.insert(now, seq, Part { timestamp, marker, start, descriptor: Vp8Packet::default(), payload });
    }

    fn insert(&mut self, now: Time, seq: u64, part: Part) {
        if self.next.is_some_and(|next| seq < next) {
            self.stats.late += 1;
            return;
        }
        let start = part.start;
        self.starving |= self.next.is_none() && !start && !part.payload.is_empty();
        self.packets.insert(seq, part);
        if self.next.is_none() && start {
            self.next = Some(seq);
            self.packets = self.packets.split_off(&seq);
        }
        if self.packets.len() > PACKETS_MAX {
            self.skip();
        }
        self.assemble(now);
    }

    /// To be called regularly: gives up what has been missing for too long.
    pub fn handle_timeout(&mut self, now: Time) {
        self.assemble(now);
    }

    /// When [`VideoReceiver::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Time> {
        self.gap_since.map(|since| since + PATIENCE)
    }

    /// Whether a decoder would ask for a keyframe.
    pub fn needs_keyframe(&self) -> bool {
        self.starving
    }

    /// The sender has paused on purpose: the gap until the next frame isn't a freeze.
    pub fn pause(&mut self) {
        self.last_decoded = None;
    }

    /// As of now: a picture that still stands counts.
    pub fn stats(&self, now: Time) -> VideoStats {
        let mut stats = self.stats;
        if let Some(last) = self.last_decoded {
            note_gap(&mut stats, now.since(last));
        }
        stats
    }

    fn assemble(&mut self, now: Time) {
        while let Some(next) = self.next {
            match self.front(next) {
                Front::Frame(end) => {
                    let rest = self.packets.split_off(&(end + 1));
                    let frame = std::mem::replace(&mut self.packets, rest);
                    self.next = Some(end + 1);
                    self.gap_since = None;
                    self.complete(now, frame);
                }
                Front::Unfinished => {
                    self.gap_since = None;
                    return;
                }
                Front::Gap => {
                    let since = *self.gap_since.get_or_insert(now);
                    let hopeless = now.since(since) >= PATIENCE;
                    if !hopeless && (self.has_reference || !self.keyframe_waits()) {
                        return;
                    }
                    self.skip();
                }
            }
        }
    }

    fn front(&self, next: u64) -> Front {
        let mut timestamp = None;
        for (expected, (seq, part)) in (next..).zip(self.packets.range(next..)) {
            if *seq != expected {
                return Front::Gap;
            }
            if part.payload.is_empty() {
                continue;
            }
            let first = timestamp.is_none();
            if *timestamp.get_or_insert(part.timestamp) != part.timestamp || first && !part.start {
                return Front::Gap;
            }
            if part.marker {
                return Front::Frame(*seq);
            }
        }
        Front::Unfinished
    }

    /// Whether a whole keyframe is here behind the gap.
    fn keyframe_waits(&self) -> bool {
        let starts = self.packets.iter().filter(|(_, part)| part.start && is_key(&part.payload));
        starts.into_iter().any(|(seq, _)| matches!(self.front(*seq), Front::Frame(_)))
    }

    /// Goes on at the next start of a frame; without one, at the next that comes. When the decoder has no
    /// reference anyway, at a keyframe if one waits.
    fn skip(&mut self) {
        let Some(next) = self.next else { return };
        let begun =
            self.packets.range(next..).next().filter(|(seq, _)| **seq == next).map(|(_, p)| p.timestamp);
        let target = self.packets.range(next..).find(|(seq, part)| {
            let behind = **seq != next && (Some(part.timestamp) != begun);
            behind && part.start
        });
        let target = target.map(|(seq, _)| *seq);
        let rest = target.map(|target| self.packets.split_off(&target)).unwrap_or_default();
        let mut broken: Vec<u32> =
            self.packets.values().filter(|p| !p.payload.is_empty()).map(|part| part.timestamp).collect();
        broken.dedup();
        self.stats.broken += broken.len() as u64;
        self.packets = rest;
        self.next = target;
        self.skipped = true;
        self.starving |= !self.has_reference;
        self.gap_since = None;
    }

    fn complete(&mut self, now: Time, parts: BTreeMap<u64, Part>) {
        let mut bytes = Vec::new();
        let mut head: Option<Part> = None;
        for part in parts.into_values().filter(|part| !part.payload.is_empty()) {
            bytes.extend_from_slice(&part.payload);
            head.get_or_insert(part);
        }
        let Some(head) = head else { return };
        let content = library().find_vp8(&bytes);
        self.stats.complete += 1;
        match content {
            Some((layer, _)) => {
                if let Some(count) = self.stats.by_layer.get_mut(layer) {
                    *count += 1;
                }
            }
            None => self.stats.unknown_content += 1,
        }
        let intact = self.check_continuity(&head);
        let key = is_key(&bytes);
        self.stats.keyframes += u64::from(key);
        self.has_reference = key || self.has_reference && intact;
        self.starving = !self.has_reference;
        if !self.has_reference {
            self.stats.undecodable += 1;
            return;
        }
        self.decoded(now, content.map(|(layer, _)| layer));
    }

    /// Compares a frame with the one before; whether its reference is there.
    fn check_continuity(&mut self, head: &Part) -> bool {
        let frame = Last {
            picture_id: head.descriptor.picture_id,
            tl0_pic_idx: head.descriptor.tl0_pic_idx,
            timestamp: head.timestamp,
        };
        let skipped = std::mem::take(&mut self.skipped);
        let Some(last) = self.last.replace(frame) else { return true };
        if frame.timestamp.wrapping_sub(last.timestamp).cast_signed() <= 0 {
            self.stats.timestamp_violations += 1;
        }
        let step = frame.picture_id.wrapping_sub(last.picture_id) & 0x7fff;
        if head.descriptor.i == 1 {
            self.stats.missing += u64::from(step.saturating_sub(1)) * u64::from(skipped);
            if step == 0 || step >= 0x4000 || !skipped && step != 1 {
                self.stats.picture_id_violations += 1;
            }
        }
        let base = head.descriptor.t == 0 || head.descriptor.tid == 0;
        let tl0_step = frame.tl0_pic_idx.wrapping_sub(last.tl0_pic_idx);
        if head.descriptor.l == 1 && !skipped && tl0_step != u8::from(base) {
            self.stats.tl0_pic_idx_violations += 1;
        }
        // After a loss, a base-layer frame that directly follows the last one refers to what is there.
        !skipped || head.descriptor.l == 1 && base && tl0_step == 1
    }

    fn decoded(&mut self, now: Time, layer: Option<usize>) {
        self.stats.decoded += 1;
        self.stats.first_decoded.get_or_insert(now);
        if let Some(last) = self.last_decoded.replace(now) {
            note_gap(&mut self.stats, now.since(last));
        }
        if layer.is_some() {
            let before = std::mem::replace(&mut self.last_layer, layer);
            self.stats.layer_switches += u64::from(before.is_some() && before != layer);
        }
    }
}

fn note_gap(stats: &mut VideoStats, gap: Duration) {
    stats.longest_gap = stats.longest_gap.max(gap);
    if gap >= FREEZE {
        stats.freezes += 1;
        stats.frozen += gap;
    }
}

/// RFC 6386 §9.1: bit 0 of the first byte is 0 in keyframes.
pub fn is_key(frame: &[u8]) -> bool {
    frame.first().is_some_and(|byte| byte & 1 == 0)
}

#[cfg(test)]
mod tests {
    use super::super::vp8::packetize;
    use super::*;

    /// Numbered packets of the first `frames` frames of the pattern: (time, seq, timestamp, marker, payload).
    fn stream(frames: u64) -> Vec<(Time, u64, u32, bool, Bytes)> {
        let mut packets = Vec::new();
        for n in 0..frames {
            // Padded, so that every frame takes three packets.
            let mut frame = library().vp8(2, n).to_vec();
            frame.resize(frame.len().max(2_500), 0);
            let payloads =
                packetize(&frame, 0x7ffe_u16.wrapping_add(n as u16) & 0x7fff, 250u8.wrapping_add(n as u8));
            let last = payloads.len() - 1;
            for (i, payload) in payloads.into_iter().enumerate() {
                let timestamp = (u32::MAX - 5_000).wrapping_add(n as u32 * 3_000);
                let seq = 65_530 + packets.len() as u64;
                packets.push((Time::from_millis(n * 33), seq, timestamp, i == last, payload.into()));
            }
        }
        packets
    }

    fn feed<'a>(packets: impl IntoIterator<Item = &'a (Time, u64, u32, bool, Bytes)>) -> VideoReceiver {
        let mut receiver = VideoReceiver::default();
        for (now, seq, timestamp, marker, payload) in packets {
            receiver.receive(*now, *seq, *timestamp, *marker, payload.clone());
        }
        receiver
    }

    fn violations(stats: &VideoStats) -> u64 {
        stats.picture_id_violations
            + stats.tl0_pic_idx_violations
            + stats.timestamp_violations
            + stats.unknown_content
    }

    #[test]
    fn a_stream_without_loss_is_whole_over_all_wraps() {
        let receiver = feed(&stream(100));
        let stats = receiver.stats(Time::from_millis(99 * 33));
        assert_eq!((stats.complete, stats.decoded, stats.keyframes), (100, 100, 1));
        assert_eq!((stats.broken, stats.missing, violations(&stats), stats.freezes), (0, 0, 0, 0));
        assert_eq!(stats.by_layer, [0, 0, 100]);
        assert!(!receiver.needs_keyframe());
        assert_eq!(stats.longest_gap, Duration::from_millis(33));
    }

    #[test]
    fn reordered_packets_are_put_back_in_order() {
        let mut packets = stream(100);
        // The first stays first, so that the receiver knows where the stream begins.
        packets[1..].chunks_mut(4).for_each(|four| four.reverse());
        let stats = feed(&packets).stats(Time::from_millis(99 * 33));
        assert_eq!((stats.decoded, stats.broken, violations(&stats), stats.late), (100, 0, 0, 0));
    }

    #[test]
    fn a_lost_packet_breaks_its_frame_and_all_until_the_next_keyframe() {
        let mut packets = stream(240);
        let at = (60..packets.len()).find(|i| packets[*i].2 == packets[*i - 1].2).unwrap();
        let lost = packets.remove(at);
        let frame = lost.2.wrapping_sub(u32::MAX - 5_000) / 3_000;
        let mut receiver = feed(&packets);
        receiver.handle_timeout(Time::from_secs(20));
        let stats = receiver.stats(Time::from_millis(239 * 33));
        assert_eq!((stats.broken, stats.missing), (1, 1));
        assert_eq!(stats.keyframes, 2);
        assert_eq!(stats.decoded, u64::from(frame) + 120);
        assert_eq!(stats.undecodable, 120 - u64::from(frame) - 1);
        assert_eq!(violations(&stats), 0);
        assert_eq!(stats.freezes, 1);
        assert!(stats.frozen > Duration::from_secs(1), "{:?}", stats.frozen);
    }

    #[test]
    fn a_repaired_packet_within_patience_costs_nothing_but_time() {
        let mut packets = stream(60);
        let mut late = packets.remove(30);
        late.0 = packets[40].0;
        packets.insert(41, late);
        let stats = feed(&packets).stats(Time::from_millis(59 * 33));
        assert_eq!((stats.decoded, stats.broken, violations(&stats), stats.late), (60, 0, 0, 0));
        assert!(stats.longest_gap >= Duration::from_millis(100));
    }

    #[test]
    fn a_whole_frame_that_never_came_is_counted_by_picture_id() {
        let packets = stream(120);
        let gone = packets[50].2;
        let mut receiver = feed(packets.iter().filter(|packet| packet.2 != gone));
        receiver.handle_timeout(Time::from_secs(20));
        let stats = receiver.stats(Time::from_millis(119 * 33));
        assert_eq!((stats.missing, stats.broken, stats.complete), (1, 0, 119));
        assert!(receiver.needs_keyframe());
        assert_eq!(violations(&stats), 0);
    }

    #[test]
    fn a_sender_that_breaks_continuity_is_caught() {
        let mut packets = stream(30);
        let from = packets.len() / 2;
        let boundary = (from..packets.len()).find(|i| packets[*i - 1].3).unwrap();
        // A second source whose picture ids and timestamps weren't mapped: the same frames again.
        let shift = packets.len() as u64;
        let again: Vec<_> = packets[boundary..]
            .iter()
            .cloned()
            .map(|mut p| {
                p.1 += shift - boundary as u64;
                p
            })
            .collect();
        let seq = packets.last().unwrap().1;
        assert_eq!(again[0].1, seq + 1 - boundary as u64 + boundary as u64);
        packets.extend(again);
        let stats = feed(&packets).stats(Time::from_secs(1));
        assert_eq!(
            (stats.picture_id_violations, stats.tl0_pic_idx_violations, stats.timestamp_violations),
            (1, 1, 1)
        );
    }

    #[test]
    fn padding_only_packets_are_no_loss() {
        let mut packets = stream(10);
        let boundary = (5..packets.len()).find(|i| packets[*i - 1].3).unwrap();
        packets[boundary..].iter_mut().for_each(|packet| packet.1 += 1);
        let mut padding = packets[boundary - 1].clone();
        padding.1 += 1;
        padding.3 = false;
        padding.4 = Bytes::new();
        packets.insert(boundary, padding);
        let stats = feed(&packets).stats(Time::from_millis(300));
        assert_eq!((stats.decoded, stats.broken, violations(&stats)), (10, 0, 0));
    }
}
