//! Media of the `webrtc` crate's client: packets of the synthetic source go into the crate's local tracks, packets of its remote
//! tracks to the judge. One task for each track; they share the bookkeeping behind one lock. Knows nothing of signalling.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use loadtest::client::feedback::FeedbackStats;
use loadtest::client::publish::{PublishStats, Track, TrackConfig};
use loadtest::client::receive::{ReceiveStream, StreamStats};
use loadtest::client::sdp::{self, Section};
use loadtest::client::signal::{Kind, ServerSignal};
use loadtest::client::slots::Slots;
use loadtest::net::Time;
use rand::rngs::StdRng;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MIME_TYPE_RTX, MIME_TYPE_VP8};
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpRtxParameters, RtpCodecKind,
};
use rtc_shared::marshal::MarshalSize;
use rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtp::packet::Packet;
use tokio::sync::watch;
use tokio::task::JoinSet;
use webrtc::media_stream::MediaStreamTrack;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_local::{TrackLocal, TrackLocalEvent};
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionEventHandler, RTCIceConnectionState, RTCPeerConnectionState,
};
use webrtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};

use super::super::{Clock, Progress};

/// How often a stream that gets nothing is looked at: whether a frame is to be given up, or a keyframe to be asked for.
const TICK: Duration = Duration::from_millis(100);

/// What the connection has come to, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Milestones {
    pub(super) connection: RTCPeerConnectionState,
    pub(super) ice_connected: Option<Time>,
    pub(super) connected: Option<Time>,
}

/// What the tasks of one client share.
pub(super) struct Media {
    clock: Clock,
    progress: Arc<Progress>,
    books: Mutex<Books>,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Books {
    slots: Slots,
    /// Of the SSRCs that the server has declared.
    mids: BTreeMap<u32, String>,
    streams: BTreeMap<u32, ReceiveStream>,
    tracks: Vec<Track>,
    feedback: FeedbackStats,
}

impl Media {
    pub(super) fn new(clock: Clock, progress: Arc<Progress>) -> Media {
        Media { clock, progress, books: Mutex::default(), tasks: Mutex::default() }
    }

