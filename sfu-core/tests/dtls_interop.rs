//! Real programs over loopback UDP: each completes a DTLS handshake with our adapter, gets an AEAD profile if it
//! offers one, and one of its SRTP packets is opened with the exported keys. A client that is not installed is
//! printed as NOT RUN; `SFU_REQUIRE_CLIENTS=1` makes that a failure. `SFU_PYTHON` names the interpreter that
//! has aiortc (and imageio-ffmpeg); `SFU_CLIENT_OUTPUT=1` shows what the clients print.

// The libraries speak `Instant`, and real programs take real time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use sfu_core::transport::dtls::{DtlsFactory, DtlsIdentity};
use sfu_core::transport::handshake::SrtpProfile;
use support::client;
use support::http::Http;
use support::sdp;
use support::session::{Loss, Outcome, Session};
use test_programs::{Process, chromium, ffmpeg, firefox, gstreamer, namespace, not_run, python};

const PAGE: &str = include_str!("clients/page.html");

/// Starting a browser on a busy machine takes most of it.
const LIMIT: Duration = Duration::from_secs(30);

/// RTP packets to open before a client counts as connected.
const PACKETS: usize = 20;

const NOT_INSTALLED: &str = "the program, or a part that it needs, is not installed";

fn run(test: &str, version: Option<String>, launch: impl Fn(&str) -> Option<Process>, profile: SrtpProfile) {
    let Some(version) = version else { return not_run(test, NOT_INSTALLED) };
    for loss in [Loss::None, Loss::FirstFlight] {
        let mut outcome = connect(&launch, loss);
        println!("{version}, {loss:?}: {outcome:?}");
        // FFmpeg sometimes ends by itself after its first packets: that tells nothing of the handshake.
        if (1..PACKETS).contains(&outcome.opened) && outcome.failure.is_none() {
            outcome = connect(&launch, loss);
            println!("once more: {outcome:?}");
        }
        assert_eq!(outcome.failure, None, "{version}");
        assert_eq!(outcome.profile, Some(profile), "{version}");
        assert!(outcome.opened >= PACKETS, "{version}: {outcome:?}");
        assert_eq!(outcome.not_opened, 0, "{version}");
    }
}

fn connect(launch: impl Fn(&str) -> Option<Process>, loss: Loss) -> Outcome {
    connect_all(launch, "", &[loss], PACKETS).remove(0)
}

/// One connection for each of `losses`, all with one client.
fn connect_all(
    launch: impl Fn(&str) -> Option<Process>,
    query: &str,
    losses: &[Loss],
    packets: usize,
) -> Vec<Outcome> {
    let base = Instant::now();
    let factory = DtlsFactory::new(DtlsIdentity::generate().unwrap(), base).unwrap();
    let http = Http::new(PAGE);
    let _client = launch(&format!("http://{}/{query}", http.address())).expect("client starts");
    let sessions = losses.iter().map(|&loss| {
        let socket = UdpSocket::bind((namespace::address(), 0)).unwrap();
        let local = socket.local_addr().unwrap();
        let offer = http.exchange(LIMIT, |offer| {
            (sdp::answer(offer, factory.identity().fingerprint(), local), offer.to_owned())
        });
        let factory = factory.clone();
        std::thread::spawn(move || match offer {
            Some(offer) => Session::new(socket, &factory, base, &offer, loss).run(packets, LIMIT),
            None => Outcome { failure: Some("no offer".to_owned()), ..Outcome::default() },
        })
    });
    // All of them have to run before the first is waited for.
    let running: Vec<_> = sessions.collect();
    running.into_iter().map(|session| session.join().unwrap()).collect()
}

/// Sixty connections of one browser, each through 10 % loss.
fn run_lossy(name: &str, launch: impl Fn(&str) -> Option<Process>) {
    let losses: Vec<Loss> = (0..60).map(Loss::TenPercent).collect();
    let outcomes = connect_all(launch, "?connections=60", &losses, 1);
    let mut times: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.handshake).collect();
    times.sort_unstable();
    println!("{name}, 10 % loss: {} of 60, median {:?}, worst {:?}", times.len(), times[30], times.last());
    for outcome in &outcomes {
        assert!(outcome.opened > 0 && outcome.profile != Some(SrtpProfile::Aes128CmSha1_80), "{outcome:?}");
    }
}

#[test]
fn chromium_lists_gcm_last_and_gets_it() {
    let test = "chromium_lists_gcm_last_and_gets_it";
    run(test, chromium::version(), client::chromium, SrtpProfile::AeadAes256Gcm);
}

#[test]
fn sixty_of_sixty_chromium_connections_survive_ten_percent_loss() {
    match chromium::version() {
        Some(_) => run_lossy("Chromium", client::chromium),
        None => not_run("sixty_of_sixty_chromium_connections_survive_ten_percent_loss", NOT_INSTALLED),
    }
}

#[test]
fn a_browser_with_an_rsa_certificate_is_refused_with_the_reason() {
    if chromium::version().is_none() {
        return not_run("a_browser_with_an_rsa_certificate_is_refused_with_the_reason", NOT_INSTALLED);
    }
    let outcome = connect_all(client::chromium, "?rsa", &[Loss::None], 1).remove(0);
    println!("Chromium with an RSA certificate: {outcome:?}");
    assert!(outcome.failure.is_some_and(|failure| failure.contains("certificate")));
}

#[test]
fn sixty_of_sixty_firefox_connections_survive_ten_percent_loss() {
    let test = "sixty_of_sixty_firefox_connections_survive_ten_percent_loss";
    if firefox::version().is_none() {
        return not_run(test, NOT_INSTALLED);
    }
    if namespace::enter(test) {
        run_lossy("Firefox", client::firefox);
    }
}

#[test]
fn firefox_gets_gcm_in_dtls_1_3() {
    let test = "firefox_gets_gcm_in_dtls_1_3";
    if namespace::enter(test) {
        run(test, firefox::version(), client::firefox, SrtpProfile::AeadAes128Gcm);
    }
}

#[test]
fn gstreamer_connects_with_its_rsa_certificate() {
    let test = "gstreamer_connects_with_its_rsa_certificate";
    if namespace::enter(test) {
        run(test, gstreamer::version(), client::gstreamer, SrtpProfile::Aes128CmSha1_80);
    }
}

#[test]
fn ffmpeg_connects_as_dtls_server() {
    let launch = |url: &str| client::ffmpeg(url, false);
    run("ffmpeg_connects_as_dtls_server", ffmpeg::version(), launch, SrtpProfile::Aes128CmSha1_80);
}

#[test]
fn ffmpeg_connects_as_dtls_client() {
    let launch = |url: &str| client::ffmpeg(url, true);
    run("ffmpeg_connects_as_dtls_client", ffmpeg::version(), launch, SrtpProfile::Aes128CmSha1_80);
}

#[test]
fn aiortc_gets_gcm() {
    run("aiortc_gets_gcm", python::aiortc_version(), client::aiortc, SrtpProfile::AeadAes128Gcm);
}
