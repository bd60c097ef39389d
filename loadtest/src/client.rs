//! A sans-I/O WebRTC client for one participant: signals, datagrams and time go in, signals, datagrams and the
//! next timeout come out. It joins a room, publishes a synthetic tone and pattern if it is to, receives what
//! the others publish, and judges what it gets.
//!
//! After every call, [`Client::poll_transmit`] and [`Client::poll_signal`] are drained, and
//! [`Client::handle_timeout`] is called when [`Client::next_timeout`] has come. No clock is read.

pub mod audio;
pub mod crypto;
pub mod dtls;
pub mod feedback;
pub mod h264;
pub mod http;
pub mod ice;
pub mod media;
pub mod nack;
pub mod negotiation;
pub mod publish;
pub mod receive;
pub mod red;
pub mod sdp;
pub mod send;
pub mod seq;
pub mod signal;
pub mod slots;
pub mod srtp;
pub mod transport;
pub mod twcc;
pub mod video;
pub mod vp8;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rtp::packet::Packet;

use self::crypto::Crypto;
use self::dtls::{InjectedKeys, KeySource, RealDtls};
use self::feedback::FeedbackStats;
use self::ice::{Ice, IceCounters, IceCredentials};
use self::negotiation::Negotiation;
use self::publish::{PublishStats, Track, TrackConfig};
use self::receive::{ReceiveStream, StreamStats};
use self::sdp::{Accepts, RemoteDescription, Section};
use self::signal::{ClientSignal, Kind, Layer, Offer, OfferedTrack, ServerSignal, Snapshot, Source};
use self::slots::Slots;
use self::transport::{Received, Transport, TransportCounters};
use self::twcc::TwccRecorder;
use crate::net::Time;

/// Version of the signalling protocol that is spoken.
const PROTOCOL_VERSION: u32 = 1;

/// Between two periodic reports (RFC 3550 §6.2 would allow fewer).
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Assumed until ICE has measured one.
const RTT_DEFAULT: Duration = Duration::from_millis(100);

/// Received streams; a server has no reason to declare more.
const STREAMS_MAX: usize = 2_048;

/// Where SRTP keys come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum KeyMode {
    /// A real handshake.
    #[default]
    Dtls,
    /// The simulated exchange of [`dtls`]; the server must speak it, too.
    Injected,
}

/// What a client is to do.
#[derive(Clone, PartialEq, Debug)]
pub struct ClientConfig {
    pub room: String,
    /// The server makes one up if there is none.
    pub identity: Option<String>,
    pub name: String,
    pub publish_audio: bool,
    pub publish_video: bool,
    pub track: TrackConfig,
    pub keys: KeyMode,
    /// Whether the join carries the first offer, which saves a round trip.
    pub offer_with_join: bool,
    /// Whether the offer has sections to receive one audio and one video through, as a player's has.
    pub offer_to_receive: bool,
    /// What it can receive, and whether it reports arrivals.
    pub accepts: Accepts,
    /// Between two of its reports; browsers take 50–100 ms.
    pub transport_cc_interval: Duration,
    /// Whether lost packets are asked for.
    pub nack: bool,
    /// Between two consent checks (RFC 7675 §5.1 asks for 5 s or less).
    pub consent_interval: Duration,
}

impl ClientConfig {
    /// A client that only receives.
    pub fn subscriber(room: &str, name: &str) -> ClientConfig {
        ClientConfig {
            room: room.into(),
            identity: None,
            name: name.into(),
            publish_audio: false,
            publish_video: false,
            track: TrackConfig::default(),
            keys: KeyMode::Dtls,
            offer_with_join: true,
            offer_to_receive: false,
            accepts: Accepts::default(),
            transport_cc_interval: Duration::from_millis(100),
            nack: true,
            consent_interval: Duration::from_millis(2_500),
        }
    }

    /// A client that also sends audio and video.
    pub fn publisher(room: &str, name: &str) -> ClientConfig {
        ClientConfig { publish_audio: true, publish_video: true, ..ClientConfig::subscriber(room, name) }
    }

    /// A client that offers to receive, and sends nothing.
    pub fn player(room: &str, name: &str) -> ClientConfig {
        ClientConfig { offer_to_receive: true, ..ClientConfig::subscriber(room, name) }
    }
}

