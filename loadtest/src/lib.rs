//! The load-test client and the virtual network.
