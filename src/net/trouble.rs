//! What stands between us and a peer, in an operator's words: what was done, with whom, what came of it, what to do.
//!
//! The place itself (`host:port`, and the proxy) is said by [`Peer`], once, in front.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::AlertDescription;

use super::resolve::ResolveError;
use crate::config::proxy::Proxy;
use crate::logging::without_numbers;

/// Who is to be reached, and through whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// `host:port`.
    pub authority: String,
    /// The proxy.
    pub proxy: Option<Proxy>,
}

impl Peer {
    /// The peer of a URL, with its port, and without its user.
    pub fn of(url: &str, proxy: Option<&Proxy>) -> Peer {
        let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let port = if scheme.eq_ignore_ascii_case("http") { 80 } else { 443 };
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };
        Peer { authority, proxy: proxy.cloned() }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)?;
        match &self.proxy {
            Some(proxy) => write!(f, " by proxy {proxy} ({})", proxy.named_by),
            None => Ok(()),
        }
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub enum NetError {
    /// The host, or the proxy's, has no address.
    Resolve(ResolveError),
    /// An address of it cannot be connected to: which, whether it is the proxy's, and why.
    Connect(SocketAddr, bool, io::Error),
    /// Nobody answers there within so long.
    Silent(SocketAddr, bool, Duration),
    /// The proxy's answer to CONNECT, its first line.
    Proxy(String),
    /// No TLS can be spoken for want of this.
    NoTls(String),
    /// The peer ended the connection before TLS stood.
    Handshake,
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = |is_proxy: &bool| if *is_proxy { "proxy " } else { "" };
        match self {
            NetError::Resolve(error) => error.fmt(f),
            NetError::Connect(address, is_proxy, error) => {
                let whose = whose(is_proxy);
                match error.kind() {
                    io::ErrorKind::ConnectionRefused => {
                        write!(f, "nothing listens at {whose}{address} (connection refused)")
                    }
                    _ => write!(f, "cannot connect to {whose}{address}: {}", in_short(error)),
                }
            }
            NetError::Silent(address, is_proxy, after) => {
                let (whose, hint) = if *is_proxy { ("proxy ", "") } else { ("", ", or a proxy needed: HTTPS_PROXY") };
                let seconds = after.as_secs_f64();
                write!(f, "cannot connect to {whose}{address}: no answer within {seconds:.0} s (a firewall{hint})")
            }
            NetError::Proxy(line) if line.contains(" 407") => {
                write!(f, "the proxy answers \"{line}\": it wants user and password in its URL")
            }
            NetError::Proxy(line) => {
                write!(f, "the proxy answers \"{line}\": it must allow CONNECT to this host and port")
            }
            NetError::NoTls(why) => f.write_str(why),
            NetError::Handshake => {
                f.write_str("the connection was closed during the TLS handshake (no TLS there, or a firewall's work)")
            }
        }
    }
}

impl std::error::Error for NetError {}

impl From<NetError> for ureq::Error {
    fn from(error: NetError) -> ureq::Error {
        ureq::Error::Other(Box::new(error))
    }
}

/// What ended a request, in words.
pub fn in_words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Other(ours) => ours.to_string(),
        ureq::Error::Rustls(error) => tls(error),
        ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(inner) => tls(inner),
            None => in_short(error),
        },
        ureq::Error::Timeout(ureq::Timeout::Resolve) => "the name servers took too long (/etc/resolv.conf)".to_owned(),
        ureq::Error::Timeout(ureq::Timeout::Connect) => "connecting took too long".to_owned(),
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::HostNotFound => "no such host".to_owned(),
        other => other.to_string(),
    }
}

fn in_short(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the connection was closed without an answer".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset by peer".to_owned(),
        _ => without_numbers(&error.to_string()).to_ascii_lowercase(),
    }
}

fn tls(error: &rustls::Error) -> String {
    use rustls::{CertificateError, Error};
    match error {
        // Said by our own verifier.
        Error::InvalidCertificate(CertificateError::Other(why)) => why.to_string(),
        Error::InvalidCertificate(why) => format!("the server's certificate cannot be used: {why}"),
        Error::InvalidMessage(_) => {
            "the server does not speak TLS there: is this port for http://, without the s?".to_owned()
        }
        Error::AlertReceived(
            AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity,
        )
        | Error::PeerIncompatible(_) => {
            "no version or algorithm of TLS in common (here: 1.2 and 1.3; certificates of RSA, P-256, P-384 and Ed25519, \
             but not P-521)"
                .to_owned()
        }
        Error::AlertReceived(alert) => format!("the server ended the TLS handshake: {alert:?}"),
        other => format!("TLS: {other}"),
    }
}

#[cfg(test)]
mod tests;
