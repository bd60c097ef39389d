//! What WHIP and WHEP share in HTTP: media types, preconditions, errors as status codes with problem details, CORS, and the
//! requests to a session's URL. What a session is, the control plane knows.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use serde_json::json;
use sfu_core::unit::Time;
use signaling::error::{AnswerError, OfferError};
use signaling::message::IceServer;
use signaling::resource::ENTITY_TAGS_MAX;
use signaling::sdp::SdpError;
use signaling::sdp::fragment::FragmentError;
use signaling::{
    Created, JoinError, Patched, Precondition, Protocol, ResourceError, ResourceId, ResourcePath, Rooms,
};

use super::App;
use super::authorise::{Action, Unauthorised, authorise};

pub const SDP: &str = "application/sdp";
pub const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// Longest body: an SDP has at most 64 KiB.
pub const BODY_LEN_MAX: usize = 64 * 1024;

/// After how many seconds somebody who was refused for now may ask again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// After how many seconds a player may ask again whether somebody publishes.
const RETRY_AFTER_NOT_LIVE: HeaderValue = HeaderValue::from_static("2");

/// A refused request.
#[derive(Debug)]
pub struct Refused {
    status: StatusCode,
    detail: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refused {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Refused {
        Refused { status, detail: detail.into(), header: None }
    }

    fn with(self, name: HeaderName, value: HeaderValue) -> Refused {
        Refused { header: Some((name, value)), ..self }
    }

    pub fn shutting_down() -> Refused {
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down")
            .with(header::RETRY_AFTER, RETRY_AFTER)
    }
}

impl IntoResponse for Refused {
    /// With problem details (RFC 9457).
    fn into_response(self) -> Response {
        let body = json!({
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))];
        let mut response = (self.status, headers, body.to_string()).into_response();
        response.headers_mut().extend(self.header);
        response
    }
}

impl From<Unauthorised> for Refused {
    fn from(Unauthorised(detail): Unauthorised) -> Refused {
        Refused::new(StatusCode::UNAUTHORIZED, detail)
            .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }
}

impl From<ResourceError> for Refused {
    fn from(error: ResourceError) -> Refused {
        let refused = Refused::new(status_of(&error), error.to_string());
        match (&error, refused.status) {
            (ResourceError::NotLive, _) => refused.with(header::RETRY_AFTER, RETRY_AFTER_NOT_LIVE),
            (_, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) => {
                refused.with(header::RETRY_AFTER, RETRY_AFTER)
            }
            _ => refused,
        }
    }
}

