//! RTCP of a client, both directions: what it tells the server about received streams and what the server's
//! feedback asks of its own. Compound packets are of reduced size (RFC 5506) except for the periodic report.

use std::time::Duration;

use rtcp::packet::Packet;
use rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtcp::receiver_report::ReceiverReport;
use rtcp::reception_report::ReceptionReport;
use rtcp::sender_report::SenderReport;
use rtcp::source_description::{SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem};
use rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtcp::transport_feedbacks::transport_layer_nack::{TransportLayerNack, nack_pairs_from_sequence_numbers};

use super::receive::ReceiveStream;
use super::send::ntp;
use super::twcc;
use super::{Client, RTT_DEFAULT};
use crate::net::Time;

/// Report blocks in one packet (RFC 3550 §6.4.1).
const BLOCKS_MAX: usize = 31;

#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct FeedbackStats {
    pub reports_received: u64,
    /// Of our packets, in the last block that the server sent.
    pub fraction_lost: u8,
    /// From a report of the server about our packets.
    pub rtt: Option<Duration>,
    /// Retransmissions that the server asked for.
    pub nacked: u64,
    pub plis: u64,
    pub firs: u64,
    pub rembs: u64,
    pub transport_cc_received: u64,
    pub transport_cc_sent: u64,
    /// Our packets that the server's transport-cc reports name as come and as lost.
    pub acknowledged: u64,
    pub reported_lost: u64,
}

impl Client {
    /// Requests for what is missing now: NACK and PLI.
    pub(super) fn send_requests(&mut self, now: Time) {
        let rtt = self.transport.ice.rtt().unwrap_or(RTT_DEFAULT);
        let mut packets: Vec<Box<dyn Packet>> = Vec::new();
        for stream in self.streams.values_mut() {
            let missing = stream.nack_due(now, rtt);
            if !missing.is_empty() {
                packets.push(Box::new(TransportLayerNack {
                    sender_ssrc: self.rtcp_ssrc,
                    media_ssrc: stream.ssrc,
                    nacks: nack_pairs_from_sequence_numbers(&missing),
                }));
            }
            if stream.pli_due(now) {
                packets.push(Box::new(PictureLossIndication {
                    sender_ssrc: self.rtcp_ssrc,
                    media_ssrc: stream.ssrc,
                }));
            }
        }
        if !packets.is_empty() {
            self.transport.send_rtcp(&packets);
        }
    }

    pub(super) fn send_transport_cc(&mut self) {
        while let Some(report) = self.twcc.report(self.rtcp_ssrc, self.twcc_media_ssrc) {
            self.feedback.transport_cc_sent += 1;
            self.transport.send_rtcp(&[Box::new(report)]);
        }
    }

    /// The periodic compound packet: SR or RR, more SRs, SDES.
    pub(super) fn send_reports(&mut self, now: Time) {
        let mut blocks: Vec<ReceptionReport> =
            self.streams.values_mut().filter_map(|stream| stream.reception_report(now)).collect();
        let mut packets: Vec<Box<dyn Packet>> = Vec::new();
        let mut chunks = Vec::new();
        for stream in self.tracks.iter().flat_map(|track| track.streams()) {
            if let Some(report) = stream.sender_report(now) {
                let reports = take_blocks(&mut blocks);
                packets.push(Box::new(SenderReport { reports, ..report }));
                chunks.push(cname(stream.ssrc, &self.cname));
            }
        }
        while !blocks.is_empty() || packets.is_empty() {
            let reports = take_blocks(&mut blocks);
            packets.push(Box::new(ReceiverReport {
                ssrc: self.rtcp_ssrc,
                reports,
                ..ReceiverReport::default()
            }));
            chunks.push(cname(self.rtcp_ssrc, &self.cname));
        }
        chunks.truncate(BLOCKS_MAX);
        packets.push(Box::new(SourceDescription { chunks }));
        self.transport.send_rtcp(&packets);
    }

