//! SCTP packets (RFC 9260 §3) and re-configuration (RFC 6525 §4), as far as the door of an association looks into
//! them: which streams, which numbers, how many. Total on any bytes; knows neither checksums nor associations.

use crate::unit::StreamId;

const HEADER_LEN: usize = 12;

const DATA: u8 = 0;
const INIT: u8 = 1;
const SACK: u8 = 3;
const HEARTBEAT: u8 = 4;
const ABORT: u8 = 6;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_COMPLETE: u8 = 14;
const RE_CONFIG: u8 = 130;
const FORWARD_TSN: u8 = 192;

const OUTGOING_RESET_REQUEST: u16 = 13;
const RECONFIG_RESPONSE: u16 = 16;
/// `In progress` of RFC 6525 §4.4: the request is neither refused nor carried out.
const RESULT_IN_PROGRESS: u32 = 6;

/// A transmission sequence number. It wraps, so it has no order (RFC 9260 §1.6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tsn(pub u32);

impl Tsn {
    /// Signed distance to `earlier`, right while the two are within 2^31.
    pub fn since(self, earlier: Tsn) -> i32 {
        self.0.wrapping_sub(earlier.0) as i32
    }
}

/// One chunk.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Chunk<'a> {
    Data {
        tsn: Tsn,
        stream: StreamId,
        len: usize,
    },
    Init,
    Sack {
        cumulative: Tsn,
        window: u32,
        gaps: Gaps<'a>,
    },
    /// RFC 3758 §3.2.
    ForwardTsn {
        streams: Streams<'a>,
    },
    Reconfig(Parameters<'a>),
    /// Part of the association's life: heartbeats, cookies, its end.
    Control,
    /// A type that isn't negotiated, or unknown.
    Unknown,
}

/// Gap ack blocks as they came (RFC 9260 §3.3.4).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Gaps<'a>(&'a [[u8; 4]]);

impl Gaps<'_> {
    /// Whether they ascend without touching, as every sender writes them. What doesn't would have the receiver go over
    /// the same numbers again and again.
    pub fn ascend(&self) -> bool {
        let mut last = 0;
        self.0.iter().all(|[a, b, c, d]| {
            let (start, end) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
            let ascends = start > last && end >= start;
            last = end;
            ascends
        })
    }
}

/// Streams that a FORWARD TSN names, each with a sequence number.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Streams<'a>(&'a [[u8; 4]]);

impl Streams<'_> {
    pub fn iter(&self) -> impl Iterator<Item = StreamId> {
        self.0.iter().map(|[a, b, ..]| StreamId(u16::from_be_bytes([*a, *b])))
    }
}

/// Parameters of a RE-CONFIG chunk.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Parameters<'a>(&'a [u8]);

/// One parameter of a RE-CONFIG chunk.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Parameter<'a> {
    ResetRequest(ResetRequest<'a>),
    /// Answers the request of this number; `done` unless the other side is still at it.
    Response {
        request: u32,
        done: bool,
    },
    Other,
}

/// Outgoing SSN Reset Request (RFC 6525 §4.1): closes the sender's side of streams.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ResetRequest<'a> {
    pub request: u32,
    /// The request of the other side that this one answers, too.
    pub response: u32,
    /// The last number before the reset.
    pub last: Tsn,
    streams: &'a [[u8; 2]],
}

impl ResetRequest<'_> {
    /// Empty means all.
    pub fn streams(&self) -> impl Iterator<Item = StreamId> {
        self.streams.iter().map(|bytes| StreamId(u16::from_be_bytes(*bytes)))
    }
}

/// The chunks of a packet; ends after the first one that doesn't fit.
#[derive(Debug)]
pub struct Chunks<'a> {
    rest: &'a [u8],
    malformed: bool,
}

impl<'a> Chunks<'a> {
    pub fn of(packet: &'a [u8]) -> Chunks<'a> {
        match packet.split_at_checked(HEADER_LEN) {
            Some((_, rest)) if !rest.is_empty() => Chunks { rest, malformed: false },
            _ => Chunks { rest: &[], malformed: true },
        }
    }

    fn read(&mut self) -> Option<Chunk<'a>> {
        let [kind, _, high, low] = *self.rest.first_chunk::<4>()?;
        let len = usize::from(u16::from_be_bytes([high, low]));
        let value = self.rest.get(4..len)?;
        self.rest = self.rest.get(len.next_multiple_of(4).min(self.rest.len())..)?;
        match kind {
            DATA => {
                let (fields, payload) = value.split_first_chunk::<12>()?;
                let [a, b, c, d, e, f, ..] = *fields;
                let (tsn, stream) = (u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, f]));
                Some(Chunk::Data { tsn: Tsn(tsn), stream: StreamId(stream), len: payload.len() })
            }
            INIT => Some(Chunk::Init),
            SACK => sack(value),
            FORWARD_TSN => {
                let (streams, rest) = value.get(4..)?.as_chunks::<4>();
                rest.is_empty().then_some(Chunk::ForwardTsn { streams: Streams(streams) })
            }
            RE_CONFIG => Some(Chunk::Reconfig(Parameters(value))),
            2 | HEARTBEAT..=ABORT | SHUTDOWN..=COOKIE_ACK | SHUTDOWN_COMPLETE => Some(Chunk::Control),
            _ => Some(Chunk::Unknown),
        }
    }
}

impl<'a> Iterator for Chunks<'a> {
    /// `None` stands for bytes that are no chunk.
    type Item = Option<Chunk<'a>>;

