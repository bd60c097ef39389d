//! A client of the JSON protocol: the polite peer, with its own idea of m-sections, tracks and slots. It panics when
//! the server breaks a promise of the document.

use std::collections::{BTreeMap, BTreeSet};

use sfu_core::unit::{Kind, ParticipantId, TrackId};
use signaling::message::{ClientOffer, ParticipantView, SlotView, Snapshot, Source, TrackHint};
use signaling::{ClientMessage, ServerMessage};

use super::sections;

#[derive(Clone, PartialEq, Debug)]
pub struct ModelSection {
    pub mid: String,
    pub kind: Kind,
    /// What the client wants to send here.
    pub sends: Option<Source>,
    /// The server offered it.
    pub is_slot: bool,
    pub rejected: bool,
}

#[derive(Debug)]
pub struct ModelClient {
    pub ufrag: String,
    pub fingerprint_byte: u8,
    /// Both sides know these.
    pub sections: Vec<ModelSection>,
    /// Wanted, in no agreed SDP yet.
    pub wanted: BTreeMap<String, Source>,
    /// The offer in flight and what it would make of `sections`.
    pub local_offer: Option<(u32, Vec<ModelSection>)>,
    pub needs_offer: bool,
    pub muted_new: bool,
    offer_next: u32,
    mid_next: u32,
    pub participants: BTreeMap<ParticipantId, BTreeSet<TrackId>>,
    pub slots: BTreeMap<String, Option<TrackId>>,
    pub published: BTreeMap<TrackId, Source>,
    pub resume: String,
    pub id: Option<ParticipantId>,
    pub closed: bool,
    pub resyncs: u32,
    pub rollbacks: u32,
}

impl ModelClient {
    pub fn new(number: u8) -> ModelClient {
        ModelClient {
            ufrag: format!("cl{number:02}"),
            fingerprint_byte: number,
            sections: Vec::new(),
            wanted: BTreeMap::new(),
            local_offer: None,
            needs_offer: false,
            muted_new: false,
            offer_next: 1,
            mid_next: 0,
            participants: BTreeMap::new(),
            slots: BTreeMap::new(),
            published: BTreeMap::new(),
            resume: String::new(),
            id: None,
            closed: false,
            resyncs: 0,
            rollbacks: 0,
        }
    }

    /// Begins to publish; the section comes with the next offer.
    pub fn publish(&mut self, source: Source) {
        self.needs_offer = true;
        let idle = |section: &&mut ModelSection| {
            !section.is_slot && !section.rejected && section.sends.is_none() && section.kind == source.kind()
        };
        if let Some(section) = self.sections.iter_mut().find(idle) {
            section.sends = Some(source);
            return;
        }
        let mid = self.mid_next.to_string();
        self.mid_next += 1;
        self.wanted.insert(mid, source);
    }

    pub fn unpublish(&mut self) {
        if let Some(section) = self.sections.iter_mut().find(|section| section.sends.is_some()) {
            section.sends = None;
            self.needs_offer = true;
        }
    }

    /// Sources that should be published once everything has settled.
    pub fn sources(&self) -> Vec<Source> {
        let mut sources: Vec<Source> = self.sections.iter().filter_map(|section| section.sends).collect();
        sources.extend(self.wanted.values());
        sources.sort();
        sources
    }

    /// The next offer, if one is needed and none is in flight.
    pub fn make_offer(&mut self) -> Option<ClientMessage> {
        if !self.needs_offer || self.local_offer.is_some() {
            return None;
        }
        self.needs_offer = false;
        let mut proposed = self.sections.clone();
        for (mid, source) in &self.wanted {
            proposed.push(ModelSection {
                mid: mid.clone(),
                kind: source.kind(),
                sends: Some(*source),
                is_slot: false,
                rejected: false,
            });
        }
        let id = self.offer_next;
        self.offer_next += 1;
        self.local_offer = Some((id, proposed));
        self.repeat_offer()
    }

