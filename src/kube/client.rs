//! Sends the two requests to the API server, list and watch, with a limit on every waiting time.
//!
//! A thin layer over `ureq`: address, credentials and their renewal, settings of each request. [`super::watch`] decides
//! when to send which request, `super::failure` what a failed one means.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use k8s_openapi::{ListableResource, Resource};
use ureq::config::Config;
use ureq::http::header;
use ureq::typestate::WithBody;
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, BodyReader, RequestBuilder};

use super::endpoint::{Auth, Endpoint};
use super::exec::{self, Credential};
use super::failure::{failure, printable, refusal};
use super::secret::{Secret, checked_token, read_file};
use super::stopper::Stopper;
use super::tls::{self, Pem};
use super::watch::{Failure, ListVersion};
use crate::clock::{Now, SECOND};
use crate::net::query::encoded;
use crate::net::socket::NameResolver;

/// Age at which a token file is read again. The kubelet rewrites it after 80 % of an hour.
const TOKEN_AGE_NS: u64 = 60 * SECOND;
/// Time between comparisons of certificates with their files.
const TLS_AGE_NS: u64 = 300 * SECOND;
/// A plugin runs again this long before its credential expires.
const EXPIRY_MARGIN_NS: u64 = 60 * SECOND;
/// Shortest time between two runs of a plugin, unless the server refuses what it gave.
const LEAST_USE_NS: u64 = 60 * SECOND;

/// Time limits for the parts of a request.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Name resolution.
    pub resolve: Duration,
    /// Connecting, TLS included.
    pub connect: Duration,
    /// Sending the request.
    pub send: Duration,
    /// Time until the head of the answer. The server may queue a list for 15 s (API priority and fairness).
    pub answer: Duration,
    /// Silence within a list.
    pub list_read: Duration,
    /// A whole list.
    pub list: Duration,
    /// Silence within a watch: longer than the interval of two bookmarks.
    pub watch_read: Duration,
    /// A whole watch: longer than the deadline that we request from the server.
    pub watch: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        let seconds = Duration::from_secs;
        Timeouts {
            resolve: seconds(10),
            connect: seconds(5),
            send: seconds(10),
            answer: seconds(30),
            list_read: seconds(15),
            list: seconds(60),
            watch_read: seconds(150),
            watch: seconds(300),
        }
    }
}

/// What is listed and watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// The pods of a node.
    PodsOf(String),
    /// The pods of the cluster.
    Pods,
    /// The nodes of the cluster.
    Nodes,
}

impl Followed {
    /// The kind of its lists.
    pub fn list_kind(&self) -> &'static str {
        match self {
            Followed::PodsOf(_) | Followed::Pods => Pod::LIST_KIND,
            Followed::Nodes => Node::LIST_KIND,
        }
    }

    /// Path and the constant part of the query, which begins there.
    fn target(&self) -> String {
        let pods = |selector: &str| {
            format!("/api/{}/{}?fieldSelector={}", Pod::API_VERSION, Pod::URL_PATH_SEGMENT, encoded(selector))
        };
        match self {
            Followed::PodsOf(node) => pods(&format!("spec.nodeName={node}")),
            Followed::Pods => pods(LIVING),
            Followed::Nodes => format!("/api/{}/{}?pretty=false", Node::API_VERSION, Node::URL_PATH_SEGMENT),
        }
    }
}

/// With the phase in the selector, lists stay small where there are many finished jobs. The server reports a pod that
/// finishes as deleted, as it was before.
const LIVING: &str = "status.phase!=Succeeded,status.phase!=Failed";

pub struct Client {
    endpoint: Endpoint,
    /// Path and the constant part of the query.
    followed: String,
    /// What else the first list has there. Any later list, and every watch, tells of pods that went from Pending to their
    /// end while nobody looked, with their addresses.
    first: String,
    timeouts: Timeouts,
    stopper: Arc<Stopper>,
    agent: Option<(Agent, Pem)>,
    /// Time of the last comparison of certificates with their files; `None` forces one.
    tls_checked_ns: Option<u64>,
    token: Option<(Secret, u64)>,
    /// The plugin's, and until when it is used, monotonic.
    credential: Option<(Credential, u64)>,
    /// Failed renewals of certificates; the old ones stay in use.
    pub renewals_failed: u64,
}

