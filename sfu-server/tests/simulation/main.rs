//! The service under a virtual network and a virtual clock: every test is a phenomenon, every run a seed. Nothing
//! sleeps, nothing opens a port, keys are injected. A test that injects a fault asserts that the fault happened.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail loudly")]

mod codecs;
mod connect;
mod handshake;
mod layers;
mod loss;
mod path;
mod session;
mod source;
mod world;
