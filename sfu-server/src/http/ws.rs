//! One WebSocket of the signalling protocol (docs/signaling-protocol.md): its limits and time-outs. It parses messages and
//! hands them to the control plane; it doesn't know what they mean.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap};
use axum::response::{IntoResponse, Response};
use sfu_core::unit::Time;
use signaling::{ClientMessage, ErrorCode, JoinRequest, ServerMessage, SessionId, parse_client_message};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;

use super::App;
use crate::control::{ConnectionId, OUTGOING_MESSAGES, Outgoing, Request};

/// Longest message in bytes: an SDP of 64 KiB fits several times.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Time for the first message, which must be `join`.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);

const PING_INTERVAL: Duration = Duration::from_secs(10);

/// Silence after which the connection counts as lost: two pings went unanswered.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// One message takes longer than this only towards a reader that is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Texts that are no messages, of one connection, before it is closed: no client of ours sends any.
const BAD_MESSAGES_MAX: u32 = 20;

/// Why a connection ends, as its close frame says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// The peer has gone.
    Peer,
    /// The session is over and the participant was told.
    Session,
    /// This peer breaks the protocol or its limits.
    Policy(&'static str),
}

/// `GET /ws`.
pub async fn upgrade(State(app): State<App>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    if !is_same_origin(&headers) {
        return (StatusCode::FORBIDDEN, "this page comes from another server").into_response();
    }
    if app.health().is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down").into_response();
    }
    let Ok(permit) = std::sync::Arc::clone(&app.shared.websockets).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many connections").into_response();
    };
    upgrade
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| serve(app, socket, permit))
}

/// Whether a browser sent this from a page of this server. Without `Origin` it is no browser, and needs no protection
/// from other sites. Loopback is no exception: any page on the web may open a socket to it.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let authority =
        origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    matches!((authority, host), (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host))
}

async fn serve(app: App, mut socket: WebSocket, _permit: OwnedSemaphorePermit) {
    let connection = app.next_connection();
    let end = match join(&app, connection, &mut socket).await {
        Ok((session, outgoing)) => {
            let end = Session { app: &app, connection, session, socket: &mut socket }.run(outgoing).await;
            // When the session ended by itself this finds nothing to do.
            let _ = app.shared.requests.send(Request::Lost { connection, session }).await;
            end
        }
        Err(end) => end,
    };
    tracing::debug!(connection = connection.0, ?end, "WebSocket ends");
    let (code, reason) = match end {
        End::Peer => return,
        End::Session => (close_code::NORMAL, ""),
        End::Policy(reason) => (close_code::POLICY, reason),
    };
    let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
    // A peer that doesn't take it is gone already.
    let _ = timeout(WRITE_TIMEOUT, socket.send(Message::Close(Some(frame)))).await;
}

/// Waits for `join` and passes it on.
async fn join(
    app: &App,
    connection: ConnectionId,
    socket: &mut WebSocket,
) -> Result<(SessionId, mpsc::Receiver<Outgoing>), End> {
    let text = match timeout(JOIN_TIMEOUT, first_text(socket)).await {
        Ok(Some(text)) => text,
        Ok(None) => return Err(End::Peer),
        Err(_) => return Err(End::Policy("no join in time")),
    };
    let join = match parse_client_message(&text) {
        Ok(ClientMessage::Join(join)) => join,
        Ok(_) => {
            refuse(socket, ErrorCode::NotJoined, "the first message must be join").await?;
            return Err(End::Policy("not joined"));
        }
        Err(error) => {
            refuse(socket, error.code(), &error.to_string()).await?;
            return Err(End::Policy("bad message"));
        }
    };
    match ask_to_join(app, connection, join).await {
        Some(Ok(joined)) => Ok(joined),
        Some(Err(error)) => {
            refuse(socket, error.code(), &error.to_string()).await?;
            Err(End::Policy("join refused"))
        }
        None => {
            refuse(socket, ErrorCode::ServerBusy, "the server is shutting down").await?;
            Err(End::Policy("shutting down"))
        }
    }
}

type Joined = Result<(SessionId, mpsc::Receiver<Outgoing>), signaling::JoinError>;

