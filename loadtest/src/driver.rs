//! Runs clients over real sockets, each with a WebSocket of its own and the WebRTC stack that was asked for. Owns the
//! process's clock; what a client does is decided in the library, or in the stack.

mod own_stack;
#[cfg(feature = "webrtc-stack")]
mod webrtc_stack;

use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use loadtest::client::publish::TrackConfig;
use loadtest::client::{ClientConfig, ClientState, ClientStats};
use loadtest::net::Time;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::report::Report;
use crate::server_process;
use crate::{JoinArgs, Stack};

/// A server that doesn't answer within this is unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Clients that aren't connected after this are counted as not connected.
const JOIN_TIMEOUT: Duration = Duration::from_secs(15);

/// Left alone between the last connection and the measurement, so that the start isn't measured.
const SETTLE: Duration = Duration::from_secs(1);

type Signalling = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why a run has failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    Unreachable { target: String, reason: String },
    Refused { room: String, reason: String },
    NoMedia { clients: usize },
    NotConnected { connected: usize, clients: usize, reason: String },
    Other(String),
}

impl Failure {
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Other(_) => 1,
            Failure::Unreachable { .. } => 3,
            Failure::Refused { .. } => 4,
            Failure::NoMedia { .. } => 5,
            Failure::NotConnected { .. } => 6,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unreachable { target, reason } => {
                write!(f, "the server at {target} can't be reached: {reason}. Is it running there?")
            }
            Failure::Refused { room, reason } => {
                write!(f, "the server refused to join room {room:?}: {reason}")
            }
            Failure::NoMedia { clients } => {
                write!(f, "{clients} clients that should have received audio and video got no packet")
            }
            Failure::NotConnected { connected, clients, reason } => {
                write!(f, "only {connected} of {clients} clients connected ({reason})")
            }
            Failure::Other(text) => f.write_str(text),
        }
    }
}

/// What a running client shows to the others.
#[derive(Debug, Default)]
pub struct Progress {
    connected: AtomicBool,
    finished: AtomicBool,
    datagrams: AtomicU64,
    bytes: AtomicU64,
}

/// Totals over all clients at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    connected: usize,
    finished: usize,
    datagrams: u64,
    bytes: u64,
}

/// The part of a run in which everybody is connected.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Measured {
    pub seconds: f64,
    /// Media datagrams that all clients received.
    pub datagrams: u64,
    pub bytes: u64,
    pub server_cpu: Option<Duration>,
    pub server_resident_bytes: Option<u64>,
}

