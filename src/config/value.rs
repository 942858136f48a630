//! Parses single values. Each parser returns the field's value, or what is allowed instead.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::duration;
use crate::clock::{MS, SECOND};
use crate::flow::{Addr, Cidr};

/// What is allowed: the text that follows "want" in the message.
pub type Wanted = String;

/// Go's `strconv.ParseBool`.
pub fn switch(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The longest interval: a day. A longer one is a typing error, and sums of intervals cannot overflow.
const LONGEST_NS: u64 = 24 * 3_600 * SECOND;

/// A duration from `least_ns` (whole milliseconds) to a day.
pub fn interval_ns(text: &str, least_ns: u64) -> Result<u64, Wanted> {
    duration::parse(text).filter(|ns| (least_ns..=LONGEST_NS).contains(ns)).ok_or_else(|| {
        let least = match least_ns / MS {
            ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
            ms => format!("{ms}ms"),
        };
        format!("a duration from {least} to 24h, such as 5s or 1m30s")
    })
}

/// Parses `10.0.0.0/8,fd00::/8`; a bare address is a range of one. An empty text is an empty list.
pub fn ranges(text: &str) -> Result<Vec<Cidr>, Wanted> {
    items(text, range).ok_or_else(|| "address ranges separated by commas, such as 10.0.0.0/8,fd00::/8".to_owned())
}

fn range(text: &str) -> Option<Cidr> {
    let Some((addr, prefix)) = text.split_once('/') else {
        let addr: IpAddr = text.parse().ok()?;
        return Cidr::new(addr.into(), if addr.is_ipv4() { 32 } else { 128 });
    };
    let addr: IpAddr = addr.parse().ok()?;
    if prefix.starts_with('+') {
        return None;
    }
    // A mapped IPv6 address would be taken for IPv4, with a prefix of another meaning.
    if let IpAddr::V6(v6) = addr
        && Addr::from(IpAddr::V6(v6)).is_v4()
    {
        return None;
    }
    Cidr::new(addr.into(), prefix.parse().ok()?)
}

/// The value of a label: up to 63 letters, digits, dots, dashes and underscores; may be empty.
pub fn label(text: &str) -> Result<String, Wanted> {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let is_label = text.len() <= 63 && text.bytes().all(is_part);
    is_label.then(|| text.to_owned()).ok_or_else(|| "up to 63 letters, digits, dots, dashes or underscores".to_owned())
}

/// Parses `4789,8472`. An empty text is an empty list.
pub fn ports(text: &str) -> Result<Vec<u16>, Wanted> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0 && !text.starts_with('+'));
    items(text, port).ok_or_else(|| "ports from 1 to 65535 separated by commas, such as 4789,8472".to_owned())
}

fn items<T>(text: &str, one: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    text.split(',').map(|item| one(item.trim())).collect()
}

/// Parses a whole number from `least` to `most`.
pub fn number(text: &str, least: u32, most: u32) -> Result<u32, Wanted> {
    let number = text.parse::<u32>().ok().filter(|n| !text.starts_with('+') && (least..=most).contains(n));
    number.ok_or_else(|| format!("a whole number from {least} to {most}"))
}

/// `:8081` (every address of both families), `127.0.0.1:8081`, `[::1]:8081`, `localhost:8081`.
pub fn bind_address(text: &str) -> Result<SocketAddr, Wanted> {
    let wanted = || "an address and a port, such as :8081, 127.0.0.1:8081 or [::1]:8081".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(wanted)?;
    if port.starts_with('+') {
        return Err(wanted());
    }
    let port: u16 = port.parse().map_err(|_| wanted())?;
    let ip = match host {
        "" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        _ => match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(v6) => IpAddr::V6(v6.parse().map_err(|_| wanted())?),
            None => IpAddr::V4(host.parse().map_err(|_| wanted())?),
        },
    };
    Ok(SocketAddr::new(ip, port))
}

/// A base URL, without its trailing slashes.
pub fn base_url(text: &str) -> Result<String, Wanted> {
    let url = text.trim().trim_end_matches('/');
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    // The host follows the last "@" before the path.
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let clean = rest.bytes().all(|b| b.is_ascii_graphic() && !b"?#\\\"<>^`{|}".contains(&b));
    if known && clean && has_host(host) {
        Ok(format!("{}://{rest}", scheme.to_ascii_lowercase()))
    } else {
        Err("a URL such as https://dakr.example.com or http://10.0.0.1:8080/path, without a query".to_owned())
    }
}

/// Checks `host`, `host:port`, `[v6]` or `[v6]:port`: the host is not empty, the port is a number.
fn has_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, port)) if v6.parse::<Ipv6Addr>().is_ok() => (v6, port),
        Some(_) => return false,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port_fits = match port.strip_prefix(':') {
        Some(port) => port.parse::<u16>().is_ok_and(|n| n != 0 && !port.starts_with('+')),
        None => port.is_empty(),
    };
    !host.is_empty() && port_fits && !host.contains('[')
}

/// Removes user name and password from a URL, so that it may be shown.
pub fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// Parses a bearer token. White space around it is cut, for files end with a line feed. Within it, only visible ASCII
/// is allowed, because the token becomes a header.
pub fn token(text: &str) -> Result<String, Wanted> {
    let token = text.trim();
    if token.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(token.to_owned())
    } else {
        Err("a token of visible ASCII characters, without white space within".to_owned())
    }
}

/// Parses a name for headers and rows: visible ASCII, no slash, at most 253 bytes (the longest DNS name).
pub fn name(text: &str) -> Result<String, Wanted> {
    let name = text.trim();
    if name.len() <= 253 && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/') {
        Ok(name.to_owned())
    } else {
        Err("a name of at most 253 visible ASCII characters without white space or slash".to_owned())
    }
}

/// Parses `metrics.example.com,node-a`: names that hosts have in URLs.
pub fn names(text: &str) -> Result<Vec<String>, Wanted> {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let one = |text: &str| {
        let name = text.strip_suffix('.').unwrap_or(text);
        (!name.is_empty() && name.bytes().all(is_part)).then(|| name.to_owned())
    };
    items(text, one).ok_or_else(|| "names of hosts without ports, separated by commas".to_owned())
}

/// Converts the host's name to the form of [`name`]: other characters become `-`, an empty name `localhost`.
pub fn host_name(text: &str) -> String {
    let fits = |c: char| c.is_ascii_graphic() && c != '/';
    let name: String = text.trim().chars().take(253).map(|c| if fits(c) { c } else { '-' }).collect();
    if name.is_empty() { "localhost".to_owned() } else { name }
}
