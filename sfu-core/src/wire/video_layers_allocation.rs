//! The video layers allocation (`video-layers-allocation00`, libwebrtc): which layers a publisher means to send, at which
//! rates and sizes. It tells of the publisher's encoder as a whole; no packet's layer can be read from it.
//!
//! ```text
//!  0 1 2 3 4 5 6 7
//! +-+-+-+-+-+-+-+-+
//! |RID| NS| sl_bm |   which stream, how many less one, spatial layers of all streams
//! +-+-+-+-+-+-+-+-+
//! |sl0_bm |sl1_bm |   of each stream, when sl_bm is 0
//! +-+-+-+-+-+-+-+-+
//! |#tl|#tl|#tl|#tl|   temporal layers less one, of each spatial layer
//! +-+-+-+-+-+-+-+-+
//! | rate …        |   LEB128, kbit/s, of each temporal layer with those below
//! +-+-+-+-+-+-+-+-+
//! | width − 1     |   two bytes; so the height; then one of frames a second: all this may be missing
//! ```

use super::bits::BitReader;

/// Two bits each for the stream and its spatial layer.
const STREAMS_MAX: usize = 4;
const SPATIAL_MAX: usize = 4;
const LAYERS_MAX: usize = STREAMS_MAX * SPATIAL_MAX;
const TEMPORAL_MAX: usize = 4;
/// Rates are kept to here: above any video's.
const KBPS_MAX: u32 = 1_000_000;

/// One spatial layer of one stream.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct AllocatedLayer {
    /// The simulcast stream, lowest first.
    pub stream: u8,
    pub spatial: u8,
    pub temporal_count: u8,
    /// Of each temporal layer with those below it, in kbit/s.
    kbps: [u32; TEMPORAL_MAX],
    /// Width, height and frames a second, where the publisher says them.
    pub size: Option<(u16, u16, u8)>,
}

impl AllocatedLayer {
    /// Rates of the temporal layers, each with those below it, in kbit/s.
    pub fn kbps(&self) -> &[u32] {
        self.kbps.get(..usize::from(self.temporal_count)).unwrap_or_default()
    }
}

/// What a publisher means to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VideoLayersAllocation {
    /// The stream that carried it.
    pub stream: u8,
    layers: [AllocatedLayer; LAYERS_MAX],
    count: u8,
}

impl VideoLayersAllocation {
    /// Parses the extension's value; `None` when it is cut short.
    pub fn parse(bytes: &[u8]) -> Option<VideoLayersAllocation> {
        let mut reader = BitReader::new(bytes);
        let mut allocation =
            VideoLayersAllocation { stream: 0, layers: [AllocatedLayer::default(); LAYERS_MAX], count: 0 };
        if bytes == [0] {
            return Some(allocation);
        }
        allocation.stream = reader.read(2)? as u8;
        let streams = reader.read(2)? + 1;
        let shared = reader.read(4)?;
        for stream in 0..streams {
            let mask = if shared == 0 { reader.read(4)? } else { shared };
            for spatial in (0..SPATIAL_MAX as u8).filter(|spatial| mask >> spatial & 1 != 0) {
                let layer = allocation.layers.get_mut(usize::from(allocation.count))?;
                *layer = AllocatedLayer { stream: stream as u8, spatial, ..AllocatedLayer::default() };
                allocation.count += 1;
            }
        }
        align(&mut reader)?;
        for layer in allocation.layers.iter_mut().take(usize::from(allocation.count)) {
            layer.temporal_count = reader.read(2)? as u8 + 1;
        }
        align(&mut reader)?;
        for layer in allocation.layers.iter_mut().take(usize::from(allocation.count)) {
            for rate in layer.kbps.iter_mut().take(usize::from(layer.temporal_count)) {
                *rate = read_leb128(&mut reader)?.min(KBPS_MAX);
            }
        }
        if reader.remaining() > 0 {
            for layer in allocation.layers.iter_mut().take(usize::from(allocation.count)) {
                let (width, height, fps) = (reader.read(16)?, reader.read(16)?, reader.read(8)?);
                let side = |less_one: u32| less_one.saturating_add(1).min(65_535) as u16;
                layer.size = Some((side(width), side(height), fps as u8));
            }
        }
        Some(allocation)
    }

    /// With the sizes that `before` had, where this one says none: publishers repeat them with keyframes only, and tell of
    /// changed rates without.
    pub fn with_sizes_of(mut self, before: &VideoLayersAllocation) -> VideoLayersAllocation {
        for layer in self.layers.iter_mut().take(usize::from(self.count)) {
            let same = |old: &&AllocatedLayer| old.stream == layer.stream && old.spatial == layer.spatial;
            layer.size = layer.size.or_else(|| before.layers().iter().find(same)?.size);
        }
        self
    }

