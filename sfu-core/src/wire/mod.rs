//! Bytes to fields and back. Every parser is total: any bytes may come.

pub mod rtp;
