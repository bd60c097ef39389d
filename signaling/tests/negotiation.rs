//! Offers and answers: browsers' own, crossed, refused, and broken ones. The descriptions in `snapshots/` are what we
//! answer to the captured offers in `fixtures/`; `UPDATE_SNAPSHOTS=1` rewrites them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::num::NonZeroU32;
use std::path::Path;

use rand::SeedableRng;
use rand::rngs::StdRng;
use sfu_core::command::{Codec, Command, TrackSpec};
use sfu_core::transport::handshake::{DtlsRole, Fingerprint, FingerprintAlgorithm};
use sfu_core::unit::{Kind, ParticipantId, Pt, Ssrc, Time, TrackId, WorkerId};
use signaling::error::{AnswerError, OfferError};
use signaling::negotiate::{LocalTransport, Negotiation, UfragPrefix};
use signaling::slots::{Group, SlotState, Wanted};
use signaling::{ClientMessage, ErrorCode, NodeId, ServerMessage};
use support::{answer_in, drain, join, offer, offer_in, rooms, sections, types};

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).with_extension("sdp");
    std::fs::read_to_string(path).unwrap()
}

/// Compares with the committed text, line ends aside.
fn assert_snapshot(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(format!("{name}.sdp"));
    let text = text.replace("\r\n", "\n");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    assert_eq!(text, committed, "{name} has changed");
}

fn negotiation() -> (Negotiation, StdRng) {
    let mut rng = StdRng::from_seed([3; 32]);
    let local = LocalTransport {
        fingerprint: Fingerprint { algorithm: FingerprintAlgorithm::Sha256, digest: vec![0xab; 32] },
        candidates: vec!["192.0.2.1:7882".parse().unwrap(), "[2001:db8::1]:7882".parse().unwrap()],
        ufrag_prefix: UfragPrefix::new(NodeId::new("n0de").unwrap(), WorkerId(0)),
        codecs: signaling::CodecPolicy::default(),
    };
    (Negotiation::new(local, &mut rng), rng)
}

fn wanted(track: u64, kind: Kind) -> Wanted {
    Wanted { track: TrackId(track), kind, group: Group { participant: ParticipantId(track), screen: false } }
}

/// A browser's answer to an offer of slots: its lines, turned round.
fn answer_to(offer: &str, setup: &str) -> String {
    let mut answer = String::new();
    for line in offer.lines() {
        let line = match line {
            "a=sendonly" => "a=recvonly",
            "a=recvonly" => "a=sendonly",
            line if line.starts_with("a=ice-ufrag:") => "a=ice-ufrag:client00",
            line if line.starts_with("a=setup:") => setup,
            line if line.starts_with("a=ice-lite") || line.starts_with("a=candidate") => continue,
            line => line,
        };
        answer += &format!("{line}\r\n");
    }
    answer
}

#[test]
fn browsers_offers_are_answered() {
    for name in [
        "chromium_simulcast",
        "chromium_sendrecv",
        "chromium_recvonly",
        "firefox_simulcast",
        "firefox_sendrecv",
        "firefox_recvonly",
        "firefox_data",
    ] {
        let (mut negotiation, mut rng) = negotiation();
        let outcome = negotiation.receive_offer(&fixture(name), &mut rng).unwrap();
        assert_snapshot(&format!("{name}.answer"), &outcome.answer);
        assert_eq!(outcome.remote.unwrap().dtls_role, DtlsRole::Server);
        // The same offer again changes nothing.
        let again = negotiation.receive_offer(&fixture(name), &mut rng).unwrap();
        assert!(again.remote.is_none() && again.ice_restart.is_none());
        let without_version =
            |sdp: &str| sdp.lines().filter(|line| !line.starts_with("o=")).collect::<String>();
        assert_eq!(without_version(&outcome.answer), without_version(&again.answer));
    }
}

fn specs(name: &str) -> Vec<TrackSpec> {
    let (mut negotiation, mut rng) = negotiation();
    negotiation.receive_offer(&fixture(name), &mut rng).unwrap();
    negotiation.publications().enumerate().map(|(id, one)| one.to_spec(TrackId(id as u64), false)).collect()
}

