//! What redundant audio (RFC 2198) gives back: packets that never came, taken from the copies in a later one. They go into
//! the stream's store as if they had come by themselves, without their copies. Doesn't know who needs them.

use crate::packet::{Carried, Packet};
use crate::publisher::recv_stream::RecvStream;
use crate::unit::{ExtSeq, Time};
use crate::wire::payload::PayloadDescriptor;
use crate::wire::payload::red::{REDUNDANT_MAX, RedDescriptor};

/// A packet's redundancy reaches no further back than this; looking further for the one before a gap is of no use.
const REACH: u64 = REDUNDANT_MAX as u64 + 1;

/// Keeps those packets before `packet` that are missing and that `payload` repeats, and hands their numbers to `kept`,
/// oldest first. `format` is the place of the plain codec in the track's list.
///
/// RFC 2198 says when a copy was sampled, not which number it had. So the number is counted from the last packet that
/// came before the gap, and only where the timestamps between the two leave no doubt: all packets equally long.
pub fn recover(
    now: Time,
    stream: &mut RecvStream,
    packet: &Packet,
    red: &RedDescriptor,
    payload: &[u8],
    format: u8,
    mut kept: impl FnMut(ExtSeq),
) {
    let known = |back: &u64| before(packet.seq, *back).and_then(|seq| stream.store.get(seq));
    let Some((back, ticks)) = (1..=REACH).find_map(|back| {
        let (earlier, _) = known(&back)?;
        Some((back, packet.rtp_time.since(earlier.rtp_time)))
    }) else {
        return;
    };
    let Some(ticks) = u64::try_from(ticks).ok().filter(|ticks| *ticks > 0 && back > 1) else { return };
    for copy in red.redundant(payload) {
        let offset = u64::from(copy.offset);
        // offset / (ticks / back), if that is a whole number.
        let age = offset * back / ticks;
        if age == 0 || age >= back || age * ticks != offset * back {
            continue;
        }
        let Some(seq) = before(packet.seq, age) else { continue };
        let recovered = Packet {
            seq,
            rtp_time: packet.rtp_time.plus(u32::from(copy.offset).wrapping_neg()),
            received: now,
            marker: false,
            format,
            descriptor: PayloadDescriptor::Opaque,
            carried: Carried::default(),
            recovered: true,
        };
        if stream.keep(recovered, copy.bytes).is_ok() {
            kept(seq);
        }
    }
}

fn before(seq: ExtSeq, back: u64) -> Option<ExtSeq> {
    seq.0.checked_sub(back).map(ExtSeq)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::StreamId;
    use crate::unit::{ClockRate, Kind, Pt, RtpTime, Ssrc};

    const OPUS: Pt = Pt(111);
    const FRAME: u32 = 960;

    /// A packet's payload with copies of the two before it, `spread` frames apart.
    fn redundant(seq: u64, spread: u64) -> Vec<u8> {
        let mut payload = Vec::new();
        for age in [2 * spread, spread] {
            payload.push(0x80 | OPUS.0);
            payload.extend_from_slice(&((age as u32 * FRAME) << 10 | 1).to_be_bytes()[1..]);
        }
        payload.push(OPUS.0);
        payload.extend([2 * spread, spread, 0].map(|age| (seq - age) as u8));
        payload
    }

    struct Line {
        stream: RecvStream,
        recovered: Vec<u64>,
    }

    impl Line {
        fn new() -> Line {
            let stream = RecvStream::new(StreamId(1), Ssrc(1), Kind::Audio, ClockRate::OPUS, Time::ZERO);
            Line { stream, recovered: Vec::new() }
        }

        fn arrives(&mut self, seq: u64, rtp_time: u32, payload: &[u8]) {
            let red = RedDescriptor::parse(payload, OPUS).unwrap();
            let packet = Packet {
                rtp_time: RtpTime(rtp_time),
                descriptor: PayloadDescriptor::Red(red),
                ..Packet::for_test(ExtSeq(seq))
            };
            recover(Time::ZERO, &mut self.stream, &packet, &red, payload, 0, |seq| {
                self.recovered.push(seq.0)
            });
            let _ = self.stream.keep(packet, payload);
        }

        fn packet(&mut self, seq: u64) {
            self.arrives(seq, (seq as u32).wrapping_mul(FRAME), &redundant(seq, 1));
        }
    }

    #[test]
    fn lost_packets_come_back_oldest_first_under_their_own_numbers_and_times() {
        let mut line = Line::new();
        for seq in [100, 101, 104, 106, 107] {
            line.packet(seq);
        }
        assert_eq!(line.recovered, [102, 103, 105]);
        for seq in [102, 103, 105] {
            let (packet, payload) = line.stream.store.get(ExtSeq(seq)).unwrap();
            assert_eq!((packet.rtp_time, payload), (RtpTime(seq as u32 * FRAME), &[seq as u8][..]));
            assert!(packet.recovered);
        }
    }

    #[test]
    fn what_has_come_is_not_taken_twice_and_nothing_comes_from_before_the_stream() {
        let mut line = Line::new();
        for seq in [100, 101, 103, 102, 104] {
            line.packet(seq);
        }
        assert_eq!(line.recovered, [102], "102 comes late, and 104 repeats it once more");
    }

    #[test]
    fn a_gap_longer_than_the_redundancy_gives_back_its_end() {
        let mut line = Line::new();
        for seq in [100, 110] {
            line.packet(seq);
        }
        assert_eq!(line.recovered, [108, 109]);
    }

    #[test]
    fn copies_that_skip_packets_are_put_in_their_own_places() {
        let mut line = Line::new();
        for seq in [100, 101, 105] {
            line.arrives(seq, seq as u32 * FRAME, &redundant(seq, 2));
        }
        assert_eq!(line.recovered, [103]);
    }

    #[test]
    fn a_pause_leaves_doubt_so_nothing_is_taken() {
        let mut line = Line::new();
        line.packet(100);
        line.arrives(102, 250 * FRAME, &redundant(102, 1));
        assert!(line.recovered.is_empty());
    }
}
