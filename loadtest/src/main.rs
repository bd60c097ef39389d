//! The headless load-test client. `loadtest join` brings clients into a room, lets some of them publish a
//! synthetic tone and pattern, and prints what all of them received and what that cost the server. `loadtest floor` prints
//! what a packet costs this machine at least.

mod driver;
mod floor;
mod report;
mod server_process;

use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::driver::Failure;
use crate::report::Report;

#[derive(Parser, Debug)]
#[command(name = "loadtest", about = "A headless WebRTC client that measures an SFU.", after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 all well, 1 other failure, 2 wrong usage, 3 server unreachable, 4 join refused, \
    5 a subscriber got no media, 6 not every client connected.";

#[derive(Subcommand, Debug)]
enum Command {
    /// Joins a room with several clients and reports what they received.
    Join(JoinArgs),
    /// Measures what a packet costs on this machine at least: cipher and system calls alone.
    Floor(floor::FloorArgs),
}

/// A WebRTC implementation.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Stack {
    /// The sans-I/O client of this program.
    Own,
    /// The `webrtc` crate.
    #[cfg(feature = "webrtc-stack")]
    Webrtc,
}

#[derive(Args, Debug, Clone)]
struct JoinArgs {
    /// The server's signalling socket.
    #[arg(long, default_value = "ws://127.0.0.1:8080/ws")]
    target: String,
    #[arg(long, default_value = "demo")]
    room: String,
    /// Clients in all, publishers included.
    #[arg(long, default_value_t = 2)]
    clients: usize,
    /// How many of them publish audio and video.
    #[arg(long, default_value_t = 1)]
    publishers: usize,
    /// How long to measure, after everybody has joined.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Publishers send three layers.
    #[arg(long)]
    simulcast: bool,
    /// Video bitrate of the highest layer, reached by padding; without it, about 160 kbit/s.
    #[arg(long)]
    video_kbps: Option<u64>,
    /// Which WebRTC implementation the clients are: the light one of this program, or the full `webrtc` crate as a second
    /// opinion (needs the Cargo feature `webrtc-stack`; no simulcast).
    #[arg(long, value_enum, default_value_t = Stack::Own)]
    stack: Stack,
    /// Milliseconds between two joins.
    #[arg(long, default_value_t = 20)]
    ramp_ms: u64,
    /// Local address of the clients' sockets.
    #[arg(long, default_value = "0.0.0.0")]
    bind: IpAddr,
    /// The server's process, to measure its CPU time and memory (Linux).
    #[arg(long)]
    server_pid: Option<u32>,
    /// Writes the report as JSON to this file, too.
    #[arg(long)]
    json: Option<PathBuf>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Join(args) => run(&args).and_then(|report| {
            print!("{report}");
            report.verdict()
        }),
        Command::Floor(args) => measure_floor(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(&failure),
    }
}

fn measure_floor(args: &floor::FloorArgs) -> Result<(), Failure> {
    // One line that changes on a terminal, none in a log.
    let terminal = std::io::stderr().is_terminal();
    let floor = floor::measure(args, |round| {
        if terminal {
            eprint!("round {round} of {}\r", args.rounds);
        }
    });
    print!("{floor}");
    args.json.as_deref().map_or(Ok(()), |path| write_json(path, &floor))
}

fn run(args: &JoinArgs) -> Result<Report, Failure> {
    if args.clients == 0 || args.publishers > args.clients {
        return Err(Failure::Other("--clients must be at least 1 and at least --publishers".into()));
    }
    if args.stack != Stack::Own && args.simulcast {
        return Err(Failure::Other("only the program's own stack publishes simulcast".into()));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Other(format!("no async runtime: {error}")))?;
    let report = runtime.block_on(driver::join(args))?;
    if let Some(path) = &args.json {
        write_json(path, &report)?;
    }
    Ok(report)
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(value).map_err(|error| Failure::Other(error.to_string()))?;
    std::fs::write(path, json).map_err(|error| Failure::Other(format!("{}: {error}", path.display())))
}

fn fail(failure: &Failure) -> ExitCode {
    eprintln!("loadtest: {failure}");
    ExitCode::from(failure.exit_code())
}
