//! A page of a running browser, whichever it is: evaluates, waits, reloads. It knows how pages are driven, not what they
//! show.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::remote::Remote;

/// One page. Dropping it leaves it open: it ends with its browser.
pub struct Page {
    remote: Remote,
    handle: Handle,
}

/// What the browser calls the page.
pub enum Handle {
    Chromium { session: String, target: String },
    Firefox { context: String },
}

impl Page {
    pub fn new(remote: Remote, handle: Handle) -> Self {
        Self { remote, handle }
    }

    /// Evaluates an expression, awaits it if it is a promise, and reads its value.
    pub async fn eval<T: DeserializeOwned>(&self, expression: &str) -> Result<T, String> {
        let value = match &self.handle {
            Handle::Chromium { .. } => self.eval_in_chromium(expression).await?,
            Handle::Firefox { context } => self.eval_in_firefox(context, expression).await?,
        };
        serde_json::from_value(value.clone())
            .map_err(|error| format!("`{expression}` gave {value}, which is no answer: {error}"))
    }

    async fn eval_in_chromium(&self, expression: &str) -> Result<Value, String> {
        let params = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
        });
        let result = self.devtools("Runtime.evaluate", params).await?;
        if let Some(details) = result.get("exceptionDetails") {
            let thrown = details["exception"]["description"].as_str().unwrap_or("an exception");
            return Err(format!("`{expression}` threw {thrown}"));
        }
        Ok(result["result"].get("value").cloned().unwrap_or(Value::Null))
    }

    /// BiDi has a notation of its own for values: a string of JSON saves reading it.
    async fn eval_in_firefox(&self, context: &str, expression: &str) -> Result<Value, String> {
        let script = format!("(async () => JSON.stringify((await ({expression}\n)) ?? null))()");
        let params = json!({
            "expression": script, "target": { "context": context }, "awaitPromise": true, "userActivation": true,
        });
        let result = self.remote.call(None, "script.evaluate", params).await?;
        if result["type"] == "exception" {
            return Err(format!("`{expression}` threw {}", result["exceptionDetails"]["text"]));
        }
        let value = result["result"]["value"].as_str().unwrap_or("null");
        serde_json::from_str(value).map_err(|error| error.to_string())
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
        let reloading = match &self.handle {
            Handle::Chromium { .. } => self.devtools("Page.reload", json!({})).await,
            Handle::Firefox { context } => {
                let params = json!({ "context": context, "wait": "none" });
                self.remote.call(None, "browsingContext.reload", params).await
            }
        };
        reloading.map(drop)
    }

    /// Makes the page believe in a lost network: `navigator.onLine`, its events, new requests. UDP isn't touched.
    /// Chromium only.
    pub async fn set_offline(&self, offline: bool) -> Result<(), String> {
        self.devtools("Network.enable", json!({})).await?;
        let params = json!({
            "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
        });
        self.devtools("Network.emulateNetworkConditions", params).await.map(drop)
    }

    pub async fn screenshot(&self, file: &Path) -> Result<(), String> {
        let shot = match &self.handle {
            Handle::Chromium { .. } => {
                self.devtools("Page.captureScreenshot", json!({ "format": "png" })).await?
            }
            Handle::Firefox { context } => {
                let params = json!({ "context": context });
                self.remote.call(None, "browsingContext.captureScreenshot", params).await?
            }
        };
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(shot["data"].as_str().unwrap_or_default())
            .map_err(|error| error.to_string())?;
        std::fs::write(file, bytes).map_err(|error| error.to_string())
    }

    pub async fn close(self) -> Result<(), String> {
        let closing = match &self.handle {
            Handle::Chromium { target, .. } => {
                self.remote.call(None, "Target.closeTarget", json!({ "targetId": target })).await
            }
            Handle::Firefox { context } => {
                self.remote.call(None, "browsingContext.close", json!({ "context": context })).await
            }
        };
        closing.map(drop)
    }

    /// What the page says about itself, for the message of a failing test.
    pub async fn describe(&self) -> String {
        let known = self.eval::<String>("window.probe ? probe.describe() : location.href").await;
        let known = known.unwrap_or_else(|error| error);
        let (name, page) = match &self.handle {
            Handle::Chromium { session, target } => (target, session),
            Handle::Firefox { context } => (context, context),
        };
        // `SFU_TEST_SCREENSHOTS=directory` keeps what a failing page looked like.
        if let Some(directory) = std::env::var_os("SFU_TEST_SCREENSHOTS") {
            let file = PathBuf::from(directory).join(format!("{name}.png"));
            let _ = self.screenshot(&file).await;
        }
        format!("{known}\ncomplaints: {:#?}", self.remote.complaints(page))
    }

    /// A command of the DevTools protocol to this page.
    pub async fn devtools(&self, method: &str, params: Value) -> Result<Value, String> {
        let Handle::Chromium { session, .. } = &self.handle else {
            return Err(format!("{method} is for Chromium"));
        };
        self.remote.call(Some(session), method, params).await
    }
}
