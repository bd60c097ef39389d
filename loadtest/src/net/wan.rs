//! The virtual network itself: nodes by address, each with an uplink and a downlink, some behind a NAT. It
//! delivers datagrams in an order that depends on the seed and the calls, and on nothing else.
//!
//! ```text
//! node ── uplink ── (its NAT) ── core ── (the other's NAT) ── downlink ── node
//! ```

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, SocketAddr};

use super::link::Arrival;
use super::{Filtering, Link, LinkConfig, Nat, NatId, Time};

/// Most datagrams in flight; beyond, they are dropped and counted. A call of 100 with seconds of queue stays
/// far below.
pub const IN_FLIGHT_MAX: usize = 1 << 20;

/// A datagram that has reached its node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    pub at: Time,
    /// As the receiver sees it: a NAT's address if the sender is behind one.
    pub from: SocketAddr,
    /// The node, by its own address.
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

/// Something that happens to the network at a given time.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// The NAT forgets its mappings and may get a new public address.
    Rebind {
        nat: NatId,
        public: Option<IpAddr>,
    },
    Uplink {
        node: SocketAddr,
        config: LinkConfig,
    },
    Downlink {
        node: SocketAddr,
        config: LinkConfig,
    },
    /// A node gets another address, as a laptop does that changes networks. Datagrams to the old one are lost.
    Move {
        node: SocketAddr,
        to: SocketAddr,
    },
}

/// Datagrams that ended in the core.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NetCounters {
    pub delivered: u64,
    /// Sent from an address that no node has.
    pub no_source: u64,
    /// Sent to an address that nobody has, or that a NAT doesn't let in.
    pub no_destination: u64,
    /// More than [`IN_FLIGHT_MAX`].
    pub overflow: u64,
}

/// A network under a virtual clock.
#[derive(Debug)]
pub struct VirtualNet {
    seed: u64,
    links_made: u64,
    nodes: BTreeMap<SocketAddr, Node>,
    nats: Vec<Nat>,
    events: BinaryHeap<Reverse<Event>>,
    next_order: u64,
    counters: NetCounters,
    digest: u64,
}

#[derive(Debug)]
struct Node {
    up: Link,
    down: Link,
    nat: Option<NatId>,
}

#[derive(Debug)]
struct Event {
    at: Time,
    /// Makes events of the same time happen in the order in which they were made.
    order: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Has passed the sender's uplink; `from` is the sender's own address.
    AtCore {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    /// Has passed the receiver's downlink.
    AtNode {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    Change(Change),
}

impl PartialEq for Event {
    fn eq(&self, other: &Event) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Event) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Event) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl VirtualNet {
    pub fn new(seed: u64) -> VirtualNet {
        VirtualNet {
            seed,
            links_made: 0,
            nodes: BTreeMap::new(),
            nats: Vec::new(),
            events: BinaryHeap::new(),
            next_order: 0,
            counters: NetCounters::default(),
            digest: FNV_OFFSET,
        }
    }

    /// A node with a public address. Replaces the one that had it.
    pub fn add_node(&mut self, addr: SocketAddr, up: LinkConfig, down: LinkConfig) {
        self.insert_node(addr, up, down, None);
    }

    /// A node whose datagrams pass a NAT. Its address must be unique in the whole network.
    pub fn add_node_behind(&mut self, nat: NatId, addr: SocketAddr, up: LinkConfig, down: LinkConfig) {
        self.insert_node(addr, up, down, Some(nat));
    }

    pub fn remove_node(&mut self, addr: SocketAddr) {
        self.nodes.remove(&addr);
    }

    pub fn add_nat(&mut self, public: IpAddr, filtering: Filtering) -> NatId {
        self.nats.push(Nat::new(public, filtering));
        NatId(self.nats.len() - 1)
    }

    /// Has something happen at a time; at once, on the next [`VirtualNet::poll`], if it is past.
    pub fn schedule(&mut self, at: Time, change: Change) {
        self.push(at, What::Change(change));
    }

    /// A node sends a datagram. `from` is the node's own address, also behind a NAT.
    pub fn send(&mut self, now: Time, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let Some(node) = self.nodes.get_mut(&from) else {
            self.counters.no_source += 1;
            return;
        };
        for Arrival { at, bytes } in node.up.transmit(now, bytes).into_iter().flatten() {
            self.push_datagram(at, What::AtCore { from, to, bytes });
        }
    }

    /// Everything that reaches a node up to `now`, in order.
    pub fn poll(&mut self, now: Time) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        while self.events.peek().is_some_and(|Reverse(event)| event.at <= now) {
            let Some(Reverse(Event { at, what, .. })) = self.events.pop() else { break };
            match what {
                What::AtCore { from, to, bytes } => self.route(at, from, to, bytes),
                What::AtNode { from, to, bytes } if self.nodes.contains_key(&to) => {
                    let delivery = Delivery { at, from, to, bytes };
                    self.record(&delivery);
                    deliveries.push(delivery);
                }
                What::AtNode { .. } => self.counters.no_destination += 1,
                What::Change(change) => self.change(change),
            }
        }
        deliveries
    }

