//! One SCTP association over DTLS (RFC 8261, RFC 8831 §6) by the `sctp-proto` crate (ADR 5): streams of whole
//! messages. Bounds what the peer can ask of the library (`inbound`), and contains its panics. Knows neither labels nor
//! DCEP: those are the data channels'.

mod inbound;

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sctp_proto::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier, ReliabilityType, ServerConfig, StreamEvent, TransportConfig,
};

use self::inbound::Inbound;
pub use self::inbound::STREAMS_MAX;
use crate::command::RemoteSctp;
use crate::drop::DropReason;
use crate::event::DataCloseReason;
use crate::transport::contain::contain;
use crate::transport::handshake::DtlsRole;
use crate::unit::{ChannelType, Reliability, StreamId, Time};

/// Longest message taken, and said so in `a=max-message-size` (RFC 8841 §6). A peer that sends a longer one loses its
/// association.
pub const MESSAGE_LEN_MAX: usize = 65_536;

/// What one association may hold of messages that are not whole, or not the next: four of the longest.
const RECEIVE_WINDOW: u32 = 4 * MESSAGE_LEN_MAX as u32;

/// Payload of one DATA chunk. The library bundles up to 28 bytes more, and leaves padding out of its sum: a packet of
/// the smallest messages grows by a sixth, and still fits 1,200 bytes with DTLS around it.
const CHUNK_PAYLOAD_LEN: u32 = 940;

/// Retransmission timeouts as libwebrtc has them: SCTP's own 1 s is made for other paths. The longest is short, because
/// a path that comes back after an ICE restart shall not be waited for.
const RTO_INITIAL_MS: u64 = 500;
const RTO_MIN_MS: u64 = 400;
const RTO_MAX_MS: u64 = 5_000;

/// Repeats of the handshake and of a stream's reset, the last after 40 s.
const HANDSHAKE_REPEATS: usize = 10;

/// Events that one packet may cause; the library's own bounds are far below.
const EVENTS_MAX: usize = 10_000;

/// The library asks for addresses. Its packets travel through DTLS, so this one means nothing.
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5_000);

/// What a message is for the layers above (RFC 8831 §8, `PPID`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ppid {
    Dcep,
    Text,
    Binary,
    /// One byte stands for none: SCTP has no empty messages.
    TextEmpty,
    BinaryEmpty,
    Unknown,
}

/// What came of a call.
#[derive(Debug)]
pub enum SctpEvent {
    /// Streams can be written.
    Established,
    Message {
        stream: StreamId,
        ppid: Ppid,
        payload: Vec<u8>,
    },
    /// The peer has closed the stream. What was written and not acknowledged may or may not arrive.
    Closed(StreamId),
    /// Nothing goes in or out any more.
    Ended(DataCloseReason),
}

/// Why a message was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsendable;

struct Library {
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
}

/// See the module's documentation.
pub struct Sctp {
    base: Instant,
    /// `None` once it has ended.
    library: Option<Library>,
    inbound: Inbound,
    /// While a reset that the peer has asked for is under way: the streams there were, each with the generation that the
    /// reset may end. A stream may be opened again at once.
    generations: Vec<(StreamId, u64)>,
    established: bool,
    message_len_max: u32,
    events: VecDeque<SctpEvent>,
    transmits: VecDeque<Vec<u8>>,
}

impl Sctp {
    /// `base` is the instant of [`Time::ZERO`]: the library speaks [`Instant`]. The end that is the client of DTLS begins;
    /// a server answers, because nearly every client sends its INIT whatever its role.
    pub fn new(now: Time, base: Instant, role: DtlsRole, remote: RemoteSctp) -> Sctp {
        let mut sctp = Sctp {
            base,
            library: None,
            inbound: Inbound::new(now, RECEIVE_WINDOW),
            generations: Vec::new(),
            established: false,
            message_len_max: 0,
            events: VecDeque::new(),
            transmits: VecDeque::new(),
        };
        sctp.set_remote(remote);
        match contain(|| Library::new(role, remote.port)) {
            Some(library) => sctp.library = Some(library),
            None => sctp.end(DataCloseReason::Internal),
        }
        sctp.settle(now);
        sctp
    }

