//! A slot: the m-section that a subscriber receives through. Fixed mid, SSRC and payload types towards the
//! subscriber; whatever source behind it. Selects, rewrites and remembers; the pacer releases.

use std::time::Duration;

use crate::command::{Codec, LayerRequest, PayloadType, SlotSpec};
use crate::event::ForwardedLayer;
use crate::guard::SealGuard;
use crate::pacer::Paced;
use crate::packet::{OutFormat, Packet, PayloadForm, StreamRef, TrackIx, Trim};
use crate::publisher::recv_stream::RecvStream;
use crate::publisher::track::Track;
use crate::subscriber::layer_filter::{LayerFilter, Verdict, Wish};
use crate::subscriber::layer_selector::{LayerSelector, Selection};
use crate::subscriber::nack_responder::NackResponder;
use crate::subscriber::payload_rewriter::PayloadRewriter;
use crate::subscriber::rewriter::{Mapped, Rewriter, Segment};
use crate::subscriber::sent_history::{Sent, SentHistory};
use crate::unit::{ExtSeq, LayerId, RtpTime, SeqNo, TemporalId, Time};
use crate::wire::rtp_ext::ExtensionWriter;

/// Timestamps of a new segment are at least this far ahead, so that two frames never share one.
const STEP_MIN: Duration = Duration::from_millis(1);

/// How a slot that shows nothing yet waits for a keyframe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Waiting {
    No,
    Since(Time),
    /// The control plane was told.
    Told,
}

/// The packet that went out last, for continuity over a switch.
#[derive(Clone, Copy, Debug)]
struct LastOut {
    source: StreamRef,
    rtp_time_in: RtpTime,
    rtp_time_out: RtpTime,
    received: Time,
}

/// What became of a packet that was offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offered {
    Queue(Paced),
    /// The first packet of a switch: what follows it in its stream may have come before it.
    Enter(Paced),
    /// Another layer, or waiting for a keyframe.
    Skipped,
    /// From before a switch, or too late for the rewriter.
    TooLate,
    /// The slot's m-section can't carry the codec.
    Unsupported,
}

#[derive(Debug)]
pub struct Slot {
    pub spec: SlotSpec,
    pub writer: ExtensionWriter,
    source: Option<TrackIx>,
    /// By the source's format index; `None` where the slot can't carry the codec.
    formats: Vec<Option<OutFormat>>,
    /// The source's redundant audio goes on as such, so what it repeats needn't.
    takes_red: bool,
    /// As which the segment that was entered last goes out.
    entered: Option<OutFormat>,
    pub selector: LayerSelector,
    filter: LayerFilter,
    pub rewriter: Rewriter,
    payload: PayloadRewriter,
    pub history: SentHistory,
    pub responder: NackResponder,
    last: Option<LastOut>,
    pub guard: SealGuard,
    pub rtx_next: ExtSeq,
    pub packets_sent: u32,
    pub octets_sent: u32,
    /// The layer that the control plane was told last.
    pub announced: Option<ForwardedLayer>,
    /// The control plane was told that the slot can't carry its source's codec.
    pub unsupported: bool,
    waiting: Waiting,
}

impl Slot {
    /// `first` and `rtx_first` are random 15-bit numbers: the first sequence numbers (RFC 3711 §3.3.1 advises
    /// against starting near the wrap).
    pub fn new(spec: SlotSpec, first: SeqNo, rtx_first: SeqNo) -> Slot {
        let first = ExtSeq(u64::from(first.0));
        let mut filter = LayerFilter::default();
        filter.set_has_descriptor(spec.extensions.dependency_descriptor.is_some());
        Slot {
            writer: ExtensionWriter::new(spec.extensions),
            spec,
            source: None,
            formats: Vec::new(),
            takes_red: false,
            entered: None,
            selector: LayerSelector::default(),
            filter,
            rewriter: Rewriter::new(first),
            payload: PayloadRewriter::default(),
            history: SentHistory::default(),
            responder: NackResponder::default(),
            last: None,
            guard: SealGuard::new(first),
            rtx_next: ExtSeq(u64::from(rtx_first.0)),
            packets_sent: 0,
            octets_sent: 0,
            announced: None,
            unsupported: false,
            waiting: Waiting::No,
        }
    }