    /// The offer in flight once more, after the connection was lost.
    pub fn repeat_offer(&self) -> Option<ClientMessage> {
        let (id, proposed) = self.local_offer.as_ref()?;
        let hints = proposed.iter().filter_map(|section| {
            let source = section.sends?;
            Some(TrackHint { mid: section.mid.clone(), source: Some(source), muted: self.muted_new })
        });
        let tracks = hints.collect();
        Some(ClientMessage::Offer(ClientOffer { id: *id, sdp: self.write(proposed, "actpass"), tracks }))
    }

    pub fn write(&self, sections: &[ModelSection], setup: &str) -> String {
        let mids: Vec<&str> =
            sections.iter().filter(|section| !section.rejected).map(|section| section.mid.as_str()).collect();
        let mut sdp = format!(
            "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n",
            mids.join(" ")
        );
        for section in sections {
            let port = if section.rejected { 0 } else { 9 };
            let direction = match (section.sends.is_some(), section.is_slot) {
                (true, true) => "sendrecv",
                (true, false) => "sendonly",
                (false, true) => "recvonly",
                (false, false) => "inactive",
            };
            let byte = format!("{:02X}", self.fingerprint_byte);
            let fingerprint = [byte.as_str(); 32].join(":");
            let (media, codecs) = match section.kind {
                Kind::Audio => ("audio", "111\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10"),
                Kind::Video => (
                    "video",
                    "96 97\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96",
                ),
            };
            let (formats, lines) = codecs.split_once("\r\n").unwrap();
            sdp += &format!(
                "m={media} {port} UDP/TLS/RTP/SAVPF {formats}\r\nc=IN IP4 0.0.0.0\r\n{lines}\r\na=mid:{}\r\n\
                 a=ice-ufrag:{}\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 {fingerprint}\r\n\
                 a=setup:{setup}\r\na=rtcp-mux\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na={direction}\r\n",
                section.mid, self.ufrag
            );
        }
        sdp
    }

    /// Takes one message; returns what the client says to it.
    pub fn receive(&mut self, message: ServerMessage) -> Option<ClientMessage> {
        assert!(!self.closed, "{message:?} after closed");
        match message {
            ServerMessage::Joined(snapshot) => self.take_snapshot(*snapshot),
            ServerMessage::Resync(snapshot) => {
                self.resyncs += 1;
                self.take_snapshot(*snapshot);
            }
            ServerMessage::Offer { id, sdp, slots } => return Some(self.receive_offer(id, &sdp, slots)),
            ServerMessage::Answer { id, sdp } => self.receive_answer(id, &sdp),
            ServerMessage::Published { tracks } => {
                self.published = tracks.into_iter().map(|track| (track.track, track.source)).collect();
            }
            ServerMessage::Slots { slots } => self.take_slots(slots),
            ServerMessage::ParticipantJoined { participant } => {
                assert!(!self.participants.contains_key(&participant.id), "joined twice");
                self.take_participant(&participant);
            }
            ServerMessage::ParticipantLeft { participant, .. } => {
                assert!(self.participants.remove(&participant).is_some(), "an unknown participant left");
            }
            ServerMessage::TrackPublished { participant, track } => {
                assert!(self.participants.get_mut(&participant).unwrap().insert(track.id), "published twice");
            }
            ServerMessage::TrackUnpublished { participant, track } => {
                assert!(self.participants.get_mut(&participant).unwrap().remove(&track), "was not published");
            }
            ServerMessage::TrackMuted { participant, track, .. } => {
                assert!(self.participants[&participant].contains(&track), "an unknown track is muted");
            }
            ServerMessage::ParticipantState { participant, .. } => {
                assert!(self.participants.contains_key(&participant), "state of an unknown participant");
            }
            ServerMessage::Closed { .. } => self.closed = true,
            ServerMessage::Error { code, message, .. } => panic!("{code:?}: {message}"),
            _ => {}
        }
        None
    }

    fn take_snapshot(&mut self, snapshot: Snapshot) {
        self.resume = snapshot.resume;
        self.id = Some(snapshot.participant);
        self.participants.clear();
        for participant in &snapshot.participants {
            self.take_participant(participant);
        }
        self.published = snapshot.published.into_iter().map(|track| (track.track, track.source)).collect();
        // A snapshot may name slots of an offer that follows it.
        self.slots = snapshot.slots.iter().map(|slot| (slot.mid.clone(), slot.track)).collect();
        self.check_tracks_known();
    }

