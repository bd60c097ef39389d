//! Calls between real pages in real browsers, through the built server: the right picture, at its rate, without a
//! freeze, with its sound; and what happens when people come, reload, mute, share, lose the network or the server.

#![allow(clippy::disallowed_methods, reason = "a browser's time can't be simulated")]
#![allow(clippy::expect_used, reason = "what a test stands on is there or the test is over")]

#[path = "browser/data.rs"]
mod data;
#[path = "browser/identity.rs"]
mod identity;
#[path = "browser/later.rs"]
mod later;
#[path = "browser/layers.rs"]
mod layers;
mod pages;
mod support;
#[path = "browser/unwanted.rs"]
mod unwanted;

use std::time::Duration;

use support::chromium::Browser;
use support::marker::{Camera, Marker};
use support::page::Page;
use support::relay::Relay;
use support::server::{Server, page_url};
use support::{
    CONCEALED_MAX, PROBE, Quality, Skew, Source, TOLD_UNSUPPORTED, Tone, browser_test, comes_in,
    in_some_window, only_codec,
};

const SOON: Duration = Duration::from_secs(15);
const JOINED: &str = "sfu.state === 'joined' && sfu.pc?.connectionState === 'connected'";

/// A page whose camera is a painted marker, so that several fit into one browser.
async fn join_painted(
    browser: &Browser,
    url: &str,
    id: u8,
    size: (u32, u32),
    fps: u32,
) -> Result<Page, String> {
    let (width, height) = size;
    let camera = format!("probe.fakeCamera({id}, {width}, {height}, {fps});");
    browser.open(url, &[PROBE, &camera]).await
}

async fn until_seen(page: &Page, ids: &[u8]) -> Result<(), String> {
    page.until(&format!("window.probe?.seen({ids:?})"), SOON).await
}

#[test]
fn a_marker_survives_noise_but_not_a_torn_picture() {
    for (id, counter) in [(0, 0), (1, 1), (63, 16383), (42, 9999)] {
        let marker = Marker { id, counter };
        for (width, height) in [(80, 45), (160, 90), (640, 360)] {
            let mut luma = vec![0; width * height];
            marker.paint(&mut luma, width);
            for (index, pixel) in luma.iter_mut().enumerate() {
                *pixel = pixel.saturating_add((index * 7919 % 41) as u8).saturating_sub(12);
            }
            assert_eq!(Marker::read(&luma, width), Some(marker));
        }
    }
    let mut luma = vec![0; 160 * 90];
    Marker { id: 5, counter: 100 }.paint(&mut luma, 160);
    let mut other = vec![0; 160 * 90];
    Marker { id: 9, counter: 2101 }.paint(&mut other, 160);
    luma[160 * 45..].copy_from_slice(&other[160 * 45..]);
    assert_eq!(Marker::read(&luma, 160), None);
}

/// Hidden or background pages are throttled: then every other gate would measure the browser's thrift.
#[test]
fn every_page_of_a_browser_keeps_its_pace() {
    browser_test("every_page_of_a_browser_keeps_its_pace", async {
        let server = Server::start().await;
        let camera = Camera::of(21, 640, 360)?;
        let browser = Browser::launch(Some(camera.path())).await?;
        let url = format!("http://127.0.0.1:{}/conference?room=lobby", server.http_port);
        let mut pages = Vec::new();
        for _ in 0..4 {
            pages.push(browser.open(&url, &[PROBE]).await?);
        }
        for page in &pages {
            page.until("probe.read(document.getElementById('preview'))?.id === 21", SOON).await?;
        }
        // The capture file is opened anew for each page; meanwhile the others' cameras stand still.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let paces = futures_util::future::join_all(pages.iter().map(|page| page.eval::<Pace>(PACE))).await;
        for (page, pace) in pages.iter().zip(paces) {
            let pace = pace?;
            if pace.hidden || pace.animation < 40 || pace.video < 45 || pace.timers < 80 {
                return Err(format!("{pace:?} in two seconds\n{}", page.describe().await));
            }
        }
        Ok(())
    });
}

