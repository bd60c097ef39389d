//! One participant's uplink: binds SSRCs to tracks and layers, counts and keeps what arrives, and writes the
//! feedback that the publisher needs. Doesn't know who watches.

pub mod dependencies;
pub mod keyframe_requests;
pub mod layer_activity;
pub mod nack_generator;
pub mod receiver_report;
pub mod recv_stream;
pub mod redundancy;
pub mod source_clock;
pub mod track;
pub mod twcc_recorder;

mod bind;
mod feedback;

pub use bind::{Bindings, Bound};
pub use feedback::Feedback;

use crate::command::Codec;
use crate::drop::{Counters, DropReason};
use crate::packet::StreamId;
use crate::packet::{Carried, Packet, StreamRef, TrackIx};
use crate::publisher::dependencies::Reading;
use crate::publisher::nack_generator::Gap;
use crate::publisher::recv_stream::RecvStream;
use crate::publisher::source_clock::SourceClock;
use crate::publisher::track::{Layer, Track};
use crate::publisher::twcc_recorder::TwccRecorder;
use crate::unit::{ExtSeq, NtpTime, RtpTime, Ssrc, Time};
use crate::wire::payload::PayloadDescriptor;
use crate::wire::payload::red::RedDescriptor;
use crate::wire::payload::vp8::Vp8Descriptor;
use crate::wire::payload::vp9::Vp9Descriptor;
use crate::wire::payload::{av1, h264, h265};
use crate::wire::rtp::RtpHeader;
use crate::wire::rtp_ext::{ExtensionMap, Extensions};
use crate::wire::rtx;
use crate::wire::video_layers_allocation::VideoLayersAllocation;

/// All tracks of a worker.
pub type Tracks = slab::Slab<Track>;

/// One opened RTP packet.
#[derive(Debug)]
pub struct Incoming<'a> {
    pub header: &'a RtpHeader,
    /// The unwrapped sequence number that SRTP authenticated.
    pub index: ExtSeq,
    pub extensions: &'a Extensions,
    /// The whole packet, which the extensions' ranges lie in.
    pub packet: &'a [u8],
    pub payload: &'a [u8],
}

impl Incoming<'_> {
    fn dependency_descriptor(&self) -> Option<&[u8]> {
        self.extensions.dependency_descriptor.map(|range| range.of(self.packet))
    }
}

/// What became of a packet that wasn't dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fresh {
    pub source: StreamRef,
    pub seq: ExtSeq,
    /// Nothing but padding: slots close the gap.
    pub padding_only: bool,
}

#[derive(Debug)]
pub struct Publisher {
    pub tracks: Vec<TrackIx>,
    pub extensions: ExtensionMap,
    pub bindings: Bindings,
    pub twcc: TwccRecorder,
    pub clock: SourceClock,
    pub feedback: Feedback,
    next_stream: StreamIds,
}

/// Hands out stream ids that are unique in the worker: the peer's serial number above, a count below.
#[derive(Debug)]
pub struct StreamIds(u64);

impl StreamIds {
    /// `serial` is unique among all peers that the worker ever had.
    pub fn new(serial: u32) -> StreamIds {
        StreamIds(u64::from(serial) << 32)
    }

    fn next(&mut self) -> StreamId {
        self.0 += 1;
        StreamId(self.0)
    }
}

impl Publisher {
    pub fn new(serial: u32, local_ssrc: Ssrc) -> Publisher {
        Publisher {
            tracks: Vec::new(),
            extensions: ExtensionMap::default(),
            bindings: Bindings::default(),
            twcc: TwccRecorder::default(),
            clock: SourceClock::default(),
            feedback: Feedback::new(local_ssrc),
            next_stream: StreamIds::new(serial),
        }
    }

    /// Takes one RTP packet: binds, counts, keeps. What is new is appended to `fresh`: the packet, and before it those
    /// that its redundancy has brought back.
    pub fn receive(
        &mut self,
        now: Time,
        incoming: &Incoming<'_>,
        tracks: &mut Tracks,
        fresh: &mut Vec<Fresh>,
        counters: &mut Counters,
    ) -> Result<(), DropReason> {
        if let Some(seq) = incoming.extensions.transport_cc {
            self.twcc.record(now, incoming.header.ssrc, seq);
        }
        let bound = self.bindings.bind(incoming, &self.tracks, tracks)?;
        let track = tracks.get_mut(bound.track.0).ok_or(DropReason::UnknownStream)?;
        let allocation = incoming.extensions.video_layers_allocation;
        if let Some(told) =
            allocation.and_then(|range| VideoLayersAllocation::parse(range.of(incoming.packet)))
        {
            let before = track.allocation.as_ref();
            track.allocation = Some(before.map_or(told, |before| told.with_sizes_of(before)));
        }
        if bound.rtx {
            counters.rtx_received += 1;
            receive_rtx(now, bound, incoming, track, fresh)
        } else {
            self.receive_media(now, bound, incoming, track, fresh, counters)
        }
    }