/// The body of an answer.
pub enum Answer {
    Plain(BodyReader<'static>),
    Gzip(Box<MultiGzDecoder<BodyReader<'static>>>),
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Answer::Plain(body) => body.read(buffer),
            Answer::Gzip(body) => body.read(buffer),
        }
    }
}

impl Client {
    /// Follows the pods of a node.
    pub fn new(endpoint: Endpoint, node_name: &str, timeouts: Timeouts, stopper: Arc<Stopper>) -> Client {
        Client::following(endpoint, &Followed::PodsOf(node_name.to_owned()), timeouts, stopper)
    }

    /// Reads no file and opens no connection before the first request.
    pub fn following(endpoint: Endpoint, followed: &Followed, timeouts: Timeouts, stopper: Arc<Stopper>) -> Client {
        let target = format!("{}{}", endpoint.url, followed.target());
        Client {
            endpoint,
            followed: target,
            first: if matches!(followed, Followed::PodsOf(_)) { encoded(&format!(",{LIVING}")) } else { String::new() },
            timeouts,
            stopper,
            agent: None,
            tls_checked_ns: None,
            token: None,
            credential: None,
            renewals_failed: 0,
        }
    }

    /// Requests the list. `more` is the `continue` of an incomplete answer, whose rest is requested.
    pub fn list(&mut self, now: Now, version: &ListVersion, more: Option<&str>) -> Result<Answer, Failure> {
        let mut url = self.followed.clone();
        if *version == ListVersion::Any {
            url.push_str(&self.first);
        }
        match (more, version) {
            // A continued list has its version already.
            (Some(more), _) => url.extend(["&continue=", &encoded(more)]),
            (None, ListVersion::Any) => url.push_str("&resourceVersion=0"),
            (None, ListVersion::AtLeast(version)) => url.extend(["&resourceVersion=", &encoded(version)]),
            (None, ListVersion::Newest) => {}
        }
        let Timeouts { list_read, list, .. } = self.timeouts;
        self.get(now, &url, true, list_read, list)
    }

    /// Asks for one node.
    pub fn node(&mut self, now: Now, name: &str) -> Result<Answer, Failure> {
        let (version, segment) = (Node::API_VERSION, Node::URL_PATH_SEGMENT);
        let url = format!("{}/api/{version}/{segment}/{}", self.endpoint.url, encoded(name));
        let Timeouts { list_read, list, .. } = self.timeouts;
        self.get(now, &url, true, list_read, list)
    }

    /// Requests the changes since `version`.
    pub fn watch(&mut self, now: Now, version: &str, timeout_seconds: u32) -> Result<Answer, Failure> {
        let url = format!(
            "{}&watch=true&allowWatchBookmarks=true&timeoutSeconds={timeout_seconds}&resourceVersion={}",
            self.followed,
            encoded(version)
        );
        let Timeouts { watch_read, watch, .. } = self.timeouts;
        self.get(now, &url, false, watch_read, watch)
    }

    /// Asks for a ConfigMap.
    pub fn config_map(&mut self, now: Now, namespace: &str, name: &str) -> Result<Answer, Failure> {
        let url = format!("{}/{}", self.config_maps(namespace), encoded(name));
        let Timeouts { list_read, list, .. } = self.timeouts;
        self.get(now, &url, true, list_read, list)
    }

    /// Changes parts of a ConfigMap (RFC 7386).
    pub fn patch_config_map(&mut self, now: Now, namespace: &str, name: &str, body: &str) -> Result<(), Failure> {
        let url = format!("{}/{}", self.config_maps(namespace), encoded(name));
        let request = self.agent(now)?.patch(&url);
        self.send(now, request, "application/merge-patch+json", body)
    }

