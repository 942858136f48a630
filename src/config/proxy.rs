//! Which proxy a URL is reached by: `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` as Go's `ProxyFromEnvironment` reads them.
//!
//! One difference: Go ignores a proxy whose value it cannot read, and fails at each request where it does not know the
//! scheme. Here both end the start. Text in, choice out: nothing here connects.

use std::fmt;
use std::net::IpAddr;

use crate::flow::{Addr, Cidr};

/// An HTTP proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Whether it is spoken to over TLS.
    pub is_https: bool,
    /// Its name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User and password, separated by a colon, as they are sent.
    pub credentials: Option<String>,
    /// Where it was named: a variable, or `proxy-url`.
    pub named_by: &'static str,
}

impl Proxy {
    /// From `scheme://user:password@host:port`, of which only the host need be there.
    ///
    /// # Errors
    /// What is wanted in its place.
    pub fn parse(text: &str, named_by: &'static str) -> Result<Proxy, &'static str> {
        const WANTED: &str = "a proxy such as http://proxy.example.com:3128";
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => (scheme.to_ascii_lowercase(), rest),
            _ => ("http".to_owned(), text),
        };
        let (is_https, default_port) = match scheme.as_str() {
            "http" => (false, 80),
            "https" => (true, 443),
            _ => return Err("a proxy that begins with http:// or https://: no other is supported"),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (credentials, host) = match authority.rsplit_once('@') {
            Some((credentials, host)) => (Some(decoded(credentials).ok_or(WANTED)?), host),
            None => (None, authority),
        };
        let (host, port) = host_and_port(host).ok_or(WANTED)?;
        let port = match port {
            "" => default_port,
            port => port.parse().ok().filter(|port| *port != 0).ok_or(WANTED)?,
        };
        // As in a URL without a password.
        let credentials = credentials.map(|text| if text.contains(':') { text } else { format!("{text}:") });
        Ok(Proxy { is_https, host: host.to_owned(), port, credentials, named_by })
    }

    /// `host:port`, with brackets around an IPv6 address.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Proxy {
    /// As it may be shown: without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_https { "https" } else { "http" }, self.authority())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a URL is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// No proxy is named for its scheme.
    Direct,
    /// One is, but its host is excepted: by `NO_PROXY`, or because it is this machine.
    Excepted(Proxy),
    /// By this proxy.
    Through(Proxy),
}

impl Route {
    /// The proxy in use.
    pub fn proxy(&self) -> Option<&Proxy> {
        match self {
            Route::Through(proxy) => Some(proxy),
            Route::Direct | Route::Excepted(_) => None,
        }
    }
}

/// A value that cannot be used. What it holds is not shown: it may be a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyError {
    /// The variable.
    pub variable: &'static str,
    /// What is wanted.
    pub wanted: &'static str,
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid value for {} (not shown): want {}", self.variable, self.wanted)
    }
}

/// The route to `url`, which is `scheme://host`, perhaps with a port and a path.
///
/// # Errors
/// Where the variable for its scheme cannot be used.
pub fn route(url: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Route, ProxyError> {
    let given = |names: [&'static str; 2]| {
        names.into_iter().find_map(|name| environment(name).filter(|text| !text.is_empty()).map(|text| (name, text)))
    };
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let is_https = scheme.eq_ignore_ascii_case("https");
    let named = given(if is_https { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] });
    let Some((variable, text)) = named else { return Ok(Route::Direct) };
    let proxy = Proxy::parse(&text, variable).map_err(|wanted| ProxyError { variable, wanted })?;
    if !is_https && given(["REQUEST_METHOD"; 2]).is_some() {
        // A CGI program's client sets HTTP_PROXY by the header Proxy (golang.org/s/cgihttpproxy).
        return Err(ProxyError { variable, wanted: "it unset where REQUEST_METHOD is set, as for a CGI program" });
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = host_and_port(authority).unwrap_or((authority, ""));
    let port = if !port.is_empty() {
        port
    } else if is_https {
        "443"
    } else {
        "80"
    };
    let exceptions = given(["NO_PROXY", "no_proxy"]).map_or(String::new(), |(_, text)| text);
    Ok(if is_excepted(host, port, &exceptions) { Route::Excepted(proxy) } else { Route::Through(proxy) })
}

/// Whether a host is reached directly though there is a proxy.
fn is_excepted(host: &str, port: &str, exceptions: &str) -> bool {
    if host == "localhost" {
        return true;
    }
    let address = host.split('%').next().and_then(|bare| bare.parse::<IpAddr>().ok());
    let address = address.map(|address| address.to_canonical());
    if address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    let host = host.trim().to_ascii_lowercase();
    let entries = || exceptions.split(',').map(|entry| entry.trim().to_ascii_lowercase());
    // One star among them excepts everything.
    entries().any(|entry| entry == "*" || !entry.is_empty() && excepts(&entry, &host, port, address))
}

/// Whether one entry of `NO_PROXY` names the host.
fn excepts(entry: &str, host: &str, port: &str, address: Option<IpAddr>) -> bool {
    if let Some(range) = range(entry) {
        return address.is_some_and(|address| range.contains(Addr::from(address)));
    }
    let (name, entry_port) = match host_and_port(entry) {
        Some((name, entry_port)) if entry.contains(':') && !entry.ends_with(']') => (name, entry_port),
        // `:80`, which names no host.
        // Go reads brackets only before a port.
        Some(_) if entry.starts_with('[') => return false,
        None if entry.starts_with(':') && !entry[1..].contains(':') => return false,
        _ => (entry, ""),
    };
    if !entry_port.is_empty() && entry_port != port {
        return false;
    }
    match (name.parse::<IpAddr>(), address) {
        (Ok(named), address) => return address == Some(named.to_canonical()),
        // A name never stands for an address.
        (Err(_), Some(_)) => return false,
        (Err(_), None) => {}
    }
    let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    match name.strip_prefix('.') {
        // Its subdomains only.
        Some(_) => host.ends_with(name),
        None => host.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.')),
    }
}

/// `address/length`.
fn range(entry: &str) -> Option<Cidr> {
    let (address, length) = entry.split_once('/')?;
    let is_number = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    Cidr::new(Addr::from(address.parse::<IpAddr>().ok()?), length.parse().ok().filter(|_| is_number)?)
}

/// Splits `host`, `host:port`, `[v6]` and `[v6]:port`; `None` where the host is missing or cannot be one.
fn host_and_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, if after.is_empty() { "" } else { after.strip_prefix(':')? })
        }
        None => text.rsplit_once(':').unwrap_or((text, "")),
    };
    let is_v6 = text.starts_with('[');
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}[]@".contains(&byte) && (is_v6 || byte != b':');
    (!host.is_empty() && host.bytes().all(fits)).then_some((host, port))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// Percent signs decoded; `None` where one is followed by no two digits, or what it says is no text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        bytes.push(match first {
            b'%' => {
                let (digits, after) = tail.split_at_checked(2)?;
                rest = after;
                u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?
            }
            byte => *byte,
        });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains(char::is_control))
}

#[cfg(test)]
mod tests;