    /// When [`VirtualNet::poll`] next has something to do.
    pub fn next_event(&self) -> Option<Time> {
        self.events.peek().map(|Reverse(event)| event.at)
    }

    /// The link from this node into the network; its configuration may be changed at any time.
    pub fn uplink(&mut self, node: SocketAddr) -> Option<&mut Link> {
        self.nodes.get_mut(&node).map(|node| &mut node.up)
    }

    /// The link from the network to this node.
    pub fn downlink(&mut self, node: SocketAddr) -> Option<&mut Link> {
        self.nodes.get_mut(&node).map(|node| &mut node.down)
    }

    pub fn nat(&mut self, nat: NatId) -> Option<&mut Nat> {
        self.nats.get_mut(nat.0)
    }

    pub fn counters(&self) -> NetCounters {
        self.counters
    }

    /// A hash over every delivery so far with its time: equal for two runs that went the same way.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    fn insert_node(&mut self, addr: SocketAddr, up: LinkConfig, down: LinkConfig, nat: Option<NatId>) {
        let (up, down) = (self.link(up), self.link(down));
        self.nodes.insert(addr, Node { up, down, nat });
    }

    fn link(&mut self, config: LinkConfig) -> Link {
        self.links_made += 1;
        // Odd multiplier: no two links of a network share a seed, and neighbouring seeds share none.
        Link::new(config, self.seed.wrapping_add(self.links_made.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    fn push_datagram(&mut self, at: Time, what: What) {
        if self.events.len() >= IN_FLIGHT_MAX {
            self.counters.overflow += 1;
            return;
        }
        self.push(at, what);
    }

    fn push(&mut self, at: Time, what: What) {
        self.events.push(Reverse(Event { at, order: self.next_order, what }));
        self.next_order += 1;
    }

    /// From the sender's uplink through both NATs into the receiver's downlink.
    fn route(&mut self, at: Time, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let nat = self.nodes.get(&from).and_then(|node| node.nat);
        let source = nat.and_then(|nat| self.nats.get_mut(nat.0)).map_or(from, |nat| nat.leave(from, to));
        let node = match self.nats.iter_mut().find(|nat| nat.public() == to.ip()) {
            Some(nat) => nat.enter(source, to.port()),
            // An address behind a NAT can't be reached from outside.
            None => self.nodes.get(&to).filter(|node| node.nat.is_none() || node.nat == nat).map(|_| to),
        };
        let Some((to, receiver)) = node.and_then(|to| Some((to, self.nodes.get_mut(&to)?))) else {
            self.counters.no_destination += 1;
            return;
        };
        for Arrival { at, bytes } in receiver.down.transmit(at, bytes).into_iter().flatten() {
            self.push_datagram(at, What::AtNode { from: source, to, bytes });
        }
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Rebind { nat, public } => {
                if let Some(nat) = self.nat(nat) {
                    nat.rebind(public);
                }
            }
            Change::Uplink { node, config } => {
                if let Some(link) = self.uplink(node) {
                    link.config = config;
                }
            }
            Change::Downlink { node, config } => {
                if let Some(link) = self.downlink(node) {
                    link.config = config;
                }
            }
            Change::Move { node, to } => {
                if let Some(moved) = self.nodes.remove(&node) {
                    self.nodes.insert(to, moved);
                }
            }
        }
    }

    fn record(&mut self, delivery: &Delivery) {
        self.counters.delivered += 1;
        let (from, to) = (delivery.from.to_string(), delivery.to.to_string());
        let parts = [&delivery.at.0.to_be_bytes()[..], from.as_bytes(), to.as_bytes(), &delivery.bytes];
        for byte in parts.into_iter().flatten() {
            self.digest = (self.digest ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        }
    }
}

/// FNV-1a, 64 bit.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{GilbertElliott, Jitter};
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn rough_link() -> LinkConfig {
        LinkConfig {
            jitter: Jitter::Normal(Duration::from_millis(4)),
            jitter_reorders: true,
            burst_loss: Some(GilbertElliott::average(0.02, 3.0)),
            duplicate: 0.01,
            reorder: 0.01,
            reorder_by: Duration::from_millis(15),
            corrupt: 0.01,
            ..LinkConfig::with_delay(Duration::from_millis(20))
                .loss(0.03)
                .rate(2_000_000, Duration::from_millis(100))
        }
    }

    /// Two nodes that talk for two seconds over rough links; everything that arrived.
    fn talk(seed: u64) -> (Vec<Delivery>, u64) {
        let (a, b) = (addr("10.0.0.1:1000"), addr("10.0.0.2:2000"));
        let mut net = VirtualNet::new(seed);
        net.add_node(a, rough_link(), rough_link());
        net.add_node(b, rough_link(), rough_link());
        let mut log = Vec::new();
        for ms in 0..2_000u64 {
            let now = Time::from_millis(ms);
            net.send(now, a, b, vec![ms as u8; 200]);
            net.send(now, b, a, vec![ms as u8; 100]);
            log.extend(net.poll(now));
        }
        (log, net.digest())
    }

    #[test]
    fn one_seed_is_one_run() {
        let (log, digest) = talk(7);
        assert!(log.len() > 3_000);
        assert_eq!((log, digest), talk(7));
        assert_ne!(digest, talk(8).1);
    }

    #[test]
    fn deliveries_come_in_order_of_time_and_equal_times_in_order_of_sending() {
        let (a, b) = (addr("10.0.0.1:1000"), addr("10.0.0.2:2000"));
        let mut net = VirtualNet::new(1);
        net.add_node(a, LinkConfig::with_delay(Duration::from_millis(30)), LinkConfig::default());
        net.add_node(b, LinkConfig::default(), LinkConfig::with_delay(Duration::from_millis(5)));
        for i in 0..50 {
            net.send(Time::ZERO, a, b, vec![i]);
        }
        assert_eq!(net.next_event(), Some(Time::from_millis(30)));
        assert!(net.poll(Time::from_millis(34)).is_empty());
        let arrived = net.poll(Time::from_millis(35));
        assert_eq!(arrived.iter().map(|d| d.bytes[0]).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
        assert!(arrived.iter().all(|d| d.at == Time::from_millis(35)));
        assert_eq!(net.next_event(), None);
    }

    #[test]
    fn nat_rebinding_changes_the_source_that_the_server_sees() {
        let (client, server) = (addr("10.0.0.2:5000"), addr("198.51.100.1:7882"));
        let mut net = VirtualNet::new(3);
        let nat = net.add_nat("192.0.2.1".parse().unwrap(), Filtering::AddressAndPort);
        net.add_node_behind(nat, client, LinkConfig::default(), LinkConfig::default());
        net.add_node(server, LinkConfig::default(), LinkConfig::default());
        net.schedule(Time::from_millis(50), Change::Rebind { nat, public: None });

        net.send(Time::ZERO, client, server, vec![1]);
        let first = net.poll(Time::ZERO).remove(0).from;
        assert_eq!(first.ip(), "192.0.2.1".parse::<IpAddr>().unwrap());
        net.send(Time::from_millis(10), server, first, vec![2]);
        assert_eq!(net.poll(Time::from_millis(10)).remove(0).to, client);

        net.send(Time::from_millis(60), server, first, vec![3]);
        assert!(net.poll(Time::from_millis(60)).is_empty());
        net.send(Time::from_millis(61), client, server, vec![4]);
        let second = net.poll(Time::from_millis(61)).remove(0).from;
        assert_ne!(first, second);
        net.send(Time::from_millis(62), server, client, vec![5]);
        assert!(net.poll(Time::from_millis(62)).is_empty(), "the inside address can't be reached");
        assert_eq!(net.counters().no_destination, 2);
    }

    #[test]
    fn a_moved_node_sends_from_its_new_address() {
        let (old, new, server) = (addr("10.0.0.1:1"), addr("10.9.0.1:1"), addr("10.0.0.2:2"));
        let mut net = VirtualNet::new(4);
        net.add_node(old, LinkConfig::default(), LinkConfig::default());
        net.add_node(server, LinkConfig::default(), LinkConfig::default());
        net.schedule(Time::from_millis(5), Change::Move { node: old, to: new });
        net.poll(Time::from_millis(5));
        net.send(Time::from_millis(6), old, server, vec![1]);
        net.send(Time::from_millis(6), new, server, vec![2]);
        net.send(Time::from_millis(6), server, old, vec![3]);
        let arrived = net.poll(Time::from_millis(6));
        assert_eq!(arrived.len(), 1);
        assert_eq!(arrived[0].from, new);
        let counters = net.counters();
        assert_eq!((counters.no_source, counters.no_destination), (1, 1));
    }
}