    fn take_participant(&mut self, participant: &ParticipantView) {
        assert_ne!(Some(participant.id), self.id, "a participant is told of itself");
        self.participants.insert(participant.id, participant.tracks.iter().map(|track| track.id).collect());
    }

    fn take_slots(&mut self, slots: Vec<SlotView>) {
        for slot in &slots {
            let proposed = self.local_offer.iter().flat_map(|(_, proposed)| proposed);
            let known = self.sections.iter().chain(proposed).any(|section| section.mid == slot.mid);
            assert!(known, "slot {} comes before its section", slot.mid);
        }
        self.slots = slots.iter().map(|slot| (slot.mid.clone(), slot.track)).collect();
        assert_eq!(self.slots.len(), slots.len(), "a mid occurs twice");
        self.check_tracks_known();
    }

    /// A track is announced before a slot shows it.
    fn check_tracks_known(&self) {
        let known: BTreeSet<TrackId> = self.participants.values().flatten().copied().collect();
        for (mid, track) in &self.slots {
            assert!(track.is_none_or(|track| known.contains(&track)), "slot {mid} shows unknown {track:?}");
        }
    }

    fn receive_offer(&mut self, id: u32, sdp: &str, slots: Vec<SlotView>) -> ClientMessage {
        if self.local_offer.take().is_some() {
            // Glare: rolled back, to be offered again.
            self.rollbacks += 1;
            self.needs_offer = true;
        }
        let offered = sections(sdp);
        assert!(offered.len() >= self.sections.len(), "an offer drops sections");
        for (index, lines) in offered.iter().enumerate() {
            match self.sections.get_mut(index) {
                Some(known) if !known.rejected => {
                    assert_eq!(known.mid, lines.mid(), "an offer renames a section");
                    if known.is_slot {
                        assert!(lines.direction().starts_with("send"), "a slot stays sending");
                    }
                }
                known => {
                    let section = ModelSection {
                        mid: lines.mid().to_owned(),
                        kind: if lines.kind == "audio" { Kind::Audio } else { Kind::Video },
                        sends: None,
                        // Otherwise it is one of our own, whose answer got lost with the connection and which was
                        // rolled back since: like a browser, forget it and offer a section of a new mid.
                        is_slot: lines.direction().starts_with("send"),
                        rejected: lines.rejected,
                    };
                    match known {
                        Some(place) => *place = section,
                        None => self.sections.push(section),
                    }
                }
            }
        }
        let taken: Vec<String> = self.sections.iter().map(|section| section.mid.clone()).collect();
        for mid in taken {
            if let Some(source) = self.wanted.remove(&mid) {
                self.wanted.insert(self.mid_next.to_string(), source);
                self.mid_next += 1;
            }
        }
        self.take_slots(slots);
        ClientMessage::Answer { id, sdp: self.write(&self.sections, "active") }
    }

    fn receive_answer(&mut self, id: u32, sdp: &str) {
        let Some((offer_id, proposed)) = self.local_offer.take() else { return };
        if offer_id != id {
            self.local_offer = Some((offer_id, proposed));
            return;
        }
        let answered = sections(sdp);
        assert_eq!(answered.len(), proposed.len(), "an answer has as many sections as the offer");
        for (lines, section) in answered.iter().zip(&proposed) {
            assert_eq!(lines.mid(), section.mid);
            assert_eq!(lines.rejected, section.rejected);
            assert!(section.sends.is_none() || matches!(lines.direction(), "recvonly" | "sendrecv"));
        }
        for section in &proposed {
            self.wanted.remove(&section.mid);
        }
        // What was wished for since then stays wished for.
        let wishes: Vec<Option<Source>> = self.sections.iter().map(|section| section.sends).collect();
        self.sections = proposed;
        for (section, wish) in self.sections.iter_mut().zip(wishes) {
            section.sends = wish;
        }
    }
}