#[test]
fn simulcast_offer_publishes_three_layers() {
    let tracks = specs("chromium_simulcast");
    assert_eq!(tracks[0].payload_types[0].codec, Codec::Opus);
    assert_eq!(tracks[0].ssrcs[0].ssrc, Ssrc(4_282_315_110));
    let video = &tracks[1];
    let rids: Vec<&str> = video.rids.iter().map(|rid| rid.0.as_str()).collect();
    assert_eq!(rids, ["q", "h", "f"]);
    let vp8 = &video.payload_types[0];
    assert_eq!((&vp8.codec, vp8.pt, vp8.rtx), (&Codec::Vp8, Pt(96), Some(Pt(97))));
    assert!(vp8.nack && vp8.pli && vp8.transport_cc);
    assert_eq!((video.extensions.rid, video.extensions.repaired_rid), (Some(10), Some(11)));
    assert_eq!(video.extensions.dependency_descriptor, None);
}

#[test]
fn firefox_extmap_suffixes_are_understood() {
    let video = &specs("firefox_simulcast")[1];
    assert_eq!((video.extensions.rid, video.extensions.repaired_rid), (Some(9), Some(10)));
    // It only receives this one, so as a publisher it never sends it.
    assert_eq!(video.extensions.playout_delay, None);
    let rtx: Vec<Option<Ssrc>> = video.ssrcs.iter().map(|one| one.rtx).collect();
    assert_eq!(rtx, [754_022_977, 69_109_146, 189_479_463].map(|ssrc| Some(Ssrc(ssrc))));
    assert_eq!(video.rids.len(), 3);
}

#[test]
fn layers_offered_highest_first_are_sorted_with_their_ssrcs() {
    let (mut negotiation, mut rng) = negotiation();
    let sdp = fixture("firefox_simulcast").replace("a=simulcast:send q;h;f", "a=simulcast:send f;h;q");
    let answer = negotiation.receive_offer(&sdp, &mut rng).unwrap().answer;
    assert!(answer.contains("a=simulcast:recv f;h;q\r\n"));
    let video = negotiation.publications().nth(1).unwrap();
    let rids: Vec<&str> = video.rids.iter().map(|rid| rid.0.as_str()).collect();
    assert_eq!(rids, ["q", "h", "f"]);
    assert_eq!(video.ssrcs[0].ssrc, Ssrc(2_929_826_769));
}

#[test]
fn recvonly_sections_become_slots_and_sendrecv_ones_both() {
    for (name, publications) in [("chromium_recvonly", 0), ("chromium_sendrecv", 2), ("firefox_sendrecv", 2)]
    {
        let (mut negotiation, mut rng) = negotiation();
        negotiation.receive_offer(&fixture(name), &mut rng).unwrap();
        assert_eq!(negotiation.publications().count(), publications);
        let slots: Vec<_> = negotiation.slot_specs().collect();
        let mids: Vec<&str> = slots.iter().map(|slot| slot.mid.0.as_str()).collect();
        assert_eq!(mids, ["0", "1"], "{name}");
        // Microphone and camera of one participant are to share a stream.
        assert_eq!(slots[0].cname, slots[1].cname);
        let mut payload_types = slots.iter().flat_map(|slot| &slot.payload_types);
        assert!(payload_types.all(|payload| payload.transport_cc || payload.codec == Codec::Red));
        assert!(slots[1].rtx_ssrc.is_some() && slots[0].rtx_ssrc.is_none());
        negotiation.slots.assign(&[wanted(1, Kind::Audio), wanted(2, Kind::Video)], &mut rng);
        assert!(!negotiation.wants_offer());
    }
}

#[test]
fn data_channels_are_part_of_the_bundle() {
    for (name, size) in [("chromium_sendrecv", 262_144), ("firefox_data", 1_073_741_823)] {
        let (mut negotiation, mut rng) = negotiation();
        let answer = negotiation.receive_offer(&fixture(name), &mut rng).unwrap().answer;
        let data = sections(&answer).pop().unwrap();
        assert_eq!((data.kind.as_str(), data.rejected), ("application", false));
        assert_eq!(data.formats, ["webrtc-datachannel"]);
        assert!(data.has("sctp-port:5000") && data.has("max-message-size:65536"));
        assert!(answer.contains(&format!(" {}\r\n", data.mid())), "{answer}");
        let remote = negotiation.data().unwrap();
        assert_eq!((remote.port, remote.max_message_size), (5_000, NonZeroU32::new(size)), "{name}");
        // Our own offers carry the section on.
        negotiation.slots.assign(&[wanted(1, Kind::Audio)], &mut rng);
        let again = negotiation.receive_offer(&fixture(name), &mut rng).unwrap().answer;
        assert!(again.contains("a=sctp-port:5000"));
    }
}

