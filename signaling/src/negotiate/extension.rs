//! RTP header extensions (RFC 8285): which ones we take, which ones a slot carries, and under which ids.

use sfu_core::command::{Codec, ExtensionIds};
use sfu_core::unit::Kind;

use super::codec::AgreedCodec;
use crate::sdp::{Direction, ExtMap};

/// An extension of the table.
#[derive(Debug)]
struct Row {
    uri: &'static str,
    field: fn(&mut ExtensionIds) -> &mut Option<u8>,
    audio: bool,
    video: bool,
    /// The publisher may send it to us.
    uplink: bool,
    /// A slot forwards it.
    slot: bool,
    /// The id in our own offers, unless the client's offers gave another: Chromium's own, because Chromium does not
    /// look at what is taken when it adds sections. `None`: only offered to a client that has named an id, because
    /// browsers use all of 1–14 themselves, and Firefox refuses a description with a higher one. The dependency descriptor
    /// isn't left to that: Chromium takes it, though it names it only where it sends scalable streams, and without it
    /// can't show AV1 of more than one spatial layer.
    id: Option<u8>,
}

macro_rules! row {
    ($uri:expr, $field:ident, audio $audio:expr, video $video:expr, uplink $uplink:expr, slot $slot:expr, id $id:expr) => {
        Row {
            uri: $uri,
            field: |ids| &mut ids.$field,
            audio: $audio,
            video: $video,
            uplink: $uplink,
            slot: $slot,
            id: $id,
        }
    };
}

#[rustfmt::skip]
const TABLE: &[Row] = &[
    row!("urn:ietf:params:rtp-hdrext:sdes:mid",                    mid,               audio true,  video true,  uplink true, slot true,  id Some(4)),
    row!("urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",          rid,               audio false, video true,  uplink true, slot false, id None),
    row!("urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id", repaired_rid,      audio false, video true,  uplink true, slot false, id None),
    row!("urn:ietf:params:rtp-hdrext:ssrc-audio-level",            audio_level,       audio true,  video false, uplink true, slot true,  id Some(1)),
    row!("http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
                                                                   transport_cc,      audio true,  video true,  uplink true, slot true,  id Some(3)),
    row!("http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
                                                                   abs_send_time,     audio true,  video true,  uplink true, slot false, id None),
    row!("http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
                                                                   abs_capture_time,  audio true,  video true,  uplink true, slot true,  id None),
    row!("urn:3gpp:video-orientation",                             video_orientation, audio false, video true,  uplink true, slot true,  id Some(13)),
    row!("http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
                                                                   playout_delay,     audio false, video true,  uplink true, slot true,  id Some(5)),
    row!("https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension",
                                                                   dependency_descriptor, audio false, video true, uplink true, slot true, id Some(12)),
    row!("http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00",
                                                                   video_layers_allocation, audio false, video true, uplink true, slot false, id None),
];

impl Row {
    /// The publisher may send it with packets of these codecs, the one it will use first. A browser that has been given
    /// the dependency descriptor shortens the payload descriptor of VP8, and the temporal layers that it named are gone;
    /// H.265 has its own in the payload's header. A browser sends what the answer lists first.
    fn uplink_suits(&self, codecs: &[AgreedCodec]) -> bool {
        !self.is_dependency_descriptor() || codecs.first().is_some_and(has_dependency_descriptor)
    }

    /// A slot with these codecs has a use for it: there it is read only.
    fn slot_suits(&self, codecs: &[AgreedCodec]) -> bool {
        !self.is_dependency_descriptor() || codecs.iter().any(has_dependency_descriptor)
    }

    fn is_dependency_descriptor(&self) -> bool {
        self.uri.ends_with("#dependency-descriptor-rtp-header-extension")
    }

    fn serves(&self, kind: Kind) -> bool {
        match kind {
            Kind::Audio => self.audio,
            Kind::Video => self.video,
        }
    }
}

fn has_dependency_descriptor(codec: &AgreedCodec) -> bool {
    matches!(codec.payload.codec, Codec::Av1 { .. } | Codec::Vp9 { .. } | Codec::H264 { .. })
}

/// The extensions agreed for one m-section.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct AgreedExtensions {
    maps: Vec<ExtMap>,
}

