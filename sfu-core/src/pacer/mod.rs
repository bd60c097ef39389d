//! When what a subscriber's slots have chosen is released. Pass-through: everything at the next release, in order.
//! Holds references, not packets.

mod schedule;

use std::collections::VecDeque;

pub use self::schedule::{Schedule, TICK};

use crate::packet::{OutFormat, SegmentId, StreamRef};
use crate::unit::{ExtSeq, SlotId};

/// References that may wait for one subscriber: more than a second of everything that 25 cameras send.
const QUEUE_MAX: usize = 8_192;

/// A packet on its way out: where it lies and which numbers it has got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Paced {
    pub slot: SlotId,
    pub source: StreamRef,
    pub source_seq: ExtSeq,
    /// The slot's sequence number of the original.
    pub seq: ExtSeq,
    pub segment: SegmentId,
    /// As it was when the packet was chosen: the slot may show another source by now.
    pub format: OutFormat,
    /// A repair: goes out in the RTX stream, with a number of its own.
    pub rtx: bool,
}

#[derive(Debug, Default)]
pub struct Pacer {
    queue: VecDeque<Paced>,
}

impl Pacer {
    /// Queues a reference; false when the queue is full.
    pub fn push(&mut self, paced: Paced) -> bool {
        if self.queue.len() == QUEUE_MAX {
            return false;
        }
        self.queue.push_back(paced);
        true
    }

    /// The next reference to release; it stays until [`Pacer::released`].
    pub fn due(&self) -> Option<&Paced> {
        self.queue.front()
    }

    pub fn released(&mut self) {
        self.queue.pop_front();
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