    /// Ends all tasks.
    pub(super) fn stop(&self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    pub(super) fn handle_signal(&self, signal: &ServerSignal) {
        let Books { slots, streams, .. } = &mut *self.books();
        for mid in slots.handle_signal(signal) {
            streams.values_mut().filter(|stream| stream.mid == mid).for_each(ReceiveStream::restart_gap);
        }
        for stream in streams.values_mut() {
            if let Some(paused) = slots.is_paused(&stream.mid) {
                stream.set_paused(paused);
            }
        }
    }

    /// The sections of an offer of the server.
    pub(super) fn expect(&self, sections: &[Section]) {
        let mids = &mut self.books().mids;
        for section in sections {
            mids.extend(section.ssrcs.iter().map(|ssrc| (*ssrc, section.mid.clone())));
        }
    }

    pub(super) fn feedback(&self) -> FeedbackStats {
        self.books().feedback
    }

    pub(super) fn published(&self) -> Vec<PublishStats> {
        self.books().tracks.iter().map(Track::stats).collect()
    }

    pub(super) fn received(&self, now: Time) -> Vec<StreamStats> {
        self.books().streams.values().map(|stream| stream.stats(now)).collect()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
    }

    /// A packet of a remote track. What the crate has recovered by RTX comes in the primary stream's form.
    fn receive(&self, kind: Kind, packet: Packet) {
        self.progress.datagrams.fetch_add(1, Ordering::Relaxed);
        self.progress.bytes.fetch_add(packet.marshal_size() as u64, Ordering::Relaxed);
        let Packet { header, payload } = packet;
        let now = self.clock.now();
        let Books { mids, streams, .. } = &mut *self.books();
        let stream = streams.entry(header.ssrc).or_insert_with(|| {
            let mid = mids.get(&header.ssrc).map_or("", String::as_str);
            // Lost packets are the crate's to ask for.
            ReceiveStream::new(mid, header.ssrc, kind, false)
        });
        stream.receive(
            now,
            header.sequence_number,
            header.timestamp,
            header.marker,
            header.payload_type,
            payload,
        );
    }

    /// The keyframes to ask for now, of the streams with these SSRCs.
    fn keyframe_requests(&self, ssrcs: &[u32]) -> Vec<PictureLossIndication> {
        let now = self.clock.now();
        let mut books = self.books();
        let mut requests = Vec::new();
        for ssrc in ssrcs {
            let Some(stream) = books.streams.get_mut(ssrc) else { continue };
            stream.handle_timeout(now);
            if stream.pli_due(now) {
                requests.push(PictureLossIndication { sender_ssrc: 0, media_ssrc: *ssrc });
            }
        }
        requests
    }

    /// What the server asks of a local track.
    fn requests(&self, track: usize, packets: &[Box<dyn rtcp::packet::Packet>]) {
        let Books { tracks, feedback, .. } = &mut *self.books();
        let Some(track) = tracks.get_mut(track) else { return };
        for packet in packets {
            if let Some(pli) = packet.as_any().downcast_ref::<PictureLossIndication>() {
                feedback.plis += 1;
                track.keyframe_request(pli.media_ssrc);
            } else if let Some(fir) = packet.as_any().downcast_ref::<FullIntraRequest>() {
                feedback.firs += 1;
                fir.fir.iter().for_each(|entry| track.keyframe_request(entry.ssrc));
            }
        }
    }
}

/// What the crate tells of the connection.
pub(super) struct Handler {
    media: Arc<Media>,
    milestones: watch::Sender<Milestones>,
}

impl Handler {
    pub(super) fn new(media: Arc<Media>, milestones: watch::Sender<Milestones>) -> Handler {
        Handler { media, milestones }
    }
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        if matches!(state, RTCIceConnectionState::Connected | RTCIceConnectionState::Completed) {
            let now = self.media.clock.now();
            self.milestones.send_modify(|milestones| {
                milestones.ice_connected.get_or_insert(now);
            });
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        let now = self.media.clock.now();
        self.milestones.send_modify(|milestones| {
            milestones.connection = state;
            if state == RTCPeerConnectionState::Connected {
                milestones.connected.get_or_insert(now);
            }
        });
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        self.media.spawn(receive(self.media.clone(), track));
    }
}

async fn receive(media: Arc<Media>, track: Arc<dyn TrackRemote>) {
    let kind = if track.kind().await == RtpCodecKind::Audio { Kind::Audio } else { Kind::Video };
    loop {
        match tokio::time::timeout(TICK, track.poll()).await {
            Ok(Some(TrackRemoteEvent::OnRtpPacket(packet))) => media.receive(kind, packet),
            Ok(None) => return,
            Ok(Some(_)) | Err(_) => {}
        }
        for request in media.keyframe_requests(&track.ssrcs().await) {
            // A request that can't be sent is made again.
            let _ = track.write_rtcp(vec![Box::new(request)]).await;
        }
    }
}

/// What the client can send and receive, with the payload types that the synthetic source writes.
pub(super) fn codecs() -> Vec<(RTCRtpCodecParameters, RtpCodecKind)> {
    let feedback = |typ: &str, parameter: &str| RTCPFeedback { typ: typ.into(), parameter: parameter.into() };
    let parameters = |payload_type, rtp_codec| RTCRtpCodecParameters { rtp_codec, payload_type };
    let rtx = RTCRtpCodec {
        mime_type: MIME_TYPE_RTX.into(),
        clock_rate: 90_000,
        sdp_fmtp_line: format!("apt={}", sdp::VP8),
        ..RTCRtpCodec::default()
    };
    let mut vp8 = codec(Kind::Video);
    // NACK and transport-cc are added by the interceptors that serve them.
    vp8.rtcp_feedback = vec![feedback("ccm", "fir")];
    vec![
        (parameters(sdp::OPUS, codec(Kind::Audio)), RtpCodecKind::Audio),
        (parameters(sdp::VP8, vp8), RtpCodecKind::Video),
        (parameters(sdp::VP8_RTX, rtx), RtpCodecKind::Video),
    ]
}

fn codec(kind: Kind) -> RTCRtpCodec {
    let (mime_type, clock_rate, channels, fmtp) = match kind {
        Kind::Audio => (MIME_TYPE_OPUS, 48_000, 2, "minptime=10;useinbandfec=1"),
        Kind::Video => (MIME_TYPE_VP8, 90_000, 0, ""),
    };
    let (mime_type, sdp_fmtp_line) = (mime_type.into(), fmtp.into());
    RTCRtpCodec { mime_type, clock_rate, channels, sdp_fmtp_line, rtcp_feedback: Vec::new() }
}

/// The crate's side of a track that the source makes: one encoding with the source's SSRCs.
fn local_track(kind: Kind, track: &Track) -> MediaStreamTrack {
    let encodings = track.streams().map(|stream| RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            ssrc: Some(stream.ssrc),
            rtx: (kind == Kind::Video).then_some(RTCRtpRtxParameters { ssrc: stream.rtx_ssrc }),
            ..RTCRtpCodingParameters::default()
        },
        active: true,
        codec: codec(kind),
        ..RTCRtpEncodingParameters::default()
    });
    let (name, codec_kind) = match kind {
        Kind::Audio => ("tone", RtpCodecKind::Audio),
        Kind::Video => ("pattern", RtpCodecKind::Video),
    };
    MediaStreamTrack::new("synthetic".into(), name.into(), name.into(), codec_kind, encodings.collect())
}

