//! Data messages in a room: who gets them, by which way, stamped with whom; and what is refused.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use sfu_core::command::{Command, DataMessage};
use sfu_core::event::{DataCloseReason, Event};
use sfu_core::unit::{ChannelType, MessageKind, ParticipantId, Reliability, Time, TransportId, WorkerId};
use signaling::data::{DATA_LEN_MAX, DataRefusal};
use signaling::message::DataSaid;
use signaling::{ClientMessage, Rooms, ServerMessage, SessionId};
use support::{drain, join, offer, rooms};

const WORKER: WorkerId = WorkerId(0);
const LOSSY: ChannelType = ChannelType { ordered: false, reliability: Reliability::MaxRetransmits(0) };

/// Participants 1, 2 and 3 in one room; 1 and 2 with data channels, 3 without.
fn room() -> (Rooms, [SessionId; 3]) {
    let mut rooms = rooms();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/firefox_data.sdp");
    let sdp = std::fs::read_to_string(path).unwrap();
    let sessions = ["ann", "bob", "eve"].map(|identity| join(&mut rooms, identity));
    for (session, transport) in sessions.iter().zip(1..=2) {
        rooms.receive(Time::ZERO, *session, ClientMessage::Offer(offer(1, sdp.clone())));
        rooms.core_event(Time::ZERO, WORKER, Event::DataOpened { transport: TransportId(transport) });
    }
    let set = commands(&mut rooms).into_iter().filter(|command| matches!(command, Command::SetData { .. }));
    assert_eq!(set.count(), 2);
    for session in sessions {
        drain(&mut rooms, session);
    }
    (rooms, sessions)
}

fn commands(rooms: &mut Rooms) -> Vec<Command> {
    std::iter::from_fn(|| rooms.poll_command()).map(|(_, command)| command).collect()
}

fn receive(rooms: &mut Rooms, now: Time, from: u64, message: DataMessage) {
    rooms.core_event(now, WORKER, Event::DataReceived { transport: TransportId(from), message });
}

fn text(channel_type: ChannelType, payload: impl Into<Bytes>) -> DataMessage {
    DataMessage { label: "chat".into(), channel_type, kind: MessageKind::Text, payload: payload.into() }
}

/// Where a message went: transports, and what was sent there.
fn sent(rooms: &mut Rooms) -> Option<(Vec<TransportId>, DataMessage)> {
    commands(rooms).into_iter().find_map(|command| match command {
        Command::SendData { to, message } => Some((to, message)),
        _ => None,
    })
}

fn refusals(messages: &[ServerMessage]) -> Vec<DataRefusal> {
    let refusals = messages.iter().filter_map(|message| match message {
        ServerMessage::DataRefused { reason, .. } => Some(*reason),
        _ => None,
    });
    refusals.collect()
}

