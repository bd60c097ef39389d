//! Starts the built server on free ports of the loopback, waits until it answers, restarts it on the same ports, and
//! kills it when dropped.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_secs(20);

pub struct Server {
    options: Vec<String>,
    child: Option<Child>,
    pub http_port: u16,
    pub udp_port: u16,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With options beyond those that place it.
    pub async fn start_with(options: &[&str]) -> Self {
        let (http_port, udp_port) = free_ports();
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Self { options, child: None, http_port, udp_port };
        server.run().await;
        server
    }

    /// Kills the process as a crash would; nobody is told.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it (again) on its ports.
    pub async fn run(&mut self) {
        self.kill();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sfu-server"));
        command
            .args(["--http", &format!("127.0.0.1:{}", self.http_port)])
            .args(["--udp-port", &self.udp_port.to_string()])
            .args(["--workers", "1"])
            .args(&self.options)
            .stdin(Stdio::null());
        // `SFU_TEST_LOG=1` shows the server's log among the test's output.
        if std::env::var_os("SFU_TEST_LOG").is_none() {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        self.child = Some(command.spawn().expect("the server starts"));
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.is_healthy() {
            assert!(Instant::now() < deadline, "the server is not healthy after {START_TIMEOUT:?}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// The page that joins a room by itself.
    pub fn url(&self, room: &str, name: &str) -> String {
        page_url(self.http_port, room, name)
    }

    /// An endpoint of WHIP or WHEP.
    pub fn endpoint(&self, protocol: &str, room: &str) -> String {
        format!("http://127.0.0.1:{}/{protocol}/{room}", self.http_port)
    }

    fn is_healthy(&self) -> bool {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.http_port));
        let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) else {
            return false;
        };
        let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let mut status = [0; 12];
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        stream.write_all(request).is_ok()
            && stream.read_exact(&mut status).is_ok()
            && status.ends_with(b"200")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn page_url(http_port: u16, room: &str, name: &str) -> String {
    format!("http://127.0.0.1:{http_port}/conference?room={room}&name={name}&identity={name}&autojoin=1")
}

fn free_ports() -> (u16, u16) {
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free TCP port");
    let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free UDP port");
    let port = |address: std::io::Result<SocketAddr>| address.expect("a bound address").port();
    (port(tcp.local_addr()), port(udp.local_addr()))
}
