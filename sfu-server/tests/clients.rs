//! Other programs than Chromium, unmodified, through the built server: each is seen and heard, and sees and hears, with
//! the same gates as a call between pages. Every test runs in a network namespace of its own.

#![allow(clippy::disallowed_methods, reason = "real programs take real time")]
#![allow(clippy::expect_used, reason = "what a test stands on is there or the test is over")]

#[path = "clients/firefox.rs"]
mod firefox;
mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use support::marker::Camera;
use support::page::Page;
use support::server::Server;
use support::{PROBE, Quality, Tone, WHIP, chromium, client_test, in_some_window};
use test_programs::ffmpeg::Whip;
use test_programs::{Process, Program, Scratch, gstreamer, python};

const SOON: Duration = Duration::from_secs(20);
const JOINED: &str = "sfu.state === 'joined' && sfu.pc?.connectionState === 'connected'";

/// Makes a page's camera a painted marker, and its microphone the tone that belongs to it.
fn painted(id: u8, (width, height): (u32, u32), fps: u32) -> String {
    format!("probe.fakeMicrophone({id}); probe.fakeCamera({id}, {width}, {height}, {fps});")
}

async fn until_seen(page: &Page, ids: &[u8]) -> Result<(), String> {
    page.until(&format!("window.probe?.seen({ids:?})"), SOON).await
}

/// What a program shows that sends a capture file.
const PROGRAM: u8 = 7;
const PROGRAM_FPS: u32 = 15;
/// A minute: GStreamer doesn't play it twice.
const PROGRAM_FRAMES: u16 = 900;

/// A program is seen and heard in the conference page, with the gates of a call, and its end is noticed at once.
async fn publishes(
    server: &Server,
    page: &Page,
    publish: impl FnOnce(&str, &str) -> Option<Command>,
) -> Result<(), String> {
    let camera = Camera::of_length(PROGRAM, (160, 90), PROGRAM_FPS, PROGRAM_FRAMES)?;
    let url = format!("{}?identity=program", server.endpoint("whip", "room"));
    let path = camera.path().to_string_lossy();
    let command = publish(&url, &path).ok_or("the program isn't there")?;
    let program = Process::spawn(command).map_err(|error| error.to_string())?;
    until_seen(page, &[PROGRAM]).await?;
    Quality::holds(page, 4.0, "ann", &[PROGRAM], f64::from(PROGRAM_FPS)).await?;
    Tone::check_all(page, &[PROGRAM]).await?;
    program.interrupt();
    page.until("sfu.participants.length === 0", SOON).await
}

/// What a program has received so far; its script writes it.
#[derive(Clone, Deserialize, Debug, Default)]
struct Received {
    frames: u32,
    /// Publisher ids that were read from the pictures.
    ids: Vec<u8>,
    /// Different pictures that were read.
    counters: u32,
    samples: u32,
    /// The pitch of the last half second.
    hz: f64,
}

impl Received {
    fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }
}

