//! The batched UDP socket of Linux: recvmmsg with UDP_GRO, the local address of every datagram, and the poll that a
//! worker sleeps in. Sending is in `send_batch`.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use sfu_core::Path;

use super::bind::BoundSocket;
use super::control_message::{self, ControlBuffer};
use super::send_batch::BatchSender;
use super::{IoCounters, SendRun, normalise};
use crate::clock::Clock;

/// Messages of one recvmmsg.
const RECEIVE_MESSAGES: usize = 32;

/// One merged message at most: the kernel merges up to 64 KiB.
const RECEIVE_BUFFER_BYTES: usize = 65_536;

/// A socket, its wake-up and the buffers of its calls. Made on the thread that uses it.
pub struct BatchedSocket {
    socket: UdpSocket,
    local: SocketAddr,
    event: Arc<EventFd>,
    buffers: Vec<u8>,
    messages: Vec<libc::mmsghdr>,
    names: Vec<libc::sockaddr_storage>,
    vectors: Vec<libc::iovec>,
    controls: Vec<ControlBuffer>,
    /// The kernel's drop count as last seen; it wraps.
    overflow_seen: u32,
    sender: BatchSender,
    counters: IoCounters,
}

impl std::fmt::Debug for BatchedSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchedSocket").field("local", &self.local).finish_non_exhaustive()
    }
}

impl BatchedSocket {
    pub(super) fn new(bound: BoundSocket) -> io::Result<BatchedSocket> {
        let is_ipv6 = bound.is_ipv6();
        let BoundSocket { socket, local, .. } = bound;
        socket.set_nonblocking(true)?;
        let fd = socket.as_raw_fd();
        if is_ipv6 {
            set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
        } else {
            set_option(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
        }
        // Both only make things better: without them there is no merging and no drop count.
        let _ = set_option(fd, libc::SOL_UDP, libc::UDP_GRO, 1);
        let _ = set_option(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1);
        // SAFETY: these are C structs of integers and pointers; all zeroes is a valid value of each.
        let (message, name, vector): (libc::mmsghdr, libc::sockaddr_storage, libc::iovec) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed(), std::mem::zeroed()) };
        Ok(BatchedSocket {
            socket,
            local,
            event: Arc::new(EventFd::new()?),
            buffers: vec![0; RECEIVE_MESSAGES * RECEIVE_BUFFER_BYTES],
            messages: vec![message; RECEIVE_MESSAGES],
            names: vec![name; RECEIVE_MESSAGES],
            vectors: vec![vector; RECEIVE_MESSAGES],
            controls: vec![ControlBuffer::EMPTY; RECEIVE_MESSAGES],
            overflow_seen: 0,
            sender: BatchSender::new(local),
            counters: IoCounters::default(),
        })
    }

    pub(super) fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        let mut fds = [poll_for(self.socket.as_raw_fd()), poll_for(self.event.0.as_raw_fd())];
        let ready = poll(&mut fds, timeout)?;
        if ready && fds.last().is_some_and(|event| event.revents != 0) {
            self.event.clear();
        }
        Ok(())
    }

    pub(super) fn receive(&mut self, mut deliver: impl FnMut(Path, &mut [u8])) -> io::Result<bool> {
        let count = self.receive_messages()?;
        for index in 0..count {
            self.deliver_message(index, &mut deliver);
        }
        Ok(count == RECEIVE_MESSAGES)
    }

    pub(super) fn send<'a>(&mut self, clock: &Clock, runs: impl Iterator<Item = SendRun<'a>>) {
        self.sender.send(self.socket.as_raw_fd(), clock, runs, &mut self.counters);
    }

    pub(super) fn event(&self) -> Arc<EventFd> {
        Arc::clone(&self.event)
    }

    pub(super) fn counters(&self) -> &IoCounters {
        &self.counters
    }

    /// One recvmmsg; returns how many messages it filled.
    fn receive_messages(&mut self) -> io::Result<usize> {
        let buffers = self.buffers.chunks_exact_mut(RECEIVE_BUFFER_BYTES);
        let parts = self.vectors.iter_mut().zip(&mut self.names).zip(&mut self.controls);
        for ((message, buffer), ((vector, name), control)) in self.messages.iter_mut().zip(buffers).zip(parts)
        {
            vector.iov_base = buffer.as_mut_ptr().cast();
            vector.iov_len = buffer.len();
            let header = &mut message.msg_hdr;
            header.msg_name = std::ptr::from_mut(name).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_flags = 0;
            control_message::attach(header, control);
        }
        loop {
            // SAFETY: each of the RECEIVE_MESSAGES headers points to its own buffer, name, vector and control buffer, with
            // their true lengths, all owned by `self` and not moved or resized during the call.
            let result = unsafe {
                libc::recvmmsg(
                    self.socket.as_raw_fd(),
                    self.messages.as_mut_ptr(),
                    RECEIVE_MESSAGES as libc::c_uint,
                    libc::MSG_DONTWAIT as _,
                    std::ptr::null_mut(),
                )
            };
            self.counters.receive_calls += 1;
            match usize::try_from(result) {
                Ok(count) => return Ok(count.min(RECEIVE_MESSAGES)),
                Err(_) => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::Interrupted => {}
                    error if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                    error => return Err(error),
                },
            }
        }
    }

    /// Splits one received message into its datagrams and hands them on.
    fn deliver_message(&mut self, index: usize, deliver: &mut impl FnMut(Path, &mut [u8])) {
        let start = index * RECEIVE_BUFFER_BYTES;
        let (Some(message), Some(name), Some(buffer)) = (
            self.messages.get(index),
            self.names.get(index),
            self.buffers.get_mut(start..start + RECEIVE_BUFFER_BYTES),
        ) else {
            return;
        };
        // SAFETY: the header still points to its control buffer, and recvmmsg has set the length.
        let control = unsafe { control_message::read(&message.msg_hdr) };
        if let Some(overflow) = control.overflow {
            self.counters.receive_overflow += u64::from(overflow.wrapping_sub(self.overflow_seen));
            self.overflow_seen = overflow;
        }
        let len = message.msg_len as usize;
        let truncated = message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        let (Some(remote), Some(bytes)) = (socket_address(name), buffer.get_mut(..len)) else {
            self.counters.receive_invalid += 1;
            return;
        };
        if truncated || len == 0 || remote.port() == 0 {
            self.counters.receive_invalid += 1;
            return;
        }
        let ip = control.local.unwrap_or_else(|| normalise(self.local).ip());
        let path = Path { local: SocketAddr::new(ip, self.local.port()), remote };
        self.counters.bytes_received += len as u64;
        for datagram in bytes.chunks_mut(control.segment.unwrap_or(len)) {
            self.counters.datagrams_received += 1;
            deliver(path, datagram);
        }
    }
}