#[test]
fn data_channels_end_with_their_section_and_come_back_with_it() {
    let (mut negotiation, mut rng) = negotiation();
    let on = fixture("chromium_sendrecv");
    negotiation.receive_offer(&on, &mut rng).unwrap();
    let off = on.replace("m=application 9 ", "m=application 0 ").replace("BUNDLE 0 1 2", "BUNDLE 0 1");
    let answer = negotiation.receive_offer(&off, &mut rng).unwrap().answer;
    assert!(sections(&answer)[2].rejected);
    assert_eq!(negotiation.data(), None);
    negotiation.receive_offer(&on, &mut rng).unwrap();
    assert!(negotiation.data().is_some());
}

#[test]
fn what_an_application_section_leaves_out_has_its_default() {
    let on = fixture("chromium_sendrecv");
    let line = |from: &str, to: &str| {
        let (mut negotiation, mut rng) = negotiation();
        negotiation.receive_offer(&on.replace(from, to), &mut rng).unwrap();
        negotiation.data().map(|data| (data.port, data.max_message_size.map(NonZeroU32::get)))
    };
    assert_eq!(line("a=max-message-size:262144", "a=nothing"), Some((5_000, Some(65_536))));
    assert_eq!(line("a=max-message-size:262144", "a=max-message-size:0"), Some((5_000, None)));
    assert_eq!(line("a=sctp-port:5000\r\n", ""), Some((5_000, Some(262_144))));
    assert_eq!(line("a=sctp-port:5000", "a=sctp-port:0"), None);
    assert_eq!(line("UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 5000"), None);
}

#[test]
fn our_offer_uses_the_clients_payload_types_and_ids() {
    let (mut negotiation, mut rng) = negotiation();
    negotiation.receive_offer(&fixture("firefox_simulcast"), &mut rng).unwrap();
    negotiation.slots.assign(&[wanted(1, Kind::Audio), wanted(2, Kind::Video)], &mut rng);
    let sdp = negotiation.make_offer().sdp.clone();
    assert_snapshot("firefox_simulcast.then_offer", &sdp);
    let sections = sections(&sdp);
    assert_eq!(sections[2].formats, ["109", "63"]);
    assert_eq!(sections[3].formats[..2], ["120", "124"]);
    assert!(sections[2].has("extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid"));
    // The role is settled, so it is not up for discussion.
    assert!(sections.iter().all(|section| section.has("setup:passive")));
}

#[test]
fn a_first_offer_of_ours_is_complete() {
    let (mut negotiation, mut rng) = negotiation();
    negotiation.slots.assign(&[wanted(1, Kind::Audio), wanted(2, Kind::Video)], &mut rng);
    let sdp = negotiation.make_offer().sdp.clone();
    assert_snapshot("first_offer", &sdp);
    // Firefox refuses a description with a higher id.
    let ids =
        sdp.lines().filter_map(|line| line.strip_prefix("a=extmap:")?.split(' ').next()?.parse::<u8>().ok());
    assert!(ids.max() < Some(15));
    let remote = negotiation.receive_answer(1, &answer_to(&sdp, "a=setup:active")).unwrap().unwrap();
    assert_eq!((remote.dtls_role, remote.ice.ufrag.as_str()), (DtlsRole::Server, "client00"));
    assert!(negotiation.slots.iter().all(|slot| slot.state == SlotState::Negotiated));
    assert_eq!(negotiation.slot_specs().count(), 2);
}

#[test]
fn setup_passive_makes_us_the_dtls_client() {
    let (mut negotiation, mut rng) = negotiation();
    let sdp = fixture("chromium_simulcast").replace("a=setup:actpass", "a=setup:passive");
    let outcome = negotiation.receive_offer(&sdp, &mut rng).unwrap();
    assert_eq!(outcome.remote.unwrap().dtls_role, DtlsRole::Client);
    assert!(sections(&outcome.answer).iter().all(|section| section.has("setup:active")));
    let (mut passive_answerer, mut rng) = self::negotiation();
    passive_answerer.slots.assign(&[wanted(1, Kind::Audio)], &mut rng);
    let sdp = passive_answerer.make_offer().sdp.clone();
    let remote = passive_answerer.receive_answer(1, &answer_to(&sdp, "a=setup:passive")).unwrap().unwrap();
    assert_eq!(remote.dtls_role, DtlsRole::Client);
}

