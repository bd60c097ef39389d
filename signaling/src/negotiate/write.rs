//! The state of a transport as SDP: offers and answers have the same lines, save for `a=setup`, directions and
//! extension suffixes.

use sfu_core::transport::MESSAGE_LEN_MAX;
use sfu_core::transport::handshake::{DtlsRole, Fingerprint, FingerprintAlgorithm};
use sfu_core::unit::Rid;

use super::{MediaFlow, Negotiation, Section};
use crate::candidate::host_candidate;
use crate::sdp::write::{SdpBuilder, SectionBuilder};
use crate::sdp::{Direction, Setup};
use crate::slots::{SeatId, Slot};

/// Ours, as everybody's: there is one association per transport.
const SCTP_PORT: u16 = 5_000;

/// CNAME and msid stream of a seat: what shares it is played in sync (RFC 7022, RFC 8830).
pub fn cname(seat: SeatId) -> String {
    format!("seat{}", seat.0)
}

impl Negotiation {
    /// The description of the current state.
    pub(super) fn write(&mut self, is_answer: bool) -> String {
        self.version = self.version.wrapping_add(1);
        let mut sdp = SdpBuilder::new(self.session_id, self.version);
        let mids = self.open_mids();
        if !mids.is_empty() {
            sdp.value("group", format!("BUNDLE {}", mids.join(" ")));
        }
        sdp.flag("extmap-allow-mixed");
        sdp.value("msid-semantic", " WMS *".to_owned());
        sdp.flag("ice-lite");
        // In a bundle only the first section's candidates count (RFC 9143 §10.2).
        let mut candidates_due = true;
        for section in &self.sections {
            let mut lines = self.section(section, is_answer);
            if !section.rejected && std::mem::take(&mut candidates_due) {
                for (index, address) in self.local.candidates.iter().enumerate() {
                    lines.value("candidate", host_candidate(index, *address));
                }
                lines.flag("end-of-candidates");
            }
            sdp.section(lines);
        }
        sdp.finish()
    }

    /// Our side of the current ICE session as a fragment (RFC 8840 §9), for the client that has restarted ICE.
    pub fn ice_fragment(&self) -> String {
        let mut text = String::from("a=ice-lite\r\n");
        let mids = self.open_mids();
        if !mids.is_empty() {
            text.push_str(&format!("a=group:BUNDLE {}\r\n", mids.join(" ")));
        }
        let open = self.sections.iter().find(|section| !section.rejected);
        if let Some(section) = open {
            let formats: Vec<String> = section.codecs.iter().flat_map(|codec| codec.formats()).collect();
            let (kind, profile) = (section.kind.as_str(), &section.profile);
            text.push_str(&format!("m={kind} 9 {profile} {}\r\n", formats.join(" ")));
            if let Some(mid) = &section.mid {
                text.push_str(&format!("a=mid:{}\r\n", mid.0));
            }
        }
        text.push_str(&format!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", self.ice.ufrag, self.ice.pwd));
        for (index, address) in self.local.candidates.iter().enumerate() {
            text.push_str(&format!("a=candidate:{}\r\n", host_candidate(index, *address)));
        }
        text.push_str("a=end-of-candidates\r\n");
        text
    }

    fn open_mids(&self) -> Vec<&str> {
        let open = self.sections.iter().filter(|section| !section.rejected);
        open.filter_map(|section| section.mid.as_ref().map(|mid| mid.0.as_str())).collect()
    }

    fn section(&self, section: &Section, is_answer: bool) -> SectionBuilder {
        let formats = if section.rejected || section.data.is_some() {
            section.formats.clone()
        } else {
            section.codecs.iter().flat_map(|codec| codec.formats()).collect()
        };
        let mut lines = SectionBuilder::new(&section.kind, section.rejected, &section.profile, formats);
        if let Some(mid) = &section.mid {
            lines.value("mid", mid.0.as_str());
        }
        if section.rejected {
            lines.flag(Direction::Inactive.as_str());
            return lines;
        }
        self.transport_lines(&mut lines, is_answer);
        if section.data.is_some() {
            // RFC 8841 §5, §6.
            lines.value("sctp-port", SCTP_PORT.to_string());
            lines.value("max-message-size", MESSAGE_LEN_MAX.to_string());
            return lines;
        }
        for extension in section.extensions.lines(is_answer) {
            lines.value("extmap", extension);
        }
        let slot = section.slot.and_then(|id| self.slots.get(id)).filter(|slot| slot.receiving || !is_answer);
        lines.flag(Direction::new(slot.is_some(), section.publication.is_some()).as_str());
        lines.flag("rtcp-mux");
        if self.flow != MediaFlow::Both {
            // RFC 9725 §4.4.1 and draft-ietf-wish-whep §4.6.1 want it in every section.
            lines.flag("rtcp-mux-only");
        }
        lines.flag("rtcp-rsize");
        for (key, value) in section.codecs.iter().flat_map(|codec| codec.lines()) {
            lines.value(key, value);
        }
        simulcast_lines(&mut lines, &section.rids);
        if let Some(slot) = slot {
            let has_rtx = section.codecs.iter().any(|codec| codec.payload.rtx.is_some());
            slot_lines(&mut lines, slot, has_rtx);
        }
        lines
    }

    fn transport_lines(&self, lines: &mut SectionBuilder, is_answer: bool) {
        lines.value("ice-ufrag", &self.ice.ufrag);
        lines.value("ice-pwd", &self.ice.pwd);
        lines.value("fingerprint", fingerprint(&self.local.fingerprint));
        let setup = match self.dtls_role() {
            Some(DtlsRole::Server) => Setup::Passive,
            Some(DtlsRole::Client) => Setup::Active,
            None if is_answer => Setup::Passive,
            None => Setup::ActPass,
        };
        lines.value("setup", setup.as_str());
    }
}

/// RFC 8851, RFC 8853: the layers that we take, in the order of the offer.
fn simulcast_lines(lines: &mut SectionBuilder, rids: &[Rid]) {
    for rid in rids {
        lines.value("rid", format!("{rid} recv", rid = rid.0));
    }
    if !rids.is_empty() {
        let list: Vec<&str> = rids.iter().map(|rid| rid.0.as_str()).collect();
        lines.value("simulcast", format!("recv {}", list.join(";")));
    }
}

/// The stream of a slot: msid, SSRCs and CNAME (RFC 8830, RFC 5576).
fn slot_lines(lines: &mut SectionBuilder, slot: &Slot, has_rtx: bool) {
    let cname = cname(slot.seat);
    let msid = format!("{cname} {}", slot.mid.0);
    lines.value("msid", &msid);
    let rtx = slot.rtx_ssrc.filter(|_| has_rtx);
    if let Some(rtx) = rtx {
        lines.value("ssrc-group", format!("FID {} {rtx}", slot.ssrc));
    }
    for ssrc in std::iter::once(slot.ssrc).chain(rtx) {
        lines.value("ssrc", format!("{ssrc} cname:{cname}"));
        lines.value("ssrc", format!("{ssrc} msid:{msid}"));
    }
}

/// RFC 8122 §5.
fn fingerprint(fingerprint: &Fingerprint) -> String {
    let algorithm = match fingerprint.algorithm {
        FingerprintAlgorithm::Sha256 => "sha-256",
        FingerprintAlgorithm::Sha384 => "sha-384",
        FingerprintAlgorithm::Sha512 => "sha-512",
    };
    let digest: Vec<String> = fingerprint.digest.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("{algorithm} {}", digest.join(":"))
}
