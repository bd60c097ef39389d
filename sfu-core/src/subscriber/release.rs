//! The last step of a packet: header, extensions and payload are written into the send batch and sealed there,
//! exactly once. Numbers that depend on the moment of sending are taken here and nowhere else.

use crate::drop::{Counters, DropReason};
use crate::output::{Path, SendBatch};
use crate::pacer::Paced;
use crate::packet::{Packet, PayloadForm};
use crate::publisher::Tracks;
use crate::subscriber::Subscriber;
use crate::subscriber::payload_rewriter;
use crate::subscriber::slot::Slot;
use crate::transport::Transport;
use crate::unit::{ExtSeq, Pt, RtpTime, Ssrc, TwccSeq};
use crate::wire::payload::PayloadDescriptor;
use crate::wire::rtp::{FIXED_LEN, OutgoingHeader};
use crate::wire::rtp_ext::OutgoingExtensions;
use crate::wire::rtx;

/// Where a packet goes, as the subscriber will see it.
struct Outgoing {
    ssrc: Ssrc,
    index: ExtSeq,
    pt: Pt,
    rtp_time: RtpTime,
}

impl Subscriber {
    /// Writes everything that is due into `batch`. Returns true when the batch is full before all is written.
    pub fn release(
        &mut self,
        transport: &Transport,
        tracks: &Tracks,
        batch: &mut SendBatch,
        counters: &mut Counters,
    ) -> bool {
        let (Some(path), Some(tag_len)) = (transport.ice.selected(), transport.tag_len()) else {
            while self.pacer.due().is_some() {
                self.pacer.released();
                counters.drop(DropReason::SrtpTooEarly);
            }
            return false;
        };
        let egress = Egress { transport, tracks, path, tag_len };
        while let Some(paced) = self.pacer.due().copied() {
            if !batch.has_room() {
                return true;
            }
            self.pacer.released();
            let written = match self.slots.get_mut(paced.slot) {
                Some(slot) => egress.write(slot, &paced, self.twcc_next, batch),
                None => Err(DropReason::LeftStore),
            };
            if written.is_ok() {
                self.twcc_next = TwccSeq(self.twcc_next.0.wrapping_add(1));
            }
            match written {
                Ok(()) if paced.rtx => counters.rtx_sent += 1,
                Ok(()) => counters.rtp_forwarded += 1,
                Err(reason) => counters.drop(reason),
            }
        }
        false
    }
}

/// What all packets of one release share.
struct Egress<'a> {
    transport: &'a Transport,
    tracks: &'a Tracks,
    path: Path,
    tag_len: usize,
}

impl Egress<'_> {
    /// Writes and seals one packet.
    fn write(
        &self,
        slot: &mut Slot,
        paced: &Paced,
        twcc: TwccSeq,
        batch: &mut SendBatch,
    ) -> Result<(), DropReason> {
        let stream = self.tracks.get(paced.source.track.0).and_then(|track| track.stream(paced.source));
        let (packet, payload) =
            stream.and_then(|stream| stream.store.get(paced.source_seq)).ok_or(DropReason::LeftStore)?;
        let segment = *slot.segment(paced).ok_or(DropReason::LeftStore)?;
        let outgoing = address(slot, paced, segment.rtp_time(packet.rtp_time))?;
        let payload = match (paced.format.form, &packet.descriptor) {
            (PayloadForm::Primary, PayloadDescriptor::Red(red)) => red.primary(payload),
            _ => payload,
        };
        let room = batch.reserve().ok_or(DropReason::TooLarge)?;
        let header_len = write_header(slot, &outgoing, packet, twcc, room).ok_or(DropReason::TooLarge)?;
        let osn = rtx::prefix(paced.seq.wire());
        let prefix = if paced.rtx { osn.as_slice() } else { &[] };
        let len = header_len + prefix.len() + payload.len() + self.tag_len;
        let room = room.get_mut(..len).ok_or(DropReason::TooLarge)?;
        let (_, body) = room.split_at_mut_checked(header_len).ok_or(DropReason::TooLarge)?;
        let (before, body) = body.split_at_mut_checked(prefix.len()).ok_or(DropReason::TooLarge)?;
        before.copy_from_slice(prefix);
        let body = body.get_mut(..payload.len()).ok_or(DropReason::TooLarge)?;
        body.copy_from_slice(payload);
        payload_rewriter::apply(segment.payload, &packet.descriptor, body);
        if let (PayloadForm::Red { inner }, PayloadDescriptor::Red(red)) =
            (paced.format.form, &packet.descriptor)
        {
            red.remap(body, inner);
        }
        claim(slot, paced, outgoing.index)?;
        self.transport.seal_rtp(outgoing.ssrc, outgoing.index, header_len, room)?;
        batch.commit(self.path, len);
        if !paced.rtx {
            slot.packets_sent = slot.packets_sent.wrapping_add(1);
            slot.octets_sent = slot.octets_sent.wrapping_add(payload.len() as u32);
            slot.responder.media_sent(len);
        }
        Ok(())
    }
}

/// SSRC, index, payload type and time under which a packet goes out.
fn address(slot: &Slot, paced: &Paced, rtp_time: RtpTime) -> Result<Outgoing, DropReason> {
    let format = paced.format;
    if paced.rtx {
        let ssrc = slot.spec.rtx_ssrc.ok_or(DropReason::NackRefused)?;
        let pt = format.rtx.ok_or(DropReason::NackRefused)?;
        return Ok(Outgoing { ssrc, index: slot.rtx_next, pt, rtp_time });
    }
    Ok(Outgoing { ssrc: slot.spec.ssrc, index: paced.seq, pt: format.pt, rtp_time })
}

/// Takes the index for good: no second packet is ever sealed under it.
fn claim(slot: &mut Slot, paced: &Paced, index: ExtSeq) -> Result<(), DropReason> {
    if paced.rtx {
        slot.rtx_next = index.next();
        return Ok(());
    }
    let free = slot.guard.take(index);
    debug_assert!(free, "index {index} of slot {} sealed twice", slot.spec.id);
    if free { Ok(()) } else { Err(DropReason::SealedBefore) }
}

fn write_header(
    slot: &Slot,
    outgoing: &Outgoing,
    packet: &Packet,
    twcc: TwccSeq,
    room: &mut [u8],
) -> Option<usize> {
    let carried = packet.carried;
    let values = OutgoingExtensions {
        mid: Some(slot.spec.mid),
        transport_cc: Some(twcc),
        audio_level: carried.audio_level,
        abs_capture_time: carried.abs_capture_time,
        video_orientation: carried.video_orientation,
        playout_delay: carried.playout_delay,
        ..OutgoingExtensions::default()
    };
    let extensions = slot.writer.write(&values, room.get_mut(FIXED_LEN..)?)?;
    let header = OutgoingHeader {
        marker: packet.marker,
        pt: outgoing.pt,
        seq: outgoing.index.wire(),
        time: outgoing.rtp_time,
        ssrc: outgoing.ssrc,
        padded: false,
        extended: extensions.len > 0,
    };
    header.write(room)?;
    Some(FIXED_LEN + extensions.len)
}
