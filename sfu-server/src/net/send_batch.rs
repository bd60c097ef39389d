//! Sending runs on Linux: up to 64 messages per sendmmsg, each split by the kernel (UDP_SEGMENT). Knows how a send can
//! fail and what to do then; nothing of what is sent.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::RawFd;
use std::time::Duration;

use sfu_core::Path;
use socket2::SockAddr;

use super::control_message::{self, ControlBuffer};
use super::{IoCounters, SendRun, udp};
use crate::clock::Clock;

/// Messages of one sendmmsg; beyond this the call's own cost no longer matters.
const SEND_MESSAGES: usize = 64;

/// How long a full send buffer is waited for. Longer would stall every other participant of the worker.
const FULL_BUFFER_PATIENCE: Duration = Duration::from_millis(1);

/// Routes remembered as unable to segment. Normally none; all are alike where an interface can't, so few suffice.
const UNSEGMENTED_ROUTES_MAX: usize = 256;

/// The buffers of sendmmsg and what is known of the routes. Made on the thread that uses it.
pub(super) struct BatchSender {
    is_ipv6: bool,
    /// Whether the source address of each message is chosen, because the socket is bound to all of them.
    sets_source: bool,
    messages: Vec<libc::mmsghdr>,
    names: Vec<SockAddr>,
    vectors: Vec<libc::iovec>,
    controls: Vec<ControlBuffer>,
    /// (local, remote) addresses on which a segmented send has failed and an unsegmented one has not, oldest first.
    unsegmented: VecDeque<(IpAddr, IpAddr)>,
}

/// What became of the first message of a call.
enum Outcome {
    Sent(usize),
    Full,
    Failed(io::Error),
}

impl BatchSender {
    pub(super) fn new(local: SocketAddr) -> BatchSender {
        // SAFETY: these are C structs of integers and pointers; all zeroes is a valid value of each.
        let (message, vector): (libc::mmsghdr, libc::iovec) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        BatchSender {
            is_ipv6: local.is_ipv6(),
            sets_source: local.ip().is_unspecified(),
            messages: vec![message; SEND_MESSAGES],
            names: vec![SockAddr::from(local); SEND_MESSAGES],
            vectors: vec![vector; SEND_MESSAGES],
            controls: vec![ControlBuffer::EMPTY; SEND_MESSAGES],
            unsegmented: VecDeque::new(),
        }
    }

