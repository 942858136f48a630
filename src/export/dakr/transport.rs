//! One HTTP/1.1 request to DAKR and its answer: TLS, proxy, limits, and where a failed one failed.
//!
//! Knows nothing of framings or batches. What it logs holds neither the token nor the credentials of a URL.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::{Agent, SendBody};

use super::framing::{MAX_ANSWER_BYTES, Reply};
use crate::config::proxy::Proxy;
use crate::net::dial::Dialer;
use crate::net::flight::{Flight, Outgoing};
use crate::net::socket::NameResolver;
use crate::net::tls::Trust;
use crate::net::trouble::{Peer, in_words};
use crate::sys::small_file;

/// How long finding the host's addresses may take, of the 15 s that a request has. Six names of a search list may be
/// asked, and all but one get no answer.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A bundle of every public authority is a quarter of it.
const CA_FILE_MAX_BYTES: u64 = 1 << 20;

pub struct Call<'a> {
    /// What follows the base URL, with its leading slash.
    pub path: &'a str,
    pub headers: &'a [(&'static str, String)],
    pub body: &'a [u8],
}

/// A request without an answer, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server cannot have had the whole request.
    Unsent(String),
    /// It may have had it.
    Unknown(String),
}

/// Carries requests. Real over [`Http`]; scripted in tests.
pub trait Transport: Send {
    /// Sends a request and waits for its answer until `until_ns` on the monotonic clock at the latest.
    fn send(&mut self, call: &Call<'_>, until_ns: u64) -> Result<Reply, Failure>;

    /// Whom it sends to, for messages.
    fn peer(&self) -> String {
        "DAKR".to_owned()
    }
}

/// The real transport.
pub struct Http {
    base: String,
    ca_file: Option<PathBuf>,
    proxy: Option<Proxy>,
    flight: Arc<Flight>,
    /// Made at the first send, and anew when the CA file changes: ureq keeps the certificates for an agent's life.
    agent: Option<(Agent, Option<SystemTime>)>,
}

impl Http {
    /// To `base_url`, trusting `ca_file` (PEM) beside the system's certificates.
    pub fn new(base_url: &str, ca_file: Option<&Path>, proxy: Option<Proxy>) -> Http {
        Http {
            base: without_credentials(base_url.trim_end_matches('/')),
            ca_file: ca_file.map(Path::to_owned),
            proxy,
            flight: Flight::new(),
            agent: None,
        }
    }

    /// By which other threads end requests.
    pub fn flight(&self) -> Arc<Flight> {
        self.flight.clone()
    }

    fn agent(&mut self) -> Result<Agent, String> {
        let changed = self.ca_file.as_ref().and_then(|file| std::fs::metadata(file).ok()?.modified().ok());
        if let Some((agent, made_for)) = &self.agent
            && *made_for == changed
        {
            return Ok(agent.clone());
        }
        let agent = self.build()?;
        self.agent = Some((agent.clone(), changed));
        Ok(agent)
    }

    fn build(&self) -> Result<Agent, String> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_resolve(Some(RESOLVE_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            // 2 x 128 KiB by default.
            .input_buffer_size(16 << 10)
            .output_buffer_size(16 << 10)
            .max_response_header_size(32 << 10)
            // Kept for the messages of one batch, not until the next flush. A load balancer may have forgotten a
            // connection that was idle.
            .max_idle_age(Duration::from_secs(10));
        let tls = self.tls();
        if let (Err(why), true) = (&tls, self.base.starts_with("https:")) {
            return Err(why.clone());
        }
        let resolver =
            NameResolver { flight: Some(self.flight.clone()), proxy: self.proxy.clone(), ..NameResolver::default() };
        let dialer = Dialer { flight: self.flight.clone(), proxy: self.proxy.clone(), tls };
        Ok(Agent::with_parts(config.build(), dialer, resolver))
    }

    /// How TLS is spoken, with DAKR or with a proxy.
    fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        if !self.base.starts_with("https:") && self.proxy.as_ref().is_none_or(|proxy| !proxy.is_https) {
            return Err("no TLS is wanted here".to_owned());
        }
        let mut trust = Trust {
            roots: rustls_native_certs::load_native_certs().certs,
            own: Vec::new(),
            cure: "name a file with its authority's certificate by -ca-file".to_owned(),
        };
        if let Some(file) = &self.ca_file {
            let pem = small_file::read(file, CA_FILE_MAX_BYTES)
                .map_err(|error| format!("cannot read CA file {}: {error} (-ca-file)", file.display()))?;
            trust.own = CertificateDer::pem_slice_iter(&pem).flatten().collect();
            if trust.own.is_empty() {
                return Err(format!("no certificate in CA file {} (-ca-file)", file.display()));
            }
            trust.roots.extend(trust.own.iter().cloned());
            trust.cure = format!("add its authority's certificate to {} (-ca-file)", file.display());
        }
        if trust.roots.is_empty() {
            return Err("no CA certificates on this system (SSL_CERT_FILE, -ca-file)".to_owned());
        }
        trust.client_config()
    }

    fn exchange(&self, agent: &Agent, call: &Call<'_>) -> Result<Reply, ureq::Error> {
        let mut request = agent.post(format!("{}{}", self.base, call.path));
        for (name, value) in call.headers {
            request = request.header(*name, value);
        }
        let mut body = Outgoing::new(call.body, self.flight.clone());
        let mut response =
            request.header("content-length", call.body.len().to_string()).send(SendBody::from_reader(&mut body))?;
        let mut reply = Reply { status: response.status().as_u16(), ..Reply::default() };
        for (name, value) in response.headers() {
            reply.headers.push((name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        }
        // A status that came is worth more than a body that did not: most decide by themselves.
        let limit = MAX_ANSWER_BYTES as u64;
        match response.body_mut().with_config().limit(limit).read_to_vec() {
            Ok(body) => reply.body = body,
            Err(error) => {
                log::debug!("the answer is truncated: {error}");
                reply.cut = true;
            }
        }
        Ok(reply)
    }
}

impl Transport for Http {
    fn peer(&self) -> String {
        Peer::of(&self.base, self.proxy.as_ref()).to_string()
    }

    fn send(&mut self, call: &Call<'_>, until_ns: u64) -> Result<Reply, Failure> {
        let agent = self.agent().map_err(Failure::Unsent)?;
        self.flight.begin(until_ns);
        self.exchange(&agent, call).map_err(|error| match self.flight.left_whole() {
            true => Failure::Unknown(format!("sent, but no answer: {}", in_words(&error))),
            false => Failure::Unsent(in_words(&error)),
        })
    }
}

/// A URL without the user and password that it may hold: for requests (which carry a bearer token) and for logs.
pub fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}
