//! Lets keyframe requests through to the application. The crate keeps all received RTCP to itself unless an interceptor marks it
//! for delivery; the rest of it is the crate's own to act on.

use std::collections::VecDeque;
use std::time::Instant;

use rtc::interceptor::{Attribute, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;

/// Position in the chain: behind all others, so that they have seen the packet whole.
pub(super) const POSITION: usize = 20_000;

/// Passes everything on, and marks what asks for a keyframe.
#[derive(Default)]
pub(super) struct KeyframeTap {
    received: VecDeque<TaggedPacket>,
    sent: VecDeque<TaggedPacket>,
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for KeyframeTap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut tagged: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &mut tagged.message.packet {
            // What is delivered goes to the track that the first packet is about.
            packets.sort_by_key(|packet| !asks_for_keyframe(&**packet));
            if packets.first().is_some_and(|packet| asks_for_keyframe(&**packet)) {
                tagged.message.add(Attribute::DeliverToApplication);
            }
        }
        self.received.push_back(tagged);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.received.pop_front()
    }

    fn handle_write(&mut self, tagged: TaggedPacket) -> Result<(), Error> {
        self.sent.push_back(tagged);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.sent.pop_front()
    }
}

fn asks_for_keyframe(packet: &dyn rtcp::packet::Packet) -> bool {
    packet.as_any().is::<PictureLossIndication>() || packet.as_any().is::<FullIntraRequest>()
}

impl Interceptor for KeyframeTap {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}
