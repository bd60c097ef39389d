//! The real clients, each started so that it offers to a URL and sends.

use std::path::PathBuf;

use test_programs::ffmpeg::Whip;
use test_programs::{Process, Scratch, chromium, firefox, gstreamer, python};

pub fn chromium(url: &str) -> Option<Process> {
    let profile = Scratch::directory("chromium").ok()?;
    let mut command = chromium::command(profile.path())?;
    command.arg(url);
    Process::spawn_at(command, profile).ok()
}

pub fn firefox(url: &str) -> Option<Process> {
    let profile = Scratch::directory("firefox").ok()?;
    let mut command = firefox::command(profile.path()).ok()?;
    command.arg(url);
    Process::spawn_at(command, profile).ok()
}

fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

pub fn aiortc(url: &str) -> Option<Process> {
    Process::spawn(python::aiortc(&script("aiortc_offer.py"), &[url])).ok()
}

pub fn gstreamer(url: &str) -> Option<Process> {
    Process::spawn(gstreamer::command(&script("gstreamer_offer.py"), &[url])?).ok()
}

/// `active`: FFmpeg offers to be the DTLS client; by default it offers to be the server.
pub fn ffmpeg(url: &str, active: bool) -> Option<Process> {
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=30"];
    let mut muxer = vec!["-handshake_timeout", "10000"];
    if active {
        muxer.extend(["-whip_flags", "dtls_active"]);
    }
    let whip = Whip { url, picture: &picture, tone_hz: 440, muxer: &muxer };
    Process::spawn(whip.command()?).ok()
}
