//! Which source packet went out under which number, a few bytes each, so that a NACK can be answered from the
//! shared packet store. Knows no payload.

use crate::packet::{OutFormat, SegmentId};
use crate::unit::{ExtSeq, Time};

/// One packet that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub seq: ExtSeq,
    /// The source's number.
    pub source_seq: ExtSeq,
    pub segment: SegmentId,
    pub format: OutFormat,
    pub resends: u8,
    /// When it was last sent, first or again.
    pub at: Time,
}

#[derive(Debug, Default)]
pub struct SentHistory {
    /// Ring by sequence number; allocated with the first packet.
    ring: Vec<Option<Sent>>,
}

impl SentHistory {
    /// Half a second of 8 Mbit/s, two seconds of a camera: longer than a repair is worth.
    const PACKETS: usize = 512;

    pub fn record(&mut self, sent: Sent) {
        if self.ring.is_empty() {
            self.ring.resize(SentHistory::PACKETS, None);
        }
        if let Some(place) = self.ring.get_mut(sent.seq.0 as usize % SentHistory::PACKETS) {
            *place = Some(sent);
        }
    }

    /// The packet that went out as `seq`, if it is remembered.
    pub fn get_mut(&mut self, seq: ExtSeq) -> Option<&mut Sent> {
        self.ring.get_mut(seq.0 as usize % SentHistory::PACKETS)?.as_mut().filter(|sent| sent.seq == seq)
    }
}