/// Publishes one track of the synthetic source as soon as the connection is there.
pub(super) async fn publish(
    media: &Arc<Media>,
    connection: &dyn PeerConnection,
    kind: Kind,
    config: TrackConfig,
    rng: &mut StdRng,
    reached: watch::Receiver<Milestones>,
) -> webrtc::error::Result<()> {
    let track = Track::new(kind, "", config, rng);
    let local = Arc::new(TrackLocalStaticRTP::new(local_track(kind, &track)));
    let init = RTCRtpTransceiverInit {
        direction: RTCRtpTransceiverDirection::Sendonly,
        ..RTCRtpTransceiverInit::default()
    };
    connection.add_transceiver_from_track(local.clone(), Some(init)).await?;
    let index = {
        let tracks = &mut media.books().tracks;
        tracks.push(track);
        tracks.len() - 1
    };
    media.spawn(send(media.clone(), local, index, reached));
    Ok(())
}

async fn send(
    media: Arc<Media>,
    local: Arc<TrackLocalStaticRTP>,
    index: usize,
    mut reached: watch::Receiver<Milestones>,
) {
    if reached.wait_for(|milestones| milestones.connected.is_some()).await.is_err() {
        return;
    }
    let mut transport_cc = 0;
    loop {
        let now = media.clock.now();
        let (packets, next) = {
            let mut books = media.books();
            let Some(track) = books.tracks.get_mut(index) else { return };
            track.start(now);
            (track.poll(now, &mut transport_cc), track.next_timeout())
        };
        for packet in packets {
            // What the crate has no room for is lost, and its receiver says so.
            let _ = local.write_rtp(packet).await;
        }
        let wake = media.clock.instant(next.unwrap_or(now + TICK));
        tokio::select! {
            () = tokio::time::sleep_until(wake.into()) => {}
            event = local.poll() => match event {
                Some(TrackLocalEvent::OnRtcpPacket(packets)) => media.requests(index, &packets),
                Some(_) => {}
                None => return,
            },
        }
    }
}
