//! The engine of a Selective Forwarding Unit: one worker's world, without I/O, async, or a clock.

pub mod command;
pub mod config;
pub mod demux;
pub mod event;
pub mod transport;
pub mod unit;
pub mod wire;
