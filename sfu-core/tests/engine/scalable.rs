//! Scalable streams as Chromium sent them (`tests/descriptors`), over and over: real descriptors before made-up payloads,
//! each of which says which packet it is.

use sfu_core::command::{Codec, ExtensionIds, PayloadType, SlotSpec, TrackSpec};
use sfu_core::transport::srtp::SrtpSender;
use sfu_core::unit::{ExtSeq, Mid, RtpTime, Ssrc, Time};
use sfu_core::wire::rtp::{FIXED_LEN, OutgoingHeader};
use sfu_core::wire::rtp_ext::{ExtensionWriter, OutgoingExtensions};

use super::{RTX, VP8, camera, slot, vp8};

pub const VP9_KEY: &str = include_str!("../descriptors/vp9_l3t3_key.txt");
pub const VP9_FULL: &str = include_str!("../descriptors/vp9_l3t3.txt");
pub const AV1_FULL: &str = include_str!("../descriptors/av1_l2t3.txt");
pub const AV1_KEY: &str = include_str!("../descriptors/av1_l2t3_key.txt");

/// Bytes at a payload's end that number it.
const TAG_LEN: usize = 8;

/// One packet of the corpus.
#[derive(Clone)]
pub struct Line {
    pub descriptor: Vec<u8>,
    pub marker: bool,
    /// Counted from 1 within the corpus.
    pub frame: u64,
    pub layer: (u8, u8),
    pub references: Vec<u64>,
    /// After the first packet's.
    pub time: u32,
    payload: Vec<u8>,
}

/// The corpus without end: each round begins with its keyframe and goes on where the one before has ended.
pub struct Scalable {
    pub codec: Codec,
    pub lines: Vec<Line>,
    pub ids: ExtensionIds,
    frames: u64,
    pictures: u16,
    span: u32,
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

impl Scalable {
    pub fn new(text: &str, codec: Codec, with_descriptor: bool) -> Scalable {
        let fields = |line: &'static str| line.split(' ').collect::<Vec<_>>();
        let text: &'static str = Box::leak(text.to_owned().into_boxed_str());
        let first: u32 = fields(text.lines().next().unwrap())[8].parse().unwrap();
        let mut lines: Vec<Line> = Vec::new();
        for line in text.lines() {
            let fields = fields(line);
            let number = |at: usize| fields[at].parse::<u64>().unwrap();
            lines.push(Line {
                descriptor: unhex(fields[0]),
                marker: &fields[1][2..] == "1",
                frame: number(2),
                layer: (number(3) as u8, number(4) as u8),
                references: fields[6]
                    .split(',')
                    .filter_map(|fdiff| fdiff.parse::<u64>().ok())
                    .map(|fdiff| number(2) - fdiff)
                    .collect(),
                time: (number(8) as u32).wrapping_sub(first),
                payload: unhex(fields[10]),
            });
        }
        let frames = lines.iter().map(|line| line.frame).max().unwrap();
        let pictures = lines.chunk_by(|a, b| a.time == b.time).count() as u16;
        let span = lines.iter().map(|line| line.time).max().unwrap() + 3_000;
        let ids = ExtensionIds {
            mid: Some(1),
            transport_cc: Some(2),
            dependency_descriptor: with_descriptor.then_some(3),
            ..ExtensionIds::default()
        };
        Scalable { codec, lines, ids, frames, pictures, span }
    }

    pub fn payload_type(&self) -> PayloadType {
        PayloadType { codec: self.codec, ..vp8() }
    }

    pub fn track(&self, n: u64) -> TrackSpec {
        TrackSpec { payload_types: vec![self.payload_type()], extensions: self.ids, ..camera(n) }
    }

    pub fn slot(&self, n: u16) -> SlotSpec {
        SlotSpec { payload_types: vec![self.payload_type()], extensions: self.ids, ..slot(n) }
    }

    /// The corpus' packet behind packet `n`, with its frame numbers counted on.
    pub fn line(&self, n: u64) -> Line {
        let (round, line) = (n / self.lines.len() as u64, &self.lines[n as usize % self.lines.len()]);
        let mut line = line.clone();
        line.frame += round * self.frames;
        line.references.iter_mut().for_each(|frame| *frame += round * self.frames);
        line.time = line.time.wrapping_add(round as u32 * self.span);
        line.descriptor[1..3].copy_from_slice(&(line.frame as u16).to_be_bytes());
        if matches!(self.codec, Codec::Vp9 { .. }) {
            let picture = u16::from_be_bytes([line.payload[1], line.payload[2]]);
            let picture = picture.wrapping_add(round as u16 * self.pictures) | 0x8000;
            line.payload[1..3].copy_from_slice(&picture.to_be_bytes());
        }
        line
    }

    /// When packet `n` leaves the publisher.
    pub fn at(&self, n: u64) -> Time {
        let same = (0..n % self.lines.len() as u64).rev();
        let place = same.take_while(|before| {
            self.lines[*before as usize].time == self.lines[n as usize % self.lines.len()].time
        });
        Time::from_millis(u64::from(self.line(n).time) / 90 + 10)
            + std::time::Duration::from_micros(200 * place.count() as u64)
    }

    /// Packet `n` as itself, or as its own repair numbered `rtx`.
    pub fn packet(&self, sender: &SrtpSender, ssrc: u32, n: u64, rtx: Option<u64>) -> Vec<u8> {
        let (line, seq) = (self.line(n), rtx.unwrap_or(n));
        let ssrc = if rtx.is_some() { ssrc + 1_000_000 } else { ssrc };
        let header = OutgoingHeader {
            marker: line.marker,
            pt: if rtx.is_some() { RTX } else { VP8 },
            seq: ExtSeq(seq).wire(),
            time: RtpTime(line.time),
            ssrc: Ssrc(ssrc),
            padded: false,
            extended: true,
        };
        let mut packet = vec![0; FIXED_LEN + 300];
        header.write(&mut packet).unwrap();
        let descriptor = self.ids.dependency_descriptor.map(|_| line.descriptor.as_slice());
        let values = OutgoingExtensions {
            mid: Mid::new(b"0"),
            dependency_descriptor: descriptor,
            ..OutgoingExtensions::default()
        };
        let written = ExtensionWriter::new(self.ids).write(&values, &mut packet[FIXED_LEN..]).unwrap();
        let header_len = FIXED_LEN + written.len;
        packet.truncate(header_len);
        if rtx.is_some() {
            packet.extend(ExtSeq(n).wire().0.to_be_bytes());
        }
        packet.extend_from_slice(&line.payload);
        packet.resize(packet.len() + 100, 0x55);
        packet.extend(n.to_be_bytes());
        packet.resize(packet.len() + sender.tag_len(), 0);
        sender.seal_rtp(Ssrc(ssrc), ExtSeq(seq), header_len, &mut packet).unwrap();
        packet
    }
}

/// Which packet a payload is of.
pub fn tag(payload: &[u8]) -> u64 {
    u64::from_be_bytes(payload[payload.len() - TAG_LEN..].try_into().unwrap())
}
