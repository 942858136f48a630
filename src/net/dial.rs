//! Connects ureq to a server: a socket, a proxy where there is one, TLS where the URL says so.
//!
//! A proxy is asked to CONNECT for `https://`. For `http://` it is sent the request itself, with the whole URL in the
//! first line (RFC 9112 3.2.2), as Go does. Proxies allow CONNECT to few ports.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::flight::Flight;
use super::socket::{Watched, open};
use super::tls;
use super::trouble::{NetError, Peer};
use crate::config::proxy::Proxy;

/// Of a proxy's answer to CONNECT, what is read.
const ANSWER_MAX_BYTES: usize = 8 << 10;

/// How connections are made.
#[derive(Debug)]
pub struct Dialer {
    /// The request that they are for.
    pub flight: Arc<Flight>,
    /// Through whom.
    pub proxy: Option<Proxy>,
    /// How TLS is spoken, or why it cannot be.
    pub tls: Result<Arc<ClientConfig>, String>,
}

impl Connector for Dialer {
    type Out = Box<dyn Transport>;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Self::Out>, Error> {
        let mut transport: Box<dyn Transport> = Box::new(open(&self.flight, details, self.proxy.is_some())?);
        let host = details.uri.host().unwrap_or_default();
        let authority = Peer::of(&details.uri.to_string(), None).authority;
        if let Some(proxy) = &self.proxy {
            if proxy.is_https {
                transport = tls::wrap(transport, &proxy.host, &self.tls, details)?;
            }
            if details.needs_tls() {
                tunnel(&mut *transport, proxy, &authority, details.timeout)?;
            } else {
                transport = Box::new(Forwarded::new(transport, proxy, &authority));
            }
        }
        if details.needs_tls() {
            transport = tls::wrap(transport, host, &self.tls, details)?;
        }
        Ok(Some(Box::new(Watched::new(transport, Arc::clone(&self.flight)))))
    }
}

fn authorization(proxy: &Proxy) -> String {
    let basic = |text: &String| format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(text));
    proxy.credentials.as_ref().map(basic).unwrap_or_default()
}

/// Sends all of `bytes`, however small the buffer.
fn transmit(inner: &mut dyn Transport, bytes: &[u8], timeout: NextTimeout) -> Result<(), Error> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let room = inner.buffers().output();
        let length = rest.len().min(room.len());
        let (part, after) = rest.split_at(length);
        room.get_mut(..length).unwrap_or_default().copy_from_slice(part);
        inner.transmit_output(length, timeout)?;
        rest = after;
    }
    Ok(())
}

/// Asks the proxy for a tunnel.
fn tunnel(inner: &mut dyn Transport, proxy: &Proxy, authority: &str, timeout: NextTimeout) -> Result<(), Error> {
    let agent = concat!("zxporter-netmon/", env!("CARGO_PKG_VERSION"));
    let head = format!(
        "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {agent}\r\n{}\r\n",
        authorization(proxy)
    );
    transmit(inner, head.as_bytes(), timeout)?;
    let mut answer = Vec::new();
    loop {
        // Byte by byte: what follows the head is the server's.
        let buffered = inner.buffers().input();
        let length = buffered.len();
        let end = |at: usize| answer.iter().chain(&buffered[..at]).rev().take(4).copied().eq(*b"\n\r\n\r");
        let whole = (1..=length).find(|at| end(*at));
        answer.extend_from_slice(&buffered[..whole.unwrap_or(length)]);
        inner.buffers().input_consume(whole.unwrap_or(length));
        if whole.is_some() {
            break;
        }
        if answer.len() > ANSWER_MAX_BYTES || !inner.await_input(timeout)? {
            break;
        }
    }
    let line = String::from_utf8_lossy(answer.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
    let line: String = line.chars().filter(|c| !c.is_control()).take(100).collect();
    match line.split(' ').nth(1) {
        Some(status) if line.starts_with("HTTP/1.") && status.len() == 3 && status.starts_with('2') => Ok(()),
        _ => Err(NetError::Proxy(line).into()),
    }
}

/// The way to a server without TLS through a proxy: each request's first line is made absolute.
#[derive(Debug)]
struct Forwarded {
    inner: Box<dyn Transport>,
    /// Goes before the path.
    origin: String,
    /// Goes behind the first line.
    authorization: String,
    /// What is sent next begins a request.
    begins: bool,
}

impl Forwarded {
    fn new(inner: Box<dyn Transport>, proxy: &Proxy, authority: &str) -> Forwarded {
        Forwarded { inner, origin: format!("http://{authority}"), authorization: authorization(proxy), begins: true }
    }
}

impl Transport for Forwarded {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if !std::mem::take(&mut self.begins) {
            return self.inner.transmit_output(amount, timeout);
        }
        let head = self.inner.buffers().output().get(..amount).unwrap_or_default().to_vec();
        let path = head.iter().position(|byte| *byte == b' ').map_or(0, |at| at + 1);
        let line = head.iter().position(|byte| *byte == b'\n').map_or(head.len(), |at| at + 1);
        let parts = [
            &head[..path],
            self.origin.as_bytes(),
            head.get(path..line).unwrap_or_default(),
            self.authorization.as_bytes(),
            &head[line..],
        ];
        transmit(&mut *self.inner, &parts.concat(), timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.begins = true;
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