/// How far a client has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientState {
    Joining,
    Joined,
    /// ICE and DTLS are up.
    Connected,
    /// The server has ended the session, or refused it: its reason.
    Closed(String),
    /// The transport has failed.
    Failed(String),
}

/// Everything that a client has counted.
#[derive(Clone, PartialEq, Debug)]
pub struct ClientStats {
    pub state: ClientState,
    pub participant: String,
    pub started: Time,
    pub joined: Option<Time>,
    pub ice_connected: Option<Time>,
    pub connected: Option<Time>,
    pub ice: IceCounters,
    pub rtt: Option<Duration>,
    pub transport: TransportCounters,
    pub feedback: FeedbackStats,
    pub published: Vec<PublishStats>,
    pub streams: Vec<StreamStats>,
    /// RTP whose SSRC no section declares.
    pub unknown_ssrc: u64,
    /// Errors that the server sent, and descriptions of it that can't be used.
    pub errors: Vec<String>,
    pub resyncs: u64,
    /// Sections of the session, both directions.
    pub sections: usize,
}

/// Errors that are kept.
const ERRORS_MAX: usize = 16;

/// One participant.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    rng: StdRng,
    transport: Transport,
    negotiation: Negotiation,
    tracks: Vec<Track>,
    streams: BTreeMap<u32, ReceiveStream>,
    /// RTX SSRC → SSRC of the stream that it repairs.
    repairs: BTreeMap<u32, u32>,
    slots: Slots,
    twcc: TwccRecorder,
    /// Extension id of transport-cc in received packets.
    twcc_id: Option<u8>,
    twcc_media_ssrc: u32,
    /// Last transport-wide number sent.
    twcc_out: u16,
    rtcp_ssrc: u32,
    cname: String,
    next_report: Option<Time>,
    next_twcc: Option<Time>,
    next_request: Option<Time>,
    signals: VecDeque<ClientSignal>,
    participant: String,
    resume: Option<String>,
    started: Time,
    joined: Option<Time>,
    closed: Option<String>,
    feedback: FeedbackStats,
    unknown_ssrc: u64,
    errors: Vec<String>,
    resyncs: u64,
}

impl Client {
    /// Begins to join. Fails only if there is no crypto provider or it can't make a certificate.
    pub fn new(config: ClientConfig, seed: u64, now: Time) -> Result<Client, String> {
        let mut rng = StdRng::seed_from_u64(seed);
        let crypto = Crypto::new()?;
        let keys: Box<dyn KeySource> = match config.keys {
            KeyMode::Dtls => Box::new(RealDtls::new(crypto.clone())?),
            KeyMode::Injected => Box::new(InjectedKeys::new(rng.random(), crypto.clone())),
        };
        let ice = Ice::new(IceCredentials::random(&mut rng), config.consent_interval, crypto.clone());
        let mut tracks = Vec::new();
        if config.publish_audio {
            tracks.push(Track::new(Kind::Audio, "0", config.track, &mut rng));
        }
        if config.publish_video {
            tracks.push(Track::new(Kind::Video, "1", config.track, &mut rng));
        }
        let mut client = Client {
            transport: Transport::new(ice, keys, crypto),
            negotiation: Negotiation::default(),
            tracks,
            streams: BTreeMap::new(),
            repairs: BTreeMap::new(),
            slots: Slots::default(),
            twcc: TwccRecorder::default(),
            twcc_id: None,
            twcc_media_ssrc: 0,
            twcc_out: rng.random(),
            rtcp_ssrc: rng.random(),
            cname: format!("c{:016x}", rng.random::<u64>()),
            next_report: None,
            next_twcc: None,
            next_request: None,
            signals: VecDeque::new(),
            participant: String::new(),
            resume: None,
            started: now,
            joined: None,
            closed: None,
            feedback: FeedbackStats::default(),
            unknown_ssrc: 0,
            errors: Vec::new(),
            resyncs: 0,
            config,
            rng,
        };
        client.join();
        Ok(client)
    }

