//! Which addresses participants are told to send media to: the candidates of every answer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::config::Config;
use crate::net::{InterfaceAddress, worth_announcing};

/// Most candidates of a worker. Each is one more pair that every client checks; a machine with more addresses has
/// `announce`.
const CANDIDATES_MAX: usize = 16;

/// The candidates of a socket bound to `local`, best first. `interfaces` is what the machine has.
pub fn candidates(config: &Config, local: SocketAddr, interfaces: &[InterfaceAddress]) -> Vec<SocketAddr> {
    let mut addresses: Vec<IpAddr> = if !config.announce.is_empty() {
        config.announce.clone()
    } else if !local.ip().is_unspecified() {
        vec![local.ip().to_canonical()]
    } else {
        found(config, local, interfaces)
    };
    let mut seen = std::collections::HashSet::new();
    addresses.retain(|address| seen.insert(*address));
    addresses.truncate(CANDIDATES_MAX);
    addresses.into_iter().map(|address| SocketAddr::new(address, local.port())).collect()
}

/// The addresses of this machine that the socket can be reached at.
fn found(config: &Config, local: SocketAddr, interfaces: &[InterfaceAddress]) -> Vec<IpAddr> {
    let reachable = |address: &IpAddr| address.is_ipv4() || local.is_ipv6();
    let mut addresses: Vec<IpAddr> = interfaces
        .iter()
        .filter(|candidate| worth_announcing(candidate) && reachable(&candidate.address))
        .map(|candidate| candidate.address)
        .collect();
    // Somebody who opens the page over loopback is on this machine. A machine without any network is one too.
    if config.http.ip().to_canonical().is_loopback() || addresses.is_empty() {
        addresses.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let has_ipv6_loopback = interfaces.iter().any(|a| a.address.is_ipv6() && a.address.is_loopback());
        if has_ipv6_loopback && local.is_ipv6() {
            addresses.push(IpAddr::from(std::net::Ipv6Addr::LOCALHOST));
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interfaces(list: &[(&str, &str)]) -> Vec<InterfaceAddress> {
        let address = |&(interface, address): &(&str, &str)| InterfaceAddress {
            interface: interface.to_owned(),
            address: address.parse().unwrap(),
        };
        list.iter().map(address).collect()
    }

    fn announced(config: &Config, local: &str, list: &[(&str, &str)]) -> Vec<String> {
        let candidates = candidates(config, local.parse().unwrap(), &interfaces(list));
        candidates.iter().map(SocketAddr::to_string).collect()
    }

    const LAPTOP: [(&str, &str); 6] = [
        ("lo", "127.0.0.1"),
        ("lo", "::1"),
        ("wlan0", "192.168.1.5"),
        ("wlan0", "2001:db8::5"),
        ("wlan0", "fe80::5"),
        ("docker0", "172.17.0.1"),
    ];

    #[test]
    fn a_laptop_announces_its_network_and_itself() {
        let expected = ["192.168.1.5:7882", "[2001:db8::5]:7882", "127.0.0.1:7882", "[::1]:7882"];
        assert_eq!(announced(&Config::default(), "[::]:7882", &LAPTOP), expected);
    }

    #[test]
    fn a_public_server_does_not_announce_loopback() {
        let config = Config { http: "0.0.0.0:80".parse().unwrap(), insecure: true, ..Config::default() };
        assert_eq!(announced(&config, "[::]:7882", &LAPTOP), ["192.168.1.5:7882", "[2001:db8::5]:7882"]);
    }

    #[test]
    fn without_ipv6_only_ipv4_is_announced() {
        assert_eq!(
            announced(&Config::default(), "0.0.0.0:7882", &LAPTOP),
            ["192.168.1.5:7882", "127.0.0.1:7882"]
        );
    }

    #[test]
    fn what_is_asked_for_is_announced_once_and_alone() {
        let announce = ["192.0.2.1", "192.0.2.2", "192.0.2.1"].map(|ip| ip.parse().unwrap()).to_vec();
        let config = Config { announce, ..Config::default() };
        assert_eq!(announced(&config, "[::]:7883", &LAPTOP), ["192.0.2.1:7883", "192.0.2.2:7883"]);
    }

    #[test]
    fn a_socket_on_one_address_announces_it() {
        assert_eq!(announced(&Config::default(), "127.0.0.1:7882", &LAPTOP), ["127.0.0.1:7882"]);
    }

    #[test]
    fn without_a_network_there_is_still_loopback() {
        let config = Config { http: "0.0.0.0:80".parse().unwrap(), insecure: true, ..Config::default() };
        assert_eq!(announced(&config, "0.0.0.0:7882", &[("lo", "127.0.0.1")]), ["127.0.0.1:7882"]);
    }

    #[test]
    fn a_machine_with_many_addresses_announces_some() {
        let many: Vec<String> = (1..100).map(|n| format!("10.0.0.{n}")).collect();
        let list: Vec<(&str, &str)> = many.iter().map(|address| ("eth0", address.as_str())).collect();
        assert_eq!(announced(&Config::default(), "[::]:7882", &list).len(), CANDIDATES_MAX);
    }
}
