//! SRTP and SRTCP (RFC 3711, RFC 7714): seals what a transport sends and opens what it receives, in place.
//! Owns session keys, receive-side rollover counters and replay lists; knows nothing of tracks or sockets.
//!
//! Sealing RTP keeps no state: the caller owns the 48-bit indices and promises that no (SSRC, index) is
//! sealed twice under one key, since a repeat gives the GCM key away (RFC 7714 §8.4).

mod cm_sha1;
mod gcm;
mod kdf;
mod replay;
#[cfg(test)]
mod tests;

use std::fmt;

use self::cm_sha1::CmSha1;
use self::gcm::Gcm;
use self::kdf::{SessionKeys, Stream};
use self::replay::ReplayWindow;
use crate::drop::DropReason;
use crate::transport::handshake::{MasterKey, SrtpKeys, SrtpProfile};
use crate::unit::{ExtSeq, Ssrc};
use crate::wire::rtp::RtpHeader;

/// The first RTCP header and the sender's SSRC stay in the clear (RFC 3711 §3.4).
const RTCP_CLEAR_LEN: usize = 8;

/// The E flag and the SRTCP index.
const RTCP_TRAILER_LEN: usize = 4;

/// The E flag: the packet is encrypted (RFC 3711 §3.4).
const RTCP_ENCRYPTED: u32 = 1 << 31;

/// Largest SRTP index: 32 bits of rollover counter, 16 of sequence number (RFC 3711 §3.3.1).
const RTP_INDEX_MAX: u64 = (1 << 48) - 1;

/// Sources (SSRCs) that one transport may receive RTP from, and RTCP from. A publisher with camera and
/// screen in three layers with RTX, and audio, uses 14; a source costs 150 bytes.
pub const SOURCES_MAX: usize = 64;

/// Room for the longest tag of a sealed RTP packet, for buffers made before the profile is known.
pub const TAG_LEN_MAX: usize = gcm::TAG_LEN;

/// 1,024 packets: at 10 Mbit/s of video, about a second of reordering.
const RTP_WINDOW_WORDS: usize = 16;

/// 128 packets, twice RFC 3711's minimum.
const RTCP_WINDOW_WORDS: usize = 2;

/// Why a packet could not be sealed or opened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum SrtpDrop {
    #[error("too short for its header and tag")]
    Malformed,
    #[error("the authentication tag does not match")]
    AuthFailed,
    #[error("the index has been accepted before")]
    Replayed,
    #[error("the index is below the replay window")]
    TooOld,
    #[error("more sources than SOURCES_MAX")]
    TooManySsrcs,
    #[error("the key has no index left")]
    IndexExhausted,
}

impl From<SrtpDrop> for DropReason {
    fn from(drop: SrtpDrop) -> DropReason {
        match drop {
            SrtpDrop::Malformed => DropReason::SrtpMalformed,
            SrtpDrop::AuthFailed => DropReason::SrtpAuthFailed,
            SrtpDrop::Replayed => DropReason::SrtpReplayed,
            SrtpDrop::TooOld => DropReason::SrtpTooOld,
            SrtpDrop::TooManySsrcs => DropReason::SrtpTooManySsrcs,
            SrtpDrop::IndexExhausted => DropReason::SrtpIndexExhausted,
        }
    }
}

/// Keys whose lengths don't fit their profile: a fault of whoever exported them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the SRTP keys do not have the lengths of their profile")]
pub struct InvalidKeys;

/// An opened RTP packet: the header's full index, and how many bytes from the start of the buffer are the
/// plaintext packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unprotected {
    pub index: ExtSeq,
    pub len: usize,
}

/// Seals what a transport sends.
pub struct SrtpSender {
    rtp: Cipher,
    rtcp: Cipher,
    /// Index of the next SRTCP packet, one count for all sources (RFC 3711 §3.4).
    rtcp_index: u32,
}

impl SrtpSender {
    pub fn new(keys: &SrtpKeys) -> Result<SrtpSender, InvalidKeys> {
        Ok(SrtpSender {
            rtp: Cipher::new(keys.profile, &keys.local, Stream::Rtp)?,
            rtcp: Cipher::new(keys.profile, &keys.local, Stream::Rtcp)?,
            rtcp_index: 0,
        })
    }

    /// How many bytes longer a sealed RTP packet is.
    pub fn tag_len(&self) -> usize {
        self.rtp.tag_len()
    }

    /// How many bytes longer a sealed RTCP packet is.
    pub fn rtcp_overhead(&self) -> usize {
        self.rtcp.tag_len() + RTCP_TRAILER_LEN
    }

