//! Starts the real clients, each in a process group and a directory of its own, and ends them.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A running client. Dropping it ends its whole process group and removes its directory.
pub struct Client {
    child: Child,
    directory: PathBuf,
}

impl Drop for Client {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn directory() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let unique = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("dtls-interop-{}-{unique}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    path
}

fn spawn(mut command: Command, directory: PathBuf) -> Option<Client> {
    let output = if std::env::var_os("SFU_CLIENT_OUTPUT").is_some() { Stdio::inherit } else { Stdio::null };
    command.env("HOME", &directory).stdin(Stdio::null()).stdout(output()).stderr(output()).process_group(0);
    let child = command.spawn();
    child.ok().map(|child| Client { child, directory })
}

fn succeeds(program: &str, args: &[&str]) -> bool {
    let status = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(str::to_owned)
}

/// `SFU_PYTHON`, or `python3`.
fn python() -> String {
    std::env::var("SFU_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// The version of Chromium, `None` when it is not installed.
pub fn chromium_version() -> Option<String> {
    first_line("chromium", &["--version"])
}

pub fn chromium(url: &str) -> Option<Client> {
    let directory = directory();
    let mut command = Command::new("chromium");
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--use-fake-device-for-media-stream=fps=30",
        "--use-fake-ui-for-media-stream",
        "--autoplay-policy=no-user-gesture-required",
        "--allow-loopback-in-peer-connection",
        "--disable-features=WebRtcHideLocalIpsWithMdns,LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets",
    ]);
    command.arg(format!("--user-data-dir={}", directory.display())).arg(url);
    spawn(command, directory)
}

pub fn firefox_version() -> Option<String> {
    first_line("firefox-esr", &["--version"])
}

/// Gathers no candidates on a machine without a default route.
pub fn firefox(url: &str) -> Option<Client> {
    let directory = directory();
    let prefs = [
        ("media.navigator.permission.disabled", "true"),
        ("media.navigator.streams.fake", "true"),
        ("media.peerconnection.ice.loopback", "true"),
        ("media.peerconnection.ice.obfuscate_host_addresses", "false"),
        ("browser.shell.checkDefaultBrowser", "false"),
        ("browser.startup.homepage_override.mstone", "\"ignore\""),
        ("datareporting.policy.dataSubmissionEnabled", "false"),
        ("toolkit.telemetry.reportingpolicy.firstRun", "false"),
        ("app.update.enabled", "false"),
        ("network.captive-portal-service.enabled", "false"),
        ("network.connectivity-service.enabled", "false"),
    ];
    let text: String =
        prefs.iter().map(|(name, value)| format!("user_pref(\"{name}\", {value});\n")).collect();
    fs::write(directory.join("user.js"), text).unwrap();
    let mut command = Command::new("firefox-esr");
    command.args(["--headless", "--no-remote", "--profile"]).arg(&directory).arg(url);
    spawn(command, directory)
}

fn script(name: &str) -> String {
    format!("{}/tests/clients/{name}", env!("CARGO_MANIFEST_DIR"))
}

pub fn aiortc_version() -> Option<String> {
    first_line(&python(), &["-c", "import aiortc; print('aiortc', aiortc.__version__)"])
}

pub fn aiortc(url: &str) -> Option<Client> {
    let mut command = Command::new(python());
    command.args([script("aiortc_offer.py").as_str(), url]);
    spawn(command, directory())
}

const GI: &str = "import gi; gi.require_version('GstWebRTC', '1.0'); gi.require_version('GstSdp', '1.0')";

/// The bindings belong to the system's interpreter more often than to a virtual environment's.
fn gstreamer_python() -> Option<String> {
    [python(), "/usr/bin/python3".to_owned()].into_iter().find(|python| succeeds(python, &["-c", GI]))
}

pub fn gstreamer_version() -> Option<String> {
    gstreamer_python()?;
    ["webrtcbin", "nicesrc", "vp8enc", "dtlsenc", "srtpenc"]
        .iter()
        .all(|element| succeeds("gst-inspect-1.0", &[element]))
        .then(|| first_line("gst-launch-1.0", &["--version"]))?
}

pub fn gstreamer(url: &str) -> Option<Client> {
    let mut command = Command::new(gstreamer_python()?);
    command.args([script("gstreamer_offer.py").as_str(), url]);
    spawn(command, directory())
}

/// An FFmpeg that has the WHIP muxer: `SFU_FFMPEG`, the one of Python's imageio-ffmpeg, or the system's.
fn ffmpeg_program() -> Option<String> {
    let imageio = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())";
    let candidates = [
        std::env::var("SFU_FFMPEG").ok(),
        first_line(&python(), &["-c", imageio]),
        Some("ffmpeg".to_owned()),
    ];
    candidates.into_iter().flatten().find(|program| {
        let output = Command::new(program).args(["-hide_banner", "-muxers"]).output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(" whip "))
    })
}

pub fn ffmpeg_version() -> Option<String> {
    let version = first_line(&ffmpeg_program()?, &["-version"])?;
    Some(version.split(" Copyright").next()?.to_owned())
}

/// `active`: FFmpeg offers to be the DTLS client; by default it offers to be the server.
pub fn ffmpeg(url: &str, active: bool) -> Option<Client> {
    let mut command = Command::new(ffmpeg_program()?);
    command.args(["-hide_banner", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=30"]);
    command.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
    command.args(["-c:v", "libx264", "-profile:v", "baseline", "-bf", "0", "-preset", "ultrafast"]);
    command.args([
        "-tune",
        "zerolatency",
        "-pix_fmt",
        "yuv420p",
        "-c:a",
        "libopus",
        "-ar",
        "48000",
        "-ac",
        "2",
    ]);
    command.args(["-handshake_timeout", "10000"]);
    if active {
        command.args(["-whip_flags", "dtls_active"]);
    }
    command.args(["-f", "whip", url]);
    spawn(command, directory())
}
