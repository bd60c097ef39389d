//! A network cable that a test can pull: forwards one TCP port (HTTP, WebSocket) and one UDP port (media) of the
//! loopback. While it is cut, UDP is lost and TCP stands still, as it does when a phone leaves the Wi-Fi.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub struct Relay {
    pub http_port: u16,
    pub udp_port: u16,
    connected: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Relay {
    pub async fn new(server_http: u16, server_udp: u16) -> Self {
        let (connected, watch) = watch::channel(true);
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a TCP port");
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a UDP port");
        let http_port = tcp.local_addr().expect("bound").port();
        let udp_port = udp.local_addr().expect("bound").port();
        let to = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let tasks = vec![
            tokio::spawn(forward_tcp(tcp, to(server_http), watch.clone())),
            tokio::spawn(forward_udp(Arc::new(udp), to(server_udp), watch)),
        ];
        Self { http_port, udp_port, connected, tasks }
    }

    pub fn cut(&self) {
        self.connected.send_replace(false);
    }

    pub fn mend(&self) {
        self.connected.send_replace(true);
    }

    /// A script that makes a page send its media through this relay: the server's candidate names the server's port.
    pub fn script(&self, server_udp: u16) -> String {
        let udp_port = self.udp_port;
        format!(
            "{{ const real = RTCPeerConnection.prototype.setRemoteDescription;
            RTCPeerConnection.prototype.setRemoteDescription = function (description) {{
              const sdp = description.sdp.replace(/(a=candidate:\\S+ \\d+ udp \\d+ )\\S+ {server_udp} /gi, '$1127.0.0.1 {udp_port} ');
              return real.call(this, {{ type: description.type, sdp }});
            }}; }}"
        )
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn forward_tcp(listener: TcpListener, server: SocketAddr, connected: watch::Receiver<bool>) {
    while let Ok((client, _)) = listener.accept().await {
        let connected = connected.clone();
        tokio::spawn(async move {
            let Ok(upstream) = TcpStream::connect(server).await else { return };
            let (client_in, client_out) = client.into_split();
            let (server_in, server_out) = upstream.into_split();
            tokio::join!(
                pump(client_in, server_out, connected.clone()),
                pump(server_in, client_out, connected)
            );
        });
    }
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut connected: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if connected.wait_for(|up| *up).await.is_err() || to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    // Closing one's own direction is news, too, and waits for the cable.
    let _ = connected.wait_for(|up| *up).await;
}

async fn forward_udp(socket: Arc<UdpSocket>, server: SocketAddr, connected: watch::Receiver<bool>) {
    let mut flows: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut buffer = vec![0; 2048];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            // An ICMP error of an earlier send shows up here; the relay goes on.
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        if !*connected.borrow() {
            continue;
        }
        let flow = match flows.get(&client) {
            Some(flow) => flow.clone(),
            None => {
                let flow = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a UDP port"));
                flow.connect(server).await.expect("loopback");
                tokio::spawn(answer(flow.clone(), socket.clone(), client, connected.clone()));
                flows.insert(client, flow.clone());
                flow
            }
        };
        let _ = flow.send(&buffer[..length]).await;
    }
}

async fn answer(
    flow: Arc<UdpSocket>,
    socket: Arc<UdpSocket>,
    client: SocketAddr,
    connected: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 2048];
    loop {
        match flow.recv(&mut buffer).await {
            Ok(length) if *connected.borrow() => {
                let _ = socket.send_to(&buffer[..length], client).await;
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
        if connected.has_changed().is_err() {
            return;
        }
    }
}
