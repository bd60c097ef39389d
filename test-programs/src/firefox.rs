//! Headless Firefox with a fake camera and microphone. It pairs no address of 127/8 and gathers nothing at all without a
//! default route: it needs [`crate::namespace`] on a machine that has no network.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{first_line, on_path};

const PREFERENCES: &[(&str, &str)] = &[
    ("media.navigator.permission.disabled", "true"),
    ("media.navigator.streams.fake", "true"),
    ("media.peerconnection.ice.loopback", "true"),
    ("media.peerconnection.ice.obfuscate_host_addresses", "false"),
    // Nothing may wait for a touch of the page: neither elements nor an AudioContext.
    ("media.autoplay.default", "0"),
    ("media.autoplay.blocking_policy", "0"),
    ("media.autoplay.block-webaudio", "false"),
    // Without a sound card an AudioContext would wait for one for good.
    ("media.cubeb.sandbox", "false"),
    ("media.cubeb.force_mock_context", "true"),
    // A tab that nobody looks at is to work on.
    ("dom.min_background_timeout_value", "4"),
    ("dom.timeout.enable_budget_timer_throttling", "false"),
    ("widget.windows.window_occlusion_tracking.enabled", "false"),
    ("browser.shell.checkDefaultBrowser", "false"),
    ("browser.startup.homepage_override.mstone", "\"ignore\""),
    ("browser.startup.page", "0"),
    ("datareporting.policy.dataSubmissionEnabled", "false"),
    ("toolkit.telemetry.reportingpolicy.firstRun", "false"),
    ("app.update.enabled", "false"),
    // OpenH264 would be downloaded.
    ("media.gmp-manager.updateEnabled", "false"),
    ("network.captive-portal-service.enabled", "false"),
    ("network.connectivity-service.enabled", "false"),
    ("services.settings.server", "\"data:,\""),
];

/// The executable: `$SFU_FIREFOX`, else the first of the usual names on the path.
pub fn find() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("SFU_FIREFOX") {
        return Some(PathBuf::from(named)).filter(|path| path.exists());
    }
    on_path(&["firefox-esr", "firefox"])
}

pub fn version() -> Option<String> {
    let mut command = Command::new(find()?);
    command.arg("--version");
    first_line(command)
}

/// A browser with its profile, made here, in a directory; what it opens is still to be added.
pub fn command(profile: &Path) -> io::Result<Command> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, "no Firefox on this machine");
    let program = find().ok_or_else(missing)?;
    let lines = PREFERENCES.iter().map(|(name, value)| format!("user_pref(\"{name}\", {value});\n"));
    std::fs::write(profile.join("user.js"), lines.collect::<String>())?;
    let mut command = Command::new(program);
    command.args(["--headless", "--no-remote", "--profile"]).arg(profile);
    Ok(command)
}
