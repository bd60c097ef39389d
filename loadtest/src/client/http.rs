//! WHIP and WHEP from the client's side (RFC 9725, draft-ietf-wish-whep): turns what a [`Client`](super::Client) says into
//! HTTP requests, and their responses into what a server would have said. Sans-I/O: somebody else carries the requests,
//! one at a time and in order.

use super::signal::{ClientSignal, ServerSignal, Snapshot};

/// What the client does at the endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Endpoint {
    /// It publishes.
    Whip,
    /// It plays, by an offer of its own.
    Whep,
    /// It plays, and lets the server offer.
    WhepByServer,
}

/// A request to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpRequest {
    pub method: &'static str,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HttpResponse {
    pub status: u16,
    pub location: Option<String>,
    /// With its quotes.
    pub entity_tag: Option<String>,
    pub body: String,
}

/// What the request that is under way asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Session { offer: u32 },
    Answered,
    Restart { offer: u32 },
    End,
}

/// One session's signalling.
#[derive(Debug)]
pub struct HttpSignalling {
    endpoint: Endpoint,
    /// Where sessions are made.
    target: String,
    session: Option<String>,
    entity_tag: Option<String>,
    /// The server's side as it was first described.
    description: String,
    asked: Option<Asked>,
}

impl HttpSignalling {
    /// `target` is path and query of the endpoint.
    pub fn new(endpoint: Endpoint, target: &str) -> HttpSignalling {
        HttpSignalling {
            endpoint,
            target: target.into(),
            session: None,
            entity_tag: None,
            description: String::new(),
            asked: None,
        }
    }

    /// Path of the session, once there is one.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// Of the current ICE session, with its quotes.
    pub fn entity_tag(&self) -> Option<&str> {
        self.entity_tag.as_deref()
    }

    /// The request that says this; `None` for what these protocols can't say. Its response is due before the next.
    pub fn request(&mut self, signal: &ClientSignal) -> Option<HttpRequest> {
        let (request, asked) = match (signal, &self.session) {
            (ClientSignal::Join { offer, .. }, None) => {
                let offer = offer.as_ref().filter(|_| self.endpoint != Endpoint::WhepByServer);
                let body = offer.map(|offer| offer.sdp.clone()).unwrap_or_default();
                let id = offer.map_or(0, |offer| offer.id);
                (sdp_request("POST", &self.target, "application/sdp", body), Asked::Session { offer: id })
            }
            (ClientSignal::Answer { sdp, .. }, Some(session)) => {
                (sdp_request("PATCH", session, "application/sdp", sdp.clone()), Asked::Answered)
            }
            (ClientSignal::Offer(offer), Some(session)) => {
                let body = fragment_of(&offer.sdp);
                let mut request = sdp_request("PATCH", session, "application/trickle-ice-sdpfrag", body);
                request.headers.push(("If-Match", "*".into()));
                (request, Asked::Restart { offer: offer.id })
            }
            (ClientSignal::Leave, Some(session)) => {
                let request = HttpRequest {
                    method: "DELETE",
                    target: session.clone(),
                    headers: Vec::new(),
                    body: String::new(),
                };
                (request, Asked::End)
            }
            _ => return None,
        };
        self.asked = Some(asked);
        Some(request)
    }

    /// What a server would have said.
    pub fn response(&mut self, response: HttpResponse) -> Vec<ServerSignal> {
        let Some(asked) = self.asked.take() else { return Vec::new() };
        if response.entity_tag.is_some() {
            self.entity_tag.clone_from(&response.entity_tag);
        }
        match (asked, response.status) {
            (Asked::Session { offer }, 201 | 406) => {
                self.session = response.location;
                self.description.clone_from(&response.body);
                let is_offer = offer == 0 || response.status == 406;
                let description = if is_offer {
                    ServerSignal::Offer { id: 1, sdp: response.body, slots: Vec::new() }
                } else {
                    ServerSignal::Answer { id: offer, sdp: response.body }
                };
                vec![ServerSignal::Joined(Snapshot::default()), description]
            }
            (Asked::Restart { offer }, 200) => {
                let sdp = with_credentials_of(&self.description, &response.body);
                vec![ServerSignal::Answer { id: offer, sdp }]
            }
            (Asked::Answered, 204) => Vec::new(),
            (Asked::End, 200) => vec![ServerSignal::Closed { reason: "left".into() }],
            (Asked::Session { offer } | Asked::Restart { offer }, status) => {
                vec![error(status, response.body, Some(offer))]
            }
            (Asked::Answered | Asked::End, status) => vec![error(status, response.body, None)],
        }
    }
}