/// How often a page was called back in two seconds.
#[derive(serde::Deserialize, Debug)]
struct Pace {
    hidden: bool,
    animation: u32,
    video: u32,
    timers: u32,
}

const PACE: &str = "new Promise((done) => {
  const pace = { hidden: document.hidden, animation: 0, video: 0, timers: 0 };
  const video = document.getElementById('preview');
  const onAnimation = () => { pace.animation += 1; requestAnimationFrame(onAnimation); };
  const onVideo = () => { pace.video += 1; video.requestVideoFrameCallback(onVideo); };
  requestAnimationFrame(onAnimation);
  video.requestVideoFrameCallback(onVideo);
  setInterval(() => { pace.timers += 1; }, 20);
  setTimeout(() => done(pace), 2000);
})";

#[test]
fn two_pages_see_and_hear_each_other() {
    browser_test("two_pages_see_and_hear_each_other", async {
        let server = Server::start().await;
        let (one, two) = (Camera::of(1, 640, 360)?, Camera::of(2, 640, 360)?);
        let (ann_browser, bob_browser) =
            (Browser::launch(Some(one.path())).await?, Browser::launch(Some(two.path())).await?);
        let ann = ann_browser.open(&server.url("pair", "ann"), &[PROBE]).await?;
        let bob = bob_browser.open(&server.url("pair", "bob"), &[PROBE]).await?;
        until_seen(&ann, &[2]).await?;
        until_seen(&bob, &[1]).await?;
        // The highest layer starts when the encoder has found its rate.
        tokio::time::sleep(Duration::from_secs(4)).await;
        Quality::holds(&ann, 8.0, "ann", &[2], 30.0).await?;
        Quality::holds(&bob, 8.0, "bob", &[1], 30.0).await?;
        Ok(())
    });
}

/// A call in a room that takes no other codec: encoders of two kinds of three layers each share two cores, so the
/// pictures are small.
fn chromium_calls_in(name: &str, codec: &str) {
    browser_test(name, async {
        let server = Server::start_with(&["--video-codecs", codec, "--audio-codecs", "red,opus"]).await;
        let browser = Browser::launch(None).await?;
        let ann = join_painted(&browser, &server.url(codec, "ann"), 1, (320, 180), 10).await?;
        let bob = join_painted(&browser, &server.url(codec, "bob"), 2, (320, 180), 10).await?;
        for (page, other) in [(&ann, 2), (&bob, 1)] {
            until_seen(page, &[other]).await?;
            comes_in(page, codec).await?;
        }
        tokio::time::sleep(Duration::from_secs(4)).await;
        Quality::holds(&ann, 6.0, "ann", &[2], 10.0).await?;
        Quality::holds(&bob, 6.0, "bob", &[1], 10.0).await
    });
}

#[test]
fn chromium_calls_in_vp9() {
    chromium_calls_in("chromium_calls_in_vp9", "vp9");
}

#[test]
fn chromium_calls_in_h264() {
    chromium_calls_in("chromium_calls_in_h264", "h264");
}

#[test]
fn chromium_calls_in_av1() {
    chromium_calls_in("chromium_calls_in_av1", "av1");
}

/// Ann's browser is made to send nothing but H.264, Bob's to take nothing but VP8.
#[test]
fn a_tile_says_when_the_browser_lacks_the_codec() {
    browser_test("a_tile_says_when_the_browser_lacks_the_codec", async {
        let server = Server::start_with(&["--video-codecs", "vp8,h264"]).await;
        let browser = Browser::launch(None).await?;
        let camera = "probe.fakeCamera(1, 320, 180, 10);".to_owned();
        let ann = browser.open(&server.url("lacks", "ann"), &[PROBE, &camera, &only_codec("h264")]).await?;
        ann.until(JOINED, SOON).await?;
        let url = format!("{}&video=0", server.url("lacks", "bob"));
        let bob = browser.open(&url, &[PROBE, &only_codec("vp8")]).await?;
        bob.until(TOLD_UNSUPPORTED, SOON).await?;
        // Somebody who can decode it sees it.
        let eve = browser.open(&format!("{}&video=0", server.url("lacks", "eve")), &[PROBE]).await?;
        until_seen(&eve, &[1]).await
    });
}

