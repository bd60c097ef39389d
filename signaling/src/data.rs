//! Data messages between participants: the envelope on a data channel, what a participant may send, and how fast.
//! Knows neither rooms nor SCTP.
//!
//! The envelope names the recipients on the way in and the sender on the way out. Text is JSON, binary has a header of a
//! few bytes; both begin with the version (`docs/signaling-protocol.md`, Data messages).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sfu_core::transport::MESSAGE_LEN_MAX;
use sfu_core::unit::{ParticipantId, Time};

use crate::message::{json, wire};

/// Version of both envelopes.
pub const DATA_VERSION: u8 = 1;

/// Longest message with its envelope as a participant sends it. It grows a little when the sender is stamped, and must
/// still be one that everybody takes.
pub const DATA_LEN_MAX: usize = MESSAGE_LEN_MAX - 1_024;

/// Longest label: it names a channel, and isn't text for people.
pub const LABEL_LEN_MAX: usize = 64;

/// Participants that one message may name.
pub const RECIPIENTS_MAX: usize = 255;

/// Messages a second that a participant may send for long, and at once.
const MESSAGES_PER_SECOND: u32 = 100;
const MESSAGES_BURST: u32 = 2_000;

/// Bytes a second that it may send for long, and at once. Each goes to everybody in the room.
const BYTES_PER_SECOND: u32 = 256 * 1_024;
const BYTES_BURST: u32 = 4 * 1_024 * 1_024;

/// Refusals a second that it is told of, and at once.
const REFUSALS_PER_SECOND: u32 = 2;
const REFUSALS_BURST: u32 = 10;

/// Why a data message went to nobody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DataRefusal {
    /// Not the envelope of this version.
    Malformed,
    /// Longer than a message may be, with its label or its recipients.
    TooLong,
    /// Too many messages or bytes a second.
    RateLimited,
    /// None of the named participants is in the room.
    NoRecipient,
}

/// What a message carries.
#[derive(Clone, PartialEq, Debug)]
pub enum Body {
    Json(Value),
    Binary(Vec<u8>),
}

/// A message on its way in.
#[derive(Clone, PartialEq, Debug)]
pub struct Inbound {
    /// `None` for everybody in the room.
    pub to: Option<Vec<ParticipantId>>,
    pub body: Body,
}

#[derive(Deserialize)]
struct TextIn {
    v: u8,
    #[serde(default, deserialize_with = "wire::option_participants")]
    to: Option<Vec<ParticipantId>>,
    data: Value,
}

#[derive(Serialize)]
struct TextOut<'a> {
    v: u8,
    #[serde(serialize_with = "wire::participant")]
    from: ParticipantId,
    /// Sent to named participants only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    private: bool,
    data: &'a Value,
}

impl Inbound {
    /// Reads the envelope of a text message.
    pub fn from_text(text: &[u8]) -> Result<Inbound, DataRefusal> {
        check_len(text.len())?;
        let text = std::str::from_utf8(text).map_err(|_| DataRefusal::Malformed)?;
        let value = json::parse_unique(text).map_err(|_| DataRefusal::Malformed)?;
        let read: TextIn = serde_json::from_value(value).map_err(|_| DataRefusal::Malformed)?;
        if read.v != DATA_VERSION {
            return Err(DataRefusal::Malformed);
        }
        Inbound::new(read.to, Body::Json(read.data))
    }

    /// Reads the envelope of a binary message: version, number of recipients, their ids as 64-bit numbers.
    pub fn from_binary(bytes: &[u8]) -> Result<Inbound, DataRefusal> {
        check_len(bytes.len())?;
        let ([DATA_VERSION, count], rest) = bytes.split_first_chunk().ok_or(DataRefusal::Malformed)? else {
            return Err(DataRefusal::Malformed);
        };
        let (ids, payload) = rest.split_at_checked(8 * usize::from(*count)).ok_or(DataRefusal::Malformed)?;
        let ids = ids.as_chunks().0.iter().map(|id| ParticipantId(u64::from_be_bytes(*id)));
        let to = (*count > 0).then(|| ids.collect());
        Inbound::new(to, Body::Binary(payload.to_vec()))
    }

    /// A message without an envelope, as it comes over the WebSocket.
    pub fn new(to: Option<Vec<ParticipantId>>, body: Body) -> Result<Inbound, DataRefusal> {
        if to.as_ref().is_some_and(|to| to.len() > RECIPIENTS_MAX) {
            return Err(DataRefusal::TooLong);
        }
        Ok(Inbound { to, body })
    }

    /// Its payload on the way out, stamped with the sender.
    pub fn stamped(&self, from: ParticipantId) -> Result<Vec<u8>, DataRefusal> {
        let payload = match &self.body {
            Body::Json(data) => {
                let out = TextOut { v: DATA_VERSION, from, private: self.to.is_some(), data };
                serde_json::to_vec(&out).map_err(|_| DataRefusal::Malformed)?
            }
            Body::Binary(data) => {
                let private = u8::from(self.to.is_some());
                [&[DATA_VERSION, private][..], &from.0.to_be_bytes(), data].concat()
            }
        };
        if payload.len() > MESSAGE_LEN_MAX { Err(DataRefusal::TooLong) } else { Ok(payload) }
    }
}

fn check_len(len: usize) -> Result<(), DataRefusal> {
    if len > DATA_LEN_MAX { Err(DataRefusal::TooLong) } else { Ok(()) }
}

