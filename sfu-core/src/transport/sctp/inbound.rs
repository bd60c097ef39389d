//! The door of an SCTP association: which packets the library gets to see. It bounds the work and the memory that an
//! authenticated peer can ask of it: packets a second, streams, chunks held for reassembly, stream resets that nobody
//! completes. What it refuses an honest peer sends again. Knows neither checksums nor what is in a message.
//!
//! What the library holds is learned from what it sends: its own SACKs tell how far it has come and how much of its
//! window is taken, its own resets which of them is under way.

use std::time::Duration;

use crate::drop::DropReason;
use crate::unit::{StreamId, Time};
use crate::wire::sctp::{Chunk, Chunks, Parameter, Parameters, Tsn};

/// Streams of an association: what Chromium uses at most. Every stream that was written to costs memory.
pub const STREAMS_MAX: u16 = 1_024;

/// Longest packet taken. Peers keep to 1,200 bytes or to an Ethernet frame.
const PACKET_LEN_MAX: usize = 2_048;

/// Packets a second that an association takes for long: 1.1 MB/s in full packets. Data is not what a server of media is
/// scaled for.
const PACKETS_PER_SECOND: u32 = 1_000;

/// Packets that it takes at once.
const PACKETS_BURST: u32 = 2_000;

/// Chunks that may be held for reassembly or for their turn: 64 KiB in the smallest pieces that senders make, several
/// times the receive window in full ones.
const HELD_CHUNKS_MAX: usize = 2_048;

/// How far numbers may run ahead of the first one missing.
const TSN_WINDOW: i32 = 4_096;

/// Resets of ours that the peer has caused and not completed.
const RESETS_OWED_MAX: usize = 64;

/// A reset that the peer has asked for (RFC 6525 §5.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct PendingReset {
    request: u32,
    /// The last number before it.
    last: Tsn,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Inbound {
    /// The association stands: a repeated INIT would only end it.
    pub(super) established: bool,
    /// When the packet budget will be full again, on the assumption that nothing is taken.
    budget_full_at: Time,
    /// The last number that the library has acknowledged for good.
    cumulative: Option<Tsn>,
    /// The library's whole receive window.
    window: u32,
    /// Chunks that it may hold, at least as many as it does.
    held: usize,
    /// Asked for by the peer and not performed yet.
    pending: Option<PendingReset>,
    /// The last request of the peer's that was answered for good: it may come again, and then changes nothing.
    performed: Option<u32>,
    /// Ours, sent and not answered yet.
    active: Option<u32>,
    owed: usize,
    /// The last number that was sent, and the last one that the peer has acknowledged for good.
    sent: Option<Tsn>,
    acknowledged: Option<Tsn>,
    /// Chunks written and not acknowledged, at least as many as there are.
    outstanding: usize,
}

/// What a packet would do.
#[derive(Default, Debug)]
struct Effect {
    data: usize,
    answered: bool,
    acknowledged: Option<Tsn>,
    pending: Option<PendingReset>,
    resets: usize,
}

impl Inbound {
    /// `window` is what the library's SACKs advertise when it holds nothing.
    pub(super) fn new(now: Time, window: u32) -> Inbound {
        Inbound {
            established: false,
            budget_full_at: now,
            cumulative: None,
            window,
            held: 0,
            pending: None,
            performed: None,
            active: None,
            owed: 0,
            sent: None,
            acknowledged: None,
            outstanding: 0,
        }
    }

    /// Whether the library may see a packet. `is_live` tells whether a stream has anything to reset.
    pub(super) fn admit(
        &mut self,
        now: Time,
        packet: &[u8],
        is_live: impl Fn(StreamId) -> bool,
    ) -> Result<(), DropReason> {
        let cost = Duration::from_secs(1) / PACKETS_PER_SECOND;
        let full_at = self.budget_full_at.max(now) + cost;
        if full_at.since(now) > cost * PACKETS_BURST {
            return Err(DropReason::SctpRateExceeded);
        }
        self.budget_full_at = full_at;
        if packet.len() > PACKET_LEN_MAX {
            return Err(DropReason::SctpRefused);
        }
        let mut effect = Effect::default();
        for chunk in Chunks::of(packet) {
            self.look_at(chunk.ok_or(DropReason::SctpMalformed)?, &is_live, &mut effect)?;
        }
        self.held += effect.data;
        if let (Some(acknowledged), Some(cumulative)) = (self.acknowledged, effect.acknowledged) {
            let chunks = usize::try_from(cumulative.since(acknowledged)).unwrap_or(0);
            self.outstanding = self.outstanding.saturating_sub(chunks);
            self.acknowledged = Some(cumulative);
        }
        if effect.answered {
            self.reset_done();
        }
        self.owed += effect.resets;
        self.pending = self.pending.or(effect.pending);
        Ok(())
    }