    /// The peer's side as it was negotiated again. The association stays: its port belongs to the first time.
    pub fn set_remote(&mut self, remote: RemoteSctp) {
        let len = u32::try_from(MESSAGE_LEN_MAX).unwrap_or(u32::MAX);
        self.message_len_max = remote.max_message_size.map_or(len, |most| most.get().min(len));
        let most = self.message_len_max;
        self.run(|association| association.set_max_send_message_size(most));
    }

    /// One packet out of DTLS. Any bytes may come.
    pub fn receive(&mut self, now: Time, packet: &[u8]) -> Result<(), DropReason> {
        let library = self.library.as_mut().ok_or(DropReason::SctpUnexpected)?;
        let association = library.association.as_ref().map(|(_, association)| association);
        let live = |stream: StreamId| association.is_some_and(|one| one.stream_ids().contains(&stream.0));
        self.inbound.admit(now, packet, live)?;
        if self.generations.is_empty() && self.inbound.has_pending_reset() {
            self.generations = contain(|| library.generations()).unwrap_or_default();
        }
        let instant = instant(self.base, now);
        let bytes = Bytes::copy_from_slice(packet);
        if contain(|| library.receive(instant, bytes)).is_none() {
            self.end(DataCloseReason::Internal);
        }
        self.settle(now);
        Ok(())
    }

    pub fn handle_timeout(&mut self, now: Time) {
        let instant = instant(self.base, now);
        self.run(|association| association.handle_timeout(instant));
        self.settle(now);
    }

    /// When it wants [`Sctp::handle_timeout`].
    pub fn next_timeout(&self) -> Option<Time> {
        let (_, association) = self.library.as_ref()?.association.as_ref()?;
        let at = association.poll_timeout()?;
        Some(Time::ZERO + at.saturating_duration_since(self.base))
    }

    /// Begins a stream; false when this number can't be used now.
    pub fn open(&mut self, stream: StreamId) -> bool {
        let open = |association: &mut Association| {
            association.open_stream(stream.0, PayloadProtocolIdentifier::Unknown).is_ok()
        };
        self.established && self.run(open).unwrap_or(false)
    }

    /// How messages on a stream are delivered from now on.
    pub fn set_type(&mut self, stream: StreamId, channel_type: ChannelType) {
        let (kind, value) = match channel_type.reliability {
            Reliability::Reliable => (ReliabilityType::Reliable, 0),
            Reliability::MaxRetransmits(count) => (ReliabilityType::Rexmit, count),
            Reliability::MaxLifetime { ms } => (ReliabilityType::Timed, ms),
        };
        self.run(|association| {
            let stream = association.stream(stream.0);
            stream.and_then(|mut one| one.set_reliability_params(!channel_type.ordered, kind, value)).is_ok()
        });
    }

    /// Hands a message over for sending; [`Sctp::settle`] follows.
    pub fn write(&mut self, stream: StreamId, ppid: Ppid, payload: &[u8]) -> Result<(), Unsendable> {
        let ppid = match ppid {
            Ppid::Dcep => PayloadProtocolIdentifier::Dcep,
            Ppid::Text => PayloadProtocolIdentifier::String,
            Ppid::Binary => PayloadProtocolIdentifier::Binary,
            Ppid::TextEmpty => PayloadProtocolIdentifier::StringEmpty,
            Ppid::BinaryEmpty => PayloadProtocolIdentifier::BinaryEmpty,
            Ppid::Unknown => return Err(Unsendable),
        };
        let write = |association: &mut Association| {
            association.stream(stream.0).and_then(|mut one| one.write_with_ppi(payload, ppid)).is_ok()
        };
        if self.run(write) != Some(true) {
            return Err(Unsendable);
        }
        self.inbound.written(payload.len().div_ceil(CHUNK_PAYLOAD_LEN as usize));
        Ok(())
    }

    /// Closes a stream once everything on it is acknowledged (RFC 8831 §6.7).
    pub fn close(&mut self, stream: StreamId) {
        let close = |association: &mut Association| {
            association.stream(stream.0).and_then(|mut one| one.close()).is_ok()
        };
        if self.run(close) == Some(true) {
            self.inbound.reset_wanted();
        }
    }