    pub(super) fn receive_rtcp(&mut self, now: Time, packets: &[Box<dyn Packet>]) {
        for packet in packets {
            let packet = packet.as_any();
            if let Some(report) = packet.downcast_ref::<SenderReport>() {
                if let Some(stream) = self.streams.get_mut(&report.ssrc) {
                    stream.sender_report(now, report.ntp_time);
                }
                self.receive_blocks(now, &report.reports);
            } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
                self.receive_blocks(now, &report.reports);
            } else if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
                self.receive_nack(now, nack);
            } else if let Some(pli) = packet.downcast_ref::<PictureLossIndication>() {
                self.feedback.plis += 1;
                self.tracks.iter_mut().for_each(|track| track.keyframe_request(pli.media_ssrc));
            } else if let Some(fir) = packet.downcast_ref::<FullIntraRequest>() {
                self.feedback.firs += 1;
                for entry in &fir.fir {
                    self.tracks.iter_mut().for_each(|track| track.keyframe_request(entry.ssrc));
                }
            } else if let Some(report) = packet.downcast_ref::<TransportLayerCc>() {
                let (received, lost) = twcc::tally(report);
                self.feedback.transport_cc_received += 1;
                self.feedback.acknowledged += received;
                self.feedback.reported_lost += lost;
            } else if packet.downcast_ref::<ReceiverEstimatedMaximumBitrate>().is_some() {
                self.feedback.rembs += 1;
            }
        }
    }

    fn receive_nack(&mut self, now: Time, nack: &TransportLayerNack) {
        for seq in nack.nacks.iter().flat_map(|pair| pair.packet_list()) {
            self.feedback.nacked += 1;
            let repair = self
                .tracks
                .iter_mut()
                .find_map(|t| t.retransmit(now, nack.media_ssrc, seq, &mut self.twcc_out));
            if let Some(packet) = repair {
                self.transport.send_rtp(&packet);
            }
        }
    }

    /// RFC 3550 §6.4.1: the round trip from LSR and DLSR.
    fn receive_blocks(&mut self, now: Time, blocks: &[ReceptionReport]) {
        let ours = |ssrc| self.tracks.iter().flat_map(|t| t.streams()).any(|stream| stream.ssrc == ssrc);
        for block in blocks.iter().filter(|block| ours(block.ssrc)) {
            self.feedback.reports_received += 1;
            self.feedback.fraction_lost = block.fraction_lost;
            if block.last_sender_report != 0 {
                let middle = (ntp(now) >> 16) as u32;
                let rtt =
                    middle.wrapping_sub(block.last_sender_report).wrapping_sub(block.delay).cast_signed();
                // Rounding may put it a tick below zero.
                let rtt = u64::try_from(rtt).unwrap_or_default();
                self.feedback.rtt = Some(Duration::from_nanos(rtt * 1_000_000_000 / 65_536));
            }
        }
    }

    /// When a request may be due again: soon while something is missing, else never.
    pub(super) fn next_request(&self, now: Time) -> Option<Time> {
        let waiting = |stream: &ReceiveStream| stream.wants_nack() || stream.wants_keyframe();
        self.streams.values().any(waiting).then(|| now + REQUEST_INTERVAL)
    }
}

/// How often missing packets and keyframes are looked after.
const REQUEST_INTERVAL: Duration = Duration::from_millis(20);

fn take_blocks(blocks: &mut Vec<ReceptionReport>) -> Vec<ReceptionReport> {
    let rest = blocks.split_off(blocks.len().min(BLOCKS_MAX));
    std::mem::replace(blocks, rest)
}

fn cname(source: u32, cname: &str) -> SourceDescriptionChunk {
    let text = bytes::Bytes::copy_from_slice(cname.as_bytes());
    SourceDescriptionChunk {
        source,
        items: vec![SourceDescriptionItem { sdes_type: SdesType::SdesCname, text }],
    }
}
