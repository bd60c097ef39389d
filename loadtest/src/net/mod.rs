//! A virtual network: links with faults, NATs, a virtual clock and one seed. It moves datagrams between
//! addresses and knows nothing of what is in them.

pub mod clock;
pub mod link;
pub mod nat;
pub mod wan;

pub use clock::Time;
pub use link::{GilbertElliott, Jitter, Link, LinkConfig, LinkCounters, Outage, RateLimit};
pub use nat::{Filtering, Nat, NatCounters, NatId};
pub use wan::{Change, Delivery, NetCounters, VirtualNet};
