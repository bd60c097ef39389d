//! Media sockets against plain ones, over loopback.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use sfu_core::Path;

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);
const BUFFER_BYTES: usize = 1 << 20;

/// A media socket on all addresses of the loopback interface, and of no other.
fn wildcard(mode: IoMode) -> (MediaSocket, u16) {
    let bound = bind("[::]:0".parse().unwrap(), BUFFER_BYTES).unwrap();
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(&bound.socket).bind_device(Some(b"lo")).unwrap();
    let port = bound.local.port();
    (MediaSocket::new(bound, mode).unwrap(), port)
}

fn bound_to(address: &str) -> (MediaSocket, SocketAddr) {
    let bound = bind(address.parse().unwrap(), BUFFER_BYTES).unwrap();
    let local = bound.local;
    (MediaSocket::new(bound, IoMode::Auto).unwrap(), local)
}

fn client(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Receives until `count` datagrams are there.
fn collect(socket: &mut MediaSocket, count: usize) -> Vec<(Path, Vec<u8>)> {
    let mut got = Vec::new();
    for _ in 0..200 {
        socket.receive(|path, datagram| got.push((path, datagram.to_vec()))).unwrap();
        if got.len() >= count {
            break;
        }
        socket.wait(Duration::from_millis(25)).unwrap();
    }
    assert_eq!(got.len(), count);
    got
}

fn run(path: Path, bytes: &[u8], segment: usize) -> SendRun<'_> {
    SendRun { path, bytes, segment }
}

fn receive_at(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2_048];
    let (len, from) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..len].to_vec(), from)
}

fn loopback_path(local: u16, remote: SocketAddr) -> Path {
    Path { local: SocketAddr::new(remote.ip(), local), remote }
}

