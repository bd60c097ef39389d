//! Starts headless Chromium with a fake camera and microphone, opens pages in it, and kills it when dropped. It knows
//! how a browser is driven, not what the pages show.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::cdp::Cdp;

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Every flag that keeps a page of a headless browser at work while another is in front, and the network where it is.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--mute-audio",
    "--use-fake-device-for-media-stream=fps=30",
    "--use-fake-ui-for-media-stream",
    "--auto-accept-this-tab-capture",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
    "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-features=WebRtcHideLocalIpsWithMdns,LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets,CalculateNativeWinOcclusion",
    "--remote-debugging-port=0",
];

/// Room for ten tiles without scrolling, and no more: pages are painted without a GPU, sixty times a second each.
const WINDOW: (u32, u32) = (640, 520);

/// The browser's executable: `$SFU_CHROMIUM`, else the first of the usual names on the path. The headless shell comes
/// first: it is the same engine without the browser's own windows, which take a quarter of a small machine.
pub fn find() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("SFU_CHROMIUM") {
        return Some(PathBuf::from(named)).filter(|path| path.exists());
    }
    let path = std::env::var_os("PATH")?;
    ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome-stable", "google-chrome"]
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)))
        .find(|candidate| candidate.exists())
}

/// A running browser with a profile of its own.
pub struct Browser {
    child: Child,
    profile: PathBuf,
    cdp: Cdp,
}

impl Browser {
    /// `camera`: a y4m file that every page's camera plays in a loop; without one the pages' script brings a picture.
    pub async fn launch(camera: Option<&Path>) -> Result<Self, String> {
        let executable = find().ok_or("no Chromium on this machine")?;
        Self::start(Command::new(executable), camera).await
    }

    /// A browser that gets only the processor time that nobody else wants: what its pages do to other pages, they do
    /// through the server.
    pub async fn launch_idle() -> Result<Self, String> {
        let executable = find().ok_or("no Chromium on this machine")?;
        let mut command = Command::new("chrt");
        command.args(["--idle", "0"]).arg(executable);
        Self::start(command, None).await
    }

    async fn start(mut command: Command, camera: Option<&Path>) -> Result<Self, String> {
        let profile = scratch_path("profile");
        std::fs::create_dir_all(&profile).map_err(|error| error.to_string())?;
        command.args(FLAGS).arg(format!("--user-data-dir={}", profile.display()));
        if let Some(file) = camera {
            command.arg(format!("--use-file-for-fake-video-capture={}", file.display()));
        }
        command.arg("about:blank").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own, so that its many processes die together.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().map_err(|error| error.to_string())?;
        let mut launched = Launched { child: Some(child), profile };
        let url = launched.devtools_url().await?;
        let cdp = Cdp::connect(&url).await?;
        let (child, profile) = launched.into_parts();
        Ok(Self { child, profile, cdp })
    }

    /// Opens a page in a window of its own (so that none is hidden) with scripts that run before the page's.
    pub async fn open(&self, url: &str, scripts: &[&str]) -> Result<Page, String> {
        let params =
            json!({ "url": "about:blank", "newWindow": true, "width": WINDOW.0, "height": WINDOW.1 });
        let created = self.cdp.call(None, "Target.createTarget", params).await?;
        let target = text(&created["targetId"]);
        let attach = json!({ "targetId": target, "flatten": true });
        let attached = self.cdp.call(None, "Target.attachToTarget", attach).await?;
        let page = Page { cdp: self.cdp.clone(), session: text(&attached["sessionId"]), target };
        for domain in ["Page.enable", "Runtime.enable", "Log.enable", "Inspector.enable"] {
            page.call(domain, json!({})).await?;
        }
        for script in scripts {
            page.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await?;
        }
        page.call("Page.navigate", json!({ "url": url })).await?;
        Ok(page)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        kill_group(&mut self.child);
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// One page (a target with its session).
pub struct Page {
    cdp: Cdp,
    session: String,
    target: String,
}

impl Page {
    /// Evaluates an expression, awaits it if it is a promise, and reads its value.
    pub async fn eval<T: DeserializeOwned>(&self, expression: &str) -> Result<T, String> {
        let params = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
        });
        let result = self.call("Runtime.evaluate", params).await?;
        if let Some(details) = result.get("exceptionDetails") {
            let thrown = details["exception"]["description"].as_str().unwrap_or("an exception");
            return Err(format!("`{expression}` threw {thrown}"));
        }
        let value = result["result"].get("value").cloned().unwrap_or(Value::Null);
        serde_json::from_value(value.clone())
            .map_err(|error| format!("`{expression}` gave {value}, which is no answer: {error}"))
    }

