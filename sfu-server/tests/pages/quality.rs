//! The quality menu of the watch page: each layer on request, with the mouse and with keys, over a change of the publisher;
//! and no menu where there is nothing to choose.

use super::super::support::chromium::Browser;
use super::super::support::page::Page;
use super::super::support::server::Server;
use super::super::support::{PROBE, browser_test};
use super::super::{SOON, until_seen};
use super::{LIVE, watch};

/// Something for three layers.
const LARGE: (u32, u32) = (1280, 720);

const MENU: &str = "!document.getElementById('quality').hidden";

/// A publisher without simulcast, as most programs are.
const ONE_LAYER: &str = "const addTransceiver = RTCPeerConnection.prototype.addTransceiver;
RTCPeerConnection.prototype.addTransceiver = function (track, { sendEncodings, ...init }) {
  return addTransceiver.call(this, track, init);
};";

/// A server that links to no extension.
const NO_LINKS: &str = "const fetching = window.fetch;
window.fetch = async (...request) => {
  const response = await fetching(...request);
  const get = response.headers.get.bind(response.headers);
  response.headers.get = (name) => (name === 'Link' ? null : get(name));
  return response;
};";

async fn publish(browser: &Browser, server: &Server, id: u8, scripts: &str) -> Result<Page, String> {
    let url = format!("http://127.0.0.1:{}/broadcast?room=quality&autostart=1", server.http_port);
    let camera = format!("{scripts}\nprobe.fakeCamera({id}, {}, {}, 10);", LARGE.0, LARGE.1);
    let page = browser.open(&url, &[PROBE, &camera]).await?;
    page.until(LIVE, SOON).await?;
    Ok(page)
}

/// Opens the menu and clicks on a choice.
async fn choose(viewer: &Page, name: &str) -> Result<(), String> {
    let item = format!(
        "[...document.querySelectorAll('#quality-list button')].find((item) => item.querySelector('span').textContent === {name:?})"
    );
    viewer.eval::<()>("document.getElementById('quality-button').click()").await?;
    viewer.until(&item, SOON).await?;
    viewer.eval::<()>(&format!("{item}.click()")).await
}

async fn until_width(viewer: &Page, width: u32, id: u8) -> Result<(), String> {
    viewer.until(&format!("sfu.tiles[0].video.videoWidth === {width} && probe.seen([{id}])"), SOON).await
}

async fn until_names(viewer: &Page, names: &[&str]) -> Result<(), String> {
    let shown = "[...document.querySelectorAll('#quality-list span')].map((name) => name.textContent).join()";
    viewer.until(&format!("{MENU} && {shown} === {:?}", names.join(",")), SOON).await
}

async fn until_label(viewer: &Page, label: &str) -> Result<(), String> {
    let shown = "document.getElementById('quality-button').getAttribute('aria-label')";
    viewer.until(&format!("{shown} === 'Quality: {label}'"), SOON).await
}

/// A key, as a keyboard sends it. Enter is a click to a button only with its text.
async fn press(page: &Page, key: &str) -> Result<(), String> {
    let text = if key == "Enter" { "\r" } else { "" };
    for kind in ["keyDown", "keyUp"] {
        let params = serde_json::json!({ "type": kind, "key": key, "code": key, "text": text });
        page.devtools("Input.dispatchKeyEvent", params).await?;
    }
    Ok(())
}

#[test]
fn a_viewer_chooses_each_layer() {
    browser_test("a_viewer_chooses_each_layer", async {
        let server = Server::start().await;
        let browser = Browser::launch(None).await?;
        let _publisher = publish(&browser, &server, 14, "").await?;
        let viewer = watch(&browser, &server, "quality").await?;
        until_width(&viewer, 1280, 14).await?;
        until_names(&viewer, &["Auto", "720p", "360p", "180p"]).await?;
        until_label(&viewer, "Auto 720p").await?;
        for (name, width) in [("180p", 320), ("720p", 1280), ("360p", 640)] {
            choose(&viewer, name).await?;
            until_width(&viewer, width, 14).await.map_err(|error| format!("{name}: {error}"))?;
            until_label(&viewer, name).await?;
        }
        choose(&viewer, "Auto").await?;
        until_width(&viewer, 1280, 14).await?;
        // The same by keys: the menu opens at what is chosen.
        for key in ["q", "End", "ArrowUp", "Enter"] {
            press(&viewer, key).await?;
        }
        until_width(&viewer, 640, 14).await?;
        press(&viewer, "q").await?;
        viewer.until("document.activeElement.textContent === '360p'", SOON).await?;
        press(&viewer, "Escape").await?;
        let closed = "document.getElementById('quality-list').hidden";
        viewer.until(&format!("{closed} && document.activeElement.id === 'quality-button'"), SOON).await
    });
}

