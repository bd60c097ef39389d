//! A datagram's way in: demux → check, handshake, or unprotect → parse → publisher or subscriber.

use crate::demux::Class;
use crate::drop::DropReason;
use crate::event::Event;
use crate::output::Path;
use crate::packet::PeerIx;
use crate::packet::TrackIx;
use crate::publisher::{Fresh, Incoming};
use crate::sfu::{Sfu, send_control, touch};
use crate::unit::{Kind, LayerId, SeqNo, Ssrc, Time};
use crate::wire::rtcp::{self, RtcpPacket};
use crate::wire::rtp::RtpHeader;
use crate::wire::rtp_ext::Extensions;
use crate::wire::stun::BindingRequest;

/// Keyframe requests and packet numbers that one compound of feedback may hold: more is an attack.
const FEEDBACK_MAX: usize = 512;

impl Sfu {
    /// Takes one datagram, which is decrypted in place. Any bytes may come from anywhere.
    pub fn receive(&mut self, now: Time, path: Path, datagram: &mut [u8]) {
        self.counters.datagrams_received += 1;
        let outcome = match Class::of(datagram) {
            Some(Class::Rtp) => self.receive_rtp(now, path, datagram),
            Some(Class::Rtcp) => self.receive_rtcp(now, path, datagram),
            Some(Class::Stun) => self.receive_stun(now, path, datagram),
            Some(Class::Dtls) => self.receive_dtls(now, path, datagram),
            None => Err(DropReason::UnknownClass),
        };
        if let Err(reason) = outcome {
            self.counters.drop(reason);
        }
    }

    fn receive_stun(&mut self, now: Time, path: Path, datagram: &[u8]) -> Result<(), DropReason> {
        let request = BindingRequest::parse(datagram).ok_or(DropReason::StunMalformed)?;
        let ix = *self.peers_by_ufrag.get(request.local_ufrag).ok_or(DropReason::StunUnknownUser)?;
        let peer = self.peers.get_mut(ix.0).ok_or(DropReason::StunUnknownUser)?;
        let checked = peer.transport.check(now, path, &request)?;
        // Also when it was known: a NAT may have lent the address to another transport in between.
        if checked.owns_remote {
            self.peers_by_remote.insert(path.remote, ix);
        }
        if let Some(evicted) = checked.evicted
            && self.peers_by_remote.get(&evicted) == Some(&ix)
        {
            self.peers_by_remote.remove(&evicted);
        }
        send_control(&mut self.control, &mut self.counters, path, checked.response);
        if peer.is_overdue {
            peer.is_overdue = false;
            self.events.push_back(Event::TransportRecovered { transport: peer.id });
        }
        self.poll_transport(now, ix);
        Ok(())
    }

    fn receive_dtls(&mut self, now: Time, path: Path, datagram: &[u8]) -> Result<(), DropReason> {
        let ix = self.peer_at(path)?;
        let peer = self.peers.get_mut(ix.0).ok_or(DropReason::UnknownAddress)?;
        peer.transport.receive_dtls(now, datagram)?;
        self.poll_transport(now, ix);
        Ok(())
    }

    fn receive_rtp(&mut self, now: Time, path: Path, datagram: &mut [u8]) -> Result<(), DropReason> {
        let header = RtpHeader::parse(datagram).ok_or(DropReason::RtpMalformed)?;
        let ix = self.peer_at(path)?;
        let peer = self.peers.get_mut(ix.0).ok_or(DropReason::UnknownAddress)?;
        let opened = peer.transport.unprotect_rtp(&header, datagram)?;
        let packet = datagram.get(..opened.len).ok_or(DropReason::RtpMalformed)?;
        self.counters.rtp_received += 1;
        let extensions = Extensions::parse(&peer.publisher.extensions, &header, packet);
        let payload =
            header.payload(packet).and_then(|range| packet.get(range)).ok_or(DropReason::RtpMalformed)?;
        let incoming = Incoming { header: &header, index: opened.index, extensions: &extensions, payload };
        touch(peer, ix, &mut self.touched);
        peer.publisher.receive(now, &incoming, &mut self.tracks, &mut self.fresh, &mut self.counters)?;
        while let Some(ssrc) = peer.publisher.bindings.take_forgotten() {
            peer.transport.forget(ssrc);
        }
        if let Some(fresh) = self.fresh.last().copied() {
            self.note(now, ix, &fresh, &extensions);
        }
        Ok(())
    }

