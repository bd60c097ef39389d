//! Real programs over loopback UDP: each completes a DTLS handshake with our adapter, gets an AEAD profile if it
//! offers one, and one of its SRTP packets is opened with the exported keys. A client that is not installed is
//! printed as NOT RUN; `SFU_REQUIRE_CLIENTS=1` makes that a failure. `SFU_PYTHON` names the interpreter that
//! has aiortc (and imageio-ffmpeg); `SFU_CLIENT_OUTPUT=1` shows what the clients print.

// The libraries speak `Instant`, and real programs take real time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sfu_core::transport::dtls::{DtlsFactory, DtlsIdentity};
use sfu_core::transport::handshake::SrtpProfile;
use support::client::{self, Client};
use support::http::Http;
use support::sdp;
use support::session::{Loss, Outcome, Session};

const PAGE: &str = include_str!("clients/page.html");

/// Starting a browser on a busy machine takes most of it.
const LIMIT: Duration = Duration::from_secs(30);

/// RTP packets to open before a client counts as connected.
const PACKETS: usize = 20;

fn missing(name: &str, reason: &str) {
    println!("NOT RUN: {name} {reason}");
    assert!(std::env::var_os("SFU_REQUIRE_CLIENTS").is_none(), "{name} {reason}");
}

fn run(name: &str, version: Option<String>, launch: impl Fn(&str) -> Option<Client>, profile: SrtpProfile) {
    let Some(version) = version else { return missing(name, "is not installed") };
    for loss in [Loss::None, Loss::FirstFlight] {
        let outcome = connect(&launch, loss);
        println!("{name} ({version}), {loss:?}: {outcome:?}");
        assert_eq!(outcome.failure, None, "{name}");
        assert_eq!(outcome.profile, Some(profile), "{name}");
        assert!(outcome.opened >= PACKETS, "{name}: {outcome:?}");
        assert_eq!(outcome.not_opened, 0, "{name}");
    }
}

/// Runs a test of this binary in a network namespace that has an address outside 127/8 and a default route:
/// Firefox and GStreamer gather nothing else.
fn run_in_namespace(name: &str, installed: bool, test: &str) {
    let setup = "ip link set lo up && ip link add one type veth peer name other && ip link set other up \
                 && ip addr add 192.0.2.9/24 dev one && ip link set one up && ip route add default dev one";
    let possible = Command::new("unshare").args(["-n", "sh", "-c", setup]).stderr(Stdio::null()).status();
    if !installed || !possible.is_ok_and(|status| status.success()) {
        let reason =
            if installed { "needs a network namespace, which needs root" } else { "is not installed" };
        return missing(name, reason);
    }
    let status = Command::new("unshare")
        .args(["-n", "sh", "-c", &format!("{setup} && exec \"$@\""), "sh"])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--nocapture"])
        .env("SFU_INTEROP_ADDRESS", "192.0.2.9")
        .status();
    assert!(status.unwrap().success(), "{name}");
}

fn connect(launch: impl Fn(&str) -> Option<Client>, loss: Loss) -> Outcome {
    connect_all(launch, "", &[loss], PACKETS).remove(0)
}

/// One connection for each of `losses`, all with one client.
fn connect_all(
    launch: impl Fn(&str) -> Option<Client>,
    query: &str,
    losses: &[Loss],
    packets: usize,
) -> Vec<Outcome> {
    let base = Instant::now();
    let factory = DtlsFactory::new(DtlsIdentity::generate().unwrap(), base).unwrap();
    let address = std::env::var("SFU_INTEROP_ADDRESS").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let http = Http::new(PAGE);
    let _client = launch(&format!("http://{}/{query}", http.address())).expect("client starts");
    let sessions = losses.iter().map(|&loss| {
        let socket = UdpSocket::bind((address.as_str(), 0)).unwrap();
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
fn run_lossy(name: &str, launch: impl Fn(&str) -> Option<Client>) {
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
    run("Chromium", client::chromium_version(), client::chromium, SrtpProfile::AeadAes256Gcm);
}

#[test]
fn sixty_of_sixty_chromium_connections_survive_ten_percent_loss() {
    match client::chromium_version() {
        Some(_) => run_lossy("Chromium", client::chromium),
        None => missing("Chromium", "is not installed"),
    }
}

#[test]
fn a_browser_with_an_rsa_certificate_is_refused_with_the_reason() {
    if client::chromium_version().is_none() {
        return missing("Chromium", "is not installed");
    }
    let outcome = connect_all(client::chromium, "?rsa", &[Loss::None], 1).remove(0);
    println!("Chromium with an RSA certificate: {outcome:?}");
    assert!(outcome.failure.is_some_and(|failure| failure.contains("certificate")));
}

#[test]
fn sixty_of_sixty_firefox_connections_survive_ten_percent_loss() {
    let installed = client::firefox_version().is_some();
    run_in_namespace("Firefox", installed, "firefox_through_loss_in_a_namespace");
}

#[test]
#[ignore = "run by sixty_of_sixty_firefox_connections_survive_ten_percent_loss"]
fn firefox_through_loss_in_a_namespace() {
    run_lossy("Firefox", client::firefox);
}

#[test]
fn firefox_gets_gcm_in_dtls_1_3() {
    run_in_namespace("Firefox", client::firefox_version().is_some(), "firefox_in_a_namespace");
}

#[test]
#[ignore = "run by firefox_gets_gcm_in_dtls_1_3"]
fn firefox_in_a_namespace() {
    run("Firefox", client::firefox_version(), client::firefox, SrtpProfile::AeadAes128Gcm);
}

#[test]
fn gstreamer_connects_with_its_rsa_certificate() {
    run_in_namespace("GStreamer", client::gstreamer_version().is_some(), "gstreamer_in_a_namespace");
}

#[test]
#[ignore = "run by gstreamer_connects_with_its_rsa_certificate"]
fn gstreamer_in_a_namespace() {
    run("GStreamer", client::gstreamer_version(), client::gstreamer, SrtpProfile::Aes128CmSha1_80);
}

#[test]
fn ffmpeg_connects_as_dtls_server() {
    let launch = |url: &str| client::ffmpeg(url, false);
    run("FFmpeg, setup:passive", client::ffmpeg_version(), launch, SrtpProfile::Aes128CmSha1_80);
}

#[test]
fn ffmpeg_connects_as_dtls_client() {
    let launch = |url: &str| client::ffmpeg(url, true);
    run("FFmpeg, setup:active", client::ffmpeg_version(), launch, SrtpProfile::Aes128CmSha1_80);
}

#[test]
fn aiortc_gets_gcm() {
    run("aiortc", client::aiortc_version(), client::aiortc, SrtpProfile::AeadAes128Gcm);
}
