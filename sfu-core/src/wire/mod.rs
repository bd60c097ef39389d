//! Bytes to fields and back. Every parser is total: any bytes may come.

pub mod dcep;
pub mod payload;
pub mod rtcp;
pub mod rtp;
pub mod rtp_ext;
pub mod rtx;
pub mod sctp;
pub mod stun;
