//! Builds session descriptions line by line on `rtc_sdp`'s types. Knows where a line goes, not why.

use rtc_sdp::description::common::{Address, Attribute, ConnectionInformation};
use rtc_sdp::description::media::{MediaDescription, MediaName, RangedPort};
use rtc_sdp::description::session::{Origin, SessionDescription, TimeDescription};

use super::MediaKind;

/// A description under construction.
#[derive(Debug)]
pub struct SdpBuilder {
    session: SessionDescription,
}

impl SdpBuilder {
    /// `session_id` stays for the life of a transport, `version` grows with each description (RFC 8829 §5.2.1).
    pub fn new(session_id: u64, version: u64) -> SdpBuilder {
        let session = SessionDescription {
            origin: Origin {
                username: "-".to_owned(),
                session_id,
                session_version: version,
                network_type: "IN".to_owned(),
                address_type: "IP4".to_owned(),
                unicast_address: "127.0.0.1".to_owned(),
            },
            session_name: "-".to_owned(),
            time_descriptions: vec![TimeDescription::default()],
            ..SessionDescription::default()
        };
        SdpBuilder { session }
    }

    pub fn flag(&mut self, key: &str) {
        self.session.attributes.push(Attribute::new(key.to_owned(), None));
    }

    pub fn value(&mut self, key: &str, value: String) {
        self.session.attributes.push(Attribute::new(key.to_owned(), Some(value)));
    }

    pub fn section(&mut self, section: SectionBuilder) {
        self.session.media_descriptions.push(section.media);
    }

    pub fn finish(self) -> String {
        self.session.to_string()
    }
}

/// An m-section under construction.
#[derive(Debug)]
pub struct SectionBuilder {
    media: MediaDescription,
}

impl SectionBuilder {
    /// Port 9 (discard: the candidates say where, RFC 8829 §5.2.1), or 0 when rejected.
    pub fn new(kind: &MediaKind, rejected: bool, profile: &str, formats: Vec<String>) -> SectionBuilder {
        let media = MediaDescription {
            media_name: MediaName {
                media: kind.as_str().to_owned(),
                port: RangedPort { value: if rejected { 0 } else { 9 }, range: None },
                protos: profile.split('/').map(str::to_owned).collect(),
                formats,
            },
            connection_information: Some(ConnectionInformation {
                network_type: "IN".to_owned(),
                address_type: "IP4".to_owned(),
                address: Some(Address { address: "0.0.0.0".to_owned(), ttl: None, range: None }),
            }),
            ..MediaDescription::default()
        };
        SectionBuilder { media }
    }

    pub fn flag(&mut self, key: &str) {
        self.media.attributes.push(Attribute::new(key.to_owned(), None));
    }

    pub fn value(&mut self, key: &str, value: impl Into<String>) {
        self.media.attributes.push(Attribute::new(key.to_owned(), Some(value.into())));
    }
}
