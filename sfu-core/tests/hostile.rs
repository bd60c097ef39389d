//! Whatever comes, from wherever, in whatever order: the engine doesn't panic, its queues stay within bounds, and when
//! all is closed nothing is left. Half of the datagrams are sealed with good keys, so that what lies behind the seal is
//! reached, too.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod engine;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use sfu_core::command::{
    Codec, Command, DeclaredSsrc, ExtensionIds, H264Profile, IceCredentials, LayerRequest, PayloadType,
    RemoteTransport, SlotSpec, TrackSpec,
};
use sfu_core::transport::handshake::DtlsRole;
use sfu_core::transport::srtp::SrtpSender;
use sfu_core::unit::{ExtSeq, LayerId, Mid, Pt, Rid, RtpTime, SlotId, Ssrc, Time, TrackId, TransportId};
use sfu_core::wire::rtp::{FIXED_LEN, OutgoingHeader};
use sfu_core::{DropReason, Load, Path, SendBatch, Sfu};

use engine::{camera, check, connect, engine, participants_sender, path, release, release_to, slot, video};

/// Transports, tracks and slots that commands and datagrams speak of; some of each exist.
const TRANSPORTS: u64 = 8;
const TRACKS: u64 = 10;
const SLOTS: u16 = 6;

/// What may wait at most between two releases, with so few transports and tracks.
const QUEUED_MAX: usize = 20_000;

struct Attack {
    sfu: Sfu,
    rng: StdRng,
    now: Time,
    sender: SrtpSender,
    /// Next packet of each camera.
    seqs: [u64; TRACKS as usize],
    batch: SendBatch,
    /// SSRC and sequence number of a packet that went out last.
    heard: (u32, u16),
    sent: usize,
}

impl Attack {
    fn new(seed: u64) -> Attack {
        let mut attack = Attack {
            sfu: engine(),
            rng: StdRng::seed_from_u64(seed),
            now: Time::ZERO,
            sender: participants_sender(),
            seqs: [0; TRACKS as usize],
            batch: SendBatch::new(1 << 16, 64),
            heard: (0, 0),
            sent: 0,
        };
        (0..TRANSPORTS).for_each(|n| attack.enter(n));
        attack
    }

    /// A participant connects, sends a camera and watches its neighbours, as far as it isn't there already.
    fn enter(&mut self, n: u64) {
        let transport = TransportId(n);
        connect(&mut self.sfu, self.now, n);
        self.sfu.command(self.now, Command::PublishTrack { transport, track: camera(n) });
        for id in 0..SLOTS {
            self.sfu.command(self.now, Command::SetSlot { transport, slot: slot(id) });
            let source = Some(TrackId((n + u64::from(id) + 1) % TRACKS));
            self.sfu.command(self.now, Command::SetSlotSource { transport, slot: SlotId(id), source });
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..30 => self.media(),
            30..45 => self.sealed_rtp(),
            45..60 => self.sealed_rtcp(),
            60..70 => self.noise(),
            70..78 => self.mutated(),
            78..80 => {
                let n = self.transport().0;
                let from = self.path(n);
                self.sfu.receive(self.now, from, &mut check(n));
            }
            80..90 => {
                let command = self.random_command();
                self.sfu.command(self.now, command);
            }
            90..99 => {
                let span = Duration::from_micros(self.rng.random_range(0..30_000));
                self.pass(span);
            }
            _ if self.rng.random_bool(0.02) => self.pass(Duration::from_secs(40)),
            _ => self.pass(Duration::from_secs(1)),
        }
    }

    /// The next packets of a camera, some lost, some swapped.
    fn media(&mut self) {
        let n = self.rng.random_range(0..TRANSPORTS);
        let from = path(n);
        for _ in 0..self.rng.random_range(1..12) {
            let seq = &mut self.seqs[n as usize];
            *seq += match self.rng.random_range(0..200) {
                0 => 2_000,
                1..10 => 2,
                _ => 1,
            };
            let late = self.rng.random_range(0..3) * u64::from(self.rng.random_bool(0.05));
            let mut datagram = video(&self.sender, n as u32, seq.saturating_sub(late), 300);
            self.sfu.receive(self.now, from, &mut datagram);
        }
    }

