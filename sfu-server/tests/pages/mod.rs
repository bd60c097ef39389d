//! The broadcast page and the watch page together: WHIP in, WHEP out, and what viewers see when the publisher isn't there
//! yet, reloads, or stops.

mod quality;

use std::time::Duration;

use super::support::chromium::Browser;
use super::support::page::Page;
use super::support::server::Server;
use super::support::{PROBE, Quality, browser_test};
use super::{SOON, await_true, join_painted, until_seen};

const LIVE: &str = "sfu.state === 'live'";

/// The broadcast page, going live by itself, with a painted marker for a camera.
async fn broadcast(browser: &Browser, server: &Server, room: &str, id: u8) -> Result<Page, String> {
    let url = format!("http://127.0.0.1:{}/broadcast?room={room}&autostart=1", server.http_port);
    let page = join_painted(browser, &url, id, (640, 360), 15).await?;
    page.until(LIVE, SOON).await?;
    Ok(page)
}

async fn watch(browser: &Browser, server: &Server, room: &str) -> Result<Page, String> {
    let url = format!("http://127.0.0.1:{}/watch?room={room}", server.http_port);
    browser.open(&url, &[PROBE]).await
}

#[test]
fn a_broadcast_is_watched() {
    browser_test("a_broadcast_is_watched", async {
        let server = Server::start().await;
        let browser = Browser::launch(None).await?;
        let publisher = broadcast(&browser, &server, "stage", 11).await?;
        let viewer = watch(&browser, &server, "stage").await?;
        until_seen(&viewer, &[11]).await?;
        // A camera of 640×360 is sent as large as it is, with a smaller layer beside it.
        viewer.until("sfu.tiles[0].video.videoWidth === 640", SOON).await?;
        Quality::holds(&viewer, 4.0, "the viewer", &[11], 15.0).await?;
        publisher.eval::<()>("document.getElementById('go').click()").await?;
        viewer.until("!document.getElementById('card').hidden", SOON).await
    });
}

#[test]
fn watching_before_anybody_is_live() {
    browser_test("watching_before_anybody_is_live", async {
        let server = Server::start().await;
        let browser = Browser::launch(None).await?;
        let viewer = watch(&browser, &server, "early").await?;
        viewer.until("sfu.state === 'waiting'", SOON).await?;
        let said: String = viewer.eval("document.getElementById('card').innerText").await?;
        if !said.contains("Nobody is live") {
            return Err(format!("who waits is told: {said}"));
        }
        let _publisher = broadcast(&browser, &server, "early", 12).await?;
        until_seen(&viewer, &[12]).await?;
        viewer.until("document.getElementById('card').hidden", SOON).await
    });
}

#[test]
fn a_publisher_reloads_and_is_watched_on() {
    browser_test("a_publisher_reloads_and_is_watched_on", async {
        let server = Server::start().await;
        let browser = Browser::launch(None).await?;
        let publisher = broadcast(&browser, &server, "again", 13).await?;
        let viewer = watch(&browser, &server, "again").await?;
        until_seen(&viewer, &[13]).await?;
        let shown = "sfu.tiles[0].video.getVideoPlaybackQuality().totalVideoFrames";
        for _ in 0..3 {
            publisher.reload().await?;
            publisher.until(LIVE, SOON).await?;
            let before: f64 = viewer.eval(shown).await?;
            viewer.until(&format!("{shown} > {before} + 20 && probe.seen([13])"), SOON).await?;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        Quality::holds(&viewer, 3.0, "the viewer", &[13], 15.0).await
    });
}

#[test]
fn a_shared_screen_is_heard_beside_the_voice() {
    browser_test("a_shared_screen_is_heard_beside_the_voice", async {
        let server = Server::start().await;
        let browser = Browser::launch(None).await?;
        let url = format!("http://127.0.0.1:{}/broadcast?room=film&autostart=1", server.http_port);
        let sounds = "probe.fakeMicrophone(1); probe.fakeCamera(1, 320, 180, 10); probe.fakeScreen(30, 320, 180, 10, 30);";
        let publisher = browser.open(&url, &[PROBE, sounds]).await?;
        publisher.until(LIVE, SOON).await?;
        let viewer = watch(&browser, &server, "film").await?;
        until_seen(&viewer, &[1]).await?;
        until_heard(&viewer, &[1], &[30]).await?;
        let click = |id: &str| format!("document.querySelector('{id}').click()");
        publisher.eval::<()>(&click("input[value=screen]")).await?;
        until_seen(&viewer, &[30]).await?;
        until_heard(&viewer, &[1, 30], &[]).await?;
        // Who falls silent leaves the screen its sound.
        publisher.eval::<()>(&click("#toggle-microphone")).await?;
        until_heard(&viewer, &[30], &[1]).await?;
        publisher.eval::<()>(&click("#toggle-microphone")).await?;
        until_heard(&viewer, &[1, 30], &[]).await?;
        publisher.eval::<()>(&click("input[value=camera]")).await?;
        until_seen(&viewer, &[1]).await?;
        until_heard(&viewer, &[1], &[30]).await
    });
}

/// Waits until the sound of a page has the tones of some, and not those of others.
async fn until_heard(page: &Page, some: &[u8], others: &[u8]) -> Result<(), String> {
    let heard = format!(
        "(async () => {{
          const levels = await probe.levels([{some:?}, {others:?}].flat());
          return levels.every((level, index) => (index < {} ? level > -50 : level < -70));
        }})()",
        some.len()
    );
    await_true(page, &heard, SOON).await
}

#[test]
fn a_broadcaster_is_told_that_the_room_takes_none_of_its_formats() {
    browser_test("a_broadcaster_is_told_that_the_room_takes_none_of_its_formats", async {
        let server = Server::start_with(&["--video-codecs", "h265"]).await;
        let browser = Browser::launch(None).await?;
        let url = format!("http://127.0.0.1:{}/broadcast?room=refused&autostart=1", server.http_port);
        let page = join_painted(&browser, &url, 19, (320, 180), 10).await?;
        page.until("sfu.state === 'failed' && sfu.problem === 'stream_refused'", SOON).await?;
        let problem = "document.getElementById('problem')";
        page.until(&format!("!{problem}.hidden && {problem}.innerText.includes('video codecs')"), SOON).await
    });
}
