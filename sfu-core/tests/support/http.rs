//! A blocking HTTP server for one client: a page on GET, and one SDP exchange on POST (WHIP included).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

pub struct Http {
    listener: TcpListener,
    page: &'static str,
}

impl Http {
    pub fn new(page: &'static str) -> Http {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Http { listener, page }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Serves the page until an offer is posted, and answers that. `None` when time is up.
    pub fn exchange<T>(&self, limit: Duration, mut answer: impl FnMut(&str) -> (String, T)) -> Option<T> {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            let Ok((stream, _)) = self.listener.accept() else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            stream.set_nonblocking(false).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            let mut reader = BufReader::new(stream);
            let Some((method, path, body)) = read_request(&mut reader) else { continue };
            let stream = reader.get_mut();
            match (method.as_str(), path.as_str()) {
                ("POST", "/log") => {
                    println!("    page: {body}");
                    respond(stream, "204 No Content", "text/plain", "");
                }
                ("POST", _) => {
                    let (sdp, value) = answer(&body);
                    respond(stream, "201 Created", "application/sdp", &sdp);
                    return Some(value);
                }
                ("GET", path) if path == "/" || path.starts_with("/?") => {
                    respond(stream, "200 OK", "text/html; charset=utf-8", self.page);
                }
                _ => respond(stream, "404 Not Found", "text/plain", ""),
            }
        }
        None
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, String, String)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut len = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        let (name, value) = header.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            len = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).ok()?;
    Some((method, path, String::from_utf8(body).ok()?))
}

fn respond(stream: &mut TcpStream, status: &str, kind: &str, body: &str) {
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nLocation: /session\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
}
