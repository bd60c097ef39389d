//! `a=candidate` lines: writes the server's host candidates and bounds what clients send. An ICE-lite server has no
//! use for the client's candidates (RFC 8445 §2.5), so they are checked for length and dropped; mDNS names are
//! never resolved.

use std::net::SocketAddr;

/// Candidates in one m-section. Firefox writes 4 for each of the machine's addresses.
pub const CANDIDATES_MAX: usize = 50;

/// Longest candidate line taken; an IPv6 relay candidate with all extensions has about 250 bytes.
pub const CANDIDATE_LEN_MAX: usize = 1_024;

/// The value of `a=candidate` for a host candidate of component 1 over UDP (RFC 8839 §5.1). `index` is the
/// place among the worker's addresses: earlier ones are preferred.
pub fn host_candidate(index: usize, address: SocketAddr) -> String {
    format!(
        "{} 1 udp {} {} {} typ host",
        index.saturating_add(1),
        priority(index),
        address.ip(),
        address.port()
    )
}

/// RFC 8445 §5.1.2.1 with type preference 126 (host) and component 1.
fn priority(index: usize) -> u32 {
    let local_preference = u32::from(u16::MAX).saturating_sub(u32::try_from(index).unwrap_or(u32::MAX));
    (126 << 24) + (local_preference << 8) + 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_candidates_prefer_the_first_address() {
        let v4 = host_candidate(0, "192.0.2.1:7882".parse().unwrap());
        let v6 = host_candidate(1, "[2001:db8::1]:7882".parse().unwrap());
        assert_eq!(v4, "1 1 udp 2130706431 192.0.2.1 7882 typ host");
        assert_eq!(v6, "2 1 udp 2130706175 2001:db8::1 7882 typ host");
    }
}
