//! Sessions, messages and SDP negotiation, sans-I/O.
