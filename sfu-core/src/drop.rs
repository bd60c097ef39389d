//! Why things are dropped, and how often: every packet that goes no further is counted under one reason.

/// Why a datagram, packet or reference was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(usize)]
pub enum DropReason {
    /// First byte in none of RFC 7983's ranges, or too short for its class.
    UnknownClass,
    /// STUN that doesn't parse, or isn't a Binding request.
    StunMalformed,
    /// STUN for a ufrag that nobody has.
    StunUnknownUser,
    /// STUN whose MESSAGE-INTEGRITY or FINGERPRINT is wrong.
    StunUnauthenticated,
    /// More remote addresses than a transport may have.
    StunTooManyPaths,
    /// Not STUN, from an address that passed no check.
    UnknownAddress,
    /// DTLS for a transport whose remote description is not known yet.
    DtlsTooEarly,
    /// RTP or RTCP before the handshake ended.
    SrtpTooEarly,
    SrtpMalformed,
    SrtpAuthFailed,
    SrtpReplayed,
    SrtpTooOld,
    SrtpTooManySsrcs,
    /// The sender used up its packet index.
    SrtpIndexExhausted,
    RtpMalformed,
    RtcpMalformed,
    /// RTP that no track of the publisher claims.
    UnknownStream,
    /// A payload type that the m-section didn't negotiate.
    UnknownPayloadType,
    /// An SSRC that a newer one has replaced.
    RetiredSsrc,
    /// The original or its retransmission was here already.
    Duplicate,
    /// Older than the packet store reaches.
    TooOld,
    /// The track is muted.
    Muted,
    /// Padding without payload: a publisher's probe.
    PaddingOnly,
    /// RTX that repeats nothing we know.
    RtxUnusable,
    /// Redundant audio whose headers don't hold together, or name a codec other than Opus.
    RedMalformed,
    /// Payload longer than what can be forwarded in one datagram.
    TooLarge,
    /// A queued reference whose packet has left the store.
    LeftStore,
    /// A packet from before a switch, or too late for the rewriter.
    TooLate,
    /// A second seal under one index was prevented; never happens unless the engine is wrong.
    SealedBefore,
    /// A subscriber's pacer queue was full.
    PacerFull,
    /// The queue of control datagrams was full.
    ControlFull,
    /// A NACK for a packet that isn't in the history, or beyond its budget.
    NackRefused,
    /// Feedback about an SSRC that we don't send, or receive.
    UnknownFeedback,
    /// Application data where no data channels were negotiated, or after their end.
    SctpUnexpected,
    SctpMalformed,
    /// More packets than an association may send.
    SctpRateExceeded,
    /// SCTP beyond a bound, or a chunk that wasn't negotiated.
    SctpRefused,
    /// A message that is neither DCEP nor text or binary, or not in its form.
    DataMalformed,
    /// A data channel beyond what a transport may have.
    DataTooManyChannels,
    /// A message for a peer that takes only shorter ones.
    DataTooLong,
    /// A message for a transport that has no data channels, or whose channel is closing.
    DataUnsendable,
    /// A message for a peer that has too much waiting.
    DataReceiverSlow,
}

impl DropReason {
    pub const COUNT: usize = DropReason::DataReceiverSlow as usize + 1;
}

/// Everything that one worker counts. Plain numbers, copied out by the worker thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    dropped: [u64; DropReason::COUNT],
    pub datagrams_received: u64,
    pub rtp_received: u64,
    pub rtp_forwarded: u64,
    pub rtx_sent: u64,
    pub rtx_received: u64,
    pub nacks_sent: u64,
    pub nacks_received: u64,
    /// Audio packets that never came, taken from a later one's redundancy.
    pub red_recovered: u64,
    pub keyframe_requests_sent: u64,
    pub keyframe_requests_received: u64,
    pub layer_switches: u64,
    pub datagrams_sent: u64,
    pub runs_sent: u64,
    pub data_messages_received: u64,
    /// Once for each receiver, whether or not it gets there.
    pub data_messages_sent: u64,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            dropped: [0; DropReason::COUNT],
            datagrams_received: 0,
            rtp_received: 0,
            rtp_forwarded: 0,
            rtx_sent: 0,
            rtx_received: 0,
            nacks_sent: 0,
            nacks_received: 0,
            red_recovered: 0,
            keyframe_requests_sent: 0,
            keyframe_requests_received: 0,
            layer_switches: 0,
            datagrams_sent: 0,
            runs_sent: 0,
            data_messages_received: 0,
            data_messages_sent: 0,
        }
    }
}

impl Counters {
    pub fn drop(&mut self, reason: DropReason) {
        if let Some(count) = self.dropped.get_mut(reason as usize) {
            *count += 1;
        }
    }

    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or_default()
    }
}
