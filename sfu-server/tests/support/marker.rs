//! A picture that says who sends it and which frame it is: 8 × 4 black and white cells that survive VP8 at a layer of
//! 80 × 45. Corners are fixed, the others carry the publisher's id, the frame counter and a CRC-8 over both, so that a
//! torn or mixed picture isn't taken for a good one. `marker.js` reads and paints the same.

use std::io::{BufWriter, Write};
use std::path::Path;

use test_programs::Scratch;

pub const COLUMNS: usize = 8;
pub const ROWS: usize = 4;
const CELLS: usize = COLUMNS * ROWS;
/// Cell → fixed colour: top left, top right, bottom left, bottom right. A mirrored picture doesn't match.
const CORNERS: [(usize, bool); 4] = [(0, true), (7, false), (24, true), (31, true)];
const ID_BITS: u32 = 6;
const COUNTER_BITS: u32 = 14;
const BLACK: u8 = 32;
const WHITE: u8 = 220;

/// What a picture carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marker {
    /// 0–63.
    pub id: u8,
    /// 0–16383.
    pub counter: u16,
}

impl Marker {
    fn cells(self) -> [bool; CELLS] {
        let content = (u32::from(self.id) << COUNTER_BITS) | u32::from(self.counter);
        let bits = (content << 8) | u32::from(crc8(content));
        let mut cells = [false; CELLS];
        for (cell, white) in CORNERS {
            cells[cell] = white;
        }
        for (bit, cell) in content_cells().enumerate() {
            cells[cell] = bits >> (27 - bit) & 1 == 1;
        }
        cells
    }

    fn from_cells(cells: &[bool; CELLS]) -> Option<Self> {
        if CORNERS.iter().any(|&(cell, white)| cells[cell] != white) {
            return None;
        }
        let bits = content_cells().fold(0u32, |bits, cell| (bits << 1) | u32::from(cells[cell]));
        let content = bits >> 8;
        if u32::from(crc8(content)) != bits & 0xff {
            return None;
        }
        let id = (content >> COUNTER_BITS) & ((1 << ID_BITS) - 1);
        let counter = content & ((1 << COUNTER_BITS) - 1);
        Some(Self { id: u8::try_from(id).ok()?, counter: u16::try_from(counter).ok()? })
    }

    /// Paints a luma plane of `width` × (its length / width).
    pub fn paint(self, luma: &mut [u8], width: usize) {
        let cells = self.cells();
        let height = luma.len() / width;
        for (y, row) in luma.chunks_exact_mut(width).enumerate() {
            for (x, pixel) in row.iter_mut().enumerate() {
                let cell = y * ROWS / height * COLUMNS + x * COLUMNS / width;
                *pixel = if cells[cell] { WHITE } else { BLACK };
            }
        }
    }

    /// Reads a luma plane; `None` when it isn't a marker or isn't whole.
    pub fn read(luma: &[u8], width: usize) -> Option<Self> {
        let height = luma.len() / width;
        let mut cells = [false; CELLS];
        for (index, cell) in cells.iter_mut().enumerate() {
            let (row, column) = (index / COLUMNS, index % COLUMNS);
            let y = (2 * row + 1) * height / (2 * ROWS);
            let x = (2 * column + 1) * width / (2 * COLUMNS);
            *cell = *luma.get(y * width + x)? > (BLACK / 2 + WHITE / 2);
        }
        Self::from_cells(&cells)
    }
}

/// A capture file of markers that is deleted with the test.
pub struct Camera(Scratch);

impl Camera {
    /// Two seconds at 30 frames a second.
    pub fn of(id: u8, width: usize, height: usize) -> Result<Self, String> {
        Self::of_length(id, (width, height), 30, 60)
    }

    pub fn of_length(id: u8, size: (usize, usize), fps: u32, frames: u16) -> Result<Self, String> {
        let file = Scratch::path_for(&format!("camera-{id}.y4m"));
        write_y4m(file.path(), size.0, size.1, fps, frames, id).map_err(|error| error.to_string())?;
        Ok(Self(file))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Writes `frames` frames as YUV4MPEG2 (4:2:0), grey, counters from 0. A browser plays it in a loop.
fn write_y4m(file: &Path, width: usize, height: usize, fps: u32, frames: u16, id: u8) -> std::io::Result<()> {
    let mut out = BufWriter::new(std::fs::File::create(file)?);
    writeln!(out, "YUV4MPEG2 W{width} H{height} F{fps}:1 Ip A1:1 C420")?;
    let mut luma = vec![0; width * height];
    let chroma = vec![128; width * height / 2];
    for counter in 0..frames {
        Marker { id, counter }.paint(&mut luma, width);
        out.write_all(b"FRAME\n")?;
        out.write_all(&luma)?;
        out.write_all(&chroma)?;
    }
    out.flush()
}

fn content_cells() -> impl Iterator<Item = usize> {
    (0..CELLS).filter(|cell| CORNERS.iter().all(|(corner, _)| corner != cell))
}

/// CRC-8 (x⁸ + x² + x + 1) over the 20 bits of id and counter.
fn crc8(content: u32) -> u8 {
    (0..ID_BITS + COUNTER_BITS).rev().fold(0u8, |crc, bit| {
        let feedback = (crc >> 7) ^ u8::from(content >> bit & 1 == 1);
        (crc << 1) ^ if feedback == 1 { 0x07 } else { 0 }
    })
}
