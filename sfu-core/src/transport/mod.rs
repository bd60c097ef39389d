//! The encrypted path of one participant: ICE, then DTLS, then SRTP and, where it was negotiated, SCTP, each only once
//! the one before it stands.

mod contain;
mod data_channel;
pub mod dtls;
pub mod handshake;
pub mod ice_lite;
mod sctp;
pub mod srtp;

use std::time::Instant;

use self::data_channel::{DataChannels, DataEvent};
pub use self::sctp::MESSAGE_LEN_MAX;
use crate::command::{DataMessage, OpenTransport, RemoteSctp, RemoteTransport};
use crate::drop::DropReason;
use crate::event::{CloseReason, DataCloseReason};
use crate::output::{Path, SendBatch};
use crate::transport::handshake::{DtlsRole, Handshake, HandshakeEvent, HandshakeFactory, SrtpKeys};
use crate::transport::ice_lite::{Checked, IceLite};
use crate::transport::srtp::{SrtpReceiver, SrtpSender, Unprotected};
use crate::unit::{ExtSeq, Ssrc, Time};
use crate::wire::rtp::RtpHeader;
use crate::wire::stun::BindingRequest;

/// What a transport has become.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    Connected,
    Closed(CloseReason),
}

/// What leaves a transport when it is polled.
#[derive(Debug)]
pub enum Emitted {
    Datagram(Path, Vec<u8>),
    DataOpened,
    DataReceived(DataMessage),
    DataClosed(DataCloseReason),
    Dropped(DropReason),
}

/// Where data channels stand.
#[derive(Debug)]
enum Data {
    /// No `m=application` was negotiated.
    None,
    /// DTLS isn't up yet.
    Wanted(RemoteSctp),
    Open(Box<DataChannels>),
}

/// Keys of both directions.
#[derive(Debug)]
struct Srtp {
    sender: SrtpSender,
    receiver: SrtpReceiver,
}

#[derive(Debug)]
pub struct Transport {
    pub ice: IceLite,
    handshake: Option<Box<dyn Handshake>>,
    started: bool,
    /// Ours, from the first description.
    role: Option<DtlsRole>,
    srtp: Option<Srtp>,
    data: Data,
    /// The instant of [`Time::ZERO`], for libraries.
    base: Instant,
}

impl Transport {
    /// `base` is the instant of [`Time::ZERO`].
    pub fn new(now: Time, base: Instant, open: &OpenTransport) -> Transport {
        Transport {
            ice: IceLite::new(now, open.local.clone()),
            handshake: None,
            started: false,
            role: None,
            srtp: None,
            data: Data::None,
            base,
        }
    }

    /// The peer's description: for the first time, or with new credentials after an ICE restart. The DTLS association
    /// belongs to the first one.
    pub fn set_remote(&mut self, now: Time, remote: RemoteTransport, handshakes: &dyn HandshakeFactory) {
        self.ice.set_remote(remote.ice);
        if self.handshake.is_none() {
            self.role = Some(remote.dtls_role);
            self.handshake = Some(handshakes.create(now, remote.dtls_role, &remote.fingerprints));
        }
        self.start_handshake(now);
    }

    pub fn check(
        &mut self,
        now: Time,
        path: Path,
        request: &BindingRequest<'_>,
    ) -> Result<Checked, DropReason> {
        let checked = self.ice.check(now, path, request)?;
        self.start_handshake(now);
        Ok(checked)
    }

    fn start_handshake(&mut self, now: Time) {
        if let (false, Some(_), Some(handshake)) =
            (self.started, self.ice.selected(), self.handshake.as_mut())
        {
            self.started = true;
            handshake.start(now);
        }
    }

    /// A datagram of the DTLS range from an address that has passed a check.
    pub fn receive_dtls(&mut self, now: Time, datagram: &[u8]) -> Result<(), DropReason> {
        let handshake = self.handshake.as_mut().ok_or(DropReason::DtlsTooEarly)?;
        handshake.receive(now, datagram);
        Ok(())
    }

    /// The peer's `m=application` section as it is now.
    pub fn set_data(&mut self, now: Time, remote: Option<RemoteSctp>) {
        match (&mut self.data, remote) {
            (_, None) => self.data = Data::None,
            (Data::Open(channels), Some(remote)) => channels.set_remote(remote),
            (Data::None | Data::Wanted(_), Some(remote)) => {
                self.data = Data::Wanted(remote);
                self.start_data(now);
            }
        }
    }

    fn start_data(&mut self, now: Time) {
        if let (Data::Wanted(remote), Some(role), Some(_)) = (&self.data, self.role, &self.srtp) {
            self.data = Data::Open(Box::new(DataChannels::new(now, self.base, role, *remote)));
        }
    }

    pub fn send_data(&mut self, now: Time, message: &DataMessage) -> Result<(), DropReason> {
        let Data::Open(channels) = &mut self.data else { return Err(DropReason::DataUnsendable) };
        channels.send(now, message);
        Ok(())
    }

    /// Drains handshake and data channels into `emit`.
    pub fn poll(&mut self, now: Time, emit: &mut impl FnMut(Emitted)) -> Option<Progress> {
        let mut progress = None;
        loop {
            progress = self.poll_handshake(now, emit).or(progress);
            if matches!(progress, Some(Progress::Closed(_))) || !self.poll_data(now, emit) {
                return progress;
            }
        }
    }

