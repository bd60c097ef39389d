//! Codecs in browsers' own offers under different policies, and what a client is told when it lacks one. The
//! descriptions in `snapshots/` are what we say to the captured offers in `fixtures/`; `UPDATE_SNAPSHOTS=1` rewrites them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::Path;

use sfu_core::command::{Codec, H264Profile, PayloadType};
use sfu_core::event::Event;
use sfu_core::unit::{LayerId, SlotId, Time, TrackId, TransportId, WorkerId};
use signaling::{ClientMessage, CodecName, CodecPolicy, Rooms, ServerMessage, SessionId};
use support::{SectionLines, answer_in, config, drain, join, join_request, offer, offer_in, sections, types};

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).with_extension("sdp");
    std::fs::read_to_string(path).unwrap()
}

/// Rooms that take these video codecs, and redundant audio first.
fn rooms_with(video: &[CodecName]) -> Rooms {
    let mut config = config();
    config.codecs = CodecPolicy::new(vec![CodecName::Red, CodecName::Opus], video.to_vec()).unwrap();
    Rooms::new(config, [42; 32])
}

/// The encoding names of a section, in its order, RTX left out, each with its payload type and parameters.
fn listed(section: &SectionLines) -> Vec<String> {
    let mut names = Vec::new();
    for pt in &section.formats {
        let value = |key: &str| {
            let prefix = format!("{key}:{pt} ");
            section
                .attributes
                .iter()
                .find_map(|line| line.strip_prefix(&prefix))
                .unwrap_or_default()
                .to_owned()
        };
        let name = value("rtpmap");
        if !name.starts_with("rtx/") {
            names.push(format!("{pt} {name} {}", value("fmtp")).trim_end().to_owned());
        }
    }
    names
}

/// What we answer to a browser's offer under a policy.
fn answered(name: &str, video: &[CodecName]) -> Vec<SectionLines> {
    let mut rooms = rooms_with(video);
    let ann = join(&mut rooms, "ann");
    rooms.receive(Time::ZERO, ann, ClientMessage::Offer(offer(1, fixture(name))));
    sections(&answer_in(&drain(&mut rooms, ann)))
}

const ASYMMETRIC: &str = "level-asymmetry-allowed=1;packetization-mode";

#[test]
fn the_policys_first_codec_is_the_answers_first() {
    let first = |name: &str, video: &[CodecName]| listed(&answered(name, video)[1])[0].clone();
    let h264 = format!("108 H264/90000 {ASYMMETRIC}=1;profile-level-id=42e01f");
    assert_eq!(first("chromium_sendrecv", &[CodecName::H264, CodecName::Vp8]), h264);
    assert_eq!(first("chromium_simulcast", &[CodecName::Vp9]), "98 VP9/90000 profile-id=0");
    let av1 = "45 AV1/90000 level-idx=5;profile=0;tier=0";
    assert_eq!(first("chromium_sendrecv", &[CodecName::Av1, CodecName::Vp8]), av1);
    assert_eq!(first("firefox_sendrecv", &[CodecName::Vp9, CodecName::Vp8]), "121 VP9/90000");
    assert_eq!(first("firefox_simulcast", &[CodecName::H264, CodecName::Av1]), "99 AV1/90000");
}

#[test]
fn only_what_the_policy_lists_is_taken_with_its_rtx() {
    let audio_and_video = answered("chromium_sendrecv", &[CodecName::H264]);
    assert_eq!(
        listed(&audio_and_video[0]),
        ["63 red/48000/2 111/111", "111 opus/48000/2 minptime=10;useinbandfec=1"]
    );
    let expected = [
        (108, 1, "42e01f"),
        (114, 0, "42e01f"),
        (102, 1, "42001f"),
        (104, 0, "42001f"),
        (116, 1, "4d001f"),
        (39, 0, "4d001f"),
    ]
    .map(|(pt, mode, profile)| format!("{pt} H264/90000 {ASYMMETRIC}={mode};profile-level-id={profile}"));
    assert_eq!(listed(&audio_and_video[1]), expected);
    assert_eq!(audio_and_video[1].formats[..4], ["108", "109", "114", "115"]);
    assert!(audio_and_video[1].has("fmtp:109 apt=108"));
    // Firefox without its OpenH264 plug-in.
    assert!(answered("firefox_sendrecv", &[CodecName::H264])[1].rejected);
}

