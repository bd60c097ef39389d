//! Congestion control feedback (RFC 8888 §3), read in place: which packets of which streams arrived, and when. Knows
//! nothing of what was sent. ECN marks are not read: nothing that we send is marked as capable of them.

use super::u32_at;
use crate::unit::{SeqNo, Ssrc};

/// SSRC, first sequence number and number of reports.
const BLOCK_HEADER_LEN: usize = 8;
/// A block reports on at most this many packets (RFC 8888 §3.1).
const REPORTS_MAX: usize = 16_384;
/// An arrival time offset that says nothing: too long ago, or after the report's own time (RFC 8888 §3.1).
const OFFSET_UNKNOWN: u16 = 0x1ffe;

/// What became of one packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamResult {
    pub ssrc: Ssrc,
    pub seq: SeqNo,
    pub reception: Reception,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reception {
    Lost,
    /// Arrived this long before the report's time, in 1/1,024 s.
    Before(u16),
    /// Arrived; the report can't express when.
    SomeTime,
}

/// One feedback packet, checked as a whole: every block has the reports that it announces.
#[derive(Clone, Copy, Debug)]
pub struct CongestionFeedback<'a> {
    /// The receiver's clock when it wrote this, in 1/65,536 s; wraps every 18 hours.
    pub report_time: u32,
    /// How many packets are reported on, in all blocks together.
    pub packet_count: usize,
    blocks: &'a [u8],
}

impl<'a> CongestionFeedback<'a> {
    /// Parses a packet without its RTCP header.
    pub(super) fn parse(body: &'a [u8]) -> Option<CongestionFeedback<'a>> {
        let (rest, report_time) = body.get(4..)?.split_last_chunk::<4>()?;
        let mut blocks = Blocks { rest };
        let packet_count = blocks.by_ref().map(|block| block.reports.len() / 2).sum();
        // What is left over belongs to no block.
        blocks.rest.is_empty().then_some(CongestionFeedback {
            report_time: u32::from_be_bytes(*report_time),
            packet_count,
            blocks: rest,
        })
    }

    /// The packets that are reported on, stream by stream, each in order.
    pub fn results(&self) -> impl Iterator<Item = StreamResult> + use<'a> {
        Blocks { rest: self.blocks }.flat_map(|block| {
            let metrics = block.reports.as_chunks::<2>().0.iter().map(|bytes| u16::from_be_bytes(*bytes));
            metrics.enumerate().map(move |(n, metric)| StreamResult {
                ssrc: block.ssrc,
                seq: SeqNo(block.begin.0.wrapping_add(n as u16)),
                reception: Reception::from_metric(metric),
            })
        })
    }
}

impl Reception {
    /// R (1 bit), ECN (2), arrival time offset (13).
    fn from_metric(metric: u16) -> Reception {
        match (metric >> 15, metric & 0x1fff) {
            (0, _) => Reception::Lost,
            (_, offset) if offset >= OFFSET_UNKNOWN => Reception::SomeTime,
            (_, offset) => Reception::Before(offset),
        }
    }
}

/// Reports on one stream.
struct Block<'a> {
    ssrc: Ssrc,
    begin: SeqNo,
    reports: &'a [u8],
}

/// Walks the blocks, as far as they are whole.
#[derive(Clone)]
struct Blocks<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        let ssrc = Ssrc(u32_at(self.rest, 0)?);
        let numbers = u32_at(self.rest, 4)?;
        let count = (numbers & 0xffff) as usize;
        if count > REPORTS_MAX {
            return None;
        }
        // An odd number of reports is padded to a whole word.
        let padded = BLOCK_HEADER_LEN + 4 * count.div_ceil(2);
        let (block, rest) = self.rest.split_at_checked(padded)?;
        let reports = block.get(BLOCK_HEADER_LEN..BLOCK_HEADER_LEN + 2 * count)?;
        self.rest = rest;
        Some(Block { ssrc, begin: SeqNo((numbers >> 16) as u16), reports })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{RtcpPacket, packets};
    use super::*;

    type Read = (u32, Vec<(u32, u16, Reception)>);

    fn results(compound: &[u8]) -> Option<Read> {
        match packets(compound).next() {
            Some(Ok(RtcpPacket::CongestionFeedback(feedback))) => {
                let results: Vec<_> = feedback.results().map(|r| (r.ssrc.0, r.seq.0, r.reception)).collect();
                assert_eq!(results.len(), feedback.packet_count);
                Some((feedback.report_time, results))
            }
            _ => None,
        }
    }

    #[test]
    fn two_streams_with_losses_and_unknown_times_are_read() {
        let compound = [
            &[0x8b, 205, 0, 9, 0, 0, 0, 1][..],
            &[0, 0, 0, 7, 0xff, 0xff, 0, 3, 0x80, 0x05, 0, 0, 0x9f, 0xfe, 0, 0],
            &[0, 0, 0, 8, 0, 2, 0, 1, 0xe0, 0x10, 0, 0],
            &[0, 1, 0, 0],
        ]
        .concat();
        let (time, results) = results(&compound).unwrap();
        assert_eq!(time, 65_536);
        assert_eq!(
            results,
            [
                (7, 65_535, Reception::Before(5)),
                (7, 0, Reception::Lost),
                (7, 1, Reception::SomeTime),
                (8, 2, Reception::Before(16)),
            ]
        );
    }

    #[test]
    fn a_block_that_promises_more_than_there_is_spoils_the_packet() {
        let short = [&[0x8b, 205, 0, 4, 0, 0, 0, 1][..], &[0, 0, 0, 7, 0, 0, 0, 9], &[0, 1, 0, 0]].concat();
        assert_eq!(results(&short), None);
        let empty = [&[0x8b, 205, 0, 2, 0, 0, 0, 1][..], &[0, 1, 0, 0]].concat();
        assert_eq!(results(&empty), Some((65_536, vec![])));
        assert_eq!(results(&[0x8b, 205, 0, 1, 0, 0, 0, 1]), None);
    }
}
