//! Data channels between real pages: the chat, and channels of every kind that a page's script opens.

use std::time::Duration;

use super::support::browser_test;
use super::support::chromium::Browser;
use super::support::page::Page;
use super::support::server::Server;
use super::{JOINED, SOON};

/// A page whose browser has no data channels: what it says and hears goes over the WebSocket.
const NO_DATA_CHANNELS: &str =
    "RTCPeerConnection.prototype.createDataChannel = () => ({ readyState: 'closed' });";

const DATA_OPEN: &str = "sfu.pc.sctp?.state === 'connected'";

/// Writes into the box and presses Enter, as a person does.
async fn say(page: &Page, text: &str) -> Result<(), String> {
    let write = format!(
        "(() => {{
          const box = document.getElementById('chat-box');
          box.value = {text:?};
          const enter = {{ key: 'Enter', bubbles: true, cancelable: true }};
          box.dispatchEvent(new KeyboardEvent('keydown', enter));
        }})()"
    );
    page.eval::<()>(&write).await
}

/// All that a page's panel shows, each with its sender's name.
async fn heard(page: &Page, expected: &[(&str, &str)]) -> Result<(), String> {
    let expected: Vec<String> = expected.iter().map(|(name, text)| format!("{name}: {text}")).collect();
    let shown = "[...document.querySelectorAll('#chat-list .said')].map((item) =>
      `${item.querySelector('b').textContent}: ${item.querySelector('.said-text').textContent}`)";
    let wanted = serde_json::to_string(&expected).map_err(|error| error.to_string())?;
    page.until(&format!("JSON.stringify({shown}) === JSON.stringify({wanted})"), SOON).await
}

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

/// Opens a channel, and makes the other page send everything on channels of that label back.
const ECHO: &str = "sfu.pc.addEventListener('datachannel', ({ channel }) => {
  channel.binaryType = 'arraybuffer';
  channel.addEventListener('message', ({ data }) => {
    if (typeof data === 'string') {
      const { from, data: said } = JSON.parse(data);
      channel.send(JSON.stringify({ v: 1, to: [from], data: { said, ordered: channel.ordered, life: channel.maxPacketLifeTime, retransmits: channel.maxRetransmits } }));
    } else {
      // Version, private, sender (8 bytes), payload → version, one recipient, payload.
      const bytes = new Uint8Array(data);
      const back = new Uint8Array(bytes.length);
      back.set([1, 1]);
      back.set(bytes.subarray(2), 2);
      channel.send(back);
    }
  });
})";

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
        bob.eval::<()>(ECHO).await?;
        for (options, expected) in [
            ("{ ordered: false, maxRetransmits: 0 }", (false, None, Some(0))),
            ("{ ordered: false, maxPacketLifeTime: 500 }", (false, Some(500), None)),
            ("{ maxRetransmits: 3 }", (true, None, Some(3))),
            ("{ ordered: false }", (false, None, None)),
        ] {
            let echo: Echo = ann.eval(&echo_of_text(options)).await?;
            if (echo.ordered, echo.life, echo.retransmits) != expected || echo.said != "hello" {
                return Err(format!("{options} came back as {echo:?}"));
            }
        }
        // 60 kB, byte for byte.
        let intact: bool = ann.eval(BIG).await?;
        if !intact {
            return Err("60 kB came back changed".to_owned());
        }
        let in_order: u32 = ann.eval(THOUSAND).await?;
        if in_order != 1_000 {
            return Err(format!("{in_order} of a thousand messages came back, in order"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        ann.until("!sfu.log.some(({ type }) => type === 'data_refused')", SOON).await
    });
}

#[derive(serde::Deserialize, Debug)]
struct Echo {
    said: String,
    ordered: bool,
    life: Option<u32>,
    retransmits: Option<u32>,
}

fn echo_of_text(options: &str) -> String {
    format!(
        "new Promise((done) => {{
          const channel = sfu.pc.createDataChannel(`echo ${{Math.random()}}`, {options});
          channel.onopen = () => channel.send(JSON.stringify({{ v: 1, data: 'hello' }}));
          channel.onmessage = ({{ data }}) => done(JSON.parse(data).data);
        }})"
    )
}

const BIG: &str = "new Promise((done) => {
  const channel = sfu.pc.createDataChannel('big');
  channel.binaryType = 'arraybuffer';
  const sent = new Uint8Array(60_002);
  for (let index = 2; index < sent.length; index += 1) sent[index] = (index * 31) >> 3;
  sent.set([1, 0]);
  channel.onopen = () => channel.send(sent);
  channel.onmessage = ({ data }) => {
    const back = new Uint8Array(data).subarray(10);
    done(back.length === 60_000 && back.every((byte, index) => byte === sent[index + 2]));
  };
})";

const THOUSAND: &str = "new Promise((done) => {
  const channel = sfu.pc.createDataChannel('thousand');
  let next = 0;
  channel.onopen = () => {
    for (let index = 0; index < 1000; index += 1) channel.send(JSON.stringify({ v: 1, data: index }));
  };
  channel.onmessage = ({ data }) => {
    if (JSON.parse(data).data.said !== next) done(next);
    next += 1;
    if (next === 1000) done(next);
  };
  setTimeout(() => done(next), 20_000);
})";
