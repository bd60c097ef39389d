//! Bytes to fields and back. Every parser is total: any bytes may come.

pub mod bits;
pub mod dcep;
pub mod dependency_descriptor;
pub mod payload;
pub mod references;
pub mod rtcp;
pub mod rtp;
pub mod rtp_ext;
pub mod rtx;
pub mod sctp;
pub mod stun;
pub mod video_layers_allocation;
