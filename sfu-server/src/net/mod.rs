//! The media sockets: binding them, and moving batches of datagrams through them. All media system calls and all
//! `unsafe` code of the server live under this module. It knows addresses and bytes, nothing of what is in them.

mod affinity;
mod bind;
#[cfg(target_os = "linux")]
mod control_message;
mod interfaces;
#[cfg(target_os = "linux")]
mod send_batch;
#[cfg(target_os = "linux")]
mod udp;

mod portable;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sfu_core::Path;

pub use affinity::{allowed_cores, pin_to_core};
pub use bind::{BindError, BoundSocket, bind};
pub use interfaces::{InterfaceAddress, interface_addresses, worth_announcing};

use crate::clock::Clock;

/// How system calls are made.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, serde::Deserialize, serde::Serialize, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum IoMode {
    /// The fastest that the platform has: batched on Linux, portable elsewhere.
    #[default]
    Auto,
    /// One datagram per call, on every platform.
    Portable,
}

/// Contiguous datagrams of one path, each `segment` bytes long, the last may be shorter.
#[derive(Clone, Copy, Debug)]
pub struct SendRun<'a> {
    pub path: Path,
    pub bytes: &'a [u8],
    pub segment: usize,
}

impl<'a> SendRun<'a> {
    /// The single datagrams of the run.
    fn datagrams(&self) -> std::slice::Chunks<'a, u8> {
        self.bytes.chunks(self.segment.max(1))
    }

    fn datagram_count(&self) -> u64 {
        self.bytes.len().div_ceil(self.segment.max(1)) as u64
    }
}

/// What a socket has done since it was bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct IoCounters {
    pub datagrams_received: u64,
    pub bytes_received: u64,
    pub receive_calls: u64,
    /// Received datagrams that no buffer could hold, or that came without a usable address.
    pub receive_invalid: u64,
    /// Datagrams that the kernel dropped because our receive buffer was full (SO_RXQ_OVFL).
    pub receive_overflow: u64,
    pub datagrams_sent: u64,
    pub bytes_sent: u64,
    pub send_calls: u64,
    /// Datagrams refused by the kernel: no route, bad address, too large.
    pub send_errors: u64,
    /// Datagrams dropped because the send buffer stayed full.
    pub send_dropped: u64,
    /// Runs that had to be sent again datagram by datagram.
    pub unsegmented_runs: u64,
}

/// One worker's socket, ready to be used on the worker's thread.
#[derive(Debug)]
pub enum MediaSocket {
    #[cfg(target_os = "linux")]
    Batched(Box<udp::BatchedSocket>),
    Portable(Box<portable::PortableSocket>),
}

impl MediaSocket {
    pub fn new(bound: BoundSocket, mode: IoMode) -> io::Result<MediaSocket> {
        match mode {
            #[cfg(target_os = "linux")]
            IoMode::Auto => Ok(MediaSocket::Batched(Box::new(udp::BatchedSocket::new(bound)?))),
            _ => Ok(MediaSocket::Portable(Box::new(portable::PortableSocket::new(bound)?))),
        }
    }

    /// A handle with which any thread ends this socket's [`MediaSocket::wait`].
    pub fn waker(&self) -> io::Result<Waker> {
        match self {
            #[cfg(target_os = "linux")]
            MediaSocket::Batched(socket) => Ok(Waker::EventFd(socket.event())),
            MediaSocket::Portable(socket) => Ok(Waker::Datagram(socket.waker()?)),
        }
    }

    /// Sleeps until a datagram is there, the waker was used, or `timeout` has passed.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            MediaSocket::Batched(socket) => socket.wait(timeout),
            MediaSocket::Portable(socket) => socket.wait(timeout),
        }
    }

    /// Hands on one batch of datagrams; returns true when more may be waiting.
    pub fn receive(&mut self, deliver: impl FnMut(Path, &mut [u8])) -> io::Result<bool> {
        match self {
            #[cfg(target_os = "linux")]
            MediaSocket::Batched(socket) => socket.receive(deliver),
            MediaSocket::Portable(socket) => socket.receive(deliver),
        }
    }

    /// Sends runs in order. What can't be sent is counted, never an error.
    pub fn send<'a>(&mut self, clock: &Clock, runs: impl Iterator<Item = SendRun<'a>>) {
        match self {
            #[cfg(target_os = "linux")]
            MediaSocket::Batched(socket) => socket.send(clock, runs),
            MediaSocket::Portable(socket) => socket.send(runs),
        }
    }

    pub fn counters(&self) -> &IoCounters {
        match self {
            #[cfg(target_os = "linux")]
            MediaSocket::Batched(socket) => socket.counters(),
            MediaSocket::Portable(socket) => socket.counters(),
        }
    }
}

/// Ends a worker's wait from another thread.
#[derive(Clone, Debug)]
pub enum Waker {
    #[cfg(target_os = "linux")]
    EventFd(std::sync::Arc<udp::EventFd>),
    Datagram(portable::DatagramWaker),
}

impl Waker {
    pub fn wake(&self) {
        match self {
            #[cfg(target_os = "linux")]
            Waker::EventFd(event) => event.signal(),
            Waker::Datagram(waker) => waker.wake(),
        }
    }
}

/// The address as everything behind the socket sees it: v4-mapped addresses are IPv4, no flow label.
fn normalise(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_canonical() {
            std::net::IpAddr::V4(ip) => SocketAddr::from((ip, v6.port())),
            std::net::IpAddr::V6(ip) => {
                SocketAddr::V6(std::net::SocketAddrV6::new(ip, v6.port(), 0, v6.scope_id()))
            }
        },
        v4 => v4,
    }
}

#[cfg(test)]
mod tests;