#[test]
fn a_voice_stays_with_its_picture_over_ten_layer_switches() {
    browser_test("a_voice_stays_with_its_picture_over_ten_layer_switches", async {
        let server = Server::start().await;
        let browser = Browser::launch(None).await?;
        let sound = "probe.fakeMicrophone(1); probe.fakeCamera(1, 640, 360, 20);";
        let ann = browser.open(&server.url("skew", "ann"), &[PROBE, sound]).await?;
        let bob = browser.open(&format!("{}&video=0&audio=0", server.url("skew", "bob")), &[PROBE]).await?;
        until_seen(&bob, &[1]).await?;
        ann.until(JOINED, SOON).await?;
        for round in 0..10 {
            let (layer, width) = if round % 2 == 0 { ("medium", 640) } else { ("low", 320) };
            bob.eval::<()>(&format!("probe.prefer('{layer}')")).await?;
            bob.until(&format!("probe.other().video.videoWidth === {width}"), SOON).await?;
        }
        Skew::check(&bob, "bob").await?;
        Tone::check_all(&bob, &[1]).await
    });
}

#[test]
fn the_first_picture_comes_soon() {
    browser_test("the_first_picture_comes_soon", async {
        let server = Server::start().await;
        let browser = Browser::launch(None).await?;
        let publisher = join_painted(&browser, &server.url("soon", "ann"), 1, (640, 360), 30).await?;
        publisher.until(JOINED, SOON).await?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let mut waits = Vec::new();
        for round in 0..10 {
            let url = format!("{}&video=0", server.url("soon", &format!("viewer{round}")));
            let viewer = browser.open(&url, &[PROBE]).await?;
            viewer.until("Object.keys(sfu.timings.firstFrames).length > 0", SOON).await?;
            let wait = "Object.values(sfu.timings.firstFrames)[0] - sfu.timings.join";
            waits.push(viewer.eval::<f64>(wait).await?);
            viewer.close().await?;
        }
        waits.sort_by(f64::total_cmp);
        let median = (waits[4] + waits[5]) / 2.0;
        println!("time to first frame: median {median:.0} ms, best {:.0}, worst {:.0}", waits[0], waits[9]);
        if median > 500.0 { Err(format!("median of {waits:?} is {median} ms")) } else { Ok(()) }
    });
}

/// Ninety decoders, ninety painted pictures and a hundred voices on a machine of two cores leave room for this much.
const TEN_PAGES_FPS: u32 = 5;

#[test]
fn ten_pages_in_a_room() {
    browser_test("ten_pages_in_a_room", async {
        let server = Server::start().await;
        let browser = Browser::launch(None).await?;
        let mut pages = Vec::new();
        for id in 1..=10 {
            let url = server.url("ten", &format!("p{id}"));
            pages.push(join_painted(&browser, &url, id, (160, 90), TEN_PAGES_FPS).await?);
        }
        for (index, page) in pages.iter().enumerate() {
            let others: Vec<u8> = (1..=10).filter(|id| usize::from(*id) != index + 1).collect();
            page.until(&format!("probe.seen({others:?})"), Duration::from_secs(40)).await?;
        }
        tokio::time::sleep(Duration::from_secs(8)).await;
        in_some_window(async || ten_pages_agree(&pages).await).await
    });
}

