//! RTCP (RFC 3550 §6, RFC 4585, RFC 5104, RFC 8888, transport-cc, REMB): the packets of a compound that the engine
//! acts on, read in place, and [`write`] for those that it sends. Keeps no state between packets.
//!
//! The parser is ours and not the `rtcp` crate's: a subscriber's feedback is a datagram every few dozen
//! packets, and this one borrows where that one allocates a boxed value per packet and per list.

mod congestion_feedback;
mod transport_cc;
pub mod write;

#[cfg(test)]
mod tests;

pub use congestion_feedback::{CongestionFeedback, Reception, StreamResult};
pub use transport_cc::{PacketResult, TransportCc, TwccTime};

use crate::unit::{Bitrate, NtpTime, RtpTime, SeqNo, Ssrc};

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;

/// Feedback message types of transport-layer feedback (RFC 4585 §6.2, RFC 8888 §3.1, draft-holmer §3.1).
const FMT_NACK: u8 = 1;
const FMT_CONGESTION: u8 = 11;
const FMT_TRANSPORT_CC: u8 = 15;

/// Feedback message types of payload-specific feedback (RFC 4585 §6.3, RFC 5104 §4.3.1, draft-alvestrand).
const FMT_PLI: u8 = 1;
const FMT_FIR: u8 = 4;
const FMT_APPLICATION: u8 = 15;

const HEADER_LEN: usize = 4;
const REPORT_BLOCK_LEN: usize = 24;
const REMB_ID: &[u8; 4] = b"REMB";

/// One packet of a compound.
#[derive(Clone, Debug)]
pub enum RtcpPacket<'a> {
    SenderReport {
        report: SenderReport,
        blocks: ReportBlocks<'a>,
    },
    ReceiverReport {
        ssrc: Ssrc,
        blocks: ReportBlocks<'a>,
    },
    Nack {
        media: Ssrc,
        lost: NackEntries<'a>,
    },
    Pli {
        media: Ssrc,
    },
    Fir {
        entries: FirEntries<'a>,
    },
    TransportCc(TransportCc<'a>),
    CongestionFeedback(CongestionFeedback<'a>),
    /// The receiver's estimate over all of `ssrcs` together.
    Remb {
        bitrate: Bitrate,
        ssrcs: Ssrcs<'a>,
    },
    Bye {
        ssrcs: Ssrcs<'a>,
    },
    /// A well-formed packet that the engine doesn't act on: SDES, XR, APP, other feedback.
    Other {
        packet_type: u8,
    },
}

/// RFC 3550 §6.4.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SenderReport {
    pub ssrc: Ssrc,
    pub ntp: NtpTime,
    pub rtp_time: RtpTime,
    pub packets: u32,
    pub octets: u32,
}

/// What a receiver says of one source (RFC 3550 §6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportBlock {
    pub ssrc: Ssrc,
    /// Share of packets lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Since the beginning; duplicates can make it negative. 24 bits on the wire.
    pub lost: i32,
    /// Highest sequence number received, with its cycles above.
    pub highest_seq: u32,
    /// In ticks of the media clock.
    pub jitter: u32,
    /// Middle bits of the last sender report's NTP time; zero before the first.
    pub last_sr: u32,
    /// From that report to this one, in 1/65,536 s.
    pub delay_since_last_sr: u32,
}

/// Bytes that are no RTCP, or an RTCP packet whose fields don't fit it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed RTCP")]
pub struct Malformed;

/// The packets of a decrypted compound, also of a reduced-size one (RFC 5506). After an error nothing
/// follows.
pub fn packets(compound: &[u8]) -> Packets<'_> {
    Packets { rest: compound }
}

/// See [`packets`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<RtcpPacket<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let packet = self.split_first().ok_or(Malformed);
        if packet.is_err() {
            self.rest = &[];
        }
        Some(packet)
    }
}

impl<'a> Packets<'a> {
    /// Takes one packet off the front.
    fn split_first(&mut self) -> Option<RtcpPacket<'a>> {
        let [first, packet_type, len_hi, len_lo] = *self.rest.first_chunk()?;
        if first >> 6 != 2 {
            return None;
        }
        let len = 4 * (usize::from(u16::from_be_bytes([len_hi, len_lo])) + 1);
        let (packet, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        let mut body = packet.get(HEADER_LEN..)?;
        if first & 0x20 != 0 {
            let padding = usize::from(*body.last()?);
            if padding == 0 {
                return None;
            }
            body = body.get(..body.len().checked_sub(padding)?)?;
        }
        parse(packet_type, first & 0x1f, body)
    }
}

