//! Firefox in calls with Chromium, in both roles: pictures in each codec that both have, sound with its picture, messages.

use std::future::Future;
use std::time::Duration;

use test_programs::Program;

use super::support::page::Page;
use super::support::server::Server;
use super::support::talk::{DATA_OPEN, echo_channels_of_every_kind, heard, say};
use super::support::{
    PROBE, Quality, Source, TOLD_UNSUPPORTED, Tone, chromium, client_test, comes_in, firefox, in_some_window,
    only_codec,
};
use super::{JOINED, SOON, painted, until_seen};

/// A test of this module, which needs both browsers.
fn test(name: &str, test: impl Future<Output = Result<(), String>>) {
    client_test(&format!("firefox::{name}"), &[Program::Firefox, Program::Chromium], test);
}

/// What Firefox paints, encodes and mixes on half of two cores without falling behind: its mock of a sound card isn't called
/// in time when it does, and then the sound has holes before it is sent.
const FPS: u32 = 10;

/// Share of Firefox's sound that its mock of a sound card may leave out.
const HOLES_MAX: f64 = 0.1;

/// A room with a page of each browser, which see each other: `fox` has picture 1, `ann` picture 2.
struct Call {
    fox: Page,
    ann: Page,
    _server: Server,
    _browsers: (firefox::Browser, chromium::Browser),
}

impl Call {
    async fn start(options: &[&str]) -> Result<Call, String> {
        let server = Server::start_with(options).await;
        let browsers = (firefox::Browser::launch().await?, chromium::Browser::launch(None).await?);
        let fox =
            browsers.0.open(&server.url("mixed", "fox"), &[PROBE, &painted(1, (320, 180), FPS)]).await?;
        let ann =
            browsers.1.open(&server.url("mixed", "ann"), &[PROBE, &painted(2, (320, 180), FPS)]).await?;
        until_seen(&fox, &[2]).await?;
        until_seen(&ann, &[1]).await?;
        // The highest layer starts when the encoder has found its rate.
        tokio::time::sleep(Duration::from_secs(4)).await;
        Ok(Call { fox, ann, _server: server, _browsers: browsers })
    }

    async fn holds(&self, seconds: f64) -> Result<(), String> {
        Quality::holds(&self.fox, seconds, "fox", &[2], f64::from(FPS)).await?;
        in_some_window(async || {
            let (sent, seen) =
                tokio::join!(Quality::measure(&self.fox, seconds), Quality::measure(&self.ann, seconds));
            let (sent, seen) = (sent?, seen?);
            // What Firefox manages to paint and to send is what Chromium is owed.
            let still_ms = 2.0 * 1_000.0 / f64::from(FPS);
            let source = Source { fps: sent.sent_fps, stood_still: sent.paint_gap_ms > still_ms };
            println!("fox sends {:.1} frames a second", source.fps);
            if source.fps < 0.7 * f64::from(FPS) {
                return Err("Firefox sends less than seven tenths of its frames".into());
            }
            seen.check_each("ann", &[1], |_| source, HOLES_MAX)
        })
        .await
    }
}

#[test]
fn firefox_and_chromium_see_and_hear_each_other() {
    test("firefox_and_chromium_see_and_hear_each_other", async {
        let call = Call::start(&[]).await?;
        call.holds(6.0).await?;
        Tone::check_all(&call.fox, &[2]).await?;
        Tone::check_all(&call.ann, &[1]).await
    });
}

fn call_in(name: &str, codec: &str) {
    test(name, async {
        let call = Call::start(&["--video-codecs", codec]).await?;
        comes_in(&call.fox, codec).await?;
        comes_in(&call.ann, codec).await?;
        call.holds(4.0).await
    });
}

#[test]
fn firefox_and_chromium_call_in_vp9() {
    call_in("firefox_and_chromium_call_in_vp9", "vp9");
}

#[test]
fn firefox_and_chromium_call_in_av1() {
    call_in("firefox_and_chromium_call_in_av1", "av1");
}

/// Debian's Firefox has no H.264: that comes as a plugin which it would have to download.
#[test]
fn a_tile_in_firefox_says_that_it_lacks_h264() {
    test("a_tile_in_firefox_says_that_it_lacks_h264", async {
        let server = Server::start_with(&["--video-codecs", "vp8,h264"]).await;
        let (firefox, chromium) = (firefox::Browser::launch().await?, chromium::Browser::launch(None).await?);
        let camera = painted(2, (320, 180), FPS);
        let ann = chromium.open(&server.url("lacks", "ann"), &[PROBE, &camera, &only_codec("h264")]).await?;
        ann.until(JOINED, SOON).await?;
        let fox = firefox.open(&server.url("lacks", "fox"), &[PROBE, &painted(1, (320, 180), FPS)]).await?;
        fox.until(TOLD_UNSUPPORTED, SOON).await?;
        // It hears her all the same.
        fox.until("!document.querySelector('.tile:not(.is-local)').classList.contains('has-video')", SOON)
            .await
    });
}

#[test]
fn firefox_and_chromium_exchange_messages_of_every_kind() {
    test("firefox_and_chromium_exchange_messages_of_every_kind", async {
        let server = Server::start().await;
        let (firefox, chromium) = (firefox::Browser::launch().await?, chromium::Browser::launch(None).await?);
        let url = |name: &str| format!("{}&video=0&audio=0", server.url("chat", name));
        let (fox, ann) = (firefox.open(&url("fox"), &[]).await?, chromium.open(&url("ann"), &[]).await?);
        for page in [&fox, &ann] {
            page.until(JOINED, SOON).await?;
            page.until(DATA_OPEN, SOON).await?;
            page.until("sfu.participants.length === 1", SOON).await?;
        }
        say(&fox, "from the fox").await?;
        heard(&ann, &[("fox", "from the fox")]).await?;
        say(&ann, "to the fox").await?;
        heard(&fox, &[("You", "from the fox"), ("ann", "to the fox")]).await?;
        echo_channels_of_every_kind(&fox, &ann).await?;
        echo_channels_of_every_kind(&ann, &fox).await
    });
}
