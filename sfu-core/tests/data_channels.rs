//! Data channels through the whole engine, against another SCTP stack, on a virtual path.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod data;
mod engine;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use rtc_datachannel::message::message_channel_open::ChannelType as Wire;
use rtc_sctp::PayloadProtocolIdentifier as Ppid;
use sfu_core::DropReason;
use sfu_core::command::{Command, DataMessage, IceCredentials};
use sfu_core::event::{DataCloseReason, Event};
use sfu_core::transport::handshake::DtlsRole;
use sfu_core::unit::{ChannelType, MessageKind, Reliability};

use data::{Got, Opened, TRANSPORT, World, text};

const LOSSY: ChannelType = ChannelType { ordered: false, reliability: Reliability::MaxRetransmits(1) };

#[test]
fn a_message_crosses_with_label_kind_and_type() {
    let mut world = World::connected(1);
    world.open(2, Some("chat"), Wire::PartialReliableTimedUnordered, 300);
    world.say(2, Ppid::String, "grüß dich".as_bytes());
    world.say(2, Ppid::Binary, &[0, 255]);
    world.say(2, Ppid::StringEmpty, &[0]);
    world.until("three messages", |world| world.received().len() == 3);
    let channel_type = ChannelType { ordered: false, reliability: Reliability::MaxLifetime { ms: 300 } };
    let message = |kind, payload: &[u8]| DataMessage {
        label: "chat".into(),
        channel_type,
        kind,
        payload: Bytes::copy_from_slice(payload),
    };
    let expected = [
        message(MessageKind::Text, "grüß dich".as_bytes()),
        message(MessageKind::Binary, &[0, 255]),
        message(MessageKind::Text, b""),
    ];
    assert_eq!(world.received(), expected.iter().collect::<Vec<_>>());
    world.until("its ACK", |world| world.peer.acked == [2]);
    // And back, on the same channel.
    world.send(DataMessage { channel_type, ..text("chat", "") });
    world.until("an answer", |world| !world.peer.got.is_empty());
    assert_eq!(world.peer.got, [Got { stream: 2, text: true, payload: vec![] }]);
    assert!(world.peer.opened.is_empty());
}

#[test]
fn a_channel_that_is_missing_is_opened_with_the_wanted_type() {
    let mut world = World::connected(2);
    world.send(DataMessage { channel_type: LOSSY, ..text("cursor", "1,2") });
    world.send(text("chat", "hello"));
    world.until("both", |world| world.peer.got.len() == 2);
    // A server of DTLS takes odd streams (RFC 8832 §6).
    let cursor = Opened {
        stream: 1,
        channel_type: Wire::PartialReliableRexmitUnordered,
        parameter: 1,
        label: "cursor".into(),
    };
    let chat = Opened { stream: 3, channel_type: Wire::Reliable, parameter: 0, label: "chat".into() };
    assert_eq!(world.peer.opened, [cursor, chat]);
    world.say(1, Ppid::Binary, b"back");
    world.until("an answer", |world| world.received().len() == 1);
    assert_eq!(world.received()[0].label, "cursor");
    assert_eq!(world.received()[0].channel_type, LOSSY);
}

/// Who is the client of DTLS begins, and takes even streams.
#[test]
fn as_client_of_dtls_the_engine_connects() {
    let mut world = World::new(3, DtlsRole::Client);
    world.until("the association stands", |world| world.peer.connected);
    world.until("the engine knows", |world| !world.events.is_empty());
    world.run(Duration::from_millis(200));
    world.send(text("chat", "hello"));
    world.until("the message", |world| world.peer.got.len() == 1);
    assert_eq!(world.peer.opened[0].stream, 0);
}

#[test]
fn reliable_messages_arrive_in_order_through_ten_percent_loss() {
    for seed in 10..14 {
        let mut world = World::connected(seed);
        world.loss = 10;
        world.open(2, Some("up"), Wire::Reliable, 0);
        let long = |index: usize| format!("{index}:{}", "x".repeat(index * 37 % 3_000));
        for index in 0..300 {
            world.say(2, Ppid::String, long(index).as_bytes());
        }
        for index in 0..300 {
            world.send(text("down", long(index)));
            world.run(Duration::from_millis(10));
        }
        world.until("all of them", |world| world.received().len() == 300 && world.peer.got.len() == 300);
        for index in 0..300 {
            assert_eq!(world.received()[index].payload, long(index).as_bytes(), "seed {seed}");
            assert_eq!(world.peer.got[index].payload, long(index).as_bytes(), "seed {seed}");
        }
        assert_eq!(world.sfu.counters().dropped(DropReason::DataReceiverSlow), 0);
    }
}