fn sdp_request(method: &'static str, target: &str, media_type: &str, body: String) -> HttpRequest {
    HttpRequest { method, target: target.into(), headers: vec![("Content-Type", media_type.into())], body }
}

fn error(status: u16, message: String, id: Option<u32>) -> ServerSignal {
    ServerSignal::Error { code: status.to_string(), message, id }
}

/// The fragment that restarts ICE with the credentials of an offer (RFC 8840 §9).
fn fragment_of(offer: &str) -> String {
    let kept = |line: &&str| {
        ["a=group:", "a=ice-options:", "m=", "a=mid:", "a=ice-ufrag:", "a=ice-pwd:"]
            .iter()
            .any(|key| line.starts_with(key))
    };
    // Of the m-sections only the first has a transport of its own in a bundle.
    let mut sections = 0;
    let first = offer.lines().take_while(|line| {
        sections += usize::from(line.starts_with("m="));
        sections < 2
    });
    first.filter(kept).map(|line| format!("{line}\r\n")).collect()
}

/// The description with the credentials of a fragment.
fn with_credentials_of(description: &str, fragment: &str) -> String {
    let fresh = |key: &str| fragment.lines().find(|line| line.starts_with(key));
    let replaced = description.lines().map(|line| {
        let key = ["a=ice-ufrag:", "a=ice-pwd:"].into_iter().find(|key| line.starts_with(key));
        key.and_then(fresh).unwrap_or(line)
    });
    replaced.map(|line| format!("{line}\r\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::signal::Offer;
    use super::*;

    const OFFER: &str = "v=0\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:uuuu\r\n\
        a=ice-pwd:pppppppppppppppppppppp\r\na=sendonly\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n\
        a=ice-ufrag:uuuu\r\na=ice-pwd:pppppppppppppppppppppp\r\n";

    fn join(offer: Option<Offer>) -> ClientSignal {
        ClientSignal::Join {
            version: 1,
            room: "r".into(),
            identity: None,
            name: "n".into(),
            resume: None,
            offer,
        }
    }

    fn offer(id: u32) -> Offer {
        Offer { id, sdp: OFFER.into(), tracks: Vec::new() }
    }

    #[test]
    fn a_session_is_made_restarted_and_ended() {
        let mut http = HttpSignalling::new(Endpoint::Whip, "/whip/r");
        let post = http.request(&join(Some(offer(1)))).unwrap();
        assert_eq!((post.method, post.target.as_str(), post.body.as_str()), ("POST", "/whip/r", OFFER));
        let answer = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:one\r\na=ice-pwd:first\r\n";
        let told = http.response(HttpResponse {
            status: 201,
            location: Some("/whip/r/session/x".into()),
            entity_tag: Some("\"one\"".into()),
            body: answer.into(),
        });
        assert_eq!(told[1], ServerSignal::Answer { id: 1, sdp: answer.into() });

        let patch = http.request(&ClientSignal::Offer(offer(2))).unwrap();
        assert_eq!((patch.method, patch.target.as_str()), ("PATCH", "/whip/r/session/x"));
        assert_eq!(patch.body.lines().filter(|line| line.starts_with("m=")).count(), 1);
        assert!(patch.body.contains("a=ice-ufrag:uuuu") && !patch.body.contains("a=sendonly"));
        let told = http.response(HttpResponse {
            status: 200,
            entity_tag: Some("\"two\"".into()),
            body: "a=ice-ufrag:two\r\na=ice-pwd:second\r\n".into(),
            ..HttpResponse::default()
        });
        let restarted = answer.replace("one", "two").replace("first", "second");
        assert_eq!(told, [ServerSignal::Answer { id: 2, sdp: restarted }]);
        assert_eq!(http.entity_tag(), Some("\"two\""));
        assert_eq!(http.request(&ClientSignal::Leave).unwrap().method, "DELETE");
    }

    #[test]
    fn a_counter_offer_is_answered() {
        for (endpoint, status) in [(Endpoint::WhepByServer, 201), (Endpoint::Whep, 406)] {
            let mut http = HttpSignalling::new(endpoint, "/whep/r");
            let post = http.request(&join(Some(offer(1)))).unwrap();
            assert_eq!(post.body.is_empty(), endpoint == Endpoint::WhepByServer);
            let location = Some("/whep/r/session/x".into());
            let told = http.response(HttpResponse { status, location, ..HttpResponse::default() });
            assert!(matches!(told[1], ServerSignal::Offer { id: 1, .. }), "{endpoint:?}");
            let answer = ClientSignal::Answer { id: 1, sdp: "v=0".into() };
            assert_eq!(http.request(&answer).unwrap().headers[0].1, "application/sdp");
        }
    }
}
