//! The kernel's part of a datagram, on loopback: sendto, sendmmsg with and without segmentation (UDP_SEGMENT), recvmmsg with
//! and without coalescing (UDP_GRO). The other end's work is done between the clock's readings, and counts what arrives: a
//! datagram that is lost on the way costs less, so a sample with a loss is no sample.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(not(target_os = "linux"))]
pub use elsewhere::{Receiver, Sender};
#[cfg(target_os = "linux")]
pub use linux::{Receiver, Sender};

/// Datagrams of one segmented send.
pub const SEND_RUNS: [usize; 5] = [1, 2, 4, 8, 16];

/// Datagrams that arrive as one.
pub const RECEIVE_RUNS: [usize; 3] = [1, 4, 8];

/// How the sockets that are sent to take a segmented send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Receivers {
    /// One datagram at a time: on loopback, the sender's call cuts the run up.
    Plain,
    /// As a whole (UDP_GRO): on loopback, nobody cuts it up.
    Coalescing,
}
