//! Who is in a room, who is told, and how it ends.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use sfu_core::command::{Command, LayerRequest};
use sfu_core::event::{ArrivingLayer, CloseReason, Event, ForwardedLayer};
use sfu_core::unit::{Kind, LayerId, SlotId, TemporalId, Time, TrackId, TransportId, WorkerId};
use signaling::message::{ClosedReason, LayerPreference, LeaveReason, ParticipantState, Source};
use signaling::{ClientMessage, ErrorCode, JoinError, JoinRequest, Rooms, ServerMessage, SessionId};
use support::client::ModelClient;
use support::{config, drain, join, join_request, rooms, types};

const WORKER: WorkerId = WorkerId(0);

/// Lets clients and server talk until neither has anything to say.
fn settle(rooms: &mut Rooms, clients: &mut [(SessionId, &mut ModelClient)]) {
    for _ in 0..8 {
        for (session, client) in clients.iter_mut() {
            while let Some(message) = rooms.poll_message(*session) {
                if let Some(reply) = client.receive(message) {
                    rooms.receive(Time::ZERO, *session, reply);
                }
            }
            if let Some(offer) = client.make_offer() {
                rooms.receive(Time::ZERO, *session, offer);
            }
        }
    }
}

fn commands(rooms: &mut Rooms) -> Vec<Command> {
    std::iter::from_fn(|| rooms.poll_command()).map(|(_, command)| command).collect()
}

/// Two participants, the first publishes a microphone and a camera that the second sees.
fn call() -> (Rooms, (SessionId, ModelClient), (SessionId, ModelClient)) {
    let mut rooms = rooms();
    let (ann, bob) = (join(&mut rooms, "ann"), join(&mut rooms, "bob"));
    let (mut ann_client, mut bob_client) = (ModelClient::new(1), ModelClient::new(2));
    ann_client.publish(Source::Microphone);
    ann_client.publish(Source::Camera);
    settle(&mut rooms, &mut [(ann, &mut ann_client), (bob, &mut bob_client)]);
    (rooms, (ann, ann_client), (bob, bob_client))
}

#[test]
fn a_joiner_learns_of_the_others_and_they_of_it() {
    let mut rooms = rooms();
    let ann = join(&mut rooms, "ann");
    assert_eq!(types(&drain(&mut rooms, ann)), ["joined"]);
    let bob = join(&mut rooms, "bob");
    let ServerMessage::Joined(joined) = &drain(&mut rooms, bob)[0] else { panic!() };
    assert_eq!(joined.participants[0].identity, "ann");
    assert_eq!(types(&drain(&mut rooms, ann)), ["participant_joined"]);
    rooms.receive(Time::ZERO, bob, ClientMessage::Leave);
    assert_eq!(drain(&mut rooms, bob), [ServerMessage::Closed { reason: ClosedReason::Left }]);
    assert!(rooms.is_ended(bob));
    assert_eq!(types(&drain(&mut rooms, ann)), ["participant_left"]);
}

#[test]
fn media_reaches_a_new_section_only_after_its_answer() {
    let mut rooms = rooms();
    let ann = join(&mut rooms, "ann");
    let mut client = ModelClient::new(1);
    client.publish(Source::Camera);
    settle(&mut rooms, &mut [(ann, &mut client)]);
    let bob = join(&mut rooms, "bob");
    let messages = drain(&mut rooms, bob);
    assert_eq!(types(&messages), ["joined", "offer"]);
    let has_source = |commands: &[Command]| {
        commands.iter().any(|command| matches!(command, Command::SetSlotSource { source: Some(_), .. }))
    };
    assert!(!has_source(&commands(&mut rooms)));
    let mut bob_client = ModelClient::new(2);
    let replies: Vec<_> = messages.into_iter().filter_map(|message| bob_client.receive(message)).collect();
    rooms.receive(Time::ZERO, bob, replies[0].clone());
    let commands = commands(&mut rooms);
    let names: Vec<&str> = commands
        .iter()
        .map(|command| match command {
            Command::SetRemote { .. } => "remote",
            Command::SetSlot { slot, .. } => {
                assert_eq!(
                    (slot.kind, slot.mid.0.as_str(), slot.cname.as_str()),
                    (Kind::Video, "s0", "seat0")
                );
                "slot"
            }
            Command::SetSlotSource { .. } => "source",
            _ => "other",
        })
        .collect();
    assert_eq!(names, ["remote", "slot", "source"]);
}