/// An unreliable channel doesn't wait: what is lost stays lost, and what follows isn't held up by it.
#[test]
fn unreliable_messages_are_given_up_and_hold_nothing_up() {
    let mut world = World::connected(20);
    world.open(2, Some("up"), Wire::PartialReliableRexmitUnordered, 0);
    world.until("it is open", |world| world.peer.acked == [2]);
    world.send(DataMessage {
        channel_type: ChannelType { ordered: false, reliability: Reliability::MaxRetransmits(0) },
        ..text("down", "first")
    });
    world.run(Duration::from_secs(1));
    world.loss = 20;
    for index in 0..500u32 {
        world.say(2, Ppid::String, format!("up {index}").as_bytes());
        world.send(text("down", format!("down {index}")));
        world.run(Duration::from_millis(10));
    }
    world.loss = 0;
    world.run(Duration::from_secs(3));
    let (up, down) = (world.received().len(), world.peer.got.len());
    assert!((300..490).contains(&up), "{up}");
    assert!((300..490).contains(&down), "{down}");
    // Nothing came twice.
    let distinct: BTreeSet<_> = world.peer.got.iter().map(|got| got.payload.clone()).collect();
    assert_eq!(distinct.len(), down);
    // And the association is not stuck on what was given up.
    world.send(text("fresh", "still there"));
    world.until("a reliable message", |world| world.peer.got.last().unwrap().payload == b"still there");
}

#[test]
fn a_channel_agreed_on_otherwise_has_no_label() {
    let mut world = World::connected(21);
    world.open(7, None, Wire::Reliable, 0);
    world.say(7, Ppid::Binary, b"no OPEN");
    world.until("the message", |world| world.received().len() == 1);
    assert_eq!(world.received()[0].label, "");
    world.send(text("", "to the same"));
    world.until("the answer", |world| world.peer.got.len() == 1);
    assert_eq!(world.peer.got[0].stream, 7);
    assert!(world.peer.opened.is_empty());
}

#[test]
fn the_longest_message_passes_and_a_longer_one_costs_the_association() {
    let mut world = World::connected(22);
    world.open(2, Some("big"), Wire::Reliable, 0);
    world.say(2, Ppid::Binary, &vec![7; 65_536]);
    world.until("it", |world| world.received().len() == 1);
    assert_eq!(world.received()[0].payload.len(), 65_536);
    world.send(DataMessage { payload: vec![8; 65_536].into(), ..text("big", "") });
    world.until("its answer", |world| world.peer.got.len() == 1);
    world.send(DataMessage { payload: vec![8; 65_537].into(), ..text("big", "") });
    assert_eq!(world.sfu.counters().dropped(DropReason::DataTooLong), 1);
    world.say(2, Ppid::Binary, &vec![7; 65_537]);
    let reason = DataCloseReason::Lost;
    world
        .until("the end", |world| world.events.contains(&Event::DataClosed { transport: TRANSPORT, reason }));
    world.send(text("big", "too late"));
    world.run(Duration::from_secs(1));
    assert!(world.sfu.counters().dropped(DropReason::DataUnsendable) > 0);
    assert_eq!(world.received().len(), 1);
}

#[test]
fn a_slow_receiver_loses_its_reliable_channel_and_nothing_grows() {
    let mut world = World::connected(23);
    world.send(text("chat", "open"));
    world.until("it is open", |world| world.peer.got.len() == 1);
    world.peer.is_deaf = true;
    for _ in 0..400 {
        world.send(text("chat", "y".repeat(10_000)));
        world.run(Duration::from_millis(5));
    }
    assert!(world.sfu.counters().dropped(DropReason::DataReceiverSlow) > 100);
    world.peer.is_deaf = false;
    world.until("the channel is closed", |world| !world.peer.closed.is_empty());
    // It is opened anew once the peer has read what waited.
    assert_eq!(world.peer.opened.len(), 1, "no channel is opened to be closed at once");
    world.until("a message gets through again", |world| {
        world.send(text("chat", "again"));
        world.run(Duration::from_millis(100));
        world.peer.got.last().unwrap().payload == b"again"
    });
}