    /// Seals `packet`, which holds `header | payload | room for tag_len() bytes`, in place. The header must
    /// be the one that goes out: `ssrc` and the low 16 bits of `index` stand in it.
    pub fn seal_rtp(
        &self,
        ssrc: Ssrc,
        index: ExtSeq,
        header_len: usize,
        packet: &mut [u8],
    ) -> Result<(), SrtpDrop> {
        debug_assert!(header_matches(packet, ssrc, index), "sealed under another index than the header's");
        if index.0 > RTP_INDEX_MAX {
            return Err(SrtpDrop::IndexExhausted);
        }
        match &self.rtp {
            Cipher::Gcm(gcm) => gcm.seal_rtp(ssrc, index.0, header_len, packet),
            Cipher::CmSha1(cm) => cm.seal_rtp(ssrc, index.0, header_len, packet),
        }
    }

    /// As [`SrtpSender::seal_rtp`], with a payload that stays where it is: `packet` holds
    /// `header | room for payload and tag`, exactly.
    pub fn seal_rtp_from(
        &self,
        ssrc: Ssrc,
        index: ExtSeq,
        header_len: usize,
        payload: &[u8],
        packet: &mut [u8],
    ) -> Result<(), SrtpDrop> {
        debug_assert!(header_matches(packet, ssrc, index), "sealed under another index than the header's");
        if index.0 > RTP_INDEX_MAX {
            return Err(SrtpDrop::IndexExhausted);
        }
        match &self.rtp {
            Cipher::Gcm(gcm) => gcm.seal_rtp_from(ssrc, index.0, header_len, payload, packet),
            Cipher::CmSha1(cm) => {
                let end = packet.len().checked_sub(cm_sha1::TAG_LEN).ok_or(SrtpDrop::Malformed)?;
                let room = packet.get_mut(header_len..end).ok_or(SrtpDrop::Malformed)?;
                if room.len() != payload.len() {
                    return Err(SrtpDrop::Malformed);
                }
                room.copy_from_slice(payload);
                cm.seal_rtp(ssrc, index.0, header_len, packet)
            }
        }
    }

    /// Seals a compound RTCP packet in place and appends [`SrtpSender::rtcp_overhead`] bytes.
    pub fn seal_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), SrtpDrop> {
        let ssrc = rtcp_ssrc(packet)?;
        let index = self.rtcp_index;
        if index >= RTCP_ENCRYPTED {
            return Err(SrtpDrop::IndexExhausted);
        }
        self.rtcp_index = index + 1;
        match &self.rtcp {
            Cipher::Gcm(gcm) => gcm.seal_rtcp(ssrc, index, packet),
            Cipher::CmSha1(cm) => cm.seal_rtcp(ssrc, index, packet),
        }
    }
}

impl fmt::Debug for SrtpSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrtpSender").field("rtcp_index", &self.rtcp_index).finish_non_exhaustive()
    }
}

/// Opens what a transport receives. A source's state is created and changed only by packets whose tag is
/// right.
pub struct SrtpReceiver {
    rtp: Cipher,
    rtcp: Cipher,
    rtp_sources: Sources<RTP_WINDOW_WORDS>,
    rtcp_sources: Sources<RTCP_WINDOW_WORDS>,
}

impl SrtpReceiver {
    pub fn new(keys: &SrtpKeys) -> Result<SrtpReceiver, InvalidKeys> {
        Ok(SrtpReceiver {
            rtp: Cipher::new(keys.profile, &keys.remote, Stream::Rtp)?,
            rtcp: Cipher::new(keys.profile, &keys.remote, Stream::Rtcp)?,
            rtp_sources: Sources::default(),
            rtcp_sources: Sources::default(),
        })
    }

    /// Opens an RTP packet in place. `header` is what [`RtpHeader::parse`] made of it. After an error the
    /// payload's bytes are undefined.
    pub fn unprotect_rtp(&mut self, header: &RtpHeader, packet: &mut [u8]) -> Result<Unprotected, SrtpDrop> {
        let source = self.rtp_sources.find(header.ssrc)?;
        // RFC 3711 §3.3.1: the index nearest to the highest one authenticated. A source's first packet is
        // taken to have a rollover counter of zero.
        let index = match source.map(|at| self.rtp_sources.window(at)) {
            Some(window) => {
                let index = ExtSeq(window.highest()).nearest(header.seq);
                window.check(index.0)?;
                index
            }
            None => ExtSeq(u64::from(header.seq.0)),
        };
        if index.0 > RTP_INDEX_MAX {
            return Err(SrtpDrop::IndexExhausted);
        }
        let len = match &self.rtp {
            Cipher::Gcm(gcm) => gcm.open_rtp(header.ssrc, index.0, header.header_len(), packet)?,
            Cipher::CmSha1(cm) => cm.open_rtp(header.ssrc, index.0, header.header_len(), packet)?,
        };
        self.rtp_sources.record(source, header.ssrc, index.0);
        Ok(Unprotected { index, len })
    }