#[test]
fn a_second_join_with_the_same_identity_replaces_the_first() {
    let (mut rooms, (ann, _), (bob, _)) = call();
    let second = join(&mut rooms, "ann");
    assert_eq!(
        drain(&mut rooms, ann).last(),
        Some(&ServerMessage::Closed { reason: ClosedReason::Replaced })
    );
    assert!(rooms.is_ended(ann));
    let told = drain(&mut rooms, bob);
    assert_eq!(types(&told)[..2], ["participant_left", "slots"]);
    assert!(matches!(told[0], ServerMessage::ParticipantLeft { reason: LeaveReason::Replaced, .. }));
    assert_eq!(types(&told)[2..], ["participant_joined"]);
    assert_eq!(types(&drain(&mut rooms, second)), ["joined"]);
    assert_eq!(rooms.stats().participants, 2);
}

#[test]
fn a_lost_connection_can_be_resumed_and_media_goes_on() {
    let (mut rooms, (ann, client), (bob, _)) = call();
    connect(&mut rooms);
    drain(&mut rooms, bob);
    commands(&mut rooms);
    rooms.connection_lost(Time::from_millis(1_000), ann);
    let reconnecting = |messages: &[ServerMessage], wanted: ParticipantState| matches!(messages, [ServerMessage::ParticipantState { state, .. }] if *state == wanted);
    assert!(reconnecting(&drain(&mut rooms, bob), ParticipantState::Reconnecting));
    let request = JoinRequest { resume: Some(client.resume.clone()), ..join_request("room", "ann") };
    let again = rooms.join(Time::from_millis(30_000), request).unwrap();
    let ServerMessage::Joined(joined) = &drain(&mut rooms, again)[0] else { panic!() };
    assert!(joined.resumed);
    assert_eq!(joined.published.len(), 2);
    assert!(reconnecting(&drain(&mut rooms, bob), ParticipantState::Connected));
    assert_eq!(commands(&mut rooms), []);
    rooms.handle_timeout(Time::from_millis(40_000));
    assert_eq!(rooms.stats().participants, 2);
}

#[test]
fn an_unanswered_offer_is_repeated_after_resume() {
    let mut rooms = rooms();
    let (ann, bob) = (join(&mut rooms, "ann"), join(&mut rooms, "bob"));
    let mut client = ModelClient::new(1);
    client.publish(Source::Camera);
    settle(&mut rooms, &mut [(ann, &mut client)]);
    let messages = drain(&mut rooms, bob);
    let ServerMessage::Joined(joined) = &messages[0] else { panic!() };
    rooms.connection_lost(Time::ZERO, bob);
    let request = JoinRequest { resume: Some(joined.resume.clone()), ..join_request("room", "bob") };
    let again = rooms.join(Time::ZERO, request).unwrap();
    let repeated = drain(&mut rooms, again);
    assert_eq!(types(&repeated), ["joined", "offer"]);
    assert_eq!(support::offer_in(&repeated), support::offer_in(&messages));
}

#[test]
fn a_participant_that_does_not_come_back_times_out() {
    let (mut rooms, (ann, _), (bob, _)) = call();
    rooms.connection_lost(Time::from_millis(1_000), ann);
    drain(&mut rooms, bob);
    assert_eq!(rooms.next_timeout(), Some(Time::from_millis(30_000)));
    connect(&mut rooms);
    assert_eq!(rooms.next_timeout(), Some(Time::from_millis(31_000)));
    rooms.handle_timeout(Time::from_millis(31_000));
    let left = drain(&mut rooms, bob);
    assert!(left.iter().any(|message| matches!(
        message,
        ServerMessage::ParticipantLeft { reason: LeaveReason::Timeout, .. }
    )));
    assert!(rooms.is_ended(ann));
}

/// All transports come up.
fn connect(rooms: &mut Rooms) {
    for transport in 1..=4 {
        rooms.core_event(Time::ZERO, WORKER, Event::TransportConnected { transport: TransportId(transport) });
    }
}

