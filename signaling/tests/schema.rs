//! The schema beside the protocol document, the document's examples, and the code say the same.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::{Value, json};
use signaling::message::{LayerPreference, Source};
use signaling::{ClientMessage, MessageError, parse_client_message};
use support::schema::Schema;

fn client_examples() -> Vec<Value> {
    vec![
        json!({"type": "join", "version": 1, "room": "standup", "identity": "ann@example", "name": "Ann"}),
        json!({"type": "join", "version": 1, "room": "standup", "resume": "token", "offer": {"id": 1, "sdp": "v=0"}}),
        json!({"type": "offer", "id": 1, "sdp": "v=0", "tracks": [{"mid": "0", "source": "camera", "muted": false}]}),
        json!({"type": "offer", "id": 1, "sdp": "v=0"}),
        json!({"type": "answer", "id": 1, "sdp": "v=0"}),
        json!({"type": "candidate", "candidate": "", "mid": "0"}),
        json!({"type": "candidate", "candidate": "candidate:1", "mid": null}),
        json!({"type": "subscribe", "track": "t7", "enabled": true}),
        json!({"type": "prefer", "track": "t7", "layer": "auto", "paused": false}),
        json!({"type": "mute", "track": "t3", "muted": true}),
        json!({"type": "data", "label": "chat", "data": {"text": "hi"}}),
        json!({"type": "data", "label": "chat", "to": ["p2"], "data": null}),
        json!({"type": "leave"}),
        json!({"type": "ping", "unknown field": 1}),
    ]
}

#[test]
fn examples_match_schema_and_code() {
    let schema = Schema::load();
    for example in client_examples() {
        schema.check("client_message", &example).unwrap();
        parse_client_message(&example.to_string()).unwrap();
    }
}

#[test]
fn what_the_schema_refuses_the_code_refuses() {
    let schema = Schema::load();
    for bad in [
        json!({"type": "dance"}),
        json!({"version": 1}),
        json!([]),
        json!({"type": "answer", "sdp": "v=0"}),
        json!({"type": "answer", "id": -1, "sdp": "v=0"}),
        json!({"type": "offer", "id": 1, "sdp": "v=0", "tracks": [{"mid": "0", "source": "window"}]}),
        json!({"type": "subscribe", "track": "p7", "enabled": true}),
        json!({"type": "subscribe", "track": "t", "enabled": true}),
        json!({"type": "prefer", "track": "t7", "layer": "best"}),
        json!({"type": "mute", "track": "t3", "muted": "yes"}),
        json!({"type": "data", "label": "chat"}),
        json!({"type": "data", "label": "chat", "to": ["t2"], "data": 0}),
        json!({"type": "data", "label": "l".repeat(65), "data": 0}),
    ] {
        assert!(schema.check("client_message", &bad).is_err(), "{bad}");
        assert!(parse_client_message(&bad.to_string()).is_err(), "{bad}");
    }
}

#[test]
fn duplicate_keys_have_no_meaning() {
    for text in [
        r#"{"type":"mute","type":"leave","track":"t1","muted":true}"#,
        r#"{"type":"mute","track":"t1","track":"t2","muted":true}"#,
        r#"{"type":"ping","x":1,"x":1}"#,
        r#"{"type":"offer","id":1,"sdp":"","tracks":[{"mid":"0","mid":"1"}]}"#,
    ] {
        let error = parse_client_message(text).unwrap_err();
        assert!(error.to_string().contains("occurs twice"), "{error}");
    }
}

#[test]
fn oversized_messages_are_refused() {
    let big = format!(r#"{{"type":"ping","x":"{}"}}"#, "y".repeat(1_100_000));
    assert!(matches!(parse_client_message(&big), Err(MessageError::TooLong { .. })));
    let long = json!({"type": "candidate", "candidate": "c".repeat(2_000)}).to_string();
    assert!(matches!(parse_client_message(&long), Err(MessageError::FieldTooLong { .. })));
    let hints: Vec<Value> = (0..65).map(|mid| json!({"mid": mid.to_string()})).collect();
    let many = json!({"type": "offer", "id": 1, "sdp": "", "tracks": hints}).to_string();
    assert!(matches!(parse_client_message(&many), Err(MessageError::TooMany { .. })));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(parse_client_message(&deep).is_err());
}

#[test]
fn defaults_are_as_documented() {
    let prefer = parse_client_message(r#"{"type":"prefer","track":"t7"}"#).unwrap();
    assert!(matches!(prefer, ClientMessage::Prefer { layer: LayerPreference::Auto, paused: false, .. }));
    let offer = r#"{"type":"offer","id":1,"sdp":"","tracks":[{"mid":"0","source":"screen_audio"}]}"#;
    let ClientMessage::Offer(offer) = parse_client_message(offer).unwrap() else { panic!() };
    assert_eq!((offer.tracks[0].source, offer.tracks[0].muted), (Some(Source::ScreenAudio), false));
}

/// Every message in the document's code blocks and tables that is complete JSON; those with `…` are sketches.
#[test]
fn the_documents_own_examples_match_the_schema() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/signaling-protocol.md");
    let text = std::fs::read_to_string(path).unwrap().replace("\\|", "|");
    let schema = Schema::load();
    let mut checked = 0;
    for piece in text.split('`') {
        let Ok(value) = serde_json::from_str::<Value>(piece.trim().trim_start_matches("json\n")) else {
            continue;
        };
        if value.get("type").is_some() && !piece.contains("code\":\"…") {
            let fits = schema.check("client_message", &value).is_ok()
                || schema.check("server_message", &value).is_ok();
            assert!(fits, "{value}");
            checked += 1;
        }
    }
    assert!(checked > 10, "only {checked} examples found");
}
