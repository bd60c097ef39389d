//! Encoders and players as the rooms see them: who hears of whom, whom a player follows, and how a session ends.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use sfu_core::command::{Command, LayerRequest};
use sfu_core::event::Event;
use sfu_core::unit::{ParticipantId, RoomId, Time, TrackId, TransportId, WorkerId};
use signaling::resource::UNCONNECTED_MAX;
use signaling::viewer::LayerSelection;
use signaling::{
    Created, Follow, JoinError, Protocol, PublishRequest, ResourceError, ResourcePath, Rooms, ViewRequest,
    Viewed,
};
use support::{drain, join, rooms, types};

const OFFER: &str = include_str!("fixtures/chromium_sendrecv.sdp");

/// The first two sections of a browser's offer, in this direction.
fn offer(direction: &str) -> String {
    OFFER.replace("a=sendrecv", &format!("a={direction}"))
}

fn publish(rooms: &mut Rooms, now: Time, identity: &str) -> Created {
    let request = PublishRequest {
        room: "room".into(),
        identity: Some(identity.into()),
        sdp: offer("sendonly"),
        ..PublishRequest::default()
    };
    rooms.publish(now, &request).unwrap()
}

fn view(rooms: &mut Rooms, now: Time, follow: Follow) -> Result<Created, ResourceError> {
    let request = ViewRequest { room: "room".into(), follow, offer: Some(offer("recvonly")) };
    rooms.view(now, &request).map(|viewed| match viewed {
        Viewed::Answered(created) => created,
        other => panic!("{other:?}"),
    })
}

fn path(protocol: Protocol, created: &Created) -> ResourcePath {
    ResourcePath { protocol, room: "room".into(), id: created.id.clone() }
}

fn commands(rooms: &mut Rooms) -> Vec<Command> {
    std::iter::from_fn(|| rooms.poll_command()).map(|(_, command)| command).collect()
}

/// The transport that was opened last, after its media path stands.
fn connect(rooms: &mut Rooms) -> TransportId {
    let mut opened = commands(rooms).into_iter().filter_map(|command| match command {
        Command::OpenTransport(open) => Some(open.id),
        _ => None,
    });
    let transport = opened.next_back().unwrap();
    rooms.core_event(Time::ZERO, WorkerId(0), Event::TransportConnected { transport });
    transport
}

/// Which tracks the slots of a transport were pointed at, in order.
fn sources(commands: &[Command], of: TransportId) -> Vec<Option<TrackId>> {
    let source = |command: &Command| match command {
        Command::SetSlotSource { transport, source, .. } if *transport == of => Some(*source),
        _ => None,
    };
    commands.iter().filter_map(source).collect()
}

#[test]
fn an_encoder_is_seen_and_its_successor_takes_its_place() {
    let mut rooms = rooms();
    let watcher = join(&mut rooms, "watcher");
    let first = publish(&mut rooms, Time::ZERO, "cam");
    assert_eq!(
        types(&drain(&mut rooms, watcher)),
        ["joined", "participant_joined", "track_published", "track_published", "offer"]
    );
    publish(&mut rooms, Time::ZERO, "cam");
    let told = types(&drain(&mut rooms, watcher));
    assert_eq!(told.iter().filter(|kind| *kind == "participant_left").count(), 1, "{told:?}");
    assert_eq!(rooms.stats().participants, 2);
    assert!(!rooms.has_resource(&path(Protocol::Whip, &first)));
}

#[test]
fn nobody_hears_of_players_however_many_come_and_go() {
    let mut rooms = rooms();
    let watcher = join(&mut rooms, "watcher");
    publish(&mut rooms, Time::ZERO, "cam");
    connect(&mut rooms);
    drain(&mut rooms, watcher);
    let viewers: Vec<Created> =
        (0..200).map(|_| view(&mut rooms, Time::ZERO, Follow::Speaker).unwrap()).collect();
    assert_eq!(rooms.stats().resources, 201);
    for viewer in &viewers {
        rooms.delete(Time::ZERO, &path(Protocol::Whep, viewer)).unwrap();
    }
    assert_eq!(types(&drain(&mut rooms, watcher)), Vec::<String>::new());
    assert_eq!(rooms.stats().resources, 1);
}

#[test]
fn a_player_follows_its_publisher_through_the_same_slots() {
    let mut rooms = rooms();
    publish(&mut rooms, Time::ZERO, "cam");
    connect(&mut rooms);
    view(&mut rooms, Time::ZERO, Follow::Identity("cam".into())).unwrap();
    let opened = commands(&mut rooms);
    let viewer = opened
        .iter()
        .find_map(|command| match command {
            Command::OpenTransport(open) => Some(open.id),
            _ => None,
        })
        .unwrap();
    assert_eq!(sources(&opened, viewer).iter().flatten().count(), 2);

    publish(&mut rooms, Time::ZERO, "cam");
    let changed = commands(&mut rooms);
    let sources = sources(&changed, viewer);
    assert_eq!(sources.iter().filter(|source| source.is_none()).count(), 2, "{sources:?}");
    assert_eq!(sources.iter().flatten().count(), 2, "{sources:?}");
    assert!(
        !changed
            .iter()
            .any(|command| matches!(command, Command::SetSlot { transport, .. } if *transport == viewer))
    );
}