    pub(super) fn send<'a>(
        &mut self,
        fd: RawFd,
        clock: &Clock,
        runs: impl Iterator<Item = SendRun<'a>>,
        counters: &mut IoCounters,
    ) {
        let mut queue: Vec<SendRun<'a>> = Vec::with_capacity(SEND_MESSAGES);
        for run in runs.filter(|run| !run.bytes.is_empty()) {
            if run.datagram_count() > 1 && self.is_unsegmented(&run.path) {
                for bytes in run.datagrams() {
                    self.push(
                        fd,
                        clock,
                        SendRun { bytes, segment: bytes.len(), ..run },
                        &mut queue,
                        counters,
                    );
                }
            } else {
                self.push(fd, clock, run, &mut queue, counters);
            }
        }
        self.flush(fd, clock, &mut queue, counters);
    }

    fn push<'a>(
        &mut self,
        fd: RawFd,
        clock: &Clock,
        run: SendRun<'a>,
        queue: &mut Vec<SendRun<'a>>,
        counters: &mut IoCounters,
    ) {
        if queue.len() == SEND_MESSAGES {
            self.flush(fd, clock, queue, counters);
        }
        queue.push(run);
    }

    /// Sends what is queued. sendmmsg stops at the first message that fails, so that one is dealt with and the call is
    /// made again for the rest.
    fn flush(&mut self, fd: RawFd, clock: &Clock, queue: &mut Vec<SendRun<'_>>, counters: &mut IoCounters) {
        for (index, run) in queue.iter().enumerate() {
            self.prepare(index, run);
        }
        let mut patience_ends = None;
        let mut next = 0;
        while let Some(run) = queue.get(next) {
            match self.send_messages(fd, next..queue.len(), counters) {
                Outcome::Sent(count) => {
                    for sent in queue.iter().skip(next).take(count) {
                        counters.datagrams_sent += sent.datagram_count();
                        counters.bytes_sent += sent.bytes.len() as u64;
                    }
                    next += count.max(1);
                }
                Outcome::Full => {
                    let now = clock.now();
                    let ends = *patience_ends.get_or_insert(now + FULL_BUFFER_PATIENCE);
                    if now >= ends || !udp::wait_writable(fd, ends.since(now)) {
                        counters.send_dropped +=
                            queue.iter().skip(next).map(SendRun::datagram_count).sum::<u64>();
                        break;
                    }
                }
                Outcome::Failed(error) if run.datagram_count() > 1 && may_be_segmentation(&error) => {
                    self.send_unsegmented(fd, next, run, counters);
                    next += 1;
                }
                Outcome::Failed(_) => {
                    counters.send_errors += run.datagram_count();
                    next += 1;
                }
            }
        }
        queue.clear();
    }

    /// Sends the run again, one datagram a call, through the buffers at `index`. When that works, segmentation was what
    /// the route could not do.
    fn send_unsegmented(&mut self, fd: RawFd, index: usize, run: &SendRun<'_>, counters: &mut IoCounters) {
        counters.unsegmented_runs += 1;
        let mut any_sent = false;
        for bytes in run.datagrams() {
            self.prepare(index, &SendRun { bytes, segment: bytes.len(), ..*run });
            match self.send_messages(fd, index..index + 1, counters) {
                Outcome::Sent(_) => {
                    any_sent = true;
                    counters.datagrams_sent += 1;
                    counters.bytes_sent += bytes.len() as u64;
                }
                Outcome::Full => counters.send_dropped += 1,
                Outcome::Failed(_) => counters.send_errors += 1,
            }
        }
        if any_sent && !self.is_unsegmented(&run.path) {
            if self.unsegmented.len() == UNSEGMENTED_ROUTES_MAX {
                self.unsegmented.pop_front();
            }
            self.unsegmented.push_back((run.path.local.ip(), run.path.remote.ip()));
        }
    }

    /// Points the buffers at `index` to `run`.
    fn prepare(&mut self, index: usize, run: &SendRun<'_>) {
        let (Some(message), Some(name), Some(vector), Some(control)) = (
            self.messages.get_mut(index),
            self.names.get_mut(index),
            self.vectors.get_mut(index),
            self.controls.get_mut(index),
        ) else {
            return;
        };
        *name = SockAddr::from(in_family(run.path.remote, self.is_ipv6));
        // The kernel only reads what a sent vector points to.
        vector.iov_base = run.bytes.as_ptr().cast_mut().cast();
        vector.iov_len = run.bytes.len();
        let header = &mut message.msg_hdr;
        header.msg_name = name.as_ptr().cast_mut().cast();
        header.msg_namelen = name.len();
        header.msg_iov = vector;
        header.msg_iovlen = 1;
        let local = run.path.local.ip();
        let source = (self.sets_source && !local.is_unspecified()).then_some(local);
        let segment = (run.bytes.len() > run.segment).then(|| u16::try_from(run.segment).unwrap_or(u16::MAX));
        control_message::write(header, control, source, self.is_ipv6, segment);
    }

    /// One sendmmsg of the prepared messages in `range`, whose runs the caller still holds.
    fn send_messages(
        &mut self,
        fd: RawFd,
        range: std::ops::Range<usize>,
        counters: &mut IoCounters,
    ) -> Outcome {
        let Some(messages) = self.messages.get_mut(range) else {
            return Outcome::Failed(io::Error::from(io::ErrorKind::InvalidInput));
        };
        loop {
            // SAFETY: `prepare` has pointed every message of the range to name, vector and control buffer in `self`, which
            // don't move during the call, and each vector to a run's bytes, which the caller's queue borrows.
            let result = unsafe {
                libc::sendmmsg(
                    fd,
                    messages.as_mut_ptr(),
                    messages.len() as libc::c_uint,
                    libc::MSG_DONTWAIT as _,
                )
            };
            counters.send_calls += 1;
            match usize::try_from(result) {
                Ok(count) => return Outcome::Sent(count),
                Err(_) => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::Interrupted => {}
                    // ENOBUFS is a full queue of the interface: the same cure.
                    error
                        if error.kind() == io::ErrorKind::WouldBlock
                            || error.raw_os_error() == Some(libc::ENOBUFS) =>
                    {
                        return Outcome::Full;
                    }
                    error => return Outcome::Failed(error),
                },
            }
        }
    }

    fn is_unsegmented(&self, path: &Path) -> bool {
        !self.unsegmented.is_empty() && self.unsegmented.contains(&(path.local.ip(), path.remote.ip()))
    }
}

/// Errors with which kernels refuse to segment: EIO without checksum offload on the route, EINVAL for a segment larger
/// than its MTU or too many of them, EMSGSIZE for the former since Linux 6.
fn may_be_segmentation(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::EOPNOTSUPP))
}

/// The address in the family of the socket: IPv4 goes through an IPv6 socket as v4-mapped (RFC 4291 §2.5.5.2).
fn in_family(address: SocketAddr, is_ipv6: bool) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if is_ipv6 => {
            SocketAddr::V6(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0))
        }
        other => other,
    }
}
