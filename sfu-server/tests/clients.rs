//! Other programs than Chromium, unmodified, through the built server: each is seen and heard, and sees and hears, with
//! the same gates as a call between pages. Every test runs in a network namespace of its own.

#![allow(clippy::disallowed_methods, reason = "real programs take real time")]
#![allow(clippy::expect_used, reason = "what a test stands on is there or the test is over")]

mod support;

use std::time::Duration;

use support::page::Page;
use support::server::Server;
use support::{PROBE, Quality, Tone, chromium, client_test, firefox};
use test_programs::Program;

const SOON: Duration = Duration::from_secs(20);

/// Makes a page's camera a painted marker, and its microphone the tone that belongs to it.
fn painted(id: u8, (width, height): (u32, u32), fps: u32) -> String {
    format!("probe.fakeMicrophone({id}); probe.fakeCamera({id}, {width}, {height}, {fps});")
}

async fn until_seen(page: &Page, ids: &[u8]) -> Result<(), String> {
    page.until(&format!("window.probe?.seen({ids:?})"), SOON).await
}

#[test]
fn firefox_and_chromium_see_and_hear_each_other() {
    const NAME: &str = "firefox_and_chromium_see_and_hear_each_other";
    client_test(NAME, &[Program::Firefox, Program::Chromium], async {
        let server = Server::start().await;
        let (firefox, chromium) = (firefox::Browser::launch().await?, chromium::Browser::launch(None).await?);
        let fox = firefox.open(&server.url("mixed", "fox"), &[PROBE, &painted(1, (320, 180), 20)]).await?;
        let ann = chromium.open(&server.url("mixed", "ann"), &[PROBE, &painted(2, (320, 180), 20)]).await?;
        until_seen(&fox, &[2]).await?;
        until_seen(&ann, &[1]).await?;
        // The highest layer starts when the encoder has found its rate.
        tokio::time::sleep(Duration::from_secs(4)).await;
        Quality::holds(&fox, 6.0, "fox", &[2], 20.0).await?;
        Quality::holds(&ann, 6.0, "ann", &[1], 20.0).await?;
        Tone::check_all(&fox, &[2]).await?;
        // When sound comes is not asked: without a sound card Firefox's AudioContext keeps no time.
        Tone::check_all(&ann, &[1]).await
    });
}
