//! The encrypted path of one participant: ICE, then DTLS, then SRTP, each only once the one before it stands.

pub mod dtls;
pub mod handshake;
pub mod ice_lite;
pub mod srtp;

use crate::command::{OpenTransport, RemoteTransport};
use crate::drop::DropReason;
use crate::event::CloseReason;
use crate::output::{Path, SendBatch};
use crate::transport::handshake::{Handshake, HandshakeEvent, HandshakeFactory, SrtpKeys};
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
    srtp: Option<Srtp>,
}

impl Transport {
    pub fn new(now: Time, open: &OpenTransport) -> Transport {
        Transport { ice: IceLite::new(now, open.local.clone()), handshake: None, started: false, srtp: None }
    }

    /// The peer's description: for the first time, or with new credentials after an ICE restart. The DTLS association
    /// belongs to the first one.
    pub fn set_remote(&mut self, now: Time, remote: RemoteTransport, handshakes: &dyn HandshakeFactory) {
        self.ice.set_remote(remote.ice);
        if self.handshake.is_none() {
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

    /// Drains the handshake: its datagrams go to `transmit`.
    pub fn poll(&mut self, transmit: &mut impl FnMut(Path, Vec<u8>)) -> Option<Progress> {
        let handshake = self.handshake.as_mut()?;
        let mut progress = None;
        while let Some(event) = handshake.poll() {
            match event {
                HandshakeEvent::Transmit(datagram) => {
                    if let Some(path) = self.ice.selected() {
                        transmit(path, datagram);
                    }
                }
                HandshakeEvent::Connected(keys) => match Srtp::new(&keys) {
                    Some(srtp) => {
                        self.srtp = Some(srtp);
                        progress = Some(Progress::Connected);
                    }
                    None => {
                        let error = handshake::HandshakeError::Internal("exported keys of a wrong length");
                        return Some(Progress::Closed(CloseReason::Dtls(error)));
                    }
                },
                // Nobody has opened a data channel: SCTP has no place to go yet.
                HandshakeEvent::ApplicationData(_) => {}
                HandshakeEvent::Failed(error) => return Some(Progress::Closed(CloseReason::Dtls(error))),
            }
        }
        progress
    }

    pub fn handle_timeout(&mut self, now: Time) {
        if let Some(handshake) = self.handshake.as_mut()
            && handshake.next_timeout().is_some_and(|due| due <= now)
        {
            handshake.handle_timeout(now);
        }
    }

    pub fn next_timeout(&self, now: Time) -> Time {
        let handshake = self.handshake.as_ref().and_then(|handshake| handshake.next_timeout());
        handshake.map_or(Time::MAX, |due| due).min(self.ice.next_timeout(now))
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