    /// Opens an SRTCP packet in place; its plaintext is the returned number of bytes from the start. After
    /// an error the bytes are undefined.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpDrop> {
        let ssrc = rtcp_ssrc(packet)?;
        let trailer = self.rtcp.rtcp_trailer(packet).ok_or(SrtpDrop::Malformed)?;
        let source = self.rtcp_sources.find(ssrc)?;
        let index = u64::from(trailer & !RTCP_ENCRYPTED);
        if let Some(at) = source {
            self.rtcp_sources.window(at).check(index)?;
        }
        let len = match &self.rtcp {
            Cipher::Gcm(gcm) => gcm.open_rtcp(ssrc, trailer, packet)?,
            Cipher::CmSha1(cm) => cm.open_rtcp(ssrc, trailer, packet)?,
        };
        self.rtcp_sources.record(source, ssrc, index);
        Ok(len)
    }

    /// Frees the place of a source that will not be heard again. Its packets could be replayed from then
    /// on, so only for SSRCs that are bound to nothing.
    pub fn forget(&mut self, ssrc: Ssrc) {
        self.rtp_sources.forget(ssrc);
        self.rtcp_sources.forget(ssrc);
    }
}

impl fmt::Debug for SrtpReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrtpReceiver").field("sources", &self.rtp_sources.ssrcs).finish_non_exhaustive()
    }
}

enum Cipher {
    Gcm(Gcm),
    CmSha1(Box<CmSha1>),
}

impl Cipher {
    fn new(profile: SrtpProfile, master: &MasterKey, stream: Stream) -> Result<Cipher, InvalidKeys> {
        let keys = SessionKeys::derive(profile, master, stream)?;
        Ok(match profile {
            SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => Cipher::Gcm(Gcm::new(&keys)?),
            SrtpProfile::Aes128CmSha1_80 => Cipher::CmSha1(Box::new(CmSha1::new(&keys)?)),
        })
    }

    fn tag_len(&self) -> usize {
        match self {
            Cipher::Gcm(_) => gcm::TAG_LEN,
            Cipher::CmSha1(_) => cm_sha1::TAG_LEN,
        }
    }

    /// E flag and index: last of all in RFC 7714, before the tag in RFC 3711.
    fn rtcp_trailer(&self, packet: &[u8]) -> Option<u32> {
        let end = match self {
            Cipher::Gcm(_) => packet.len(),
            Cipher::CmSha1(_) => packet.len().checked_sub(cm_sha1::TAG_LEN)?,
        };
        let start = end.checked_sub(RTCP_TRAILER_LEN)?;
        packet.get(start..end)?.try_into().ok().map(u32::from_be_bytes)
    }
}

/// The sources that have sent something authentic, each with its replay list.
struct Sources<const WORDS: usize> {
    ssrcs: Vec<Ssrc>,
    windows: Vec<ReplayWindow<WORDS>>,
    /// Where the last packet's source was: packets come in bursts of one source.
    last: usize,
}

impl<const WORDS: usize> Default for Sources<WORDS> {
    fn default() -> Self {
        Sources { ssrcs: Vec::new(), windows: Vec::new(), last: 0 }
    }
}

impl<const WORDS: usize> Sources<WORDS> {
    /// Where `ssrc` is; `None` when it is new and there is room for it.
    fn find(&mut self, ssrc: Ssrc) -> Result<Option<usize>, SrtpDrop> {
        if self.ssrcs.get(self.last) == Some(&ssrc) {
            return Ok(Some(self.last));
        }
        match self.ssrcs.iter().position(|known| *known == ssrc) {
            Some(at) => {
                self.last = at;
                Ok(Some(at))
            }
            None if self.ssrcs.len() >= SOURCES_MAX => Err(SrtpDrop::TooManySsrcs),
            None => Ok(None),
        }
    }

    /// The replay list at a place that `find` has returned.
    fn window(&self, at: usize) -> &ReplayWindow<WORDS> {
        &self.windows[at]
    }

    /// Remembers an authenticated index of the source that `find` found, or didn't.
    fn record(&mut self, source: Option<usize>, ssrc: Ssrc, index: u64) {
        match source {
            Some(at) => self.windows[at].record(index),
            None => {
                self.last = self.ssrcs.len();
                self.ssrcs.push(ssrc);
                self.windows.push(ReplayWindow::starting_at(index));
            }
        }
    }

    fn forget(&mut self, ssrc: Ssrc) {
        if let Some(at) = self.ssrcs.iter().position(|known| *known == ssrc) {
            self.ssrcs.swap_remove(at);
            self.windows.swap_remove(at);
        }
    }
}

/// The sender's SSRC of the first packet of a compound.
fn rtcp_ssrc(packet: &[u8]) -> Result<Ssrc, SrtpDrop> {
    let bytes = packet.get(4..RTCP_CLEAR_LEN).and_then(|bytes| bytes.try_into().ok());
    bytes.map(|bytes| Ssrc(u32::from_be_bytes(bytes))).ok_or(SrtpDrop::Malformed)
}

fn header_matches(packet: &[u8], ssrc: Ssrc, index: ExtSeq) -> bool {
    packet.get(2..4) == Some(&index.wire().0.to_be_bytes())
        && packet.get(8..12) == Some(&ssrc.0.to_be_bytes())
}
