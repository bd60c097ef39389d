//! The data channels of a transport (RFC 8831, RFC 8832): DCEP in both directions, labels, kinds of messages, and how
//! much may wait for a slow receiver. Over one SCTP association; knows neither rooms nor what messages mean.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;

use crate::command::{DataMessage, RemoteSctp};
use crate::drop::DropReason;
use crate::event::DataCloseReason;
use crate::transport::handshake::DtlsRole;
use crate::transport::sctp::{Ppid, STREAMS_MAX, Sctp, SctpEvent};
use crate::unit::{ChannelType, MessageKind, Reliability, StreamId, Time};
use crate::wire::dcep::{DcepMessage, LABEL_LEN_MAX, Open};

/// Open channels of a transport. Applications have a handful.
pub const CHANNELS_MAX: usize = 32;

/// Bytes that may wait for the peer's acknowledgement: eight of the longest messages.
pub const BUFFERED_MAX: usize = 512 * 1_024;

/// Chunks that may: each costs the library some 200 bytes beside its payload, and all of them are gone through with
/// every message.
const OUTSTANDING_MAX: usize = 2_048;

/// What came of a call.
#[derive(Debug)]
pub enum DataEvent {
    /// Messages can be sent.
    Established,
    Message(DataMessage),
    /// Nothing goes in or out any more.
    Ended(DataCloseReason),
    Dropped(DropReason),
}

#[derive(Debug)]
struct Channel {
    label: String,
    channel_type: ChannelType,
    /// Opened by us, and not acknowledged: until then messages go in order (RFC 8832 §6).
    awaits_ack: bool,
    /// Bytes that waited when it was last looked at.
    buffered: usize,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct DataChannels {
    sctp: Sctp,
    role: DtlsRole,
    channels: BTreeMap<StreamId, Channel>,
    /// Bytes that may still wait for the peer on channels that are closed.
    orphaned: usize,
    events: VecDeque<DataEvent>,
}

impl DataChannels {
    /// `role` is ours in DTLS, which is established; `base` is the instant of [`Time::ZERO`].
    pub fn new(now: Time, base: Instant, role: DtlsRole, remote: RemoteSctp) -> DataChannels {
        DataChannels {
            sctp: Sctp::new(now, base, role, remote),
            role,
            channels: BTreeMap::new(),
            orphaned: 0,
            events: VecDeque::new(),
        }
    }

    /// The peer's side as it was negotiated again.
    pub fn set_remote(&mut self, remote: RemoteSctp) {
        self.sctp.set_remote(remote);
    }

    /// One packet out of DTLS. Any bytes may come.
    pub fn receive(&mut self, now: Time, packet: &[u8]) {
        if let Err(reason) = self.sctp.receive(now, packet) {
            self.events.push_back(DataEvent::Dropped(reason));
        }
        self.follow(now);
    }

    pub fn handle_timeout(&mut self, now: Time) {
        self.sctp.handle_timeout(now);
        self.follow(now);
    }

    pub fn next_timeout(&self) -> Option<Time> {
        self.sctp.next_timeout()
    }

    /// Sends a message on the channel with its label; opens one if there is none. A receiver that is too slow misses a
    /// message of an unreliable channel; a reliable channel is closed, because a gap in it would go unnoticed.
    pub fn send(&mut self, now: Time, message: &DataMessage) {
        if let Err(reason) = self.try_send(message) {
            self.events.push_back(DataEvent::Dropped(reason));
        }
        self.sctp.settle(now);
        self.follow(now);
    }

    fn try_send(&mut self, message: &DataMessage) -> Result<(), DropReason> {
        if !self.sctp.is_established() {
            return Err(DropReason::DataUnsendable);
        }
        if message.payload.len() > self.sctp.message_len_max() {
            return Err(DropReason::DataTooLong);
        }
        let with_label = |(_, channel): &(&StreamId, &Channel)| channel.label == message.label;
        let known = self.channels.iter().find(with_label).map(|(stream, _)| *stream);
        if self.waiting() + message.payload.len() > BUFFERED_MAX || self.sctp.outstanding() > OUTSTANDING_MAX
        {
            let channel = known.and_then(|stream| Some((stream, self.channels.get(&stream)?)));
            if let Some((stream, channel)) = channel
                && channel.channel_type.reliability == Reliability::Reliable
            {
                self.close(stream);
            }
            return Err(DropReason::DataReceiverSlow);
        }
        let stream = match known {
            Some(stream) => stream,
            None => self.open(message)?,
        };
        let empty = message.payload.is_empty();
        let ppid = match (message.kind, empty) {
            (MessageKind::Text, false) => Ppid::Text,
            (MessageKind::Text, true) => Ppid::TextEmpty,
            (MessageKind::Binary, false) => Ppid::Binary,
            (MessageKind::Binary, true) => Ppid::BinaryEmpty,
        };
        let payload: &[u8] = if empty { &[0] } else { &message.payload };
        self.sctp.write(stream, ppid, payload).map_err(|_| DropReason::DataUnsendable)
    }