    /// By stream, then by spatial layer; empty when the publisher sends nothing.
    pub fn layers(&self) -> &[AllocatedLayer] {
        self.layers.get(..usize::from(self.count)).unwrap_or_default()
    }
}

/// Skips to the next byte.
fn align(reader: &mut BitReader<'_>) -> Option<()> {
    reader.skip((8 - reader.position() % 8) % 8)
}

/// Seven bits a byte, the lowest first; at most 28 bits are ours.
fn read_leb128(reader: &mut BitReader<'_>) -> Option<u32> {
    let mut value = 0;
    for place in 0..4 {
        let byte = reader.read(8)?;
        value |= (byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of Chromium 156, VP9 L3T3_KEY.
    const CHROMIUM: &[u8] = &[
        0x07, 0xa8, 0x37, 0x47, 0x65, 0x8b, 0x01, 0xb5, 0x01, 0x81, 0x02, 0xda, 0x03, 0xea, 0x04, 0xef, 0x06,
        0x00, 0xef, 0x00, 0x86, 0x09, 0x01, 0xdf, 0x01, 0x0d, 0x09, 0x03, 0xbf, 0x02, 0x1b, 0x09,
    ];

    #[test]
    fn three_spatial_layers_of_one_stream() {
        let allocation = VideoLayersAllocation::parse(CHROMIUM).unwrap();
        let [low, medium, high] = allocation.layers() else { panic!("{allocation:?}") };
        assert_eq!((low.stream, low.spatial, low.kbps()), (0, 0, &[55, 71, 101][..]));
        assert_eq!((medium.spatial, medium.kbps()), (1, &[139, 181, 257][..]));
        assert_eq!((high.spatial, high.kbps()), (2, &[474, 618, 879][..]));
        assert_eq!((low.size, high.size), (Some((240, 135, 9)), Some((960, 540, 9))));
    }

    #[test]
    fn streams_with_layers_of_their_own_and_no_sizes() {
        // Three streams, the second off: 4 bits each, padded; one temporal layer in the first, two in the third.
        let allocation =
            VideoLayersAllocation::parse(&[0b0110_0000, 0x10, 0x10, 0b0001_0000, 50, 60, 0x80, 0x01]);
        let allocation = allocation.unwrap();
        assert_eq!(allocation.stream, 1);
        let [first, third] = allocation.layers() else { panic!("{allocation:?}") };
        assert_eq!((first.stream, first.kbps(), first.size), (0, &[50][..], None));
        assert_eq!((third.stream, third.kbps()), (2, &[60, 128][..]));
    }

    #[test]
    fn sizes_outlive_an_allocation_that_tells_rates_only() {
        let whole = VideoLayersAllocation::parse(CHROMIUM).unwrap();
        let mut rates = CHROMIUM[..17].to_vec();
        rates[2] = 60;
        let later = VideoLayersAllocation::parse(&rates).unwrap().with_sizes_of(&whole);
        let [low, _, high] = later.layers() else { panic!("{later:?}") };
        assert_eq!((low.kbps()[0], low.size, high.size), (60, Some((240, 135, 9)), Some((960, 540, 9))));
        // A size of its own counts, and a layer that wasn't there has none.
        assert_eq!(whole.with_sizes_of(&later), whole);
        let other = VideoLayersAllocation::parse(&[0b0001_0001, 0, 50, 60]).unwrap().with_sizes_of(&whole);
        assert_eq!(
            other.layers().iter().map(|layer| layer.size.is_some()).collect::<Vec<_>>(),
            [true, false]
        );
    }

    #[test]
    fn nothing_is_sent() {
        assert_eq!(VideoLayersAllocation::parse(&[0]).unwrap().layers(), []);
        assert_eq!(VideoLayersAllocation::parse(&[]), None);
    }

    #[test]
    fn truncations_and_random_bytes_are_survived() {
        use rand::{Rng, SeedableRng, rngs::StdRng};
        let whole: Vec<usize> = (0..CHROMIUM.len())
            .filter(|len| VideoLayersAllocation::parse(&CHROMIUM[..*len]).is_some())
            .collect();
        assert_eq!(whole, [17], "without the sizes");
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..50_000 {
            let mut bytes = vec![0; rng.random_range(0..60)];
            rng.fill(bytes.as_mut_slice());
            if let Some(allocation) = VideoLayersAllocation::parse(&bytes) {
                assert!(allocation.layers().len() <= LAYERS_MAX);
                assert!(
                    allocation.layers().iter().all(|layer| layer.kbps().iter().all(|kbps| *kbps <= KBPS_MAX))
                );
            }
        }
    }
}
