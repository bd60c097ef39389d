//! Layers of every kind, from a real encoder, each asked for in turn by a viewer: streams of their own under rids or SSRC
//! groups, and the spatial and temporal layers of one scalable stream.

use super::support::chromium::Browser;
use super::support::page::Page;
use super::support::server::Server;
use super::support::{PROBE, Quality, WHIP, browser_test, in_some_window};
use super::{JOINED, SOON, join_painted, until_seen};

/// Low enough for two cores to encode three layers and to decode some of them.
const FPS: u32 = 12;
const ID: u8 = 1;

/// A page of WHIP that publishes a painted picture; `options` are those of `whip.publish`.
async fn encoder(
    browser: &Browser,
    server: &Server,
    size: (u32, u32),
    options: &str,
) -> Result<Page, String> {
    let (width, height) = size;
    let camera = format!("probe.fakeCamera({ID}, {width}, {height}, {FPS});");
    let page = browser.open(&bare_page(server), &[PROBE, &camera, WHIP]).await?;
    page.until("window.whip", SOON).await?;
    page.eval::<()>(&format!("whip.publish('{}', {options})", server.endpoint("whip", "layers"))).await?;
    Ok(page)
}

/// A page without scripts of its own: any of the server's will do.
fn bare_page(server: &Server) -> String {
    format!("http://127.0.0.1:{}/healthz", server.http_port)
}

/// A conference page that only watches, and already sees the encoder.
async fn viewer(browser: &Browser, server: &Server) -> Result<Page, String> {
    let url = format!("{}&video=0&audio=0", server.url("layers", "bob"));
    let page = browser.open(&url, &[PROBE]).await?;
    until_seen(&page, &[ID]).await?;
    Ok(page)
}

/// Asks for a layer, and waits for a picture of its width.
async fn ask(viewer: &Page, layer: &str, width: u32) -> Result<(), String> {
    viewer.eval::<()>(&format!("probe.prefer('{layer}')")).await?;
    let arrives = format!("probe.other().video.videoWidth === {width} && probe.seen([{ID}])");
    viewer.until(&arrives, SOON).await.map_err(|error| format!("{layer}: {error}"))
}

/// As [`ask`]; then the layer comes at its rate, and its picture never freezes.
async fn comes_whole(viewer: &Page, layer: &str, width: u32) -> Result<(), String> {
    ask(viewer, layer, width).await?;
    Quality::holds(viewer, 3.0, layer, &[ID], f64::from(FPS)).await
}

/// The right picture at a quarter of its frames: the lowest of three temporal layers.
async fn comes_at_a_quarter(page: &Page, width: u32) -> Result<(), String> {
    in_some_window(async || {
        let quality = Quality::measure(page, 4.0).await?;
        let [video] = quality.video.as_slice() else { return Err(format!("one picture: {quality:#?}")) };
        println!("the lowest temporal layer: {:.1} frames a second at width {}", video.fps, video.width);
        let share = video.fps / f64::from(FPS);
        let right = (0.2..=0.3).contains(&share) && video.width == width && video.ids == [ID];
        if right && video.readable + 1 >= video.readings {
            Ok(())
        } else {
            Err(format!("{:.1} frames a second of {FPS}: {quality:#?}", video.fps))
        }
    })
    .await
}

#[test]
fn each_layer_of_three_arrives_on_request() {
    browser_test("each_layer_of_three_arrives_on_request", async {
        let server = Server::start().await;
        let browser = Browser::launch(None).await?;
        let ann = join_painted(&browser, &server.url("layers", "ann"), ID, (1280, 720), 10).await?;
        let bob = viewer(&browser, &server).await?;
        ann.until(JOINED, SOON).await?;
        for (layer, width) in [("low", 320), ("medium", 640), ("high", 1280), ("low", 320), ("high", 1280)] {
            ask(&bob, layer, width).await?;
        }
        Ok(())
    });
}

/// Chromium takes an offer whose streams were declared by hand, and sends them all.
#[test]
fn each_layer_of_an_ssrc_group_arrives_on_request() {
    browser_test("each_layer_of_an_ssrc_group_arrives_on_request", async {
        let server = Server::start().await;
        let browser = Browser::launch(None).await?;
        let encoder = encoder(&browser, &server, (960, 540), "{ ssrcGroups: true }").await?;
        let declared = "/^a=ssrc-group:SIM \\d+ 1001 2001\\r$/m.test(sfu.pc.localDescription.sdp)
          && !/^a=(rid|simulcast):/m.test(sfu.pc.localDescription.sdp)";
        encoder.until(declared, SOON).await?;
        let viewer = viewer(&browser, &server).await?;
        for (layer, width) in [("low", 240), ("medium", 480), ("high", 960), ("low", 240)] {
            comes_whole(&viewer, layer, width).await?;
        }
        encoder.eval::<()>("whip.end()").await
    });
}

/// Of what a page sends.
const MODE_SENT: &str = "(async () => {
  const stats = [...(await sfu.pc.getStats()).values()];
  return stats.filter((one) => one.type === 'outbound-rtp' && one.kind === 'video').map((one) => one.scalabilityMode).join();
})()";

/// One stream of three sizes and three rates each (L3T3_KEY): every size comes at its rate, a quarter of the frames comes
/// on request, also by WHEP, and all of it again.
fn each_layer_of_a_scalable_stream(name: &str, codec: &str) {
    browser_test(name, async {
        let server = Server::start_with(&["--video-codecs", codec]).await;
        let browser = Browser::launch(None).await?;
        // The lowest size below which Chromium leaves a layer out is 256×144 in AV1.
        let encodings = "{ encodings: [{ scalabilityMode: 'L3T3_KEY', maxBitrate: 2_000_000 }] }";
        let encoder = encoder(&browser, &server, (1024, 576), encodings).await?;
        let viewer = viewer(&browser, &server).await?;
        let mode: String = encoder.eval(MODE_SENT).await?;
        if mode != "L3T3_KEY" {
            return Err(format!("{name}: Chromium sends {mode}"));
        }
        for (layer, width) in [("low", 256), ("medium", 512), ("high", 1024), ("low", 256)] {
            comes_whole(&viewer, layer, width).await?;
        }
        ask(&viewer, "high", 1024).await?;
        viewer.eval::<()>("probe.prefer('high', 0)").await?;
        comes_at_a_quarter(&viewer, 1024).await?;
        comes_whole(&viewer, "high", 1024).await?;
        viewer.close().await?;
        let player = browser.open(&bare_page(&server), &[PROBE, WHIP]).await?;
        player.until("window.whip", SOON).await?;
        player.eval::<()>(&format!("whip.play('{}')", server.endpoint("whep", "layers"))).await?;
        until_seen(&player, &[ID]).await?;
        player.eval::<()>("whip.choose({ spatialLayerId: 1, temporalLayerId: 0 })").await?;
        player.until("probe.other().video.videoWidth === 512", SOON).await?;
        comes_at_a_quarter(&player, 512).await?;
        encoder.eval::<()>("whip.end()").await
    });
}

#[test]
fn each_layer_of_a_scalable_vp9_stream_arrives_on_request() {
    each_layer_of_a_scalable_stream("each_layer_of_a_scalable_vp9_stream_arrives_on_request", "vp9");
}

#[test]
fn each_layer_of_a_scalable_av1_stream_arrives_on_request() {
    each_layer_of_a_scalable_stream("each_layer_of_a_scalable_av1_stream_arrives_on_request", "av1");
}
