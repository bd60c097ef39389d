//! The SFU server: the engine and the sessions of the other crates, given sockets, threads, a clock and HTTP.

pub mod announce;
pub mod clock;
pub mod config;
pub mod control;
pub mod http;
pub mod inbox;
pub mod net;
pub mod server;
pub mod worker;