    /// RTP that opens, with a header and payload of any kind.
    fn sealed_rtp(&mut self) {
        let n = self.transport().0;
        let ssrc = Ssrc(match self.rng.random_range(0..4) {
            0 => self.rng.random(),
            1 => n as u32 + 1_000_000,
            _ => n as u32,
        });
        let index = ExtSeq(self.seqs[n as usize % TRACKS as usize] + self.rng.random_range(0..400));
        let header = OutgoingHeader {
            marker: self.rng.random(),
            pt: Pt(self.rng.random_range(90..100)),
            seq: index.wire(),
            time: RtpTime(self.rng.random()),
            ssrc,
            padded: self.rng.random_bool(0.2),
            extended: false,
        };
        let mut packet = vec![0; FIXED_LEN + self.rng.random_range(0..1_400)];
        self.rng.fill_bytes(&mut packet[FIXED_LEN..]);
        header.write(&mut packet).unwrap();
        packet.resize(packet.len() + self.sender.tag_len(), 0);
        self.sender.seal_rtp(ssrc, index, FIXED_LEN, &mut packet).unwrap();
        let from = self.path(n);
        self.sfu.receive(self.now, from, &mut packet);
    }

    /// Compounds that open: well-formed feedback about our streams, and anything at all.
    fn sealed_rtcp(&mut self) {
        let n = self.transport().0;
        let mut compound = vec![0x80, 201, 0, 1, 0, 0, 0, n as u8];
        for _ in 0..self.rng.random_range(0..6) {
            let words = self.rng.random_range(0..20_u8);
            let kind = self.rng.random_range(192..224_u32) as u8;
            let format = self.rng.random_range(0..32_u8);
            compound.extend([0x80 | format, kind, 0, words]);
            let start = compound.len();
            compound.resize(start + usize::from(words) * 4, 0);
            self.rng.fill_bytes(&mut compound[start..]);
            if words >= 2 {
                let media = 2_000_000 + u32::from(self.rng.random_range(0..SLOTS));
                compound[start + 4..start + 8].copy_from_slice(&media.to_be_bytes());
            }
        }
        let (media, newest) = self.heard;
        let lost = newest.wrapping_sub(self.rng.random_range(0..40));
        compound.extend([0x81, 205, 0, 3, 0, 0, 0, 1]);
        compound.extend(media.to_be_bytes());
        compound.extend(lost.to_be_bytes());
        compound.extend([0xff, 0xff, 0x81, 206, 0, 2, 0, 0, 0, 1]);
        compound.extend(media.to_be_bytes());
        if self.rng.random_bool(0.1) {
            compound.truncate(self.rng.random_range(8..compound.len()));
        }
        self.sender.seal_rtcp(&mut compound).unwrap();
        let from = self.path(n);
        self.sfu.receive(self.now, from, &mut compound);
    }

    fn noise(&mut self) {
        let mut datagram = vec![0; self.rng.random_range(0..1_500)];
        self.rng.fill_bytes(&mut datagram);
        if let Some(first) = datagram.first_mut() {
            *first = [0, 1, 20, 22, 23, 63, 128, 144, 191, 255][self.rng.random_range(0..10)];
        }
        let n = self.transport().0;
        let from = self.path(n);
        self.sfu.receive(self.now, from, &mut datagram);
    }

