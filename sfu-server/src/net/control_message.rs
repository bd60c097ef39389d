//! Ancillary data of UDP messages (cmsg(3)): the local address, the segment size, the kernel's drop count. Knows the
//! layout and nothing of when to use it.
#![allow(unsafe_code)]

use std::net::IpAddr;

/// Room for packet info of both families, a segment size and a drop count, with their headers.
const CONTROL_BYTES: usize = 128;

/// A buffer for control messages, aligned as their headers need.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct ControlBuffer([u8; CONTROL_BYTES]);

impl ControlBuffer {
    pub(super) const EMPTY: ControlBuffer = ControlBuffer([0; CONTROL_BYTES]);
}

/// What the control messages of one received message said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Received {
    /// The address that the message was sent to.
    pub(super) local: Option<IpAddr>,
    /// Length of the datagrams that the message was merged from (UDP_GRO).
    pub(super) segment: Option<usize>,
    /// Datagrams dropped since the socket was made, modulo 2^32 (SO_RXQ_OVFL).
    pub(super) overflow: Option<u32>,
}

/// Points a message header at `buffer` for receiving.
pub(super) fn attach(header: &mut libc::msghdr, buffer: &mut ControlBuffer) {
    header.msg_control = buffer.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_BYTES as _;
}

/// Reads the control messages that the kernel has written.
///
/// # Safety
/// `header.msg_control` points to a live [`ControlBuffer`] and `header.msg_controllen` is as the kernel left it.
pub(super) unsafe fn read(header: &libc::msghdr) -> Received {
    let mut received = Received::default();
    // SAFETY: the caller promises a valid control buffer; the macros stay inside of `msg_controllen`.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return null or a whole header inside of the buffer.
    while let Some(message) = unsafe { next.as_ref() } {
        // SAFETY: the data follows the header; each type below has the length that the kernel's interface fixes for it,
        // and `read_unaligned` asks for no alignment.
        unsafe {
            let data = libc::CMSG_DATA(message);
            match (message.cmsg_level, message.cmsg_type) {
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let packet = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    received.local = Some(IpAddr::from(packet.ipi6_addr.s6_addr).to_canonical());
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let packet = data.cast::<libc::in_pktinfo>().read_unaligned();
                    received.local = Some(IpAddr::from(packet.ipi_addr.s_addr.to_ne_bytes()));
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let segment = data.cast::<libc::c_int>().read_unaligned();
                    received.segment = usize::try_from(segment).ok().filter(|&segment| segment > 0);
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    received.overflow = Some(data.cast::<u32>().read_unaligned());
                }
                _ => {}
            }
        }
        // SAFETY: as for CMSG_FIRSTHDR; `message` is a header of this buffer.
        next = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    received
}

/// Writes the control messages of an outgoing message: the source address, if one is given, in the socket's family, and
/// the segment size, if the message is to be split.
pub(super) fn write(
    header: &mut libc::msghdr,
    buffer: &mut ControlBuffer,
    source: Option<IpAddr>,
    socket_is_ipv6: bool,
    segment: Option<u16>,
) {
    *buffer = ControlBuffer::EMPTY;
    attach(header, buffer);
    let mut used = 0;
    match source {
        Some(source) if socket_is_ipv6 => {
            let v6 = match source {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            let packet =
                libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: v6.octets() }, ipi6_ifindex: 0 };
            used += push(header, used, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, packet);
        }
        Some(IpAddr::V4(ip)) => {
            let packet = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            used += push(header, used, libc::IPPROTO_IP, libc::IP_PKTINFO, packet);
        }
        // An IPv6 source on an IPv4 socket: the send itself will fail on its destination.
        Some(IpAddr::V6(_)) | None => {}
    }
    if let Some(segment) = segment {
        used += push(header, used, libc::SOL_UDP, libc::UDP_SEGMENT, segment);
    }
    header.msg_controllen = used as _;
    if used == 0 {
        header.msg_control = std::ptr::null_mut();
    }
}

/// Appends one control message after `used` bytes of the attached buffer; returns how many bytes it takes.
fn push<T: Copy>(
    header: &libc::msghdr,
    used: usize,
    level: libc::c_int,
    kind: libc::c_int,
    value: T,
) -> usize {
    // SAFETY: CMSG_SPACE and CMSG_LEN only compute.
    let (space, len) =
        unsafe { (libc::CMSG_SPACE(size_of::<T>() as u32) as usize, libc::CMSG_LEN(size_of::<T>() as u32)) };
    assert!(used + space <= CONTROL_BYTES, "the control buffer is sized for every message that is written");
    // SAFETY: `msg_control` points to a whole ControlBuffer (only `write` calls this, after `attach`), the assertion keeps
    // header and value inside of it, its alignment suits `cmsghdr` since every space is a multiple of it.
    unsafe {
        let message = header.msg_control.cast::<u8>().add(used).cast::<libc::cmsghdr>();
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        (*message).cmsg_len = len as _;
        libc::CMSG_DATA(message).cast::<T>().write_unaligned(value);
    }
    space
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(source: &str, socket_is_ipv6: bool, segment: Option<u16>) -> usize {
        // SAFETY: an all-zero `msghdr` has null pointers and zero lengths, which is a valid value.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        let mut buffer = ControlBuffer::EMPTY;
        write(&mut header, &mut buffer, Some(source.parse().unwrap()), socket_is_ipv6, segment);
        // SAFETY: `buffer` lives until the end of this function and `write` has set pointer and length.
        let received = unsafe { read(&header) };
        if socket_is_ipv6 {
            assert_eq!(received.local, Some(source.parse().unwrap()));
        }
        header.msg_controllen as usize
    }

    #[test]
    fn addresses_of_both_families_survive_and_fit() {
        let longest = round_trip("2001:db8::7", true, Some(1_200));
        assert!(longest <= CONTROL_BYTES);
        assert!(round_trip("192.0.2.7", true, None) < longest);
        assert!(round_trip("192.0.2.7", false, Some(1)) < longest);
        assert!(round_trip("192.0.2.7", false, None) > 0);
    }
}