#[test]
fn players_of_a_room_see_who_speaks_and_stay_with_whoever_spoke_last() {
    let mut rooms = rooms();
    for identity in ["ann", "bob"] {
        publish(&mut rooms, Time::ZERO, identity);
        connect(&mut rooms);
    }
    view(&mut rooms, Time::ZERO, Follow::Speaker).unwrap();
    let viewer = connect(&mut rooms);
    let speak = |rooms: &mut Rooms, speakers: &[u64]| {
        let speakers = speakers.iter().map(|id| ParticipantId(*id)).collect();
        rooms.core_event(Time::ZERO, WorkerId(0), Event::Speakers { room: RoomId(1), speakers });
        sources(&commands(rooms), viewer).into_iter().flatten().count()
    };
    assert_eq!(speak(&mut rooms, &[1]), 0, "the first publisher is shown anyway");
    assert_eq!(speak(&mut rooms, &[2, 1]), 0, "who still speaks stays");
    assert_eq!(speak(&mut rooms, &[2]), 2);
    assert_eq!(speak(&mut rooms, &[]), 0);
}

#[test]
fn a_chosen_layer_holds_for_the_publisher_s_successor() {
    let mut rooms = rooms();
    publish(&mut rooms, Time::ZERO, "cam");
    connect(&mut rooms);
    let viewer = view(&mut rooms, Time::ZERO, Follow::Speaker).unwrap();
    commands(&mut rooms);
    let selection = LayerSelection { spatial: Some(0), ..LayerSelection::default() };
    rooms.select_layer(Time::ZERO, &path(Protocol::Whep, &viewer), &selection).unwrap();
    let layers = |rooms: &mut Rooms| {
        let layer = |command: &Command| match command {
            Command::SetSlotLayer { layer, .. } => Some(*layer),
            _ => None,
        };
        commands(rooms).iter().filter_map(layer).collect::<Vec<LayerRequest>>()
    };
    let lowest = LayerRequest::AtMost(sfu_core::unit::LayerId(0));
    assert!(layers(&mut rooms).contains(&lowest));
    publish(&mut rooms, Time::ZERO, "cam");
    connect(&mut rooms);
    assert!(!layers(&mut rooms).contains(&LayerRequest::Highest));
    let unknown = LayerSelection { rid: Some("x".into()), ..LayerSelection::default() };
    let refused = rooms.select_layer(Time::ZERO, &path(Protocol::Whep, &viewer), &unknown);
    assert!(matches!(refused, Err(ResourceError::Unprocessable(_))), "{refused:?}");
}

#[test]
fn a_session_that_never_gets_ice_ends_after_half_a_minute() {
    let mut rooms = rooms();
    let encoder = publish(&mut rooms, Time::ZERO, "cam");
    rooms.handle_timeout(Time::ZERO + Duration::from_secs(29));
    assert!(rooms.has_resource(&path(Protocol::Whip, &encoder)));
    rooms.handle_timeout(Time::ZERO + Duration::from_secs(30));
    assert!(!rooms.has_resource(&path(Protocol::Whip, &encoder)));
    assert_eq!(rooms.stats().participants, 0);
}

#[test]
fn a_session_ends_with_its_transport_and_with_the_server() {
    let mut rooms = rooms();
    let first = publish(&mut rooms, Time::ZERO, "cam");
    let transport = connect(&mut rooms);
    let reason = sfu_core::event::CloseReason::ConsentExpired;
    rooms.core_event(Time::ZERO, WorkerId(0), Event::TransportClosed { transport, reason });
    assert!(!rooms.has_resource(&path(Protocol::Whip, &first)));
    publish(&mut rooms, Time::ZERO, "cam");
    rooms.shutdown(Time::ZERO);
    assert_eq!(rooms.stats().resources, 0);
}

#[test]
fn limits_refuse_encoders_players_and_floods() {
    let mut config = support::config();
    (config.max_participants, config.max_viewers) = (1, 1);
    let mut small = Rooms::new(config, [1; 32]);
    publish(&mut small, Time::ZERO, "cam");
    connect(&mut small);
    let another = PublishRequest { room: "room".into(), sdp: offer("sendonly"), ..PublishRequest::default() };
    assert_eq!(small.publish(Time::ZERO, &another), Err(JoinError::RoomFull.into()));
    view(&mut small, Time::ZERO, Follow::Speaker).unwrap();
    assert_eq!(view(&mut small, Time::ZERO, Follow::Speaker), Err(JoinError::RoomFull.into()));

    let mut config = support::config();
    config.max_participants = 2 * UNCONNECTED_MAX;
    let mut flooded = Rooms::new(config, [1; 32]);
    for _ in 0..UNCONNECTED_MAX {
        flooded.publish(Time::ZERO, &another).unwrap();
    }
    assert_eq!(flooded.publish(Time::ZERO, &another), Err(ResourceError::TooManyConnecting));
}
