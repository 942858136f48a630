//! A host's addresses, found as Go's resolver finds them. It reads `/etc/hosts`, then asks for each name of the search
//! list in turn, whatever became of the one before it.
//!
//! musl's resolver ends the search at the first suffix that a server does not answer, or answers with a failure. Both files
//! are read anew each time, so a change of theirs holds at once. No thread is started, and nothing waits beyond the deadline.
//! The time is shared among the names: however silent the servers are for one suffix, the last name is asked too.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::ask::{Trouble, Verdict, ask};
use super::files::{Resolv, in_hosts};
use crate::clock;
use crate::sys::small_file;

/// More than any of the two files has: an ad-blocking hosts file is a few megabytes.
const FILE_MAX_BYTES: u64 = 8 << 20;
/// Where a server that is begun with moves on (`options rotate`).
static NEXT_SERVER: AtomicUsize = AtomicUsize::new(0);

/// Why a host has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolveError {
    /// The servers know of no address: the host, and how many names were tried for it.
    NoSuchHost(String, usize),
    /// For one name at least no server said anything of use: the host, that name, and what was in the way.
    Unanswered(String, String, Trouble),
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResolveError::NoSuchHost(host, 1) => write!(f, "cannot resolve {host}: no such host (/etc/resolv.conf)"),
            ResolveError::NoSuchHost(host, tried) => {
                write!(f, "cannot resolve {host}: no such host, nor with any of {} search suffixes", tried - 1)?;
                f.write_str(" (/etc/resolv.conf)")
            }
            ResolveError::Unanswered(host, name, trouble) => {
                let name = name.trim_end_matches('.');
                write!(f, "cannot resolve {host}: {trouble}")?;
                if name != host.trim_end_matches('.') {
                    write!(f, " for {name}")?;
                }
                f.write_str(" (/etc/resolv.conf)")
            }
        }
    }
}

impl std::error::Error for ResolveError {}

/// Where the files are.
#[derive(Clone, Debug)]
pub struct Places {
    /// `resolv.conf`.
    pub resolv: PathBuf,
    /// `hosts`.
    pub hosts: PathBuf,
}

impl Default for Places {
    fn default() -> Places {
        Places { resolv: "/etc/resolv.conf".into(), hosts: "/etc/hosts".into() }
    }
}

/// The addresses of `host`, the one to try first in front. `until_ns` says when to give up, and is asked again and again.
pub fn addresses_of(host: &str, places: &Places, until_ns: &dyn Fn() -> u64) -> Result<Vec<IpAddr>, ResolveError> {
    let text = |path: &Path| {
        let bytes = small_file::read(path, FILE_MAX_BYTES).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let found = in_hosts(&text(&places.hosts), host);
    if !found.is_empty() {
        return Ok(in_order(found));
    }
    let bare = host.trim_end_matches('.').to_ascii_lowercase();
    if bare == "localhost" || bare.ends_with(".localhost") {
        // RFC 6761 6.3.
        return Ok(in_order(vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]));
    }
    let host_name = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let resolv = Resolv::read(&text(&places.resolv), &host_name);
    let candidates = resolv.candidates(host);
    let server_most_ns = resolv.timeout_ns.saturating_mul((resolv.attempts * resolv.servers.len()) as u64);
    let first_server = if resolv.rotates { NEXT_SERVER.fetch_add(1, Ordering::Relaxed) } else { 0 };
    let mut trouble = None;
    for (at, name) in candidates.iter().enumerate() {
        let left_ns = until_ns().saturating_sub(clock::now().mono_ns);
        let share_ns = (left_ns / (candidates.len() - at) as u64).min(server_most_ns);
        match ask(&resolv, first_server, name, share_ns, until_ns) {
            Verdict::Addresses(found) => return Ok(in_order(found)),
            Verdict::Nothing => log::debug!("{name} has no address"),
            Verdict::Unknown(why) => {
                log::debug!("{name}: {why}");
                trouble.get_or_insert((name, why));
            }
        }
    }
    Err(match trouble {
        Some((name, why)) => ResolveError::Unanswered(host.to_owned(), name.clone(), why),
        None => ResolveError::NoSuchHost(host.to_owned(), candidates.len()),
    })
}

/// The order of RFC 6724, as far as it decides between addresses of one host. Addresses that a route leads to come
/// first, then the precedence of its table decides. Equals stay as the server gave them.
fn in_order(mut found: Vec<IpAddr>) -> Vec<IpAddr> {
    found.sort_by_cached_key(|address| (!has_route(*address), precedence(*address)));
    found.dedup();
    found
}

/// Asks the routing table: connecting a UDP socket sends nothing.
fn has_route(address: IpAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(SocketAddr::new(address, 9))).is_ok()
}

/// The less, the earlier (RFC 6724 2.1, of which the rare rest is one).
fn precedence(address: IpAddr) -> u8 {
    match address {
        IpAddr::V6(v6) if v6.is_loopback() => 0,
        IpAddr::V6(v6) if v6.segments()[0] & 0xfe00 == 0xfc00 => 3,
        IpAddr::V6(v6) if v6.segments()[0] == 0x2002 || v6.segments()[..2] == [0x2001, 0] => 4,
        IpAddr::V6(_) => 1,
        IpAddr::V4(_) => 2,
    }
}
