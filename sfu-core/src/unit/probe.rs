//! Probe clusters: short trains of packets that leave at a rate of their own, to see whether the path carries it.

use crate::unit::{Bitrate, DataSize};

/// Names one of the last clusters; numbers are used again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbeId(u8);

impl ProbeId {
    /// Clusters that can be told apart.
    pub const COUNT: u8 = 7;
    pub const FIRST: ProbeId = ProbeId(1);

    /// 1–7; `None` for 0.
    pub fn from_number(number: u8) -> Option<ProbeId> {
        (1..=ProbeId::COUNT).contains(&number).then_some(ProbeId(number))
    }

    pub fn number(self) -> u8 {
        self.0
    }

    pub fn next(self) -> ProbeId {
        ProbeId(self.0 % ProbeId::COUNT + 1)
    }
}

/// A cluster to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbeCluster {
    pub id: ProbeId,
    pub rate: Bitrate,
    /// It is over once so much has left, in so many packets.
    pub size: DataSize,
    pub packets: u32,
}