    fn receive_media(
        &mut self,
        now: Time,
        bound: Bound,
        incoming: &Incoming<'_>,
        track: &mut Track,
        fresh: &mut Vec<Fresh>,
        counters: &mut Counters,
    ) -> Result<(), DropReason> {
        let header = incoming.header;
        let (format, payload_type) = track.format(header.pt).ok_or(DropReason::UnknownPayloadType)?;
        let (codec, repairable, clock_rate) =
            (payload_type.codec, payload_type.nack, payload_type.clock_rate);
        let plain_audio = track.plain_audio();
        let (kind, muted) = (track.spec.kind, track.spec.muted);
        let layer = track.layer_mut(bound.layer).ok_or(DropReason::UnknownStream)?;
        if layer.stream.as_ref().is_none_or(|stream| stream.ssrc != header.ssrc) {
            let id = self.next_stream.next();
            let old = layer.stream.replace(RecvStream::new(id, header.ssrc, kind, clock_rate, now));
            if let Some(old) = old {
                self.bindings.retire(old.ssrc);
            }
        }
        let stream = layer.stream.as_mut().ok_or(DropReason::UnknownStream)?;
        if stream.arrived(now, incoming.index, header.time, repairable) == Gap::Hopeless {
            layer.keyframes.want();
        }
        if muted {
            stream.withhold(incoming.index);
            return Err(DropReason::Muted);
        }
        let source = StreamRef { track: bound.track, layer: bound.layer, stream: stream.id };
        let new = |seq| Fresh { source, seq, padding_only: false };
        if incoming.payload.is_empty() {
            fresh.push(Fresh { padding_only: true, ..new(incoming.index) });
            return Ok(());
        }
        if let (Codec::Red, Some((plain, inner))) = (codec, plain_audio) {
            let red = RedDescriptor::parse(incoming.payload, inner).ok_or(DropReason::RedMalformed)?;
            if stream.withheld_before(incoming.index, red.redundant_count()) {
                // Its copies are of what was muted.
                let packet = packet(now, incoming, incoming.index, plain, PayloadDescriptor::Opaque);
                stream.keep(packet, &[], red.primary(incoming.payload))?;
                fresh.push(new(incoming.index));
                return Ok(());
            }
            let packet = packet(now, incoming, incoming.index, format, PayloadDescriptor::Red(red));
            redundancy::recover(now, stream, &packet, &red, incoming.payload, plain, |seq| {
                counters.red_recovered += 1;
                fresh.push(new(seq));
            });
            stream.keep(packet, &[], incoming.payload)?;
            fresh.push(new(incoming.index));
            return Ok(());
        }
        let descriptor = describe(codec, incoming.payload)?;
        let packet = packet(now, incoming, incoming.index, format, descriptor);
        keep(layer, source, packet, incoming, incoming.payload, fresh)
    }

    /// A sender report of one of this publisher's streams.
    pub fn sender_report(
        &mut self,
        now: Time,
        ssrc: Ssrc,
        ntp: NtpTime,
        rtp_time: RtpTime,
        tracks: &mut Tracks,
    ) {
        let Some(bound) = self.bindings.find(ssrc) else { return };
        let Some(stream) = tracks
            .get_mut(bound.track.0)
            .and_then(|track| track.layer_mut(bound.layer))
            .and_then(|layer| layer.stream.as_mut())
            .filter(|stream| stream.ssrc == ssrc)
        else {
            return;
        };
        let written = self.clock.sender_report(now, ntp);
        stream.report.sender_report(now, ntp, rtp_time);
        stream.set_capture(rtp_time, written);
    }
}

