//! A model of the world around `signaling`: clients that follow the protocol document, and a worker that checks the
//! commands it gets. Both read SDP by scanning lines, so that they share no mistake with the crate.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

pub mod client;
pub mod schema;
pub mod worker;

use sfu_core::transport::handshake::{Fingerprint, FingerprintAlgorithm};
use sfu_core::unit::{Time, WorkerId};
use signaling::message::ClientOffer;
use signaling::{JoinRequest, NodeId, Rooms, RoomsConfig, ServerMessage, SessionId, WorkerInfo};

pub fn config() -> RoomsConfig {
    let workers = (0..2).map(|id| WorkerInfo {
        id: WorkerId(id),
        candidates: vec![
            format!("192.0.2.1:{}", 7882 + id).parse().unwrap(),
            format!("[2001:db8::1]:{}", 7882 + id).parse().unwrap(),
        ],
    });
    let fingerprint = Fingerprint { algorithm: FingerprintAlgorithm::Sha256, digest: vec![0xab; 32] };
    RoomsConfig::new(workers.collect(), NodeId::new("n0de").unwrap(), fingerprint)
}

pub fn rooms() -> Rooms {
    Rooms::new(config(), [42; 32])
}

pub fn join_request(room: &str, identity: &str) -> JoinRequest {
    JoinRequest {
        version: 1,
        room: room.to_owned(),
        identity: Some(identity.to_owned()),
        ..JoinRequest::default()
    }
}

pub fn join(rooms: &mut Rooms, identity: &str) -> SessionId {
    rooms.join(Time::ZERO, join_request("room", identity)).unwrap()
}

pub fn offer(id: u32, sdp: impl Into<String>) -> ClientOffer {
    ClientOffer { id, sdp: sdp.into(), tracks: Vec::new() }
}

/// Everything queued for a session.
pub fn drain(rooms: &mut Rooms, session: SessionId) -> Vec<ServerMessage> {
    std::iter::from_fn(|| rooms.poll_message(session)).collect()
}

/// The `type`s of messages, in order.
pub fn types(messages: &[ServerMessage]) -> Vec<String> {
    let kind = |message: &ServerMessage| {
        let value: serde_json::Value = serde_json::from_str(&message.to_json()).unwrap();
        value["type"].as_str().unwrap().to_owned()
    };
    messages.iter().map(kind).collect()
}

/// One m-section as a line scan sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct SectionLines {
    pub kind: String,
    pub rejected: bool,
    pub formats: Vec<String>,
    /// Without `a=`.
    pub attributes: Vec<String>,
}

impl SectionLines {
    pub fn value(&self, key: &str) -> Option<&str> {
        self.attributes.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
    }

    pub fn has(&self, line: &str) -> bool {
        self.attributes.iter().any(|attribute| attribute == line)
    }

    pub fn mid(&self) -> &str {
        self.value("mid").unwrap_or_default()
    }

    pub fn direction(&self) -> &str {
        let directions = ["sendrecv", "sendonly", "recvonly", "inactive"];
        directions.into_iter().find(|direction| self.has(direction)).unwrap_or("sendrecv")
    }
}

pub fn sections(sdp: &str) -> Vec<SectionLines> {
    let mut sections: Vec<SectionLines> = Vec::new();
    for line in sdp.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            let words: Vec<&str> = media.split(' ').collect();
            sections.push(SectionLines {
                kind: words[0].to_owned(),
                rejected: words[1] == "0",
                formats: words[3..].iter().map(|word| (*word).to_owned()).collect(),
                attributes: Vec::new(),
            });
        } else if let (Some(attribute), Some(section)) = (line.strip_prefix("a="), sections.last_mut()) {
            section.attributes.push(attribute.to_owned());
        }
    }
    sections
}

pub fn answer_in(messages: &[ServerMessage]) -> String {
    let answer = messages.iter().find_map(|message| match message {
        ServerMessage::Answer { sdp, .. } => Some(sdp.clone()),
        _ => None,
    });
    answer.unwrap_or_else(|| panic!("no answer in {messages:?}"))
}

pub fn offer_in(messages: &[ServerMessage]) -> (u32, String) {
    let offer = messages.iter().rev().find_map(|message| match message {
        ServerMessage::Offer { id, sdp, .. } => Some((*id, sdp.clone())),
        _ => None,
    });
    offer.unwrap_or_else(|| panic!("no offer in {messages:?}"))
}