#[test]
fn what_a_viewer_decodes_is_what_its_slot_lists() {
    let mut rooms = rooms_with(&[CodecName::Vp8, CodecName::Vp9, CodecName::H264, CodecName::Av1]);
    let ann = join(&mut rooms, "ann");
    rooms.receive(Time::ZERO, ann, ClientMessage::Offer(offer(1, fixture("chromium_recvonly"))));
    let answer = sections(&answer_in(&drain(&mut rooms, ann)));
    let pts: Vec<&str> = answer[1].formats.iter().map(String::as_str).collect();
    // VP8, both VP9 profiles that we take, AV1 in two profiles, H.264 in three, each in two modes; no 4:4:4.
    let expected = "96 97 98 99 100 101 108 109 114 115 102 103 104 107 116 117 39 40 45 46 47 48";
    assert_eq!(pts.join(" "), expected);
    // A second camera comes through a section of ours: under the same payload types.
    let bob = Some(offer(1, fixture("chromium_simulcast")));
    for identity in ["bob", "eve"] {
        let request = signaling::JoinRequest { offer: bob.clone(), ..join_request("room", identity) };
        rooms.join(Time::ZERO, request).unwrap();
    }
    let (_, sdp) = offer_in(&drain(&mut rooms, ann));
    let video = sections(&sdp).into_iter().rfind(|section| section.kind == "video").unwrap();
    assert_eq!((video.mid(), video.formats.join(" ").as_str()), ("s3", expected));
}

#[test]
fn a_first_offer_lists_every_codec_once() {
    let mut rooms = rooms_with(CodecPolicy::default().of(sfu_core::unit::Kind::Video));
    let bob = join(&mut rooms, "bob");
    let request = signaling::JoinRequest {
        offer: Some(offer(1, fixture("chromium_simulcast"))),
        ..join_request("room", "ann")
    };
    rooms.join(Time::ZERO, request).unwrap();
    let offered = sections(&offer_in(&drain(&mut rooms, bob)).1);
    assert_eq!(
        listed(&offered[0]),
        ["63 red/48000/2 111/111", "111 opus/48000/2 minptime=10;useinbandfec=1"]
    );
    assert_eq!(
        listed(&offered[1]),
        [
            "96 VP8/90000",
            "102 H264/90000 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
            "98 VP9/90000 profile-id=0",
            "45 AV1/90000 level-idx=5;profile=0;tier=0",
            "116 H265/90000 level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST",
        ]
    );
}

#[test]
fn rooms_may_have_policies_of_their_own() {
    let mut config = config();
    let own = CodecPolicy::new(vec![CodecName::Opus], vec![CodecName::Av1]).unwrap();
    config.codecs_of_rooms.insert("studio".to_owned(), own);
    let mut rooms = Rooms::new(config, [42; 32]);
    for (room, first) in [("studio", "45"), ("elsewhere", "96")] {
        let request = signaling::JoinRequest {
            offer: Some(offer(1, fixture("chromium_sendrecv"))),
            ..join_request(room, "ann")
        };
        let ann = rooms.join(Time::ZERO, request).unwrap();
        assert_eq!(sections(&answer_in(&drain(&mut rooms, ann)))[1].formats[0], first, "{room}");
    }
}

fn resume_token(messages: &[ServerMessage]) -> String {
    let joined = messages.iter().find_map(|message| match message {
        ServerMessage::Joined(joined) => Some(joined.resume.clone()),
        _ => None,
    });
    joined.unwrap()
}

/// Bob, who is there first, is offered what Ann publishes from Chromium. His session and resume token, the offer's number
/// and text.
fn offered(video: &[CodecName]) -> (Rooms, (SessionId, String), u32, String) {
    let mut rooms = rooms_with(video);
    let bob = join(&mut rooms, "bob");
    let request = signaling::JoinRequest {
        offer: Some(offer(1, fixture("chromium_simulcast"))),
        ..join_request("room", "ann")
    };
    rooms.join(Time::ZERO, request).unwrap();
    let messages = drain(&mut rooms, bob);
    let (id, sdp) = offer_in(&messages);
    (rooms, (bob, resume_token(&messages)), id, sdp)
}

