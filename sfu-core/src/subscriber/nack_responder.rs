//! Decides which NACKs are answered: each packet a few times, not faster than a round trip, and all repairs
//! together within a share of the media. A subscriber that lies about loss gets no amplification.

use std::time::Duration;

use crate::subscriber::sent_history::Sent;
use crate::unit::Time;

/// One packet is repeated at most this often.
const RESENDS_MAX: u8 = 3;
/// Before a round trip has been measured.
const SPACING_DEFAULT: Duration = Duration::from_millis(50);
const SPACING_MAX: Duration = Duration::from_millis(100);
const SPACING_MIN: Duration = Duration::from_millis(10);
/// Repairs that may go out at once on top of the share: 50 full packets.
const BURST_BYTES: f32 = 60_000.0;

#[derive(Debug)]
pub struct NackResponder {
    /// Bytes that may be repeated now.
    budget: f32,
    /// Budget earned per media byte: twice the reported loss and a tenth, at most six tenths.
    share: f32,
    spacing: Duration,
}

impl Default for NackResponder {
    fn default() -> NackResponder {
        NackResponder { budget: BURST_BYTES, share: 0.1, spacing: SPACING_DEFAULT }
    }
}

impl NackResponder {
    /// Media of `bytes` went out.
    pub fn media_sent(&mut self, bytes: usize) {
        self.budget = (self.budget + bytes as f32 * self.share).min(BURST_BYTES);
    }

    /// The subscriber reports this share of loss, in 1/256 (RFC 3550 §6.4.1).
    pub fn loss_reported(&mut self, fraction_lost: u8) {
        self.share = (f32::from(fraction_lost) / 256.0 * 2.0 + 0.1).min(0.6);
    }

    pub fn rtt_measured(&mut self, rtt: Duration) {
        self.spacing = (rtt * 2).clamp(SPACING_MIN, SPACING_MAX);
    }

    /// Whether the packet may be repeated now; takes it from the budget if so.
    pub fn admit(&mut self, now: Time, sent: &mut Sent, bytes: usize) -> bool {
        let bytes = bytes as f32;
        if sent.resends >= RESENDS_MAX || now.since(sent.at) < self.spacing_after(sent) || self.budget < bytes
        {
            return false;
        }
        self.budget -= bytes;
        sent.resends += 1;
        sent.at = now;
        true
    }

    /// The first repeat needn't wait: the NACK itself took a round trip.
    fn spacing_after(&self, sent: &Sent) -> Duration {
        if sent.resends == 0 { Duration::ZERO } else { self.spacing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{OutFormat, PayloadForm, SegmentId};
    use crate::unit::{ExtSeq, Pt};

    fn sent() -> Sent {
        let format = OutFormat { pt: Pt(96), rtx: Some(Pt(97)), form: PayloadForm::AsIs };
        let (seq, source_seq) = (ExtSeq(1), ExtSeq(1));
        Sent { seq, source_seq, segment: SegmentId(0), format, resends: 0, at: Time::ZERO }
    }

    #[test]
    fn one_packet_is_repeated_three_times_and_not_faster_than_the_spacing() {
        let mut responder = NackResponder::default();
        let mut sent = sent();
        let answered: Vec<u64> =
            (0..1_000).filter(|ms| responder.admit(Time::from_millis(*ms), &mut sent, 1_000)).collect();
        assert_eq!(answered, [0, 50, 100]);
    }

    #[test]
    fn ten_thousand_nacks_without_reported_loss_stay_within_an_eighth() {
        let mut responder = NackResponder::default();
        let (mut media, mut repeated) = (0, 0);
        for ms in 0..10_000 {
            responder.media_sent(1_000);
            media += 1_000;
            if responder.admit(Time::from_millis(ms), &mut sent(), 1_000) {
                repeated += 1_000;
            }
        }
        assert!(repeated - 60_000 <= media / 8, "{repeated} of {media}");
    }

    #[test]
    fn reported_loss_raises_the_share_to_six_tenths_at_most() {
        let mut responder = NackResponder::default();
        responder.loss_reported(51);
        assert!((responder.share - 0.498).abs() < 0.01);
        responder.loss_reported(255);
        assert!((responder.share - 0.6).abs() < f32::EPSILON);
    }
}
