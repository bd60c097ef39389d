//! The full `webrtc` crate as a client: its own ICE, DTLS, SDP, RTX, NACK, reports and transport-cc, so that what it sees is a
//! second opinion. This file joins, negotiates and sums up; [`media`] carries packets between the crate's tracks and the
//! same source and judge that our own client has.

mod keyframe_tap;
mod media;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::{SinkExt, StreamExt};
use loadtest::client::ice::IceCounters;
use loadtest::client::sdp;
use loadtest::client::signal::{ClientSignal, Kind, Offer, OfferedTrack, ServerSignal, Source};
use loadtest::client::transport::TransportCounters;
use loadtest::client::{ClientState, ClientStats};
use loadtest::net::Time;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::Message;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, RTCPeerConnectionState, RTCSessionDescription,
    Registry, configure_twcc_sender_only, register_default_interceptors,
};

use self::keyframe_tap::KeyframeTap;
use self::media::{Handler, Media, Milestones};
use super::{Failure, Outcome, Signalling, Task};

/// Version of the signalling protocol that is spoken.
const PROTOCOL_VERSION: u32 = 1;

/// Id of the only offer that this client makes.
const OFFER_ID: u32 = 1;

/// Errors that are kept.
const ERRORS_MAX: usize = 16;

/// Joins over `signalling` and takes part until `stop` changes or the session ends.
pub(super) async fn run(
    task: Task,
    signalling: Signalling,
    stop: watch::Receiver<bool>,
) -> Result<Outcome, Failure> {
    let broken = |error: webrtc::error::Error| Failure::Other(format!("the webrtc crate: {error}"));
    let bind_to = local_address(&task, &signalling);
    let media = Arc::new(Media::new(task.clock, task.progress.clone()));
    let (milestones, reached) = watch::channel(Milestones::default());
    let handler = Handler::new(media.clone(), milestones);
    let connection = build(handler, bind_to).await.map_err(broken)?;
    let mut session = Session {
        started: task.clock.now(),
        task,
        signalling,
        connection,
        media,
        reached,
        participant: String::new(),
        joined: None,
        closed: None,
        failed: None,
        errors: Vec::new(),
        resyncs: 0,
        sections: 0,
    };
    session.publish_and_join().await.map_err(broken)?;
    Ok(session.run(stop).await)
}

/// Where the media socket is bound: the crate takes it for a candidate, so the wildcard address won't do.
fn local_address(task: &Task, signalling: &Signalling) -> IpAddr {
    let towards_server = match signalling.get_ref() {
        MaybeTlsStream::Plain(stream) => stream.local_addr().ok(),
        _ => None,
    };
    match towards_server {
        Some(address) if task.args.bind.is_unspecified() => address.ip(),
        _ => task.args.bind,
    }
}

async fn build(handler: Handler, bind_to: IpAddr) -> webrtc::error::Result<Arc<dyn PeerConnection>> {
    let mut engine = MediaEngine::default();
    for (codec, kind) in media::codecs() {
        engine.register_codec(codec, kind)?;
    }
    let registry = register_default_interceptors(Registry::new(), &mut engine)?;
    let registry = configure_twcc_sender_only(registry, &mut engine)?;
    let registry = registry.with(keyframe_tap::POSITION.into(), KeyframeTap::default());
    let connection = PeerConnectionBuilder::new()
        .with_media_engine(engine)
        .with_interceptor_registry(registry)
        .with_handler(Arc::new(handler))
        .with_udp_addrs(vec![SocketAddr::new(bind_to, 0)])
        .build()
        .await?;
    Ok(Arc::new(connection))
}

/// A peer connection with its signalling.
struct Session {
    task: Task,
    signalling: Signalling,
    connection: Arc<dyn PeerConnection>,
    media: Arc<Media>,
    reached: watch::Receiver<Milestones>,
    started: Time,
    participant: String,
    joined: Option<Time>,
    closed: Option<String>,
    /// Why it can't go on.
    failed: Option<String>,
    errors: Vec<String>,
    resyncs: u64,
    sections: usize,
}

impl Session {
    async fn publish_and_join(&mut self) -> webrtc::error::Result<()> {
        let config = self.task.config();
        let mut rng = StdRng::seed_from_u64(self.task.seed());
        for (kind, publishes) in [(Kind::Audio, config.publish_audio), (Kind::Video, config.publish_video)] {
            if publishes {
                media::publish(
                    &self.media,
                    &*self.connection,
                    kind,
                    config.track,
                    &mut rng,
                    self.reached.clone(),
                )
                .await?;
            }
        }
        let publishes = config.publish_audio || config.publish_video;
        let offer = if publishes { Some(self.offer().await?) } else { None };
        let join = ClientSignal::Join {
            version: PROTOCOL_VERSION,
            room: config.room,
            identity: config.identity,
            name: config.name,
            resume: None,
            offer,
        };
        self.say(&join).await;
        Ok(())
    }