    /// A message of the server.
    pub fn handle_signal(&mut self, now: Time, signal: &ServerSignal) {
        for mid in self.slots.handle_signal(signal) {
            self.streams.values_mut().filter(|s| s.mid == mid).for_each(ReceiveStream::restart_gap);
        }
        self.update_pauses();
        match signal {
            ServerSignal::Joined(snapshot) => {
                self.joined.get_or_insert(now);
                self.take_snapshot(snapshot);
                if !self.config.offer_with_join && !self.tracks.is_empty() {
                    self.negotiation.want();
                }
            }
            ServerSignal::Resync(snapshot) => {
                self.resyncs += 1;
                self.take_snapshot(snapshot);
            }
            ServerSignal::Offer { id, sdp, .. } => self.answer(now, *id, sdp),
            ServerSignal::Answer { id, sdp } => match self.negotiation.answered(*id, sdp) {
                Ok(Some(remote)) => self.apply(now, &remote),
                Ok(None) => {}
                Err(error) => self.note_error(format!("answer {id}: {error}")),
            },
            ServerSignal::Published { tracks } => {
                for published in tracks {
                    for track in self.tracks.iter_mut().filter(|track| track.mid == published.mid) {
                        track.id = Some(published.track.clone());
                    }
                }
            }
            ServerSignal::IceRestart => self.restart_ice(now),
            ServerSignal::Closed { reason } => self.closed = Some(reason.clone()),
            ServerSignal::Error { code, message, id } => self.refused(code, message, *id),
            _ => {}
        }
        self.offer();
    }

    /// A datagram from the network.
    pub fn receive(&mut self, now: Time, from: SocketAddr, datagram: &[u8]) {
        match self.transport.receive(now, from, datagram, &mut self.rng) {
            Received::Rtp(packet) => self.receive_rtp(now, packet),
            Received::Rtcp(packets) => self.receive_rtcp(now, &packets),
            Received::Nothing => self.started_media(now),
        }
    }

    /// To be called at [`Client::next_timeout`].
    pub fn handle_timeout(&mut self, now: Time) {
        self.transport.handle_timeout(now, &mut self.rng);
        self.started_media(now);
        if !self.transport.is_connected() {
            return;
        }
        for i in 0..self.tracks.len() {
            let packets = self.tracks.get_mut(i).map(|track| track.poll(now, &mut self.twcc_out));
            packets.iter().flatten().for_each(|packet| self.transport.send_rtp(packet));
        }
        self.streams.values_mut().for_each(|stream| stream.handle_timeout(now));
        if self.next_request.is_some_and(|at| at <= now) || self.streams.values().any(|s| s.wants_keyframe())
        {
            self.send_requests(now);
            self.next_request = self.next_request(now);
        }
        if self.next_report.is_some_and(|at| at <= now) {
            self.send_reports(now);
            self.next_report = Some(now + REPORT_INTERVAL);
        }
        if self.next_twcc.is_some_and(|at| at <= now) {
            self.send_transport_cc();
            self.next_twcc = None;
        }
    }

    /// When the client wants [`Client::handle_timeout`].
    pub fn next_timeout(&self) -> Option<Time> {
        let transport = self.transport.next_timeout();
        if !self.transport.is_connected() {
            return transport;
        }
        let tracks = self.tracks.iter().filter_map(Track::next_timeout);
        let streams = self.streams.values().filter_map(ReceiveStream::next_timeout);
        let timers = [transport, self.next_report, self.next_twcc, self.next_request];
        timers.into_iter().flatten().chain(tracks).chain(streams).min()
    }