    fn look_at(
        &self,
        chunk: Chunk<'_>,
        is_live: &impl Fn(StreamId) -> bool,
        effect: &mut Effect,
    ) -> Result<(), DropReason> {
        let within = |stream: StreamId| {
            if stream.0 < STREAMS_MAX { Ok(()) } else { Err(DropReason::SctpRefused) }
        };
        match chunk {
            Chunk::Data { tsn, stream, len } => {
                within(stream)?;
                let ahead = self.cumulative.map_or(1, |cumulative| tsn.since(cumulative));
                if len == 0 || ahead > TSN_WINDOW || self.is_beyond_reset(tsn) {
                    return Err(DropReason::SctpRefused);
                }
                // The one that is missing always comes in: behind it much may be let go.
                if self.held + effect.data >= HELD_CHUNKS_MAX && ahead != 1 {
                    return Err(DropReason::SctpRefused);
                }
                effect.data += usize::from(ahead > 0);
            }
            Chunk::Init if self.established => return Err(DropReason::SctpRefused),
            Chunk::Sack { cumulative, gaps, .. } => {
                if !gaps.ascend() {
                    return Err(DropReason::SctpMalformed);
                }
                effect.acknowledged = Some(cumulative);
            }
            Chunk::ForwardTsn { streams } => streams.iter().try_for_each(within)?,
            Chunk::Reconfig(parameters) => self.look_at_reconfig(parameters, is_live, effect)?,
            Chunk::Unknown => return Err(DropReason::SctpRefused),
            Chunk::Init | Chunk::Control => {}
        }
        Ok(())
    }

    fn look_at_reconfig(
        &self,
        parameters: Parameters<'_>,
        is_live: &impl Fn(StreamId) -> bool,
        effect: &mut Effect,
    ) -> Result<(), DropReason> {
        for parameter in parameters {
            match parameter.ok_or(DropReason::SctpMalformed)? {
                Parameter::ResetRequest(reset) => {
                    effect.answered |= self.active == Some(reset.response);
                    if reset.streams().any(|stream| stream.0 >= STREAMS_MAX) {
                        return Err(DropReason::SctpRefused);
                    }
                    let pending = PendingReset { request: reset.request, last: reset.last };
                    if self.pending == Some(pending) || self.performed == Some(reset.request) {
                        continue;
                    }
                    let all = reset.streams().next().is_none();
                    if all || reset.streams().any(is_live) {
                        effect.resets += 1;
                    }
                    if self.owed + effect.resets > RESETS_OWED_MAX {
                        return Err(DropReason::SctpRefused);
                    }
                    effect.pending.get_or_insert(pending);
                }
                Parameter::Response { request, done } => {
                    effect.answered |= done && self.active == Some(request);
                }
                Parameter::Other => {}
            }
        }
        Ok(())
    }

    /// Data of a stream's next life before its last one is over: the library would keep it aside, at a price that grows
    /// with its square.
    fn is_beyond_reset(&self, tsn: Tsn) -> bool {
        self.pending.is_some_and(|reset| tsn.since(reset.last) > 0)
    }

    /// A packet of the library's leaves.
    pub(super) fn sent(&mut self, packet: &[u8]) {
        for chunk in Chunks::of(packet).flatten() {
            match chunk {
                Chunk::Data { tsn, .. } => {
                    self.acknowledged.get_or_insert(Tsn(tsn.0.wrapping_sub(1)));
                    let sent = self.sent.filter(|sent| tsn.since(*sent) <= 0);
                    self.sent = sent.or(Some(tsn));
                }
                Chunk::Sack { cumulative, window, .. } => {
                    self.cumulative = Some(cumulative);
                    if window == self.window {
                        self.held = 0;
                    }
                }
                Chunk::Reconfig(parameters) => {
                    parameters.flatten().for_each(|parameter| self.sent_parameter(parameter));
                }
                _ => {}
            }
        }
    }