    /// Takes a new description; numbers and source go on.
    pub fn update(&mut self, spec: SlotSpec, source: Option<&Track>) {
        self.writer = ExtensionWriter::new(spec.extensions);
        self.filter.set_has_descriptor(spec.extensions.dependency_descriptor.is_some());
        self.spec = spec;
        if let Some(track) = source {
            self.match_formats(track);
        }
    }

    pub fn source(&self) -> Option<TrackIx> {
        self.source
    }

    pub fn set_source(&mut self, source: Option<(TrackIx, &Track)>) {
        self.source = source.map(|(ix, _)| ix);
        self.unsupported = false;
        self.selector.reset();
        if let Some((_, track)) = source {
            self.match_formats(track);
            self.retarget(track);
        } else {
            self.selector.retarget(&[]);
        }
    }

    pub fn set_request(&mut self, request: LayerRequest, source: Option<&Track>) {
        self.selector.set_request(request);
        match source {
            Some(track) => self.retarget(track),
            None => self.selector.retarget(&[]),
        }
    }

    /// Other layers of the source arrive, or others are asked for.
    pub fn retarget(&mut self, track: &Track) {
        self.selector.retarget(&track.arriving);
        self.filter.set_wish(Wish::of(self.selector.request(), track.is_simulcast()));
        if let Some(highest) = track.highest_spatial {
            self.filter.set_offered(highest);
        }
    }

    /// What is forwarded now, of either kind of layers.
    pub fn forwards(&self, track: &Track) -> Option<ForwardedLayer> {
        let id = self.selector.current()?;
        let stream = track.layer(id)?.stream.as_ref();
        let Some((spatial, temporal)) = stream.and_then(|stream| self.filter.current(&stream.dependencies))
        else {
            return Some(ForwardedLayer { spatial: id, temporal: None });
        };
        let ladder = || track.ladder.iter().filter(|layer| track.is_simulcast() || layer.id.0 <= spatial);
        let spatial =
            if track.is_simulcast() { id } else { ladder().next_back().map_or(LayerId(0), |layer| layer.id) };
        let arriving = ladder().find(|layer| layer.id == spatial).map_or(1, |layer| layer.temporal_count);
        let temporal = TemporalId(temporal.min(arriving.saturating_sub(1)));
        Some(ForwardedLayer { spatial, temporal: Some(temporal) })
    }

    /// How the slot carries what `format` of its source is; `None` if it can't.
    fn out_format(&self, format: u8) -> Option<OutFormat> {
        self.formats.get(usize::from(format)).copied().flatten()
    }

    /// Whether there is no format of its source that the slot could carry.
    pub fn can_carry_nothing(&self) -> bool {
        !self.formats.is_empty() && self.formats.iter().all(Option::is_none)
    }

    /// The layer whose keyframe would move the slot.
    pub fn waits_for(&self) -> Option<LayerId> {
        let within = || self.selector.current().filter(|_| self.filter.needs_keyframe());
        self.selector.waits_for().or_else(within).filter(|_| !self.unsupported)
    }