    fn next(&mut self) -> Option<Option<Chunk<'a>>> {
        if std::mem::take(&mut self.malformed) {
            return Some(None);
        }
        if self.rest.is_empty() {
            return None;
        }
        let chunk = self.read();
        if chunk.is_none() {
            self.rest = &[];
        }
        Some(chunk)
    }
}

fn sack(value: &[u8]) -> Option<Chunk<'_>> {
    let (fields, rest) = value.split_first_chunk::<12>()?;
    let [a, b, c, d, e, f, g, h, i, j, ..] = *fields;
    let gaps = rest.get(..4 * usize::from(u16::from_be_bytes([i, j])))?;
    Some(Chunk::Sack {
        cumulative: Tsn(u32::from_be_bytes([a, b, c, d])),
        window: u32::from_be_bytes([e, f, g, h]),
        gaps: Gaps(gaps.as_chunks().0),
    })
}

impl<'a> Iterator for Parameters<'a> {
    /// `None` stands for bytes that are no parameter.
    type Item = Option<Parameter<'a>>;

    fn next(&mut self) -> Option<Option<Parameter<'a>>> {
        if self.0.is_empty() {
            return None;
        }
        let parameter = parameter(&mut self.0);
        if parameter.is_none() {
            self.0 = &[];
        }
        Some(parameter)
    }
}

fn parameter<'a>(rest: &mut &'a [u8]) -> Option<Parameter<'a>> {
    let [a, b, c, d] = *rest.first_chunk::<4>()?;
    let len = usize::from(u16::from_be_bytes([c, d]));
    let value = rest.get(4..len)?;
    *rest = rest.get(len.next_multiple_of(4).min(rest.len())..)?;
    match u16::from_be_bytes([a, b]) {
        OUTGOING_RESET_REQUEST => {
            let (numbers, streams) = value.split_first_chunk::<12>()?;
            let [request, response, last] = numbers.as_chunks().0 else { return None };
            let (streams, odd) = streams.as_chunks();
            odd.is_empty().then_some(Parameter::ResetRequest(ResetRequest {
                request: u32::from_be_bytes(*request),
                response: u32::from_be_bytes(*response),
                last: Tsn(u32::from_be_bytes(*last)),
                streams,
            }))
        }
        RECONFIG_RESPONSE => {
            let [request, result] = value.get(..8)?.as_chunks().0 else { return None };
            let done = u32::from_be_bytes(*result) != RESULT_IN_PROGRESS;
            Some(Parameter::Response { request: u32::from_be_bytes(*request), done })
        }
        _ => Some(Parameter::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(chunks: &[(u8, &[u8])]) -> Vec<u8> {
        let mut packet = vec![0; HEADER_LEN];
        for (kind, value) in chunks {
            packet.extend([*kind, 0]);
            packet.extend((value.len() as u16 + 4).to_be_bytes());
            packet.extend(*value);
            packet.resize(packet.len().next_multiple_of(4), 0);
        }
        packet
    }

    #[test]
    fn data_and_sack_are_told_apart() {
        let packet = packet(&[
            (DATA, &[0, 0, 0, 7, 0, 3, 0, 0, 0, 0, 0, 51, b'h', b'i']),
            (SACK, &[0, 0, 0, 9, 0, 0, 16, 0, 0, 2, 0, 0, 0, 2, 0, 3, 0, 5, 0, 5]),
        ]);
        let mut chunks = Chunks::of(&packet);
        let data = Chunk::Data { tsn: Tsn(7), stream: StreamId(3), len: 2 };
        assert_eq!(chunks.next(), Some(Some(data)));
        let Some(Some(Chunk::Sack { cumulative, window, gaps })) = chunks.next() else { panic!() };
        assert_eq!((cumulative, window, gaps.ascend()), (Tsn(9), 4_096, true));
        assert_eq!(chunks.next(), None);
    }

    #[test]
    fn gaps_that_overlap_do_not_ascend() {
        for gaps in [[[0, 2, 0, 5], [0, 5, 0, 6]], [[0, 4, 0, 3], [0, 7, 0, 7]], [[0, 0, 0, 1], [0, 3, 0, 4]]]
        {
            assert!(!Gaps(&gaps).ascend(), "{gaps:?}");
        }
    }

    #[test]
    fn a_reset_names_its_streams() {
        let request = [0, 13, 0, 20, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 4, 0, 6];
        let response = [0, 16, 0, 12, 0, 0, 0, 8, 0, 0, 0, 6];
        let packet = packet(&[(RE_CONFIG, &[&request[..], &response].concat())]);
        let Some(Some(Chunk::Reconfig(mut parameters))) = Chunks::of(&packet).next() else { panic!() };
        let Some(Some(Parameter::ResetRequest(reset))) = parameters.next() else { panic!() };
        assert_eq!((reset.request, reset.response, reset.last), (1, 2, Tsn(3)));
        assert_eq!(reset.streams().collect::<Vec<_>>(), [StreamId(4), StreamId(6)]);
        let response = Parameter::Response { request: 8, done: false };
        assert_eq!(parameters.next(), Some(Some(response)));
        assert_eq!(parameters.next(), None);
    }

    #[test]
    fn whatever_is_cut_off_is_malformed_and_the_last() {
        let whole = packet(&[(SACK, &[0; 12]), (DATA, &[0; 13])]);
        for len in 0..whole.len() - 3 {
            let chunks: Vec<_> = Chunks::of(&whole[..len]).collect();
            let first_only = len == HEADER_LEN + 16;
            assert_eq!(chunks.last() == Some(&None), !first_only, "{len}");
        }
    }
}
