//! The synthetic media: one second of a tone in Opus and four seconds of a moving pattern in VP8, in three
//! resolutions, made by `media/make.py`. A receiver can tell from the bytes which frame it has got.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;
use std::time::Duration;

static TONE: &[u8] = include_bytes!("../../media/tone.opus.bin");
static PATTERNS: [&[u8]; LAYERS] = [
    include_bytes!("../../media/pattern_q.ivf"),
    include_bytes!("../../media/pattern_h.ivf"),
    include_bytes!("../../media/pattern_f.ivf"),
];

/// Simulcast layers of the pattern, lowest first.
pub const LAYERS: usize = 3;
pub const FRAME_INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / 30);
pub const OPUS_INTERVAL: Duration = Duration::from_millis(20);
/// The same at 48 kHz.
pub const OPUS_TICKS: u16 = 960;

/// Bytes of an IVF file's and of an IVF frame's header.
const IVF_HEADER: usize = 32;
const IVF_FRAME_HEADER: usize = 12;

/// The encoded media, taken apart.
#[derive(Debug)]
pub struct Library {
    opus: Vec<&'static [u8]>,
    vp8: [Vec<&'static [u8]>; LAYERS],
    opus_by_content: HashSet<u64>,
    vp8_by_content: HashMap<u64, (usize, usize)>,
}

/// The one copy of it.
pub fn library() -> &'static Library {
    static LIBRARY: LazyLock<Library> = LazyLock::new(Library::read);
    &LIBRARY
}

impl Library {
    fn read() -> Library {
        let opus = read_packets(TONE);
        let vp8 = PATTERNS.map(read_ivf);
        let opus_by_content = opus.iter().map(|packet| hash(packet)).collect();
        let frames = vp8.iter().enumerate().flat_map(|(layer, frames)| {
            frames.iter().enumerate().map(move |(i, frame)| (hash(frame), (layer, i)))
        });
        Library { opus_by_content, vp8_by_content: frames.collect(), opus, vp8 }
    }

    /// The `n`th packet of 20 ms, going round.
    pub fn opus(&self, n: u64) -> &'static [u8] {
        nth(&self.opus, n)
    }

    /// The `n`th frame of a layer, going round; the 0th is the only keyframe.
    pub fn vp8(&self, layer: usize, n: u64) -> &'static [u8] {
        self.vp8.get(layer).map_or(&[], |frames| nth(frames, n))
    }

    /// Whether this is one of our Opus packets.
    pub fn has_opus(&self, packet: &[u8]) -> bool {
        self.opus_by_content.contains(&hash(packet))
    }

    /// Which of our frames this is, as (layer, number); padding at its end is ignored.
    pub fn find_vp8(&self, frame: &[u8]) -> Option<(usize, usize)> {
        self.vp8_by_content.get(&hash(frame)).copied()
    }
}

fn nth(all: &[&'static [u8]], n: u64) -> &'static [u8] {
    let at = n.checked_rem(all.len() as u64).unwrap_or_default();
    usize::try_from(at).ok().and_then(|at| all.get(at)).copied().unwrap_or_default()
}

/// Of the bytes up to the last that isn't zero, because frames may be padded with zeros.
fn hash(bytes: &[u8]) -> u64 {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let mut hasher = DefaultHasher::new();
    bytes.get(..end).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

fn read_packets(mut file: &'static [u8]) -> Vec<&'static [u8]> {
    let mut packets = Vec::new();
    while let Some((len, rest)) = file.split_first_chunk() {
        let Some((packet, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len))) else {
            break;
        };
        packets.push(packet);
        file = rest;
    }
    packets
}

fn read_ivf(file: &'static [u8]) -> Vec<&'static [u8]> {
    let mut rest = file.get(IVF_HEADER..).unwrap_or_default();
    let mut frames = Vec::new();
    while let Some((header, after)) = rest.split_at_checked(IVF_FRAME_HEADER) {
        let len = header.first_chunk().map_or(0, |len| u32::from_le_bytes(*len));
        let Some((frame, after)) = after.split_at_checked(len as usize) else { break };
        frames.push(frame);
        rest = after;
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_seconds_of_video_with_one_keyframe_and_one_second_of_tone() {
        let library = library();
        assert_eq!(library.opus.len(), 50);
        for (layer, frames) in library.vp8.iter().enumerate() {
            assert_eq!(frames.len(), 120);
            // RFC 6386 §9.1: the lowest bit of a frame is 0 in keyframes.
            let keyframes: Vec<_> = (0..120).filter(|n| library.vp8(layer, *n)[0] & 1 == 0).collect();
            assert_eq!(keyframes, [0]);
        }
    }

    #[test]
    fn a_frame_is_known_by_its_content_with_or_without_padding() {
        let frame = library().vp8(1, 120 + 17);
        assert_eq!(library().find_vp8(frame), Some((1, 17)));
        assert_eq!(library().find_vp8(&[frame, &[0; 50]].concat()), Some((1, 17)));
        let mut damaged = frame.to_vec();
        damaged[10] ^= 1;
        assert_eq!(library().find_vp8(&damaged), None);
        assert!(library().has_opus(library().opus(53)));
        assert!(!library().has_opus(b"noise"));
    }
}
