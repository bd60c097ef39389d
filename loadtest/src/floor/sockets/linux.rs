//! The measurements themselves, by the system calls of Linux.

use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, sendmsg, setsockopt, sockopt,
};

use super::Receivers;
use crate::floor::clock::CpuClock;

/// Messages of one system call.
const MESSAGES: usize = 32;

/// Batches of one sample.
const BATCHES: usize = 60;

/// A coalesced datagram may be this long.
const BUFFER_LEN: usize = 64 * 1024;

/// Room for all that one batch sends to one socket.
const SOCKET_BUFFER: usize = 4 << 20;

/// Sends runs of equal datagrams to many sockets in turn.
#[derive(Debug)]
pub struct Sender {
    socket: UdpSocket,
    receivers: Vec<(UdpSocket, SocketAddrV4)>,
    run: Vec<u8>,
    datagram_len: u16,
    run_len: usize,
    /// Whose turn it is.
    next: usize,
    scratch: Vec<u8>,
}

impl Sender {
    /// Runs of `run_len` datagrams of `datagram_len` bytes, each run to the next of `destinations` sockets.
    pub fn new(
        datagram_len: usize,
        destinations: usize,
        run_len: usize,
        receivers: Receivers,
    ) -> Result<Sender, String> {
        let receiver = |_| -> Result<_, String> {
            let socket = open()?;
            if receivers == Receivers::Coalescing {
                setsockopt(&socket, sockopt::UdpGroSegment, &true).map_err(|error| error.to_string())?;
            }
            let address = address_of(&socket)?;
            Ok((socket, address))
        };
        Ok(Sender {
            socket: open()?,
            receivers: (0..destinations).map(receiver).collect::<Result<_, _>>()?,
            run: vec![0x5a; datagram_len * run_len],
            datagram_len: u16::try_from(datagram_len).map_err(|error| error.to_string())?,
            run_len,
            next: 0,
            scratch: vec![0; BUFFER_LEN],
        })
    }

    /// CPU ns per datagram with a system call for each.
    pub fn send_one_by_one(&mut self, clock: CpuClock) -> Result<f64, String> {
        let mut ns = 0.0;
        for _ in 0..BATCHES {
            let addresses = self.next_addresses();
            ns += clock.measure(|| {
                for address in &addresses {
                    self.socket.send_to(&self.run, address).map_err(|error| error.to_string())?;
                }
                Ok(())
            })?;
            self.drain()?;
        }
        Ok(ns / (BATCHES * MESSAGES) as f64)
    }

    /// CPU ns per datagram with a system call for [`MESSAGES`] runs.
    pub fn send_batches(&mut self, clock: CpuClock) -> Result<f64, String> {
        let mut ns = 0.0;
        for _ in 0..BATCHES {
            let addresses: Vec<Option<SockaddrIn>> =
                self.next_addresses().into_iter().map(|address| Some(address.into())).collect();
            let slices: Vec<[IoSlice<'_>; 1]> = addresses.iter().map(|_| [IoSlice::new(&self.run)]).collect();
            let segment = [ControlMessage::UdpGsoSegments(&self.datagram_len)];
            let control = if self.run_len > 1 { &segment[..] } else { &[] };
            let space = (self.run_len > 1).then(|| nix::cmsg_space!(u16));
            let mut headers = MultiHeaders::preallocate(MESSAGES, space);
            ns += clock.measure(|| {
                let fd = self.socket.as_raw_fd();
                sendmmsg(fd, &mut headers, slices.iter(), &addresses, control, MsgFlags::empty())
                    .map(drop)
                    .map_err(|error| error.to_string())
            })?;
            self.drain()?;
        }
        Ok(ns / (BATCHES * MESSAGES * self.run_len) as f64)
    }

    /// Of one batch.
    fn next_addresses(&mut self) -> Vec<SocketAddrV4> {
        let turns = self.receivers.iter().cycle().skip(self.next);
        let addresses = turns.take(MESSAGES).map(|(_, address)| *address).collect();
        self.next = (self.next + MESSAGES) % self.receivers.len().max(1);
        addresses
    }

    /// Takes what the batch has sent; fails unless all of it is there.
    fn drain(&mut self) -> Result<(), String> {
        let mut bytes = 0;
        for (receiver, _) in &self.receivers {
            while let Some(len) = receive(receiver, &mut self.scratch)? {
                bytes += len;
            }
        }
        all_arrived(bytes, MESSAGES * self.run.len())
    }
}

/// Receives from one socket that another one sends to.
#[derive(Debug)]
pub struct Receiver {
    sender: Sender,
    buffers: Vec<Vec<u8>>,
}

impl Receiver {
    /// Each message that it takes is `run_len` datagrams of `datagram_len` bytes.
    pub fn new(datagram_len: usize, run_len: usize) -> Result<Receiver, String> {
        let receivers = if run_len > 1 { Receivers::Coalescing } else { Receivers::Plain };
        let sender = Sender::new(datagram_len, 1, run_len, receivers)?;
        Ok(Receiver { sender, buffers: vec![vec![0; BUFFER_LEN]; MESSAGES] })
    }

