//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep-04) over real HTTP: tables of requests with the section that says what comes
//! back, and media that goes through sessions made that way. Knows nothing of the server's insides.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use common::peer::Peer;
use common::{Response, TestServer, request};
use loadtest::client::http::Endpoint;

const SDP: (&str, &str) = ("Content-Type", "application/sdp");
const FRAGMENT: (&str, &str) = ("Content-Type", "application/trickle-ice-sdpfrag");

/// What a client offers, or answers, in one m-section.
#[derive(Clone, Copy)]
struct Section {
    kind: &'static str,
    direction: &'static str,
    /// Payload type and its map.
    codec: (u8, &'static str),
}

const OPUS: (u8, &str) = (111, "opus/48000/2");
const VP8: (u8, &str) = (96, "VP8/90000");
const UNKNOWN: (u8, &str) = (98, "theora/90000");

fn audio(direction: &'static str) -> Section {
    Section { kind: "audio", direction, codec: OPUS }
}

fn video(direction: &'static str) -> Section {
    Section { kind: "video", direction, codec: VP8 }
}

const FINGERPRINT: &str = "a=fingerprint:sha-256 DA:7B:57:DC:28:CE:04:4F:31:79:85:C4:31:67:EB:27:58:29:ED:77:2A:0D:24:AE:\
    ED:AD:30:BC:BD:F1:9C:02\r\n";
const ICE: &str = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n";

/// A description as browsers write it, with mids 0, 1, …
fn sdp(sections: &[Section]) -> String {
    let mids: Vec<String> = (0..sections.len()).map(|mid| mid.to_string()).collect();
    sdp_with_mids(sections, &mids.iter().map(String::as_str).collect::<Vec<_>>(), "actpass")
}

fn sdp_with_mids(sections: &[Section], mids: &[&str], setup: &str) -> String {
    let mut text = format!(
        "v=0\r\no=- 5228595038118931041 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n\
         a=extmap-allow-mixed\r\na=ice-options:trickle ice2\r\n",
        mids.join(" ")
    );
    for (section, mid) in sections.iter().zip(mids) {
        let Section { kind, direction, codec: (pt, map) } = section;
        text.push_str(&format!(
            "m={kind} 9 UDP/TLS/RTP/SAVPF {pt}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\n{ICE}{FINGERPRINT}\
             a=setup:{setup}\r\na={direction}\r\na=rtcp-mux\r\na=rtcp-mux-only\r\na=rtpmap:{pt} {map}\r\n\
             a=msid:- {mid}\r\n"
        ));
    }
    text
}

fn publishing() -> String {
    sdp(&[audio("sendonly"), video("sendonly")])
}

fn playing() -> String {
    sdp(&[audio("recvonly"), video("recvonly")])
}

/// A fragment of Trickle ICE: the current session's, or that of a restart with other credentials.
fn fragment(mid: &str, ufrag: &str, pwd: &str) -> String {
    format!(
        "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:{mid}\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n\
         a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag {ufrag} network-id 1\r\n\
         a=candidate:473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0\r\n\
         a=candidate:1 1 udp 1 a2f1d1f0-6f4e-4a4c-9c3e-1f2d3c4b5a69.local 1 typ host\r\na=end-of-candidates\r\n"
    )
}

const PWD: &str = "P2uYro0UCOQ4zxjKXaWCBui1";
const NEW_PWD: &str = "vw5LmwG4y/e6dPP/zAP9Gp5k";

/// One request and what comes back.
struct Row {
    /// Where the specification says so.
    section: &'static str,
    what: &'static str,
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    status: u16,
    /// Header, and what its value contains; `!` before the name means that there is no such header.
    expected: Vec<(&'static str, &'static str)>,
}

fn row(
    section: &'static str,
    what: &'static str,
    (method, path): (&'static str, &str),
    headers: &[(&'static str, &str)],
    body: impl Into<Vec<u8>>,
    status: u16,
    expected: &[(&'static str, &'static str)],
) -> Row {
    Row {
        section,
        what,
        method,
        path: path.to_owned(),
        headers: headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
        body: body.into(),
        status,
        expected: expected.to_vec(),
    }
}

/// Makes a table's requests in order; all that is wrong with the responses, by row.
async fn check(server: &TestServer, rows: Vec<Row>) -> Vec<String> {
    let mut wrong = Vec::new();
    for row in rows {
        let headers: Vec<(&str, &str)> =
            row.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let response = request(server.http(), row.method, &row.path, &headers, &row.body).await;
        let mut complain = |text: String| {
            wrong.push(format!("{} {} {} ({}): {text}", row.section, row.method, row.path, row.what));
        };
        if response.status != row.status {
            complain(format!("{} instead of {}: {}", response.status, row.status, response.text()));
        }
        for (name, value) in row.expected {
            let found = |name: &str| response.header(name).map(str::to_owned);
            match name.strip_prefix('!') {
                Some(name) if found(name).is_some() => complain(format!("has {name}: {:?}", found(name))),
                None if !found(name).is_some_and(|found| found.contains(value)) => {
                    complain(format!("{name} is {:?}, not {value}", found(name)));
                }
                _ => {}
            }
        }
        // Fetch §3.3: without these no page may read a response; and no cache may keep one.
        for (name, value) in [
            ("access-control-allow-origin", "*"),
            ("access-control-expose-headers", "Location, ETag, Link"),
            ("cache-control", "no-store"),
        ] {
            if !response.header(name).is_some_and(|found| found.contains(value)) {
                complain(format!("{name} is {:?}", response.header(name)));
            }
        }
        if (400..600).contains(&response.status) && response.status != 405 && response.status != 406 {
            // RFC 9457: problem details.
            assert_eq!(response.header("content-type"), Some("application/problem+json"), "{}", row.what);
            assert_eq!(response.json()["status"], response.status, "{}", row.what);
        }
    }
    wrong
}

fn assert_nothing_wrong(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Makes a session; its path and entity tag.
async fn session(server: &TestServer, endpoint: &str, offer: &str) -> (String, String, Response) {
    let response = request(server.http(), "POST", endpoint, &[SDP], offer.as_bytes()).await;
    assert_eq!(response.status, 201, "{}", response.text());
    let path = response.header("location").unwrap().to_owned();
    let tag = response.header("etag").unwrap().to_owned();
    (path, tag, response)
}

/// Somebody publishes by WHIP at `target`, and the server knows that the media path stands: a player at `endpoint` gets in.
async fn broadcast(server: &TestServer, target: &str, endpoint: &str) -> Peer {
    let publisher = Peer::whip(server, target).await;
    publisher.connected().await;
    loop {
        let response = request(server.http(), "POST", endpoint, &[], b"").await;
        if response.status != 409 {
            let path = response.header("location").unwrap();
            assert_eq!(request(server.http(), "DELETE", path, &[], b"").await.status, 200);
            return publisher;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn whip_endpoint_answers_as_rfc_9725_says() {
    let server = TestServer::start().await;
    let ok = publishing();
    let created: &[(&str, &str)] = &[
        ("location", "/whip/studio/session/"),
        ("etag", "\""),
        ("content-type", "application/sdp"),
        ("content-length", ""),
        ("!link", ""),
    ];
    let without = |line: &str| ok.replace(line, "");
    let setup = |setup: &str| sdp_with_mids(&[audio("sendonly"), video("sendonly")], &["0", "1"], setup);
    let partial = sdp(&[audio("sendonly"), Section { codec: UNKNOWN, ..video("sendonly") }]);
    let long_name = format!("/whip/{}", "x".repeat(129));
    let post = |what, headers: &[(&'static str, &str)], body: &str, section, status, expected| {
        row(section, what, ("POST", "/whip/studio"), headers, body, status, expected)
    };
    let rows = vec![
        post("an offer", &[SDP], &ok, "§4.2", 201, created),
        post(
            "a media type with a parameter",
            &[("Content-Type", "application/sdp; charset=utf-8")],
            &ok,
            "§4.2",
            201,
            created,
        ),
        post("a media type in capitals", &[("content-type", "Application/SDP")], &ok, "§4.2", 201, created),
        post("sendrecv", &[SDP], &sdp(&[audio("sendrecv"), video("sendrecv")]), "§4.2", 201, created),
        post("audio alone", &[SDP], &sdp(&[audio("sendonly")]), "§4.4.2", 201, created),
        post("video alone", &[SDP], &sdp(&[video("sendonly")]), "§4.4.2", 201, created),
        post("setup:active", &[SDP], &setup("active"), "§4.4.4", 201, created),
        post("setup:passive", &[SDP], &setup("passive"), "§4.4.4", 201, created),
        post(
            "a bearer token",
            &[SDP, ("Authorization", "Bearer mF_9.B5f-4.1JqM")],
            &ok,
            "§4.7.1",
            201,
            created,
        ),
        post("from another site", &[SDP, ("Origin", "https://studio.example")], &ok, "§4.2", 201, created),
        post(
            "no media type",
            &[],
            &ok,
            "§4.2",
            415,
            &[("accept-post", "application/sdp"), ("!location", "")],
        ),
        post(
            "another media type",
            &[("Content-Type", "text/plain")],
            &ok,
            "§4.2",
            415,
            &[("accept-post", "application/sdp")],
        ),
        post("a fragment", &[FRAGMENT], &ok, "§4.2", 415, &[]),
        post("nothing", &[SDP], "", "§4.2", 400, &[]),
        post("no SDP", &[SDP], "hello", "§4.2", 400, &[("!location", "")]),
        post("half an SDP", &[SDP], &ok[..ok.len() / 2 + 1], "§4.2", 400, &[]),
        row("§4.2", "no UTF-8", ("POST", "/whip/studio"), &[SDP], vec![0xff, 0xfe, 0x00], 400, &[]),
        post("65 KiB", &[SDP], &format!("{ok}{}", "a=x\r\n".repeat(13_000)), "RFC 9110 §15.5.14", 413, &[]),
        post("recvonly", &[SDP], &sdp(&[audio("recvonly"), video("recvonly")]), "§4.2", 422, &[]),
        post("inactive", &[SDP], &sdp(&[audio("sendonly"), video("inactive")]), "§4.2", 422, &[]),
        post(
            "two videos",
            &[SDP],
            &sdp(&[video("sendonly"), video("sendonly")]),
            "§4.4.2",
            422,
            &[("!location", "")],
        ),
        post("two audios", &[SDP], &sdp(&[audio("sendonly"), audio("sendonly")]), "§4.4.2", 422, &[]),
        post("no m-section", &[SDP], &sdp(&[]), "§4.4.2", 422, &[]),
        post("half of it possible", &[SDP], &partial, "§4.4.3", 422, &[]),
        post(
            "a section outside of the bundle",
            &[SDP],
            &without("BUNDLE 0 1").replace("a=group:\r\n", "a=group:BUNDLE 0\r\n"),
            "§4.4.1",
            422,
            &[],
        ),
        post("no rtcp-mux", &[SDP], &without("a=rtcp-mux\r\n"), "§4.4.1", 422, &[]),
        post("no fingerprint", &[SDP], &without(FINGERPRINT), "§4.4.4", 422, &[]),
        post("no ICE credentials", &[SDP], &without(ICE), "§4.3", 422, &[]),
        post("RTP without DTLS", &[SDP], &ok.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"), "§4.4.4", 422, &[]),
        post(
            "a password",
            &[SDP, ("Authorization", "Basic YTpi")],
            &ok,
            "§4.7.1",
            401,
            &[("www-authenticate", "Bearer")],
        ),
        post(
            "an empty token",
            &[SDP, ("Authorization", "Bearer ")],
            &ok,
            "RFC 6750 §3",
            401,
            &[("www-authenticate", "Bearer")],
        ),
        row("§4.1", "", ("GET", "/whip/studio"), &[], "", 204, &[]),
        row("§4.1", "", ("HEAD", "/whip/studio"), &[], "", 204, &[]),
        row(
            "§4.2",
            "",
            ("OPTIONS", "/whip/studio"),
            &[],
            "",
            200,
            &[("accept-post", "application/sdp"), ("allow", "POST")],
        ),
        row(
            "§4.2",
            "preflight",
            ("OPTIONS", "/whip/studio"),
            &[
                ("Origin", "https://studio.example"),
                ("Access-Control-Request-Method", "POST"),
                ("Access-Control-Request-Headers", "authorization,content-type"),
            ],
            "",
            200,
            &[
                ("access-control-allow-methods", "POST"),
                ("access-control-allow-headers", "Authorization, Content-Type"),
            ],
        ),
        row("RFC 9110 §15.5.6", "", ("PUT", "/whip/studio"), &[SDP], ok.as_str(), 405, &[("allow", "POST")]),
        row(
            "RFC 9110 §15.5.6",
            "",
            ("PATCH", "/whip/studio"),
            &[FRAGMENT],
            "a=mid:0\r\n",
            405,
            &[("allow", "POST")],
        ),
        row("RFC 9110 §15.5.6", "", ("DELETE", "/whip/studio"), &[], "", 405, &[("allow", "POST")]),
        row("docs", "a name of 129 characters", ("POST", &long_name), &[SDP], ok.as_str(), 400, &[]),
        row(
            "docs",
            "an unknown source",
            ("POST", "/whip/studio?source=radio"),
            &[SDP],
            ok.as_str(),
            400,
            &[],
        ),
        row(
            "docs",
            "an identity with a control character",
            ("POST", "/whip/studio?identity=a%07b"),
            &[SDP],
            ok.as_str(),
            400,
            &[],
        ),
        row(
            "docs",
            "a screen",
            ("POST", "/whip/studio?source=screen&name=Ann"),
            &[SDP],
            ok.as_str(),
            201,
            created,
        ),
    ];
    assert!(rows.len() >= 40);
    assert_nothing_wrong(&check(&server, rows).await);
    server.stop().await;
}

#[tokio::test]
async fn whip_sessions_answer_as_rfc_9725_says() {
    let server = TestServer::start().await;
    let (path, tag, response) = session(&server, "/whip/caf%C3%A9%20%2F?identity=cam", &publishing()).await;
    assert!(path.starts_with("/whip/caf%C3%A9%20%2F/session/"), "{path}");
    let answer = response.text();
    assert_eq!(answer.matches("a=recvonly").count(), 2, "{answer}");
    assert_eq!(answer.matches("a=rtcp-mux-only").count(), 2, "{answer}");
    assert!(answer.contains("a=candidate:") && answer.contains("a=setup:passive"), "{answer}");

    let trickle = fragment("0", "EsAw", PWD);
    let restart = fragment("0", "ysXw", NEW_PWD);
    let patch = |what, headers: &[(&'static str, &str)], body: &str, section, status, expected| {
        row(section, what, ("PATCH", &path), headers, body, status, expected)
    };
    let tag = tag.as_str();
    let weak = format!("W/{tag}");
    let many = format!("\"other\", {tag}");
    let other_room = path.replace("/whip/caf%C3%A9%20%2F/", "/whip/other/");
    let other_protocol = path.replace("/whip/", "/whep/");
    let rows = vec![
        row("§4.1", "", ("GET", &path), &[], "", 204, &[("!etag", "")]),
        row("§4.1", "", ("HEAD", &path), &[], "", 204, &[]),
        row(
            "§4.2",
            "",
            ("OPTIONS", &path),
            &[],
            "",
            200,
            &[("accept-patch", "application/trickle-ice-sdpfrag"), ("allow", "DELETE")],
        ),
        row("RFC 9110 §15.5.6", "", ("POST", &path), &[SDP], publishing(), 405, &[("allow", "PATCH")]),
        row("RFC 9110 §15.5.6", "", ("PUT", &path), &[SDP], publishing(), 405, &[("allow", "PATCH")]),
        patch("candidates", &[FRAGMENT, ("If-Match", tag)], &trickle, "§4.3.2", 204, &[("!etag", "")]),
        patch(
            "candidates, one of several tags",
            &[FRAGMENT, ("If-Match", &many)],
            &trickle,
            "RFC 9110 §13.1.1",
            204,
            &[],
        ),
        patch(
            "candidates without credentials",
            &[FRAGMENT, ("If-Match", tag)],
            "a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n",
            "§4.3.2",
            204,
            &[],
        ),
        patch("no precondition", &[FRAGMENT], &trickle, "§4.3.1", 428, &[]),
        patch("another tag", &[FRAGMENT, ("If-Match", "\"xyzzy\"")], &trickle, "§4.3.1", 412, &[]),
        patch("a weak tag", &[FRAGMENT, ("If-Match", &weak)], &trickle, "RFC 9110 §13.1.1", 412, &[]),
        patch(
            "no media type",
            &[("If-Match", tag)],
            &trickle,
            "§4.3.1",
            415,
            &[("accept-patch", "application/trickle-ice-sdpfrag")],
        ),
        patch("an SDP", &[SDP, ("If-Match", tag)], &publishing(), "§4.3.1", 415, &[]),
        patch("no fragment", &[FRAGMENT, ("If-Match", tag)], "hello", "§4.3.1", 400, &[]),
        patch("nothing", &[FRAGMENT, ("If-Match", tag)], "", "§4.3.1", 400, &[]),
        patch(
            "ufrag without pwd",
            &[FRAGMENT, ("If-Match", "*")],
            "a=ice-ufrag:abcd\r\n",
            "RFC 8840 §9",
            400,
            &[],
        ),
        patch(
            "40 KiB",
            &[FRAGMENT, ("If-Match", tag)],
            &"a=x\r\n".repeat(8_200),
            "RFC 9110 §15.5.14",
            413,
            &[],
        ),
        patch(
            "an unknown mid",
            &[FRAGMENT, ("If-Match", tag)],
            &fragment("7", "EsAw", PWD),
            "RFC 8840 §4.4",
            422,
            &[],
        ),
        patch(
            "a new ufrag with the old pwd",
            &[FRAGMENT, ("If-Match", "*")],
            &fragment("0", "ysXw", PWD),
            "RFC 8839 §4.4.1.1.1",
            422,
            &[],
        ),
        patch(
            "a restart of another session",
            &[FRAGMENT, ("If-Match", "\"xyzzy\"")],
            &restart,
            "§4.3.1",
            412,
            &[],
        ),
        patch(
            "a restart",
            &[FRAGMENT, ("If-Match", "*")],
            &restart,
            "§4.3.3",
            200,
            &[("etag", "\""), ("content-type", "application/trickle-ice-sdpfrag")],
        ),
        patch(
            "candidates for the session before",
            &[FRAGMENT, ("If-Match", tag)],
            &trickle,
            "§4.3.1",
            412,
            &[],
        ),
        patch(
            "a restart, as an example writes it",
            &[FRAGMENT, ("If-Match", "\"*\"")],
            &trickle,
            "§4.3.3",
            200,
            &[("etag", "\"")],
        ),
        row("docs", "in another room", ("GET", &other_room), &[], "", 404, &[]),
        row("docs", "as another protocol", ("DELETE", &other_protocol), &[], "", 404, &[]),
        row(
            "RFC 9110 §15.5.5",
            "unknown",
            ("GET", "/whip/studio/session/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
            &[],
            "",
            404,
            &[],
        ),
        row(
            "RFC 9110 §15.5.5",
            "no name of a session",
            ("DELETE", "/whip/studio/session/x"),
            &[],
            "",
            404,
            &[],
        ),
        row("§4.7.1", "a password", ("DELETE", &path), &[("Authorization", "Basic YTpi")], "", 401, &[]),
        row("§4.3.1", "its tag is ignored", ("DELETE", &path), &[("If-Match", "\"xyzzy\"")], "", 200, &[]),
        row("§4.2", "a second time", ("DELETE", &path), &[], "", 404, &[]),
        patch("after the end", &[FRAGMENT, ("If-Match", "*")], &restart, "RFC 9110 §15.5.5", 404, &[]),
    ];
    assert_nothing_wrong(&check(&server, rows).await);
    server.stop().await;
}

#[tokio::test]
async fn an_ice_restart_answers_with_a_whole_fragment() {
    let server = TestServer::start().await;
    let (path, tag, created) = session(&server, "/whip/studio", &publishing()).await;
    let body = fragment("0", "ysXw", NEW_PWD);
    let response =
        request(server.http(), "PATCH", &path, &[FRAGMENT, ("If-Match", "*")], body.as_bytes()).await;
    assert_ne!(response.header("etag"), Some(tag.as_str()));
    let (text, answer) = (response.text(), created.text());
    let value = |text: &str, key: &str| {
        text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().to_owned()
    };
    for key in ["a=ice-ufrag:", "a=ice-pwd:"] {
        assert!(value(&text, key).len() >= 16, "{text}");
        assert_ne!(value(&text, key), value(&answer, key), "{key}");
    }
    // §4.3.3: the same attributes as in the answer.
    assert!(text.contains("a=ice-lite\r\n") && answer.contains("a=ice-lite\r\n"));
    assert_eq!(text.contains("a=ice-options"), answer.contains("a=ice-options"));
    assert!(text.contains("a=mid:0\r\n") && text.contains("a=candidate:"), "{text}");
    server.stop().await;
}

#[tokio::test]
async fn whep_answers_as_the_draft_says() {
    let server = TestServer::start().await;
    let play = playing();
    let endpoint = "/whep/studio";
    let before = vec![
        row(
            "§4.3.8",
            "nobody publishes",
            ("POST", endpoint),
            &[SDP],
            play.as_str(),
            409,
            &[("retry-after", ""), ("!location", "")],
        ),
        row("§4.3.8", "nobody publishes, no offer", ("POST", endpoint), &[], "", 409, &[("retry-after", "")]),
        row(
            "§4.2",
            "",
            ("HEAD", endpoint),
            &[],
            "",
            200,
            &[("content-type", "application/sdp"), ("content-length", "0")],
        ),
        row("§4.1", "", ("GET", endpoint), &[], "", 200, &[("content-length", "0")]),
        row("§4.4", "", ("OPTIONS", endpoint), &[], "", 200, &[("accept-post", "application/sdp")]),
        row("§4.2", "", ("HEAD", "/whep/studio/cam"), &[], "", 200, &[("content-type", "application/sdp")]),
        row(
            "§4.3.4",
            "another media type",
            ("POST", endpoint),
            &[("Content-Type", "text/plain")],
            play.as_str(),
            415,
            &[("accept-post", "application/sdp")],
        ),
        row("§4.3.4", "no media type", ("POST", endpoint), &[], play.as_str(), 415, &[]),
        row(
            "§4.9.1",
            "a password",
            ("POST", endpoint),
            &[SDP, ("Authorization", "Basic YTpi")],
            play.as_str(),
            401,
            &[("www-authenticate", "Bearer")],
        ),
        row("RFC 9110 §15.5.6", "", ("PUT", endpoint), &[SDP], play.as_str(), 405, &[("allow", "POST")]),
        row("RFC 9110 §15.5.6", "", ("DELETE", endpoint), &[], "", 405, &[("allow", "POST")]),
        row(
            "RFC 9110 §15.5.5",
            "unknown",
            ("DELETE", "/whep/studio/session/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
            &[],
            "",
            404,
            &[],
        ),
    ];
    assert_nothing_wrong(&check(&server, before).await);

    let publisher = broadcast(&server, "/whip/studio?identity=cam", "/whep/studio").await;
    let created: &[(&str, &str)] = &[
        ("location", "/whep/studio/session/"),
        ("etag", "\""),
        ("content-type", "application/sdp"),
        ("content-length", ""),
    ];
    let countered = created;
    let post = |what, body: &str, section, status, expected| {
        row(section, what, ("POST", endpoint), &[SDP], body, status, expected)
    };
    let partial = sdp(&[audio("recvonly"), Section { codec: UNKNOWN, ..video("recvonly") }]);
    let rows = vec![
        post("an offer", &play, "§4.3.1", 201, created),
        post("sendrecv", &sdp(&[audio("sendrecv"), video("sendrecv")]), "§4.3.5", 201, created),
        post("video alone", &sdp(&[video("recvonly")]), "§4.6.2", 201, created),
        post("no offer", "", "draft-murillo-whep-00 §4.2", 201, created),
        row(
            "draft-murillo-whep-00 §4.2",
            "no offer, no media type",
            ("POST", endpoint),
            &[("Accept", "application/sdp")],
            "",
            201,
            created,
        ),
        post("sendonly", &sdp(&[audio("sendonly"), video("sendonly")]), "§4.3.2", 406, countered),
        post("inactive", &sdp(&[audio("inactive"), video("recvonly")]), "§4.3.2", 406, countered),
        post("two videos", &sdp(&[video("recvonly"), video("recvonly")]), "§4.6.2", 406, countered),
        post("a codec that we don't have", &partial, "§4.3.2", 406, countered),
        post("no rtcp-mux", &play.replace("a=rtcp-mux\r\n", ""), "§4.6.1", 406, countered),
        post("no SDP", "hello", "§4.3.4", 400, &[("!location", "")]),
        post("65 KiB", &format!("{play}{}", "a=x\r\n".repeat(13_000)), "RFC 9110 §15.5.14", 413, &[]),
        row("docs", "one who publishes", ("POST", "/whep/studio/cam"), &[SDP], play.as_str(), 201, created),
        row(
            "§4.3.8",
            "one who doesn't",
            ("POST", "/whep/studio/nobody"),
            &[SDP],
            play.as_str(),
            409,
            &[("retry-after", "")],
        ),
        row(
            "§4.3.8",
            "another room",
            ("POST", "/whep/attic"),
            &[SDP],
            play.as_str(),
            409,
            &[("retry-after", "")],
        ),
    ];
    assert_nothing_wrong(&check(&server, rows).await);
    publisher.leave().await;
    server.stop().await;
}

#[tokio::test]
async fn a_counter_offer_waits_for_one_answer() {
    let server = TestServer::start().await;
    let publisher = broadcast(&server, "/whip/studio?identity=cam", "/whep/studio").await;
    let (path, tag, offered) = session(&server, "/whep/studio", "").await;
    let offer = offered.text();
    // §4.3.5 and §4.6.2: both kinds, sent only, in one stream.
    assert_eq!(offer.matches("\r\nm=").count(), 2, "{offer}");
    assert_eq!(offer.matches("a=sendonly").count(), 2, "{offer}");
    assert_eq!(offer.matches("\r\na=msid:seat0 ").count(), 2, "{offer}");
    assert!(offer.contains("a=setup:actpass"), "{offer}");

    let answer = |mids: &[&str]| sdp_with_mids(&[audio("recvonly"), video("recvonly")], mids, "active");
    let good = answer(&["s0", "s1"]);
    let trickle = fragment("s0", "EsAw", PWD);
    let patch = |what, headers: &[(&'static str, &str)], body: &str, section, status, expected| {
        row(section, what, ("PATCH", &path), headers, body, status, expected)
    };
    let rows = vec![
        row("§4.1", "", ("GET", &path), &[], "", 204, &[]),
        row("§4.4", "", ("OPTIONS", &path), &[], "", 200, &[("accept-patch", "application/sdp")]),
        patch(
            "candidates before the answer",
            &[FRAGMENT, ("If-Match", tag.as_str())],
            &trickle,
            "§4.5.1",
            409,
            &[],
        ),
        patch(
            "another media type",
            &[("Content-Type", "text/plain")],
            &good,
            "§4.5.1",
            415,
            &[("accept-patch", "application/sdp")],
        ),
        patch("no SDP", &[SDP], "hello", "§4.3.2", 400, &[]),
        patch("nothing", &[SDP], "", "§4.3.2", 400, &[]),
        patch(
            "one section of two",
            &[SDP],
            &sdp_with_mids(&[audio("recvonly")], &["s0"], "active"),
            "§4.3.2",
            422,
            &[],
        ),
        patch("other mids", &[SDP], &answer(&["0", "1"]), "§4.3.2", 422, &[]),
        patch("no fingerprint", &[SDP], &good.replace(FINGERPRINT, ""), "§4.3.2", 422, &[]),
        patch("the answer", &[SDP], &good, "§4.3.2", 204, &[]),
        patch("the answer again", &[SDP], &good, "§4.3.2", 409, &[]),
        patch(
            "candidates",
            &[FRAGMENT, ("If-Match", tag.as_str())],
            &trickle,
            "§4.5.2",
            204,
            &[("!etag", "")],
        ),
        patch("no precondition", &[FRAGMENT], &trickle, "§4.5.1", 428, &[]),
        patch("another tag", &[FRAGMENT, ("If-Match", "\"xyzzy\"")], &trickle, "§4.5.1", 412, &[]),
        patch(
            "a restart",
            &[FRAGMENT, ("If-Match", "*")],
            &fragment("s0", "ysXw", NEW_PWD),
            "§4.5.3",
            200,
            &[("etag", "\"")],
        ),
        row("§4.4", "", ("DELETE", &path), &[], "", 200, &[]),
        row("§4.4", "a second time", ("DELETE", &path), &[], "", 404, &[]),
    ];
    assert_nothing_wrong(&check(&server, rows).await);
    publisher.leave().await;
    server.stop().await;
}

#[tokio::test]
async fn a_player_chooses_layers_and_reads_events() {
    let server = TestServer::start().await;
    let publisher = broadcast(&server, "/whip/studio?identity=cam", "/whep/studio").await;
    let (path, _, created) = session(&server, "/whep/studio", &playing()).await;
    let links: Vec<&str> = created.headers("link").collect();
    let link = |name: &str| links.iter().any(|link| link.starts_with(&format!("<{path}/{name}>;")));
    assert!(link("layer") && link("sse"), "{links:?}");
    let (layer, sse) = (format!("{path}/layer"), format!("{path}/sse"));
    let json = ("Content-Type", "application/json");
    let post = |what, path: &str, headers: &[(&'static str, &str)], body: &str, status, expected| {
        row("events document", what, ("POST", path), headers, body, status, expected)
    };
    let rows = vec![
        post("the server's choice", &layer, &[json], "{}", 200, &[]),
        post("the lowest", &layer, &[json], r#"{"mediaId":"1","spatialLayerId":0}"#, 200, &[]),
        post("an unknown rid", &layer, &[json], r#"{"rid":"h"}"#, 422, &[]),
        post("the audio", &layer, &[json], r#"{"mediaId":"0"}"#, 422, &[]),
        post("a temporal layer", &layer, &[json], r#"{"temporalLayerId":0}"#, 200, &[]),
        post("a height", &layer, &[json], r#"{"maxHeight":360}"#, 422, &[]),
        post("no JSON", &layer, &[json], "{", 400, &[]),
        post("another media type", &layer, &[SDP], "{}", 415, &[("accept-post", "application/json")]),
        post("an unknown event", &sse, &[json], r#"["active","weather"]"#, 400, &[("!location", "")]),
        post("some events", &sse, &[json], r#"["active","viewercount"]"#, 201, &[("location", "/sse/1")]),
        post("all events", &sse, &[], "", 201, &[("location", "/sse/2")]),
        row("events document", "", ("DELETE", &format!("{sse}/2")), &[], "", 200, &[]),
        row("events document", "", ("DELETE", &format!("{sse}/2")), &[], "", 404, &[]),
        row("events document", "after its end", ("GET", &format!("{sse}/2")), &[], "", 404, &[]),
        row("events document", "", ("OPTIONS", &layer), &[], "", 200, &[("accept-post", "application/json")]),
    ];
    assert_nothing_wrong(&check(&server, rows).await);
    let events = server.begin_of(&format!("{sse}/1"), b"viewercount\":1}").await;
    assert!(events.contains("event: active\ndata: {}\n"), "{events}");
    assert!(!events.contains("event: layers"), "{events}");
    publisher.leave().await;
    server.stop().await;
}

/// Published by WHIP, it plays in WHEP of both kinds and over the WebSocket; when the publisher comes back the players'
/// same streams go on; and an ICE restart by PATCH doesn't stop them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_goes_on_when_its_publisher_comes_back() {
    let server = TestServer::start().await;
    let publisher = broadcast(&server, "/whip/studio?identity=cam&name=Camera", "/whep/studio").await;
    let players = [
        Peer::whep(&server, "/whep/studio", Endpoint::Whep).await,
        Peer::whep(&server, "/whep/studio/cam", Endpoint::WhepByServer).await,
    ];
    let watcher = Peer::socket(&server, "studio").await;
    for player in players.iter().chain([&watcher]) {
        player.sees(20).await;
    }

    publisher.with(|client, now| client.restart_ice(now));
    let checks = publisher.stats().ice;
    publisher.until("a new ICE session", |peer| peer.stats().ice != checks).await;
    for player in &players {
        player.with(|client, now| client.restart_ice(now));
        player.sees(20).await;
    }

    // It crashes: the same identity takes its place before its end is noticed.
    drop(publisher);
    let publisher = broadcast(&server, "/whip/studio?identity=cam&name=Camera", "/whep/studio").await;
    for player in &players {
        player.sees(20).await;
    }
    // It stops, and comes back later.
    publisher.leave().await;
    let publisher = broadcast(&server, "/whip/studio?identity=cam&name=Camera", "/whep/studio").await;
    for player in players.iter().chain([&watcher]) {
        player.sees(20).await;
    }
    for player in players {
        let stats = player.stats();
        let videos =
            stats.streams.iter().filter(|stream| stream.kind == loadtest::client::signal::Kind::Video);
        assert_eq!((stats.sections, videos.count()), (2, 1), "{stats:?}");
        assert_eq!(stats.errors, Vec::<String>::new());
        player.leave().await;
    }
    publisher.leave().await;
    server.stop().await;
}
