//! A bad path in front of a server on loopback: carries its WebSocket and its media, and loses media packets both ways. The
//! server's candidates are changed on the way, so that they name the relay.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

pub struct LossyRelay {
    pub http: SocketAddr,
    faults: Arc<Faults>,
    tasks: Vec<JoinHandle<()>>,
}

struct Faults {
    probability: f64,
    rng: Mutex<StdRng>,
    lost: AtomicU64,
}

impl Faults {
    /// Whether the network loses this datagram. It spares RTCP, STUN and DTLS.
    fn hit(&self, datagram: &[u8]) -> bool {
        let is_rtp = matches!(datagram, [128..=191, kind, ..] if !(192..=223).contains(kind));
        let lost = is_rtp && self.rng.lock().unwrap().random_bool(self.probability);
        self.lost.fetch_add(u64::from(lost), Ordering::Relaxed);
        lost
    }
}

impl Drop for LossyRelay {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl LossyRelay {
    pub async fn start(http: SocketAddr, media: SocketAddr, probability: f64, seed: u64) -> LossyRelay {
        let rng = Mutex::new(StdRng::seed_from_u64(seed));
        let faults = Arc::new(Faults { probability, rng, lost: AtomicU64::new(0) });
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let relay_http = tcp.local_addr().unwrap();
        let [theirs, ours] =
            [media.port(), udp.local_addr().unwrap().port()].map(|port| format!(" {port} typ "));
        assert_eq!(theirs.len(), ours.len(), "a message keeps its length");
        let tasks = vec![
            tokio::spawn(relay_signalling(tcp, http, theirs, ours)),
            tokio::spawn(relay_media(Arc::new(udp), media, faults.clone())),
        ];
        LossyRelay { http: relay_http, faults, tasks }
    }

    /// Media packets that are gone.
    pub fn lost(&self) -> u64 {
        self.faults.lost.load(Ordering::Relaxed)
    }
}

async fn relay_signalling(listener: TcpListener, server: SocketAddr, theirs: String, ours: String) {
    while let Ok((client, _)) = listener.accept().await {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = TcpStream::connect(server).await.unwrap().into_split();
        tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
        let (theirs, ours) = (theirs.clone(), ours.clone());
        tokio::spawn(async move {
            let mut buffer = vec![0; 1 << 20];
            while let Ok(len @ 1..) = from_server.read(&mut buffer).await {
                replace(&mut buffer[..len], theirs.as_bytes(), ours.as_bytes());
                if to_client.write_all(&buffer[..len]).await.is_err() {
                    return;
                }
            }
        });
    }
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    for at in 0..bytes.len().saturating_sub(from.len()) {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
}

async fn relay_media(relay: Arc<UdpSocket>, server: SocketAddr, faults: Arc<Faults>) {
    let mut upstreams: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut buffer = vec![0; 2_048];
    loop {
        // An error tells of a client that is gone.
        let Ok((len, client)) = relay.recv_from(&mut buffer).await else { continue };
        let upstream = match upstreams.entry(client) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let upstream = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
                upstream.connect(server).await.unwrap();
                tokio::spawn(relay_back(upstream.clone(), relay.clone(), client, faults.clone()));
                new.insert(upstream)
            }
        };
        if !faults.hit(&buffer[..len]) {
            let _ = upstream.send(&buffer[..len]).await;
        }
    }
}

async fn relay_back(
    upstream: Arc<UdpSocket>,
    relay: Arc<UdpSocket>,
    client: SocketAddr,
    faults: Arc<Faults>,
) {
    let mut buffer = vec![0; 2_048];
    while let Ok(len) = upstream.recv(&mut buffer).await {
        if !faults.hit(&buffer[..len]) {
            let _ = relay.send_to(&buffer[..len], client).await;
        }
    }
}
