//! Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01): remembers when packets came and
//! writes the reports. Knows nothing of what was in them.

use std::collections::BTreeMap;

use rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, StatusChunkTypeTcc, StatusVectorChunk, SymbolSizeTypeTcc, SymbolTypeTcc,
    TransportLayerCc,
};

use super::seq::Unwrapper;
use crate::net::Time;

/// Packets that one report covers at most; it stays below an MTU.
const STATUSES_MAX: u64 = 400;

/// Symbols in a two-bit status vector.
const SYMBOLS: usize = 7;

/// Unit of the reference time, 64 ms, and of deltas, 250 µs.
const REFERENCE_NS: u64 = 64_000_000;
const DELTA_NS: i128 = 250_000;

/// Arrivals since the last report.
#[derive(Debug, Default)]
pub struct TwccRecorder {
    unwrapper: Unwrapper,
    arrivals: BTreeMap<u64, Time>,
    /// First number that hasn't been reported.
    next: Option<u64>,
    reports: u8,
}

impl TwccRecorder {
    pub fn received(&mut self, now: Time, seq: u16) {
        let seq = self.unwrapper.unwrap(seq);
        // What comes after its report (reordered, or lost and late) is left out, as browsers do.
        if self.next.is_none_or(|next| seq >= next) {
            self.arrivals.entry(seq).or_insert(now);
        }
    }

    /// The next report, if anything came since the last.
    pub fn report(&mut self, sender_ssrc: u32, media_ssrc: u32) -> Option<TransportLayerCc> {
        let (first, first_at) = self.arrivals.first_key_value().map(|(seq, at)| (*seq, *at))?;
        let base = self.next.filter(|next| first - next < STATUSES_MAX).unwrap_or(first);
        let end = self.arrivals.range(..base + STATUSES_MAX).next_back().map_or(base, |(seq, _)| seq + 1);
        let reference = first_at.0 / REFERENCE_NS;
        let mut last = i128::from(reference * REFERENCE_NS) / DELTA_NS;
        let (mut symbols, mut recv_deltas) = (Vec::new(), Vec::new());
        for seq in base..end {
            let Some(at) = self.arrivals.remove(&seq) else {
                symbols.push(SymbolTypeTcc::PacketNotReceived);
                continue;
            };
            let ticks = i128::from(at.0) / DELTA_NS;
            let delta = (ticks - last).clamp(i128::from(i16::MIN), i128::from(i16::MAX));
            last += delta;
            let symbol = match delta {
                0..=255 => SymbolTypeTcc::PacketReceivedSmallDelta,
                _ => SymbolTypeTcc::PacketReceivedLargeDelta,
            };
            symbols.push(symbol);
            let micros = i64::try_from(delta * DELTA_NS / 1_000).unwrap_or_default();
            recv_deltas.push(RecvDelta { type_tcc_packet: symbol, delta: micros });
        }
        self.next = Some(end);
        self.reports = self.reports.wrapping_add(1);
        Some(TransportLayerCc {
            sender_ssrc,
            media_ssrc,
            base_sequence_number: base as u16,
            packet_status_count: u16::try_from(end - base).unwrap_or_default(),
            reference_time: (reference & 0xff_ffff) as u32,
            fb_pkt_count: self.reports.wrapping_sub(1),
            packet_chunks: symbols.chunks(SYMBOLS).map(status_vector).collect(),
            recv_deltas,
        })
    }
}

fn status_vector(symbols: &[SymbolTypeTcc]) -> PacketStatusChunk {
    let mut symbol_list = symbols.to_vec();
    symbol_list.resize(SYMBOLS, SymbolTypeTcc::PacketNotReceived);
    PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
        type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
        symbol_size: SymbolSizeTypeTcc::TwoBit,
        symbol_list,
    })
}

/// How many packets a report of the peer says have come, and how many it says haven't.
pub fn tally(report: &TransportLayerCc) -> (u64, u64) {
    let received = report.recv_deltas.len() as u64;
    (received, u64::from(report.packet_status_count).saturating_sub(received))
}

#[cfg(test)]
mod tests {
    use rtc_shared::marshal::{Marshal, Unmarshal};

    use super::*;

    #[test]
    fn a_report_tells_losses_and_arrival_times_across_the_wrap() {
        let mut recorder = TwccRecorder::default();
        for (seq, ms) in [(65_534u16, 1_000), (65_535, 1_010), (2, 1_300), (1, 1_301)] {
            recorder.received(Time::from_millis(ms), seq);
        }
        let report = recorder.report(1, 2).unwrap();
        let bytes = report.marshal().unwrap();
        let read = TransportLayerCc::unmarshal(&mut &bytes[..]).unwrap();
        assert_eq!((read.base_sequence_number, read.packet_status_count), (65_534, 5));
        assert_eq!(tally(&read), (4, 1));
        // 1,000 ms is 40 ms into a unit of 64 ms; 1 came after 2.
        let deltas: Vec<i64> = read.recv_deltas.iter().map(|delta| delta.delta).collect();
        assert_eq!((read.reference_time, deltas), (15, vec![40_000, 10_000, 291_000, -1_000]));
        assert!(recorder.report(1, 2).is_none());

        recorder.received(Time::from_millis(1_400), 4);
        let next = recorder.report(1, 2).unwrap();
        assert_eq!((next.base_sequence_number, next.packet_status_count, next.fb_pkt_count), (3, 2, 1));
    }
}
