//! Sender reports for the slots (RFC 3550 §6.4.1): our wall clock against each slot's media clock, which follows
//! its source's, so that a participant's sound and picture stay together.

use std::time::Duration;

use crate::publisher::Tracks;
use crate::subscriber::Subscriber;
use crate::subscriber::slot::Slot;
use crate::unit::{NtpTime, Time};
use crate::wire::rtcp::{SenderReport, write};

/// As browsers do.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

impl Subscriber {
    /// Hands the reports that are due to `emit`, as few compounds as possible.
    pub fn poll_reports(&mut self, now: Time, ntp: NtpTime, tracks: &Tracks, emit: &mut impl FnMut(Vec<u8>)) {
        if now < self.report_due {
            return;
        }
        self.report_due = now + REPORT_INTERVAL;
        let mut compound = Vec::new();
        for slot in self.slots.iter().filter(|slot| slot.packets_sent > 0) {
            let Some(report) = report(slot, now, ntp, tracks) else { continue };
            let before = compound.len();
            if append(&mut compound, &report, slot).is_none() {
                compound.truncate(before);
                emit(std::mem::take(&mut compound));
                let _ = append(&mut compound, &report, slot);
            }
        }
        if !compound.is_empty() {
            emit(compound);
        }
    }

    /// When the next report is due; `None` while nothing was sent.
    pub fn next_timeout(&self) -> Option<Time> {
        self.slots.iter().any(|slot| slot.packets_sent > 0).then_some(self.report_due)
    }
}

fn append(compound: &mut Vec<u8>, report: &SenderReport, slot: &Slot) -> Option<()> {
    write::sender_report(compound, report, &[])?;
    write::cname(compound, slot.spec.ssrc, &slot.spec.cname)
}

fn report(slot: &Slot, now: Time, ntp: NtpTime, tracks: &Tracks) -> Option<SenderReport> {
    let source = slot.rewriter.current()?.source;
    let stream = tracks.get(source.track.0).and_then(|track| track.stream(source));
    Some(SenderReport {
        ssrc: slot.spec.ssrc,
        ntp,
        rtp_time: slot.rtp_time_at(now, stream)?,
        packets: slot.packets_sent,
        octets: slot.octets_sent,
    })
}
