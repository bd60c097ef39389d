//! The Python that has aiortc and websockets (and imageio-ffmpeg): `$SFU_PYTHON`, else `python3`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{first_line, succeeds};

pub fn interpreter() -> PathBuf {
    std::env::var_os("SFU_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from)
}

/// Whether an interpreter executes this.
pub(crate) fn can(interpreter: &Path, code: &str) -> bool {
    let mut command = Command::new(interpreter);
    command.args(["-c", code]);
    succeeds(command)
}

/// The first line that a piece of code prints.
pub(crate) fn prints(code: &str) -> Option<String> {
    let mut command = Command::new(interpreter());
    command.args(["-c", code]);
    first_line(command)
}

/// The version of aiortc, `None` when it, or the WebSocket client of its scripts, isn't installed.
pub fn aiortc_version() -> Option<String> {
    prints("import aiortc, websockets; print('aiortc', aiortc.__version__)")
}

/// `scripts/aiortc_client.py`: aiortc by WHIP and WHEP. What it takes stands in the script.
pub fn aiortc_client(arguments: &[&str]) -> Command {
    aiortc(&script("aiortc_client.py"), arguments)
}

/// `scripts/aiortc_data.py`: aiortc's data channels in one room; it ends well if all messages came.
pub fn aiortc_data(arguments: &[&str]) -> Command {
    aiortc(&script("aiortc_data.py"), arguments)
}

pub(crate) fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

/// A script for aiortc with its arguments.
pub fn aiortc(script: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(interpreter());
    command.arg(script).args(arguments);
    command
}