/// Ten seconds in which every page has the nine others' pictures and voices, as the gates want them.
async fn ten_pages_agree(pages: &[Page]) -> Result<(), String> {
    let measured =
        futures_util::future::join_all(pages.iter().map(|page| Quality::measure(page, 10.0))).await;
    let measured = measured.into_iter().collect::<Result<Vec<_>, _>>()?;
    // What a page manages to send is the rate that the others are owed. One that painted nothing for more than two frames'
    // time has made its picture freeze itself.
    let still_ms = 2.0 * 1_000.0 / f64::from(TEN_PAGES_FPS);
    let of_page =
        |quality: &Quality| Source { fps: quality.sent_fps, stood_still: quality.paint_gap_ms > still_ms };
    let sent: Vec<Source> = measured.iter().map(of_page).collect();
    println!(
        "ten pages send {:.1?} frames a second of {TEN_PAGES_FPS}; {} of them stood still themselves",
        sent.iter().map(|source| source.fps).collect::<Vec<_>>(),
        sent.iter().filter(|source| source.stood_still).count()
    );
    // Painting is the machine's part: below this it is too busy to tell anything of the server.
    if sent.iter().any(|source| source.fps < 0.8 * f64::from(TEN_PAGES_FPS)) {
        return Err("a page sends less than eight tenths of its frames".into());
    }
    for (index, quality) in measured.iter().enumerate() {
        let others: Vec<u8> = (1..=10).filter(|id| usize::from(*id) != index + 1).collect();
        quality.check_each(
            &format!("p{}", index + 1),
            &others,
            |id| sent[usize::from(id) - 1],
            CONCEALED_MAX,
        )?;
    }
    Ok(())
}

#[test]
fn latecomer_while_nine_watch() {
    browser_test("latecomer_while_nine_watch", async {
        let server = Server::start().await;
        // A capture file keeps its pace whatever the speaker's page is doing.
        let camera = Camera::of(1, 160, 90)?;
        let browser = Browser::launch(Some(camera.path())).await?;
        let speaker = browser.open(&server.url("late", "speaker"), &[PROBE]).await?;
        let mut watchers = Vec::new();
        for number in 1..=9 {
            let url = format!("{}&video=0&audio=0", server.url("late", &format!("w{number}")));
            watchers.push(browser.open(&url, &[PROBE]).await?);
        }
        speaker.until(JOINED, SOON).await?;
        for page in &watchers {
            until_seen(page, &[1]).await?;
        }
        // The latecomer's page would be on another machine: here it must not take the watchers' processor.
        for page in &watchers {
            page.eval::<()>("probe.followGaps()").await?;
        }
        let elsewhere = Browser::launch_idle().await?;
        in_some_window(async || a_join_is_not_noticed(&elsewhere, &server, &watchers).await).await
    });
}

/// A time that spans a whole join, lobby to first picture.
const JOIN_WINDOW: Duration = Duration::from_secs(8);

async fn a_join_is_not_noticed(
    elsewhere: &Browser,
    server: &Server,
    watchers: &[Page],
) -> Result<(), String> {
    let url = format!("{}&video=0&audio=0", server.url("late", "latecomer")).replace("&autojoin=1", "");
    let latecomer = elsewhere.open(&url, &[PROBE]).await?;
    latecomer.until("document.getElementById('join-button')?.offsetParent", SOON).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    // The same time without a join tells what the machine itself adds.
    let quiet = watch_all(watchers).await?;
    let late = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        latecomer.eval::<()>("document.getElementById('join-form').requestSubmit()").await?;
        until_seen(&latecomer, &[1]).await?;
        Ok::<_, String>(std::time::Instant::now())
    };
    let measuring = async { (watch_all(watchers).await, std::time::Instant::now()) };
    let ((during, measured), seen) = futures_util::future::join(measuring, late).await;
    let (during, seen) = (during?, seen?);
    println!("worst frame gap of the watchers: {quiet:.0} ms without, {during:.0} ms with a latecomer");
    latecomer.close().await?;
    if seen > measured {
        return Err(format!("the latecomer saw nothing within {JOIN_WINDOW:?}"));
    }
    if during > 100.0 {
        return Err(format!("a frame gap of {during:.0} ms (without the join {quiet:.0})"));
    }
    Ok(())
}

/// The longest gap between two frames that any page sees within [`JOIN_WINDOW`], in ms.
async fn watch_all(pages: &[Page]) -> Result<f64, String> {
    let seconds = JOIN_WINDOW.as_secs_f64();
    let all = futures_util::future::join_all(pages.iter().map(|page| Quality::measure(page, seconds))).await;
    let mut worst: f64 = 0.0;
    for quality in all {
        for video in quality?.video {
            worst = worst.max(video.worst_gap_ms);
        }
    }
    Ok(worst)
}

