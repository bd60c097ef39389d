//! RTCP to send. Each function appends one packet to a compound and keeps it within
//! [`COMPOUND_LEN_MAX`]; lists that don't fit say how far they got, for the next compound.

use super::{
    FMT_APPLICATION, FMT_NACK, FMT_PLI, GOODBYE, HEADER_LEN, PAYLOAD_FEEDBACK, RECEIVER_REPORT, REMB_ID,
    REPORT_BLOCK_LEN, ReportBlock, SENDER_REPORT, SOURCE_DESCRIPTION, SenderReport, TRANSPORT_FEEDBACK,
    transport_cc as cc,
};
use crate::unit::{Bitrate, ExtSeq, Ssrc, Time};

/// Longest compound: with SRTCP's index and the longest tag, a datagram of 1,200 bytes.
pub const COMPOUND_LEN_MAX: usize = 1_180;

/// The header's count has five bits.
const COUNT_MAX: usize = 31;

/// The SDES item of a canonical name (RFC 3550 §6.5.1).
const SDES_CNAME: u8 = 1;

/// Appends a sender report with as many of `blocks` as fit, and says how many did; `None` when not even the
/// report does.
pub fn sender_report(out: &mut Vec<u8>, report: &SenderReport, blocks: &[ReportBlock]) -> Option<usize> {
    let blocks = fitting(blocks, room(out).checked_sub(HEADER_LEN + 24)? / REPORT_BLOCK_LEN);
    let start = out.len();
    begin(out, SENDER_REPORT, blocks.len() as u8);
    out.extend_from_slice(&report.ssrc.0.to_be_bytes());
    out.extend_from_slice(&report.ntp.0.to_be_bytes());
    out.extend_from_slice(&report.rtp_time.0.to_be_bytes());
    out.extend_from_slice(&report.packets.to_be_bytes());
    out.extend_from_slice(&report.octets.to_be_bytes());
    blocks.iter().for_each(|block| push_block(out, block));
    end(out, start);
    Some(blocks.len())
}

/// Appends a receiver report with as many of `blocks` as fit, and says how many did; `None` when not even
/// an empty one does.
pub fn receiver_report(out: &mut Vec<u8>, ssrc: Ssrc, blocks: &[ReportBlock]) -> Option<usize> {
    let blocks = fitting(blocks, room(out).checked_sub(HEADER_LEN + 4)? / REPORT_BLOCK_LEN);
    let start = out.len();
    begin(out, RECEIVER_REPORT, blocks.len() as u8);
    out.extend_from_slice(&ssrc.0.to_be_bytes());
    blocks.iter().for_each(|block| push_block(out, block));
    end(out, start);
    Some(blocks.len())
}

/// Appends a source description with the canonical name of `ssrc`, cut to the 255 bytes that an item holds.
/// `None` when it doesn't fit.
pub fn cname(out: &mut Vec<u8>, ssrc: Ssrc, cname: &str) -> Option<()> {
    let text = cname.as_bytes();
    let text = text.get(..text.len().min(255))?;
    // Item type and length, and at least one null to end the list.
    let chunk_len = (4 + 2 + text.len() + 1).next_multiple_of(4);
    room(out).checked_sub(HEADER_LEN + chunk_len)?;
    let start = out.len();
    begin(out, SOURCE_DESCRIPTION, 1);
    out.extend_from_slice(&ssrc.0.to_be_bytes());
    out.extend_from_slice(&[SDES_CNAME, text.len() as u8]);
    out.extend_from_slice(text);
    out.resize(start + HEADER_LEN + chunk_len, 0);
    end(out, start);
    Some(())
}

/// Appends a generic NACK for the `lost` packets, which are sorted, and says how many it covers: all unless
/// the compound is full.
pub fn nack(out: &mut Vec<u8>, sender: Ssrc, media: Ssrc, lost: &[ExtSeq]) -> usize {
    let entries_max = room(out).saturating_sub(HEADER_LEN + 8) / 4;
    if entries_max == 0 || lost.is_empty() {
        return 0;
    }
    let start = out.len();
    begin(out, TRANSPORT_FEEDBACK, FMT_NACK);
    out.extend_from_slice(&sender.0.to_be_bytes());
    out.extend_from_slice(&media.0.to_be_bytes());
    let mut covered = 0;
    for _ in 0..entries_max {
        let Some(([first], following)) = lost.get(covered..).and_then(<[_]>::split_first_chunk) else {
            break;
        };
        covered += 1;
        let mut blp = 0;
        for seq in following {
            match seq.since(*first) {
                offset @ 1..=16 => blp |= 1u16 << (offset - 1),
                0 => {}
                _ => break,
            }
            covered += 1;
        }
        out.extend_from_slice(&first.wire().0.to_be_bytes());
        out.extend_from_slice(&blp.to_be_bytes());
    }
    end(out, start);
    covered
}

