//! A server in this process on free loopback ports, and small clients for its HTTP and WebSocket sides that share no code
//! with it.
#![allow(dead_code, reason = "each test program uses its own part")]

pub mod peer;

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use sfu_server::config::Config;
use sfu_server::server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// What takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(15);

pub struct TestServer(Server);

impl TestServer {
    pub fn config() -> Config {
        Config {
            http: "127.0.0.1:0".parse().unwrap(),
            udp_bind: "127.0.0.1".parse().unwrap(),
            udp_port: 0,
            workers: 2,
            ..Config::default()
        }
    }

    pub async fn start() -> TestServer {
        TestServer(Server::start(&TestServer::config()).await.unwrap())
    }

    pub fn http(&self) -> SocketAddr {
        self.0.http
    }

    pub fn udp_port(&self) -> u16 {
        self.0.media.first().unwrap().local.port()
    }

    pub async fn stop(self) {
        self.0.shut_down().await.unwrap();
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        request(self.http(), "GET", path, headers, b"").await
    }

    /// What a response that doesn't end begins with, up to `last`.
    pub async fn begin_of(&self, path: &str, last: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.http()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.http());
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        while !bytes.windows(last.len()).any(|part| part == last) {
            let more = tokio::time::timeout(PATIENCE, stream.read_buf(&mut bytes)).await.unwrap().unwrap();
            assert_ne!(more, 0, "{}", String::from_utf8_lossy(&bytes));
        }
        String::from_utf8(bytes).unwrap()
    }
}

/// One request on a connection of its own.
pub async fn request(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || matches!(method, "POST" | "PATCH" | "PUT") {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    // A server that refuses a body may close before it has taken all of it.
    let _ = stream.write_all(body).await;
    let mut bytes = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    Response::parse(&bytes)
}

pub struct Response {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    fn parse(bytes: &[u8]) -> Response {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Response { status, headers, body: bytes[end + 4..].to_vec() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// All values of a header.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub struct WsClient(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl WsClient {
    pub async fn connect(server: &TestServer) -> WsClient {
        WsClient::connect_from(server, None).await.unwrap()
    }

    /// Fails with the HTTP status that refused it.
    pub async fn connect_from(server: &TestServer, origin: Option<&str>) -> Result<WsClient, u16> {
        let mut request = format!("ws://{}/ws", server.http()).into_client_request().unwrap();
        if let Some(origin) = origin {
            request.headers_mut().insert("Origin", origin.parse().unwrap());
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((stream, _)) => Ok(WsClient(stream)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    pub async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// Joins and returns `joined`.
    pub async fn join(&mut self, room: &str, name: &str) -> Value {
        self.send(&json!({ "type": "join", "version": 1, "room": room, "name": name }).to_string()).await;
        let joined = self.message().await;
        assert_eq!(joined["type"], "joined", "{joined}");
        joined
    }

    /// The next message.
    pub async fn message(&mut self) -> Value {
        match self.frame().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("no message but {other:?}"),
        }
    }

    /// The next message of this type; others are passed over.
    pub async fn message_of(&mut self, kind: &str) -> Value {
        loop {
            let message = self.message().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// Code and reason with which the server closes; messages before are passed over.
    pub async fn close_frame(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(frame) = self.frame().await {
                let frame = frame.unwrap();
                return (frame.code.into(), frame.reason.to_string());
            }
        }
    }

    /// The connection ends, and no message comes before.
    pub async fn ends_without_message(&mut self) {
        match tokio::time::timeout(PATIENCE, self.0.next()).await.unwrap() {
            None | Some(Err(_)) | Some(Ok(Message::Close(_))) => {}
            Some(Ok(other)) => panic!("got {other:?}"),
        }
    }

    /// The next frame that isn't a ping.
    async fn frame(&mut self) -> Message {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.unwrap().unwrap().unwrap() {
                Message::Ping(_) => {}
                other => return other,
            }
        }
    }
}
