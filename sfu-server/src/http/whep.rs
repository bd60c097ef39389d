//! WHEP in HTTP (draft-ietf-wish-whep): `/whep/{room}` and `/whep/{room}/{participant}` make sessions,
//! `/whep/{room}/session/{id}` is one. Maps requests to the control plane and its answers to status codes and headers;
//! docs/whip-whep.md has the table.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use signaling::{Follow, Protocol, ViewRequest, Viewed};

use super::App;
use super::authorise::{Action, authorise};
use super::events;
use super::resource::{self, FRAGMENT, Refused, SDP};

const ENDPOINT_METHODS: &str = "GET, HEAD, POST, OPTIONS";
const SESSION_METHODS: &str = "GET, HEAD, PATCH, DELETE, OPTIONS";
const PATCH_TYPES: &str = "application/trickle-ice-sdpfrag, application/sdp";

pub fn routes() -> Router<App> {
    let endpoint = |post: MethodRouter<App>| {
        post.get(discover).options(|| async { resource::options(ENDPOINT_METHODS, ("accept-post", SDP)) })
    };
    let session = resource::session(Protocol::Whep)
        .patch(patch)
        .options(|| async { resource::options(SESSION_METHODS, ("accept-patch", PATCH_TYPES)) });
    Router::new()
        .route("/whep/{room}", endpoint(MethodRouter::new().post(view_room)))
        .route("/whep/{room}/{participant}", endpoint(MethodRouter::new().post(view_participant)))
        .route("/whep/{room}/session/{id}", session)
        .merge(events::routes())
        .layer(from_fn(resource::cross_origin))
}

/// `HEAD` tells players that this is WHEP by its media type (draft §4.2); `GET` has no content, either.
async fn discover() -> Response {
    (StatusCode::OK, [(header::CONTENT_TYPE, HeaderValue::from_static(SDP))]).into_response()
}

async fn view_room(
    State(app): State<App>,
    Path(room): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    view(&app, room, Follow::Speaker, &headers, body).await
}

async fn view_participant(
    State(app): State<App>,
    Path((room, identity)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    view(&app, room, Follow::Identity(identity), &headers, body).await
}

async fn view(
    app: &App,
    room: String,
    follow: Follow,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    authorise(headers, Action::Watch(&room))?;
    if app.health().is_draining() {
        return Err(Refused::shutting_down());
    }
    let media_type = resource::media_type(headers);
    if !media_type.is_empty() && media_type != SDP {
        return Err(resource::unsupported_media_type(&Method::POST, SDP));
    }
    let body = resource::read_body(body).await?;
    // Players of the first drafts ask for an offer by sending nothing.
    if !body.is_empty() && media_type.is_empty() {
        return Err(resource::unsupported_media_type(&Method::POST, SDP));
    }
    let location = format!("/whep/{}/session/", resource::encode_segment(&room));
    let request = ViewRequest { room, follow, offer: Some(body).filter(|body| !body.is_empty()) };
    let viewed = resource::ask(app, move |rooms, now| rooms.view(now, &request)).await?;
    let (status, created) = match viewed {
        Viewed::Answered(created) | Viewed::Offered(created) => (StatusCode::CREATED, created),
        Viewed::CounterOffered(created, why) => {
            tracing::debug!(%why, "WHEP offer was not taken");
            (StatusCode::NOT_ACCEPTABLE, created)
        }
    };
    // Without its name, which is the key to it.
    tracing::info!(at = %location, "WHEP session begins");
    let location = location + created.id.as_str();
    let mut response = resource::created(status, &created, &location, SDP);
    for link in events::links(&location) {
        response.headers_mut().append(header::LINK, link);
    }
    Ok(response)
}

/// A fragment of Trickle ICE, or the answer to our offer.
async fn patch(
    State(app): State<App>,
    Path((room, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let path = resource::authorised(Protocol::Whep, room, &id, &headers)?;
    match resource::media_type(&headers).as_str() {
        FRAGMENT => resource::patch_ice(&app, path, &headers, body).await,
        SDP => {
            let sdp = resource::read_body(body).await?;
            resource::ask(&app, move |rooms, now| rooms.answer_offer(now, &path, &sdp)).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        _ => Err(resource::unsupported_media_type(&Method::PATCH, PATCH_TYPES)),
    }
}
