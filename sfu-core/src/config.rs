//! Named bounds and times of the engine, with their reasons. What nobody should tune is a constant.

use std::time::Duration;

/// Consent to send expires this long after the last authenticated check (RFC 7675 §5.1).
pub const CONSENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Silence after which the room is told that a participant is reconnecting: browsers check every 2.5 s or
/// more often, so this is several lost checks.
pub const CONSENT_WARN: Duration = Duration::from_secs(10);

/// A transport that has no valid pair this long after opening is closed.
pub const ICE_TIMEOUT: Duration = Duration::from_secs(30);