impl AgreedExtensions {
    /// What we take of those that the peer offers: what the publisher may send if we receive, what a slot
    /// forwards if we send.
    pub fn agree(
        kind: Kind,
        codecs: &[AgreedCodec],
        offered: &[ExtMap],
        receives: bool,
        sends: bool,
    ) -> AgreedExtensions {
        let mut maps: Vec<ExtMap> = Vec::new();
        for map in offered {
            let row = TABLE.iter().find(|row| row.uri == map.uri && row.serves(kind));
            let direction = map.direction.map(Direction::reversed);
            let flow = direction.unwrap_or(Direction::SendRecv);
            let useful = |row: &Row| {
                let uplink = receives && flow.receives();
                let allowed = !uplink || row.uplink_suits(codecs);
                allowed
                    && (row.uplink && uplink || row.slot && sends && flow.sends() && row.slot_suits(codecs))
            };
            let clashes = maps.iter().any(|earlier| earlier.id == map.id || earlier.uri == map.uri);
            if row.is_some_and(useful) && !clashes {
                maps.push(ExtMap { id: map.id, uri: map.uri.clone(), direction });
            }
        }
        AgreedExtensions { maps }
    }

    /// Drops what the peer's answer did not take.
    pub fn retain_answered(&mut self, answered: &[ExtMap]) {
        self.maps.retain(|map| answered.iter().any(|other| other.id == map.id && other.uri == map.uri));
    }

    /// Values of the `a=extmap` lines. Direction suffixes answer suffixes, so offers of ours have none.
    pub fn lines(&self, is_answer: bool) -> impl Iterator<Item = String> {
        self.maps.iter().map(move |map| match map.direction.filter(|_| is_answer) {
            Some(direction) => format!("{}/{} {}", map.id, direction.as_str(), map.uri),
            None => format!("{} {}", map.id, map.uri),
        })
    }

    pub fn uplink_ids(&self) -> ExtensionIds {
        self.ids(|row, flow| row.uplink && flow.receives())
    }

    pub fn slot_ids(&self) -> ExtensionIds {
        self.ids(|row, flow| row.slot && flow.sends())
    }

    fn ids(&self, wanted: impl Fn(&Row, Direction) -> bool) -> ExtensionIds {
        let mut ids = ExtensionIds::default();
        for map in &self.maps {
            let flow = map.direction.unwrap_or(Direction::SendRecv);
            if let Some(row) = TABLE.iter().find(|row| row.uri == map.uri && wanted(row, flow)) {
                *(row.field)(&mut ids) = Some(map.id);
            }
        }
        ids
    }
}

/// Ids that a client uses: one id means one URI in the whole bundle (RFC 8285 §6).
#[derive(Clone, Debug, Default)]
pub struct KnownExtensionIds {
    maps: Vec<(u8, String)>,
}

/// Distinct extensions remembered per client; browsers know about 20.
const KNOWN_MAX: usize = 64;

impl KnownExtensionIds {
    pub fn learn(&mut self, offered: &[ExtMap]) {
        for map in offered {
            // The client's word counts more than an id that we once proposed.
            self.maps.retain(|(id, uri)| *id != map.id && *uri != map.uri);
            if self.maps.len() < KNOWN_MAX {
                self.maps.push((map.id, map.uri.clone()));
            }
        }
    }

    /// The extensions of a slot that we offer.
    pub fn offer(&mut self, kind: Kind, codecs: &[AgreedCodec]) -> AgreedExtensions {
        let rows = TABLE.iter().filter(|row| row.slot && row.serves(kind) && row.slot_suits(codecs));
        let maps = rows.filter_map(|row| {
            let id = self.id_of(row)?;
            Some(ExtMap { id, uri: row.uri.to_owned(), direction: None })
        });
        AgreedExtensions { maps: maps.collect() }
    }