    /// Bytes written to a stream that are not acknowledged yet.
    pub fn buffered(&mut self, stream: StreamId) -> usize {
        let buffered = |association: &mut Association| {
            association.stream(stream.0).and_then(|one| one.buffered_amount()).unwrap_or(0)
        };
        self.run(buffered).unwrap_or(0)
    }

    pub fn is_established(&self) -> bool {
        self.established && self.library.is_some()
    }

    /// Chunks that are kept for the peer, those of closed streams included; at least as many as there are.
    pub fn outstanding(&self) -> usize {
        self.inbound.outstanding()
    }

    /// Longest message that the peer takes, in bytes; at most [`MESSAGE_LEN_MAX`].
    pub fn message_len_max(&self) -> usize {
        self.message_len_max as usize
    }

    pub fn poll(&mut self) -> Option<SctpEvent> {
        self.events.pop_front()
    }

    /// The next packet for DTLS.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    /// Takes what the library has to say and to send, after every call that may have changed something.
    pub fn settle(&mut self, now: Time) {
        self.take_events(now);
        self.take_transmits(now);
        self.inbound.settled();
        self.drop_unread_remains();
        // What has just left may have ended a stream.
        self.take_events(now);
    }

    fn take_events(&mut self, now: Time) {
        for _ in 0..EVENTS_MAX {
            let Some(Some(event)) = self.run(Association::poll) else { return };
            match event {
                Event::Connected => {
                    self.established = true;
                    self.inbound.established = true;
                    self.events.push_back(SctpEvent::Established);
                }
                Event::HandshakeFailed { .. } => return self.end(DataCloseReason::HandshakeFailed),
                Event::AssociationLost { .. } => return self.lose(now),
                Event::Stream(StreamEvent::Readable { id }) => self.read(StreamId(id)),
                Event::Stream(StreamEvent::Finished { id }) => {
                    self.events.push_back(SctpEvent::Closed(StreamId(id)));
                }
                // Streams are known by their first message.
                Event::Stream(StreamEvent::Opened { .. }) => {
                    self.run(|association| while association.accept_stream().is_some() {});
                }
                _ => {}
            }
        }
    }

    fn read(&mut self, stream: StreamId) {
        let mut messages = Vec::new();
        loop {
            let message = self.run(|association| {
                let chunks = association.stream(stream.0).and_then(|mut one| one.read()).ok().flatten()?;
                let mut payload = vec![0; chunks.len()];
                chunks.read(&mut payload).ok()?;
                Some((chunks.chunks.len(), ppid_of(chunks.ppi), payload))
            });
            let Some(Some((chunks, ppid, payload))) = message else { break };
            self.inbound.released(chunks);
            messages.push(SctpEvent::Message { stream, ppid, payload });
        }
        // An OPEN comes before what some peers send at once on their unordered channel.
        messages.sort_by_key(|event| !matches!(event, SctpEvent::Message { ppid: Ppid::Dcep, .. }));
        self.events.extend(messages);
    }

    fn take_transmits(&mut self, now: Time) {
        let instant = instant(self.base, now);
        while let Some(Some(transmit)) = self.run(|association| association.poll_transmit(instant)) {
            let Payload::RawEncode(packets) = transmit.payload else { continue };
            for packet in packets {
                self.inbound.sent(&packet);
                self.transmits.push_back(packet.to_vec());
            }
        }
    }

    /// Ends the life of streams that the peer has reset with a message half sent. No stack of good faith does that; the
    /// library would wait for the rest, and keep everything that follows on the stream.
    fn drop_unread_remains(&mut self) {
        if self.inbound.has_pending_reset() || self.generations.is_empty() {
            return;
        }
        for (id, generation) in std::mem::take(&mut self.generations) {
            self.run(|association| {
                let Ok(mut stream) = association.stream(id.0) else { return };
                if !stream.is_writable() && stream.stats().is_ok_and(|stats| stats.generation == generation) {
                    let _ = stream.stop();
                }
            });
        }
    }