    /// Something valid of any class, with a few bytes changed or its end cut off.
    fn mutated(&mut self) {
        let n = self.transport().0;
        let mut datagram = match self.rng.random_range(0..3) {
            0 => check(n),
            1 => video(&self.sender, n as u32, self.seqs[n as usize % TRACKS as usize] + 1, 200),
            _ => {
                let mut compound = vec![0x80, 201, 0, 1, 0, 0, 0, 1];
                self.sender.seal_rtcp(&mut compound).unwrap();
                compound
            }
        };
        for _ in 0..self.rng.random_range(1..4) {
            let at = self.rng.random_range(0..datagram.len());
            datagram[at] = self.rng.random();
        }
        if self.rng.random_bool(0.3) {
            datagram.truncate(self.rng.random_range(0..datagram.len()));
        }
        let from = self.path(n);
        self.sfu.receive(self.now, from, &mut datagram);
    }

    fn random_command(&mut self) -> Command {
        let (transport, track) = (self.transport(), TrackId(self.rng.random_range(0..TRACKS)));
        let id = SlotId(self.rng.random_range(0..SLOTS));
        let credentials = |name: &str| IceCredentials {
            ufrag: format!("{name}{:08}", transport.0),
            pwd: engine::PWD.into(),
        };
        match self.rng.random_range(0..22) {
            0 if self.rng.random_bool(0.1) => Command::CloseTransport { transport },
            1 => Command::RestartIce {
                transport,
                local: credentials(if self.rng.random() { "L" } else { "N" }),
            },
            2 => {
                let remote = RemoteTransport {
                    ice: credentials("R"),
                    fingerprints: vec![],
                    dtls_role: DtlsRole::Server,
                };
                Command::SetRemote { transport, remote }
            }
            3 => Command::PublishTrack { transport, track: self.random_track(track) },
            6 if self.rng.random_bool(0.3) => Command::UnpublishTrack { track },
            7 | 8 => Command::SetTrackMuted { track, muted: self.rng.random() },
            9..12 => Command::SetSlot { transport, slot: self.random_slot(id) },
            12 => Command::RemoveSlot { transport, slot: id },
            13..19 => Command::SetSlotSource {
                transport,
                slot: id,
                source: Some(track).filter(|_| self.rng.random_bool(0.9)),
            },
            _ => {
                let layer = match self.rng.random_range(0..3) {
                    0 => LayerRequest::Highest,
                    1 => LayerRequest::AtMost(LayerId(self.rng.random_range(0..4))),
                    _ => LayerRequest::Paused,
                };
                Command::SetSlotLayer { transport, slot: id, layer }
            }
        }
    }

    fn random_track(&mut self, id: TrackId) -> TrackSpec {
        let mut spec = TrackSpec { id, ..camera(self.rng.random_range(0..TRACKS)) };
        if self.rng.random_bool(0.3) {
            spec.rids = [&b"q"[..], b"h", b"f", b"x"].into_iter().map(|rid| Rid::new(rid).unwrap()).collect();
        }
        if self.rng.random_bool(0.3) {
            let ssrc = |rng: &mut StdRng| Ssrc(rng.random_range(0..TRACKS as u32));
            let declared = |rng: &mut StdRng| DeclaredSsrc { ssrc: ssrc(rng), rtx: Some(ssrc(rng)) };
            spec.ssrcs = (0..self.rng.random_range(0..6)).map(|_| declared(&mut self.rng)).collect();
        }
        self.random_formats(&mut spec.payload_types);
        spec.mid = Mid::new(b"0").filter(|_| self.rng.random());
        spec.muted = self.rng.random_bool(0.2);
        spec
    }

    /// Mostly VP8, at times none, or others beside it under the same and other payload types.
    fn random_formats(&mut self, formats: &mut Vec<PayloadType>) {
        let profile = H264Profile::ConstrainedBaseline;
        let codecs = [
            Codec::Red,
            Codec::Opus,
            Codec::Vp9 { profile: 0 },
            Codec::H264 { packetization_mode: 1, profile },
            Codec::H265 { profile: 1, tier: 0 },
            Codec::Av1 { profile: 0 },
        ];
        match self.rng.random_range(0..10) {
            0 => formats.clear(),
            1..5 => {
                for codec in codecs {
                    if self.rng.random() {
                        continue;
                    }
                    let pt = Pt(self.rng.random_range(94..100));
                    formats.push(PayloadType { pt, codec, ..engine::vp8() });
                }
                let at = self.rng.random_range(0..formats.len());
                formats.swap(0, at);
            }
            _ => {}
        }
    }