/// What a participant may still send.
#[derive(Debug)]
pub struct DataLimits {
    messages: Budget,
    bytes: Budget,
    refusals: Budget,
}

impl DataLimits {
    pub fn new(now: Time) -> DataLimits {
        DataLimits {
            messages: Budget::new(now, MESSAGES_PER_SECOND, MESSAGES_BURST),
            bytes: Budget::new(now, BYTES_PER_SECOND, BYTES_BURST),
            refusals: Budget::new(now, REFUSALS_PER_SECOND, REFUSALS_BURST),
        }
    }

    pub fn admit(&mut self, now: Time, len: usize) -> Result<(), DataRefusal> {
        let bytes = u32::try_from(len).unwrap_or(u32::MAX);
        if self.messages.take(now, 1) && self.bytes.take(now, bytes) {
            Ok(())
        } else {
            Err(DataRefusal::RateLimited)
        }
    }

    /// Whether the sender is told of a refusal: a flood of them would only fill its queue.
    pub fn tells(&mut self, now: Time) -> bool {
        self.refusals.take(now, 1)
    }
}

/// A token bucket.
#[derive(Debug)]
struct Budget {
    /// When it will be full again, on the assumption that nothing is taken.
    full_at: Time,
    token: Duration,
    burst: Duration,
}

impl Budget {
    fn new(now: Time, per_second: u32, burst: u32) -> Budget {
        let token = Duration::from_secs(1) / per_second.max(1);
        Budget { full_at: now, token, burst: token.saturating_mul(burst) }
    }

    fn take(&mut self, now: Time, tokens: u32) -> bool {
        let full_at = self.full_at.max(now) + self.token.saturating_mul(tokens);
        let fits = full_at.since(now) <= self.burst;
        if fits {
            self.full_at = full_at;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_names_its_recipients_and_is_stamped() {
        let inbound = Inbound::from_text(br#"{"v":1,"to":["p2"],"data":{"text":"hi"}}"#).unwrap();
        assert_eq!(inbound.to, Some(vec![ParticipantId(2)]));
        let out: Value = serde_json::from_slice(&inbound.stamped(ParticipantId(7)).unwrap()).unwrap();
        assert_eq!(out, json!({"v": 1, "from": "p7", "private": true, "data": {"text": "hi"}}));
        let all = Inbound::from_text(br#"{"v":1,"data":"hi","from":"p9"}"#).unwrap();
        let out: Value = serde_json::from_slice(&all.stamped(ParticipantId(7)).unwrap()).unwrap();
        assert_eq!(out, json!({"v": 1, "from": "p7", "data": "hi"}), "nobody stamps himself");
    }

    #[test]
    fn binary_names_its_recipients_and_is_stamped() {
        let to_two = [&[1, 1][..], &2u64.to_be_bytes(), b"xyz"].concat();
        let inbound = Inbound::from_binary(&to_two).unwrap();
        assert_eq!(inbound.to, Some(vec![ParticipantId(2)]));
        let expected = [&[1, 1][..], &7u64.to_be_bytes(), b"xyz"].concat();
        assert_eq!(inbound.stamped(ParticipantId(7)), Ok(expected));
        let to_all = Inbound::from_binary(&[1, 0]).unwrap();
        assert_eq!((to_all.to, to_all.body), (None, Body::Binary(vec![])));
    }

    #[test]
    fn what_is_no_envelope_is_malformed() {
        for text in [
            r#"{"v":2,"data":1}"#,
            r#"{"data":1}"#,
            r#"{"v":1}"#,
            "hello",
            "",
            r#"{"v":1,"data":1,"data":2}"#,
        ] {
            assert_eq!(Inbound::from_text(text.as_bytes()), Err(DataRefusal::Malformed), "{text}");
        }
        for bytes in [&[][..], &[1], &[2, 0], &[1, 1, 0, 0]] {
            assert_eq!(Inbound::from_binary(bytes), Err(DataRefusal::Malformed), "{bytes:?}");
        }
        assert_eq!(Inbound::from_text(&[0xff]), Err(DataRefusal::Malformed));
    }

    #[test]
    fn lengths_are_bounded_also_after_the_stamp() {
        assert_eq!(Inbound::from_binary(&vec![1; DATA_LEN_MAX + 1]), Err(DataRefusal::TooLong));
        // Numbers are written out: the text grows on its way.
        let numbers = format!(r#"{{"v":1,"data":[{}1e15]}}"#, "1e15,".repeat(12_000));
        let inbound = Inbound::from_text(numbers.as_bytes()).unwrap();
        assert_eq!(inbound.stamped(ParticipantId(1)), Err(DataRefusal::TooLong));
    }

    #[test]
    fn a_thousand_messages_at_once_pass_and_a_flood_does_not() {
        let mut limits = DataLimits::new(Time::ZERO);
        let admitted = (0..5_000).filter(|_| limits.admit(Time::ZERO, 100).is_ok()).count();
        assert_eq!(admitted, MESSAGES_BURST as usize);
        assert_eq!(limits.admit(Time::from_millis(100), 100), Ok(()));
        let mut limits = DataLimits::new(Time::ZERO);
        let admitted = (0..5_000).filter(|_| limits.admit(Time::ZERO, 64_000).is_ok()).count();
        assert_eq!(admitted, BYTES_BURST as usize / 64_000);
    }
}
