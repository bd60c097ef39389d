//! Writes what a publisher must hear from us: receiver reports, NACKs, keyframe requests, transport-wide feedback.
//! Compounds are plaintext RTCP; sealing them is the transport's affair.

use std::time::Duration;

use crate::drop::Counters;
use crate::packet::TrackIx;
use crate::publisher::track::Layer;
use crate::publisher::twcc_recorder::{Arrival, TwccRecorder};
use crate::publisher::{Publisher, Tracks};
use crate::unit::{ExtSeq, Ssrc, Time};
use crate::wire::rtcp::{ReportBlock, write};

/// RFC 3550's minimum for small sessions is 5 s; WebRTC stacks report every second.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The state of one publisher's feedback.
#[derive(Debug)]
pub struct Feedback {
    /// Our SSRC as a receiver.
    ssrc: Ssrc,
    report_due: Time,
    twcc: TwccWriter,
}

/// Numbers the transport-wide feedback packets.
#[derive(Debug, Default)]
struct TwccWriter {
    count: u8,
    /// The number after the highest one reported: what is lost before the next arrival is reported, too.
    next: Option<ExtSeq>,
    arrivals: Vec<Arrival>,
}

impl Feedback {
    pub fn new(ssrc: Ssrc) -> Feedback {
        Feedback { ssrc, report_due: Time::ZERO, twcc: TwccWriter::default() }
    }
}

impl Publisher {
    /// Hands every compound that is due to `emit`.
    pub fn poll_feedback(
        &mut self,
        now: Time,
        tracks: &mut Tracks,
        counters: &mut Counters,
        emit: &mut impl FnMut(Vec<u8>),
    ) {
        if now >= self.feedback.report_due {
            self.feedback.report_due = now + REPORT_INTERVAL;
            write_reports(now, self.feedback.ssrc, &self.tracks, tracks, emit);
        }
        for ix in &self.tracks {
            let layers = tracks.get_mut(ix.0).map(|track| track.layers.as_mut_slice()).unwrap_or_default();
            for layer in layers {
                write_repair(now, self.feedback.ssrc, layer, counters, emit);
            }
        }
        // libwebrtc ignores transport-wide feedback whose media SSRC isn't one that it sends.
        let layers = self.tracks.iter().filter_map(|ix| tracks.get(ix.0)).flat_map(|track| &track.layers);
        let media = layers.filter_map(|layer| layer.stream.as_ref()).map(|stream| stream.ssrc).next();
        let ssrcs = (self.feedback.ssrc, media.unwrap_or(Ssrc(0)));
        self.feedback.twcc.write(now, ssrcs, &mut self.twcc, emit);
    }

    /// When [`Publisher::poll_feedback`] has something to say next.
    pub fn next_timeout(&self, tracks: &Tracks) -> Option<Time> {
        let layers = self.tracks.iter().filter_map(|ix| tracks.get(ix.0)).flat_map(|track| &track.layers);
        let repair = layers.filter_map(|layer| {
            let stream = layer.stream.as_ref()?;
            [stream.nack.next_timeout(), layer.keyframes.next_timeout()].into_iter().flatten().min()
        });
        let report = (!self.tracks.is_empty()).then_some(self.feedback.report_due);
        repair.chain(report).chain(self.twcc.next_timeout()).min()
    }
}

fn write_reports(
    now: Time,
    ssrc: Ssrc,
    own: &[TrackIx],
    tracks: &mut Tracks,
    emit: &mut impl FnMut(Vec<u8>),
) {
    let mut blocks: Vec<ReportBlock> = Vec::new();
    for ix in own {
        let Some(track) = tracks.get_mut(ix.0) else { continue };
        let streams = track.layers.iter_mut().filter_map(|layer| layer.stream.as_mut());
        blocks.extend(streams.filter_map(|stream| stream.report.block(now, stream.ssrc)));
    }
    let mut rest = blocks.as_slice();
    while !rest.is_empty() {
        let mut compound = Vec::new();
        let written = write::receiver_report(&mut compound, ssrc, rest).unwrap_or(0);
        if written == 0 {
            return;
        }
        emit(compound);
        rest = rest.get(written..).unwrap_or_default();
    }
}

/// NACKs and the keyframe request of one layer, in one compound.
fn write_repair(
    now: Time,
    ssrc: Ssrc,
    layer: &mut Layer,
    counters: &mut Counters,
    emit: &mut impl FnMut(Vec<u8>),
) {
    let Some(stream) = layer.stream.as_mut() else { return };
    let mut lost = Vec::new();
    if stream.nack.poll(now, &mut lost) {
        // A frame can't be completed any more: what follows it can't be decoded.
        layer.keyframes.want();
    }
    let mut compound = Vec::new();
    if !lost.is_empty() {
        counters.nacks_sent += write::nack(&mut compound, ssrc, stream.ssrc, &lost) as u64;
    }
    if layer.keyframes.poll(now) && write::pli(&mut compound, ssrc, stream.ssrc).is_some() {
        counters.keyframe_requests_sent += 1;
    }
    if !compound.is_empty() {
        emit(compound);
    }
}

impl TwccWriter {
    /// `ssrcs`: of the sender of the feedback, and of the media that it speaks of.
    fn write(
        &mut self,
        now: Time,
        (ssrc, media): (Ssrc, Ssrc),
        recorder: &mut TwccRecorder,
        emit: &mut impl FnMut(Vec<u8>),
    ) {
        if !recorder.take_due(now, &mut self.arrivals) {
            return;
        }
        let received: Vec<(ExtSeq, Time)> =
            self.arrivals.iter().map(|arrival| (arrival.seq, arrival.at)).collect();
        let mut rest = received.as_slice();
        while let Some((first, _)) = rest.first() {
            let base = self.next.map_or(*first, |next| next.min(*first));
            let mut compound = Vec::new();
            let written = write::transport_cc(&mut compound, ssrc, media, self.count, base, rest);
            let Some((last, _)) = written.checked_sub(1).and_then(|last| rest.get(last)) else { return };
            self.next = self.next.max(Some(last.next()));
            self.count = self.count.wrapping_add(1);
            emit(compound);
            rest = rest.get(written..).unwrap_or_default();
        }
    }
}