    /// Sends what is left to be said, such as an ABORT, and ends.
    fn lose(&mut self, now: Time) {
        self.take_transmits(now);
        self.end(DataCloseReason::Lost);
    }

    fn end(&mut self, end: DataCloseReason) {
        let library = self.library.take();
        // What has panicked may do so again when it is dropped.
        contain(|| drop(library));
        self.events.push_back(SctpEvent::Ended(end));
    }

    /// Calls the library, if there is an association.
    fn run<T>(&mut self, call: impl FnOnce(&mut Association) -> T) -> Option<T> {
        let (_, association) = self.library.as_mut()?.association.as_mut()?;
        let outcome = contain(|| call(association));
        if outcome.is_none() {
            self.end(DataCloseReason::Internal);
        }
        outcome
    }
}

impl fmt::Debug for Sctp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sctp")
            .field("inbound", &self.inbound)
            .field("established", &self.established)
            .finish()
    }
}

impl Library {
    fn new(role: DtlsRole, port: u16) -> Library {
        let transport = TransportConfig::default()
            .with_max_receive_buffer_size(RECEIVE_WINDOW)
            .with_max_receive_message_size(u32::try_from(MESSAGE_LEN_MAX).unwrap_or(u32::MAX))
            .with_max_num_inbound_streams(STREAMS_MAX)
            .with_max_num_outbound_streams(STREAMS_MAX)
            .with_max_init_retransmits(Some(HANDSHAKE_REPEATS))
            .with_rto_initial_ms(RTO_INITIAL_MS)
            .with_rto_min_ms(RTO_MIN_MS)
            .with_rto_max_ms(RTO_MAX_MS)
            .with_remote_port(port);
        let transport = Arc::new(transport);
        let mut config = EndpointConfig::new();
        config.max_payload_size(CHUNK_PAYLOAD_LEN);
        let mut server = ServerConfig::new();
        server.transport = Arc::clone(&transport);
        let mut endpoint = Endpoint::new(Arc::new(config), Some(Arc::new(server)));
        let mut client = ClientConfig::new();
        client.transport = transport;
        let association = match role {
            DtlsRole::Server => None,
            DtlsRole::Client => endpoint.connect(client, PEER).ok(),
        };
        Library { endpoint, association }
    }

    fn receive(&mut self, now: Instant, packet: Bytes) {
        match self.endpoint.handle(now, PEER, None, None, packet) {
            // With an association of our own under way, the peer's INIT answers nothing: ours will be.
            Some((handle, DatagramEvent::NewAssociation(association))) if self.association.is_none() => {
                self.endpoint.reject_new_associations();
                self.association = Some((handle, association));
            }
            Some((handle, DatagramEvent::AssociationEvent(event))) => {
                if let Some((_, association)) = self.association.as_mut().filter(|(ours, _)| *ours == handle)
                {
                    association.handle_event(event);
                }
            }
            _ => {}
        }
    }

    /// All streams, each with the generation that it is in.
    fn generations(&mut self) -> Vec<(StreamId, u64)> {
        let Some((_, association)) = self.association.as_mut() else { return Vec::new() };
        let ids = association.stream_ids();
        let generation =
            |id: u16| Some((StreamId(id), association.stream(id).ok()?.stats().ok()?.generation));
        ids.into_iter().filter_map(generation).collect()
    }
}

fn ppid_of(ppid: PayloadProtocolIdentifier) -> Ppid {
    match ppid {
        PayloadProtocolIdentifier::Dcep => Ppid::Dcep,
        PayloadProtocolIdentifier::String => Ppid::Text,
        PayloadProtocolIdentifier::Binary => Ppid::Binary,
        PayloadProtocolIdentifier::StringEmpty => Ppid::TextEmpty,
        PayloadProtocolIdentifier::BinaryEmpty => Ppid::BinaryEmpty,
        PayloadProtocolIdentifier::Unknown => Ppid::Unknown,
    }
}

/// The library's clock. A time beyond what an [`Instant`] holds stands still.
fn instant(base: Instant, time: Time) -> Instant {
    base.checked_add(Duration::from_nanos(time.0)).unwrap_or(base)
}
