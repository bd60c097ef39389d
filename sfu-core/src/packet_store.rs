//! The plaintext of one layer's recent packets: written once, referred to by every slot. A ring of entries over
//! a ring of bytes, both allocated with the layer; the oldest packets are overwritten. Doesn't know who reads.

use crate::packet::{Dependency, Packet};
use crate::unit::{ExtSeq, Kind};

#[derive(Debug)]
pub struct PacketStore {
    entries: Box<[Option<Entry>]>,
    bytes: Box<[u8]>,
    /// Bytes ever written, counting those skipped at the ring's end; the write position modulo the ring.
    written: u64,
    highest: Option<ExtSeq>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    packet: Packet,
    /// Value of `written` where the payload begins.
    start: u64,
    len: u16,
    /// Length of the dependency descriptor, which lies before the payload.
    descriptor_len: u8,
}

impl PacketStore {
    /// One second of 8 Mbit/s, and more than three of a camera's highest layer.
    const VIDEO_BYTES: usize = 1 << 20;
    /// 1,024 packets: as above at 1,000 bytes a packet.
    const VIDEO_ENTRIES: usize = 1 << 10;
    /// Audio is not repaired by RTX: this covers reordering and a pacer's queue.
    const AUDIO_BYTES: usize = 1 << 15;
    const AUDIO_ENTRIES: usize = 1 << 7;

    pub fn new(kind: Kind) -> PacketStore {
        let (bytes, entries) = match kind {
            Kind::Audio => (PacketStore::AUDIO_BYTES, PacketStore::AUDIO_ENTRIES),
            Kind::Video => (PacketStore::VIDEO_BYTES, PacketStore::VIDEO_ENTRIES),
        };
        PacketStore {
            entries: vec![None; entries].into_boxed_slice(),
            bytes: vec![0; bytes].into_boxed_slice(),
            written: 0,
            highest: None,
        }
    }

    /// Whether a packet with this number would be new: neither here already nor older than the ring.
    pub fn accepts(&self, seq: ExtSeq) -> Result<(), Refused> {
        if let Some(highest) = self.highest
            && highest.since(seq) >= self.entries.len() as i64
        {
            return Err(Refused::TooOld);
        }
        match self.entries.get(self.slot(seq)) {
            Some(Some(entry)) if entry.packet.seq == seq => Err(Refused::Duplicate),
            Some(Some(entry)) if entry.packet.seq > seq => Err(Refused::TooOld),
            _ => Ok(()),
        }
    }

    /// Remembers an accepted packet with the bytes of its dependency descriptor; without those when they are too long.
    pub fn insert(&mut self, packet: Packet, descriptor: &[u8], payload: &[u8]) {
        let capacity = self.bytes.len() as u64;
        let descriptor_len = u8::try_from(descriptor.len()).unwrap_or(0);
        let descriptor = descriptor.get(..usize::from(descriptor_len)).unwrap_or_default();
        let len = descriptor.len() as u64 + payload.len() as u64;
        if len > capacity / 2 || len > u64::from(u16::MAX) {
            return;
        }
        let at = self.written % capacity;
        if at + len > capacity {
            self.written += capacity - at;
        }
        let start = self.written;
        let from = (start % capacity) as usize;
        let room = self.bytes.get_mut(from..from + len as usize).unwrap_or_default();
        if let Some((before, rest)) = room.split_at_mut_checked(descriptor.len())
            && rest.len() == payload.len()
        {
            before.copy_from_slice(descriptor);
            rest.copy_from_slice(payload);
        }
        self.written += len;
        let slot = self.slot(packet.seq);
        self.highest = self.highest.max(Some(packet.seq));
        if let Some(entry) = self.entries.get_mut(slot) {
            *entry = Some(Entry { packet, start, len: len as u16, descriptor_len });
        }
    }

    /// The packet and its payload, while they are here.
    pub fn get(&self, seq: ExtSeq) -> Option<(&Packet, &[u8])> {
        let (entry, bytes) = self.entry(seq)?;
        Some((&entry.packet, bytes.get(usize::from(entry.descriptor_len)..)?))
    }

    /// The bytes of the packet's dependency descriptor, empty without one.
    pub fn dependency_descriptor(&self, seq: ExtSeq) -> Option<&[u8]> {
        let (entry, bytes) = self.entry(seq)?;
        bytes.get(..usize::from(entry.descriptor_len))
    }

    /// Says of a packet what couldn't be known when it came.
    pub fn describe(&mut self, seq: ExtSeq, dependency: Dependency) {
        let slot = self.slot(seq);
        if let Some(Some(entry)) = self.entries.get_mut(slot)
            && entry.packet.seq == seq
        {
            entry.packet.dependency = Some(dependency);
            entry.packet.is_undescribed = false;
        }
    }

    fn entry(&self, seq: ExtSeq) -> Option<(&Entry, &[u8])> {
        let entry = self.entries.get(self.slot(seq))?.as_ref()?;
        let capacity = self.bytes.len() as u64;
        if entry.packet.seq != seq || self.written - entry.start > capacity {
            return None;
        }
        let from = (entry.start % capacity) as usize;
        Some((entry, self.bytes.get(from..from + usize::from(entry.len))?))
    }

    fn slot(&self, seq: ExtSeq) -> usize {
        (seq.0 as usize) & (self.entries.len() - 1)
    }
}

/// Why [`PacketStore::accepts`] refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    Duplicate,
    TooOld,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(kind: Kind, seqs: impl IntoIterator<Item = u64>, len: usize) -> PacketStore {
        let mut store = PacketStore::new(kind);
        for seq in seqs {
            store.insert(Packet::for_test(ExtSeq(seq)), &[], &vec![seq as u8; len]);
        }
        store
    }

    #[test]
    fn duplicate_and_too_old_are_told_apart() {
        let store = store(Kind::Audio, 1_000..1_200, 50);
        assert_eq!(store.accepts(ExtSeq(1_150)), Err(Refused::Duplicate));
        assert_eq!(store.accepts(ExtSeq(1_000)), Err(Refused::TooOld));
        assert_eq!(store.accepts(ExtSeq(1_200)), Ok(()));
    }

    #[test]
    fn a_gap_can_be_filled_later() {
        let mut store = store(Kind::Audio, [10, 12], 50);
        assert_eq!(store.accepts(ExtSeq(11)), Ok(()));
        store.insert(Packet::for_test(ExtSeq(11)), &[], &[11; 50]);
        assert_eq!(store.get(ExtSeq(11)).unwrap().1, &[11; 50]);
    }

    #[test]
    fn overwritten_bytes_are_never_handed_out() {
        let store = store(Kind::Audio, 0..120, 1_000);
        for seq in 0..120 {
            if let Some((packet, payload)) = store.get(ExtSeq(seq)) {
                assert_eq!(packet.seq, ExtSeq(seq));
                assert!(payload.iter().all(|byte| *byte == seq as u8), "packet {seq}");
            }
        }
        assert!(store.get(ExtSeq(119)).is_some());
        assert!(store.get(ExtSeq(0)).is_none());
    }
}
