//! What orchestrators and people ask: is it alive, does it take new participants, which version is it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::App;

/// 200 while every worker goes round its loop; else 503 and which don't.
pub async fn healthz(State(app): State<App>) -> Response {
    let stuck = app.health().stuck_workers();
    let status = if stuck.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let workers = app.health().workers.len();
    (status, Json(json!({ "workers": workers, "stuck_workers": stuck }))).into_response()
}

/// 200 while new participants are taken, 503 once the server is shutting down.
pub async fn readyz(State(app): State<App>) -> Response {
    let draining = app.health().is_draining();
    let status = if draining { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, Json(json!({ "draining": draining }))).into_response()
}

pub async fn version() -> Response {
    Json(json!({ "name": "sfu-server", "version": env!("CARGO_PKG_VERSION"), "protocol": 1 })).into_response()
}
