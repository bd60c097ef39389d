//! Modules import downwards only. The table below is the engine's architecture; a module that breaks it fails here.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// From top to bottom. A module uses only rows below its own: those of one row don't know each other. The longest
/// name counts, so that a contract may lie below the module that implements it.
const ROWS: [(&[&str], &str); 12] = [
    (&["sfu"], "one worker's world; datagram, command, timeout in; output out"),
    (&["room"], "who hears and sees whom; fan-out"),
    (&["peer"], "one transport with what hangs on it"),
    (&["subscriber"], "one participant's slots; reads the tracks that they show"),
    (&["publisher"], "one participant's uplink: tracks, layers, streams"),
    (&["transport", "bwe", "pacer"], "encrypted path; estimate; schedule"),
    (&["packet_store"], "the ring of parsed packets"),
    (&["packet"], "the parsed packet, and where things are"),
    (&["command", "event", "output"], "the engine's boundary: plain values"),
    (&["wire", "transport::handshake"], "bytes to fields; the contract of a handshake"),
    (&["config", "drop", "demux", "guard", "codec"], "bounds; reasons; datagrams; the seal's watch; codecs"),
    (&["unit"], "newtypes and arithmetic"),
];

/// The row of a module path such as `transport::srtp::gcm`, and the name that places it there.
fn row(path: &str) -> Option<(usize, &'static str)> {
    let names =
        ROWS.iter().enumerate().flat_map(|(row, (names, _))| names.iter().map(move |name| (row, *name)));
    let within = |name: &str| path == name || path.starts_with(&format!("{name}::"));
    names.filter(|(_, name)| within(name)).max_by_key(|(_, name)| name.len())
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// `src/transport/srtp/gcm.rs` → `transport::srtp::gcm`.
fn module(root: &Path, file: &Path) -> String {
    let relative = file.strip_prefix(root).unwrap().with_extension("");
    let names: Vec<_> = relative.iter().map(|name| name.to_str().unwrap()).collect();
    names.join("::").trim_end_matches("::mod").to_owned()
}

/// The paths that follow `crate::` in code, comments left out.
fn imports(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code.flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| rest.split(|c| !name(c)).next().unwrap_or_default().trim_end_matches(':').to_owned())
        .collect()
}

#[test]
fn every_module_imports_downwards_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut seen, mut broken) = (Vec::new(), BTreeMap::<&str, usize>::new(), Vec::new());
    sources(&root, &mut files);
    for file in files {
        let path = module(&root, &file);
        if path == "lib" {
            continue;
        }
        let (own_row, own) = row(&path).unwrap_or_else(|| panic!("{path} has no row"));
        *seen.entry(own).or_default() += 1;
        for import in imports(&std::fs::read_to_string(&file).unwrap()) {
            assert!(!import.is_empty(), "{path}: write `use crate::…` one module a line");
            let (its_row, its) =
                row(&import).unwrap_or_else(|| panic!("{path} uses {import}, which has no row"));
            if its != own && its_row <= own_row {
                broken.push(format!("{path} (row {own_row}) uses {import} (row {its_row})"));
            }
        }
    }
    assert!(broken.is_empty(), "not downwards:\n{}", broken.join("\n"));
    assert!(seen.len() >= 16 && seen["publisher"] > 5, "the sources were found: {seen:?}");
}

#[test]
fn imports_are_found_where_they_stand() {
    let text =
        "use crate::unit::{A, B};\n//! crate::room\n    let x = crate::wire::rtp::parse(crate::drop::X);";
    assert_eq!(imports(text), ["unit", "wire::rtp::parse", "drop::X"]);
    assert_eq!(row("transport::handshake"), Some((9, "transport::handshake")));
    assert_eq!(row("transport::srtp::gcm").map(|(row, _)| row), Some(5));
    assert_eq!(row("packet_store").map(|(row, _)| row), Some(6));
    assert_eq!(row("elsewhere"), None);
}