    fn poll_handshake(&mut self, now: Time, emit: &mut impl FnMut(Emitted)) -> Option<Progress> {
        let mut progress = None;
        while let Some(event) = self.handshake.as_mut()?.poll() {
            match event {
                HandshakeEvent::Transmit(datagram) => {
                    if let Some(path) = self.ice.selected() {
                        emit(Emitted::Datagram(path, datagram));
                    }
                }
                HandshakeEvent::Connected(keys) => match Srtp::new(&keys) {
                    Some(srtp) => {
                        self.srtp = Some(srtp);
                        self.start_data(now);
                        progress = Some(Progress::Connected);
                    }
                    None => {
                        let error = handshake::HandshakeError::Internal("exported keys of a wrong length");
                        return Some(Progress::Closed(CloseReason::Dtls(error)));
                    }
                },
                HandshakeEvent::ApplicationData(data) => match &mut self.data {
                    Data::Open(channels) => channels.receive(now, &data),
                    Data::None | Data::Wanted(_) => emit(Emitted::Dropped(DropReason::SctpUnexpected)),
                },
                HandshakeEvent::Failed(error) => return Some(Progress::Closed(CloseReason::Dtls(error))),
            }
        }
        progress
    }

    /// Takes what the data channels have to say; true when something was handed to DTLS.
    fn poll_data(&mut self, now: Time, emit: &mut impl FnMut(Emitted)) -> bool {
        let (Data::Open(channels), Some(handshake)) = (&mut self.data, self.handshake.as_mut()) else {
            return false;
        };
        let mut sent = false;
        while let Some(packet) = channels.poll_transmit() {
            handshake.send_application_data(now, &packet);
            sent = true;
        }
        while let Some(event) = channels.poll() {
            emit(match event {
                DataEvent::Established => Emitted::DataOpened,
                DataEvent::Message(message) => Emitted::DataReceived(message),
                DataEvent::Ended(reason) => Emitted::DataClosed(reason),
                DataEvent::Dropped(reason) => Emitted::Dropped(reason),
            });
        }
        sent
    }

    pub fn handle_timeout(&mut self, now: Time) {
        if let Some(handshake) = self.handshake.as_mut()
            && handshake.next_timeout().is_some_and(|due| due <= now)
        {
            handshake.handle_timeout(now);
        }
        if let Data::Open(channels) = &mut self.data
            && channels.next_timeout().is_some_and(|due| due <= now)
        {
            channels.handle_timeout(now);
        }
    }

    pub fn next_timeout(&self, now: Time) -> Time {
        let handshake = self.handshake.as_ref().and_then(|handshake| handshake.next_timeout());
        let data = match &self.data {
            Data::Open(channels) => channels.next_timeout(),
            Data::None | Data::Wanted(_) => None,
        };
        [handshake, data].into_iter().flatten().fold(self.ice.next_timeout(now), Time::min)
    }

    /// Says goodbye to the peer.
    pub fn close(&mut self, now: Time) {
        if let Some(handshake) = self.handshake.as_mut() {
            handshake.close(now);
        }
    }

    pub fn is_connected(&self) -> bool {
        self.srtp.is_some()
    }

    pub fn unprotect_rtp(
        &mut self,
        header: &RtpHeader,
        packet: &mut [u8],
    ) -> Result<Unprotected, DropReason> {
        let srtp = self.srtp.as_mut().ok_or(DropReason::SrtpTooEarly)?;
        srtp.receiver.unprotect_rtp(header, packet).map_err(DropReason::from)
    }

    /// Opens a compound in place; returns its length.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, DropReason> {
        let srtp = self.srtp.as_mut().ok_or(DropReason::SrtpTooEarly)?;
        srtp.receiver.unprotect_rtcp(packet).map_err(DropReason::from)
    }

    /// Forgets the receive state of an SSRC that is no longer used.
    pub fn forget(&mut self, ssrc: Ssrc) {
        if let Some(srtp) = self.srtp.as_mut() {
            srtp.receiver.forget(ssrc);
        }
    }

    /// How many bytes sealing adds to an RTP packet; `None` before there are keys.
    pub fn tag_len(&self) -> Option<usize> {
        Some(self.srtp.as_ref()?.sender.tag_len())
    }

    /// Seals `packet` (header, payload, room for the tag) in place.
    pub fn seal_rtp(
        &self,
        ssrc: Ssrc,
        index: ExtSeq,
        header_len: usize,
        packet: &mut [u8],
    ) -> Result<(), DropReason> {
        let srtp = self.srtp.as_ref().ok_or(DropReason::SrtpTooEarly)?;
        srtp.sender.seal_rtp(ssrc, index, header_len, packet).map_err(DropReason::from)
    }

    /// Seals a compound and puts it into `batch`, which has room.
    pub fn send_rtcp(&mut self, mut compound: Vec<u8>, batch: &mut SendBatch) -> Result<(), DropReason> {
        let path = self.ice.selected().ok_or(DropReason::SrtpTooEarly)?;
        let srtp = self.srtp.as_mut().ok_or(DropReason::SrtpTooEarly)?;
        srtp.sender.seal_rtcp(&mut compound).map_err(DropReason::from)?;
        if batch.push(path, &compound) { Ok(()) } else { Err(DropReason::TooLarge) }
    }
}

impl Srtp {
    fn new(keys: &SrtpKeys) -> Option<Srtp> {
        Some(Srtp { sender: SrtpSender::new(keys).ok()?, receiver: SrtpReceiver::new(keys).ok()? })
    }
}