/// Joins, measures, leaves.
pub async fn join(args: &JoinArgs) -> Result<Report, Failure> {
    let clock = Clock(read_clock());
    let (stop, stopped) = watch::channel(false);
    let progress: Vec<Arc<Progress>> = (0..args.clients).map(|_| Arc::default()).collect();
    let mut tasks = JoinSet::new();
    for (i, progress) in progress.iter().enumerate() {
        let task = Task { args: args.clone(), index: i, clock, progress: progress.clone() };
        tasks.spawn(task.run(stopped.clone()));
        tokio::time::sleep(Duration::from_millis(args.ramp_ms)).await;
        if i == 0 && args.publishers > 0 {
            // If the very first doesn't get in, the others needn't try.
            wait_connected(std::slice::from_ref(progress)).await;
            if progress.finished.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    wait_connected(&progress).await;
    tokio::time::sleep(SETTLE).await;
    let measured = measure(args, &progress).await?;
    // A receiver that is gone has ended by itself.
    let _ = stop.send(true);
    let mut clients = Vec::new();
    let mut failure = None;
    while let Some(outcome) = tasks.join_next().await {
        match outcome {
            Ok(Ok(outcome)) => clients.push(outcome),
            Ok(Err(error)) => failure = failure.or(Some(error)),
            Err(error) => failure = failure.or(Some(Failure::Other(error.to_string()))),
        }
    }
    match failure {
        Some(failure) if clients.is_empty() || matches!(failure, Failure::Refused { .. }) => Err(failure),
        _ => {
            clients.sort_by_key(|outcome| outcome.index);
            Ok(Report::new(args, &clients, measured))
        }
    }
}

async fn wait_connected(progress: &[Arc<Progress>]) {
    let deadline = read_clock() + JOIN_TIMEOUT;
    loop {
        let totals = total(progress);
        if totals.connected + totals.finished >= progress.len() || read_clock() >= deadline {
            return;
        }
        // All that have begun are over: the others were never begun.
        if totals.connected == 0 && totals.finished > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn measure(args: &JoinArgs, progress: &[Arc<Progress>]) -> Result<Measured, Failure> {
    let usage = || args.server_pid.map(server_process::usage).transpose().map_err(Failure::Other);
    let (begun, first, before) = (read_clock(), total(progress), usage()?);
    let mut last = first;
    // One line that changes on a terminal, a line each in a log.
    let end = if std::io::stderr().is_terminal() { "\r" } else { "\n" };
    for second in 1..=args.seconds {
        tokio::time::sleep_until((begun + Duration::from_secs(second)).into()).await;
        let now = total(progress);
        if now.finished >= args.clients || now.connected == 0 {
            break;
        }
        eprint!(
            "{second:>4} s  {}/{} connected  {:>7} packets/s  {:>8.2} Mbit/s {end}",
            now.connected,
            args.clients,
            now.datagrams - last.datagrams,
            (now.bytes - last.bytes) as f64 * 8e-6
        );
        last = now;
    }
    if end == "\r" {
        eprintln!();
    }
    let (now, after) = (total(progress), usage()?);
    Ok(Measured {
        seconds: begun.elapsed().as_secs_f64(),
        datagrams: now.datagrams - first.datagrams,
        bytes: now.bytes - first.bytes,
        server_cpu: before.zip(after).map(|(before, after)| after.cpu.saturating_sub(before.cpu)),
        server_resident_bytes: after.map(|usage| usage.resident_bytes),
    })
}

fn total(progress: &[Arc<Progress>]) -> Totals {
    let mut totals = Totals::default();
    for client in progress {
        totals.connected += usize::from(client.connected.load(Ordering::Relaxed));
        totals.finished += usize::from(client.finished.load(Ordering::Relaxed));
        totals.datagrams += client.datagrams.load(Ordering::Relaxed);
        totals.bytes += client.bytes.load(Ordering::Relaxed);
    }
    totals
}

#[allow(clippy::disallowed_methods, reason = "the only reader of the clock")]
fn read_clock() -> Instant {
    Instant::now()
}

/// The process's monotonic clock.
#[derive(Clone, Copy, Debug)]
struct Clock(Instant);

impl Clock {
    fn now(self) -> Time {
        Time::ZERO + self.0.elapsed()
    }

    fn instant(self, time: Time) -> Instant {
        self.0 + time.elapsed()
    }
}

/// How one client has ended.
#[derive(Debug)]
pub struct Outcome {
    pub index: usize,
    pub stats: ClientStats,
}

/// One client that is to be run.
struct Task {
    args: JoinArgs,
    index: usize,
    clock: Clock,
    progress: Arc<Progress>,
}

impl Task {
    async fn run(self, stop: watch::Receiver<bool>) -> Result<Outcome, Failure> {
        let progress = self.progress.clone();
        let outcome = self.connect_and_run(stop).await;
        progress.connected.store(false, Ordering::Relaxed);
        progress.finished.store(true, Ordering::Relaxed);
        outcome
    }

    async fn connect_and_run(self, stop: watch::Receiver<bool>) -> Result<Outcome, Failure> {
        let signalling = self.connect().await?;
        let room = self.args.room.clone();
        let outcome = match self.args.stack {
            Stack::Own => own_stack::run(self, signalling, stop).await?,
            #[cfg(feature = "webrtc-stack")]
            Stack::Webrtc => webrtc_stack::run(self, signalling, stop).await?,
        };
        match (&outcome.stats.state, outcome.stats.joined) {
            (ClientState::Closed(reason), None) => Err(Failure::Refused { room, reason: reason.clone() }),
            _ => Ok(outcome),
        }
    }

    async fn connect(&self) -> Result<Signalling, Failure> {
        let unreachable = |reason| Failure::Unreachable { target: self.args.target.clone(), reason };
        let connecting = tokio_tungstenite::connect_async(&self.args.target);
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok((signalling, _))) => Ok(signalling),
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_) => Err(unreachable("no answer within 5 s".into())),
        }
    }

    /// Of this client's randomness.
    fn seed(&self) -> u64 {
        self.args.seed.wrapping_mul(1_000_003).wrapping_add(self.index as u64)
    }

    fn config(&self) -> ClientConfig {
        let publishes = self.index < self.args.publishers;
        let name = format!("{} {}", if publishes { "publisher" } else { "viewer" }, self.index);
        let track = TrackConfig {
            simulcast: self.args.simulcast,
            video_bitrate: self.args.video_kbps.map(|kbps| kbps.saturating_mul(1_000)),
            ..TrackConfig::default()
        };
        let mut config = ClientConfig::subscriber(&self.args.room, &name);
        config.publish_audio = publishes;
        config.publish_video = publishes;
        config.track = track;
        config
    }
}