/// One packet without its header and padding; `count` is the header's count or feedback message type.
fn parse(packet_type: u8, count: u8, body: &[u8]) -> Option<RtcpPacket<'_>> {
    Some(match (packet_type, count) {
        (SENDER_REPORT, _) => {
            let (fixed, rest) = body.split_at_checked(24)?;
            let report = SenderReport {
                ssrc: Ssrc(u32_at(fixed, 0)?),
                ntp: NtpTime(u64::from(u32_at(fixed, 4)?) << 32 | u64::from(u32_at(fixed, 8)?)),
                rtp_time: RtpTime(u32_at(fixed, 12)?),
                packets: u32_at(fixed, 16)?,
                octets: u32_at(fixed, 20)?,
            };
            RtcpPacket::SenderReport { report, blocks: ReportBlocks::new(rest, count)? }
        }
        (RECEIVER_REPORT, _) => {
            let ssrc = Ssrc(u32_at(body, 0)?);
            RtcpPacket::ReceiverReport { ssrc, blocks: ReportBlocks::new(body.get(4..)?, count)? }
        }
        (GOODBYE, _) => RtcpPacket::Bye { ssrcs: Ssrcs { bytes: body.get(..4 * usize::from(count))? } },
        (TRANSPORT_FEEDBACK, FMT_NACK) => {
            RtcpPacket::Nack { media: Ssrc(u32_at(body, 4)?), lost: NackEntries { bytes: body.get(8..)? } }
        }
        (TRANSPORT_FEEDBACK, FMT_CONGESTION) => {
            RtcpPacket::CongestionFeedback(CongestionFeedback::parse(body)?)
        }
        (TRANSPORT_FEEDBACK, FMT_TRANSPORT_CC) => RtcpPacket::TransportCc(TransportCc::parse(body)?),
        (PAYLOAD_FEEDBACK, FMT_PLI) => RtcpPacket::Pli { media: Ssrc(u32_at(body, 4)?) },
        (PAYLOAD_FEEDBACK, FMT_FIR) => RtcpPacket::Fir { entries: FirEntries { bytes: body.get(8..)? } },
        (PAYLOAD_FEEDBACK, FMT_APPLICATION) if body.get(8..12) == Some(REMB_ID) => {
            let [ssrc_count, a, b, c] = *body.get(12..)?.first_chunk()?;
            let mantissa = u64::from(u32::from_be_bytes([0, a & 0x03, b, c]));
            // 63 is the largest exponent that fits: what overflows is as good as unlimited.
            let bitrate = mantissa.saturating_mul(1u64.checked_shl(u32::from(a >> 2))?);
            let ssrcs = Ssrcs { bytes: body.get(16..16 + 4 * usize::from(ssrc_count))? };
            RtcpPacket::Remb { bitrate: Bitrate(bitrate), ssrcs }
        }
        _ => RtcpPacket::Other { packet_type },
    })
}

/// The report blocks of one SR or RR.
#[derive(Clone, Copy, Debug)]
pub struct ReportBlocks<'a> {
    bytes: &'a [u8],
}

impl<'a> ReportBlocks<'a> {
    fn new(bytes: &'a [u8], count: u8) -> Option<ReportBlocks<'a>> {
        // What follows the blocks is a profile-specific extension.
        Some(ReportBlocks { bytes: bytes.get(..REPORT_BLOCK_LEN * usize::from(count))? })
    }

    pub fn iter(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        self.bytes.chunks_exact(REPORT_BLOCK_LEN).filter_map(|block| {
            let loss = u32_at(block, 4)?;
            Some(ReportBlock {
                ssrc: Ssrc(u32_at(block, 0)?),
                fraction_lost: (loss >> 24) as u8,
                // Shifted up and back to extend the sign of 24 bits.
                lost: ((loss << 8) as i32) >> 8,
                highest_seq: u32_at(block, 8)?,
                jitter: u32_at(block, 12)?,
                last_sr: u32_at(block, 16)?,
                delay_since_last_sr: u32_at(block, 20)?,
            })
        })
    }
}

/// The entries of a generic NACK (RFC 4585 §6.2.1).
#[derive(Clone, Copy, Debug)]
pub struct NackEntries<'a> {
    bytes: &'a [u8],
}

impl<'a> NackEntries<'a> {
    /// The lost sequence numbers, in the order in which they are listed: at most 17 an entry.
    pub fn seqs(&self) -> impl Iterator<Item = SeqNo> + use<'a> {
        self.bytes.as_chunks::<4>().0.iter().flat_map(|[pid_hi, pid_lo, blp_hi, blp_lo]| {
            let pid = u16::from_be_bytes([*pid_hi, *pid_lo]);
            let blp = u16::from_be_bytes([*blp_hi, *blp_lo]);
            let following = (0..16).filter(move |bit| blp & (1 << bit) != 0).map(|bit: u16| bit + 1);
            std::iter::once(0).chain(following).map(move |offset| SeqNo(pid.wrapping_add(offset)))
        })
    }
}

/// The entries of a Full Intra Request (RFC 5104 §4.3.1).
#[derive(Clone, Copy, Debug)]
pub struct FirEntries<'a> {
    bytes: &'a [u8],
}

impl<'a> FirEntries<'a> {
    /// The media source asked, and the command's number: a repeated number repeats the request.
    pub fn iter(&self) -> impl Iterator<Item = (Ssrc, u8)> + use<'a> {
        let entries = self.bytes.as_chunks::<8>().0.iter();
        entries.map(|[a, b, c, d, number, ..]| (Ssrc(u32::from_be_bytes([*a, *b, *c, *d])), *number))
    }
}

/// A list of SSRCs.
#[derive(Clone, Copy, Debug)]
pub struct Ssrcs<'a> {
    bytes: &'a [u8],
}

impl<'a> Ssrcs<'a> {
    pub fn iter(&self) -> impl Iterator<Item = Ssrc> + use<'a> {
        self.bytes.as_chunks::<4>().0.iter().map(|bytes| Ssrc(u32::from_be_bytes(*bytes)))
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}
