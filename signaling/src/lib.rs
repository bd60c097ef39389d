//! Sessions, messages and SDP negotiation, sans-I/O.
//!
//! [`Rooms`] is the one writer of membership and desired state. A client's messages and the workers' events go in; each
//! session's ordered queue of messages and the commands for the workers come out. Nothing here reads a clock, draws
//! randomness of its own or touches a socket: one seed and one sequence of calls is one run.
//!
//! ```text
//!  message            JSON ↔ values
//!  whip, whep         participants of HTTP front-ends          resource   what both have in common
//!  viewer             what a player may ask and hear
//!  rooms              all rooms, sessions, deadlines           ← start reading here
//!  room               who is in it, and what follows for the others
//!  participant        its tracks, its wishes, what its client and worker were told
//!  data               envelopes and limits of what participants send each other
//!  negotiate          offer/answer of one transport            slots   which track shows where
//!  sdp                text ↔ typed m-sections
//! ```
//!
//! The caller drains [`Rooms::poll_ready`], [`Rooms::poll_message`] and [`Rooms::poll_command`] after every call that
//! takes `&mut self`, and calls [`Rooms::handle_timeout`] at [`Rooms::next_timeout`].

mod candidate;
pub mod codec_policy;
pub mod data;
mod directory;
pub mod error;
pub mod message;
pub mod negotiate;
mod participant;
pub mod resource;
mod room;
mod rooms;
pub mod sdp;
mod session;
pub mod slots;
pub mod viewer;
pub mod whep;
pub mod whip;

pub use codec_policy::{CodecName, CodecPolicy, CodecPolicyError};
pub use error::{ErrorCode, JoinError, MessageError, ResourceError};
pub use message::{ClientMessage, JoinRequest, ServerMessage, parse_client_message};
pub use negotiate::NodeId;
pub use resource::{Created, Patched, Precondition, Protocol, ResourceId, ResourcePath};
pub use rooms::{Rooms, RoomsConfig, RoomsStats, WorkerInfo};
pub use session::SessionId;
pub use whep::{Follow, ViewRequest, Viewed};
pub use whip::PublishRequest;