/// A browser's answer that takes the audio and rejects the video, as one that knows none of its codecs does.
fn audio_only(offer: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in offer.lines() {
        lines.push(match line {
            "a=sendonly" => "a=recvonly".to_owned(),
            line if line.starts_with("a=setup:") => "a=setup:active".to_owned(),
            line if line.starts_with("a=ice-lite") || line.starts_with("a=candidate") => continue,
            line => line.replace("m=video 9", "m=video 0"),
        });
    }
    lines.join("\r\n") + "\r\n"
}

#[test]
fn a_client_that_refuses_a_slot_for_its_codecs_is_told_which_track_it_misses() {
    let (mut rooms, (bob, _), id, sdp) = offered(&[CodecName::H264]);
    rooms.receive(Time::ZERO, bob, ClientMessage::Answer { id, sdp: audio_only(&sdp) });
    let told = drain(&mut rooms, bob);
    let unsupported = ServerMessage::CodecUnsupported { mid: "s1".to_owned(), track: TrackId(2) };
    assert_eq!(told.iter().filter(|message| **message == unsupported).count(), 1, "{told:?}");
}

#[test]
fn a_missing_codec_is_told_again_to_who_comes_back_until_it_works() {
    let (mut rooms, (bob, token), id, sdp) = offered(&[CodecName::Vp8]);
    let sdp = audio_only(&sdp).replace("m=video 0", "m=video 9");
    rooms.receive(Time::ZERO, bob, ClientMessage::Answer { id, sdp });
    drain(&mut rooms, bob);
    let (transport, slot, track) = (TransportId(1), SlotId(1), TrackId(2));
    rooms.core_event(Time::ZERO, WorkerId(0), Event::SlotUnsupported { transport, slot, track });
    let told = drain(&mut rooms, bob);
    assert_eq!(told, [ServerMessage::CodecUnsupported { mid: "s1".to_owned(), track }]);
    let resume = |rooms: &mut Rooms| {
        let request = signaling::JoinRequest { resume: Some(token.clone()), ..join_request("room", "bob") };
        let session = rooms.join(Time::ZERO, request).unwrap();
        (session, types(&drain(rooms, session)))
    };
    let (bob, told) = resume(&mut rooms);
    assert_eq!(told, ["joined", "codec_unsupported"]);
    rooms.core_event(Time::ZERO, WorkerId(0), Event::SlotLayer { transport, slot, layer: Some(LayerId(0)) });
    drain(&mut rooms, bob);
    assert_eq!(resume(&mut rooms).1, ["joined"]);
}

#[test]
fn variants_of_one_codec_reach_the_engine_under_their_own_payload_types() {
    let mut rooms = rooms_with(&[CodecName::H264, CodecName::Vp9]);
    let ann = join(&mut rooms, "ann");
    rooms.receive(Time::ZERO, ann, ClientMessage::Offer(offer(1, fixture("chromium_sendrecv"))));
    let tracks = std::iter::from_fn(|| rooms.poll_command()).filter_map(|(_, command)| match command {
        sfu_core::command::Command::PublishTrack { track, .. } => Some(track.payload_types),
        _ => None,
    });
    let tracks: Vec<Vec<PayloadType>> = tracks.collect();
    let codecs = |track: &[PayloadType]| track.iter().map(|one| (one.codec, one.pt.0)).collect::<Vec<_>>();
    assert_eq!(codecs(&tracks[0]), [(Codec::Red, 63), (Codec::Opus, 111)]);
    let h264 = |packetization_mode, profile| Codec::H264 { packetization_mode, profile };
    assert_eq!(
        codecs(&tracks[1]),
        [
            (h264(1, H264Profile::ConstrainedBaseline), 108),
            (h264(0, H264Profile::ConstrainedBaseline), 114),
            (h264(1, H264Profile::Baseline), 102),
            (h264(0, H264Profile::Baseline), 104),
            (h264(1, H264Profile::Main), 116),
            (h264(0, H264Profile::Main), 39),
            (Codec::Vp9 { profile: 0 }, 98),
            (Codec::Vp9 { profile: 2 }, 100),
        ]
    );
    assert!(tracks[1].iter().all(|one| one.nack && one.rtx.is_some()));
}
