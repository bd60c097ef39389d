//! The HTTP rim: the pages, the WebSocket of the signalling protocol, WHIP and WHEP, and the checks of orchestrators. It
//! knows requests and headers; what messages mean is the control plane's business.

mod authorise;
mod events;
mod health;
mod page;
mod resource;
mod whep;
mod whip;
mod ws;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use sfu_core::unit::Time;
use signaling::Rooms;
use tokio::sync::{Semaphore, mpsc};

use crate::control::{ConnectionId, Health, Question, Request as ControlRequest};

/// Open WebSockets; each costs a task and some buffers, and this is several thousand rooms.
const WEBSOCKETS_MAX: u32 = 20_000;

/// What every request may use.
#[derive(Clone, Debug)]
pub struct App {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    requests: mpsc::Sender<ControlRequest>,
    health: Health,
    next_connection: AtomicU64,
    /// A permit for each WebSocket that may be open.
    websockets: Arc<Semaphore>,
    /// A permit for each event stream that may be read.
    event_streams: Arc<Semaphore>,
}

impl App {
    pub fn new(requests: mpsc::Sender<ControlRequest>, health: Health) -> App {
        let websockets = Arc::new(Semaphore::new(WEBSOCKETS_MAX as usize));
        let next_connection = AtomicU64::new(0);
        let event_streams = Arc::new(Semaphore::new(events::READERS_MAX));
        App { shared: Arc::new(Shared { requests, health, next_connection, websockets, event_streams }) }
    }

    /// Waits until no WebSocket is open any more, and lets none open after that.
    pub async fn websockets_closed(&self) {
        // The semaphore is never closed by anybody else, so this fails only when it has been done before.
        if let Ok(all) = self.shared.websockets.acquire_many(WEBSOCKETS_MAX).await {
            all.forget();
        }
    }

    fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.shared.next_connection.fetch_add(1, Ordering::Relaxed))
    }

    /// Asks the rooms; `None` when the control plane has ended.
    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Rooms, Time) -> T + Send + 'static,
    ) -> Option<T> {
        let (question, answer) = Question::new(ask);
        self.shared.requests.send(ControlRequest::Ask(question)).await.ok()?;
        answer.await.ok()
    }

    fn health(&self) -> &Health {
        &self.shared.health
    }
}

/// All that the server answers.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/", get(page::start))
        .route("/conference", get(page::conference))
        .route("/broadcast", get(page::broadcast))
        .route("/watch", get(page::watch))
        .route("/room/{name}", get(page::conference))
        .route("/assets/{name}", get(page::asset))
        .route("/ws", get(ws::upgrade))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/version", get(health::version))
        .merge(whip::routes())
        .merge(whep::routes())
        .layer(from_fn(secure))
        .with_state(app)
}

/// Everything comes from this server: no inline script, no frame around the page, no form to elsewhere. `data:` is for
/// small images in the style sheet, `blob:` for media that the page makes.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob: mediastream:; \
     object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Headers on every response.
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    // The room's name is in the address: it is nobody else's business.
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(self), microphone=(self), display-capture=(self), geolocation=()"),
    ),
];

async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().extend(SECURITY_HEADERS);
    response
}