#[test]
fn a_message_reaches_everybody_else_by_the_way_that_each_has() {
    let (mut rooms, [ann, bob, eve]) = room();
    receive(&mut rooms, Time::ZERO, 1, text(ChannelType::RELIABLE, r#"{"v":1,"data":{"text":"hi"}}"#));
    let (to, message) = sent(&mut rooms).unwrap();
    assert_eq!(to, [TransportId(2)]);
    assert_eq!((message.label.as_str(), message.kind), ("chat", MessageKind::Text));
    let payload: Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(payload, json!({"v": 1, "from": "p1", "data": {"text": "hi"}}));
    let data = ServerMessage::Data {
        label: "chat".into(),
        from: ParticipantId(1),
        private: false,
        data: json!({"text": "hi"}),
    };
    assert_eq!(drain(&mut rooms, eve), [data]);
    assert!(drain(&mut rooms, ann).is_empty() && drain(&mut rooms, bob).is_empty());
}

#[test]
fn who_has_no_data_channels_speaks_over_its_connection() {
    let (mut rooms, [_, _, eve]) = room();
    let said = DataSaid { label: "chat".into(), to: None, data: json!("hello") };
    rooms.receive(Time::ZERO, eve, ClientMessage::Data(said));
    let (to, message) = sent(&mut rooms).unwrap();
    assert_eq!(to, [TransportId(1), TransportId(2)]);
    assert_eq!(message.channel_type, ChannelType::RELIABLE);
    assert_eq!(&message.payload[..], br#"{"v":1,"from":"p3","data":"hello"}"#);
}

#[test]
fn named_participants_get_a_message_and_nobody_else() {
    let (mut rooms, [ann, _, eve]) = room();
    receive(&mut rooms, Time::ZERO, 1, text(ChannelType::RELIABLE, r#"{"v":1,"to":["p3","p1"],"data":0}"#));
    assert_eq!(sent(&mut rooms), None);
    let heard = drain(&mut rooms, eve);
    assert!(matches!(heard[..], [ServerMessage::Data { private: true, .. }]), "{heard:?}");
    // Gone, or never there, or oneself.
    receive(&mut rooms, Time::ZERO, 1, text(ChannelType::RELIABLE, r#"{"v":1,"to":["p1","p9"],"data":0}"#));
    assert_eq!(refusals(&drain(&mut rooms, ann)), [DataRefusal::NoRecipient]);
}

/// Neither lossy nor binary messages have a place in a queue of events.
#[test]
fn only_reliable_text_takes_the_connection() {
    let (mut rooms, [_, _, eve]) = room();
    receive(&mut rooms, Time::ZERO, 1, text(LOSSY, r#"{"v":1,"data":0}"#));
    assert_eq!(sent(&mut rooms).unwrap().1.channel_type, LOSSY);
    let binary = DataMessage { kind: MessageKind::Binary, ..text(ChannelType::RELIABLE, vec![1, 0, 7]) };
    receive(&mut rooms, Time::ZERO, 1, binary);
    let (to, message) = sent(&mut rooms).unwrap();
    assert_eq!((to, message.kind), (vec![TransportId(2)], MessageKind::Binary));
    assert_eq!(&message.payload[..], [1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 7]);
    assert!(drain(&mut rooms, eve).is_empty());
}

#[test]
fn a_participant_whose_channels_are_gone_is_reached_otherwise() {
    let (mut rooms, [_, bob, _]) = room();
    let closed = Event::DataClosed { transport: TransportId(2), reason: DataCloseReason::Lost };
    rooms.core_event(Time::ZERO, WORKER, closed);
    receive(&mut rooms, Time::ZERO, 1, text(ChannelType::RELIABLE, r#"{"v":1,"data":0}"#));
    assert_eq!(sent(&mut rooms), None);
    assert!(matches!(drain(&mut rooms, bob)[..], [ServerMessage::Data { .. }]));
}

#[test]
fn refusals_are_named_and_few() {
    let (mut rooms, [ann, ..]) = room();
    receive(&mut rooms, Time::ZERO, 1, text(ChannelType::RELIABLE, "hello"));
    receive(&mut rooms, Time::ZERO, 1, text(ChannelType::RELIABLE, "x".repeat(DATA_LEN_MAX + 1)));
    let label = DataMessage { label: "l".repeat(65), ..text(ChannelType::RELIABLE, r#"{"v":1,"data":0}"#) };
    receive(&mut rooms, Time::ZERO, 1, label);
    let expected = [DataRefusal::Malformed, DataRefusal::TooLong, DataRefusal::TooLong];
    assert_eq!(refusals(&drain(&mut rooms, ann)), expected);
    for _ in 0..1_000 {
        receive(&mut rooms, Time::ZERO, 1, text(ChannelType::RELIABLE, "hello"));
    }
    assert!(refusals(&drain(&mut rooms, ann)).len() < 10);
}

#[test]
fn a_flood_reaches_nobody_and_a_thousand_messages_do() {
    let (mut rooms, [ann, ..]) = room();
    let message = || text(ChannelType::RELIABLE, r#"{"v":1,"data":0}"#);
    (0..10_000).for_each(|_| receive(&mut rooms, Time::ZERO, 1, message()));
    let passed = commands(&mut rooms).len();
    assert!((1_000..3_000).contains(&passed), "{passed}");
    assert!(refusals(&drain(&mut rooms, ann)).contains(&DataRefusal::RateLimited));
    let later = Time::ZERO + Duration::from_secs(10);
    receive(&mut rooms, later, 1, message());
    assert_eq!(commands(&mut rooms).len(), 1);
}
