//! One RTP stream that the client sends: numbers, header extensions, history for retransmission (RFC 4588) and
//! sender reports. Knows nothing of where payloads come from.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use rtcp::sender_report::SenderReport;
use rtp::header::Header;
use rtp::packet::Packet;

use super::sdp;
use super::sdp::Section;
use super::signal::Kind;
use crate::net::Time;

/// Packets that can be sent again.
const HISTORY_MAX: usize = 1_024;

/// Seconds from 1900 to the origin of the client's clock, an arbitrary day: NTP stamps need one.
const NTP_ORIGIN: Duration = Duration::from_secs(3_900_000_000);

/// The wall clock that a client's sender reports show (RFC 3550 §4).
pub fn ntp(now: Time) -> u64 {
    let wall = NTP_ORIGIN + now.elapsed();
    (wall.as_secs() << 32) | ((u64::from(wall.subsec_nanos()) << 32) / 1_000_000_000)
}

/// Where a stream's counters begin. Tests choose values close to a wrap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamStart {
    pub seq: u16,
    pub timestamp: u32,
    /// 15 bits.
    pub picture_id: u16,
}

/// Negotiated header extension ids of a sending section.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Extensions {
    mid: Option<u8>,
    rid: Option<u8>,
    repaired_rid: Option<u8>,
    audio_level: Option<u8>,
    transport_cc: Option<u8>,
    abs_send_time: Option<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SendStats {
    pub packets: u64,
    pub octets: u64,
    pub retransmitted: u64,
    /// Asked for, but no longer in the history.
    pub forgotten: u64,
}

/// An outgoing stream with its RTX stream.
#[derive(Debug)]
pub struct SendStream {
    pub ssrc: u32,
    pub rtx_ssrc: u32,
    kind: Kind,
    mid: String,
    rid: Option<String>,
    /// Names of codecs that it could send in.
    codecs: &'static [&'static str],
    pt: u8,
    rtx_pt: Option<u8>,
    /// The packets are redundant audio.
    red: bool,
    extensions: Extensions,
    seq: u16,
    rtx_seq: u16,
    timestamp_offset: u32,
    last_timestamp: Option<(Time, u32)>,
    history: VecDeque<Packet>,
    stats: SendStats,
}

impl SendStream {
    pub fn new(
        kind: Kind,
        mid: &str,
        rid: Option<String>,
        ssrc: u32,
        rtx_ssrc: u32,
        start: StreamStart,
    ) -> SendStream {
        SendStream {
            ssrc,
            rtx_ssrc,
            kind,
            mid: mid.into(),
            rid,
            codecs: if kind == Kind::Audio { &["opus", "red"] } else { &["VP8", "H264"] },
            pt: if kind == Kind::Audio { sdp::OPUS } else { sdp::VP8 },
            rtx_pt: None,
            red: false,
            extensions: Extensions::default(),
            seq: start.seq,
            rtx_seq: start.seq,
            timestamp_offset: start.timestamp,
            last_timestamp: None,
            history: VecDeque::new(),
            stats: SendStats::default(),
        }
    }

    /// What the server has accepted of the section: the first codec is used, as browsers do.
    pub fn configure(&mut self, accepted: &Section) {
        let usable = |codec: &&sdp::Codec| self.codecs.iter().any(|name| codec.is(name));
        if let Some(codec) = accepted.codecs.iter().find(usable) {
            self.pt = codec.pt;
            self.rtx_pt = accepted.rtx(codec.pt);
            self.red = codec.is("red");
        }
        self.extensions = Extensions {
            mid: accepted.extension(sdp::EXT_MID),
            rid: accepted.extension(sdp::EXT_RID).filter(|_| self.rid.is_some()),
            repaired_rid: accepted.extension(sdp::EXT_REPAIRED_RID).filter(|_| self.rid.is_some()),
            audio_level: accepted.extension(sdp::EXT_AUDIO_LEVEL).filter(|_| self.kind == Kind::Audio),
            transport_cc: accepted.extension(sdp::EXT_TRANSPORT_CC),
            abs_send_time: accepted.extension(sdp::EXT_ABS_SEND_TIME),
        };
    }

    /// A packet of the media at `media_time` since the stream's origin.
    pub fn packet(
        &mut self,
        now: Time,
        media_time: Duration,
        marker: bool,
        payload: Vec<u8>,
        twcc: &mut u16,
    ) -> Packet {
        let timestamp = self.timestamp_offset.wrapping_add(self.ticks(media_time));
        let mut packet =
            self.build(now, self.ssrc, self.pt, self.seq, timestamp, marker, payload.into(), twcc);
        extend(&mut packet.header, self.extensions.rid, self.rid.as_deref().map(str::as_bytes));
        // RFC 6464: voice activity, −30 dBov.
        extend(&mut packet.header, self.extensions.audio_level, Some(&[0x80 | 30]));
        self.seq = self.seq.wrapping_add(1);
        self.last_timestamp = Some((now, timestamp));
        self.stats.packets += 1;
        self.stats.octets += packet.payload.len() as u64;
        self.history.push_back(packet.clone());
        if self.history.len() > HISTORY_MAX {
            self.history.pop_front();
        }
        packet
    }