    fn random_slot(&mut self, id: SlotId) -> SlotSpec {
        let mut spec = slot(id.0);
        self.random_formats(&mut spec.payload_types);
        if self.rng.random_bool(0.1) {
            spec.rtx_ssrc = None;
        }
        if self.rng.random_bool(0.2) {
            spec.extensions =
                ExtensionIds { mid: Some(15), audio_level: Some(200), ..ExtensionIds::default() };
        }
        spec
    }

    /// Lets time pass with everything that is due on the way.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.sfu.next_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.sfu.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
        self.drain();
        // Who was closed comes back.
        if self.rng.random_bool(0.1) {
            let n = self.transport().0;
            self.enter(n);
        }
    }

    fn drain(&mut self) {
        assert!(self.sfu.load().queued < QUEUED_MAX, "{:?}", self.sfu.load());
        let heard = &mut self.heard;
        self.sent += release_to(&mut self.sfu, self.now, &mut self.batch, |run| {
            if let [0x80..=0xbf, pt, high, low, _, _, _, _, a, b, c, d, ..] = *run
                && pt & 0x7f == engine::VP8.0
            {
                *heard = (u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([high, low]));
            }
        });
        while self.sfu.poll_event().is_some() {}
        let load = self.sfu.load();
        assert_eq!(load.queued, 0, "{load:?}");
        assert!(load.transports <= TRANSPORTS as usize + 2 && load.tracks <= TRACKS as usize, "{load:?}");
        assert!(load.ufrags <= 2 * load.transports && load.remotes <= 16 * load.transports, "{load:?}");
        assert!(load.slots <= load.transports * usize::from(SLOTS) && load.routes <= load.slots, "{load:?}");
        assert!(load.timers <= 64 * (load.transports + 1), "{load:?}");
    }

    fn transport(&mut self) -> TransportId {
        TransportId(self.rng.random_range(0..TRANSPORTS + 2))
    }

    /// Mostly the participant's own path, else another's or a stranger's.
    fn path(&mut self, n: u64) -> Path {
        match self.rng.random_range(0..10) {
            0 => path(self.rng.random_range(0..TRANSPORTS)),
            1 => path(self.rng.random_range(0..60_000)),
            _ => path(n),
        }
    }
}

#[test]
fn nothing_that_comes_breaks_the_engine() {
    for seed in 0..32 {
        let mut attack = Attack::new(seed);
        for _ in 0..8_000 {
            attack.step();
        }
        let counters = *attack.sfu.counters();
        assert!(counters.rtp_forwarded > 1_000 && counters.rtx_sent > 0, "seed {seed}: {counters:?}");
        assert_eq!(counters.dropped(DropReason::SealedBefore), 0);
        let reached = [
            DropReason::UnknownClass,
            DropReason::StunMalformed,
            DropReason::UnknownAddress,
            DropReason::SrtpAuthFailed,
            DropReason::UnknownStream,
            DropReason::RtcpMalformed,
            DropReason::NackRefused,
            DropReason::UnknownFeedback,
        ];
        for reason in reached {
            assert!(counters.dropped(reason) > 0, "seed {seed}: {reason:?} was not reached");
        }
        for n in 0..TRANSPORTS + 2 {
            attack.sfu.command(attack.now, Command::CloseTransport { transport: TransportId(n) });
        }
        let end = attack.now + Duration::from_secs(60);
        attack.now = end;
        attack.sfu.handle_timeout(end);
        attack.sent += release(&mut attack.sfu, end, &mut attack.batch);
        while attack.sfu.poll_event().is_some() {}
        assert_eq!(attack.sfu.load(), Load::default(), "seed {seed}");
        assert!(attack.sent > 1_000);
    }
}
