//! Bit by bit through a slice, most significant bit first: reading and writing of fields that don't keep to bytes.

/// Reads; every read past the end is `None`.
#[derive(Clone, Copy, Debug)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub fn new(bytes: &'a [u8]) -> BitReader<'a> {
        BitReader { bytes, at: 0 }
    }

    /// The next `count` bits, at most 32.
    pub fn read(&mut self, count: u32) -> Option<u32> {
        let end = self.at.checked_add(count as usize)?;
        if count > 32 || end > self.bytes.len().checked_mul(8)? {
            return None;
        }
        let mut value = 0;
        while self.at < end {
            let byte = u32::from(*self.bytes.get(self.at / 8)?);
            let (offset, left) = (self.at % 8, end - self.at);
            let taken = left.min(8 - offset);
            let bits = byte >> (8 - offset - taken) & ((1 << taken) - 1);
            value = if taken == 32 { bits } else { value << taken | bits };
            self.at += taken;
        }
        Some(value)
    }

    pub fn read_bool(&mut self) -> Option<bool> {
        self.read(1).map(|bit| bit != 0)
    }

    /// A number below `n`, which isn't zero: `ns(n)` of the AV1 specification, §4.10.7.
    pub fn read_non_symmetric(&mut self, n: u32) -> Option<u32> {
        let width = n.checked_ilog2()? + 1;
        let short_values = (1_u32.checked_shl(width)?).checked_sub(n)?;
        let value = self.read(width - 1)?;
        if value < short_values {
            return Some(value);
        }
        Some((value << 1) - short_values + self.read(1)?)
    }

    /// Bits that were read.
    pub fn position(&self) -> usize {
        self.at
    }

    pub fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count).filter(|at| *at <= self.bytes.len().saturating_mul(8))?;
        Some(())
    }

    /// Bits that are left.
    pub fn remaining(&self) -> usize {
        (self.bytes.len() * 8).saturating_sub(self.at)
    }
}

/// Writes into a slice that it zeroes as it goes; every write past the end is `None`.
#[derive(Debug)]
pub struct BitWriter<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> BitWriter<'a> {
    pub fn new(bytes: &'a mut [u8]) -> BitWriter<'a> {
        BitWriter { bytes, at: 0 }
    }

    /// Appends the low `count` bits of `value`, at most 32.
    pub fn write(&mut self, value: u32, count: u32) -> Option<()> {
        for place in (0..count.min(32)).rev() {
            let (byte, offset) = (self.bytes.get_mut(self.at / 8)?, self.at % 8);
            if offset == 0 {
                *byte = 0;
            }
            *byte |= ((value >> place & 1) as u8) << (7 - offset);
            self.at += 1;
        }
        Some(())
    }

    /// Appends `count` bits of a reader.
    pub fn copy(&mut self, from: &mut BitReader<'_>, count: usize) -> Option<()> {
        let mut left = count;
        while left > 0 {
            let taken = left.min(32) as u32;
            self.write(from.read(taken)?, taken)?;
            left -= taken as usize;
        }
        Some(())
    }

    /// Bytes that were begun.
    pub fn bytes_begun(&self) -> usize {
        self.at.div_ceil(8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = [0xff; 12];
        let mut writer = BitWriter::new(&mut bytes);
        for (value, count) in [(1, 1), (0x2a, 6), (0xdead_beef, 32), (3, 2), (0, 0), (0x155, 9)] {
            writer.write(value, count).unwrap();
        }
        assert_eq!(writer.bytes_begun(), 7);
        let mut reader = BitReader::new(&bytes);
        for (value, count) in [(1, 1), (0x2a, 6), (0xdead_beef, 32), (3, 2), (0, 0), (0x155, 9)] {
            assert_eq!(reader.read(count), Some(value));
        }
        assert_eq!((reader.position(), reader.remaining()), (50, 46));
        assert_eq!(reader.read(33), None);
        assert_eq!(reader.skip(47), None);
        assert_eq!(reader.skip(46).and_then(|()| reader.read(1)), None);
    }

    #[test]
    fn non_symmetric_numbers_take_the_fewest_bits() {
        // n = 5: 0, 1 and 2 in two bits, 3 and 4 in three.
        for (bits, value, len) in
            [(0b0000_0000, 0, 2), (0b1000_0000, 2, 2), (0b1100_0000, 3, 3), (0b1110_0000, 4, 3)]
        {
            let bytes = [bits];
            let mut reader = BitReader::new(&bytes);
            assert_eq!((reader.read_non_symmetric(5), reader.position()), (Some(value), len));
        }
        assert_eq!(BitReader::new(&[0]).read_non_symmetric(1), Some(0));
        assert_eq!(BitReader::new(&[0]).read_non_symmetric(0), None);
    }
}