#[test]
fn a_join_without_ice_ends_after_thirty_seconds() {
    let mut rooms = rooms();
    let ann = join(&mut rooms, "ann");
    assert_eq!(rooms.next_timeout(), Some(Time::from_millis(30_000)));
    rooms.handle_timeout(Time::from_millis(29_999));
    assert_eq!(rooms.stats().participants, 1);
    rooms.handle_timeout(Time::from_millis(30_000));
    assert_eq!(
        drain(&mut rooms, ann).last(),
        Some(&ServerMessage::Closed { reason: ClosedReason::IceTimeout })
    );
    assert_eq!(rooms.stats().participants, 0);
}

#[test]
fn an_empty_room_lasts_a_minute_unless_somebody_joins() {
    let mut rooms = rooms();
    let ann = join(&mut rooms, "ann");
    rooms.receive(Time::from_millis(1_000), ann, ClientMessage::Leave);
    rooms.handle_timeout(Time::from_millis(60_999));
    assert_eq!(rooms.stats().rooms, 1);
    let request = join_request("room", "bob");
    let bob = rooms.join(Time::from_millis(60_999), request).unwrap();
    rooms.handle_timeout(Time::from_millis(61_000));
    assert_eq!(rooms.stats().rooms, 1);
    rooms.receive(Time::from_millis(62_000), bob, ClientMessage::Leave);
    rooms.handle_timeout(Time::from_millis(122_000));
    assert_eq!(rooms.stats().rooms, 0);
}

#[test]
fn a_full_room_takes_a_replacement_but_nobody_else() {
    let mut config = config();
    config.max_participants = 2;
    let mut rooms = Rooms::new(config, [1; 32]);
    join(&mut rooms, "ann");
    join(&mut rooms, "bob");
    let refused = rooms.join(Time::ZERO, join_request("room", "eve"));
    assert_eq!(refused, Err(JoinError::RoomFull));
    assert!(rooms.join(Time::ZERO, join_request("room", "ann")).is_ok());
    assert!(rooms.join(Time::ZERO, join_request("another", "eve")).is_ok());
}

#[test]
fn bad_joins_are_refused_and_make_no_room() {
    let mut rooms = rooms();
    let with = |room: &str, identity: &str| join_request(room, identity);
    assert_eq!(rooms.join(Time::ZERO, with("", "a")), Err(JoinError::BadRoom));
    assert_eq!(rooms.join(Time::ZERO, with("a\nb", "a")), Err(JoinError::BadRoom));
    assert_eq!(rooms.join(Time::ZERO, with(&"é".repeat(129), "a")), Err(JoinError::BadRoom));
    assert_eq!(rooms.join(Time::ZERO, with("r", &"x".repeat(257))), Err(JoinError::BadIdentity));
    let old = JoinRequest { version: 0, ..with("r", "a") };
    assert_eq!(rooms.join(Time::ZERO, old), Err(JoinError::BadVersion));
    assert_eq!(rooms.stats().rooms, 0);
    assert!(rooms.join(Time::ZERO, with(&"é".repeat(128), "a")).is_ok());
}

#[test]
fn rooms_go_to_the_worker_with_the_fewest_participants() {
    let mut rooms = rooms();
    for (room, identity) in [("a", "1"), ("a", "2"), ("b", "1"), ("c", "1"), ("a", "3"), ("d", "1")] {
        rooms.join(Time::ZERO, join_request(room, identity)).unwrap();
    }
    let workers: Vec<u16> = std::iter::from_fn(|| rooms.poll_command()).map(|(worker, _)| worker.0).collect();
    assert_eq!(workers, [0, 0, 1, 1, 0, 1]);
}