    /// Makes a ConfigMap.
    pub fn create_config_map(&mut self, now: Now, namespace: &str, body: &str) -> Result<(), Failure> {
        let url = self.config_maps(namespace);
        let request = self.agent(now)?.post(&url);
        self.send(now, request, "application/json", body)
    }

    fn config_maps(&self, namespace: &str) -> String {
        let (version, segment) = (ConfigMap::API_VERSION, ConfigMap::URL_PATH_SEGMENT);
        format!("{}/api/{version}/namespaces/{}/{segment}", self.endpoint.url, encoded(namespace))
    }

    fn send(&mut self, now: Now, request: RequestBuilder<WithBody>, kind: &str, body: &str) -> Result<(), Failure> {
        let mut request = request.header(header::ACCEPT, "application/json").header(header::CONTENT_TYPE, kind);
        if let Some(Secret(token)) = self.token(now)? {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.config().timeout_global(Some(self.timeouts.list)).build();
        let response = request.send(body).map_err(|error| failure(&error))?;
        if !matches!(response.status().as_u16(), 200 | 201) {
            return Err(refusal(response, now));
        }
        // To its end, so that the connection can be used again.
        let mut rest = response.into_body().into_reader();
        io::copy(&mut rest, &mut io::sink()).map_err(|error| Failure::Network(printable(&error.to_string())))?;
        Ok(())
    }

    /// The server refused our credentials: the next request reads them again.
    pub fn forget_credentials(&mut self) {
        self.token = None;
        self.credential = None;
        self.tls_checked_ns = None;
    }

    /// A certificate was refused: the next request compares the roots with their file.
    pub fn recheck_tls(&mut self) {
        self.tls_checked_ns = None;
    }

    fn get(&mut self, now: Now, url: &str, gzip: bool, read: Duration, whole: Duration) -> Result<Answer, Failure> {
        let token = self.token(now)?;
        let agent = self.agent(now)?;
        let mut request = agent.get(url).header(header::ACCEPT, "application/json");
        if gzip {
            request = request.header(header::ACCEPT_ENCODING, "gzip");
        }
        if let Some(Secret(token)) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.config().timeout_per_read(Some(read)).timeout_global(Some(whole)).build();
        let response = request.call().map_err(|error| failure(&error))?;
        if response.status() != 200 {
            return Err(refusal(response, now));
        }
        let head = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = head(header::CONTENT_TYPE);
        if !kind.starts_with("application/json") {
            return Err(Failure::Unreadable(format!(
                "{} instead of JSON (is there a proxy in between?)",
                printable(kind)
            )));
        }
        let gzipped = match head(header::CONTENT_ENCODING) {
            "" | "identity" => false,
            "gzip" => true,
            other => return Err(Failure::Unreadable(format!("content encoding {}", printable(other)))),
        };
        let body = response.into_body().into_reader();
        Ok(if gzipped { Answer::Gzip(Box::new(MultiGzDecoder::new(body))) } else { Answer::Plain(body) })
    }

    /// The bearer token to use now.
    fn token(&mut self, now: Now) -> Result<Option<Secret>, Failure> {
        match &self.endpoint.auth {
            Auth::Anonymous => Ok(None),
            Auth::Token(token) => Ok(Some(token.clone())),
            Auth::TokenFile(path) => {
                if let Some((token, read_ns)) = &self.token
                    && now.mono_ns.saturating_sub(*read_ns) < TOKEN_AGE_NS
                {
                    return Ok(Some(token.clone()));
                }
                let origin = path.display().to_string();
                match read_file(path).and_then(|text| checked_token(&text, &origin)) {
                    Ok(token) => self.token = Some((token, now.mono_ns)),
                    // The file may be in the middle of a replacement; the old token is better than none.
                    Err(why) => match &mut self.token {
                        Some(kept) => {
                            log::warn!("cannot renew the API token, the old one stays in use: {why}");
                            kept.1 = now.mono_ns;
                        }
                        None => return Err(Failure::Credentials(why)),
                    },
                }
                Ok(self.token.as_ref().map(|(token, _)| token.clone()))
            }
            Auth::Plugin(plugin) => {
                if self.credential.as_ref().is_none_or(|(_, until_ns)| now.mono_ns >= *until_ns) {
                    let stopper = self.stopper.clone();
                    let fresh = plugin.run(exec::LIMIT_NS, &|| stopper.stopped()).map_err(Failure::Credentials)?;
                    if fresh.client != self.credential.as_ref().and_then(|(old, _)| old.client.clone()) {
                        self.tls_checked_ns = None;
                    }
                    let until_ns = used_until_ns(now, fresh.expires_ns);
                    self.credential = Some((fresh, until_ns));
                }
                Ok(self.credential.as_ref().and_then(|(credential, _)| credential.token.clone()))
            }
        }
    }

    /// Returns the HTTP client. It is rebuilt when certificates change, because a client keeps those it started with.
    fn agent(&mut self, now: Now) -> Result<Agent, Failure> {
        let due = self.tls_checked_ns.is_none_or(|checked| now.mono_ns.saturating_sub(checked) >= TLS_AGE_NS);
        if let Some((agent, _)) = self.agent.as_ref().filter(|_| !due) {
            return Ok(agent.clone());
        }
        let secure = self.endpoint.url.starts_with("https://");
        let client = self.credential.as_ref().and_then(|(credential, _)| credential.client.clone());
        let client = client.map(|(certificate, Secret(key))| (certificate, key.into_bytes()));
        let in_use = self.agent.as_ref().map(|(_, pem)| pem);
        let renewed = tls::read(&self.endpoint, client).and_then(|pem| {
            if in_use == Some(&pem) {
                return Ok(None);
            }
            Ok(Some((self.make_agent(&pem, secure)?, pem)))
        });
        match renewed {
            Ok(Some((agent, pem))) => {
                self.stopper.arm(&agent);
                self.agent = Some((agent, pem));
            }
            Ok(None) => {}
            // A file in the middle of a replacement, or replaced by garbage.
            Err(Failure::Tls(why) | Failure::Credentials(why)) if self.agent.is_some() => {
                self.renewals_failed += 1;
                log::warn!("cannot renew the certificates for the API server, the old ones stay in use: {why}");
            }
            Err(failure) => return Err(failure),
        }
        self.tls_checked_ns = Some(now.mono_ns);
        self.agent.as_ref().map(|(agent, _)| agent.clone()).ok_or(Failure::Network("no client".to_owned()))
    }

    fn make_agent(&self, pem: &Pem, secure: bool) -> Result<Agent, Failure> {
        let proxy = match &self.endpoint.proxy {
            Some(url) => Some(
                ureq::Proxy::new(url)
                    .map_err(|_| Failure::Network("the proxy-url of the kubeconfig cannot be used".to_owned()))?,
            ),
            None => None,
        };
        let Timeouts { resolve, connect, send, answer, .. } = self.timeouts;
        let config: Config = Agent::config_builder()
            .tls_config(tls::settings(pem, self.endpoint.insecure, secure)?)
            .proxy(proxy)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("zxporter-netmon/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(resolve))
            .timeout_connect(Some(connect))
            .timeout_send_request(Some(send))
            .timeout_recv_response(Some(answer))
            .input_buffer_size(16 << 10)
            .output_buffer_size(4 << 10)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .build();
        Ok(Agent::with_parts(config, DefaultConnector::default(), NameResolver::default()))
    }
}

/// Until when a plugin's credential is used, monotonic. The time that it has left is taken from the wall clock once,
/// for that clock may be set later. Where it has expired by our clock, we use it for a while and let the server decide.
fn used_until_ns(now: Now, expires_wall_ns: Option<u64>) -> u64 {
    let left_ns = |at: u64| at.saturating_sub(now.wall_ns.saturating_add(EXPIRY_MARGIN_NS));
    expires_wall_ns.map_or(u64::MAX, |at| now.mono_ns.saturating_add(left_ns(at).max(LEAST_USE_NS)))
}

#[cfg(test)]
mod tests;