    fn sent_parameter(&mut self, parameter: Parameter<'_>) {
        match parameter {
            // The library sends one at a time: another one means that it is through with the last.
            Parameter::ResetRequest(reset) if self.active != Some(reset.request) => {
                if self.active.is_some() {
                    self.reset_done();
                }
                self.active = Some(reset.request);
            }
            Parameter::Response { request, done: true } => {
                self.pending = self.pending.filter(|pending| pending.request != request);
                self.performed = Some(request);
            }
            _ => {}
        }
    }

    /// So many chunks were read.
    pub(super) fn released(&mut self, chunks: usize) {
        self.held = self.held.saturating_sub(chunks);
    }

    /// We have asked the library to reset a stream.
    pub(super) fn reset_wanted(&mut self) {
        self.owed += 1;
    }

    fn reset_done(&mut self) {
        self.active = None;
        self.owed = self.owed.saturating_sub(1);
    }

    /// A reset of the peer's waits for numbers that are missing.
    pub(super) fn has_pending_reset(&self) -> bool {
        self.pending.is_some()
    }

    /// A message of so many chunks was handed over.
    pub(super) fn written(&mut self, chunks: usize) {
        self.outstanding = self.outstanding.saturating_add(chunks);
    }

    /// All that could be sent was. When nothing of it is under way, nothing waits either: the library always has one
    /// chunk under way. That corrects for messages whose life ended before they were sent.
    pub(super) fn settled(&mut self) {
        if self.sent == self.acknowledged {
            self.outstanding = 0;
        }
    }

    /// Chunks that the library keeps for the peer.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: u8 = 0;
    const INIT: u8 = 1;
    const SACK: u8 = 3;
    const RE_CONFIG: u8 = 130;