/// `None` when the control plane has ended.
async fn ask_to_join(app: &App, connection: ConnectionId, join: JoinRequest) -> Option<Joined> {
    let (outgoing, receiver) = mpsc::channel(OUTGOING_MESSAGES);
    let (reply, answer) = oneshot::channel();
    app.shared.requests.send(Request::Join { connection, join, outgoing, reply }).await.ok()?;
    Some(answer.await.ok()?.map(|session| (session, receiver)))
}

async fn first_text(socket: &mut WebSocket) -> Option<Utf8Bytes> {
    loop {
        match socket.recv().await?.ok()? {
            Message::Text(text) => return Some(text),
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Binary(_) | Message::Close(_) => return None,
        }
    }
}

/// Sends an `error`.
async fn refuse(socket: &mut WebSocket, code: ErrorCode, message: &str) -> Result<(), End> {
    write(socket, Message::text(ServerMessage::error(code, message).to_json())).await
}

async fn write(socket: &mut WebSocket, message: Message) -> Result<(), End> {
    match timeout(WRITE_TIMEOUT, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::Peer),
    }
}

/// A connection that has joined.
struct Session<'a> {
    app: &'a App,
    connection: ConnectionId,
    session: SessionId,
    socket: &'a mut WebSocket,
}

impl Session<'_> {
    /// Moves messages both ways until one side ends it.
    async fn run(&mut self, mut outgoing: mpsc::Receiver<Outgoing>) -> End {
        let clock = self.app.health().clock;
        let mut last_heard = clock.now();
        let mut bad_messages = 0;
        let mut ping = tokio::time::interval(PING_INTERVAL);
        loop {
            let step = tokio::select! {
                outgoing = outgoing.recv() => self.pass_out(outgoing).await,
                received = self.socket.recv() => {
                    last_heard = clock.now();
                    match received {
                        Some(Ok(message)) => self.take_in(message, &mut bad_messages).await,
                        Some(Err(_)) | None => Err(End::Peer),
                    }
                }
                _ = ping.tick() => self.check_alive(clock.now(), last_heard).await,
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn pass_out(&mut self, outgoing: Option<Outgoing>) -> Result<(), End> {
        match outgoing {
            Some(Outgoing::Message(text)) => write(self.socket, Message::text(text)).await,
            Some(Outgoing::End) => Err(End::Session),
            // Too slow, or another connection has taken the session over.
            None => Err(End::Policy("given up")),
        }
    }

    async fn take_in(&mut self, message: Message, bad_messages: &mut u32) -> Result<(), End> {
        let text = match message {
            Message::Text(text) => text,
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Binary(_) => return Err(End::Policy("binary message")),
            Message::Close(_) => return Err(End::Peer),
        };
        let message = parse_client_message(&text);
        if message.is_err() {
            *bad_messages += 1;
            if *bad_messages == BAD_MESSAGES_MAX {
                return Err(End::Policy("bad messages"));
            }
        }
        let (connection, session) = (self.connection, self.session);
        let request = Request::Message { connection, session, message };
        self.app.shared.requests.send(request).await.map_err(|_| End::Session)
    }

    async fn check_alive(&mut self, now: Time, last_heard: Time) -> Result<(), End> {
        if now.since(last_heard) >= IDLE_TIMEOUT {
            return Err(End::Policy("idle"));
        }
        write(self.socket, Message::Ping(Bytes::new())).await
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_pages_of_this_server_may_connect() {
        let cases = [
            (None, "127.0.0.1:8080", true),
            (Some("http://127.0.0.1:8080"), "127.0.0.1:8080", true),
            (Some("https://Meet.Example"), "meet.example", true),
            (Some("http://127.0.0.1:3000"), "127.0.0.1:8080", false),
            (Some("https://evil.example"), "127.0.0.1:8080", false),
            (Some("https://meet.example.evil.example"), "meet.example", false),
            (Some("null"), "127.0.0.1:8080", false),
        ];
        for (origin, host, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(is_same_origin(&headers), expected, "{origin:?} at {host}");
        }
        let mut without_host = HeaderMap::new();
        without_host.insert(header::ORIGIN, HeaderValue::from_static("http://127.0.0.1:8080"));
        assert!(!is_same_origin(&without_host));
    }
}
