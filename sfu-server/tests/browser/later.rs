//! What is shared only later, beside sections that receive by then.

use super::support::chromium::Browser;
use super::support::server::Server;
use super::support::{PROBE, browser_test};
use super::{JOINED, SOON, join_painted, until_seen};

/// Browsers give a new section the header extensions of those that they have: what names layers must be among them.
#[test]
fn a_camera_that_comes_later_is_sent_in_layers() {
    browser_test("a_camera_that_comes_later_is_sent_in_layers", async {
        let server = Server::start().await;
        let browser = Browser::launch(None).await?;
        let ann = join_painted(&browser, &server.url("later", "ann"), 1, (320, 180), 10).await?;
        let camera = "probe.fakeCamera(2, 640, 360, 10); probe.fakeScreen(33, 640, 360, 10);";
        let bob = browser.open(&format!("{}&video=0", server.url("later", "bob")), &[PROBE, camera]).await?;
        bob.until(JOINED, SOON).await?;
        until_seen(&bob, &[1]).await?;
        let same: String = bob.eval("sfu.self.id").await?;
        for (button, id) in [("toggle-screen", 33), ("toggle-camera", 2)] {
            bob.eval::<()>(&format!("document.getElementById('{button}').click()")).await?;
            until_seen(&ann, &[id]).await?;
        }
        bob.eval::<()>("document.getElementById('toggle-screen').click()").await?;
        ann.until("!sfu.tiles.some((tile) => tile.screen)", SOON).await?;
        for (layer, width) in [("low", 320), ("medium", 640)] {
            ann.eval::<()>(&format!("probe.prefer('{layer}')")).await?;
            let arrives = format!("probe.other().video.videoWidth === {width} && probe.seen([2])");
            ann.until(&arrives, SOON).await.map_err(|error| format!("{layer}: {error}"))?;
        }
        // All that on one connection.
        let stayed = format!("sfu.self.id === '{same}' && !sfu.log.some(({{ type }}) => type === 'rejoin')");
        bob.until(&stayed, SOON).await?;
        // The sizes of its layers are told with it: who watches chooses by them.
        let url = format!("http://127.0.0.1:{}/watch?room=later&participant=bob", server.http_port);
        let viewer = browser.open(&url, &[PROBE]).await?;
        let names =
            "[...document.querySelectorAll('#quality-list span')].map((name) => name.textContent).join()";
        viewer.until(&format!("{names} === 'Auto,360p,180p'"), SOON).await
    });
}