/// Appends a Picture Loss Indication. `None` when it doesn't fit.
pub fn pli(out: &mut Vec<u8>, sender: Ssrc, media: Ssrc) -> Option<()> {
    room(out).checked_sub(HEADER_LEN + 8)?;
    let start = out.len();
    begin(out, PAYLOAD_FEEDBACK, FMT_PLI);
    out.extend_from_slice(&sender.0.to_be_bytes());
    out.extend_from_slice(&media.0.to_be_bytes());
    end(out, start);
    Some(())
}

/// Appends transport-wide feedback on `received`: sorted by sequence number, each number once. Reporting
/// starts at `base`, so that packets lost before the first received one count; a base more than half a cycle
/// back is raised. Says how many entries were reported: where the packet is full, or a gap or an interval
/// too long for it, the rest belongs into another one, with the next feedback count and a base of its own.
/// Zero when nothing fits.
pub fn transport_cc(
    out: &mut Vec<u8>,
    sender: Ssrc,
    media: Ssrc,
    feedback_count: u8,
    base: ExtSeq,
    received: &[(ExtSeq, Time)],
) -> usize {
    cc::write(out, sender, media, feedback_count, base, received)
}

/// Appends a Receiver Estimated Maximum Bitrate over `ssrcs`, of which at most 255 are named. `None` when it
/// doesn't fit.
pub fn remb(out: &mut Vec<u8>, sender: Ssrc, bitrate: Bitrate, ssrcs: &[Ssrc]) -> Option<()> {
    let ssrcs = ssrcs.get(..ssrcs.len().min(255))?;
    room(out).checked_sub(HEADER_LEN + 16 + 4 * ssrcs.len())?;
    // Six bits of exponent, eighteen of mantissa.
    let exponent = (u64::BITS - bitrate.0.leading_zeros()).saturating_sub(18);
    let mantissa = (bitrate.0 >> exponent) as u32;
    let start = out.len();
    begin(out, PAYLOAD_FEEDBACK, FMT_APPLICATION);
    out.extend_from_slice(&sender.0.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(REMB_ID);
    out.extend_from_slice(&((ssrcs.len() as u32) << 24 | exponent << 18 | mantissa).to_be_bytes());
    ssrcs.iter().for_each(|ssrc| out.extend_from_slice(&ssrc.0.to_be_bytes()));
    end(out, start);
    Some(())
}

/// Appends a BYE for as many of `ssrcs` as fit, and says how many did.
pub fn bye(out: &mut Vec<u8>, ssrcs: &[Ssrc]) -> usize {
    let ssrcs = fitting(ssrcs, room(out).saturating_sub(HEADER_LEN) / 4);
    if ssrcs.is_empty() {
        return 0;
    }
    let start = out.len();
    begin(out, GOODBYE, ssrcs.len() as u8);
    ssrcs.iter().for_each(|ssrc| out.extend_from_slice(&ssrc.0.to_be_bytes()));
    end(out, start);
    ssrcs.len()
}

/// Appends a header, whose length is filled in by [`end`].
pub(super) fn begin(out: &mut Vec<u8>, packet_type: u8, count: u8) {
    out.extend_from_slice(&[0x80 | count, packet_type, 0, 0]);
}

/// Completes the packet that began at `start`: padded to whole words (RFC 3550 §6.4.1), with its length.
pub(super) fn end(out: &mut Vec<u8>, start: usize) {
    let len = out.len() - start;
    let padding = len.next_multiple_of(4) - len;
    out.resize(out.len() + padding, 0);
    let words = (out.len() - start) / 4;
    if let Some([first, _, len_hi, len_lo, .., last]) = out.get_mut(start..) {
        [*len_hi, *len_lo] = ((words - 1) as u16).to_be_bytes();
        if padding != 0 {
            *first |= 0x20;
            *last = padding as u8;
        }
    }
}

fn room(out: &[u8]) -> usize {
    COMPOUND_LEN_MAX.saturating_sub(out.len())
}

/// The first of `entries`, as many as there is room and count for.
fn fitting<T>(entries: &[T], room: usize) -> &[T] {
    entries.get(..entries.len().min(room).min(COUNT_MAX)).unwrap_or_default()
}

fn push_block(out: &mut Vec<u8>, block: &ReportBlock) {
    let lost = block.lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
    out.extend_from_slice(&block.ssrc.0.to_be_bytes());
    out.extend_from_slice(&(u32::from(block.fraction_lost) << 24 | lost).to_be_bytes());
    out.extend_from_slice(&block.highest_seq.to_be_bytes());
    out.extend_from_slice(&block.jitter.to_be_bytes());
    out.extend_from_slice(&block.last_sr.to_be_bytes());
    out.extend_from_slice(&block.delay_since_last_sr.to_be_bytes());
}
