//! A publisher whose codecs the room doesn't take: its page says so, and everything else goes on.

use super::support::browser_test;
use super::support::chromium::Browser;
use super::support::server::Server;
use super::{JOINED, PROBE, SOON, join_painted};

const OWN_TILE: &str = "document.querySelector('.tile.is-local')?.innerText";
const TOLD: &str = "document.getElementById('toasts').innerText";

#[test]
fn who_is_not_seen_is_told() {
    browser_test("who_is_not_seen_is_told", async {
        let server = Server::start_with(&["--video-codecs", "h265"]).await;
        let browser = Browser::launch(None).await?;
        let ann = join_painted(&browser, &server.url("unwanted", "ann"), 1, (320, 180), 10).await?;
        let bob = browser.open(&format!("{}&video=0", server.url("unwanted", "bob")), &[PROBE]).await?;
        ann.until(JOINED, SOON).await?;
        ann.until(&format!("{TOLD}.includes('The others can’t see you')"), SOON).await?;
        ann.until(&format!("{OWN_TILE}.includes('the others can’t see you')"), SOON).await?;
        // Sound goes both ways.
        for page in [&ann, &bob] {
            page.until("sfu.participants[0]?.tracks.some((track) => track.source === 'microphone')", SOON)
                .await?;
            page.until(
                "Object.values(sfu.stats().inbound).some((one) => one.totalSamplesReceived > 0)",
                SOON,
            )
            .await?;
        }
        // Nothing is lost that isn't on, and nothing breaks when it is on again.
        ann.eval::<()>("document.getElementById('toggle-camera').click()").await?;
        ann.until(&format!("!{OWN_TILE}.includes('can’t see you')"), SOON).await?;
        ann.eval::<()>("document.getElementById('toggle-camera').click()").await?;
        ann.until(&format!("{OWN_TILE}.includes('can’t see you')"), SOON).await?;
        ann.eval::<()>("probe.fakeScreen(33, 320, 180, 10)").await?;
        ann.eval::<()>("document.getElementById('toggle-screen').click()").await?;
        ann.until(&format!("{TOLD}.includes('Your screen can’t be shared here')"), SOON).await?;
        ann.until("document.getElementById('toggle-screen').getAttribute('aria-pressed') === 'false'", SOON)
            .await?;
        ann.until(JOINED, SOON).await
    });
}
