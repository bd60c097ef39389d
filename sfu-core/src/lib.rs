//! The engine of a Selective Forwarding Unit: one worker's world, without I/O, async, or a clock.
//!
//! The contract of [`Sfu`]:
//! - [`Sfu::receive`] takes one datagram, [`Sfu::command`] one instruction of the control plane,
//!   [`Sfu::handle_timeout`] the passing of [`Sfu::next_timeout`]. Each is given the time; the engine has no
//!   clock. Time never goes backwards.
//! - After a batch of those, [`Sfu::release`] fans out what came in and writes sealed datagrams into a
//!   [`SendBatch`]; repeat while it returns true.
//! - [`Sfu::poll_event`] is drained last. Events are in the order in which things happened.
//! - The same seed, commands, datagrams and times give the same output, byte for byte, as long as the
//!   handshakes do.

pub mod bwe;
pub mod codec;
pub mod command;
pub mod config;
pub mod demux;
pub mod drop;
pub mod event;
mod guard;
pub mod output;
pub mod pacer;
mod packet;
mod packet_store;
mod peer;
mod publisher;
mod room;
mod sfu;
mod subscriber;
pub mod transport;
pub mod unit;
pub mod wire;

pub use drop::{Counters, DropReason};
pub use output::{Path, Run, SendBatch};
pub use sfu::{Load, Sfu, SfuConfig};