    fn id_of(&mut self, row: &Row) -> Option<u8> {
        if let Some((id, _)) = self.maps.iter().find(|(_, uri)| uri == row.uri) {
            return Some(*id);
        }
        let mut candidates = std::iter::once(row.id?).chain(1..15);
        let id = candidates.find(|id| !self.maps.iter().any(|(taken, _)| taken == id))?;
        self.maps.push((id, row.uri.to_owned()));
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use sfu_core::unit::Pt;

    use super::*;
    use crate::codec_policy::CodecName;
    use crate::sdp::RtpFormat;

    fn map(id: u8, uri: &str, direction: Option<Direction>) -> ExtMap {
        ExtMap { id, uri: uri.to_owned(), direction }
    }

    #[test]
    fn firefox_direction_suffix_is_answered_reversed() {
        let offered = [
            map(8, "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id", Some(Direction::SendOnly)),
            map(3, "urn:ietf:params:rtp-hdrext:sdes:mid", None),
        ];
        let agreed = AgreedExtensions::agree(Kind::Video, &[], &offered, true, false);
        let lines: Vec<String> = agreed.lines(true).collect();
        assert_eq!(lines[0], "8/recvonly urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id");
        assert_eq!(agreed.uplink_ids().rid, Some(8));
        assert_eq!(agreed.uplink_ids().mid, Some(3));
        assert_eq!(agreed.slot_ids().rid, None);
    }

    fn codecs(names: &[&str]) -> Vec<AgreedCodec> {
        // In this order: what stands first is what we prefer.
        let name_of = |name: &&str| match *name {
            "VP8" => CodecName::Vp8,
            "VP9" => CodecName::Vp9,
            _ => CodecName::H265,
        };
        let allowed: Vec<CodecName> = names.iter().map(name_of).collect();
        let format = |(pt, name): (u8, &&str)| RtpFormat {
            pt: Pt(pt),
            name: (*name).to_owned(),
            clock_rate: 90_000,
            channels: None,
            fmtp: String::new(),
            feedback: Vec::new(),
        };
        let formats: Vec<RtpFormat> = (100..).zip(names).map(format).collect();
        let agreed = super::super::codec::agree(&allowed, &formats);
        assert_eq!(agreed.len(), names.len());
        agreed
    }

    const DEPENDENCY_DESCRIPTOR: &str =
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

    #[test]
    fn dependency_descriptor_is_never_taken_for_what_may_be_sent_as_vp8() {
        let agree = |names: &[&str], receives, sends| {
            let offered = [map(8, DEPENDENCY_DESCRIPTOR, None)];
            AgreedExtensions::agree(Kind::Video, &codecs(names), &offered, receives, sends)
        };
        assert_eq!(agree(&["VP8"], true, true), AgreedExtensions::default());
        assert_eq!(agree(&["VP8"], false, true), AgreedExtensions::default());
        assert_eq!(agree(&["VP8", "VP9"], true, true), AgreedExtensions::default());
        assert_eq!(agree(&["VP9", "VP8"], true, false).uplink_ids().dependency_descriptor, Some(8));
        assert_eq!(agree(&["VP8", "VP9"], false, true).slot_ids().dependency_descriptor, Some(8));
        assert_eq!(agree(&["H265"], true, true), AgreedExtensions::default());
    }

    #[test]
    fn dependency_descriptor_is_offered_also_to_who_has_not_named_it() {
        let mut known = KnownExtensionIds::default();
        let scalable = codecs(&["VP8", "VP9"]);
        assert_eq!(known.offer(Kind::Video, &scalable).slot_ids().dependency_descriptor, Some(12));
        known.learn(&[map(8, DEPENDENCY_DESCRIPTOR, None)]);
        assert_eq!(known.offer(Kind::Video, &scalable).slot_ids().dependency_descriptor, Some(8));
        assert_eq!(known.offer(Kind::Audio, &scalable).slot_ids().dependency_descriptor, None);
        assert_eq!(known.offer(Kind::Video, &codecs(&["VP8"])).slot_ids().dependency_descriptor, None);
    }

    #[test]
    fn offered_ids_follow_the_client_and_never_clash() {
        let mut known = KnownExtensionIds::default();
        known.learn(&[map(3, "urn:ietf:params:rtp-hdrext:sdes:mid", None), map(1, "urn:unknown", None)]);
        let ids = known.offer(Kind::Audio, &[]).slot_ids();
        assert_eq!(ids.mid, Some(3));
        assert_eq!(ids.audio_level, Some(2));
        assert_eq!(known.offer(Kind::Audio, &[]).slot_ids(), ids);
        known.learn(&[map(2, "urn:other", None)]);
        // The client took that id for something else: ours moves.
        assert_eq!(known.offer(Kind::Audio, &[]).slot_ids().audio_level, Some(5));
    }
}
