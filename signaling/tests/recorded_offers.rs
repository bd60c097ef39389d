//! Offers of programs, recorded, and what we answer: which codec, extension and layer is agreed with whom. The offers are
//! in `fixtures/`, the answers in `snapshots/`; `UPDATE_SNAPSHOTS=1` rewrites the answers.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::{Path, PathBuf};

use sfu_core::unit::Time;
use signaling::ClientMessage;
use support::{answer_in, drain, join, offer, rooms, sections};

/// Recorded here: FFmpeg 9 and its WHIP muxer (H.264, Opus), GStreamer 1.22 and its webrtcbin (VP8, Opus), aiortc 1.16,
/// and Chromium 156 with a description that was changed to simulcast by SSRC groups, as pages did before Chrome had rids.
///
/// Recorded by others, as public test data: Safari on a Mac (awslabs/amazon-kinesis-video-streams-webrtc-sdk-c,
/// `tst/SDP/offers/1v1a1d-safari-mac.txt`); Chrome 63 on Android (vinivia/WebSDK, `test/sdk/sdp/fixtures/androidChrome63.js`);
/// and libdatachannel as OBS uses it, which OBS 30.1 repeats line by line but for `ice2` (kevmo314/tinywhip, issue 2).
const OFFERS: [&str; 7] =
    ["aiortc", "chrome63_android", "chromium_ssrc_groups", "ffmpeg", "gstreamer", "obs", "safari_mac"];

fn read(directory: &str, name: &str) -> String {
    std::fs::read_to_string(path(directory, name)).unwrap_or_default().replace("\r\n", "\n")
}

fn path(directory: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(directory).join(format!("{name}.sdp"))
}

fn answer_to(name: &str) -> String {
    let mut rooms = rooms();
    let client = join(&mut rooms, name);
    rooms.receive(Time::ZERO, client, ClientMessage::Offer(offer(1, read("fixtures", name).as_str())));
    answer_in(&drain(&mut rooms, client)).replace("\r\n", "\n")
}

#[test]
fn recorded_offers_are_answered() {
    let mut changed = Vec::new();
    for name in OFFERS {
        let answer = answer_to(name);
        let snapshot = format!("{name}.answer");
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(path("snapshots", &snapshot), &answer).unwrap();
        }
        if answer != read("snapshots", &snapshot) {
            changed.push(format!("{name}:\n{answer}"));
        }
    }
    assert!(
        changed.is_empty(),
        "answers have changed; UPDATE_SNAPSHOTS=1 takes them:\n{}",
        changed.join("\n")
    );
}

#[test]
fn every_recorded_program_gets_sound() {
    for name in OFFERS {
        let answer = answer_to(name);
        let sound = sections(&answer).into_iter().find(|section| section.kind == "audio").unwrap();
        assert!(!sound.rejected, "{name}:\n{answer}");
        assert!(answer.to_ascii_lowercase().contains(" opus/48000/2\n"), "{name}:\n{answer}");
    }
}