#[test]
fn lost_and_returning_networks_are_told_to_everyone() {
    let (mut rooms, (ann, _), (bob, _)) = call();
    connect(&mut rooms);
    assert_eq!(types(&drain(&mut rooms, ann)), ["connected"]);
    drain(&mut rooms, bob);
    rooms.core_event(Time::ZERO, WORKER, Event::TransportDisconnected { transport: TransportId(1) });
    assert_eq!(types(&drain(&mut rooms, ann)), ["disconnected", "ice_restart"]);
    assert_eq!(types(&drain(&mut rooms, bob)), ["participant_state"]);
    rooms.core_event(Time::ZERO, WORKER, Event::TransportRecovered { transport: TransportId(1) });
    assert_eq!(types(&drain(&mut rooms, bob)), ["participant_state"]);
    let reason = CloseReason::ConsentExpired;
    rooms.core_event(Time::ZERO, WORKER, Event::TransportClosed { transport: TransportId(1), reason });
    assert_eq!(types(&drain(&mut rooms, bob)), ["participant_left", "slots"]);
    let closed = drain(&mut rooms, ann);
    assert_eq!(closed.last(), Some(&ServerMessage::Closed { reason: ClosedReason::ConsentExpired }));
}

#[test]
fn mute_reaches_the_worker_and_the_others_once() {
    let (mut rooms, (ann, client), (bob, _)) = call();
    commands(&mut rooms);
    let track = *client.published.keys().next().unwrap();
    for _ in 0..2 {
        rooms.receive(Time::ZERO, ann, ClientMessage::Mute { track, muted: true });
    }
    assert_eq!(commands(&mut rooms), [Command::SetTrackMuted { track, muted: true }]);
    assert_eq!(types(&drain(&mut rooms, bob)), ["track_muted"]);
    rooms.receive(Time::ZERO, bob, ClientMessage::Mute { track, muted: false });
    assert!(matches!(
        drain(&mut rooms, bob)[..],
        [ServerMessage::Error { code: ErrorCode::UnknownTrack, .. }]
    ));
}

#[test]
fn preferences_follow_the_track_from_slot_to_slot() {
    let (mut rooms, (_, ann), (bob, mut bob_client)) = call();
    commands(&mut rooms);
    let camera = *ann.published.iter().find(|(_, source)| **source == Source::Camera).unwrap().0;
    let prefer = |layer, paused| ClientMessage::Prefer { track: camera, layer, temporal: None, paused };
    rooms.receive(Time::ZERO, bob, prefer(LayerPreference::Low, false));
    rooms.receive(Time::ZERO, bob, prefer(LayerPreference::Low, true));
    let layers: Vec<LayerRequest> = commands(&mut rooms)
        .into_iter()
        .filter_map(|command| match command {
            Command::SetSlotLayer { layer, .. } => Some(layer),
            _ => None,
        })
        .collect();
    assert_eq!(
        layers,
        [LayerRequest::AtMost { spatial: LayerId(0), temporal: TemporalId::MAX }, LayerRequest::Paused]
    );
    for enabled in [false, true] {
        rooms.receive(Time::ZERO, bob, ClientMessage::Subscribe { track: camera, enabled });
        settle(&mut rooms, &mut [(bob, &mut bob_client)]);
        assert_eq!(bob_client.slots.values().flatten().any(|track| *track == camera), enabled);
    }
    let sources: Vec<Option<TrackId>> = commands(&mut rooms)
        .into_iter()
        .filter_map(|command| match command {
            Command::SetSlotSource { source, .. } => Some(source),
            _ => None,
        })
        .collect();
    assert_eq!(sources, [None, Some(camera)]);
}

