//! The sans-I/O client of this crate with its sockets: one task drives both.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use loadtest::client::signal::ServerSignal;
use loadtest::client::{Client, ClientState};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use super::{Failure, Outcome, Signalling, Task};

/// Datagrams taken at one wake-up, so that signals and timers get their turn.
const BATCH_MAX: usize = 128;

/// Receive buffer of each socket: keyframes of many publishers come at once.
const RECEIVE_BUFFER: usize = 2 << 20;

/// Joins over `signalling` and takes part until `stop` changes or the session ends.
pub async fn run(
    task: Task,
    signalling: Signalling,
    stop: watch::Receiver<bool>,
) -> Result<Outcome, Failure> {
    let bind_to = task.args.bind;
    let media = bind(SocketAddr::new(bind_to, 0))
        .map_err(|error| Failure::Other(format!("no UDP socket on {bind_to}: {error}")))?;
    let client = Client::new(task.config(), task.seed(), task.clock.now()).map_err(Failure::Other)?;
    Ok(Running { task, client, signalling, media, buffer: vec![0; 65_536] }.run(stop).await)
}

fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::DGRAM,
        Some(socket2::Protocol::UDP),
    )?;
    // The system may grant less; then bursts are lost and counted like any loss.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// A client with its sockets.
struct Running {
    task: Task,
    client: Client,
    signalling: Signalling,
    media: UdpSocket,
    buffer: Vec<u8>,
}

impl Running {
    async fn run(mut self, mut stop: watch::Receiver<bool>) -> Outcome {
        loop {
            let now = self.task.clock.now();
            if self.client.next_timeout().is_some_and(|at| at <= now) {
                self.client.handle_timeout(now);
            }
            let open = self.flush().await;
            let state = self.client.state();
            self.task.progress.connected.store(state == ClientState::Connected, Ordering::Relaxed);
            if !open || matches!(state, ClientState::Closed(_) | ClientState::Failed(_)) {
                break;
            }
            let wake = self.client.next_timeout().unwrap_or(now + Duration::from_secs(1));
            tokio::select! {
                _ = stop.changed() => break,
                received = self.media.recv_from(&mut self.buffer) => {
                    if let Ok((len, from)) = received {
                        self.received(len, from);
                        self.receive_more();
                    }
                }
                message = self.signalling.next() => match message {
                    Some(Ok(Message::Text(text))) => self.signalled(&text),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                    Some(Ok(_)) => {}
                },
                () = tokio::time::sleep_until(self.task.clock.instant(wake).into()) => {}
            }
        }
        let stats = self.client.stats(self.task.clock.now());
        self.client.leave();
        self.flush().await;
        let _ = self.signalling.close(None).await;
        Outcome { index: self.task.index, stats }
    }

    /// Sends what the client has to say; whether the signalling socket is still open.
    async fn flush(&mut self) -> bool {
        while let Some((to, datagram)) = self.client.poll_transmit() {
            // An unreachable candidate is the client's to notice, by silence.
            let _ = self.media.send_to(&datagram, to).await;
        }
        while let Some(signal) = self.client.poll_signal() {
            let Ok(text) = serde_json::to_string(&signal) else { continue };
            if self.signalling.send(Message::text(text)).await.is_err() {
                return false;
            }
        }
        true
    }

    fn signalled(&mut self, text: &str) {
        if let Ok(signal) = serde_json::from_str::<ServerSignal>(text) {
            self.client.handle_signal(self.task.clock.now(), &signal);
        }
    }

    fn receive_more(&mut self) {
        for _ in 1..BATCH_MAX {
            let Ok((len, from)) = self.media.try_recv_from(&mut self.buffer) else { return };
            self.received(len, from);
        }
    }

    fn received(&mut self, len: usize, from: SocketAddr) {
        let datagram = self.buffer.get(..len).unwrap_or_default();
        if matches!(datagram, [128..=191, kind, ..] if !(192..=223).contains(kind)) {
            self.task.progress.datagrams.fetch_add(1, Ordering::Relaxed);
            self.task.progress.bytes.fetch_add(len as u64, Ordering::Relaxed);
        }
        self.client.receive(self.task.clock.now(), from, datagram);
    }
}