#[test]
fn small_messages_for_a_slow_receiver_are_bounded_by_their_number() {
    let mut world = World::connected(24);
    world.send(text("chat", "open"));
    world.until("it is open", |world| world.peer.got.len() == 1);
    world.loss = 100;
    for _ in 0..2_500 {
        world.send(text("chat", "z"));
    }
    world.run(Duration::from_secs(1));
    let refused = world.sfu.counters().dropped(DropReason::DataReceiverSlow);
    assert!(refused > 400, "{refused}");
}

#[test]
fn channels_are_bounded_and_closed_ones_make_room() {
    let mut world = World::connected(25);
    for stream in 0..40 {
        world.open(2 * stream, Some("many"), Wire::Reliable, 0);
    }
    world.run(Duration::from_secs(2));
    assert_eq!(world.peer.acked.len(), 32);
    assert_eq!(world.sfu.counters().dropped(DropReason::DataTooManyChannels), 8);
    assert_eq!(world.peer.closed.len(), 8);
    world.send(text("one more", "x"));
    assert_eq!(world.sfu.counters().dropped(DropReason::DataTooManyChannels), 9);
    for stream in 0..32 {
        world.hang_up(2 * stream);
    }
    world.run(Duration::from_secs(3));
    world.send(text("one more", "x"));
    world.until("it gets through", |world| world.peer.got.len() == 1);
}

/// The same number is used again and again, as a page does that opens and closes a channel.
#[test]
fn a_stream_can_be_used_again_after_its_channel_is_closed() {
    let mut world = World::connected(26);
    for round in 0..100u32 {
        world.open(2, Some("again"), Wire::Reliable, 0);
        world.say(2, Ppid::String, round.to_string().as_bytes());
        world.until("its message", |world| world.received().len() == round as usize + 1);
        // This peer can't close a channel whose ACK it hasn't read.
        world.until("its ACK", |world| world.peer.acked.len() == round as usize + 1);
        world.hang_up(2);
        world.until("it is closed", |world| world.peer.closed.len() == round as usize + 1);
        world.run(Duration::from_millis(300));
    }
    assert_eq!(world.sfu.counters().dropped(DropReason::SctpRefused), 0);
}

#[test]
fn nonsense_on_a_channel_is_counted_and_changes_nothing_else() {
    let mut world = World::connected(27);
    world.open(2, Some("fine"), Wire::Reliable, 0);
    world.open(4, Some("rude"), Wire::Reliable, 0);
    world.run(Duration::from_millis(200));
    world.say(4, Ppid::String, &[0xff, 0xfe]);
    world.say(4, Ppid::Unknown, b"what");
    world.run(Duration::from_millis(200));
    assert_eq!(world.sfu.counters().dropped(DropReason::DataMalformed), 2);
    world.say(4, Ppid::Dcep, &[9, 9, 9]);
    world.until("the rude one is closed", |world| world.peer.closed == [4]);
    world.say(2, Ppid::String, b"unharmed");
    world.until("the other goes on", |world| world.received().len() == 1);
}

/// The path changes under the association: what was on its way is sent again on the new one.
#[test]
fn an_ice_restart_is_survived() {
    let mut world = World::connected(28);
    world.open(2, Some("chat"), Wire::Reliable, 0);
    world.say(2, Ppid::String, b"before");
    world.until("the first", |world| world.received().len() == 1);
    world.loss = 100;
    world.say(2, Ppid::String, b"during");
    world.send(text("chat", "during"));
    world.run(Duration::from_secs(3));
    let local = IceCredentials { ufrag: "L00000002".into(), pwd: engine::PWD.into() };
    world.sfu.command(world.now, Command::RestartIce { transport: TRANSPORT, local });
    engine::describe_as(&mut world.sfu, world.now, 1, 2, DtlsRole::Server);
    (world.path, world.name) = (engine::path(2), 2);
    world.check();
    world.loss = 0;
    world.until("both get through", |world| world.received().len() == 2 && world.peer.got.len() == 1);
}

#[test]
fn without_an_application_section_there_is_no_sctp() {
    let mut sfu = engine::engine();
    engine::connect(&mut sfu, Default::default(), 1);
    let mut datagram = [&engine::RECORD_HEADER[..], &[0; 32]].concat();
    sfu.receive(Default::default(), engine::path(1), &mut datagram);
    assert_eq!(sfu.counters().dropped(DropReason::SctpUnexpected), 1);
    sfu.command(Default::default(), Command::SendData { to: vec![TRANSPORT], message: text("chat", "x") });
    assert_eq!(sfu.counters().dropped(DropReason::DataUnsendable), 1);
}
