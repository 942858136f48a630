//! `/etc/resolv.conf` and `/etc/hosts` (resolv.conf(5), hosts(5)), read as Go's resolver reads them.
//!
//! Text in, settings out: nothing here opens a file or asks a server.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::clock::SECOND;

const DNS_PORT: u16 = 53;
/// Name servers that are asked; further lines are passed over.
pub const MAX_SERVERS: usize = 3;
/// Bytes of a name as text, its final dot included (RFC 1035 3.1 counts one more for the root's length).
const NAME_MAX_BYTES: usize = 254;

/// What `resolv.conf` says. Search lines may be of any length: 32 suffixes and 2,048 characters are what Kubernetes allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolv {
    /// The name servers, in the order in which they are asked.
    pub servers: Vec<SocketAddr>,
    /// Suffixes, each with its final dot.
    pub search: Vec<String>,
    /// A name with so many dots is tried as it is before the suffixes.
    pub ndots: usize,
    /// How long one server is waited for.
    pub timeout_ns: u64,
    /// How often each server is asked.
    pub attempts: usize,
    /// A and AAAA are asked one after the other: some firewalls lose the second of two at once.
    pub one_by_one: bool,
    /// Only by TCP.
    pub by_tcp: bool,
    /// Begins with another server each time.
    pub rotates: bool,
}

impl Resolv {
    /// Reads the file. `host_name` is where the suffix comes from if the file names none.
    pub fn read(text: &str, host_name: &str) -> Resolv {
        let mut resolv = Resolv {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout_ns: 5 * SECOND,
            attempts: 2,
            one_by_one: false,
            by_tcp: false,
            rotates: false,
        };
        for line in text.lines().filter(|line| !line.starts_with([';', '#'])) {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") if resolv.servers.len() < MAX_SERVERS => {
                    resolv.servers.extend(words.next().and_then(server));
                }
                // The last of these lines holds, whichever it is.
                Some("domain") => resolv.search = words.take(1).filter_map(suffix).collect(),
                Some("search") => resolv.search = words.filter_map(suffix).collect(),
                Some("options") => words.for_each(|option| resolv.option(option)),
                _ => {}
            }
        }
        if resolv.servers.is_empty() {
            resolv.servers = vec![
                SocketAddr::new(IpAddr::from([127, 0, 0, 1]), DNS_PORT),
                SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), DNS_PORT),
            ];
        }
        if resolv.search.is_empty() {
            resolv.search.extend(host_name.split_once('.').and_then(|(_, domain)| suffix(domain)));
        }
        resolv
    }

    fn option(&mut self, option: &str) {
        let (name, value) = option.split_once(':').unwrap_or((option, ""));
        let number = value.parse::<usize>();
        match (name, number) {
            ("ndots", Ok(dots)) => self.ndots = dots.min(15),
            ("timeout", Ok(seconds)) => self.timeout_ns = (seconds.clamp(1, 30) as u64).saturating_mul(SECOND),
            ("attempts", Ok(attempts)) => self.attempts = attempts.clamp(1, 5),
            ("single-request" | "single-request-reopen", _) => self.one_by_one = true,
            ("use-vc" | "usevc" | "tcp", _) => self.by_tcp = true,
            ("rotate", _) => self.rotates = true,
            _ => {}
        }
    }

    /// The names that stand for `host`, in the order in which they are tried, each with its final dot.
    pub fn candidates(&self, host: &str) -> Vec<String> {
        let fits = |name: &String| name.len() <= NAME_MAX_BYTES;
        if host.ends_with('.') {
            return Some(host.to_owned()).filter(fits).into_iter().collect();
        }
        let as_it_is = format!("{host}.");
        let has_dots = host.bytes().filter(|byte| *byte == b'.').count() >= self.ndots;
        let with_suffixes = self.search.iter().map(|suffix| format!("{as_it_is}{suffix}"));
        let (first, last) = if has_dots { (Some(&as_it_is), None) } else { (None, Some(&as_it_is)) };
        first.cloned().into_iter().chain(with_suffixes).chain(last.cloned()).filter(fits).collect()
    }
}

/// An address, perhaps with the interface that a link-local one is reached by.
fn server(word: &str) -> Option<SocketAddr> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, DNS_PORT));
    }
    let (address, zone) = word.split_once('%')?;
    let index = zone.parse().ok().or_else(|| nix::net::if_::if_nametoindex(zone).ok())?;
    Some(SocketAddr::V6(SocketAddrV6::new(address.parse().ok()?, DNS_PORT, 0, index)))
}

/// The root is no suffix: the name itself is tried anyway.
fn suffix(word: &str) -> Option<String> {
    let bare = word.trim_end_matches('.');
    (!bare.is_empty()).then(|| format!("{bare}."))
}

/// The addresses that `hosts` gives a name. Names are compared without regard to case and final dot.
pub fn in_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let bare = |name: &str| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let wanted = bare(host);
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.split('%').next()?.parse().ok()) else { continue };
        if words.any(|name| bare(name) == wanted) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests;