    /// The next datagram to send, with its destination.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.transport.poll_transmit()
    }

    /// The next message to the server.
    pub fn poll_signal(&mut self) -> Option<ClientSignal> {
        self.signals.pop_front()
    }

    /// Mutes or unmutes the own tracks of a kind, and tells the server.
    pub fn set_muted(&mut self, kind: Kind, muted: bool) {
        for track in self.tracks.iter_mut().filter(|track| track.kind == kind) {
            track.set_muted(muted);
            if let Some(id) = &track.id {
                self.signals.push_back(ClientSignal::Mute { track: id.clone(), muted });
            }
        }
    }

    /// Stops or resumes one layer of the own video (0 is the lowest), as browsers do by themselves.
    pub fn set_layer_active(&mut self, layer: usize, active: bool) {
        for track in self.tracks.iter_mut().filter(|track| track.kind == Kind::Video) {
            track.set_layer_active(layer, active);
        }
    }

    /// Publishes the same tracks with new SSRCs and new counters, as after a reload of the camera.
    pub fn restart_publishing(&mut self, now: Time) {
        for track in &mut self.tracks {
            let mut fresh = Track::new(track.kind, &track.mid, self.config.track, &mut self.rng);
            fresh.id.clone_from(&track.id);
            fresh.set_muted(track.is_muted());
            if self.transport.is_connected() {
                fresh.start(now);
            }
            if let Some(section) = self.negotiation.section(&track.mid) {
                fresh.configure(section);
            }
            *track = fresh;
        }
        self.negotiation.want();
        self.offer();
    }

    /// New ICE credentials, in an offer (RFC 8445 §9).
    pub fn restart_ice(&mut self, _now: Time) {
        self.transport.ice.restart(IceCredentials::random(&mut self.rng));
        self.negotiation.want();
        self.offer();
    }

    /// Asks for a layer of somebody's track.
    pub fn prefer(&mut self, track: &str, layer: Layer, paused: bool) {
        self.signals.push_back(ClientSignal::Prefer { track: track.into(), layer, paused });
    }

    pub fn subscribe(&mut self, track: &str, enabled: bool) {
        self.signals.push_back(ClientSignal::Subscribe { track: track.into(), enabled });
    }

    pub fn leave(&mut self) {
        self.signals.push_back(ClientSignal::Leave);
    }

    pub fn state(&self) -> ClientState {
        if let Some(reason) = &self.closed {
            return ClientState::Closed(reason.clone());
        }
        if let Some(reason) = self.transport.failure() {
            return ClientState::Failed(reason.into());
        }
        match (self.joined, self.transport.is_connected()) {
            (_, true) => ClientState::Connected,
            (Some(_), false) => ClientState::Joined,
            (None, false) => ClientState::Joining,
        }
    }

    /// The own tracks' ids, by kind, once the server has told them.
    pub fn published(&self) -> Vec<(Kind, String)> {
        self.tracks.iter().filter_map(|track| Some((track.kind, track.id.clone()?))).collect()
    }

    /// What the slots show: (mid, track).
    pub fn slots(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.slots.iter()
    }

    /// The token that a later join may resume with.
    pub fn resume_token(&self) -> Option<&str> {
        self.resume.as_deref()
    }

    /// As of now.
    pub fn stats(&self, now: Time) -> ClientStats {
        let (ice_connected, connected) = self.transport.connected_at();
        ClientStats {
            state: self.state(),
            participant: self.participant.clone(),
            started: self.started,
            joined: self.joined,
            ice_connected,
            connected,
            ice: self.transport.ice.counters(),
            rtt: self.transport.ice.rtt(),
            transport: self.transport.counters(),
            feedback: self.feedback,
            published: self.tracks.iter().map(Track::stats).collect(),
            streams: self.streams.values().map(|stream| stream.stats(now)).collect(),
            unknown_ssrc: self.unknown_ssrc,
            errors: self.errors.clone(),
            resyncs: self.resyncs,
            sections: self.negotiation.len(),
        }
    }

    fn take_snapshot(&mut self, snapshot: &Snapshot) {
        self.participant.clone_from(&snapshot.participant);
        self.resume.clone_from(&snapshot.resume);
    }

    fn update_pauses(&mut self) {
        for stream in self.streams.values_mut() {
            if let Some(paused) = self.slots.is_paused(&stream.mid) {
                stream.set_paused(paused);
            }
        }
    }

    fn own_sections(&self) -> Vec<Section> {
        let mut sections: Vec<Section> = self.tracks.iter().map(|track| track.section(&self.cname)).collect();
        if self.config.offer_to_receive {
            sections.push(Section::subscribe("a", Kind::Audio));
            sections.push(Section::subscribe("v", Kind::Video));
        }
        sections
    }

    fn join(&mut self) {
        if self.config.offer_with_join && (!self.tracks.is_empty() || self.config.offer_to_receive) {
            self.negotiation.want();
        }
        let join = ClientSignal::Join {
            version: PROTOCOL_VERSION,
            room: self.config.room.clone(),
            identity: self.config.identity.clone(),
            name: self.config.name.clone(),
            resume: None,
            offer: self.next_offer(),
        };
        self.signals.push_back(join);
    }

    fn offer(&mut self) {
        if self.joined.is_some()
            && let Some(offer) = self.next_offer()
        {
            self.signals.push_back(ClientSignal::Offer(offer));
        }
    }

    fn next_offer(&mut self) -> Option<Offer> {
        let own = self.own_sections();
        let (id, sdp) = self.negotiation.offer(&own, &self.transport.local(true))?;
        let tracks = self.tracks.iter().map(|track| OfferedTrack {
            mid: track.mid.clone(),
            source: if track.kind == Kind::Audio { Source::Microphone } else { Source::Camera },
            muted: track.is_muted(),
        });
        Some(Offer { id, sdp, tracks: tracks.collect() })
    }

    fn answer(&mut self, now: Time, id: u32, sdp: &str) {
        let own = self.own_sections();
        let local = self.transport.local(false);
        match self.negotiation.answer(sdp, &own, &local, self.config.accepts) {
            Ok(answered) => {
                self.signals.push_back(ClientSignal::Answer { id, sdp: answered.sdp });
                self.apply(now, &answered.remote);
            }
            Err(error) => self.note_error(format!("offer {id}: {error}")),
        }
    }

    /// Both sides agree on what the server's description says.
    fn apply(&mut self, now: Time, remote: &RemoteDescription) {
        self.transport.set_remote(now, remote);
        for section in remote.sections.iter().filter(|section| !section.rejected) {
            match self.tracks.iter_mut().find(|track| track.mid == section.mid) {
                Some(track) => track.configure(section),
                None => self.expect(section),
            }
        }
        self.update_pauses();
        self.started_media(now);
    }

    /// The streams of a section that the server sends in.
    fn expect(&mut self, section: &Section) {
        let (Some(kind), true) = (section.kind, section.direction.sends()) else { return };
        let Some(own) = self.negotiation.section(&section.mid).filter(|own| !own.rejected) else { return };
        self.twcc_id = own.extension(sdp::EXT_TRANSPORT_CC).or(self.twcc_id);
        let repairs_losses = own.codecs.iter().any(|codec| codec.has_feedback("nack"));
        let nack = self.config.nack && repairs_losses;
        self.repairs.extend(section.rtx_pairs.iter().map(|(media, rtx)| (*rtx, *media)));
        for ssrc in section.ssrcs.iter().filter(|ssrc| !self.repairs.contains_key(ssrc)) {
            if self.streams.len() < STREAMS_MAX {
                let fresh = || ReceiveStream::new(&section.mid, *ssrc, kind, nack);
                self.streams.entry(*ssrc).or_insert_with(fresh).expect(section);
            }
        }
    }

    /// Starts media and reports at the moment at which the transport is connected.
    fn started_media(&mut self, now: Time) {
        if self.transport.is_connected() && self.next_report.is_none() {
            self.next_report = Some(now + REPORT_INTERVAL);
        }
        if self.transport.is_connected() {
            for track in &mut self.tracks {
                if self.negotiation.section(&track.mid).is_some() {
                    track.start(now);
                }
            }
        }
    }

    fn receive_rtp(&mut self, now: Time, packet: Packet) {
        let header = &packet.header;
        if let Some(value) = self.twcc_id.and_then(|id| header.get_extension(id))
            && let Ok(seq) = <[u8; 2]>::try_from(&value[..])
        {
            self.twcc.received(now, u16::from_be_bytes(seq));
            self.twcc_media_ssrc = header.ssrc;
            self.next_twcc.get_or_insert(now + self.config.transport_cc_interval);
        }
        if let Some(stream) = self.streams.get_mut(&header.ssrc) {
            let (seq, pt) = (header.sequence_number, header.payload_type);
            stream.receive(now, seq, header.timestamp, header.marker, pt, packet.payload);
        } else if let Some(stream) =
            self.repairs.get(&header.ssrc).and_then(|ssrc| self.streams.get_mut(ssrc))
        {
            stream.receive_rtx(now, header.timestamp, header.marker, header.payload_type, packet.payload);
        } else {
            self.unknown_ssrc += 1;
            return;
        }
        self.send_requests(now);
        self.next_request = self.next_request.or_else(|| self.next_request(now));
    }

    fn refused(&mut self, code: &str, message: &str, id: Option<u32>) {
        if let Some(id) = id {
            self.negotiation.refused(id);
        }
        if self.joined.is_none() {
            self.closed = Some(format!("{code}: {message}"));
        }
        self.note_error(format!("{code}: {message}"));
    }

    fn note_error(&mut self, error: String) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(error);
        }
    }
}
