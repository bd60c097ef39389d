//! What two pages of a call say to each other over data channels: in the chat panel, and on channels of every kind that a
//! script opens.

use std::time::Duration;

use serde::Deserialize;

use super::page::Page;

const SOON: Duration = Duration::from_secs(20);

/// A page's channels can be used.
pub const DATA_OPEN: &str = "sfu.pc.sctp?.state === 'connected'";

/// Writes into the box and presses Enter, as a person does.
pub async fn say(page: &Page, text: &str) -> Result<(), String> {
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
pub async fn heard(page: &Page, expected: &[(&str, &str)]) -> Result<(), String> {
    let expected: Vec<String> = expected.iter().map(|(name, text)| format!("{name}: {text}")).collect();
    let shown = "[...document.querySelectorAll('#chat-list .said')].map((item) =>
      `${item.querySelector('b').textContent}: ${item.querySelector('.said-text').textContent}`)";
    let wanted = serde_json::to_string(&expected).map_err(|error| error.to_string())?;
    page.until(&format!("JSON.stringify({shown}) === JSON.stringify({wanted})"), SOON).await
}

/// Everything that one page sends on a channel of any kind comes back from the other as it was, in order.
pub async fn echo_channels_of_every_kind(ann: &Page, bob: &Page) -> Result<(), String> {
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
}

/// Makes a page send everything back on the channel that it came through.
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

#[derive(Deserialize, Debug)]
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
  const channel = sfu.pc.createDataChannel(`big ${Math.random()}`);
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
  const channel = sfu.pc.createDataChannel(`thousand ${Math.random()}`);
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
