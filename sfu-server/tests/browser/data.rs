//! Data channels between real pages: the chat, and channels of every kind that a page's script opens.

use super::support::browser_test;
use super::support::chromium::Browser;
use super::support::server::Server;
use super::support::talk::{DATA_OPEN, echo_channels_of_every_kind, heard, say};
use super::{JOINED, SOON};

/// A page whose browser has no data channels: what it says and hears goes over the WebSocket.
const NO_DATA_CHANNELS: &str =
    "RTCPeerConnection.prototype.createDataChannel = () => ({ readyState: 'closed' });";

#[test]
fn a_chat_reaches_everybody_and_is_only_ever_text() {
    browser_test("a_chat_reaches_everybody_and_is_only_ever_text", async {
        let server = Server::start().await;
        let browser = Browser::launch(None).await?;
        let url = |name: &str| format!("{}&video=0&audio=0", server.url("chat", name));
        let ann = browser.open(&url("ann"), &[]).await?;
        let bob = browser.open(&url("bob"), &[]).await?;
        let eve = browser.open(&url("eve"), &[NO_DATA_CHANNELS]).await?;
        for page in [&ann, &bob, &eve] {
            page.until(JOINED, SOON).await?;
            page.until("sfu.participants.length === 2", SOON).await?;
        }
        ann.until(DATA_OPEN, SOON).await?;
        bob.until(DATA_OPEN, SOON).await?;
        let hostile = "<img src=x onerror=alert(1)> https://example.com javascript:alert(1)";
        say(&ann, hostile).await?;
        heard(&bob, &[("ann", hostile)]).await?;
        heard(&eve, &[("ann", hostile)]).await?;
        bob.until("!document.querySelector('#chat-list img, #chat-list a')", SOON).await?;
        bob.until("document.getElementById('chat-unread').textContent === '1'", SOON).await?;
        // The key opens the panel, and then what is heard is read.
        bob.eval::<()>(
            "void document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'c', bubbles: true }))",
        )
        .await?;
        bob.until("sfu.chat.open && sfu.chat.unread === 0 && document.activeElement.id === 'chat-box'", SOON)
            .await?;
        say(&eve, "no channel").await?;
        heard(&ann, &[("You", hostile), ("eve", "no channel")]).await?;
        heard(&bob, &[("ann", hostile), ("eve", "no channel")]).await?;
        Ok(())
    });
}

/// The conversation goes on over a lost socket and a new connection; what was said before stays.
#[test]
fn a_chat_goes_on_after_a_reload_and_a_restart_of_ice() {
    browser_test("a_chat_goes_on_after_a_reload_and_a_restart_of_ice", async {
        let server = Server::start().await;
        let browser = Browser::launch(None).await?;
        let url = |name: &str| format!("{}&video=0&audio=0", server.url("chat", name));
        let (ann, bob) = (browser.open(&url("ann"), &[]).await?, browser.open(&url("bob"), &[]).await?);
        for page in [&ann, &bob] {
            page.until(JOINED, SOON).await?;
            page.until(DATA_OPEN, SOON).await?;
        }
        say(&ann, "one").await?;
        heard(&bob, &[("ann", "one")]).await?;
        ann.eval::<()>("sfu.pc.restartIce()").await?;
        say(&ann, "two").await?;
        heard(&bob, &[("ann", "one"), ("ann", "two")]).await?;
        ann.reload().await?;
        ann.until(JOINED, SOON).await?;
        ann.until(DATA_OPEN, SOON).await?;
        say(&ann, "three").await?;
        heard(&bob, &[("ann", "one"), ("ann", "two"), ("ann", "three")]).await?;
        say(&bob, "four").await?;
        heard(&ann, &[("You", "three"), ("bob", "four")]).await
    });
}

#[test]
fn channels_of_every_kind_cross_the_room() {
    browser_test("channels_of_every_kind_cross_the_room", async {
        let server = Server::start().await;
        let browser = Browser::launch(None).await?;
        let url = |name: &str| format!("{}&video=0&audio=0", server.url("data", name));
        let (ann, bob) = (browser.open(&url("ann"), &[]).await?, browser.open(&url("bob"), &[]).await?);
        for page in [&ann, &bob] {
            page.until(JOINED, SOON).await?;
            page.until(DATA_OPEN, SOON).await?;
        }
        echo_channels_of_every_kind(&ann, &bob).await
    });
}