    /// What the room should know of a packet beyond its forwarding.
    fn note(&mut self, now: Time, ix: PeerIx, fresh: &Fresh, extensions: &Extensions) {
        let Some(track) = self.tracks.get_mut(fresh.source.track.0) else { return };
        if track.spec.kind == Kind::Audio
            && let Some(level) = extensions.audio_level
            && let Some(room) = self.rooms.get_mut(&track.room)
        {
            room.speaker.heard(now, track.participant, level);
        }
        // A layer that has begun to arrive is worth a look at once: joiners wait for it.
        if !track.arriving.contains(&fresh.source.layer) {
            self.timers.hurry(now);
        }
        debug_assert_eq!(track.owner, ix);
    }

    fn receive_rtcp(&mut self, now: Time, path: Path, datagram: &mut [u8]) -> Result<(), DropReason> {
        let ix = self.peer_at(path)?;
        let ntp = self.ntp(now);
        let peer = self.peers.get_mut(ix.0).ok_or(DropReason::UnknownAddress)?;
        let len = peer.transport.unprotect_rtcp(datagram)?;
        let compound = datagram.get(..len).ok_or(DropReason::RtcpMalformed)?;
        let mut keyframes: Vec<Ssrc> = Vec::new();
        let mut lost: Vec<(Ssrc, SeqNo)> = Vec::new();
        for packet in rtcp::packets(compound) {
            match packet.map_err(|_| DropReason::RtcpMalformed)? {
                RtcpPacket::SenderReport { report, blocks } => {
                    peer.publisher.sender_report(
                        now,
                        report.ssrc,
                        report.ntp,
                        report.rtp_time,
                        &mut self.tracks,
                    );
                    blocks.iter().for_each(|block| peer.subscriber.report(ntp, &block));
                }
                RtcpPacket::ReceiverReport { blocks, .. } => {
                    blocks.iter().for_each(|block| peer.subscriber.report(ntp, &block));
                }
                RtcpPacket::Nack { media, lost: entries } => {
                    let room = FEEDBACK_MAX.saturating_sub(lost.len());
                    lost.extend(entries.seqs().take(room).map(|seq| (media, seq)));
                }
                RtcpPacket::Pli { media } => keyframes.push(media),
                RtcpPacket::Fir { entries } => keyframes.extend(entries.iter().map(|(media, _)| media)),
                // Nothing estimates yet; BYE is followed by signalling.
                RtcpPacket::TransportCc(_)
                | RtcpPacket::CongestionFeedback(_)
                | RtcpPacket::Remb { .. }
                | RtcpPacket::Bye { .. }
                | RtcpPacket::Other { .. } => {}
            }
        }
        for run in lost.chunk_by(|a, b| a.0 == b.0) {
            let Some((media, _)) = run.first() else { continue };
            let seqs = run.iter().map(|(_, seq)| *seq);
            peer.subscriber.nack(now, *media, seqs, &self.tracks, &mut self.counters);
        }
        if !peer.is_ready && !peer.subscriber.pacer.is_empty() {
            peer.is_ready = true;
            self.ready.push(ix);
        }
        touch(peer, ix, &mut self.touched);
        keyframes.truncate(FEEDBACK_MAX);
        for media in keyframes {
            self.counters.keyframe_requests_received += 1;
            let target = self.peers.get(ix.0).and_then(|peer| peer.subscriber.keyframe_target(media));
            match target {
                Some((track, layer)) => self.want_keyframe(track, layer),
                None => self.counters.drop(DropReason::UnknownFeedback),
            }
        }
        Ok(())
    }

    /// Asks a track's publisher for a keyframe, when its throttle allows.
    pub(super) fn want_keyframe(&mut self, ix: TrackIx, layer: LayerId) {
        let Some(track) = self.tracks.get_mut(ix.0) else { return };
        track.want_keyframe(layer);
        if let Some(owner) = self.peers.get_mut(track.owner.0) {
            touch(owner, track.owner, &mut self.touched);
        }
    }

    fn peer_at(&self, path: Path) -> Result<PeerIx, DropReason> {
        self.peers_by_remote.get(&path.remote).copied().ok_or(DropReason::UnknownAddress)
    }
}
