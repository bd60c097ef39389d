//! The one place that decides who may publish, watch and end what over HTTP. Today there are no keys to check a token
//! against: whoever reaches the server may join, as over the WebSocket. Knows nothing of sessions.

use axum::http::header::{self, HeaderMap};

/// Longest token taken; a signed one has about a kilobyte.
const TOKEN_LEN_MAX: usize = 8 * 1024;

/// What a request wants.
#[derive(Clone, Copy, Debug)]
pub enum Action<'a> {
    /// To send into this room.
    Publish(&'a str),
    /// To receive from this room.
    Watch(&'a str),
    /// To change or end a session. Its name is a secret that only its maker was told.
    Change,
}

impl<'a> Action<'a> {
    /// Which room it is about; `None` where the session's name says it.
    fn room(self) -> Option<&'a str> {
        match self {
            Action::Publish(room) | Action::Watch(room) => Some(room),
            Action::Change => None,
        }
    }
}

/// Why a request may not go on: it must come with a bearer token, in this form (RFC 6750 §2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unauthorised(pub &'static str);

/// Whether these headers allow this action. A token is optional, but what is sent must be one.
pub fn authorise(headers: &HeaderMap, action: Action<'_>) -> Result<(), Unauthorised> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(()) };
    if values.next().is_some() {
        return Err(Unauthorised("more than one Authorization header"));
    }
    let value = value.to_str().map_err(|_| Unauthorised("Authorization is no text"))?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Unauthorised("only bearer tokens are taken"));
    }
    let token = token.trim();
    if !is_token(token) {
        return Err(Unauthorised("not a bearer token"));
    }
    tracing::trace!(room = action.room(), "a token was sent");
    Ok(())
}

/// `b64token` of RFC 6750 §2.1.
fn is_token(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    let body = text.trim_end_matches('=');
    !body.is_empty() && text.len() <= TOKEN_LEN_MAX && body.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_token_is_optional_and_must_be_one() {
        for (value, expected) in [
            (None, true),
            (Some("Bearer abc.def-ghi_~+/=="), true),
            (Some("bearer abc"), true),
            (Some("Bearer"), false),
            (Some("Bearer "), false),
            (Some("Bearer a b"), false),
            (Some("Bearer =="), false),
            (Some("Basic YTpi"), false),
            (Some(""), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            assert_eq!(authorise(&headers, Action::Publish("room")).is_ok(), expected, "{value:?}");
        }
    }
}