/// An offer, and what is wrong with it.
type Case = (String, fn(&OfferError) -> bool);

#[test]
fn refused_offers_change_nothing() {
    let sdp = fixture("chromium_simulcast");
    let weak = sdp.replace("sha-256 BF", "sha-1 BF");
    let cases: [Case; 11] = [
        (weak, |error| *error == OfferError::NoFingerprint),
        (sdp.replace("a=ice-pwd", "a=x"), |error| *error == OfferError::NoIceCredentials),
        (sdp.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"), |error| {
            matches!(error, OfferError::Profile { section: 0, .. })
        }),
        (sdp.replace("a=rtcp-mux", "a=x"), |error| *error == OfferError::NoRtcpMux(0)),
        (sdp.replace("a=mid:1", "a=mid:0"), |error| matches!(error, OfferError::DuplicateMid(_))),
        (sdp.replace("a=mid:1", "a=mid:a b"), |error| matches!(error, OfferError::Sdp(_))),
        (sdp.replace("a=mid:1", "a=mid:2"), |error| *error == OfferError::SectionChanged(1)),
        (sdp.split("m=video").next().unwrap().to_owned(), |error| *error == OfferError::SectionsMissing),
        (sdp.replace("sha-256 BF", "sha-256 AA"), |error| *error == OfferError::FingerprintChanged),
        (sdp.replace("a=setup:actpass", "a=setup:passive"), |error| *error == OfferError::Setup),
        ("hello".to_owned(), |error| matches!(error, OfferError::Sdp(_))),
    ];
    let (mut negotiation, mut rng) = negotiation();
    negotiation.receive_offer(&sdp, &mut rng).unwrap();
    let before = format!("{negotiation:?}");
    for (offer, expected) in cases {
        let error = negotiation.receive_offer(&offer, &mut rng).unwrap_err();
        assert!(expected(&error), "{error:?}");
        assert_eq!(format!("{negotiation:?}"), before);
    }
}

#[test]
fn a_client_may_not_take_the_servers_mids() {
    let (mut negotiation, mut rng) = negotiation();
    let sdp = fixture("chromium_simulcast").replace("a=mid:1", "a=mid:s1");
    let refused = negotiation.receive_offer(&sdp, &mut rng).unwrap_err();
    assert_eq!(refused, OfferError::ReservedMid("s1".to_owned()));
}

#[test]
fn limits_of_an_sdp_are_kept_and_told() {
    let sdp = fixture("chromium_simulcast").replace("\r\n", "\n");
    let (session, media) = sdp.split_at(sdp.find("m=audio").unwrap());
    let (audio, _) = media.split_at(media.find("m=video").unwrap());
    let many: String = (0..65).map(|mid| audio.replace("a=mid:0", &format!("a=mid:{mid}"))).collect();
    let candidates = "a=candidate:1 1 udp 1 192.0.2.7 9 typ host\n".repeat(51);
    let long_line = format!("a=x:{}\n", "y".repeat(5_000));
    for offer in [
        format!("{session}{}", many.replace("a=rtpmap:9 G722/8000\n", "")),
        format!("{session}{audio}{candidates}"),
        format!("{session}{audio}{long_line}"),
        format!("{session}{audio}{}", "a=x:y\n".repeat(11_000)),
    ] {
        let (mut negotiation, mut rng) = negotiation();
        assert!(matches!(negotiation.receive_offer(&offer, &mut rng), Err(OfferError::Sdp(_))));
    }
}

#[test]
fn an_ice_restart_of_the_client_renews_both_sides() {
    let mut rooms = rooms();
    let ann = join(&mut rooms, "ann");
    let sdp = fixture("chromium_simulcast");
    rooms.receive(Time::ZERO, ann, ClientMessage::Offer(offer(1, sdp.as_str())));
    let first = answer_in(&drain(&mut rooms, ann));
    while rooms.poll_command().is_some() {}
    let restart = sdp.replace("ayXo", "newU").replace("TvfsU7Y0gaE", "AAAAAAAAAAA");
    rooms.receive(Time::ZERO, ann, ClientMessage::Offer(offer(2, restart)));
    let second = answer_in(&drain(&mut rooms, ann));
    let ufrag = |sdp: &str| sections(sdp)[0].value("ice-ufrag").unwrap().to_owned();
    assert_ne!(ufrag(&first), ufrag(&second));
    let commands: Vec<Command> =
        std::iter::from_fn(|| rooms.poll_command()).map(|(_, command)| command).collect();
    let [Command::RestartIce { local, .. }, Command::SetRemote { remote, .. }] = &commands[..] else {
        panic!("{commands:?}")
    };
    assert_eq!(local.ufrag, ufrag(&second));
    assert_eq!(remote.ice.ufrag, "newU");
    assert_eq!(remote.dtls_role, DtlsRole::Server);
}