fn receive_rtx(
    now: Time,
    bound: Bound,
    incoming: &Incoming<'_>,
    track: &mut Track,
    fresh: &mut Vec<Fresh>,
) -> Result<(), DropReason> {
    if incoming.payload.is_empty() {
        return Err(DropReason::PaddingOnly);
    }
    let (osn, original) = rtx::split(incoming.payload).ok_or(DropReason::RtxUnusable)?;
    let (format, payload_type) =
        track.format_of_rtx(incoming.header.pt).ok_or(DropReason::UnknownPayloadType)?;
    let codec = payload_type.codec;
    let muted = track.spec.muted;
    let layer = track.layer_mut(bound.layer).ok_or(DropReason::RtxUnusable)?;
    let stream = layer.stream.as_mut().ok_or(DropReason::RtxUnusable)?;
    let seq = stream.original(osn).ok_or(DropReason::RtxUnusable)?;
    stream.repaired(now, seq);
    if muted {
        return Err(DropReason::Muted);
    }
    let source = StreamRef { track: bound.track, layer: bound.layer, stream: stream.id };
    if original.is_empty() {
        return Err(DropReason::PaddingOnly);
    }
    let descriptor = describe(codec, original)?;
    let packet = packet(now, incoming, seq, format, descriptor);
    keep(layer, source, packet, incoming, original, fresh)
}

/// Keeps a packet that came as itself or as its repair, with what its dependency descriptor says. One that can't be
/// described yet counts as one that hasn't come, until the structure that it needs has.
fn keep(
    layer: &mut Layer,
    source: StreamRef,
    mut packet: Packet,
    incoming: &Incoming<'_>,
    payload: &[u8],
    fresh: &mut Vec<Fresh>,
) -> Result<(), DropReason> {
    let stream = layer.stream.as_mut().ok_or(DropReason::UnknownStream)?;
    let bytes = incoming.dependency_descriptor().unwrap_or_default();
    let reading = stream.dependencies.read(bytes);
    packet.is_undescribed = reading == Some(Reading::Undescribed);
    if let Some(Reading::Described(dependency) | Reading::Structured(dependency)) = reading {
        packet.dependency = Some(dependency);
    }
    stream.keep(packet, bytes, payload)?;
    if packet.is_undescribed {
        return Ok(());
    }
    if packet.is_keyframe_start() {
        layer.keyframes.arrived();
    }
    if let Some((spatial, temporal)) = packet.layers() {
        stream.activity.received(packet.received, spatial, temporal);
    }
    let new = |seq| Fresh { source, seq, padding_only: false };
    fresh.push(new(packet.seq));
    if matches!(reading, Some(Reading::Structured(_))) {
        stream.describe_held(packet.received, packet.seq, |seq| fresh.push(new(seq)));
    }
    Ok(())
}

fn describe(codec: Codec, payload: &[u8]) -> Result<PayloadDescriptor, DropReason> {
    let video = |keyframe_start, temporal_id| Ok(PayloadDescriptor::Video { keyframe_start, temporal_id });
    match codec {
        Codec::Vp8 => {
            Vp8Descriptor::parse(payload).map(PayloadDescriptor::Vp8).ok_or(DropReason::RtpMalformed)
        }
        Codec::Vp9 { .. } => {
            Vp9Descriptor::parse(payload).map(PayloadDescriptor::Vp9).ok_or(DropReason::RtpMalformed)
        }
        Codec::H264 { .. } => video(h264::is_keyframe_start(payload), None),
        Codec::H265 { .. } => video(h265::is_keyframe_start(payload), h265::temporal_id(payload)),
        Codec::Av1 { .. } => video(av1::is_keyframe_start(payload), av1::temporal_id(payload)),
        Codec::Opus => Ok(PayloadDescriptor::Opaque),
        // Without plain Opus in its section nothing says what is inside.
        Codec::Red => Err(DropReason::RedMalformed),
    }
}

fn packet(
    now: Time,
    incoming: &Incoming<'_>,
    seq: ExtSeq,
    format: u8,
    descriptor: PayloadDescriptor,
) -> Packet {
    let extensions = incoming.extensions;
    Packet {
        seq,
        rtp_time: incoming.header.time,
        received: now,
        marker: incoming.header.marker,
        format,
        descriptor,
        dependency: None,
        is_undescribed: false,
        carried: Carried {
            audio_level: extensions.audio_level,
            abs_capture_time: extensions.abs_capture_time,
            video_orientation: extensions.video_orientation,
            playout_delay: extensions.playout_delay,
        },
        recovered: false,
    }
}
