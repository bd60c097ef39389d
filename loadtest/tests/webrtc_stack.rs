//! The `webrtc` crate and our own light client in one room of the real server, over loopback sockets: what one publishes, the
//! other receives whole. Both are run as the command line runs them, and judged by their reports.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/lossy_relay.rs"]
mod lossy_relay;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use lossy_relay::LossyRelay;
use serde_json::Value;
use sfu_server::config::Config;
use sfu_server::server::Server;
use tokio::process::{Child, Command};

/// The publisher begins so much earlier than the viewer.
const HEAD_START: Duration = Duration::from_secs(1);

/// How long the viewer measures, after it has connected and settled.
const VIEWER_SECONDS: u64 = 5;

/// Long enough for the viewer to be gone before the publisher.
const PUBLISHER_SECONDS: u64 = VIEWER_SECONDS + 4;

/// Of the media packets, in each direction of each client. Without repair every fifth frame would be broken.
const LOSS: f64 = 0.03;

/// Frames of the viewer's seconds that must have come; a machine under load may send fewer.
const FRAMES_MIN: u64 = VIEWER_SECONDS * 30 * 8 / 10;

const AUDIO_PACKETS_MIN: u64 = VIEWER_SECONDS * 50 * 8 / 10;

async fn start_server() -> Server {
    let config = Config {
        http: "127.0.0.1:0".parse().unwrap(),
        udp_bind: "127.0.0.1".parse().unwrap(),
        udp_port: 0,
        workers: 1,
        ..Config::default()
    };
    Server::start(&config).await.unwrap()
}

/// A `loadtest join` with one client.
struct Join {
    process: Child,
    report: PathBuf,
}

impl Join {
    fn start(server: SocketAddr, room: &str, stack: &str, publishers: u64, seconds: u64) -> Join {
        let report = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{room}-{publishers}.json"));
        let _ = std::fs::remove_file(&report);
        let process = Command::new(env!("CARGO_BIN_EXE_loadtest"))
            .args(["join", "--target", &format!("ws://{server}/ws"), "--room", room])
            .args(["--stack", stack, "--clients", "1", "--publishers", &publishers.to_string()])
            .args(["--seconds", &seconds.to_string(), "--video-kbps", "800", "--json"])
            .arg(&report)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Join { process, report }
    }

    async fn report(mut self) -> Value {
        let status = self.process.wait().await.unwrap();
        assert!(status.success(), "{status}");
        serde_json::from_slice(&std::fs::read(&self.report).unwrap()).unwrap()
    }
}

/// One publisher and one viewer at `server`, each with its stack; what they report.
async fn publish_and_view(server: SocketAddr, room: &str, publisher: &str, viewer: &str) -> (Value, Value) {
    let publisher = Join::start(server, room, publisher, 1, PUBLISHER_SECONDS);
    tokio::time::sleep(HEAD_START).await;
    let viewer = Join::start(server, room, viewer, 0, VIEWER_SECONDS);
    let (viewed, published) = tokio::join!(viewer.report(), publisher.report());
    (published, viewed)
}

/// Over a good path, everything arrives.
async fn check(publisher: &str, viewer: &str) {
    let server = start_server().await;
    let room = format!("{publisher}-to-{viewer}");
    let (published, viewed) = publish_and_view(server.http, &room, publisher, viewer).await;
    server.shut_down().await.unwrap();
    assert_frames_whole(&viewed);
    assert_nothing_lost(&viewed);
    assert_asked_for_keyframe(&published);
}

/// Over a path that loses packets both ways, retransmissions make every frame whole.
async fn check_repair(publisher: &str, viewer: &str) {
    let server = start_server().await;
    let media = server.media.first().unwrap().local;
    let relay = LossyRelay::start(server.http, media, LOSS, 7).await;
    let room = format!("{publisher}-to-{viewer}-lossy");
    let (_, viewed) = publish_and_view(relay.http, &room, publisher, viewer).await;
    server.shut_down().await.unwrap();
    // Of a thousand packets and more in each direction.
    assert!(relay.lost() > 20, "{} packets lost", relay.lost());
    assert_frames_whole(&viewed);
}

/// The viewer has got every frame of the publisher's while it was there, each byte for byte.
fn assert_frames_whole(viewed: &Value) {
    let frames = &viewed["frames"];
    assert!(frames["complete"].as_u64().unwrap() >= FRAMES_MIN, "{viewed:#}");
    assert_eq!(frames["decoded"], frames["complete"], "{viewed:#}");
    for fault in ["broken", "undecodable", "missing"] {
        assert_eq!(frames[fault], 0, "{fault}: {viewed:#}");
    }
    for fault in ["continuity_violations", "unknown_content", "sealed_twice", "undecryptable"] {
        assert_eq!(viewed[fault], 0, "{fault}: {viewed:#}");
    }
    assert_eq!(viewed["errors"], Value::Array(Vec::new()));
}

fn assert_nothing_lost(viewed: &Value) {
    assert_eq!(viewed["lost_before_repair"], 0, "{viewed:#}");
    // Video at 800 kbit/s takes four packets a frame.
    let video = viewed["frames"]["complete"].as_u64().unwrap() * 3;
    assert!(viewed["packets_received"].as_u64().unwrap() >= video + AUDIO_PACKETS_MIN, "{viewed:#}");
}

/// The viewer's wish for a keyframe has reached the publisher.
fn assert_asked_for_keyframe(published: &Value) {
    assert!(published["plis_received"].as_u64().unwrap() >= 1, "{published:#}");
    assert_eq!(published["errors"], Value::Array(Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn our_client_sees_all_that_the_webrtc_crate_publishes() {
    check("webrtc", "own").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webrtc_crate_sees_all_that_our_client_publishes() {
    check("own", "webrtc").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webrtc_crate_sees_all_that_another_one_publishes() {
    check("webrtc", "webrtc").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn losses_on_the_way_to_and_from_the_webrtc_crate_are_repaired() {
    check_repair("webrtc", "webrtc").await;
}