#[test]
fn glare_is_won_by_the_server_and_changes_coalesce() {
    let mut rooms = rooms();
    let (ann, bob) = (join(&mut rooms, "ann"), join(&mut rooms, "bob"));
    rooms.receive(Time::ZERO, ann, ClientMessage::Offer(offer(1, fixture("chromium_simulcast"))));
    let messages = drain(&mut rooms, bob);
    let (id, sdp) = offer_in(&messages);
    assert_eq!(sections(&sdp).len(), 2);
    // Bob's offer crosses it, and two more participants publish meanwhile.
    rooms.receive(Time::ZERO, bob, ClientMessage::Offer(offer(1, fixture("firefox_simulcast"))));
    for identity in ["eve", "kim"] {
        let offer = Some(offer(1, fixture("chromium_simulcast")));
        let request = signaling::JoinRequest { offer, ..support::join_request("room", identity) };
        rooms.join(Time::ZERO, request).unwrap();
    }
    let meanwhile = types(&drain(&mut rooms, bob));
    assert!(
        meanwhile.iter().all(|kind| kind != "answer" && kind != "offer" && kind != "error"),
        "{meanwhile:?}"
    );
    let answer = ClientMessage::Answer { id, sdp: answer_to(&sdp, "a=setup:active") };
    rooms.receive(Time::ZERO, bob, answer);
    let (next_id, next) = offer_in(&drain(&mut rooms, bob));
    assert_eq!((next_id, sections(&next).len()), (id + 1, 6), "one offer for all that came meanwhile");
}

