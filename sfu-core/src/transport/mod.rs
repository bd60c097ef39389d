//! The encrypted path of one participant: ICE, DTLS and SRTP.

pub mod handshake;
pub mod srtp;