#[test]
fn the_quality_menu_follows_the_publisher() {
    browser_test("the_quality_menu_follows_the_publisher", async {
        let mut server = Server::start().await;
        let browser = Browser::launch(None).await?;
        let stop = "document.getElementById('go').click()";
        let first = publish(&browser, &server, 15, "").await?;
        let viewer = watch(&browser, &server, "quality").await?;
        until_names(&viewer, &["Auto", "720p", "360p", "180p"]).await?;
        choose(&viewer, "360p").await?;
        until_width(&viewer, 640, 15).await?;
        first.eval::<()>(stop).await?;
        viewer
            .until("document.getElementById('card-title').textContent === 'The broadcast has stopped'", SOON)
            .await?;
        let second = publish(&browser, &server, 16, ONE_LAYER).await?;
        until_seen(&viewer, &[16]).await?;
        viewer.until(&format!("!({MENU})"), SOON).await?;
        second.eval::<()>(stop).await?;
        let _third = publish(&browser, &server, 17, "").await?;
        // What was chosen is chosen still.
        until_label(&viewer, "360p").await?;
        until_width(&viewer, 640, 17).await?;
        // And over a session that is lost.
        server.run().await;
        viewer.until("sfu.state === 'reconnecting' || sfu.state === 'waiting'", SOON).await?;
        until_width(&viewer, 640, 17).await?;
        until_label(&viewer, "360p").await?;
        // Who is there, too, is counted.
        let another = watch(&browser, &server, "quality").await?;
        let shown = "document.getElementById('viewers')";
        let counted = format!("!{shown}.hidden && {shown}.textContent === '2 watching'");
        viewer.until(&counted, SOON).await?;
        another.until(&counted, SOON).await
    });
}

#[test]
fn a_server_without_the_extensions_gets_no_menu() {
    browser_test("a_server_without_the_extensions_gets_no_menu", async {
        let server = Server::start().await;
        let browser = Browser::launch(None).await?;
        let _publisher = publish(&browser, &server, 18, "").await?;
        let url = format!("http://127.0.0.1:{}/watch?room=quality", server.http_port);
        let plain = browser.open(&url, &[PROBE, NO_LINKS]).await?;
        until_width(&plain, 1280, 18).await?;
        // Who is told has a menu by now.
        let told = watch(&browser, &server, "quality").await?;
        told.until(MENU, SOON).await?;
        plain.until(&format!("!({MENU})"), SOON).await
    });
}

/// The server gets a picture and can't pass it on: here the player lacks its codec, elsewhere an encoder lets it wait for a
/// keyframe.
#[test]
fn who_waits_for_a_picture_that_arrives_at_the_server_is_told() {
    browser_test("who_waits_for_a_picture_that_arrives_at_the_server_is_told", async {
        let server = Server::start().await;
        let browser = Browser::launch(None).await?;
        let _publisher = publish(&browser, &server, 20, "").await?;
        let only_vp9 = "const set = RTCPeerConnection.prototype.setLocalDescription;
            RTCPeerConnection.prototype.setLocalDescription = function (...description) {
              const vp9 = RTCRtpReceiver.getCapabilities('video').codecs.filter((one) => /vp9/i.test(one.mimeType));
              for (const transceiver of this.getTransceivers()) {
                if (transceiver.receiver.track.kind === 'video') transceiver.setCodecPreferences(vp9);
              }
              return set.apply(this, description);
            };";
        let url = format!("http://127.0.0.1:{}/watch?room=quality", server.http_port);
        let viewer = browser.open(&url, &[PROBE, only_vp9]).await?;
        let title = "document.getElementById('card-title').textContent";
        viewer.until(&format!("{title} === 'The picture is about to start'"), SOON).await
    });
}
