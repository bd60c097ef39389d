//! An engine with participants whose keys are injected, for tests that watch it from outside: datagrams in, runs out.
//! The participants are made of bytes; they keep no state beyond their sequence numbers.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::VecDeque;
use std::time::Duration;

use rtc_stun::attributes::{ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message, Setter};
use rtc_stun::textattrs::TextAttribute;
use sfu_core::command::{
    Codec, Command, DeclaredSsrc, ExtensionIds, IceCredentials, OpenTransport, PayloadType, RemoteTransport,
    SlotSpec, TrackSpec,
};
use sfu_core::transport::handshake::{
    DtlsRole, Fingerprint, Handshake, HandshakeEvent, HandshakeFactory, MasterKey, SrtpKeys, SrtpProfile,
};
use sfu_core::transport::srtp::{SrtpReceiver, SrtpSender};
use sfu_core::unit::{
    ClockRate, ExtSeq, Kind, Mid, ParticipantId, Pt, RoomId, RtpTime, SlotId, Ssrc, Time, TrackId,
    TransportId, TwccSeq,
};
use sfu_core::wire::rtp::{FIXED_LEN, OutgoingHeader};
use sfu_core::wire::rtp_ext::{ExtensionWriter, OutgoingExtensions};
use sfu_core::{Path, SendBatch, Sfu, SfuConfig};

pub const PWD: &str = "a-password-of-22-bytes-";
pub const VP8: Pt = Pt(96);
pub const RTX: Pt = Pt(97);

/// What application data is preceded by, in the clear: the header of a DTLS record.
pub const RECORD_HEADER: [u8; 13] = [23, 254, 253, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];

/// Everybody has the same keys, at once.
#[derive(Debug)]
struct SameKeys;

#[derive(Debug, Default)]
struct AtOnce(VecDeque<HandshakeEvent>);

impl HandshakeFactory for SameKeys {
    fn create(&self, _now: Time, _role: DtlsRole, _remote: &[Fingerprint]) -> Box<dyn Handshake> {
        Box::new(AtOnce::default())
    }
}

impl Handshake for AtOnce {
    fn start(&mut self, _now: Time) {
        self.0.push_back(HandshakeEvent::Connected(Box::new(keys())));
    }
    fn receive(&mut self, _now: Time, datagram: &[u8]) {
        if let Some(data) = datagram.strip_prefix(&RECORD_HEADER) {
            self.0.push_back(HandshakeEvent::ApplicationData(data.to_vec()));
        }
    }
    fn handle_timeout(&mut self, _now: Time) {}
    fn next_timeout(&self) -> Option<Time> {
        None
    }
    fn send_application_data(&mut self, _now: Time, data: &[u8]) {
        self.0.push_back(HandshakeEvent::Transmit([&RECORD_HEADER, data].concat()));
    }
    fn close(&mut self, _now: Time) {}
    fn poll(&mut self) -> Option<HandshakeEvent> {
        self.0.pop_front()
    }
}

fn keys() -> SrtpKeys {
    let key = |byte| MasterKey { key: vec![byte; 16], salt: vec![byte; 12] };
    SrtpKeys { profile: SrtpProfile::AeadAes128Gcm, local: key(1), remote: key(2) }
}

/// A sender with the participants' keys.
pub fn participants_sender() -> SrtpSender {
    let SrtpKeys { profile, local, remote } = keys();
    SrtpSender::new(&SrtpKeys { profile, local: remote, remote: local }).unwrap()
}

/// A receiver with the participants' keys.
pub fn participants_receiver() -> SrtpReceiver {
    let SrtpKeys { profile, local, remote } = keys();
    SrtpReceiver::new(&SrtpKeys { profile, local: remote, remote: local }).unwrap()
}

#[allow(clippy::disallowed_methods, reason = "libraries speak `Instant`, and one has to come from somewhere")]
pub fn engine() -> Sfu {
    let (ntp_at_zero, instant_at_zero) = (Duration::from_secs(3_900_000_000), std::time::Instant::now());
    let config = SfuConfig { ntp_at_zero, instant_at_zero };
    Sfu::new(config, Box::new(SameKeys), [3; 32])
}

pub fn path(n: u64) -> Path {
    let remote = ([10, 0, (n >> 8) as u8, n as u8], 5_000).into();
    Path { local: ([198, 51, 100, 1], 7_882).into(), remote }
}

/// Opens and connects transport `n`.
pub fn connect(sfu: &mut Sfu, now: Time, n: u64) {
    open(sfu, now, n);
    describe(sfu, now, n, DtlsRole::Server);
    sfu.receive(now, path(n), &mut check(n));
}

pub fn open(sfu: &mut Sfu, now: Time, n: u64) {
    let local = IceCredentials { ufrag: format!("L{n:08}"), pwd: PWD.into() };
    let (id, room, participant) = (TransportId(n), RoomId(1), ParticipantId(n));
    sfu.command(now, Command::OpenTransport(OpenTransport { id, room, participant, local }));
}

/// The remote description of transport `n`; `dtls_role` is the engine's.
pub fn describe(sfu: &mut Sfu, now: Time, n: u64, dtls_role: DtlsRole) {
    describe_as(sfu, now, n, n, dtls_role);
}