    /// Decides on one packet of the source, and gives it its outgoing number if it goes on.
    pub fn offer(
        &mut self,
        track: &Track,
        stream: &RecvStream,
        source: StreamRef,
        packet: &Packet,
    ) -> Offered {
        let Some(format) = self.out_format(packet.format) else { return self.refuse(source.layer) };
        if packet.recovered && self.takes_red {
            return Offered::Skipped;
        }
        let mut enters = false;
        match self.selector.select(source.layer, packet.is_keyframe_start()) {
            Selection::Skip => return Offered::Skipped,
            Selection::Forward if self.continues(track, source, packet, format) => {}
            // The layer has begun a new stream or another codec, or lost too much, or audio went on after a mute: enter
            // it like a switch.
            Selection::Forward if !packet.is_keyframe_start() => {
                self.selector.reset();
                return Offered::Skipped;
            }
            Selection::Forward | Selection::Switch => {
                self.enter(track, stream, source, packet);
                self.entered = Some(format);
                enters = true;
            }
        }
        let mut trim = Trim::default();
        if track.is_video() {
            match self.filter.decide(packet, &stream.dependencies) {
                Verdict::Forward { ends_picture, active_targets } => {
                    trim = Trim { ends_picture, active_targets, ..trim };
                    trim.pictures_out = self.payload.pictures_out(&packet.descriptor);
                }
                Verdict::LeaveOut => return self.leave_out(source, packet, format),
                Verdict::Stuck => {
                    self.selector.reset();
                    return Offered::Skipped;
                }
            }
        }
        let mapped = self.rewriter.map(source, packet.seq);
        match mapped.and_then(|mapped| self.remember(source, packet, format, trim, mapped)) {
            Some(paced) if enters => Offered::Enter(paced),
            Some(paced) => Offered::Queue(paced),
            None => Offered::TooLate,
        }
    }

    /// A padding-only packet of the source: the numbers close over it. A late one leaves its gap.
    pub fn absorb(&mut self, source: StreamRef, seq: ExtSeq) {
        let _ = self.rewriter.leave_out(source, seq);
    }

    /// A packet of layers that aren't forwarded. A late one has had a number kept for it, and goes as an empty packet, so
    /// that the receiver doesn't wait.
    fn leave_out(&mut self, source: StreamRef, packet: &Packet, format: OutFormat) -> Offered {
        self.payload.left_out(&packet.descriptor);
        let Some(mapped) = self.rewriter.leave_out(source, packet.seq) else { return Offered::Skipped };
        let trim = Trim { is_empty: true, ..Trim::default() };
        self.remember(source, packet, format, trim, mapped).map_or(Offered::TooLate, Offered::Queue)
    }

    /// The outgoing media time at `now`, for a sender report; `None` until something was sent.
    pub fn rtp_time_at(&self, now: Time, stream: Option<&RecvStream>) -> Option<RtpTime> {
        let last = self.last?;
        let offset = last.rtp_time_out.since(last.rtp_time_in);
        let stream = stream.filter(|stream| stream.id == last.source.stream);
        if let Some(rtp_time) = stream.and_then(|stream| stream.rtp_time_at(now)) {
            return Some(rtp_time.plus(offset as u32));
        }
        let clock_rate = self.spec.payload_types.first()?.clock_rate;
        Some(last.rtp_time_out.plus(clock_rate.ticks(now.since(last.received))))
    }

    /// True once when the slot could have begun `patience` ago, but for a keyframe.
    pub fn keyframe_overdue(&mut self, now: Time, connected: bool, patience: Duration) -> bool {
        let waits = self.selector.current().is_none() && self.selector.waits_for().is_some();
        if !connected || !waits || self.unsupported {
            self.waiting = Waiting::No;
            return false;
        }
        match self.waiting {
            Waiting::No => self.waiting = Waiting::Since(now),
            Waiting::Since(since) if now.since(since) >= patience => {
                self.waiting = Waiting::Told;
                return true;
            }
            Waiting::Since(_) | Waiting::Told => {}
        }
        false
    }

    /// A packet of a codec that the slot can't carry. It matters unless another layer is shown.
    fn refuse(&mut self, layer: LayerId) -> Offered {
        if !self.selector.concerns(layer) {
            return Offered::Skipped;
        }
        self.selector.reset();
        Offered::Unsupported
    }

    /// Whether a packet of the current layer follows what was forwarded. A late one from before the source changed its
    /// codec does: it belongs to an earlier segment.
    fn continues(&self, track: &Track, source: StreamRef, packet: &Packet, format: OutFormat) -> bool {
        let Some(segment) = self.rewriter.current().filter(|segment| segment.source == source) else {
            return false;
        };
        let same_codec =
            !track.is_video() || self.entered == Some(format) || segment.begins_after(packet.seq);
        same_codec && !self.rewriter.is_beyond_repair(packet.seq)
    }

