//! Finds, starts and ends the real WebRTC programs that tests talk to: browsers, FFmpeg, GStreamer, aiortc. It knows
//! their flags and what they lack, not what a test wants of them. It depends on no crate of ours.
//!
//! `SFU_REQUIRE_CLIENTS=1` makes a missing program a failure; `SFU_CLIENT_OUTPUT=1` shows what the programs print.

pub mod chromium;
pub mod ffmpeg;
pub mod firefox;
pub mod gstreamer;
pub mod namespace;
mod process;
pub mod python;

pub use process::{Process, Scratch, first_line, idle, on_path, succeeds};

/// Says that a test isn't run.
///
/// # Panics
/// With `SFU_REQUIRE_CLIENTS` in the environment: then every test has to run.
pub fn not_run(test: &str, reason: &str) {
    assert!(std::env::var_os("SFU_REQUIRE_CLIENTS").is_none(), "{test}: {reason}");
    println!("NOT RUN: {test}: {reason}");
}

/// A program that a test may need.
#[derive(Clone, Copy, Debug)]
pub enum Program {
    Chromium,
    Firefox,
    Ffmpeg,
    GStreamer,
    Aiortc,
}

impl Program {
    /// Its version, `None` when it, or a part that tests need, isn't installed.
    pub fn version(self) -> Option<String> {
        match self {
            Program::Chromium => chromium::version(),
            Program::Firefox => firefox::version(),
            Program::Ffmpeg => ffmpeg::version(),
            Program::GStreamer => gstreamer::version(),
            Program::Aiortc => python::aiortc_version(),
        }
    }
}