#[test]
fn answers_that_fit_no_offer_are_refused_and_the_offer_stands() {
    let mut rooms = rooms();
    let (ann, bob) = (join(&mut rooms, "ann"), join(&mut rooms, "bob"));
    rooms.receive(Time::ZERO, ann, ClientMessage::Offer(offer(1, fixture("chromium_simulcast"))));
    let (id, sdp) = offer_in(&drain(&mut rooms, bob));
    let good = answer_to(&sdp, "a=setup:active");
    let short = good.split("m=video").next().unwrap().to_owned();
    for (id, sdp) in [(id + 1, good.clone()), (id, short), (id, good.replace("mid:s1", "mid:s7"))] {
        rooms.receive(Time::ZERO, bob, ClientMessage::Answer { id, sdp });
        let errors = drain(&mut rooms, bob);
        assert!(
            matches!(errors[..], [ServerMessage::Error { code: ErrorCode::BadAnswer, .. }]),
            "{errors:?}"
        );
    }
    assert!(signaling::parse_client_message(r#"{"type":"answer","sdp":""}"#).is_err());
    rooms.receive(Time::ZERO, bob, ClientMessage::Answer { id, sdp: good.clone() });
    assert_eq!(drain(&mut rooms, bob), []);
    rooms.receive(Time::ZERO, bob, ClientMessage::Answer { id, sdp: good });
    assert!(matches!(drain(&mut rooms, bob)[..], [ServerMessage::Error { code: ErrorCode::BadAnswer, .. }]));
}

#[test]
fn a_rejected_section_is_not_offered_again_and_its_place_is_reused() {
    let (mut negotiation, mut rng) = negotiation();
    negotiation.slots.assign(&[wanted(1, Kind::Audio), wanted(2, Kind::Video)], &mut rng);
    let sdp = negotiation.make_offer().sdp.clone();
    let rejecting = answer_to(&sdp, "a=setup:active").replace("m=video 9", "m=video 0");
    negotiation.receive_answer(1, &rejecting).unwrap();
    assert_eq!(negotiation.slot_specs().count(), 1);
    negotiation.slots.assign(&[wanted(1, Kind::Audio), wanted(2, Kind::Video)], &mut rng);
    assert!(!negotiation.wants_offer(), "the track was refused");
    negotiation.slots.assign(&[wanted(1, Kind::Audio), wanted(3, Kind::Video)], &mut rng);
    assert!(negotiation.wants_offer());
    let sdp = negotiation.make_offer().sdp.clone();
    let sections = sections(&sdp);
    assert_eq!((sections.len(), sections[1].mid(), sections[1].rejected), (2, "s2", false));
    negotiation.receive_answer(2, &answer_to(&sdp, "a=setup:active")).unwrap();
    assert_eq!(negotiation.slot_specs().count(), 2);
}

#[test]
fn a_client_can_pause_and_stop_a_slot_by_direction() {
    let (mut negotiation, mut rng) = negotiation();
    negotiation.receive_offer(&fixture("chromium_recvonly"), &mut rng).unwrap();
    negotiation.slots.assign(&[wanted(1, Kind::Video)], &mut rng);
    let inactive = fixture("chromium_recvonly").replace("a=recvonly", "a=inactive");
    let answer = negotiation.receive_offer(&inactive, &mut rng).unwrap().answer;
    assert!(sections(&answer).iter().all(|section| section.direction() == "inactive"));
    assert!(negotiation.slots.iter().all(|slot| !slot.receiving && slot.state == SlotState::Negotiated));
    let answer = negotiation.receive_offer(&fixture("chromium_recvonly"), &mut rng).unwrap().answer;
    assert!(sections(&answer).iter().all(|section| section.direction() == "sendonly"));
}

#[test]
fn an_inactive_section_keeps_its_layers_and_extensions() {
    let (mut negotiation, mut rng) = negotiation();
    let on = fixture("chromium_simulcast");
    negotiation.receive_offer(&on.replace("a=sendonly", "a=inactive"), &mut rng).unwrap();
    assert_eq!(negotiation.publications().count(), 0);
    negotiation.slots.assign(&[wanted(1, Kind::Video)], &mut rng);
    // In our own offer too: a browser drops for good what it is not offered once.
    let video = &sections(&negotiation.make_offer().sdp)[1];
    assert_eq!(video.direction(), "inactive");
    assert!(video.has("extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"));
    assert!(video.has("simulcast:recv q;h;f"));
}

#[test]
fn publishing_again_on_a_section_is_a_new_track() {
    let mut rooms = rooms();
    let ann = join(&mut rooms, "ann");
    let on = fixture("chromium_simulcast");
    let off = on.replace("a=sendonly", "a=inactive");
    let mut seen = Vec::new();
    for (id, sdp) in [(1, &on), (2, &off), (3, &on)] {
        rooms.receive(Time::ZERO, ann, ClientMessage::Offer(offer(id, sdp.as_str())));
        let messages = drain(&mut rooms, ann);
        let order: Vec<String> = types(&messages).into_iter().filter(|kind| kind != "joined").collect();
        assert_eq!(order, ["published", "answer"]);
        let published = messages.into_iter().find_map(|message| match message {
            ServerMessage::Published { tracks } => Some(tracks),
            _ => None,
        });
        seen.push(published.unwrap().iter().map(|track| track.track.0).collect::<Vec<_>>());
    }
    assert_eq!(seen, [vec![1, 2], vec![], vec![3, 4]]);
}

#[test]
fn an_offer_that_comes_with_the_join_saves_a_round_trip() {
    let mut rooms = rooms();
    let ann = join(&mut rooms, "ann");
    rooms.receive(Time::ZERO, ann, ClientMessage::Offer(offer(1, fixture("chromium_simulcast"))));
    let request = signaling::JoinRequest {
        offer: Some(offer(1, fixture("firefox_simulcast"))),
        ..support::join_request("room", "bob")
    };
    let bob = rooms.join(Time::ZERO, request).unwrap();
    assert_eq!(types(&drain(&mut rooms, bob)), ["joined", "published", "answer", "offer"]);
}

#[test]
fn candidates_are_tolerated_trickled_or_not() {
    let mut rooms = rooms();
    let ann = join(&mut rooms, "ann");
    drain(&mut rooms, ann);
    for candidate in ["candidate:1 1 udp 1 abc.local 9 typ host", ""] {
        let message = ClientMessage::Candidate { candidate: candidate.to_owned(), mid: Some("0".to_owned()) };
        rooms.receive(Time::ZERO, ann, message);
    }
    assert_eq!(drain(&mut rooms, ann), []);
}

#[test]
fn an_answer_error_says_what_was_expected() {
    let (mut negotiation, _) = negotiation();
    assert_eq!(negotiation.receive_answer(1, ""), Err(AnswerError::NotOutstanding));
}
