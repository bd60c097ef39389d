//! VP8 in RTP (RFC 7741), the sending half: cuts a frame into payloads of about equal size with picture id,
//! TL0PICIDX and temporal id. The reading half is `rtc-rtp`'s.

/// Largest part of a frame in one packet: with descriptor, RTP header, extensions, RTX and SRTP below 1,200.
pub const PART_MAX: usize = 1_100;

/// The payloads of one frame, in order. `picture_id` is 15 bits.
pub fn packetize(frame: &[u8], picture_id: u16, tl0_pic_idx: u8) -> Vec<Vec<u8>> {
    let parts = frame.len().div_ceil(PART_MAX).max(1);
    let size = frame.len().div_ceil(parts).max(1);
    let chunks = frame.chunks(size).enumerate();
    chunks.map(|(i, part)| [&descriptor(i == 0, picture_id, tl0_pic_idx)[..], part].concat()).collect()
}

/// ```text
///  0 1 2 3 4 5 6 7
/// |X|R|N|S|R| PID |   X, S at the start of the frame
/// |I|L|T|K| RSV   |   I, L, T
/// |M| PictureID   |   M: 15 bits
/// |  PictureID    |
/// |  TL0PICIDX    |
/// |TID|Y| KEYIDX  |   TID 0
/// ```
fn descriptor(start: bool, picture_id: u16, tl0_pic_idx: u8) -> [u8; 6] {
    let [high, low] = (0x8000 | picture_id).to_be_bytes();
    [0x80 | if start { 0x10 } else { 0 }, 0xe0, high, low, tl0_pic_idx, 0]
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rtp::codec::vp8::Vp8Packet;
    use rtp::packetizer::Depacketizer;

    use super::*;

    #[test]
    fn a_frame_is_cut_evenly_and_reads_back_with_another_s_reader() {
        let frame: Vec<u8> = (0..2_500u32).map(|i| i as u8).collect();
        let payloads = packetize(&frame, 0x7fff, 9);
        assert_eq!(payloads.iter().map(Vec::len).collect::<Vec<_>>(), [840, 840, 838]);
        let mut read = Vec::new();
        for (i, payload) in payloads.into_iter().enumerate() {
            let mut descriptor = Vp8Packet::default();
            read.extend_from_slice(&descriptor.depacketize(&Bytes::from(payload)).unwrap());
            assert_eq!(descriptor.s, u8::from(i == 0));
            assert_eq!((descriptor.picture_id, descriptor.tl0_pic_idx, descriptor.tid), (0x7fff, 9, 0));
        }
        assert_eq!(read, frame);
    }
}
