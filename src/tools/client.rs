//! Asks a running agent, over HTTP. It knows no paths.

use std::fmt;
use std::io;
use std::net::ToSocketAddrs;
use std::time::Duration;

use ureq::Agent;
use ureq::unversioned::transport::DefaultConnector;

use crate::logging::without_numbers;
use crate::net::socket::NameResolver;

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
    /// The answer was cut, or is not HTTP.
    Broken(String),
    /// The agent refuses, in these words.
    Refused(String, String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Address(address) => write!(f, "-address {address:?} is no HOST:PORT"),
            ClientError::Connect(address, error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                write!(f, "nothing listens at {address} (is an agent running? -address HOST:PORT asks another)")
            }
            ClientError::Connect(address, error) => write!(
                f,
                "cannot ask the agent on {address}: {} (is one running? -address HOST:PORT asks another)",
                without_numbers(&error.to_string()).to_ascii_lowercase()
            ),
            ClientError::Broken(address) => {
                write!(f, "cannot read the answer of {address}: it is cut, or of no agent (-address HOST:PORT)")
            }
            ClientError::Refused(address, said) => write!(f, "{address} refuses: {said}"),
        }
    }
}

/// Where to ask: the given address, else that of process 1 where it is an agent (in its own container), else the usual
/// port.
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
    // Asked for here, so that what is no address is told from a name that nobody knows.
    address.to_socket_addrs().map_err(|_| ClientError::Address(address.to_owned()))?;
    let patience = Some(Duration::from_secs(patience_s));
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(patience)
        .timeout_recv_body(patience)
        .build();
    let agent = Agent::with_parts(config, DefaultConnector::default(), NameResolver::default());
    let why = |error: ureq::Error| match error {
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            ClientError::Broken(address.to_owned())
        }
        ureq::Error::Io(error) => ClientError::Connect(address.to_owned(), error),
        ureq::Error::Timeout(_) => ClientError::Connect(address.to_owned(), io::ErrorKind::TimedOut.into()),
        _ => ClientError::Broken(address.to_owned()),
    };
    let mut answer = agent.get(format!("http://{address}{path}")).call().map_err(why)?;
    let body = answer.body_mut().with_config().limit(u64::MAX).read_to_vec();
    let text = body.ok().and_then(|body| String::from_utf8(body).ok());
    let text = text.ok_or_else(|| ClientError::Broken(address.to_owned()))?;
    match answer.status().as_u16() {
        200 => Ok(text),
        _ => Err(ClientError::Refused(address.to_owned(), text.trim().to_owned())),
    }
}

#[cfg(test)]
mod tests;
