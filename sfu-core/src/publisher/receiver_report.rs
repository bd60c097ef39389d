//! Reception statistics of one stream for the report blocks that its sender gets (RFC 3550 §6.4.1, A.3, A.8), and
//! the sender's clock as its sender reports show it.

use crate::unit::{ClockRate, ExtSeq, NtpTime, RtpTime, Ssrc, Time};
use crate::wire::rtcp::ReportBlock;

/// A sender report, as it arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SenderClock {
    pub ntp: NtpTime,
    pub rtp_time: RtpTime,
    pub arrived: Time,
}

#[derive(Debug)]
pub struct ReceiverReport {
    clock_rate: ClockRate,
    first: Option<ExtSeq>,
    highest: ExtSeq,
    received: u64,
    /// Expected and received at the previous report.
    prior: (u64, u64),
    /// Interarrival jitter in clock ticks, scaled by 16.
    jitter: u64,
    last: Option<(Time, RtpTime)>,
    sender: Option<SenderClock>,
}

impl ReceiverReport {
    pub fn new(clock_rate: ClockRate) -> ReceiverReport {
        ReceiverReport {
            clock_rate,
            first: None,
            highest: ExtSeq(0),
            received: 0,
            prior: (0, 0),
            jitter: 0,
            last: None,
            sender: None,
        }
    }

    /// An original packet (not RTX) has arrived.
    pub fn received(&mut self, now: Time, seq: ExtSeq, rtp_time: RtpTime) {
        self.first.get_or_insert(seq);
        self.received += 1;
        if seq < self.highest {
            return;
        }
        self.highest = seq;
        if let Some((at, earlier)) = self.last {
            let arrival = i64::from(self.clock_rate.ticks(now.since(at)));
            let transit = (arrival - i64::from(rtp_time.since(earlier))).unsigned_abs();
            self.jitter = self.jitter + transit - ((self.jitter + 8) >> 4);
        }
        self.last = Some((now, rtp_time));
    }

    pub fn sender_report(&mut self, now: Time, ntp: NtpTime, rtp_time: RtpTime) {
        self.sender = Some(SenderClock { ntp, rtp_time, arrived: now });
    }

    pub fn clock_rate(&self) -> ClockRate {
        self.clock_rate
    }

    /// The report block for `ssrc`; `None` before the first packet. Ends a reporting interval.
    pub fn block(&mut self, now: Time, ssrc: Ssrc) -> Option<ReportBlock> {
        let first = self.first?;
        let expected = self.highest.since(first).max(0) as u64 + 1;
        let (prior_expected, prior_received) = std::mem::replace(&mut self.prior, (expected, self.received));
        let interval = expected - prior_expected.min(expected);
        let lost_now = interval.saturating_sub(self.received - prior_received);
        let since_report =
            |sender: SenderClock| (now.since(sender.arrived).as_nanos() * 65_536 / 1_000_000_000) as u32;
        Some(ReportBlock {
            ssrc,
            fraction_lost: (lost_now << 8).checked_div(interval).unwrap_or(0).min(255) as u8,
            lost: (expected as i64 - self.received as i64).clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest_seq: self.highest.0 as u32,
            jitter: (self.jitter >> 4).min(u64::from(u32::MAX)) as u32,
            last_sr: self.sender.map_or(0, |sender| sender.ntp.middle()),
            delay_since_last_sr: self.sender.map_or(0, since_report),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_quarter_lost_is_reported_as_a_quarter() {
        let mut report = ReceiverReport::new(ClockRate::VIDEO);
        for seq in (0..100).filter(|seq| seq % 4 != 1) {
            report.received(Time::from_millis(seq * 10), ExtSeq(seq), RtpTime(seq as u32 * 900));
        }
        let block = report.block(Time::from_millis(1_000), Ssrc(7)).unwrap();
        assert_eq!((block.fraction_lost, block.lost, block.highest_seq), (64, 25, 99));
        assert_eq!(block.jitter, 0);
        let quiet = report.block(Time::from_millis(2_000), Ssrc(7)).unwrap();
        assert_eq!(quiet.fraction_lost, 0);
    }

    #[test]
    fn jitter_settles_at_the_mean_deviation() {
        let mut report = ReceiverReport::new(ClockRate::VIDEO);
        for seq in 0..1_000_u64 {
            let late = if seq % 2 == 0 { Duration::ZERO } else { Duration::from_millis(4) };
            report.received(Time::from_millis(seq * 20) + late, ExtSeq(seq), RtpTime(seq as u32 * 1_800));
        }
        let block = report.block(Time::from_millis(20_000), Ssrc(7)).unwrap();
        assert!((350..=370).contains(&block.jitter), "{} ticks for 4 ms", block.jitter);
    }

    #[test]
    fn the_senders_report_comes_back_with_its_delay() {
        let mut report = ReceiverReport::new(ClockRate::VIDEO);
        report.received(Time::from_millis(0), ExtSeq(1), RtpTime(0));
        report.sender_report(Time::from_millis(100), NtpTime(0x1234_5678_9abc_def0), RtpTime(0));
        let block = report.block(Time::from_millis(600), Ssrc(7)).unwrap();
        assert_eq!((block.last_sr, block.delay_since_last_sr), (0x5678_9abc, 32_768));
    }
}