    /// Opens a channel (RFC 8832 §6): the client of DTLS takes even streams, the server odd ones.
    fn open(&mut self, message: &DataMessage) -> Result<StreamId, DropReason> {
        if self.channels.len() >= CHANNELS_MAX {
            return Err(DropReason::DataTooManyChannels);
        }
        if message.label.len() > LABEL_LEN_MAX {
            return Err(DropReason::DataUnsendable);
        }
        let first = match self.role {
            DtlsRole::Client => 0,
            DtlsRole::Server => 1,
        };
        let mut streams = (first..STREAMS_MAX).step_by(2).map(StreamId);
        let stream = streams.find(|stream| !self.channels.contains_key(stream) && self.sctp.open(*stream));
        let stream = stream.ok_or(DropReason::DataTooManyChannels)?;
        let (channel_type, label) = (message.channel_type, message.label.clone());
        let open = Open { channel_type, label: label.clone(), protocol: String::new() };
        self.channels.insert(stream, Channel { label, channel_type, awaits_ack: true, buffered: 0 });
        let open = DcepMessage::Open(open).write();
        self.sctp.write(stream, Ppid::Dcep, &open).map_err(|_| DropReason::DataUnsendable)?;
        Ok(stream)
    }

    /// Bytes that wait for the peer.
    fn waiting(&mut self) -> usize {
        if self.sctp.outstanding() == 0 {
            self.orphaned = 0;
        }
        let mut waiting = self.orphaned;
        for (stream, channel) in &mut self.channels {
            channel.buffered = self.sctp.buffered(*stream);
            waiting = waiting.saturating_add(channel.buffered);
        }
        waiting
    }

    fn close(&mut self, stream: StreamId) {
        self.sctp.close(stream);
        self.forget(stream);
    }

    fn forget(&mut self, stream: StreamId) {
        if let Some(channel) = self.channels.remove(&stream) {
            self.orphaned = self.orphaned.saturating_add(channel.buffered);
        }
    }

    /// Acts on what the association has to say.
    fn follow(&mut self, now: Time) {
        let mut written = false;
        while let Some(event) = self.sctp.poll() {
            match event {
                SctpEvent::Established => self.events.push_back(DataEvent::Established),
                SctpEvent::Message { stream, ppid, payload } => {
                    written |= ppid == Ppid::Dcep;
                    if let Err(reason) = self.take_message(stream, ppid, payload) {
                        self.events.push_back(DataEvent::Dropped(reason));
                    }
                }
                SctpEvent::Closed(stream) => self.forget(stream),
                SctpEvent::Ended(reason) => {
                    self.channels.clear();
                    self.events.push_back(DataEvent::Ended(reason));
                }
            }
        }
        if written {
            self.sctp.settle(now);
        }
    }

    fn take_message(&mut self, stream: StreamId, ppid: Ppid, payload: Vec<u8>) -> Result<(), DropReason> {
        let (kind, payload) = match ppid {
            Ppid::Dcep => return self.take_dcep(stream, &payload),
            Ppid::Text if std::str::from_utf8(&payload).is_ok() => (MessageKind::Text, payload),
            Ppid::Binary => (MessageKind::Binary, payload),
            Ppid::TextEmpty => (MessageKind::Text, Vec::new()),
            Ppid::BinaryEmpty => (MessageKind::Binary, Vec::new()),
            Ppid::Text | Ppid::Unknown => return Err(DropReason::DataMalformed),
        };
        let channel = match self.channels.get(&stream) {
            Some(channel) => channel,
            // No OPEN came before: an application has agreed on the number by other means.
            None => self.add(stream, String::new(), ChannelType::RELIABLE)?,
        };
        let (label, channel_type) = (channel.label.clone(), channel.channel_type);
        let message = DataMessage { label, channel_type, kind, payload: Bytes::from(payload) };
        self.events.push_back(DataEvent::Message(message));
        Ok(())
    }

    fn take_dcep(&mut self, stream: StreamId, payload: &[u8]) -> Result<(), DropReason> {
        match DcepMessage::parse(payload) {
            Some(DcepMessage::Open(open)) if !self.channels.contains_key(&stream) => {
                self.add(stream, open.label, open.channel_type)?;
                self.sctp.set_type(stream, open.channel_type);
                let ack = DcepMessage::Ack.write();
                self.sctp.write(stream, Ppid::Dcep, &ack).map_err(|_| DropReason::DataUnsendable)
            }
            Some(DcepMessage::Ack) => {
                let channel = self.channels.get_mut(&stream).filter(|channel| channel.awaits_ack);
                let channel = channel.ok_or(DropReason::DataMalformed)?;
                channel.awaits_ack = false;
                self.sctp.set_type(stream, channel.channel_type);
                Ok(())
            }
            // A stream in use can't be opened, and no other message is known (RFC 8832 §6): the channel is closed.
            Some(DcepMessage::Open(_)) | None => {
                self.close(stream);
                Err(DropReason::DataMalformed)
            }
        }
    }

    fn add(
        &mut self,
        stream: StreamId,
        label: String,
        channel_type: ChannelType,
    ) -> Result<&Channel, DropReason> {
        if self.channels.len() >= CHANNELS_MAX {
            self.sctp.close(stream);
            return Err(DropReason::DataTooManyChannels);
        }
        let channel = Channel { label, channel_type, awaits_ack: false, buffered: 0 };
        Ok(self.channels.entry(stream).or_insert(channel))
    }

    pub fn poll(&mut self) -> Option<DataEvent> {
        self.events.pop_front()
    }

    /// The next packet for DTLS.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.sctp.poll_transmit()
    }
}
