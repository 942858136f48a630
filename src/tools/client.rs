//! Asks a running agent, over HTTP. It knows no paths.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

const CONNECT: Duration = Duration::from_secs(3);
/// An agent under load makes a snapshot within two seconds, and cuts a reader after ten.
pub const PATIENCE_S: u64 = 12;
/// Where an agent listens unless it is told otherwise.
const USUAL: &str = "127.0.0.1:8081";

/// Why there is no answer.
#[derive(Debug)]
pub enum ClientError {
    /// The address is none.
    Address(String),
    /// Nobody takes the connection.
    Connect(String, io::Error),
    /// The connection broke.
    Read(String, io::Error),
    /// The answer was cut, or is not HTTP.
    Broken(String),
    /// The agent refuses, in these words.
    Refused(String, String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Address(address) => write!(f, "-address {address:?} is no HOST:PORT"),
            ClientError::Connect(address, error) => write!(
                f,
                "cannot ask the agent on {address}: {} (is one running? -address HOST:PORT asks another)",
                plain(error)
            ),
            ClientError::Read(address, error) => write!(f, "cannot read the answer of {address}: {}", plain(error)),
            ClientError::Broken(address) => {
                write!(f, "cannot read the answer of {address}: it is cut, or of no agent (-address HOST:PORT)")
            }
            ClientError::Refused(address, said) => write!(f, "{address} refuses: {said}"),
        }
    }
}

/// Without "(os error N)", which helps nobody.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_ascii_lowercase()
}

/// Where to ask: what was said, else what process 1 listens on where that is an agent (in its own container), else
/// the usual port.
pub fn address(said: Option<&str>) -> String {
    said.map(str::to_owned).or_else(of_process_1).map_or_else(|| USUAL.to_owned(), |text| reachable(&text))
}

fn of_process_1() -> Option<String> {
    let line = std::fs::read("/proc/1/cmdline").ok()?;
    let mut words = line.split(|byte| *byte == 0).filter_map(|word| std::str::from_utf8(word).ok());
    words.next().filter(|program| program.ends_with("zxporter-netmon"))?;
    let words: Vec<&str> = words.collect();
    bound(&words).map(str::to_owned)
}

/// What `-metrics-bind-address` says among arguments.
fn bound<'a>(words: &[&'a str]) -> Option<&'a str> {
    words.iter().enumerate().rev().find_map(|(at, word)| {
        let rest =
            word.trim_start_matches('-').strip_prefix("metrics-bind-address").filter(|_| word.starts_with('-'))?;
        rest.strip_prefix('=').or_else(|| if rest.is_empty() { words.get(at + 1).copied() } else { None })
    })
}

/// An address to listen on, as one to connect to.
fn reachable(listens: &str) -> String {
    match listens.rsplit_once(':') {
        Some(("" | "0.0.0.0" | "[::]" | "*", port)) => format!("127.0.0.1:{port}"),
        _ => listens.to_owned(),
    }
}

/// Gets a path, and returns the body of the answer. No step takes longer than `patience_s`.
///
/// # Errors
/// [`ClientError`]; a status other than 200 is one.
pub fn get(address: &str, path: &str, patience_s: u64) -> Result<String, ClientError> {
    let places = address.to_socket_addrs().map_err(|_| ClientError::Address(address.to_owned()))?;
    let mut stream = connect(address, places)?;
    let cannot_read = |error| ClientError::Read(address.to_owned(), error);
    let patience = Some(Duration::from_secs(patience_s));
    stream.set_read_timeout(patience).map_err(cannot_read)?;
    stream.set_write_timeout(patience).map_err(cannot_read)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(cannot_read)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(cannot_read)?;
    let broken = || ClientError::Broken(address.to_owned());
    let (status, body) = body(&answer).ok_or_else(broken)?;
    let text = String::from_utf8(body).map_err(|_| broken())?;
    if status == 200 { Ok(text) } else { Err(ClientError::Refused(address.to_owned(), text.trim().to_owned())) }
}

fn connect(address: &str, places: impl Iterator<Item = SocketAddr>) -> Result<TcpStream, ClientError> {
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for place in places {
        match TcpStream::connect_timeout(&place, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(ClientError::Connect(address.to_owned(), last))
}

/// Status and body of an answer that ends with its connection, whole or `None` (RFC 9112 6.3).
fn body(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(answer.get(..end)?).ok()?;
    let rest = answer.get(end + 4..)?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        if name.eq_ignore_ascii_case("content-length") {
            let length: usize = value.parse().ok()?;
            return (rest.len() == length).then(|| (status, rest.to_vec()));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Some((status, unchunked(rest)?));
        }
    }
    None
}

fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::with_capacity(rest.len());
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(rest.get(..end)?).ok()?, 16).ok()?;
        if length == 0 {
            return Some(whole);
        }
        let chunk = rest.get(end + 2..)?;
        whole.extend_from_slice(chunk.get(..length)?);
        rest = chunk.get(length..)?.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests;
