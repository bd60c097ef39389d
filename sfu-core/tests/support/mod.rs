//! What the DTLS suites share: peers made of the libraries alone, a link with a virtual clock, real clients
//! over loopback, and SRTP of the `rtc-srtp` crate, so that no key is checked with our own code.
#![allow(dead_code)]

pub mod client;
pub mod http;
pub mod link;
pub mod peer;
pub mod sdp;
pub mod session;
pub mod srtp;
pub mod tamper;
