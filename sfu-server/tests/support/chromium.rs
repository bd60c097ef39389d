//! Starts headless Chromium with a fake camera and microphone, opens pages in it, and ends it when dropped.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_programs::{Process, Scratch, chromium};

use super::page::{Handle, Page};
use super::remote::Remote;

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Room for ten tiles without scrolling, and no more: pages are painted without a GPU, sixty times a second each.
const WINDOW: (u32, u32) = (640, 520);

/// A running browser with a profile of its own.
pub struct Browser {
    _process: Process,
    remote: Remote,
}

impl Browser {
    /// `camera`: a y4m file that every page's camera plays in a loop; without one the pages' script brings a picture.
    pub async fn launch(camera: Option<&Path>) -> Result<Self, String> {
        Self::start(camera, |command| command).await
    }

    /// A browser that gets only the processor time that nobody else wants: what its pages do to other pages, they do
    /// through the server.
    pub async fn launch_idle() -> Result<Self, String> {
        Self::start(None, test_programs::idle).await
    }

    async fn start(camera: Option<&Path>, wrap: fn(Command) -> Command) -> Result<Self, String> {
        let profile = Scratch::directory("chromium").map_err(|error| error.to_string())?;
        let mut command = chromium::command(profile.path()).ok_or("no Chromium on this machine")?;
        command.arg("--remote-debugging-port=0");
        if let Some(file) = camera {
            command.arg(format!("--use-file-for-fake-video-capture={}", file.display()));
        }
        command.arg("about:blank");
        let mut process = Process::spawn_at(wrap(command), profile).map_err(|error| error.to_string())?;
        let url = devtools_url(&mut process).await?;
        let remote = Remote::connect(&url).await?;
        Ok(Self { _process: process, remote })
    }

    /// Opens a page in a window of its own (so that none is hidden) with scripts that run before the page's.
    pub async fn open(&self, url: &str, scripts: &[&str]) -> Result<Page, String> {
        let params =
            json!({ "url": "about:blank", "newWindow": true, "width": WINDOW.0, "height": WINDOW.1 });
        let created = self.remote.call(None, "Target.createTarget", params).await?;
        let target = text(&created["targetId"]);
        let attach = json!({ "targetId": target, "flatten": true });
        let attached = self.remote.call(None, "Target.attachToTarget", attach).await?;
        let session = text(&attached["sessionId"]);
        let page = Page::new(self.remote.clone(), Handle::Chromium { session, target });
        for domain in ["Page.enable", "Runtime.enable", "Log.enable", "Inspector.enable"] {
            page.devtools(domain, json!({})).await?;
        }
        for script in scripts {
            page.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await?;
        }
        page.devtools("Page.navigate", json!({ "url": url })).await?;
        Ok(page)
    }
}

/// Chromium writes the port that it chose and the browser's path into its profile.
async fn devtools_url(process: &mut Process) -> Result<String, String> {
    let deadline = Instant::now() + START_TIMEOUT;
    let file = process.home().join("DevToolsActivePort");
    while Instant::now() < deadline {
        if let Ok(content) = std::fs::read_to_string(&file)
            && let Some((port, path)) = content.split_once('\n')
            && path.starts_with("/devtools/")
        {
            return Ok(format!("ws://127.0.0.1:{port}{}", path.trim()));
        }
        if let Some(status) = process.ended() {
            return Err(format!("Chromium ended with {status}"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(format!("Chromium did not start in {START_TIMEOUT:?}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
