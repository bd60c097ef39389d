//! WHIP in HTTP (RFC 9725): `/whip/{room}` makes sessions, `/whip/{room}/session/{id}` is one. Maps requests to the
//! control plane and its answers to status codes and headers; docs/whip-whep.md has the table.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::from_fn;
use axum::response::Response;
use axum::routing::MethodRouter;
use serde::Deserialize;
use signaling::{Protocol, PublishRequest};

use super::App;
use super::authorise::{Action, authorise};
use super::resource::{self, FRAGMENT, Refused, SDP};

const ENDPOINT_METHODS: &str = "GET, HEAD, POST, OPTIONS";
const SESSION_METHODS: &str = "GET, HEAD, PATCH, DELETE, OPTIONS";

pub fn routes() -> Router<App> {
    let endpoint = MethodRouter::new()
        .post(publish)
        .get(|| async { StatusCode::NO_CONTENT })
        .options(|| async { resource::options(ENDPOINT_METHODS, ("accept-post", SDP)) });
    let session = resource::session(Protocol::Whip)
        .patch(patch)
        .options(|| async { resource::options(SESSION_METHODS, ("accept-patch", FRAGMENT)) });
    Router::new()
        .route("/whip/{room}", endpoint)
        .route("/whip/{room}/session/{id}", session)
        .layer(from_fn(resource::cross_origin))
}

/// What an endpoint's URL may add.
#[derive(Debug, Default, Deserialize)]
struct Options {
    /// Replaces an earlier participant of the same identity.
    identity: Option<String>,
    /// As the others see it.
    name: Option<String>,
    /// `screen`, or a camera.
    source: Option<String>,
}

async fn publish(
    State(app): State<App>,
    Path(room): Path<String>,
    options: Result<Query<Options>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    authorise(&headers, Action::Publish(&room))?;
    if app.health().is_draining() {
        return Err(Refused::shutting_down());
    }
    if resource::media_type(&headers) != SDP {
        return Err(resource::unsupported_media_type(&Method::POST, SDP));
    }
    let Query(options) = options.map_err(|error| Refused::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let screen = match options.source.as_deref() {
        None | Some("camera") => false,
        Some("screen") => true,
        Some(_) => return Err(Refused::new(StatusCode::BAD_REQUEST, "source is camera or screen")),
    };
    let sdp = resource::read_body(body).await?;
    let location = format!("/whip/{}/session/", resource::encode_segment(&room));
    let request = PublishRequest { room, identity: options.identity, name: options.name, screen, sdp };
    let created = resource::ask(&app, move |rooms, now| rooms.publish(now, &request)).await?;
    // Without its name, which is the key to it.
    tracing::info!(at = %location, "WHIP session begins");
    let location = location + created.id.as_str();
    Ok(resource::created(StatusCode::CREATED, &created, &location, SDP))
}

async fn patch(
    State(app): State<App>,
    Path((room, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let path = resource::authorised(Protocol::Whip, room, &id, &headers)?;
    if resource::media_type(&headers) != FRAGMENT {
        return Err(resource::unsupported_media_type(&Method::PATCH, FRAGMENT));
    }
    resource::patch_ice(&app, path, &headers, body).await
}
