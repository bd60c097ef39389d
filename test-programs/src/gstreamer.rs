//! GStreamer's webrtcbin, driven from Python.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{first_line, succeeds};
use crate::python;

const BINDINGS: &str =
    "import gi; gi.require_version('GstWebRTC', '1.0'); gi.require_version('GstSdp', '1.0')";

/// The bindings belong to the system's interpreter more often than to a virtual environment's.
fn interpreter() -> Option<PathBuf> {
    let candidates = [python::interpreter(), PathBuf::from("/usr/bin/python3")];
    candidates.into_iter().find(|candidate| python::can(candidate, BINDINGS))
}

pub fn has_element(name: &str) -> bool {
    let mut command = Command::new("gst-inspect-1.0");
    command.arg(name);
    succeeds(command)
}

/// The version of GStreamer, `None` unless all that a peer connection needs is installed.
pub fn version() -> Option<String> {
    interpreter()?;
    let needed = ["webrtcbin", "nicesrc", "vp8enc", "vp9enc", "openh264enc", "opusenc", "dtlsenc", "srtpenc"];
    needed.iter().all(|element| has_element(element)).then_some(())?;
    let mut command = Command::new("gst-launch-1.0");
    command.arg("--version");
    first_line(command)
}

/// A script that uses the bindings, with its arguments.
pub fn command(script: &Path, arguments: &[&str]) -> Option<Command> {
    let mut command = Command::new(interpreter()?);
    command.arg(script).args(arguments);
    Some(command)
}

/// `scripts/gstreamer_client.py`: webrtcbin by WHIP and WHEP. What it takes stands in the script.
pub fn client(arguments: &[&str]) -> Option<Command> {
    command(&python::script("gstreamer_client.py"), arguments)
}