    /// Waits until an expression is true.
    pub async fn until(&self, expression: &str, timeout: Duration) -> Result<(), String> {
        let deadline = Instant::now() + timeout;
        // While a page is being replaced there is nothing to evaluate in: that is `false`, too.
        while self.eval::<bool>(&format!("Boolean({expression})")).await != Ok(true) {
            if Instant::now() > deadline {
                return Err(format!("not within {timeout:?}: {expression}\n{}", self.describe().await));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    pub async fn reload(&self) -> Result<(), String> {
        self.call("Page.reload", json!({})).await.map(drop)
    }

    /// Makes the page believe in a lost network: `navigator.onLine`, its events, new requests. UDP isn't touched.
    pub async fn set_offline(&self, offline: bool) -> Result<(), String> {
        self.call("Network.enable", json!({})).await?;
        let params = json!({
            "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
        });
        self.call("Network.emulateNetworkConditions", params).await.map(drop)
    }

    pub async fn screenshot(&self, file: &Path) -> Result<(), String> {
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" })).await?;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text(&shot["data"]))
            .map_err(|error| error.to_string())?;
        std::fs::write(file, bytes).map_err(|error| error.to_string())
    }

    pub async fn close(self) -> Result<(), String> {
        self.cdp.call(None, "Target.closeTarget", json!({ "targetId": self.target })).await.map(drop)
    }

    /// What the page says about itself, for the message of a failing test.
    pub async fn describe(&self) -> String {
        let known = self.eval::<String>("window.probe ? probe.describe() : location.href").await;
        let known = known.unwrap_or_else(|error| error);
        // `SFU_TEST_SCREENSHOTS=directory` keeps what a failing page looked like.
        if let Some(directory) = std::env::var_os("SFU_TEST_SCREENSHOTS") {
            let file = PathBuf::from(directory).join(format!("{}.png", self.target));
            let _ = self.screenshot(&file).await;
        }
        format!("{known}\ncomplaints: {:#?}", self.cdp.complaints(&self.session))
    }

    async fn call(&self, method: &str, params: Value) -> Result<Value, String> {
        self.cdp.call(Some(&self.session), method, params).await
    }
}

/// A browser that is not yet reachable; it dies with this value unless taken over.
struct Launched {
    child: Option<Child>,
    profile: PathBuf,
}

impl Launched {
    /// Chromium writes the port it chose and the browser's path into its profile.
    async fn devtools_url(&mut self) -> Result<String, String> {
        let deadline = Instant::now() + START_TIMEOUT;
        let file = self.profile.join("DevToolsActivePort");
        while Instant::now() < deadline {
            if let Ok(content) = std::fs::read_to_string(&file)
                && let Some((port, path)) = content.split_once('\n')
                && path.starts_with("/devtools/")
            {
                return Ok(format!("ws://127.0.0.1:{port}{}", path.trim()));
            }
            if let Some(Ok(Some(status))) = self.child.as_mut().map(Child::try_wait) {
                return Err(format!("Chromium ended with {status}"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(format!("Chromium did not start in {START_TIMEOUT:?}"))
    }

    fn into_parts(mut self) -> (Child, PathBuf) {
        (self.child.take().expect("taken once"), std::mem::take(&mut self.profile))
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        if let Some(child) = self.child.as_mut() {
            kill_group(child);
            let _ = std::fs::remove_dir_all(&self.profile);
        }
    }
}

/// A path for a temporary file or directory that no other test uses.
pub fn scratch_path(what: &str) -> PathBuf {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("sfu-test-{}-{number}-{what}", std::process::id()))
}

fn kill_group(child: &mut Child) {
    #[cfg(unix)]
    let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).status();
    let _ = child.kill();
    let _ = child.wait();
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
