//! A NAT: rewrites the source address of what leaves, the destination of what enters, and forgets its
//! mappings when it is told to. Mapping is independent of the endpoint (RFC 4787 §4.1).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// The place of a NAT in its network's list.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct NatId(pub usize);

/// Who may send to a mapping from outside (RFC 4787 §5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Filtering {
    /// Everybody.
    #[default]
    EndpointIndependent,
    /// Only addresses and ports that the mapping has sent to.
    AddressAndPort,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NatCounters {
    /// Mappings made.
    pub mapped: u64,
    pub rebinds: u64,
    /// Entering datagrams for a port that has no mapping (any more).
    pub unmapped: u64,
    /// Entering datagrams from an endpoint that the mapping has not sent to.
    pub filtered: u64,
}

/// First public port given out.
const FIRST_PORT: u16 = 40_000;

#[derive(Debug)]
pub struct Nat {
    public: IpAddr,
    filtering: Filtering,
    next_port: u16,
    by_inside: BTreeMap<SocketAddr, u16>,
    by_port: BTreeMap<u16, Mapping>,
    counters: NatCounters,
}

#[derive(Debug)]
struct Mapping {
    inside: SocketAddr,
    sent_to: BTreeSet<SocketAddr>,
}

impl Nat {
    pub fn new(public: IpAddr, filtering: Filtering) -> Nat {
        Nat {
            public,
            filtering,
            next_port: FIRST_PORT,
            by_inside: BTreeMap::new(),
            by_port: BTreeMap::new(),
            counters: NatCounters::default(),
        }
    }

    /// A datagram leaves: the source that the outside sees.
    pub fn leave(&mut self, inside: SocketAddr, to: SocketAddr) -> SocketAddr {
        let port = match self.by_inside.get(&inside) {
            Some(port) => *port,
            None => self.map(inside),
        };
        if let Some(mapping) = self.by_port.get_mut(&port) {
            mapping.sent_to.insert(to);
        }
        SocketAddr::new(self.public, port)
    }

    /// A datagram from `from` enters at `port`: the inside address that it is for.
    pub fn enter(&mut self, from: SocketAddr, port: u16) -> Option<SocketAddr> {
        let Some(mapping) = self.by_port.get(&port) else {
            self.counters.unmapped += 1;
            return None;
        };
        if self.filtering == Filtering::AddressAndPort && !mapping.sent_to.contains(&from) {
            self.counters.filtered += 1;
            return None;
        }
        Some(mapping.inside)
    }

    /// Forgets all mappings; what leaves next gets new ports, and the given public address if there is one.
    pub fn rebind(&mut self, public: Option<IpAddr>) {
        self.public = public.unwrap_or(self.public);
        self.by_inside.clear();
        self.by_port.clear();
        self.counters.rebinds += 1;
    }

    pub fn public(&self) -> IpAddr {
        self.public
    }

    pub fn counters(&self) -> NatCounters {
        self.counters
    }

    fn map(&mut self, inside: SocketAddr) -> u16 {
        let mut port = self.next_port;
        while self.by_port.contains_key(&port) {
            port = port.checked_add(1).unwrap_or(FIRST_PORT);
        }
        self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
        self.by_inside.insert(inside, port);
        self.by_port.insert(port, Mapping { inside, sent_to: BTreeSet::new() });
        self.counters.mapped += 1;
        port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_rebound_nat_sends_from_elsewhere_and_forgets_the_old_way_in() {
        let mut nat = Nat::new("192.0.2.1".parse().unwrap(), Filtering::EndpointIndependent);
        let (inside, server) = (addr("10.0.0.2:5000"), addr("198.51.100.1:7882"));
        let before = nat.leave(inside, server);
        assert_eq!(nat.leave(inside, server), before);
        assert_eq!(nat.enter(server, before.port()), Some(inside));

        nat.rebind(Some("192.0.2.9".parse().unwrap()));
        assert_eq!(nat.enter(server, before.port()), None);
        let after = nat.leave(inside, server);
        assert_eq!(after.ip(), "192.0.2.9".parse::<IpAddr>().unwrap());
        assert_ne!(after.port(), before.port());
        assert_eq!(nat.enter(server, after.port()), Some(inside));
        assert_eq!(nat.counters(), NatCounters { mapped: 2, rebinds: 1, unmapped: 1, filtered: 0 });
    }

    #[test]
    fn address_and_port_filtering_admits_only_whom_it_sent_to() {
        let mut nat = Nat::new("192.0.2.1".parse().unwrap(), Filtering::AddressAndPort);
        let outside = nat.leave(addr("10.0.0.2:5000"), addr("198.51.100.1:7882"));
        assert!(nat.enter(addr("198.51.100.1:7882"), outside.port()).is_some());
        assert!(nat.enter(addr("198.51.100.1:7883"), outside.port()).is_none());
        assert_eq!(nat.counters().filtered, 1);
    }
}
