//! The HTTP rim of a whole server, over loopback: page, headers, health, and the limits of the WebSocket.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::time::Duration;

use common::{TestServer, WsClient};
use serde_json::json;

#[tokio::test]
async fn every_page_has_its_address() {
    let server = TestServer::start().await;
    for (path, script) in [
        ("/", "start.js"),
        ("/conference?room=standup", "conference.js"),
        ("/room/standup", "conference.js"),
        ("/room/caf%C3%A9%20%2F%20bar", "conference.js"),
        ("/broadcast?room=standup", "broadcast.js"),
        ("/watch?room=standup&participant=ann", "watch.js"),
    ] {
        let response = server.get(path, &[]).await;
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
        let page = String::from_utf8(response.body).unwrap();
        assert!(page.starts_with("<!doctype html>"), "{path}");
        assert!(page.contains(&format!("src=\"/assets/{script}\"")), "{path}");
    }
    let old = server.get("/?name=ann&room=caf%C3%A9&autojoin=1", &[]).await;
    assert_eq!(old.status, 307);
    assert_eq!(old.header("location"), Some("/conference?name=ann&room=caf%C3%A9&autojoin=1"));
    for (path, kind) in
        [("conference.js", "text/javascript"), ("base.css", "text/css"), ("icons.svg", "image/svg+xml")]
    {
        let response = server.get(&format!("/assets/{path}"), &[]).await;
        assert_eq!(response.status, 200, "{path}");
        assert!(response.header("content-type").unwrap().starts_with(kind), "{path}");
    }
    for path in
        ["/nothing", "/assets/nothing.js", "/assets/../Cargo.toml", "/assets/conference.html", "/room/a/b"]
    {
        assert_eq!(server.get(path, &[]).await.status, 404, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn every_response_forbids_foreign_content() {
    let server = TestServer::start().await;
    for path in ["/", "/healthz", "/nothing", "/ws"] {
        let response = server.get(path, &[]).await;
        let policy = response.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'self'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(response.header("referrer-policy"), Some("no-referrer"), "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_unchanged_page_is_not_sent_again() {
    let server = TestServer::start().await;
    let first = server.get("/", &[]).await;
    let etag = first.header("etag").unwrap().to_owned();
    let second = server.get("/", &[("If-None-Match", &etag)]).await;
    assert_eq!(second.status, 304);
    assert!(second.body.is_empty());
    assert_eq!(second.header("etag"), Some(etag.as_str()));
    assert_eq!(server.get("/", &[("If-None-Match", "\"another\"")]).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_running_server_is_healthy_and_ready() {
    let server = TestServer::start().await;
    let health = server.get("/healthz", &[]).await;
    assert_eq!(health.status, 200);
    assert_eq!(health.json(), json!({ "workers": 2, "stuck_workers": [] }));
    let ready = server.get("/readyz", &[]).await;
    assert_eq!((ready.status, ready.json()), (200, json!({ "draining": false })));
    let version = server.get("/version", &[]).await.json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(version["protocol"], 1);
    // Idle workers sleep, but never for so long that they look stuck.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(server.get("/healthz", &[]).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn pages_of_other_servers_may_not_connect() {
    let server = TestServer::start().await;
    let own = format!("http://{}", server.http());
    for (origin, allowed) in [(own.as_str(), true), ("https://evil.example", false), ("null", false)] {
        let result = WsClient::connect_from(&server, Some(origin)).await;
        assert_eq!(result.map_err(|status| assert_eq!(status, 403)).is_ok(), allowed, "{origin}");
    }
    WsClient::connect_from(&server, None).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_silent_socket_is_closed_after_five_seconds() {
    let server = TestServer::start().await;
    let mut client = WsClient::connect(&server).await;
    let start = tokio::time::Instant::now();
    let (code, reason) = client.close_frame().await;
    assert_eq!((code, reason.as_str()), (1008, "no join in time"));
    let waited = start.elapsed();
    assert!(waited > Duration::from_millis(4_500) && waited < Duration::from_secs(8), "{waited:?}");
    server.stop().await;
}

#[tokio::test]
async fn the_first_message_must_be_a_join() {
    let server = TestServer::start().await;
    for (text, error) in [(r#"{"type":"ping"}"#, "not_joined"), ("{", "bad_message"), ("{}", "bad_message")] {
        let mut client = WsClient::connect(&server).await;
        client.send(text).await;
        let message = client.message().await;
        assert_eq!((&message["type"], &message["code"]), (&json!("error"), &json!(error)), "{text}");
        assert_eq!(client.close_frame().await.0, 1008);
    }
    server.stop().await;
}

#[tokio::test]
async fn an_oversized_message_ends_the_connection() {
    let server = TestServer::start().await;
    let mut client = WsClient::connect(&server).await;
    client.send(&format!("{{\"type\":\"ping\",\"x\":\"{}\"}}", "x".repeat(1100 * 1024))).await;
    client.ends_without_message().await;
    server.stop().await;
}

#[tokio::test]
async fn a_participant_joins_talks_and_leaves() {
    let server = TestServer::start().await;
    let mut client = WsClient::connect(&server).await;
    client.join("standup", "ann").await;
    client.send(r#"{"type":"ping"}"#).await;
    assert_eq!(client.message_of("pong").await["type"], "pong");
    client.send("no json").await;
    assert_eq!(client.message_of("error").await["code"], "bad_message");
    client.send(r#"{"type":"leave"}"#).await;
    assert_eq!(client.message_of("closed").await["reason"], "left");
    assert_eq!(client.close_frame().await.0, 1000);
    server.stop().await;
}

#[tokio::test]
async fn a_connection_that_only_sends_rubbish_is_closed() {
    let server = TestServer::start().await;
    let mut client = WsClient::connect(&server).await;
    client.join("standup", "ann").await;
    for _ in 0..20 {
        client.send("rubbish").await;
    }
    assert_eq!(client.close_frame().await.0, 1008);
    server.stop().await;
}

#[tokio::test]
async fn everybody_is_told_of_a_shutdown() {
    let server = TestServer::start().await;
    let mut clients = Vec::new();
    for name in ["ann", "bob", "cyd"] {
        let mut client = WsClient::connect(&server).await;
        client.join("standup", name).await;
        clients.push(client);
    }
    // A socket that hasn't joined must not hold the server back.
    let _silent = WsClient::connect(&server).await;
    let start = tokio::time::Instant::now();
    let stopping = tokio::spawn(server.stop());
    for client in &mut clients {
        assert_eq!(client.message_of("closed").await["reason"], "server_shutdown");
        assert_eq!(client.close_frame().await.0, 1000);
    }
    stopping.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_port_in_use_is_explained() {
    let server = TestServer::start().await;
    let config = sfu_server::config::Config { http: server.http(), ..TestServer::config() };
    let error = sfu_server::server::Server::start(&config).await.unwrap_err().to_string();
    assert!(error.contains(&format!("TCP port {}", server.http().port())), "{error}");
    let config =
        sfu_server::config::Config { udp_port: server.udp_port(), workers: 1, ..TestServer::config() };
    let error = sfu_server::server::Server::start(&config).await.unwrap_err().to_string();
    assert!(error.contains(&format!("UDP port {}", server.udp_port())), "{error}");
    server.stop().await;
}