/// The same with credentials that belong to `name`.
pub fn describe_as(sfu: &mut Sfu, now: Time, n: u64, name: u64, dtls_role: DtlsRole) {
    let ice = IceCredentials { ufrag: format!("R{name:08}"), pwd: PWD.into() };
    let remote = RemoteTransport { ice, fingerprints: vec![], dtls_role };
    sfu.command(now, Command::SetRemote { transport: TransportId(n), remote });
}

/// A nominating check of participant `n`.
pub fn check(n: u64) -> Vec<u8> {
    let crypto = rtc_dtls::crypto_provider::default_provider().unwrap();
    let mut message = Message::new();
    message.set_type(BINDING_REQUEST);
    message.write_header();
    let username = format!("L{n:08}:R{n:08}");
    TextAttribute::new(ATTR_USERNAME, username).add_to(&mut message).unwrap();
    message.add(ATTR_USE_CANDIDATE, &[]);
    MessageIntegrity::new_short_term_integrity_with_provider(PWD.into(), crypto.crypto())
        .add_to(&mut message)
        .unwrap();
    FINGERPRINT.add_to(&mut message).unwrap();
    message.raw
}

pub fn extensions() -> ExtensionIds {
    ExtensionIds { mid: Some(1), transport_cc: Some(2), ..ExtensionIds::default() }
}

pub fn vp8() -> PayloadType {
    PayloadType {
        pt: VP8,
        codec: Codec::Vp8,
        clock_rate: ClockRate::VIDEO,
        rtx: Some(RTX),
        nack: true,
        pli: true,
        transport_cc: true,
    }
}

/// A camera of transport `n` with SSRC `n`, RTX `n` + 1,000,000.
pub fn camera(n: u64) -> TrackSpec {
    let ssrc = Ssrc(n as u32);
    TrackSpec {
        id: TrackId(n),
        kind: Kind::Video,
        mid: Mid::new(b"0"),
        payload_types: vec![vp8()],
        extensions: extensions(),
        rids: vec![],
        ssrcs: vec![DeclaredSsrc { ssrc, rtx: Some(Ssrc(ssrc.0 + 1_000_000)) }],
        muted: false,
    }
}

pub fn slot(n: u16) -> SlotSpec {
    SlotSpec {
        id: SlotId(n),
        kind: Kind::Video,
        mid: Mid::new(format!("s{n}").as_bytes()).unwrap(),
        ssrc: Ssrc(2_000_000 + u32::from(n)),
        rtx_ssrc: Some(Ssrc(3_000_000 + u32::from(n))),
        payload_types: vec![vp8()],
        extensions: extensions(),
        cname: "c".into(),
    }
}

/// Packet `seq` of the camera with this SSRC, sealed: VP8 of four packets a frame, every 10th frame a keyframe.
pub fn video(sender: &SrtpSender, ssrc: u32, seq: u64, payload_len: usize) -> Vec<u8> {
    let (frame, part) = (seq / 4, seq % 4);
    let header = OutgoingHeader {
        marker: part == 3,
        pt: VP8,
        seq: ExtSeq(seq).wire(),
        time: RtpTime(frame as u32 * 3_000),
        ssrc: Ssrc(ssrc),
        padded: false,
        extended: true,
    };
    let mut packet = vec![0; FIXED_LEN + 32 + payload_len];
    header.write(&mut packet).unwrap();
    let values = OutgoingExtensions {
        mid: Mid::new(b"0"),
        transport_cc: Some(TwccSeq(seq as u16)),
        ..OutgoingExtensions::default()
    };
    let written = ExtensionWriter::new(extensions()).write(&values, &mut packet[FIXED_LEN..]).unwrap();
    let header_len = FIXED_LEN + written.len;
    packet.truncate(header_len);
    let picture_id = (frame as u16 & 0x7fff) | 0x8000;
    let start = if part == 0 { 0x90 } else { 0x80 };
    let delta = u8::from(!frame.is_multiple_of(10));
    let [high, low] = picture_id.to_be_bytes();
    packet.extend([start, 0xc0, high, low, frame as u8, delta, 0, 0, 0x9d, 0x01, 0x2a]);
    packet.resize(header_len + payload_len + sender.tag_len(), 0x55);
    sender.seal_rtp(Ssrc(ssrc), ExtSeq(seq), header_len, &mut packet).unwrap();
    packet
}

/// Releases everything into `batch`; how many datagrams there were.
pub fn release(sfu: &mut Sfu, now: Time, batch: &mut SendBatch) -> usize {
    release_to(sfu, now, batch, |_| {})
}

/// As [`release`], with a look at the beginning of each run.
pub fn release_to(sfu: &mut Sfu, now: Time, batch: &mut SendBatch, mut see: impl FnMut(&[u8])) -> usize {
    let mut datagrams = 0;
    loop {
        let more = sfu.release(now, batch);
        datagrams += batch.runs().iter().map(sfu_core::Run::datagrams).sum::<usize>();
        batch.runs().iter().for_each(|run| see(batch.bytes(run)));
        batch.clear();
        if !more {
            return datagrams;
        }
    }
}
