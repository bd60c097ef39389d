//! A load-test client over real loopback sockets, signalled by WHIP, WHEP or the JSON protocol: real ICE, DTLS, SRTP and a
//! judge of the pictures that arrive.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use loadtest::client::http::{Endpoint, HttpResponse, HttpSignalling};
use loadtest::client::signal::{ClientSignal, Kind, ServerSignal};
use loadtest::client::video::VideoStats;
use loadtest::client::{Client, ClientConfig, ClientState, ClientStats};
use loadtest::net::Time;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{TestServer, WsClient, request};

/// What takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often a client that waits is looked at.
const TURN: Duration = Duration::from_millis(5);

enum Signalling {
    Http(HttpSignalling),
    Socket(Box<WsClient>),
}

/// What the test and the client's task share.
struct Shared {
    client: Client,
    /// Of the HTTP session, while there is one.
    session: Option<String>,
    leaves: bool,
}

/// A running client. It goes without a word when it is dropped.
pub struct Peer {
    shared: Arc<Mutex<Shared>>,
    begun: Instant,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    /// Publishes by WHIP at `target`.
    pub async fn whip(server: &TestServer, target: &str) -> Peer {
        let mut config = ClientConfig::publisher("", "");
        config.track.video_bitrate = Some(500_000);
        Peer::start(server, config, Signalling::Http(HttpSignalling::new(Endpoint::Whip, target))).await
    }

    /// Plays by WHEP at `target`.
    pub async fn whep(server: &TestServer, target: &str, endpoint: Endpoint) -> Peer {
        let config = match endpoint {
            Endpoint::WhepByServer => ClientConfig::subscriber("", ""),
            _ => ClientConfig::player("", ""),
        };
        Peer::start(server, config, Signalling::Http(HttpSignalling::new(endpoint, target))).await
    }

    /// Joins a room over the WebSocket, and watches.
    pub async fn socket(server: &TestServer, room: &str) -> Peer {
        let socket = WsClient::connect(server).await;
        Peer::start(server, ClientConfig::subscriber(room, "watcher"), Signalling::Socket(Box::new(socket)))
            .await
    }

    async fn start(server: &TestServer, config: ClientConfig, signalling: Signalling) -> Peer {
        let begun = Instant::now();
        let client = Client::new(config, 7, Time::ZERO).unwrap();
        let media = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Mutex::new(Shared { client, session: None, leaves: false }));
        let task = tokio::spawn(run(Arc::clone(&shared), begun, server.http(), media, signalling));
        Peer { shared, begun, task }
    }

    pub fn stats(&self) -> ClientStats {
        self.shared.lock().unwrap().client.stats(Time::ZERO + self.begun.elapsed())
    }

    pub fn state(&self) -> ClientState {
        self.shared.lock().unwrap().client.state()
    }

    /// Path of the HTTP session.
    pub fn session(&self) -> String {
        self.shared.lock().unwrap().session.clone().unwrap()
    }

    /// What the one video stream looks like.
    pub fn video(&self) -> VideoStats {
        let streams = self.stats().streams;
        let mut videos = streams.into_iter().filter(|stream| stream.kind == Kind::Video);
        videos.find(|stream| stream.reception.packets > 0).map(|stream| stream.video).unwrap_or_default()
    }

    /// Changes something about the client.
    pub fn with<T>(&self, change: impl FnOnce(&mut Client, Time) -> T) -> T {
        change(&mut self.shared.lock().unwrap().client, Time::ZERO + self.begun.elapsed())
    }

    /// Says goodbye, and waits until that is done.
    pub async fn leave(mut self) {
        self.shared.lock().unwrap().leaves = true;
        tokio::time::timeout(PATIENCE, &mut self.task).await.unwrap().unwrap();
    }

    /// Waits until something is so.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Peer) -> bool) {
        let start = Instant::now();
        while !is_so(self) {
            assert!(start.elapsed() < PATIENCE, "not in time: {what}; {:?}", self.stats());
            tokio::time::sleep(TURN).await;
        }
    }

    pub async fn connected(&self) {
        self.until("connected", |peer| peer.state() == ClientState::Connected).await;
    }

    /// Waits until `count` more pictures than now were decoded.
    pub async fn sees(&self, count: u64) {
        let before = self.video().decoded;
        self.until("pictures", |peer| peer.video().decoded >= before + count).await;
    }
}

async fn run(
    shared: Arc<Mutex<Shared>>,
    begun: Instant,
    server: SocketAddr,
    media: UdpSocket,
    mut signalling: Signalling,
) {
    let mut buffer = vec![0; 65_536];
    loop {
        let (datagrams, signals, leaves) = {
            let mut shared = shared.lock().unwrap();
            let now = Time::ZERO + begun.elapsed();
            while let Ok((len, from)) = media.try_recv_from(&mut buffer) {
                shared.client.receive(now, from, &buffer[..len]);
            }
            if shared.client.next_timeout().is_some_and(|at| at <= now) {
                shared.client.handle_timeout(now);
            }
            let leaves = shared.leaves;
            if leaves {
                shared.client.leave();
            }
            let datagrams: Vec<_> = std::iter::from_fn(|| shared.client.poll_transmit()).collect();
            let signals: Vec<_> = std::iter::from_fn(|| shared.client.poll_signal()).collect();
            (datagrams, signals, leaves)
        };
        for (to, datagram) in datagrams {
            media.send_to(&datagram, to).await.unwrap();
        }
        for signal in &signals {
            let said = say(&mut signalling, server, signal).await;
            let mut shared = shared.lock().unwrap();
            if let Signalling::Http(http) = &signalling {
                shared.session = http.session().map(str::to_owned);
            }
            let now = Time::ZERO + begun.elapsed();
            said.iter().for_each(|signal| shared.client.handle_signal(now, signal));
        }
        if leaves {
            return;
        }
        for signal in hear(&mut signalling).await {
            shared.lock().unwrap().client.handle_signal(Time::ZERO + begun.elapsed(), &signal);
        }
        if signals.is_empty() {
            let _ = tokio::time::timeout(TURN, media.readable()).await;
        }
    }
}

/// Tells the server something; what it says to that, if it says it at once.
async fn say(signalling: &mut Signalling, server: SocketAddr, signal: &ClientSignal) -> Vec<ServerSignal> {
    match signalling {
        Signalling::Http(http) => {
            let Some(asked) = http.request(signal) else { return Vec::new() };
            let headers: Vec<(&str, &str)> =
                asked.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let response =
                request(server, asked.method, &asked.target, &headers, asked.body.as_bytes()).await;
            http.response(HttpResponse {
                status: response.status,
                location: response.header("location").map(str::to_owned),
                entity_tag: response.header("etag").map(str::to_owned),
                body: response.text(),
            })
        }
        Signalling::Socket(socket) => {
            socket.send(&serde_json::to_string(signal).unwrap()).await;
            Vec::new()
        }
    }
}

/// What the server has said since.
async fn hear(signalling: &mut Signalling) -> Vec<ServerSignal> {
    let mut heard = Vec::new();
    if let Signalling::Socket(socket) = signalling {
        while let Ok(message) = tokio::time::timeout(Duration::from_millis(1), socket.message()).await {
            heard.push(serde_json::from_value(message).unwrap());
        }
    }
    heard
}
