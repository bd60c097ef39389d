//! Puts the server together and takes it apart again: sockets, workers, the control plane's task and HTTP. After that it
//! only waits.

use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rand::RngCore;
use sfu_core::transport::dtls::{DtlsFactory, DtlsIdentity};
use sfu_core::unit::WorkerId;
use sfu_core::{Sfu, SfuConfig};
use signaling::{NodeId, Rooms, RoomsConfig, WorkerInfo};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::announce::candidates;
use crate::clock::Clock;
use crate::config::Config;
use crate::control::{Control, EVENTS, Health, REQUESTS};
use crate::http::{self, App};
use crate::net::{self, BoundSocket};
use crate::worker::{self, WorkerHandle, WorkerParts};

/// How long WebSockets may take to write their last messages.
const FLUSH: Duration = Duration::from_millis(500);

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    /// Where the page is.
    pub http: SocketAddr,
    /// The workers' sockets, in the order of their ids.
    pub media: Vec<MediaAddress>,
    control: JoinHandle<Result<()>>,
    http_task: JoinHandle<io::Result<()>>,
    draining: watch::Sender<bool>,
    app: App,
}

/// What one worker's socket got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MediaAddress {
    pub local: SocketAddr,
    pub candidates: Vec<SocketAddr>,
    /// Bytes granted.
    pub receive_buffer: usize,
    /// Bytes granted.
    pub send_buffer: usize,
}

impl Server {
    /// Binds everything and starts. The configuration is valid; what fails now is the machine's.
    pub async fn start(config: &Config) -> Result<Server> {
        let clock = Clock::start();
        let listener = bind_http(config.http).await?;
        let http = listener.local_addr()?;
        let sockets = bind_media(config)?;
        let interfaces = net::interface_addresses().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot list the network interfaces; say --announce IP");
            Vec::new()
        });
        let media: Vec<MediaAddress> = sockets
            .iter()
            .map(|socket| MediaAddress {
                local: socket.local,
                candidates: candidates(config, socket.local, &interfaces),
                receive_buffer: socket.receive_buffer,
                send_buffer: socket.send_buffer,
            })
            .collect();

        let identity = DtlsIdentity::generate().context("cannot make a DTLS certificate")?;
        let rooms = Rooms::new(rooms_config(config, &media, &identity)?, seed());
        let (event_sender, events) = mpsc::channel(EVENTS);
        let workers = start_workers(config, clock, sockets, &identity, &event_sender)?;

        let (request_sender, requests) = mpsc::channel(REQUESTS);
        let (draining, draining_receiver) = watch::channel(false);
        let health = Health {
            clock,
            workers: workers.iter().map(|worker| std::sync::Arc::clone(&worker.status)).collect(),
            draining: draining_receiver.clone(),
        };
        let control = Control::new(clock, rooms, workers, requests, events);
        let app = App::new(request_sender, health);
        let router = http::router(app.clone());
        Ok(Server {
            http,
            media,
            control: tokio::spawn(control.run(draining_receiver)),
            http_task: tokio::spawn(axum::serve(listener, router).into_future()),
            draining,
            app,
        })
    }

    /// Waits until the server can't go on; it never ends well.
    pub async fn failed(&mut self) -> anyhow::Error {
        let (what, ended) = tokio::select! {
            ended = &mut self.control => ("the control plane", ended.map_err(anyhow::Error::from).flatten()),
            ended = &mut self.http_task => ("HTTP", ended.map_err(anyhow::Error::from).and_then(|r| Ok(r?))),
        };
        match ended {
            Ok(()) => anyhow!("{what} ended unexpectedly"),
            Err(error) => error.context(format!("{what} failed")),
        }
    }

    /// Tells everybody, ends the workers, and closes what is open. Takes at most two seconds.
    pub async fn shut_down(self) -> Result<()> {
        self.draining.send_replace(true);
        let result = self.control.await.map_err(anyhow::Error::from).flatten();
        if tokio::time::timeout(FLUSH, self.app.websockets_closed()).await.is_err() {
            tracing::debug!("some WebSockets did not take their last messages");
        }
        self.http_task.abort();
        result
    }
}

async fn bind_http(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow!(
            "TCP port {} is in use by another program (is a server already running?); \
             stop that one or choose another with --http {}:PORT",
            address.port(),
            address.ip()
        ),
        io::ErrorKind::PermissionDenied => {
            anyhow!("no permission to bind TCP port {}; choose one above 1023 with --http", address.port())
        }
        io::ErrorKind::AddrNotAvailable => {
            anyhow!("this machine has no address {}; say another with --http", address.ip())
        }
        _ => anyhow!("cannot bind http = {address}: {error}"),
    })
}

/// One socket per worker, on consecutive ports; on any free ones when the first is 0.
fn bind_media(config: &Config) -> Result<Vec<BoundSocket>> {
    (0..config.worker_count())
        .map(|worker| {
            let port = if config.udp_port == 0 { 0 } else { config.udp_port + worker };
            Ok(net::bind(SocketAddr::new(config.udp_bind, port), config.socket_buffer)?)
        })
        .collect()
}

fn rooms_config(config: &Config, media: &[MediaAddress], identity: &DtlsIdentity) -> Result<RoomsConfig> {
    let name = format!("{:04x}", rand::rng().next_u32() & 0xffff);
    let node = NodeId::new(&name).context("four hexadecimal digits are a node's name")?;
    let worker = |(id, media): (u16, &MediaAddress)| WorkerInfo {
        id: WorkerId(id),
        candidates: media.candidates.clone(),
    };
    let mut rooms =
        RoomsConfig::new((0..).zip(media).map(worker).collect(), node, identity.fingerprint().clone());
    rooms.max_participants = config.max_participants as usize;
    rooms.max_viewers = config.max_viewers as usize;
    rooms.ice_servers.clone_from(&config.ice_servers);
    rooms.codecs = config.codecs()?;
    rooms.codecs_of_rooms = config.codecs_of_rooms()?;
    Ok(rooms)
}

fn start_workers(
    config: &Config,
    clock: Clock,
    sockets: Vec<BoundSocket>,
    identity: &DtlsIdentity,
    events: &mpsc::Sender<(WorkerId, sfu_core::event::Event)>,
) -> Result<Vec<WorkerHandle>> {
    let cores = if config.pin { net::allowed_cores() } else { Vec::new() };
    let mut workers = Vec::with_capacity(sockets.len());
    for (id, socket) in (0..).zip(sockets) {
        let handshakes = DtlsFactory::new(identity.clone(), clock.origin()).context("cannot set up DTLS")?;
        let engine_config = SfuConfig { ntp_at_zero: clock.ntp_at_zero(), instant_at_zero: clock.origin() };
        let parts = WorkerParts {
            id: WorkerId(id),
            clock,
            socket,
            io: config.io,
            core: cores.get(usize::from(id) % cores.len().max(1)).copied(),
            engine: Sfu::new(engine_config, Box::new(handshakes), seed()),
            events: events.clone(),
        };
        workers.push(worker::spawn(parts).with_context(|| format!("cannot start worker {id}"))?);
    }
    Ok(workers)
}

/// Randomness of the operating system, for one deterministic part.
fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    rand::rng().fill_bytes(&mut seed);
    seed
}
