//! What leaves the engine: sealed datagrams, lying one behind the other in runs that a single send with
//! segmentation offload can carry. Knows addresses, not sockets.

use std::net::SocketAddr;

/// The two ends of a flow. Addresses are normalised: IPv4 is never v4-mapped IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Path {
    /// Our address, as the peer sent to it.
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

/// Consecutive datagrams of one path. All have `segment` bytes; the last one may be shorter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    pub path: Path,
    /// Offset of the first byte in the batch.
    pub start: usize,
    /// Bytes of the whole run.
    pub len: usize,
    /// Bytes of each datagram but the last.
    pub segment: usize,
}

impl Run {
    /// How many datagrams the run holds.
    pub fn datagrams(&self) -> usize {
        self.len.div_ceil(self.segment.max(1))
    }
}

/// Contiguous sealed datagrams, written in place by the engine, sent and cleared by the worker.
#[derive(Debug)]
pub struct SendBatch {
    bytes: Vec<u8>,
    used: usize,
    runs: Vec<Run>,
    runs_max: usize,
    /// The last run has got its shorter tail or must not grow for another reason.
    closed: bool,
}

impl SendBatch {
    /// Largest datagram that the engine writes: fits a 1,500-byte MTU with IPv6 and UDP headers.
    pub const DATAGRAM_MAX: usize = 1_452;
    /// Most segments of one UDP_SEGMENT send (`UDP_MAX_SEGMENTS` in Linux up to 6.x).
    pub const RUN_SEGMENTS_MAX: usize = 64;
    /// Most bytes of one UDP_SEGMENT send: the IP length field less headers, rounded down.
    pub const RUN_BYTES_MAX: usize = 64_000;

    /// A batch of at most this many bytes and runs; allocated once.
    pub fn new(capacity_bytes: usize, capacity_runs: usize) -> SendBatch {
        SendBatch {
            bytes: vec![0; capacity_bytes.max(SendBatch::DATAGRAM_MAX)],
            used: 0,
            runs: Vec::with_capacity(capacity_runs.max(1)),
            runs_max: capacity_runs.max(1),
            closed: true,
        }
    }

    /// Room for one more datagram, or `None` when the batch is full. Nothing is taken until
    /// [`SendBatch::commit`].
    pub fn reserve(&mut self) -> Option<&mut [u8]> {
        if self.runs.len() == self.runs_max {
            return None;
        }
        self.bytes.get_mut(self.used..)?.get_mut(..SendBatch::DATAGRAM_MAX)
    }

    /// Whether [`SendBatch::reserve`] would succeed.
    pub fn has_room(&self) -> bool {
        self.runs.len() < self.runs_max && self.used + SendBatch::DATAGRAM_MAX <= self.bytes.len()
    }

    /// Takes the first `len` bytes of the reserved room as a datagram for `path`.
    pub fn commit(&mut self, path: Path, len: usize) {
        debug_assert!(len > 0 && len <= SendBatch::DATAGRAM_MAX);
        let start = self.used;
        self.used += len;
        if let Some(run) = self.runs.last_mut()
            && !self.closed
            && run.path == path
            && len <= run.segment
            && run.len + len <= SendBatch::RUN_BYTES_MAX
        {
            run.len += len;
            self.closed = len < run.segment || run.datagrams() == SendBatch::RUN_SEGMENTS_MAX;
            return;
        }
        self.runs.push(Run { path, start, len, segment: len });
        self.closed = false;
    }

    /// Copies a ready datagram into the batch; false when it is full.
    pub fn push(&mut self, path: Path, datagram: &[u8]) -> bool {
        let Some(room) = self.reserve().and_then(|room| room.get_mut(..datagram.len())) else {
            return false;
        };
        room.copy_from_slice(datagram);
        self.commit(path, datagram.len());
        true
    }

    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The bytes of one run of this batch.
    pub fn bytes(&self, run: &Run) -> &[u8] {
        self.bytes.get(run.start..run.start + run.len).unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub fn clear(&mut self) {
        self.used = 0;
        self.runs.clear();
        self.closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(port: u16) -> Path {
        Path { local: ([127, 0, 0, 1], 7882).into(), remote: ([127, 0, 0, 1], port).into() }
    }

    #[test]
    fn equal_sizes_form_a_run_that_a_shorter_datagram_ends() {
        let mut batch = SendBatch::new(100_000, 16);
        for len in [1_000, 1_000, 400, 1_000, 1_200] {
            assert!(batch.push(path(1), &vec![0; len]));
        }
        assert!(batch.push(path(2), &[0; 1_200]));
        let shape: Vec<_> = batch.runs().iter().map(|run| (run.datagrams(), run.len)).collect();
        assert_eq!(shape, [(3, 2_400), (1, 1_000), (1, 1_200), (1, 1_200)]);
    }

    #[test]
    fn a_run_never_exceeds_what_one_send_may_carry() {
        let mut batch = SendBatch::new(400_000, 16);
        for _ in 0..130 {
            assert!(batch.push(path(1), &[0; 1_200]));
        }
        assert!(batch.runs().iter().all(|run| run.len <= SendBatch::RUN_BYTES_MAX));
        assert_eq!(batch.runs().iter().map(Run::datagrams).sum::<usize>(), 130);
        batch.clear();
        for _ in 0..130 {
            assert!(batch.push(path(1), &[0; 100]));
        }
        assert!(batch.runs().iter().all(|run| run.datagrams() <= SendBatch::RUN_SEGMENTS_MAX));
    }

    #[test]
    fn a_full_batch_refuses() {
        let mut batch = SendBatch::new(SendBatch::DATAGRAM_MAX, 4);
        assert!(batch.push(path(1), &[0; 100]));
        assert!(!batch.push(path(1), &[0; 100]));
        batch.clear();
        assert!(batch.push(path(1), &[0; 100]));
    }
}
