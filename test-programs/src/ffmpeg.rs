//! FFmpeg with its WHIP muxer.

use std::path::PathBuf;
use std::process::Command;

use crate::process::first_line;
use crate::python;

/// An FFmpeg that has the WHIP muxer: `$SFU_FFMPEG`, the one of Python's imageio-ffmpeg, or the system's.
pub fn find() -> Option<PathBuf> {
    let imageio = python::prints("import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())");
    let candidates = [
        std::env::var_os("SFU_FFMPEG").map(PathBuf::from),
        imageio.map(PathBuf::from),
        Some("ffmpeg".into()),
    ];
    candidates.into_iter().flatten().find(|program| {
        let output = Command::new(program).args(["-hide_banner", "-muxers"]).output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(" whip "))
    })
}

pub fn version() -> Option<String> {
    let mut command = Command::new(find()?);
    command.arg("-version");
    let line = first_line(command)?;
    Some(line.split(" Copyright").next()?.to_owned())
}

/// What FFmpeg sends.
#[derive(Debug)]
pub struct Whip<'a> {
    pub url: &'a str,
    /// The picture's input, as arguments.
    pub picture: &'a [&'a str],
    /// The sound's, a sine, in Hz.
    pub tone_hz: u32,
    /// Arguments of the muxer.
    pub muxer: &'a [&'a str],
}

impl Whip<'_> {
    /// H.264 (constrained baseline, no B-frames, a keyframe every second: FFmpeg ignores keyframe requests) and Opus.
    pub fn command(&self) -> Option<Command> {
        let mut command = Command::new(find()?);
        command.args(["-hide_banner", "-re"]).args(self.picture);
        command.args(["-f", "lavfi", "-i", &format!("sine=frequency={}:sample_rate=48000", self.tone_hz)]);
        command.args(["-c:v", "libx264", "-profile:v", "baseline", "-bf", "0", "-g", "30"]);
        command.args(["-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p"]);
        command.args(["-c:a", "libopus", "-ar", "48000", "-ac", "2"]);
        command.args(self.muxer).args(["-f", "whip", self.url]);
        Some(command)
    }
}
