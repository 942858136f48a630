//! Switches connection tracking on if nothing else does: a host without firewall rules tracks nothing.
//!
//! An nf_tables table of our own holds one `ct state` rule in a chain without a hook, which no packet traverses. While it
//! exists, the network namespace tracks connections. It belongs to our socket, so the kernel removes it with the process,
//! even after a crash. Kernels before 5.12 have no owned tables: there the table has a fixed name, is replaced at start
//! and deleted at exit. In a cluster this is never done, because kube-proxy or the CNI decides what is tracked.

use std::io;

use crate::sys::netlink::{Family, RequestSocket};
use crate::wire::netlink::{self, Messages};
use crate::wire::nftables::{self, CtKey, Request};

const FIXED_NAME: &str = "zxporter-netmon";

/// The table, once it exists.
#[derive(Default)]
pub struct Tracking {
    table: Option<Table>,
}

struct Table {
    socket: RequestSocket,
    owned: bool,
}

impl Tracking {
    pub fn new() -> Tracking {
        Tracking::default()
    }

    /// Creates the table if it does not exist. Returns the fault, empty if there is none.
    pub fn ensure(&mut self) -> String {
        if self.table.as_ref().is_some_and(Table::stands) {
            return String::new();
        }
        match make_owned().and_then(|table| table.map_or_else(make_fixed, Ok)) {
            Ok(table) => {
                log::info!(
                    "an nf_tables table of this agent keeps connection tracking on{} (-manage-conntrack=false \
                     forbids it)",
                    if table.owned { " until the process ends" } else { "" }
                );
                self.table = Some(table);
                String::new()
            }
            Err(error) => format!("cannot keep connection tracking on through nf_tables: {error}"),
        }
    }
}

impl Table {
    /// Nobody but its owner can delete an owned table; a fixed one goes with any `nft flush ruleset`.
    fn stands(&self) -> bool {
        self.owned || transact(&self.socket, &nftables::get(FIXED_NAME)).is_ok()
    }
}

impl Drop for Tracking {
    fn drop(&mut self) {
        if let Some(Table { socket, owned: false }) = &self.table {
            // A failure cannot be reported any more; the next start replaces the table.
            let _ = transact(socket, &nftables::delete(FIXED_NAME));
        }
    }
}

/// `None` where the kernel does not know owned tables.
fn make_owned() -> io::Result<Option<Table>> {
    let socket = RequestSocket::open(Family::Netfilter)?;
    // Another agent in this network namespace owns a table of its own.
    let name = format!("{FIXED_NAME}-{}", socket.port()?);
    match transact(&socket, &nftables::create(&name, CtKey::State, true)) {
        Ok(()) => Ok(Some(Table { socket, owned: true })),
        Err(error) if matches!(error.raw_os_error(), Some(nix::libc::EOPNOTSUPP | nix::libc::EINVAL)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn make_fixed() -> io::Result<Table> {
    let socket = RequestSocket::open(Family::Netfilter)?;
    // What a killed predecessor left; mostly there is nothing.
    let _ = transact(&socket, &nftables::delete(FIXED_NAME));
    transact(&socket, &nftables::create(FIXED_NAME, CtKey::State, false))?;
    Ok(Table { socket, owned: false })
}

/// Sends a batch and reads its answers: the first refusal is the error.
pub(super) fn transact(socket: &RequestSocket, request: &Request) -> io::Result<()> {
    let mut buffer = [0u8; 8 * 1024];
    socket.discard_pending(&mut buffer);
    socket.send(&request.bytes)?;
    let (mut answers, mut refusal) = (0, None);
    while answers < request.answers {
        let len = socket.receive(&mut buffer)?;
        for message in Messages::of(buffer.get(..len).unwrap_or_default()).map_while(Result::ok) {
            if message.kind == netlink::ERROR {
                answers += 1;
                if message.errno() != 0 {
                    refusal.get_or_insert(message.errno());
                    // A batch refused as a whole (EPERM) is answered once.
                    if message.seq == 0 {
                        answers = request.answers;
                    }
                }
            }
        }
    }
    refusal.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
}

#[cfg(test)]
mod tests;
