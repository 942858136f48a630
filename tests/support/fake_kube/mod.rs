//! A scripted API server for one resource: it answers each request by a function of the test, byte by byte where the
//! test wants that, and remembers every request.
//!
//! Plain sockets and a thread per connection, so that a test can break HTTP itself. With or without TLS, whose
//! settings can be exchanged while it runs.

#![allow(dead_code)]

pub mod fixtures;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::Receiver;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What the client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// A watch, or a list.
    pub watch: bool,
    /// The path and query as sent.
    pub target: String,
    /// `GET`, `POST`, `PATCH`.
    pub method: String,
    /// What was sent with it.
    pub body: String,
    /// `Authorization`, empty if there is none.
    pub authorization: String,
    /// `Accept-Encoding`, empty if there is none.
    pub accept_encoding: String,
    /// The how-manieth request it is, from 0.
    pub number: usize,
    /// The how-manieth of its kind, from 0.
    pub of_kind: usize,
}

impl Request {
    /// A parameter of the query, as sent.
    pub fn param(&self, name: &str) -> Option<&str> {
        let query = self.target.split_once('?')?.1;
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

/// A piece of an answer.
pub enum Part {
    /// These bytes, as they are.
    Bytes(Vec<u8>),
    /// A pause.
    Pause(Duration),
    /// What the test sends, as chunks, until it drops its end.
    Stream(Receiver<Vec<u8>>),
    /// Nothing more, and no end, until the client or the test goes.
    Hang,
    /// The connection is reset.
    Reset,
}

/// Answers a request.
pub type Script = Box<dyn FnMut(&Request) -> Vec<Part> + Send>;

struct Shared {
    script: Mutex<Script>,
    requests: Mutex<Vec<Request>>,
    tls: Mutex<Option<Arc<ServerConfig>>>,
    streams: Mutex<Vec<TcpStream>>,
    stopped: AtomicBool,
    connections: Mutex<usize>,
}

/// The server; it ends when dropped.
pub struct FakeKube {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl FakeKube {
    /// Listens at a free port of the loopback device.
    pub fn start(script: impl FnMut(&Request) -> Vec<Part> + Send + 'static) -> FakeKube {
        FakeKube::start_tls(None, script)
    }

    /// The same with TLS.
    pub fn start_tls(
        tls: Option<Arc<ServerConfig>>,
        script: impl FnMut(&Request) -> Vec<Part> + Send + 'static,
    ) -> FakeKube {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            script: Mutex::new(Box::new(script)),
            requests: Mutex::default(),
            tls: Mutex::new(tls),
            streams: Mutex::default(),
            stopped: AtomicBool::new(false),
            connections: Mutex::new(0),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                *accepting.connections.lock().expect("not poisoned") += 1;
                accepting.streams.lock().expect("not poisoned").push(stream.try_clone().expect("descriptors"));
                let shared = accepting.clone();
                std::thread::spawn(move || {
                    let tls = shared.tls.lock().expect("not poisoned").clone();
                    // A client that goes ends the connection; what it saw is asserted by the test.
                    let _ = match tls {
                        None => serve(&shared, stream.try_clone().expect("descriptors"), &stream),
                        Some(config) => {
                            let connection = ServerConnection::new(config).expect("a usable configuration");
                            serve(
                                &shared,
                                StreamOwned::new(connection, stream.try_clone().expect("descriptors")),
                                &stream,
                            )
                        }
                    };
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        FakeKube { addr, shared }
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// `https://127.0.0.1:port`.
    pub fn https(&self) -> String {
        format!("https://{}", self.addr)
    }

    /// From now on answers otherwise.
    pub fn script(&self, script: impl FnMut(&Request) -> Vec<Part> + Send + 'static) {
        *self.shared.script.lock().expect("not poisoned") = Box::new(script);
    }

    /// From now on speaks TLS otherwise; connections that are open end.
    pub fn set_tls(&self, tls: Arc<ServerConfig>) {
        *self.shared.tls.lock().expect("not poisoned") = Some(tls);
        self.cut();
    }

    /// Ends all open connections.
    pub fn cut(&self) {
        for stream in self.shared.streams.lock().expect("not poisoned").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// The requests up to now.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().expect("not poisoned").clone()
    }

    /// How many lists and watches were asked for.
    pub fn counts(&self) -> (usize, usize) {
        let requests = self.requests();
        let watches = requests.iter().filter(|request| request.watch).count();
        (requests.len() - watches, watches)
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        *self.shared.connections.lock().expect("not poisoned")
    }
}

impl Drop for FakeKube {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.cut();
        let _ = TcpStream::connect(self.addr);
    }
}

fn serve(shared: &Shared, stream: impl Read + Write, socket: &TcpStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut target, mut method, mut length) = (String::new(), String::new(), 0);
        let (mut authorization, mut accept_encoding) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(": ") {
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.parse().unwrap_or_default(),
                    "authorization" => authorization = value.to_owned(),
                    "accept-encoding" => accept_encoding = value.to_owned(),
                    _ => {}
                }
            } else {
                let mut words = line.split(' ').map(str::to_owned);
                (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        let watch = target.contains("&watch=true");
        let request = {
            let mut requests = shared.requests.lock().expect("not poisoned");
            let of_kind = requests.iter().filter(|earlier| earlier.watch == watch).count();
            let number = requests.len();
            requests.push(Request { watch, target, method, body, authorization, accept_encoding, number, of_kind });
            requests[number].clone()
        };
        let parts = (shared.script.lock().expect("not poisoned"))(&request);
        if parts.is_empty() {
            return Ok(());
        }
        for part in parts {
            match part {
                Part::Bytes(bytes) => {
                    stream.get_mut().write_all(&bytes)?;
                    stream.get_mut().flush()?;
                }
                Part::Pause(pause) => pause_for(pause),
                Part::Stream(chunks) => {
                    for bytes in chunks {
                        stream.get_mut().write_all(&chunk(&bytes))?;
                        stream.get_mut().flush()?;
                    }
                    stream.get_mut().write_all(b"0\r\n\r\n")?;
                }
                Part::Hang => {
                    // Until either side ends the connection.
                    let _ = stream.get_mut().read(&mut [0; 1])?;
                    return Ok(());
                }
                Part::Reset => {
                    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
                    nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::Linger, &linger)?;
                    return Ok(());
                }
            }
        }
    }
}

/// The calling thread does nothing.
pub fn pause_for(pause: Duration) {
    netmon::clock::sleep_ns(pause.as_nanos() as u64);
}

/// One chunk of a chunked body.
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// An answer with a length.
pub fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<Part> {
    let mut bytes = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    vec![Part::Bytes(bytes)]
}

/// JSON with status 200.
pub fn json(body: &[u8]) -> Vec<Part> {
    answer("200 OK", "Content-Type: application/json\r\n", body)
}

/// The head of a watch.
pub const WATCH_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A watch of these lines, each a chunk, that then ends cleanly.
pub fn watch_of(lines: &[String]) -> Vec<Part> {
    let mut bytes = WATCH_HEAD.to_vec();
    for line in lines {
        bytes.extend(chunk(line.as_bytes()));
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    vec![Part::Bytes(bytes)]
}

/// A watch of these lines that then stays open.
pub fn watch_open(lines: &[String]) -> Vec<Part> {
    let mut bytes = WATCH_HEAD.to_vec();
    for line in lines {
        bytes.extend(chunk(line.as_bytes()));
    }
    vec![Part::Bytes(bytes), Part::Hang]
}