    fn packet(kind: u8, value: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 12];
        packet.extend([kind, 3]);
        packet.extend((value.len() as u16 + 4).to_be_bytes());
        packet.extend(value);
        packet.resize(packet.len().next_multiple_of(4), 0);
        packet
    }

    fn data(tsn: u32, stream: u16) -> Vec<u8> {
        let mut value = tsn.to_be_bytes().to_vec();
        value.extend(stream.to_be_bytes());
        value.extend([0, 0, 0, 0, 0, 51, b'x']);
        packet(DATA, &value)
    }

    fn sack(cumulative: u32, window: u32) -> Vec<u8> {
        packet(SACK, &[cumulative.to_be_bytes(), window.to_be_bytes(), [0; 4]].concat())
    }

    fn reset(request: u32, response: u32, last: u32, stream: u16) -> Vec<u8> {
        let mut value = vec![0, 13, 0, 18];
        [request, response, last].iter().for_each(|number| value.extend(number.to_be_bytes()));
        value.extend(stream.to_be_bytes());
        packet(RE_CONFIG, &value)
    }

    fn response(request: u32, result: u32) -> Vec<u8> {
        let mut value = vec![0, 16, 0, 12];
        [request, result].iter().for_each(|number| value.extend(number.to_be_bytes()));
        packet(RE_CONFIG, &value)
    }

    fn admit(inbound: &mut Inbound, packet: &[u8]) -> Result<(), DropReason> {
        inbound.admit(Time::ZERO, packet, |_| true)
    }

    #[test]
    fn a_flood_is_cut_to_its_rate() {
        let mut inbound = Inbound::new(Time::ZERO, 100);
        let mut admitted = 0;
        for ms in 0..2_000 {
            for _ in 0..10 {
                admitted += u32::from(inbound.admit(Time::from_millis(ms), &sack(0, 1), |_| true).is_ok());
            }
        }
        assert!((PACKETS_BURST..=PACKETS_BURST + 2 * PACKETS_PER_SECOND).contains(&admitted), "{admitted}");
    }

    #[test]
    fn streams_are_bounded_by_their_number() {
        let mut inbound = Inbound::new(Time::ZERO, 100);
        assert_eq!(admit(&mut inbound, &data(1, STREAMS_MAX - 1)), Ok(()));
        assert_eq!(admit(&mut inbound, &data(2, STREAMS_MAX)), Err(DropReason::SctpRefused));
        assert_eq!(admit(&mut inbound, &reset(1, 0, 0, STREAMS_MAX)), Err(DropReason::SctpRefused));
    }

    #[test]
    fn what_is_held_is_bounded_save_for_the_chunk_that_is_missing() {
        let mut inbound = Inbound::new(Time::ZERO, 100);
        inbound.sent(&sack(10, 50));
        // Its budget of packets is not what this is about.
        let now = |index: u32| Time::from_millis(u64::from(index) * 10);
        for index in 0..HELD_CHUNKS_MAX as u32 {
            assert_eq!(inbound.admit(now(index), &data(12 + index, 0), |_| true), Ok(()));
        }
        let late = now(HELD_CHUNKS_MAX as u32);
        let more = data(12 + HELD_CHUNKS_MAX as u32, 0);
        assert_eq!(inbound.admit(late, &more, |_| true), Err(DropReason::SctpRefused));
        assert_eq!(inbound.admit(late, &data(11, 0), |_| true), Ok(()));
        inbound.released(2);
        assert_eq!(inbound.admit(late, &more, |_| true), Ok(()));
        inbound.sent(&sack(20, 100));
        assert_eq!(inbound.held, 0);
        assert_eq!(
            inbound.admit(late, &data(21 + TSN_WINDOW as u32, 0), |_| true),
            Err(DropReason::SctpRefused)
        );
    }

    #[test]
    fn data_behind_a_pending_reset_waits_until_it_is_performed() {
        let mut inbound = Inbound::new(Time::ZERO, 100);
        assert_eq!(admit(&mut inbound, &reset(5, 0, 20, 1)), Ok(()));
        assert!(inbound.has_pending_reset());
        assert_eq!(admit(&mut inbound, &data(20, 1)), Ok(()));
        assert_eq!(admit(&mut inbound, &data(21, 1)), Err(DropReason::SctpRefused));
        inbound.sent(&response(5, 6));
        assert_eq!(admit(&mut inbound, &data(21, 1)), Err(DropReason::SctpRefused));
        inbound.sent(&response(5, 1));
        assert_eq!(admit(&mut inbound, &data(21, 1)), Ok(()));
    }

    #[test]
    fn a_peer_that_completes_no_reset_can_ask_for_no_more_of_them() {
        let mut inbound = Inbound::new(Time::ZERO, 100);
        let ask = |inbound: &mut Inbound, request: u32| {
            let outcome = admit(inbound, &reset(request, 0, 0, 1));
            inbound.sent(&response(request, 1));
            outcome
        };
        for request in 1..=RESETS_OWED_MAX as u32 {
            assert_eq!(ask(&mut inbound, request), Ok(()));
        }
        assert_eq!(ask(&mut inbound, 1_000), Err(DropReason::SctpRefused));
        inbound.sent(&reset(77, 0, 0, 1));
        assert_eq!(admit(&mut inbound, &response(77, 1)), Ok(()));
        assert_eq!(ask(&mut inbound, 1_001), Ok(()));
    }

    #[test]
    fn an_init_does_not_shake_what_stands() {
        let mut inbound = Inbound::new(Time::ZERO, 100);
        let init = packet(INIT, &[0; 16]);
        assert_eq!(admit(&mut inbound, &init), Ok(()));
        inbound.established = true;
        assert_eq!(admit(&mut inbound, &init), Err(DropReason::SctpRefused));
    }

    #[test]
    fn chunks_are_outstanding_until_acknowledged_or_given_up() {
        let mut inbound = Inbound::new(Time::ZERO, 100);
        inbound.written(4);
        for tsn in [7, 8, 7] {
            inbound.sent(&data(tsn, 0));
        }
        assert_eq!(admit(&mut inbound, &sack(7, 1)), Ok(()));
        inbound.settled();
        assert_eq!(inbound.outstanding(), 3);
        // Two of the four have never been sent.
        assert_eq!(admit(&mut inbound, &sack(8, 1)), Ok(()));
        inbound.settled();
        assert_eq!(inbound.outstanding(), 0);
    }
}
