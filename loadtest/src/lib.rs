//! The load-test client and the virtual network that simulations run on. Nothing here uses the engine's own
//! packet code: both ends of a test must not be able to share a mistake.

pub mod client;
pub mod net;
