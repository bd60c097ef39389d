//! The program as a person or a supervisor meets it: what it prints, how it refuses, how it stops.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use sfu_server::clock::Clock;

fn server(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sfu-server"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SFU_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> (bool, String, String) {
    let Output { status, stdout, stderr } = server(arguments).output().unwrap();
    (status.success(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A running program that doesn't outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Starts on free loopback ports and reads what it prints until it is up.
    fn start(arguments: &[&str]) -> (Running, String) {
        let free = ["--http", "127.0.0.1:0", "--udp-bind", "127.0.0.1", "--udp-port", "0", "--workers", "2"];
        let arguments: Vec<&str> = free.into_iter().chain(arguments.iter().copied()).collect();
        let mut child = server(&arguments).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        while !text.contains("Buffers") {
            assert_ne!(output.read_line(&mut text).unwrap(), 0, "it ended: {text}");
        }
        (Running(child), text)
    }

    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// The exit code, and how long it took.
    fn wait(&mut self) -> (Option<i32>, Duration) {
        let clock = Clock::start();
        let start = clock.now();
        let status = self.0.wait().unwrap();
        (status.code(), clock.now().since(start))
    }
}

#[test]
fn it_says_where_to_go_and_what_it_got() {
    let (_running, text) = Running::start(&[]);
    for expected in ["Open http://127.0.0.1:", "UDP ", "2 workers", "Announced   127.0.0.1", "KiB to receive"]
    {
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn both_signals_end_it_well_and_soon() {
    for name in ["-INT", "-TERM"] {
        let (mut running, _) = Running::start(&[]);
        running.signal(name);
        let (code, took) = running.wait();
        assert_eq!(code, Some(0), "{name}");
        assert!(took < Duration::from_secs(2), "{name}: {took:?}");
    }
}

#[test]
fn it_runs_without_batched_system_calls() {
    let (mut running, _) = Running::start(&["--io", "portable"]);
    running.signal("-TERM");
    assert_eq!(running.wait().0, Some(0));
}

#[test]
fn a_pinned_server_runs() {
    let (mut running, _) = Running::start(&["--pin", "--log-format", "json"]);
    running.signal("-TERM");
    assert_eq!(running.wait().0, Some(0));
    let mut log = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(!log.contains("cannot bind the worker"), "{log}");
}

#[test]
fn a_public_bind_is_refused_with_advice() {
    let (success, _, error) = run(&["--http", "0.0.0.0:0"]);
    assert!(!success);
    assert!(error.contains("--insecure") && error.contains("127.0.0.1"), "{error}");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (success, _, error) =
        run(&["--http", &address.to_string(), "--udp-bind", "127.0.0.1", "--udp-port", "0"]);
    assert!(!success);
    assert!(error.contains(&address.port().to_string()) && error.contains("--http"), "{error}");
}

#[test]
fn the_configuration_can_be_printed() {
    let (success, text, _) = run(&["--print-config", "--udp-port", "7000"]);
    assert!(success);
    assert!(text.contains("udp_port = 7000") && text.contains("max_participants = 100"), "{text}");
    assert!(run(&["--help"]).1.contains("--announce"));
    assert!(run(&["--version"]).1.contains(env!("CARGO_PKG_VERSION")));
}
