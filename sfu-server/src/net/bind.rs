//! Binding a worker's UDP socket: dual-stack where the machine has IPv6, with large buffers. Knows what was asked for
//! and reports what was granted.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// A bound socket and what the system granted it.
#[derive(Debug)]
pub struct BoundSocket {
    pub(super) socket: UdpSocket,
    pub local: SocketAddr,
    /// Bytes, as granted.
    pub receive_buffer: usize,
    /// Bytes, as granted.
    pub send_buffer: usize,
}

impl BoundSocket {
    /// Whether the socket also carries IPv4 as v4-mapped addresses, or is IPv6 at all.
    pub fn is_ipv6(&self) -> bool {
        self.local.is_ipv6()
    }
}

/// Why a media socket could not be bound, in words for the person who started the server.
#[derive(Debug)]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let BindError { address, source } = self;
        match source.kind() {
            io::ErrorKind::AddrInUse => write!(
                f,
                "UDP port {} is in use by another program (is a server already running?); \
                 stop that one or choose other ports with --udp-port",
                address.port()
            ),
            io::ErrorKind::PermissionDenied => write!(
                f,
                "no permission to bind UDP port {}; choose one above 1023 with --udp-port",
                address.port()
            ),
            io::ErrorKind::AddrNotAvailable => write!(
                f,
                "this machine has no address {}; --udp-bind takes one of its own addresses, or :: for all",
                address.ip()
            ),
            _ => write!(f, "cannot bind UDP {address}: {source}"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Binds `address`; for `::` the socket takes IPv4 too, and IPv4 alone where the machine has no IPv6.
pub fn bind(address: SocketAddr, buffer_bytes: usize) -> Result<BoundSocket, BindError> {
    let bound = match open(address, buffer_bytes) {
        Err(error) if address.ip().is_unspecified() && address.is_ipv6() && lacks_ipv6(&error) => {
            open(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port()), buffer_bytes)
        }
        other => other,
    };
    bound.map_err(|source| BindError { address, source })
}

fn open(address: SocketAddr, buffer_bytes: usize) -> io::Result<BoundSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    grow_buffers(&socket, buffer_bytes);
    socket.bind(&address.into())?;
    let granted = |size: io::Result<usize>| size.unwrap_or(0) / kernel_overhead();
    let receive_buffer = granted(socket.recv_buffer_size());
    let send_buffer = granted(socket.send_buffer_size());
    let socket = UdpSocket::from(socket);
    Ok(BoundSocket { local: socket.local_addr()?, socket, receive_buffer, send_buffer })
}

fn lacks_ipv6(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::EAFNOSUPPORT) {
        return true;
    }
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
}

/// Linux reports twice what was asked for, the other half being its own bookkeeping (socket(7)).
const fn kernel_overhead() -> usize {
    if cfg!(target_os = "linux") { 2 } else { 1 }
}

/// Asks for large buffers, past the system's limit where privileges allow. What is granted is reported, not enforced:
/// a server with small buffers still works, it only loses packets earlier under load.
fn grow_buffers(socket: &Socket, bytes: usize) {
    let _ = socket.set_recv_buffer_size(bytes);
    let _ = socket.set_send_buffer_size(bytes);
    #[cfg(target_os = "linux")]
    super::udp::force_buffers(socket, bytes);
}