/// A counter in the kernel that a poll can wait for (eventfd(2)).
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    fn new() -> io::Result<EventFd> {
        // SAFETY: eventfd takes two integers and touches no memory of ours.
        match unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) } {
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: the descriptor is new, valid, and owned by nobody else.
            fd => Ok(EventFd(unsafe { OwnedFd::from_raw_fd(fd) })),
        }
    }

    /// Makes the descriptor readable. It fails only when the counter is full, and then it is readable already.
    pub(super) fn signal(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: `one` is eight readable bytes that outlive the call.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    fn clear(&self) {
        let mut count = [0u8; 8];
        // SAFETY: `count` is eight writable bytes that outlive the call.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

/// Asks for buffers beyond the system's limits, which CAP_NET_ADMIN may (socket(7)). Without it nothing changes.
pub(super) fn force_buffers(socket: &socket2::Socket, bytes: usize) {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let _ = set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes);
    let _ = set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes);
}

/// Waits at most `timeout` for the socket to take more data.
pub(super) fn wait_writable(fd: RawFd, timeout: Duration) -> bool {
    let mut fds = [libc::pollfd { fd, events: libc::POLLOUT, revents: 0 }];
    matches!(poll(&mut fds, timeout), Ok(true))
}

fn poll_for(fd: RawFd) -> libc::pollfd {
    libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
}

/// ppoll, because a worker's timers are finer than poll's milliseconds. An interruption counts as a time-out.
fn poll(fds: &mut [libc::pollfd], timeout: Duration) -> io::Result<bool> {
    // SAFETY: `timespec` is a struct of integers; all zeroes is a valid value.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    time.tv_sec = timeout.as_secs().min(3_600) as _;
    time.tv_nsec = timeout.subsec_nanos() as _;
    // SAFETY: `fds` and `time` are valid for the call, the count is the slice's own, and a null mask changes no signals.
    match unsafe { libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, &time, std::ptr::null()) } {
        -1 => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            error => Err(error),
        },
        ready => Ok(ready > 0),
    }
}

fn set_option(fd: RawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the option's value is one int, read from `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            fd,
            level,
            name,
            std::ptr::from_ref(&value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The sender's address as the kernel wrote it, normalised.
fn socket_address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says what it is, and a sockaddr_storage is larger and at least as aligned.
            let v4 = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(normalise(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id).into()))
        }
        _ => None,
    }
}