    async fn offer(&mut self) -> webrtc::error::Result<Offer> {
        let offer = self.connection.create_offer(None).await?;
        let sdp = offer.sdp.clone();
        self.connection.set_local_description(offer).await?;
        let sections = sdp::parse(&sdp).map(|offer| offer.sections).unwrap_or_default();
        let tracks = sections.iter().map(|section| OfferedTrack {
            mid: section.mid.clone(),
            source: if section.kind == Some(Kind::Audio) { Source::Microphone } else { Source::Camera },
            muted: false,
        });
        Ok(Offer { id: OFFER_ID, tracks: tracks.collect(), sdp })
    }

    async fn run(mut self, mut stop: watch::Receiver<bool>) -> Outcome {
        while self.closed.is_none() && self.failed.is_none() {
            tokio::select! {
                _ = stop.changed() => break,
                message = self.signalling.next() => match message {
                    Some(Ok(Message::Text(text))) => self.heard(&text).await,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                    Some(Ok(_)) => {}
                },
                _ = self.reached.changed() => self.reached(),
            }
        }
        let stats = self.stats();
        self.say(&ClientSignal::Leave).await;
        let _ = self.signalling.close(None).await;
        self.media.stop();
        // The session is over either way.
        let _ = self.connection.close().await;
        Outcome { index: self.task.index, stats }
    }

    fn reached(&mut self) {
        let state = self.reached.borrow_and_update().connection;
        self.task.progress.connected.store(state == RTCPeerConnectionState::Connected, Ordering::Relaxed);
        if state == RTCPeerConnectionState::Failed {
            self.failed = Some("the webrtc crate's connection has failed".into());
        }
    }

    async fn heard(&mut self, text: &str) {
        let Ok(signal) = serde_json::from_str::<ServerSignal>(text) else { return };
        self.media.handle_signal(&signal);
        match signal {
            ServerSignal::Joined(snapshot) => {
                self.joined.get_or_insert(self.task.clock.now());
                self.participant = snapshot.participant;
            }
            ServerSignal::Resync(_) => self.resyncs += 1,
            ServerSignal::Answer { sdp, .. } => {
                if let Err(error) = self.take_answer(sdp).await {
                    self.failed = Some(format!("the server's answer: {error}"));
                }
            }
            ServerSignal::Offer { id, sdp, .. } => match self.answer(sdp).await {
                Ok(sdp) => self.say(&ClientSignal::Answer { id, sdp }).await,
                Err(error) => self.failed = Some(format!("the server's offer {id}: {error}")),
            },
            ServerSignal::IceRestart => {
                self.note_error("the server asked for an ICE restart, which this client doesn't make".into());
            }
            ServerSignal::Closed { reason } => self.closed = Some(reason),
            ServerSignal::Error { code, message, .. } => {
                if self.joined.is_none() {
                    self.closed = Some(format!("{code}: {message}"));
                }
                self.note_error(format!("{code}: {message}"));
            }
            _ => {}
        }
    }

    async fn take_answer(&mut self, sdp: String) -> webrtc::error::Result<()> {
        self.connection.set_remote_description(RTCSessionDescription::answer(sdp)?).await
    }

    async fn answer(&mut self, offer: String) -> webrtc::error::Result<String> {
        // Read a second time only to know which slot an SSRC belongs to.
        if let Ok(offered) = sdp::parse(&offer) {
            self.sections = offered.sections.len();
            self.media.expect(&offered.sections);
        }
        self.connection.set_remote_description(RTCSessionDescription::offer(offer)?).await?;
        let answer = self.connection.create_answer(None).await?;
        let sdp = answer.sdp.clone();
        self.connection.set_local_description(answer).await?;
        Ok(sdp)
    }

    /// A server that is gone is noticed by reading.
    async fn say(&mut self, signal: &ClientSignal) {
        if let Ok(text) = serde_json::to_string(signal) {
            let _ = self.signalling.send(Message::text(text)).await;
        }
    }

    fn note_error(&mut self, error: String) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(error);
        }
    }

    fn state(&self) -> ClientState {
        if let Some(reason) = &self.closed {
            return ClientState::Closed(reason.clone());
        }
        if let Some(reason) = &self.failed {
            return ClientState::Failed(reason.clone());
        }
        match (self.reached.borrow().connection, self.joined) {
            (RTCPeerConnectionState::Connected, _) => ClientState::Connected,
            (_, Some(_)) => ClientState::Joined,
            (_, None) => ClientState::Joining,
        }
    }

    /// What the crate keeps to itself (ICE checks, SRTP counters, retransmissions) stays zero.
    fn stats(&self) -> ClientStats {
        let milestones = *self.reached.borrow();
        ClientStats {
            state: self.state(),
            participant: self.participant.clone(),
            started: self.started,
            joined: self.joined,
            ice_connected: milestones.ice_connected,
            connected: milestones.connected,
            ice: IceCounters::default(),
            rtt: None,
            transport: TransportCounters::default(),
            feedback: self.media.feedback(),
            published: self.media.published(),
            streams: self.media.received(self.task.clock.now()),
            unknown_ssrc: 0,
            errors: self.errors.clone(),
            resyncs: self.resyncs,
            sections: self.sections,
        }
    }
}