#[test]
fn a_slot_without_a_layer_says_why() {
    let (mut rooms, (ann, client), (bob, bob_client)) = call();
    drain(&mut rooms, bob);
    let camera = *client.published.iter().find(|(_, source)| **source == Source::Camera).unwrap().0;
    let mid = bob_client.slots.iter().find(|(_, track)| **track == Some(camera)).unwrap().0;
    let slot = SlotId(mid[1..].parse().unwrap());
    let (transport, track) = (TransportId(2), camera);
    let reason = |rooms: &mut Rooms, layer: Option<LayerId>| {
        let layer = layer.map(|spatial| ForwardedLayer { spatial, temporal: Some(TemporalId(1)) });
        rooms.core_event(Time::ZERO, WORKER, Event::SlotLayer { transport, slot, layer });
        let message = drain(rooms, bob).pop().unwrap().to_json();
        let value: serde_json::Value = serde_json::from_str(&message).unwrap();
        value["reason"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(reason(&mut rooms, None), "silent");
    let arriving = ArrivingLayer { id: LayerId(0), temporal_count: 2, kbps: None, size: None };
    rooms.core_event(Time::ZERO, WORKER, Event::TrackLayers { track, layers: vec![arriving] });
    assert_eq!(reason(&mut rooms, None), "keyframe");
    assert_eq!(reason(&mut rooms, Some(LayerId(0))), "");
    rooms.receive(Time::ZERO, ann, ClientMessage::Mute { track, muted: true });
    assert_eq!(reason(&mut rooms, None), "muted");
    rooms.receive(
        Time::ZERO,
        bob,
        ClientMessage::Prefer { track, layer: LayerPreference::Auto, temporal: None, paused: true },
    );
    assert_eq!(reason(&mut rooms, None), "paused");
    rooms.core_event(Time::ZERO, WORKER, Event::SlotUnsupported { transport, slot, track });
    assert_eq!(types(&drain(&mut rooms, bob)), ["codec_unsupported"]);
    assert_eq!(reason(&mut rooms, None), "unsupported");
    rooms.receive(Time::ZERO, ann, ClientMessage::Leave);
    assert_eq!(reason(&mut rooms, None), "no_source");
}

#[test]
fn a_flood_of_messages_is_refused_once_and_then_ignored() {
    let mut rooms = rooms();
    let ann = join(&mut rooms, "ann");
    drain(&mut rooms, ann);
    for _ in 0..250 {
        rooms.receive(Time::ZERO, ann, ClientMessage::Ping);
    }
    let messages = drain(&mut rooms, ann);
    assert_eq!(messages.iter().filter(|message| **message == ServerMessage::Pong).count(), 200);
    assert_eq!(types(&messages)[200..], ["error"]);
    rooms.receive(Time::ZERO + Duration::from_millis(20), ann, ClientMessage::Ping);
    assert_eq!(types(&drain(&mut rooms, ann)), ["pong"]);
}

#[test]
fn an_overflowing_queue_becomes_a_resync_and_keeps_its_offer() {
    let mut rooms = rooms();
    let ann = join(&mut rooms, "ann");
    let mut client = ModelClient::new(1);
    client.publish(Source::Microphone);
    settle(&mut rooms, &mut [(ann, &mut client)]);
    let slow = join(&mut rooms, "slow");
    for number in 0..300u64 {
        let now = Time::from_millis(number * 100);
        let track = *client.published.keys().next().unwrap();
        rooms.receive(now, ann, ClientMessage::Mute { track, muted: number % 2 == 0 });
    }
    let messages = drain(&mut rooms, slow);
    assert_eq!(types(&messages), ["resync", "offer"]);
    let ServerMessage::Resync(snapshot) = &messages[0] else { panic!() };
    assert!(!snapshot.participants[0].tracks[0].muted, "the snapshot is fresh");
    let mut slow_client = ModelClient::new(2);
    let replies: Vec<_> = messages.into_iter().filter_map(|message| slow_client.receive(message)).collect();
    rooms.receive(Time::ZERO, slow, replies[0].clone());
    assert_eq!(drain(&mut rooms, slow), []);
}

#[test]
fn shutdown_is_the_last_word_to_everyone() {
    let (mut rooms, (ann, _), (bob, _)) = call();
    rooms.shutdown(Time::ZERO);
    for session in [ann, bob] {
        let last = drain(&mut rooms, session);
        assert_eq!(last, [ServerMessage::Closed { reason: ClosedReason::ServerShutdown }]);
        assert!(rooms.is_ended(session));
    }
    assert_eq!(rooms.stats().participants, 0);
}

#[test]
fn every_change_is_reported_once() {
    let mut rooms = rooms();
    let ann = join(&mut rooms, "ann");
    assert_eq!(rooms.poll_ready(), Some(ann));
    assert_eq!(rooms.poll_ready(), None);
    drain(&mut rooms, ann);
    join(&mut rooms, "bob");
    join(&mut rooms, "eve");
    let ready: Vec<SessionId> = std::iter::from_fn(|| rooms.poll_ready()).collect();
    assert_eq!(ready.iter().filter(|session| **session == ann).count(), 1);
    assert_eq!(ready.len(), 3);
}