#[test]
fn a_run_arrives_as_its_datagrams() {
    for mode in [IoMode::Auto, IoMode::Portable] {
        let (mut socket, port) = wildcard(mode);
        let client = client("127.0.0.1:0");
        let path = loopback_path(port, client.local_addr().unwrap());
        let bytes: Vec<u8> = (0..5u8).flat_map(|n| vec![n; if n < 4 { 1_200 } else { 700 }]).collect();
        socket.send(&Clock::start(), std::iter::once(run(path, &bytes, 1_200)));
        for n in 0..5u8 {
            let (datagram, from) = receive_at(&client);
            assert_eq!(datagram, vec![n; if n < 4 { 1_200 } else { 700 }], "{mode:?}");
            assert_eq!(from, path.local);
        }
        assert_eq!(socket.counters().datagrams_sent, 5);
        assert_eq!(socket.counters().bytes_sent, 5_500);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_costs_one_call_and_merged_datagrams_are_split() {
    let (mut sender, from) = bound_to("127.0.0.1:0");
    let (mut receiver, to) = bound_to("127.0.0.1:0");
    let bytes: Vec<u8> = (0..40u8).flat_map(|n| vec![n; 1_000]).collect();
    sender.send(&Clock::start(), std::iter::once(run(Path { local: from, remote: to }, &bytes, 1_000)));
    assert_eq!(sender.counters().send_calls, 1);
    let got = collect(&mut receiver, 40);
    for (n, (path, datagram)) in got.iter().enumerate() {
        assert_eq!(*path, Path { local: to, remote: from });
        assert_eq!(*datagram, vec![n as u8; 1_000]);
    }
    assert_eq!(receiver.counters().bytes_received, 40_000);
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_that_cannot_be_segmented_is_sent_unsegmented_and_its_route_remembered() {
    let (mut socket, port) = wildcard(IoMode::Auto);
    let client = client("127.0.0.1:0");
    let path = loopback_path(port, client.local_addr().unwrap());
    // More segments than any kernel takes in one message: refused with EINVAL, as a route without offload is.
    let bytes = vec![7; 10 * 150];
    socket.send(&Clock::start(), std::iter::once(run(path, &bytes, 10)));
    for _ in 0..150 {
        assert_eq!(receive_at(&client).0, vec![7; 10]);
    }
    assert_eq!(socket.counters().unsegmented_runs, 1);
    let calls = socket.counters().send_calls;
    socket.send(&Clock::start(), std::iter::once(run(path, &[9; 30], 10)));
    for _ in 0..3 {
        assert_eq!(receive_at(&client).0, vec![9; 10]);
    }
    assert_eq!(socket.counters().unsegmented_runs, 1, "the route is known: no second failure");
    assert_eq!(socket.counters().send_calls, calls + 1, "the datagrams still share a call");
    assert_eq!(socket.counters().send_errors, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_bad_message_does_not_take_the_others_with_it() {
    let (mut socket, port) = wildcard(IoMode::Auto);
    let client = client("127.0.0.1:0");
    let good = loopback_path(port, client.local_addr().unwrap());
    let nowhere = Path { remote: "127.0.0.1:0".parse().unwrap(), ..good };
    let foreign = Path { local: SocketAddr::new("192.0.2.1".parse().unwrap(), port), ..good };
    let runs =
        [run(nowhere, b"lost", 4), run(good, b"one", 3), run(foreign, b"lostlost", 4), run(good, b"two", 3)];
    socket.send(&Clock::start(), runs.into_iter());
    assert_eq!(receive_at(&client).0, b"one");
    assert_eq!(receive_at(&client).0, b"two");
    assert_eq!(socket.counters().send_errors, 3);
    assert_eq!(socket.counters().datagrams_sent, 2);
    // A source address that isn't ours fails unsegmented too: that says nothing about segmentation.
    let calls = socket.counters().send_calls;
    socket.send(&Clock::start(), std::iter::once(run(good, b"abcd", 2)));
    assert_eq!(socket.counters().send_calls, calls + 1);
    assert_eq!(receive_at(&client).0, b"ab");
}

#[cfg(target_os = "linux")]
#[test]
fn a_wildcard_socket_answers_from_the_address_it_was_reached_at() {
    for (from, at) in [("127.0.0.1:0", "127.0.0.1"), ("127.0.0.1:0", "127.0.0.9"), ("[::1]:0", "::1")] {
        let (mut socket, port) = wildcard(IoMode::Auto);
        let reached = SocketAddr::new(at.parse::<IpAddr>().unwrap(), port);
        let client = client(from);
        client.send_to(b"ping", reached).unwrap();
        let (path, datagram) = collect(&mut socket, 1).remove(0);
        assert_eq!(datagram, b"ping");
        assert_eq!(path, Path { local: reached, remote: client.local_addr().unwrap() });
        socket.send(&Clock::start(), std::iter::once(run(path, b"pong", 4)));
        assert_eq!(receive_at(&client), (b"pong".to_vec(), reached));
    }
}

#[test]
fn the_portable_socket_takes_both_families() {
    for from in ["127.0.0.1:0", "[::1]:0"] {
        let (mut socket, port) = wildcard(IoMode::Portable);
        let client = client(from);
        client.send_to(b"ping", SocketAddr::new(client.local_addr().unwrap().ip(), port)).unwrap();
        let (path, _) = collect(&mut socket, 1).remove(0);
        assert_eq!(path.remote, client.local_addr().unwrap());
        socket.send(&Clock::start(), std::iter::once(run(path, b"pong", 4)));
        assert_eq!(receive_at(&client).0, b"pong");
    }
}

#[test]
fn a_waker_ends_the_wait() {
    for mode in [IoMode::Auto, IoMode::Portable] {
        let (mut socket, _) = wildcard(mode);
        let waker = socket.waker().unwrap();
        let clock = Clock::start();
        let thread = std::thread::spawn(move || waker.wake());
        let start = clock.now();
        socket.wait(Duration::from_secs(30)).unwrap();
        assert!(clock.now().since(start) < PATIENCE, "{mode:?}");
        thread.join().unwrap();
        assert!(!socket.receive(|_, _| panic!("nothing was sent")).unwrap());
    }
}

#[test]
fn a_wait_ends_at_its_timeout() {
    for mode in [IoMode::Auto, IoMode::Portable] {
        let (mut socket, _) = wildcard(mode);
        let clock = Clock::start();
        let start = clock.now();
        socket.wait(Duration::from_millis(20)).unwrap();
        assert!(clock.now().since(start) >= Duration::from_millis(19), "{mode:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn datagrams_that_the_kernel_dropped_are_counted() {
    let bound = bind("127.0.0.1:0".parse().unwrap(), 4_096).unwrap();
    socket2::SockRef::from(&bound.socket).set_recv_buffer_size(4_096).unwrap();
    let to = bound.local;
    let mut socket = MediaSocket::new(bound, IoMode::Auto).unwrap();
    let client = client("127.0.0.1:0");
    let mut received = 0;
    for _ in 0..3 {
        for _ in 0..200 {
            client.send_to(&[1; 1_000], to).unwrap();
        }
        // The count comes with the datagrams that follow a drop, hence the rounds.
        while socket.receive(|_, _| received += 1).unwrap() {}
    }
    assert!(received < 600);
    assert!(socket.counters().receive_overflow > 0);
}

#[test]
fn a_port_in_use_is_explained() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let error = bind(taken.local_addr().unwrap(), BUFFER_BYTES).unwrap_err().to_string();
    assert!(error.contains(&taken.local_addr().unwrap().port().to_string()), "{error}");
    assert!(error.contains("--udp-port"), "{error}");
}

#[test]
fn addresses_are_normalised_at_the_door() {
    let cases = [
        ("[::ffff:192.0.2.1]:7", "192.0.2.1:7"),
        ("192.0.2.1:7", "192.0.2.1:7"),
        ("[2001:db8::1]:7", "[2001:db8::1]:7"),
        ("[fe80::1%3]:7", "[fe80::1%3]:7"),
    ];
    for (given, expected) in cases {
        assert_eq!(normalise(given.parse().unwrap()), expected.parse::<SocketAddr>().unwrap());
    }
}
