//! SRTP and SRTCP of one client, by `rtc-srtp`. Replay protection is off on purpose: the client wants to see
//! repeats, because a server must never seal two different packets under one index.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use rtc_shared::marshal::{Marshal, Unmarshal};
use rtc_srtp::context::Context;
use rtp::header::Header;
use rtp::packet::Packet;

use super::crypto::Crypto;
use super::dtls::SrtpKeys;

/// Packets per SSRC whose seal is remembered, to tell a repeat by the network from a second seal.
const SEALS_REMEMBERED: usize = 2_048;

/// Streams whose seals are remembered; a server that sends more is watched on the first ones only.
const STREAMS_WATCHED_MAX: usize = 4_096;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SrtpCounters {
    pub rtp_refused: u64,
    pub rtcp_refused: u64,
    /// The same packet, byte for byte, once more: the network's doing.
    pub repeats: u64,
    /// Another packet under an SSRC and sequence number that were used already: gives away a GCM key.
    pub sealed_twice: u64,
}

/// Both directions of a connected client.
pub struct Srtp {
    local: Context,
    remote: Context,
    seals: BTreeMap<u32, Seals>,
    counters: SrtpCounters,
}

#[derive(Debug, Default)]
struct Seals {
    by_seq: BTreeMap<u16, u64>,
    order: VecDeque<u16>,
}

impl fmt::Debug for Srtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Srtp({:?})", self.counters)
    }
}

impl Srtp {
    pub fn new(keys: &SrtpKeys, crypto: &Crypto) -> Result<Srtp, String> {
        let context = |key: &[u8], salt: &[u8]| {
            Context::new(key, salt, keys.profile, None, None, crypto.provider())
                .map_err(|error| error.to_string())
        };
        Ok(Srtp {
            local: context(&keys.local_key, &keys.local_salt)?,
            remote: context(&keys.remote_key, &keys.remote_salt)?,
            seals: BTreeMap::new(),
            counters: SrtpCounters::default(),
        })
    }

    pub fn protect_rtp(&mut self, packet: &Packet) -> Option<Vec<u8>> {
        let plain = packet.marshal().ok()?;
        self.local.encrypt_rtp_with_header(&plain, &packet.header).ok().map(|sealed| sealed.to_vec())
    }

    pub fn protect_rtcp(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        self.local.encrypt_rtcp(plain).ok().map(|sealed| sealed.to_vec())
    }

    /// The packet, if it is authentic and not a repeat.
    pub fn unprotect_rtp(&mut self, datagram: &[u8]) -> Option<Packet> {
        let header = Header::unmarshal(&mut &datagram[..]).ok();
        let plain = header.and_then(|header| {
            let plain = self.remote.decrypt_rtp_with_header(datagram, &header).ok()?;
            Packet::unmarshal(&mut Bytes::from(plain)).ok()
        });
        let Some(packet) = plain else {
            self.counters.rtp_refused += 1;
            return None;
        };
        self.first_time(&packet.header, datagram).then_some(packet)
    }

    pub fn unprotect_rtcp(&mut self, datagram: &[u8]) -> Option<Bytes> {
        let plain = self.remote.decrypt_rtcp(datagram).ok();
        self.counters.rtcp_refused += u64::from(plain.is_none());
        plain.map(Bytes::from)
    }

    pub fn counters(&self) -> SrtpCounters {
        self.counters
    }

    fn first_time(&mut self, header: &Header, datagram: &[u8]) -> bool {
        let mut hasher = DefaultHasher::new();
        datagram.hash(&mut hasher);
        let hash = hasher.finish();
        if !self.seals.contains_key(&header.ssrc) && self.seals.len() >= STREAMS_WATCHED_MAX {
            return true;
        }
        let seals = self.seals.entry(header.ssrc).or_default();
        match seals.by_seq.get(&header.sequence_number) {
            Some(seen) if *seen == hash => self.counters.repeats += 1,
            Some(_) => self.counters.sealed_twice += 1,
            None => {
                seals.by_seq.insert(header.sequence_number, hash);
                seals.order.push_back(header.sequence_number);
                if seals.order.len() > SEALS_REMEMBERED {
                    seals.order.pop_front().and_then(|oldest| seals.by_seq.remove(&oldest));
                }
                return true;
            }
        }
        false
    }
}
