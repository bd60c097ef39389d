//! The addresses of this machine's network interfaces, and which of them a participant could reach.
#![cfg_attr(unix, allow(unsafe_code))]

use std::net::IpAddr;

/// One address of one interface that is up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfaceAddress {
    pub interface: String,
    pub address: IpAddr,
}

/// Interfaces that connect this machine to its own containers and virtual machines, by the start of their names:
/// nobody outside reaches them, and each would cost every client a candidate pair.
const CONTAINER_INTERFACES: [&str; 12] =
    ["docker", "veth", "br-", "cni", "flannel", "cali", "virbr", "podman", "lxc", "lxdbr", "vnet", "kube"];

/// Whether a participant on another machine might reach this address.
pub fn worth_announcing(address: &InterfaceAddress) -> bool {
    let container = CONTAINER_INTERFACES.iter().any(|prefix| address.interface.starts_with(prefix));
    let unusable = match address.address {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified(),
    };
    !container && !unusable
}

/// Every IPv4 and IPv6 address of every interface that is up, in the system's order.
#[cfg(unix)]
pub fn interface_addresses() -> std::io::Result<Vec<InterfaceAddress>> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: getifaddrs writes a pointer to a list that it owns into `list`, freed below.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    let mut addresses = Vec::new();
    let mut next = list;
    // SAFETY: `next` is null or a node of the list that getifaddrs made, which lives until freeifaddrs.
    while let Some(node) = unsafe { next.as_ref() } {
        next = node.ifa_next;
        if node.ifa_flags & libc::IFF_UP as libc::c_uint == 0 {
            continue;
        }
        // SAFETY: `ifa_name` of a node is a terminated string that lives as long as the list.
        let interface = unsafe { std::ffi::CStr::from_ptr(node.ifa_name) }.to_string_lossy().into_owned();
        // SAFETY: `ifa_addr` is null or an address whose size fits its family.
        if let Some(address) = unsafe { ip_address(node.ifa_addr) } {
            addresses.push(InterfaceAddress { interface, address });
        }
    }
    // SAFETY: `list` came from getifaddrs and nothing borrows from it any more.
    unsafe { libc::freeifaddrs(list) };
    Ok(addresses)
}

/// The IP address behind a socket address.
///
/// # Safety
/// `address` is null or points to a socket address that is as large as its family says.
#[cfg(unix)]
unsafe fn ip_address(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: the caller promises null or a valid address.
    let family = unsafe { address.as_ref() }?.sa_family;
    match libc::c_int::from(family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is a `sockaddr_in`; read_unaligned asks for no alignment.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(IpAddr::from(v4.sin_addr.s_addr.to_ne_bytes()))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this is a `sockaddr_in6`; read_unaligned asks for no alignment.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(IpAddr::from(v6.sin6_addr.s6_addr))
        }
        _ => None,
    }
}

/// The addresses from which the default routes of both families leave. Connecting a UDP socket sends nothing.
#[cfg(not(unix))]
pub fn interface_addresses() -> std::io::Result<Vec<InterfaceAddress>> {
    let routed = |bind: &str, towards: &str| -> std::io::Result<IpAddr> {
        let socket = std::net::UdpSocket::bind(bind)?;
        socket.connect(towards)?;
        Ok(socket.local_addr()?.ip())
    };
    // Documentation addresses (RFC 5737, RFC 3849): any address with a default route would do.
    let candidates = [routed("0.0.0.0:0", "192.0.2.1:9"), routed("[::]:0", "[2001:db8::1]:9")];
    let name = || "default".to_owned();
    Ok(candidates
        .into_iter()
        .flatten()
        .map(|address| InterfaceAddress { interface: name(), address })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn the_loopback_interface_is_found_and_not_announced() {
        let all = interface_addresses().unwrap();
        let loopback = all.iter().find(|a| a.address == IpAddr::from([127, 0, 0, 1])).unwrap();
        assert!(!worth_announcing(loopback));
    }

    #[test]
    fn container_and_link_local_interfaces_are_skipped() {
        let cases = [
            ("eth0", "10.0.0.5", true),
            ("wlan0", "2001:db8::5", true),
            ("docker0", "172.17.0.1", false),
            ("veth1f", "10.1.0.1", false),
            ("br-5cafe", "172.18.0.1", false),
            ("bridge0", "192.168.1.2", true),
            ("eth0", "169.254.3.4", false),
            ("eth0", "fe80::1", false),
            ("lo", "::1", false),
        ];
        for (interface, address, announced) in cases {
            let address = InterfaceAddress { interface: interface.into(), address: address.parse().unwrap() };
            assert_eq!(worth_announcing(&address), announced, "{address:?}");
        }
    }
}
