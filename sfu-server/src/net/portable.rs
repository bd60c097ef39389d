//! The socket of platforms without batched calls: one datagram per call, nothing but the standard library. It doesn't
//! learn the local address of a datagram, so a path's local address is the one that the socket is bound to.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use sfu_core::Path;

use super::bind::BoundSocket;
use super::{IoCounters, SendRun, normalise};

/// Datagrams handed on before the worker looks at its timers again.
const RECEIVE_DATAGRAMS: usize = 64;

const RECEIVE_BUFFER_BYTES: usize = 65_536;

/// A blocking socket that is only read past its time-out when something is there.
#[derive(Debug)]
pub struct PortableSocket {
    socket: UdpSocket,
    local: SocketAddr,
    buffer: Vec<u8>,
    /// What [`PortableSocket::wait`] has received: sender and length in `buffer`.
    waiting: Option<(SocketAddr, usize)>,
    counters: IoCounters,
}

/// Wakes the socket by sending it an empty datagram over its own address: every platform can wait for that.
#[derive(Clone, Debug)]
pub struct DatagramWaker {
    socket: std::sync::Arc<UdpSocket>,
    towards: SocketAddr,
}

impl DatagramWaker {
    /// When the send fails the worker wakes at its next time-out.
    pub(super) fn wake(&self) {
        let _ = self.socket.send_to(&[], self.towards);
    }
}

impl PortableSocket {
    pub(super) fn new(bound: BoundSocket) -> io::Result<PortableSocket> {
        let BoundSocket { socket, local, .. } = bound;
        socket.set_nonblocking(true)?;
        let buffer = vec![0; RECEIVE_BUFFER_BYTES];
        Ok(PortableSocket { socket, local, buffer, waiting: None, counters: IoCounters::default() })
    }

    pub(super) fn waker(&self) -> io::Result<DatagramWaker> {
        let loopback = match self.local.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            other => other,
        };
        let socket = UdpSocket::bind(SocketAddr::new(loopback, 0))?;
        socket.set_nonblocking(true)?;
        let towards = SocketAddr::new(loopback, self.local.port());
        Ok(DatagramWaker { socket: std::sync::Arc::new(socket), towards })
    }

    pub(super) fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        if self.waiting.is_some() || timeout.is_zero() {
            return Ok(());
        }
        self.socket.set_nonblocking(false)?;
        self.socket.set_read_timeout(Some(timeout))?;
        let received = self.receive_one();
        self.socket.set_nonblocking(true)?;
        self.waiting = received?;
        Ok(())
    }

    pub(super) fn receive(&mut self, mut deliver: impl FnMut(Path, &mut [u8])) -> io::Result<bool> {
        let local = normalise(self.local);
        for _ in 0..RECEIVE_DATAGRAMS {
            let received = match self.waiting.take() {
                Some(waiting) => Some(waiting),
                None => self.receive_one()?,
            };
            let Some((remote, len)) = received else { return Ok(false) };
            match self.buffer.get_mut(..len) {
                // Empty ones are wake-ups, ours or anybody's.
                Some([]) => {}
                Some(datagram) if remote.port() != 0 => {
                    self.counters.datagrams_received += 1;
                    self.counters.bytes_received += len as u64;
                    deliver(Path { local, remote }, datagram);
                }
                _ => self.counters.receive_invalid += 1,
            }
        }
        Ok(true)
    }

    pub(super) fn send<'a>(&mut self, runs: impl Iterator<Item = SendRun<'a>>) {
        for run in runs {
            let remote = match run.path.remote {
                SocketAddr::V4(v4) if self.local.is_ipv6() => {
                    SocketAddr::V6(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0))
                }
                other => other,
            };
            for datagram in run.datagrams() {
                self.counters.send_calls += 1;
                match self.socket.send_to(datagram, remote) {
                    Ok(_) => {
                        self.counters.datagrams_sent += 1;
                        self.counters.bytes_sent += datagram.len() as u64;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.counters.send_dropped += 1
                    }
                    Err(_) => self.counters.send_errors += 1,
                }
            }
        }
    }

    pub(super) fn counters(&self) -> &IoCounters {
        &self.counters
    }

    /// One datagram, or `None` when nothing is there.
    fn receive_one(&mut self) -> io::Result<Option<(SocketAddr, usize)>> {
        self.counters.receive_calls += 1;
        match self.socket.recv_from(&mut self.buffer) {
            Ok((len, remote)) => Ok(Some((normalise(remote), len))),
            Err(error) => match error.kind() {
                // Windows reports a peer's closed port on the next receive (WSAECONNRESET): not our socket's fault.
                io::ErrorKind::WouldBlock
                | io::ErrorKind::TimedOut
                | io::ErrorKind::Interrupted
                | io::ErrorKind::ConnectionReset => Ok(None),
                _ => Err(error),
            },
        }
    }
}