    /// CPU ns per datagram with a system call for [`MESSAGES`] messages.
    pub fn receive_batches(&mut self, clock: CpuClock) -> Result<f64, String> {
        let Some((socket, address)) = self.sender.receivers.first() else {
            return Err("no socket to receive on".into());
        };
        let mut ns = 0.0;
        for _ in 0..BATCHES {
            for _ in 0..MESSAGES {
                send_run(&self.sender, *address)?;
            }
            let mut slices: Vec<[IoSliceMut<'_>; 1]> =
                self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
            let mut headers = MultiHeaders::<SockaddrIn>::preallocate(MESSAGES, Some(nix::cmsg_space!(i32)));
            let mut bytes = 0;
            ns += clock.measure(|| {
                let fd = socket.as_raw_fd();
                let messages = recvmmsg(fd, &mut headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)
                    .map_err(|error| error.to_string())?;
                bytes = messages.map(|message| message.bytes).sum();
                Ok(())
            })?;
            all_arrived(bytes, MESSAGES * self.sender.run.len())?;
        }
        Ok(ns / (BATCHES * MESSAGES * self.sender.run_len) as f64)
    }
}

fn all_arrived(bytes: usize, sent: usize) -> Result<(), String> {
    if bytes == sent {
        return Ok(());
    }
    Err(format!("{bytes} of {sent} bytes arrived on loopback; net.core.rmem_max is probably too small"))
}

fn send_run(sender: &Sender, to: SocketAddrV4) -> Result<(), String> {
    let segment = [ControlMessage::UdpGsoSegments(&sender.datagram_len)];
    let control = if sender.run_len > 1 { &segment[..] } else { &[] };
    let (fd, run) = (sender.socket.as_raw_fd(), [IoSlice::new(&sender.run)]);
    sendmsg(fd, &run, control, MsgFlags::empty(), Some(&SockaddrIn::from(to)))
        .map(drop)
        .map_err(|error| error.to_string())
}

fn open() -> Result<UdpSocket, String> {
    let open = || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let buffers = socket2::SockRef::from(&socket);
        buffers.set_recv_buffer_size(SOCKET_BUFFER)?;
        buffers.set_send_buffer_size(SOCKET_BUFFER)?;
        // Beyond the system's limit, for those who may.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &SOCKET_BUFFER);
        let _ = setsockopt(&socket, sockopt::SndBufForce, &SOCKET_BUFFER);
        Ok(socket)
    };
    open().map_err(|error: std::io::Error| error.to_string())
}

fn address_of(socket: &UdpSocket) -> Result<SocketAddrV4, String> {
    match socket.local_addr() {
        Ok(SocketAddr::V4(address)) => Ok(address),
        Ok(SocketAddr::V6(_)) => Err("not an IPv4 address".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Length of the next datagram, if there is one.
fn receive(socket: &UdpSocket, scratch: &mut [u8]) -> Result<Option<usize>, String> {
    match socket.recv(scratch) {
        Ok(len) => Ok(Some(len)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_of_which_a_datagram_is_lost_is_no_sample() {
        let clock = CpuClock::calibrated().unwrap();
        let mut sender = Sender::new(1_216, 2, 4, Receivers::Plain).unwrap();
        assert!(sender.send_batches(clock).is_ok());
        // One receiver has room for a few datagrams only, and the kernel drops the others.
        socket2::SockRef::from(&sender.receivers[1].0).set_recv_buffer_size(4_096).unwrap();
        assert!(sender.send_batches(clock).unwrap_err().contains("arrived"));
    }
}