#[test]
fn publisher_reloads_twenty_times() {
    browser_test("publisher_reloads_twenty_times", async {
        let server = Server::start().await;
        let browser = Browser::launch(None).await?;
        let publisher = join_painted(&browser, &server.url("reload", "ann"), 1, (320, 180), 30).await?;
        let watcher = join_painted(&browser, &server.url("reload", "bob"), 2, (320, 180), 30).await?;
        until_seen(&watcher, &[1]).await?;
        for round in 0..20 {
            let before: String = watcher.eval("probe.other().trackId").await?;
            publisher.reload().await?;
            let fresh = format!("probe.other() && probe.other().trackId !== '{before}' && probe.seen([1])");
            watcher.until(&fresh, SOON).await.map_err(|error| format!("round {round}: {error}"))?;
        }
        // Reloading leaves nobody behind, and no section more than one person ever needed.
        let people: usize = watcher.eval("sfu.participants.length").await?;
        let sections: usize = watcher.eval("sfu.pc.getTransceivers().length").await?;
        if people != 1 || sections > 6 {
            return Err(format!("{people} others and {sections} sections after twenty reloads"));
        }
        until_seen(&publisher, &[2]).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        Quality::holds(&watcher, 4.0, "bob", &[1], 30.0).await
    });
}

#[test]
fn mute_and_unmute() {
    browser_test("mute_and_unmute", async {
        let server = Server::start().await;
        let browser = Browser::launch(None).await?;
        let ann = join_painted(&browser, &server.url("mute", "ann"), 1, (320, 180), 30).await?;
        let bob = join_painted(&browser, &server.url("mute", "bob"), 2, (320, 180), 30).await?;
        until_seen(&bob, &[1]).await?;
        for _ in 0..3 {
            ann.eval::<()>("document.getElementById('toggle-camera').click()").await?;
            ann.eval::<()>("document.getElementById('toggle-microphone').click()").await?;
            let muted = "sfu.participants[0].tracks.length === 2 && sfu.participants[0].tracks.every((track) => track.muted)";
            bob.until(muted, SOON).await?;
            let avatar = "!document.querySelector('.tile:not(.is-local)').classList.contains('has-video')";
            bob.until(avatar, SOON).await?;
            // Two seconds of silence on both: nothing of a muted track may come through the server's door.
            tokio::time::sleep(Duration::from_millis(500)).await;
            let quiet = Quality::measure(&bob, 2.0).await?;
            if quiet.video.iter().any(|video| video.fps > 0.0) {
                return Err(format!("frames of a muted camera: {quiet:#?}"));
            }
            if quiet.audio.iter().any(|audio| audio.concealed < audio.samples) {
                return Err(format!("sound of a muted microphone: {quiet:#?}"));
            }
            ann.eval::<()>("document.getElementById('toggle-camera').click()").await?;
            ann.eval::<()>("document.getElementById('toggle-microphone').click()").await?;
            bob.until("sfu.participants[0].tracks.every((track) => !track.muted)", SOON).await?;
            let before: f64 =
                bob.eval("probe.other().video.getVideoPlaybackQuality().totalVideoFrames").await?;
            let fresh = format!(
                "probe.other().video.getVideoPlaybackQuality().totalVideoFrames > {before} && probe.seen([1])"
            );
            bob.until(&fresh, SOON).await?;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        Quality::holds(&bob, 4.0, "bob", &[1], 30.0).await
    });
}

#[test]
fn screen_share() {
    browser_test("screen_share", async {
        let server = Server::start().await;
        let browser = Browser::launch(None).await?;
        let ann = join_painted(&browser, &server.url("screen", "ann"), 1, (320, 180), 15).await?;
        let bob = join_painted(&browser, &server.url("screen", "bob"), 2, (320, 180), 15).await?;
        until_seen(&bob, &[1]).await?;
        // First what the browser itself captures (its own tab), then a picture that can be recognised.
        ann.eval::<()>("document.getElementById('toggle-screen').click()").await?;
        bob.until("sfu.tiles.some((tile) => tile.screen && tile.video.videoWidth > 0)", SOON).await?;
        ann.eval::<()>("document.getElementById('toggle-screen').click()").await?;
        bob.until("!sfu.tiles.some((tile) => tile.screen)", SOON).await?;
        ann.eval::<()>("probe.fakeScreen(33, 1280, 720, 15)").await?;
        let mut sections = Vec::new();
        for _ in 0..3 {
            ann.eval::<()>("document.getElementById('toggle-screen').click()").await?;
            until_seen(&bob, &[1, 33]).await?;
            bob.until("document.getElementById('stage').dataset.mode === 'stage'", SOON).await?;
            sections.push(ann.eval::<usize>("sfu.pc.getTransceivers().length").await?);
            ann.eval::<()>("document.getElementById('toggle-screen').click()").await?;
            bob.until("!sfu.tiles.some((tile) => tile.screen)", SOON).await?;
        }
        if sections.iter().any(|count| *count != sections[0]) {
            return Err(format!("sections grow with each share: {sections:?}"));
        }
        Ok(())
    });
}

#[test]
fn network_loss_and_return() {
    browser_test("network_loss_and_return", async {
        let server = Server::start().await;
        let relay = Relay::new(server.http_port, server.udp_port).await;
        let browser = Browser::launch(None).await?;
        let script = relay.script(server.udp_port);
        let camera = "probe.fakeCamera(1, 320, 180, 30);";
        let ann = browser.open(&page_url(relay.http_port, "loss", "ann"), &[PROBE, &script, camera]).await?;
        let bob = join_painted(&browser, &server.url("loss", "bob"), 2, (320, 180), 30).await?;
        until_seen(&bob, &[1]).await?;
        until_seen(&ann, &[2]).await?;
        // Short: ICE alone finds back. Long: the socket is given up, too, and is resumed.
        for (seconds, within) in [(4, 10), (14, 20)] {
            relay.cut();
            ann.set_offline(true).await?;
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            relay.mend();
            ann.set_offline(false).await?;
            let moves = "(async () => { const frames = () => probe.other()?.video.getVideoPlaybackQuality().totalVideoFrames; const before = frames(); await new Promise((done) => setTimeout(done, 700)); return frames() > before + 8; })()";
            for page in [&ann, &bob] {
                await_true(page, moves, Duration::from_secs(within)).await?;
                page.until(JOINED, SOON).await?;
            }
            until_seen(&bob, &[1]).await?;
            until_seen(&ann, &[2]).await?;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        Quality::holds(&bob, 4.0, "bob", &[1], 30.0).await?;
        Quality::holds(&ann, 4.0, "ann", &[2], 30.0).await
    });
}

#[test]
fn server_restart() {
    browser_test("server_restart", async {
        let mut server = Server::start().await;
        let browser = Browser::launch(None).await?;
        let ann = join_painted(&browser, &server.url("restart", "ann"), 1, (320, 180), 30).await?;
        let bob = join_painted(&browser, &server.url("restart", "bob"), 2, (320, 180), 30).await?;
        until_seen(&bob, &[1]).await?;
        until_seen(&ann, &[2]).await?;
        server.kill();
        ann.until("sfu.state === 'reconnecting'", SOON).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.run().await;
        for (page, other) in [(&ann, 2), (&bob, 1)] {
            page.until(JOINED, SOON).await?;
            until_seen(page, &[other]).await?;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        Quality::holds(&bob, 4.0, "bob", &[1], 30.0).await
    });
}

/// Like [`Page::until`], for an expression that is a promise.
async fn await_true(page: &Page, expression: &str, timeout: Duration) -> Result<(), String> {
    let deadline = std::time::Instant::now() + timeout;
    while !page.eval::<bool>(expression).await.unwrap_or(false) {
        if std::time::Instant::now() > deadline {
            return Err(format!("not within {timeout:?}: {expression}\n{}", page.describe().await));
        }
    }
    Ok(())
}