    /// Begins a segment at `packet`: numbers, timestamps and picture ids go on from the last ones.
    fn enter(&mut self, track: &Track, stream: &RecvStream, source: StreamRef, packet: &Packet) {
        let ts_offset = match self.last {
            None => 0,
            Some(last) if last.source == source => last.rtp_time_out.since(last.rtp_time_in) as u32,
            Some(last) => {
                let clock_rate = stream.report.clock_rate();
                let step = elapsed(&last, track, stream, packet).max(STEP_MIN);
                let rtp_time = last.rtp_time_out.plus(clock_rate.ticks(step));
                rtp_time.since(packet.rtp_time) as u32
            }
        };
        let payload = self.payload.begin(packet);
        self.rewriter.begin(source, packet.seq, ts_offset, payload);
        self.selector.switched(source.layer);
        if track.is_video() {
            self.filter.enter(source, packet, &stream.dependencies);
        }
    }

    fn remember(
        &mut self,
        source: StreamRef,
        packet: &Packet,
        format: OutFormat,
        trim: Trim,
        mapped: Mapped,
    ) -> Option<Paced> {
        let segment = self.rewriter.segment(mapped.segment)?;
        let newest = mapped.seq.next() == self.rewriter.next_out();
        if !trim.is_empty {
            self.payload.sent(segment.payload, trim, packet);
        }
        if newest {
            self.last = Some(LastOut {
                source,
                rtp_time_in: packet.rtp_time,
                rtp_time_out: segment.rtp_time(packet.rtp_time),
                received: packet.received,
            });
        }
        if self.spec.rtx_ssrc.is_some() {
            self.history.record(Sent {
                seq: mapped.seq,
                source_seq: packet.seq,
                segment: mapped.segment,
                format,
                trim,
                resends: 0,
                at: packet.received,
            });
        }
        Some(Paced {
            slot: self.spec.id,
            source,
            source_seq: packet.seq,
            seq: mapped.seq,
            segment: mapped.segment,
            format,
            trim,
            rtx: false,
        })
    }

    pub fn segment(&self, paced: &Paced) -> Option<&Segment> {
        self.rewriter.segment(paced.segment)
    }

    /// Finds the payload types for the formats of the source.
    pub fn match_formats(&mut self, track: &Track) {
        let own = &self.spec.payload_types;
        self.formats = track.spec.payload_types.iter().map(|source| out_format(source, own)).collect();
        let is_red = |format: &OutFormat| matches!(format.form, PayloadForm::Red { .. });
        self.takes_red = self.formats.iter().flatten().any(is_red);
    }
}

/// How a source's format leaves through a slot with these payload types: as the same codec, else as one whose decoder
/// takes it, too; redundant audio also without its redundancy.
fn out_format(source: &PayloadType, own: &[PayloadType]) -> Option<OutFormat> {
    let usable = || own.iter().filter(|own| own.clock_rate == source.clock_rate);
    let find = |codec: Codec| usable().find(|own| own.codec == codec);
    let found = find(source.codec).or_else(|| usable().find(|own| own.codec.decodes(source.codec)));
    let (own, form) = match (source.codec, found) {
        (Codec::Red, Some(red)) => (red, PayloadForm::Red { inner: find(Codec::Opus)?.pt }),
        (Codec::Red, None) => (find(Codec::Opus)?, PayloadForm::Primary),
        (_, found) => (found?, PayloadForm::AsIs),
    };
    Some(OutFormat { pt: own.pt, rtx: own.rtx, form })
}

/// Media time between the last packet that went out and the first of a new segment: by both streams' sender
/// reports when they are layers of one track, else by arrival.
fn elapsed(last: &LastOut, track: &Track, stream: &RecvStream, packet: &Packet) -> Duration {
    let by_arrival = packet.received.since(last.received);
    let Some(previous) = track.stream(last.source) else { return by_arrival };
    match (previous.captured_at(last.rtp_time_in), stream.captured_at(packet.rtp_time)) {
        (Some(before), Some(now)) => now.since(before),
        _ => by_arrival,
    }
}
