//! The program: options in, a running server, signals, an exit code. Everything else is in the library.

use std::process::ExitCode;

use anyhow::{Context, Result};
use sfu_server::config::{self, Config, Invocation, LogFormat};
use sfu_server::server::Server;
use tracing_subscriber::EnvFilter;

/// Threads of the control plane: it is idle next to the workers.
const CONTROL_THREADS: usize = 2;

fn main() -> ExitCode {
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let invocation = config::load(std::env::args(), variables);
    let result = match invocation {
        Ok(Invocation::Print(text)) => {
            say(&text);
            return ExitCode::SUCCESS;
        }
        Ok(Invocation::Serve { config, unknown_variables }) => serve(&config, &unknown_variables),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sfu-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: &Config, unknown_variables: &[String]) -> Result<()> {
    start_log(config);
    for name in unknown_variables {
        tracing::warn!("the variable {name} is not an option of this server");
    }
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()
        .context("cannot start the control plane's threads")?
        .block_on(run(config))
}

async fn run(config: &Config) -> Result<()> {
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let mut server = Server::start(config).await?;
    say(&greeting(config, &server));
    tokio::select! {
        error = server.failed() => return Err(error),
        () = signals.next() => {}
    }
    say("Shutting down: telling everybody. Again to stop at once.\n");
    tokio::select! {
        result = server.shut_down() => result,
        () = signals.next() => std::process::exit(130),
    }
}

/// Prints for a person, who may have closed the other end: that is no reason to stop.
fn say(text: &str) {
    use std::io::Write;

    let mut output = std::io::stdout().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

fn start_log(config: &Config) {
    // The filter was validated with the rest of the configuration.
    let filter = EnvFilter::new(&config.log);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

/// What a person wants to know first.
fn greeting(config: &Config, server: &Server) -> String {
    use std::fmt::Write;

    let ports: Vec<String> = server.media.iter().map(|media| media.local.port().to_string()).collect();
    let mut text = String::new();
    let url = if server.http.ip().is_unspecified() {
        format!("http://localhost:{}/", server.http.port())
    } else {
        format!("http://{}/", server.http)
    };
    let _ = writeln!(text, "\n  Open {url} in a browser, and again in another window.\n");
    let plural = if ports.len() == 1 { "" } else { "s" };
    let _ = writeln!(text, "  Media       UDP {} ({} worker{plural})", ports.join(", "), ports.len());
    if let Some(media) = server.media.first() {
        let addresses: Vec<String> =
            media.candidates.iter().map(|candidate| candidate.ip().to_string()).collect();
        let _ = writeln!(text, "  Announced   {}", addresses.join(", "));
        let _ = writeln!(
            text,
            "  Buffers     {} KiB to receive, {} KiB to send, per worker",
            media.receive_buffer / 1024,
            media.send_buffer / 1024
        );
        if media.receive_buffer < config.socket_buffer {
            let _ = writeln!(
                text,
                "              less than the {} KiB asked for: raise net.core.rmem_max and wmem_max for many participants",
                config.socket_buffer / 1024
            );
        }
    }
    if config.insecure {
        let _ = writeln!(text, "  Insecure    anybody who reaches this server can join any room");
    }
    text.push('\n');
    text
}

/// Ctrl-C, and SIGTERM where there is one. Made early: from then on neither ends the process by itself.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
}

impl Signals {
    #[cfg(unix)]
    fn new() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    #[cfg(windows)]
    fn new() -> std::io::Result<Signals> {
        Ok(Signals { interrupt: tokio::signal::windows::ctrl_c()? })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(windows)]
    async fn next(&mut self) {
        self.interrupt.recv().await;
    }
}
