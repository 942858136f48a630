//! A client that notices everything: status, head, body, and whether the body is whole.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

/// Connects with bounds on everything.
pub fn connect(addr: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One GET.
pub fn get(addr: SocketAddr, target: &str, patience: Duration) -> Result<Reply, String> {
    let mut stream = connect(addr, patience).map_err(|e| format!("cannot connect: {e}"))?;
    write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").map_err(|e| format!("cannot ask: {e}"))?;
    read(&mut stream)
}

/// Reads an answer up to the end of the connection.
pub fn read(stream: &mut TcpStream) -> Result<Reply, String> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map_err(|e| format!("cut after {} bytes: {e}", bytes.len()))?;
    parse(&bytes)
}

/// Takes an answer apart.
pub fn parse(bytes: &[u8]) -> Result<Reply, String> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(at)) = response.parse(bytes) else {
        return Err(format!("no answer: {}", bytes.escape_ascii()));
    };
    let named = |name: &str| response.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value);
    let body = match (named("transfer-encoding"), named("content-length")) {
        (Some(b"chunked"), None) => unchunk(&bytes[at..]).ok_or("the chunks do not end")?,
        (None, Some(length)) => {
            let body = bytes[at..].to_vec();
            if std::str::from_utf8(length).ok().and_then(|l| l.parse().ok()) != Some(body.len()) {
                return Err(format!("{} bytes of {}", body.len(), length.escape_ascii()));
            }
            body
        }
        _ => return Err("neither length nor chunks".to_owned()),
    };
    let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
    Ok(Reply { status: response.code.unwrap_or(0), head, body })
}

fn unchunk(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((at, length))) = httparse::parse_chunk_size(bytes) else { return None };
        let chunk = bytes.get(at..at + length as usize)?;
        bytes = bytes.get(at + length as usize..)?.strip_prefix(b"\r\n")?;
        if chunk.is_empty() {
            return bytes.is_empty().then_some(body);
        }
        body.extend_from_slice(chunk);
    }
}
