//! Headless Chromium with a fake camera and microphone.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{first_line, on_path};

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
    "--audio-buffer-size=2048",
    "--use-fake-device-for-media-stream=fps=30",
    "--use-fake-ui-for-media-stream",
    "--auto-accept-this-tab-capture",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
    "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-features=WebRtcHideLocalIpsWithMdns,LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets,CalculateNativeWinOcclusion",
];

/// The executable: `$SFU_CHROMIUM`, else the first of the usual names on the path. The headless shell comes first: it is
/// the same engine without the browser's own windows, which take a quarter of a small machine.
pub fn find() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("SFU_CHROMIUM") {
        return Some(PathBuf::from(named)).filter(|path| path.exists());
    }
    on_path(&[
        "chromium-headless-shell",
        "chromium",
        "chromium-browser",
        "google-chrome-stable",
        "google-chrome",
    ])
}

pub fn version() -> Option<String> {
    let mut command = Command::new(find()?);
    command.arg("--version");
    first_line(command)
}

/// A browser with its profile in a directory; what it opens is still to be added.
pub fn command(profile: &Path) -> Option<Command> {
    let mut command = Command::new(find()?);
    command.args(FLAGS).arg(format!("--user-data-dir={}", profile.display()));
    Some(command)
}
