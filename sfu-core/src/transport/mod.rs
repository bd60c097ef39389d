//! The encrypted path of one participant: ICE, DTLS and SRTP.

pub mod dtls;
pub mod handshake;