/// A program that plays a participant gets its picture at nine tenths of its rate and its tone without holes.
async fn plays(
    server: &Server,
    (id, fps): (u8, u32),
    play: impl FnOnce(&str, &str) -> Option<Command>,
) -> Result<(), String> {
    const SECONDS: u32 = 4;
    let report = Scratch::path_for("report.json");
    let command = play(&server.endpoint("whep", "room"), &report.path().to_string_lossy());
    let _program =
        Process::spawn(command.ok_or("the program isn't there")?).map_err(|error| error.to_string())?;
    let deadline = std::time::Instant::now() + SOON;
    while Received::read(report.path()).ids.is_empty() {
        if std::time::Instant::now() > deadline {
            return Err(format!("nothing but {:?} within {SOON:?}", Received::read(report.path())));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    in_some_window(async || {
        let before = Received::read(report.path());
        tokio::time::sleep(Duration::from_secs(SECONDS.into())).await;
        let after = Received::read(report.path());
        println!("received {before:?}, {SECONDS} s later {after:?}");
        let expected = 400.0 + 25.0 * f64::from(id);
        let pictures = after.frames - before.frames;
        let readable = after.counters - before.counters;
        let samples = after.samples - before.samples;
        let right = after.ids == [id]
            && 10 * pictures >= 9 * fps * SECONDS
            && 10 * readable >= 9 * pictures
            && samples >= 48_000 / 10 * 9 * SECONDS
            && (after.hz - expected).abs() < 10.0;
        if right { Ok(()) } else { Err(format!("{before:?}, then {after:?}")) }
    })
    .await
}

/// A conference page with a painted camera in the room that the program is in.
async fn ann(server: &Server, browser: &chromium::Browser) -> Result<Page, String> {
    let page = browser.open(&server.url("room", "ann"), &[PROBE, &painted(2, (320, 180), 15)]).await?;
    page.until(JOINED, SOON).await?;
    Ok(page)
}

/// A server whose rooms take one video codec, and ann in one of them.
async fn room_in(codec: &str, browser: &chromium::Browser) -> Result<(Server, Page), String> {
    let server = Server::start_with(&["--video-codecs", codec]).await;
    let page = ann(&server, browser).await?;
    Ok((server, page))
}

fn aiortc_in(name: &str, codec: &str) {
    client_test(name, &[Program::Aiortc, Program::Chromium], async {
        let browser = chromium::Browser::launch(None).await?;
        let (server, page) = room_in(codec, &browser).await?;
        publishes(&server, &page, |url, camera| {
            Some(python::aiortc_client(&["publish", url, codec, camera, "575"]))
        })
        .await?;
        plays(&server, (2, 15), |url, report| Some(python::aiortc_client(&["play", url, report]))).await
    });
}

#[test]
fn aiortc_publishes_by_whip_and_plays_by_whep_in_vp8() {
    aiortc_in("aiortc_publishes_by_whip_and_plays_by_whep_in_vp8", "vp8");
}

#[test]
fn aiortc_publishes_by_whip_and_plays_by_whep_in_h264() {
    aiortc_in("aiortc_publishes_by_whip_and_plays_by_whep_in_h264", "h264");
}

fn gstreamer_in(name: &str, codec: &str) {
    client_test(name, &[Program::GStreamer, Program::Chromium], async {
        let browser = chromium::Browser::launch(None).await?;
        let (server, page) = room_in(codec, &browser).await?;
        publishes(&server, &page, |url, camera| gstreamer::client(&["publish", url, codec, camera, "575"]))
            .await?;
        plays(&server, (2, 15), |url, report| gstreamer::client(&["play", url, codec, report])).await
    });
}

#[test]
fn gstreamer_publishes_by_whip_and_plays_by_whep_in_vp8() {
    gstreamer_in("gstreamer_publishes_by_whip_and_plays_by_whep_in_vp8", "vp8");
}

#[test]
fn gstreamer_publishes_by_whip_and_plays_by_whep_in_vp9() {
    gstreamer_in("gstreamer_publishes_by_whip_and_plays_by_whep_in_vp9", "vp9");
}

#[test]
fn gstreamer_publishes_by_whip_and_plays_by_whep_in_h264() {
    gstreamer_in("gstreamer_publishes_by_whip_and_plays_by_whep_in_h264", "h264");
}

#[test]
fn ffmpeg_publishes_by_whip() {
    const NAME: &str = "ffmpeg_publishes_by_whip";
    client_test(NAME, &[Program::Ffmpeg, Program::Chromium], async {
        let server = Server::start().await;
        let browser = chromium::Browser::launch(None).await?;
        let page = ann(&server, &browser).await?;
        publishes(&server, &page, |url, camera| {
            let picture = ["-stream_loop", "-1", "-i", camera];
            Whip { url, picture: &picture, tone_hz: 575, muxer: &[] }.command()
        })
        .await
    });
}

#[test]
fn chromium_publishes_by_whip_and_plays_by_whep() {
    const NAME: &str = "chromium_publishes_by_whip_and_plays_by_whep";
    client_test(NAME, &[Program::Chromium], async {
        let server = Server::start().await;
        let browser = chromium::Browser::launch(None).await?;
        // Any page of the server will do.
        let bare = format!("http://127.0.0.1:{}/healthz", server.http_port);
        let encoder = browser.open(&bare, &[PROBE, &painted(3, (320, 180), 15), WHIP]).await?;
        encoder.until("window.whip", SOON).await?;
        encoder.eval::<()>(&format!("whip.publish('{}')", server.endpoint("whip", "room"))).await?;
        // A player may offer, or send nothing and answer our offer.
        let mut players = Vec::new();
        for counter_offer in [false, true] {
            let player = browser.open(&bare, &[PROBE, WHIP]).await?;
            player.until("window.whip", SOON).await?;
            let url = server.endpoint("whep", "room");
            player.eval::<()>(&format!("whip.play('{url}', {counter_offer})")).await?;
            until_seen(&player, &[3]).await?;
            players.push(player);
        }
        for (player, who) in players.iter().zip(["offering player", "answering player"]) {
            Quality::holds(player, 4.0, who, &[3], 15.0).await?;
            Tone::check_all(player, &[3]).await?;
        }
        encoder.eval::<()>("whip.end()").await
    });
}

#[test]
fn aiortc_peers_exchange_messages_of_every_kind() {
    const NAME: &str = "aiortc_peers_exchange_messages_of_every_kind";
    client_test(NAME, &[Program::Aiortc], async {
        let server = Server::start().await;
        let url = format!("ws://127.0.0.1:{}/ws", server.http_port);
        let output = python::aiortc_data(&[&url]).output().map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        println!("{}", text(&output.stdout));
        if output.status.success() { Ok(()) } else { Err(text(&output.stderr)) }
    });
}
