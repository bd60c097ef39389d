//! One life of one layer: the packets of one SSRC, from its first to the SSRC that replaces it. Owns the store,
//! the gaps and the statistics; doesn't know which track it belongs to.

use crate::drop::DropReason;
use crate::packet::{Packet, StreamId};
use crate::packet_store::{PacketStore, Refused};
use crate::publisher::nack_generator::{Gap, NackGenerator};
use crate::publisher::receiver_report::ReceiverReport;
use crate::unit::{ClockRate, ExtSeq, Kind, RtpTime, SeqNo, Ssrc, Time};

#[derive(Debug)]
pub struct RecvStream {
    pub id: StreamId,
    pub ssrc: Ssrc,
    pub store: PacketStore,
    pub nack: NackGenerator,
    pub report: ReceiverReport,
    highest: Option<ExtSeq>,
    last_packet: Time,
    /// The newest packet that was withheld because its track was muted.
    withheld: Option<ExtSeq>,
    newest_frame: Option<RtpTime>,
    /// When the last frames began to arrive, oldest first.
    frames: [Time; RecvStream::FRAMES],
    /// A media time and the local time at which it was captured, from the latest sender report.
    capture: Option<(RtpTime, Time)>,
}

impl RecvStream {
    /// Frames whose arrival is remembered.
    const FRAMES: usize = 3;

    pub fn new(id: StreamId, ssrc: Ssrc, kind: Kind, clock_rate: ClockRate, now: Time) -> RecvStream {
        RecvStream {
            id,
            ssrc,
            store: PacketStore::new(kind),
            nack: NackGenerator::default(),
            report: ReceiverReport::new(clock_rate),
            highest: None,
            last_packet: now,
            withheld: None,
            newest_frame: None,
            frames: [now; RecvStream::FRAMES],
            capture: None,
        }
    }

    /// An original packet: counts it, whatever becomes of it.
    pub fn arrived(&mut self, now: Time, seq: ExtSeq, rtp_time: RtpTime, repairable: bool) -> Gap {
        self.last_packet = now;
        if self.newest_frame.is_none_or(|newest| rtp_time.since(newest) > 0) {
            self.newest_frame = Some(rtp_time);
            let [_, second, third] = self.frames;
            self.frames = [second, third, now];
        }
        self.highest = self.highest.max(Some(seq));
        self.report.received(now, seq, rtp_time);
        if repairable { self.nack.received(now, seq) } else { Gap::None }
    }

    /// A repair: the original packet inside RTX.
    pub fn repaired(&mut self, now: Time, seq: ExtSeq) {
        self.nack.repaired(now, seq);
    }

    /// A packet isn't kept because the track is muted.
    pub fn withhold(&mut self, seq: ExtSeq) {
        self.withheld = self.withheld.max(Some(seq));
    }

    /// Whether one of the `count` packets before `seq` was withheld.
    pub fn withheld_before(&self, seq: ExtSeq, count: usize) -> bool {
        self.withheld.is_some_and(|withheld| seq.since(withheld) <= count as i64)
    }

    /// The highest number that has arrived.
    pub fn highest(&self) -> Option<ExtSeq> {
        self.highest
    }

    /// Which number the original sequence number of an RTX packet means; `None` before the first packet.
    pub fn original(&self, osn: SeqNo) -> Option<ExtSeq> {
        self.highest.map(|highest| highest.nearest(osn))
    }

    /// Keeps a new packet with its payload.
    pub fn keep(&mut self, packet: Packet, payload: &[u8]) -> Result<(), DropReason> {
        self.store.accepts(packet.seq).map_err(|refused| match refused {
            Refused::Duplicate => DropReason::Duplicate,
            Refused::TooOld => DropReason::TooOld,
        })?;
        self.store.insert(packet, payload);
        Ok(())
    }

    pub fn last_packet(&self) -> Time {
        self.last_packet
    }

    /// Whether three frames have begun to arrive since `then`.
    pub fn has_gone_on_since(&self, then: Time) -> bool {
        self.frames.first().is_some_and(|oldest| *oldest > then)
    }

    /// `rtp_time` was captured at the local time `at`.
    pub fn set_capture(&mut self, rtp_time: RtpTime, at: Time) {
        self.capture = Some((rtp_time, at));
    }

    /// When `rtp_time` was captured, on the local clock; `None` before the first sender report.
    pub fn captured_at(&self, rtp_time: RtpTime) -> Option<Time> {
        let (reference, at) = self.capture?;
        let ticks = rtp_time.since(reference);
        let span = self.report.clock_rate().duration(ticks.unsigned_abs());
        Some(if ticks < 0 { at - span } else { at + span })
    }

    /// The media time that is captured at the local time `at`.
    pub fn rtp_time_at(&self, at: Time) -> Option<RtpTime> {
        let (reference, captured) = self.capture?;
        let rate = self.report.clock_rate();
        Some(if at >= captured {
            reference.plus(rate.ticks(at.since(captured)))
        } else {
            reference.plus(rate.ticks(captured.since(at)).wrapping_neg())
        })
    }
}
