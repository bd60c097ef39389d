//! Offer and answer from the client's side: it is the polite peer (RFC 9429 §4.1.8.2), so an offer of the
//! server replaces an unanswered one of its own. Keeps the sections in the order both sides agreed on.

use super::sdp::{self, Accepts, Direction, LocalTransport, RemoteDescription, Section, Setup};

/// The session as it stands.
#[derive(Debug, Default)]
pub struct Negotiation {
    /// As last written by us, in order.
    agreed: Vec<Section>,
    /// Our unanswered offer.
    pending: Option<(u32, Vec<Section>)>,
    last_id: u32,
    version: u64,
    wanted: bool,
}

/// An answer to the server's offer, and what the offer said.
#[derive(Debug)]
pub struct Answered {
    pub remote: RemoteDescription,
    pub sdp: String,
}

impl Negotiation {
    /// An offer is to be made as soon as that is possible.
    pub fn want(&mut self) {
        self.wanted = true;
    }

    /// Our offer, if one is wanted and none is unanswered.
    pub fn offer(&mut self, own: &[Section], transport: &LocalTransport) -> Option<(u32, String)> {
        if !self.wanted || self.pending.is_some() {
            return None;
        }
        self.wanted = false;
        let mut sections: Vec<Section> = Vec::new();
        for section in &self.agreed {
            let ours = own.iter().find(|own| own.mid == section.mid);
            sections.push(ours.unwrap_or(section).clone());
        }
        for section in own {
            if !sections.iter().any(|known| known.mid == section.mid) {
                sections.push(section.clone());
            }
        }
        self.last_id += 1;
        self.version += 1;
        let sdp = sdp::write(self.version, transport, &sections);
        self.pending = Some((self.last_id, sections));
        Some((self.last_id, sdp))
    }

    /// The server's answer; `None` if it answers an offer that isn't pending.
    pub fn answered(&mut self, id: u32, text: &str) -> Result<Option<RemoteDescription>, String> {
        let Some((_, sections)) = self.pending.take_if(|(pending, _)| *pending == id) else {
            return Ok(None);
        };
        let remote = sdp::parse(text)?;
        let theirs: Vec<&str> = remote.sections.iter().map(|section| section.mid.as_str()).collect();
        let ours: Vec<&str> = sections.iter().map(|section| section.mid.as_str()).collect();
        if theirs != ours {
            return Err(format!("the answer has sections {theirs:?}, the offer had {ours:?}"));
        }
        self.agreed = sections;
        Ok(Some(remote))
    }

    /// The server has refused our offer.
    pub fn refused(&mut self, id: u32) {
        self.pending.take_if(|(pending, _)| *pending == id);
    }

    /// Answers the server's offer. `transport` gives the setup that our earlier descriptions agreed on, if any.
    pub fn answer(
        &mut self,
        text: &str,
        own: &[Section],
        transport: &LocalTransport,
        accepts: Accepts,
    ) -> Result<Answered, String> {
        let remote = sdp::parse(text)?;
        let mids = remote.sections.iter().map(|section| section.mid.as_str());
        let kept = self.agreed.iter().map(|section| section.mid.as_str()).eq(mids.take(self.agreed.len()));
        if !kept {
            return Err("the offer reorders or drops sections".into());
        }
        // An unanswered offer of ours is rolled back, and made again later.
        self.wanted |= self.pending.take().is_some();
        let sections: Vec<Section> = remote
            .sections
            .iter()
            .map(|offered| match own.iter().find(|own| own.mid == offered.mid) {
                Some(own) => {
                    let mut section = own.clone();
                    section.rejected = offered.rejected;
                    if !offered.direction.receives() {
                        section.direction = Direction::Inactive;
                    }
                    section
                }
                None => Section::receive(offered, accepts),
            })
            .collect();
        let mut transport = transport.clone();
        if transport.setup == Setup::Actpass {
            transport.setup = if remote.setup == Setup::Active { Setup::Passive } else { Setup::Active };
        }
        self.version += 1;
        let sdp = sdp::write(self.version, &transport, &sections);
        self.agreed = sections;
        Ok(Answered { remote, sdp })
    }

    /// Our side of a section.
    pub fn section(&self, mid: &str) -> Option<&Section> {
        self.agreed.iter().find(|section| section.mid == mid)
    }

    pub fn len(&self) -> usize {
        self.agreed.len()
    }

    pub fn is_empty(&self) -> bool {
        self.agreed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::dtls::Fingerprint;
    use super::super::ice::IceCredentials;
    use super::super::signal::Kind;
    use super::*;

    fn transport() -> LocalTransport {
        LocalTransport {
            ice: IceCredentials { ufrag: "uuuu".into(), pwd: "pppppppppppppppppppppp".into() },
            fingerprint: Fingerprint { algorithm: "sha-256".into(), digest: vec![1; 32] },
            setup: Setup::Actpass,
        }
    }

    fn own() -> Vec<Section> {
        vec![Section::publish("0", Kind::Audio, "c"), Section::publish("1", Kind::Video, "c")]
    }

    fn server_offer(mids: &[&str]) -> String {
        let sections: Vec<Section> = mids
            .iter()
            .map(|mid| {
                let mut section = Section::publish(mid, Kind::Video, "server");
                if !mid.starts_with('s') {
                    section.direction = Direction::RecvOnly;
                }
                section
            })
            .collect();
        sdp::write(1, &transport(), &sections)
    }

    #[test]
    fn glare_is_resolved_by_rolling_back_and_offering_again() {
        let mut negotiation = Negotiation::default();
        negotiation.want();
        let (id, _) = negotiation.offer(&own(), &transport()).unwrap();
        let answer =
            negotiation.answer(&server_offer(&["s0"]), &own(), &transport(), Accepts::default()).unwrap();
        assert!(answer.sdp.contains("a=recvonly"));
        assert!(answer.sdp.contains("a=setup:active"));
        // The server has ignored the first offer; a late answer to it means nothing.
        assert_eq!(negotiation.answered(id, "v=0").unwrap(), None);
        let (_, again) = negotiation.offer(&own(), &transport()).unwrap();
        let mids: Vec<_> = sdp::parse(&again).unwrap().sections.into_iter().map(|s| s.mid).collect();
        assert_eq!(mids, ["s0", "0", "1"]);
        assert!(negotiation.offer(&own(), &transport()).is_none());
    }

    #[test]
    fn own_sections_in_the_server_s_offer_stay_what_they_are() {
        let mut negotiation = Negotiation::default();
        let answer = negotiation
            .answer(&server_offer(&["0", "s0"]), &own(), &transport(), Accepts::default())
            .unwrap();
        let read = sdp::parse(&answer.sdp).unwrap();
        assert_eq!(read.sections[0].direction, Direction::SendOnly);
        assert_eq!(read.sections[1].direction, Direction::RecvOnly);
        assert!(
            negotiation
                .answer(&server_offer(&["s0", "0"]), &own(), &transport(), Accepts::default())
                .is_err()
        );
    }

    #[test]
    fn an_answer_with_other_sections_is_refused() {
        let mut negotiation = Negotiation::default();
        negotiation.want();
        let (id, _) = negotiation.offer(&own(), &transport()).unwrap();
        assert!(negotiation.answered(id, &server_offer(&["0"])).is_err());
    }
}