    /// The packet with this number once more, as RTX (RFC 4588 §4).
    pub fn retransmit(&mut self, now: Time, seq: u16, twcc: &mut u16) -> Option<Packet> {
        let rtx_pt = self.rtx_pt?;
        let Some(original) = self.history.iter().find(|packet| packet.header.sequence_number == seq) else {
            self.stats.forgotten += 1;
            return None;
        };
        let payload = [&seq.to_be_bytes()[..], &original.payload].concat();
        let (timestamp, marker) = (original.header.timestamp, original.header.marker);
        let mut packet =
            self.build(now, self.rtx_ssrc, rtx_pt, self.rtx_seq, timestamp, marker, payload.into(), twcc);
        extend(&mut packet.header, self.extensions.repaired_rid, self.rid.as_deref().map(str::as_bytes));
        self.rtx_seq = self.rtx_seq.wrapping_add(1);
        self.stats.retransmitted += 1;
        Some(packet)
    }

    /// `None` before the first packet.
    pub fn sender_report(&self, now: Time) -> Option<SenderReport> {
        let (at, timestamp) = self.last_timestamp?;
        Some(SenderReport {
            ssrc: self.ssrc,
            ntp_time: ntp(now),
            rtp_time: timestamp.wrapping_add(self.ticks(now.since(at))),
            packet_count: self.stats.packets as u32,
            octet_count: self.stats.octets as u32,
            ..SenderReport::default()
        })
    }

    pub fn sends_red(&self) -> bool {
        self.red
    }

    pub fn stats(&self) -> SendStats {
        self.stats
    }

    fn ticks(&self, time: Duration) -> u32 {
        let rate: u128 = if self.kind == Kind::Audio { 48_000 } else { 90_000 };
        ((time.as_nanos() * rate + 500_000_000) / 1_000_000_000) as u32
    }

    #[allow(clippy::too_many_arguments)]
    fn build(
        &self,
        now: Time,
        ssrc: u32,
        payload_type: u8,
        sequence_number: u16,
        timestamp: u32,
        marker: bool,
        payload: Bytes,
        twcc: &mut u16,
    ) -> Packet {
        let mut header = Header {
            version: 2,
            marker,
            payload_type,
            sequence_number,
            timestamp,
            ssrc,
            ..Header::default()
        };
        extend(&mut header, self.extensions.mid, Some(self.mid.as_bytes()));
        if self.extensions.transport_cc.is_some() {
            *twcc = twcc.wrapping_add(1);
            extend(&mut header, self.extensions.transport_cc, Some(&twcc.to_be_bytes()));
        }
        // 24 bits of seconds in 6.18 fixed point.
        let [_, abs @ ..] = ((ntp(now) >> 14) as u32).to_be_bytes();
        extend(&mut header, self.extensions.abs_send_time, Some(&abs));
        Packet { header, payload }
    }
}

fn extend(header: &mut Header, id: Option<u8>, value: Option<&[u8]>) {
    if let (Some(id), Some(value)) = (id, value) {
        // Fails only for ids or lengths that the client's own offer doesn't contain.
        let _ = header.set_extension(id, Bytes::copy_from_slice(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> SendStream {
        let start = StreamStart { seq: 65_535, timestamp: u32::MAX, picture_id: 0 };
        let mut stream = SendStream::new(Kind::Video, "1", Some("h".into()), 7, 8, start);
        stream.configure(&Section::publish("1", Kind::Video, "c"));
        stream
    }

    #[test]
    fn packets_are_numbered_over_the_wrap_and_carry_their_extensions() {
        let (mut stream, mut twcc) = (stream(), 65_535);
        let first = stream.packet(Time::ZERO, Duration::ZERO, false, vec![1], &mut twcc);
        let second = stream.packet(Time::ZERO, Duration::from_millis(100), true, vec![2], &mut twcc);
        assert_eq!((first.header.sequence_number, second.header.sequence_number), (65_535, 0));
        assert_eq!((first.header.timestamp, second.header.timestamp), (u32::MAX, 8_999));
        assert_eq!(second.header.get_extension(4).unwrap(), "1");
        assert_eq!(second.header.get_extension(10).unwrap(), "h");
        assert_eq!(second.header.get_extension(3).unwrap(), Bytes::from_static(&[0, 1]));
        assert_eq!(second.header.get_extension(11), None);
    }

    #[test]
    fn a_repair_travels_in_its_own_stream_with_the_original_number() {
        let (mut stream, mut twcc) = (stream(), 0);
        stream.packet(Time::ZERO, Duration::ZERO, true, vec![9, 9], &mut twcc);
        let rtx = stream.retransmit(Time::ZERO, 65_535, &mut twcc).unwrap();
        assert_eq!((rtx.header.ssrc, rtx.header.payload_type), (8, sdp::VP8_RTX));
        assert_eq!(&rtx.payload[..], [0xff, 0xff, 9, 9]);
        assert_eq!(rtx.header.get_extension(11).unwrap(), "h");
        assert!(stream.retransmit(Time::ZERO, 3, &mut twcc).is_none());
        assert_eq!(stream.stats().forgotten, 1);
    }

    #[test]
    fn a_sender_report_maps_the_wall_clock_to_the_stream_s() {
        let (mut stream, mut twcc) = (stream(), 0);
        assert!(stream.sender_report(Time::ZERO).is_none());
        stream.packet(Time::from_secs(1), Duration::from_secs(1), true, vec![1], &mut twcc);
        let report = stream.sender_report(Time::from_millis(1_500)).unwrap();
        assert_eq!(report.rtp_time, u32::MAX.wrapping_add(135_000));
        assert_eq!(report.ntp_time, ((3_900_000_001u64) << 32) | (1 << 31));
    }
}
