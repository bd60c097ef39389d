//! Remembers when each transport-wide numbered packet arrived, until the next feedback reports it
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3). Doesn't write RTCP.

use std::time::Duration;

use crate::unit::{ExtSeq, SeqNo, SeqUnwrapper, Ssrc, Time, TwccSeq};

/// How often feedback is sent: browsers' own estimators expect 50–100 ms.
pub const FEEDBACK_INTERVAL: Duration = Duration::from_millis(50);
/// Feedback is sent early once so much is pending: 100 ms of 80 Mbit/s.
const PENDING_MAX: usize = 1_024;

/// One arrival.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    pub seq: ExtSeq,
    pub at: Time,
}

#[derive(Debug, Default)]
pub struct TwccRecorder {
    unwrapper: SeqUnwrapper,
    pending: Vec<Arrival>,
    due: Option<Time>,
    media: Option<Ssrc>,
}

impl TwccRecorder {
    /// A packet of the stream `media` has arrived.
    pub fn record(&mut self, now: Time, media: Ssrc, seq: TwccSeq) {
        self.media = Some(media);
        if self.pending.len() == PENDING_MAX {
            return;
        }
        let seq = self.unwrapper.unwrap(SeqNo(seq.0));
        self.pending.push(Arrival { seq, at: now });
        if self.pending.len() == PENDING_MAX {
            self.due = Some(now);
        }
        self.due.get_or_insert(now + FEEDBACK_INTERVAL);
    }

    /// A stream of the sender, to be named in the feedback: libwebrtc ignores feedback about an SSRC that isn't its own.
    pub fn media(&self) -> Ssrc {
        self.media.unwrap_or(Ssrc(0))
    }

    pub fn next_timeout(&self) -> Option<Time> {
        self.due
    }

    /// What has arrived since the last call, in order of number and without duplicates, if feedback is due.
    pub fn take_due(&mut self, now: Time, arrivals: &mut Vec<Arrival>) -> bool {
        if self.due.is_none_or(|due| now < due) {
            return false;
        }
        self.due = None;
        arrivals.clear();
        arrivals.append(&mut self.pending);
        arrivals.sort_by_key(|arrival| (arrival.seq, arrival.at));
        arrivals.dedup_by_key(|arrival| arrival.seq);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_ordered_and_reported_once() {
        let mut recorder = TwccRecorder::default();
        let ms = Time::from_millis;
        for (at, seq) in [(0, 65_535), (1, 1), (2, 0), (3, 1)] {
            recorder.record(ms(at), Ssrc(7), TwccSeq(seq));
        }
        assert_eq!(recorder.media(), Ssrc(7));
        let mut arrivals = Vec::new();
        assert!(!recorder.take_due(ms(49), &mut arrivals));
        assert_eq!(recorder.next_timeout(), Some(ms(50)));
        assert!(recorder.take_due(ms(50), &mut arrivals));
        let seen: Vec<_> = arrivals.iter().map(|arrival| (arrival.seq.0, arrival.at)).collect();
        assert_eq!(seen, [(65_535, ms(0)), (65_536, ms(2)), (65_537, ms(1))]);
        assert_eq!(recorder.next_timeout(), None);
    }
}