/// Malformed is 400, too long 413, understood and impossible 422; docs/whip-whep.md has the table.
fn status_of(error: &ResourceError) -> StatusCode {
    match error {
        ResourceError::NotFound => StatusCode::NOT_FOUND,
        ResourceError::Join(JoinError::RoomFull | JoinError::ServerBusy)
        | ResourceError::TooManyConnecting => StatusCode::SERVICE_UNAVAILABLE,
        ResourceError::Join(_) => StatusCode::BAD_REQUEST,
        ResourceError::Offer(error) | ResourceError::Answer(AnswerError::Invalid(error)) => {
            status_of_offer(error)
        }
        ResourceError::Answer(_) | ResourceError::Unprocessable(_) => StatusCode::UNPROCESSABLE_ENTITY,
        ResourceError::Fragment(FragmentError::TooLong { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
        ResourceError::Fragment(_) | ResourceError::UnknownEvent => StatusCode::BAD_REQUEST,
        ResourceError::NotLive | ResourceError::NothingToAnswer | ResourceError::NotNegotiated => {
            StatusCode::CONFLICT
        }
        ResourceError::PreconditionRequired => StatusCode::PRECONDITION_REQUIRED,
        ResourceError::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        ResourceError::RateLimited => StatusCode::TOO_MANY_REQUESTS,
    }
}

fn status_of_offer(error: &OfferError) -> StatusCode {
    match error {
        OfferError::Sdp(SdpError::TooLong { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
        OfferError::Sdp(_) => StatusCode::BAD_REQUEST,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// Asks the rooms for what they may refuse.
pub async fn ask<T: Send + 'static>(
    app: &App,
    ask: impl FnOnce(&mut Rooms, Time) -> Result<T, ResourceError> + Send + 'static,
) -> Result<T, Refused> {
    Ok(app.ask(ask).await.ok_or_else(Refused::shutting_down)??)
}

/// The session that a request to its URL may change.
pub fn authorised(
    protocol: Protocol,
    room: String,
    id: &str,
    headers: &HeaderMap,
) -> Result<ResourcePath, Refused> {
    authorise(headers, Action::Change)?;
    resource_path(protocol, room, id)
}

/// What a session's URL says. A name that has not even the form of one is not found.
fn resource_path(protocol: Protocol, room: String, id: &str) -> Result<ResourcePath, Refused> {
    let id = ResourceId::new(id).ok_or(ResourceError::NotFound)?;
    Ok(ResourcePath { protocol, room, id })
}

/// The media type without its parameters (RFC 9110 §8.3.1), in lower case; empty without one.
pub fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// 415, with what would do (RFC 9110 §15.5.16).
pub fn unsupported_media_type(method: &Method, accepted: &'static str) -> Refused {
    let name = if *method == Method::PATCH { "accept-patch" } else { "accept-post" };
    Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("Content-Type must be {accepted}"))
        .with(HeaderName::from_static(name), HeaderValue::from_static(accepted))
}

/// The whole body as text.
pub async fn read_body(body: Body) -> Result<String, Refused> {
    let too_large =
        |_| Refused::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body may have {BODY_LEN_MAX} bytes"));
    let bytes: Bytes = to_bytes(body, BODY_LEN_MAX).await.map_err(too_large)?;
    String::from_utf8(bytes.into())
        .map_err(|_| Refused::new(StatusCode::BAD_REQUEST, "the body is not UTF-8"))
}

/// `If-Match`. Some clients write the asterisk in quotes, as an example of the specifications does.
pub fn precondition(headers: &HeaderMap) -> Precondition {
    let values: Vec<&str> =
        headers.get_all(header::IF_MATCH).iter().filter_map(|value| value.to_str().ok()).collect();
    if values.is_empty() {
        return Precondition::Missing;
    }
    let tags = || values.iter().flat_map(|value| value.split(',')).map(str::trim);
    if tags().any(|tag| tag == "*" || tag == "\"*\"") {
        return Precondition::Any;
    }
    let strong = tags().filter_map(|tag| tag.strip_prefix('"')?.strip_suffix('"'));
    Precondition::Tags(strong.take(ENTITY_TAGS_MAX).map(str::to_owned).collect())
}

/// A strong entity tag (RFC 9110 §8.8.3).
fn entity_tag(tag: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((header::ETAG, HeaderValue::from_str(&format!("\"{tag}\"")).ok()?))
}

/// The response that tells of a new session at `location`, with its description.
pub fn created(status: StatusCode, created: &Created, location: &str, content_type: &str) -> Response {
    let mut response = (status, created.sdp.clone()).into_response();
    let headers = response.headers_mut();
    let values = [(header::LOCATION, location), (header::CONTENT_TYPE, content_type)];
    for (name, value) in values {
        // Room names are percent-encoded in the location, so it is always a header's value.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    headers.extend(entity_tag(&created.entity_tag));
    for link in created.ice_servers.iter().flat_map(ice_server_links) {
        headers.extend(HeaderValue::from_str(&link).ok().map(|link| (header::LINK, link)));
    }
    response
}

/// One `Link` for each URL of an ICE server (RFC 9725 §4.6).
fn ice_server_links(server: &IceServer) -> impl Iterator<Item = String> {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let mut parameters = String::from("; rel=\"ice-server\"");
    if let Some(username) = &server.username {
        parameters.push_str(&format!("; username=\"{}\"", quoted(username)));
    }
    if let Some(credential) = &server.credential {
        parameters
            .push_str(&format!("; credential=\"{}\"; credential-type=\"password\"", quoted(credential)));
    }
    server.urls.iter().map(move |url| format!("<{url}>{parameters}"))
}

/// `PATCH` with a fragment of Trickle ICE.
pub async fn patch_ice(
    app: &App,
    path: ResourcePath,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let precondition = precondition(headers);
    let fragment = read_body(body).await?;
    let patched = ask(app, move |rooms, now| rooms.patch_ice(now, &path, &precondition, &fragment)).await?;
    Ok(match patched {
        Patched::Trickled => StatusCode::NO_CONTENT.into_response(),
        Patched::Restarted { entity_tag: tag, fragment } => {
            let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(FRAGMENT))];
            let mut response = (StatusCode::OK, headers, fragment).into_response();
            response.headers_mut().extend(entity_tag(&tag));
            response
        }
    })
}

/// What a session's URL of either protocol answers alike.
pub fn session(protocol: Protocol) -> MethodRouter<App> {
    type Session = Path<(String, String)>;
    MethodRouter::new()
        .delete(move |State(app): State<App>, Path((room, id)): Session, headers: HeaderMap| async move {
            delete(&app, resource_path(protocol, room, &id)?, &headers).await
        })
        .get(move |State(app): State<App>, Path((room, id)): Session, headers: HeaderMap| async move {
            look(&app, resource_path(protocol, room, &id)?, &headers).await
        })
}

/// `DELETE`: whatever entity tag comes with it is ignored (RFC 9725 §4.3.1).
async fn delete(app: &App, path: ResourcePath, headers: &HeaderMap) -> Result<Response, Refused> {
    authorise(headers, Action::Change)?;
    ask(app, move |rooms, now| rooms.delete(now, &path)).await?;
    Ok(StatusCode::OK.into_response())
}

/// `GET` and `HEAD` of a session: it has no representation (RFC 9725 §4.1).
async fn look(app: &App, path: ResourcePath, headers: &HeaderMap) -> Result<Response, Refused> {
    authorise(headers, Action::Change)?;
    ask(app, move |rooms, _| rooms.has_resource(&path).then_some(()).ok_or(ResourceError::NotFound)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Answers `OPTIONS` (RFC 9725 §4.2, Fetch §4.8), and opens every response to pages of other servers: none of these
/// requests is made with anything that a browser adds by itself.
pub async fn cross_origin(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            "Location, ETag, Link, Accept-Post, Accept-Patch, Retry-After",
        ),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The response to `OPTIONS`, preflight or not.
pub fn options(methods: &'static str, accepts: (&'static str, &'static str)) -> Response {
    let (accept, media_types) = accepts;
    let headers = [
        (header::ALLOW, methods),
        (header::ACCESS_CONTROL_ALLOW_METHODS, methods),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, If-Match"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
        (HeaderName::from_static(accept), media_types),
    ];
    (StatusCode::OK, headers).into_response()
}

/// A path segment, percent-encoded (RFC 3986 §3.3).
pub fn encode_segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preconditions_are_read_as_lists_of_strong_tags() {
        let tags = |tags: &[&str]| Precondition::Tags(tags.iter().map(|tag| (*tag).to_owned()).collect());
        for (value, expected) in [
            (None, Precondition::Missing),
            (Some("*"), Precondition::Any),
            (Some("\"*\""), Precondition::Any),
            (Some("\"abc\""), tags(&["abc"])),
            (Some("\"a\", \"b\""), tags(&["a", "b"])),
            (Some("W/\"a\""), tags(&[])),
            (Some("abc"), tags(&[])),
            (Some(""), tags(&[])),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::IF_MATCH, HeaderValue::from_static(value));
            }
            assert_eq!(precondition(&headers), expected, "{value:?}");
        }
    }

    #[test]
    fn ice_servers_become_links_with_quoted_credentials() {
        let server = IceServer {
            urls: vec!["turn:turn.example?transport=udp".into(), "turns:turn.example".into()],
            username: Some("us\"er".into()),
            credential: Some("pass".into()),
        };
        let links: Vec<String> = ice_server_links(&server).collect();
        let parameters =
            r#"; rel="ice-server"; username="us\"er"; credential="pass"; credential-type="password""#;
        assert_eq!(
            links,
            [
                format!("<turn:turn.example?transport=udp>{parameters}"),
                format!("<turns:turn.example>{parameters}"),
            ]
        );
    }

    #[test]
    fn a_room_s_name_is_one_segment_of_a_location() {
        assert_eq!(encode_segment("café / bar"), "caf%C3%A9%20%2F%20bar");
    }
}
