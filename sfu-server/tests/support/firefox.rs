//! Starts headless Firefox with a fake camera and microphone, opens pages in it over WebDriver BiDi, and ends it when
//! dropped. For calls it has to run in a `test_programs::namespace`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_programs::{Process, Scratch, firefox};

use super::page::{Handle, Page};
use super::remote::Remote;

const START_TIMEOUT: Duration = Duration::from_secs(40);

/// A running browser with a profile of its own.
pub struct Browser {
    _process: Process,
    remote: Remote,
}

impl Browser {
    pub async fn launch() -> Result<Self, String> {
        let profile = Scratch::directory("firefox").map_err(|error| error.to_string())?;
        let mut command = firefox::command(profile.path()).map_err(|error| error.to_string())?;
        command.arg("--remote-debugging-port=0");
        let mut process = Process::spawn_at(command, profile).map_err(|error| error.to_string())?;
        let url = bidi_url(&mut process).await?;
        let remote = Remote::connect(&url).await?;
        remote.call(None, "session.new", json!({ "capabilities": {} })).await?;
        remote.call(None, "session.subscribe", json!({ "events": ["log.entryAdded"] })).await?;
        Ok(Self { _process: process, remote })
    }

    /// Opens a page in a window of its own (so that none is hidden) with scripts that run before the page's.
    pub async fn open(&self, url: &str, scripts: &[&str]) -> Result<Page, String> {
        let created = self.remote.call(None, "browsingContext.create", json!({ "type": "window" })).await?;
        let context = created["context"].as_str().unwrap_or_default().to_owned();
        for script in scripts {
            let params =
                json!({ "functionDeclaration": format!("() => {{ {script}\n}}"), "contexts": [context] });
            self.remote.call(None, "script.addPreloadScript", params).await?;
        }
        let params = json!({ "context": context, "url": url, "wait": "none" });
        self.remote.call(None, "browsingContext.navigate", params).await?;
        Ok(Page::new(self.remote.clone(), Handle::Firefox { context }))
    }
}

/// Firefox writes the port that it chose into its profile.
async fn bidi_url(process: &mut Process) -> Result<String, String> {
    let deadline = Instant::now() + START_TIMEOUT;
    let file = process.home().join("WebDriverBiDiServer.json");
    while Instant::now() < deadline {
        if let Ok(content) = std::fs::read_to_string(&file)
            && let Ok(server) = serde_json::from_str::<Value>(&content)
            && let Some(port) = server["ws_port"].as_u64()
        {
            return Ok(format!("ws://127.0.0.1:{port}/session"));
        }
        if let Some(status) = process.ended() {
            return Err(format!("Firefox ended with {status}"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(format!("Firefox did not start in {START_TIMEOUT:?}"))
}
