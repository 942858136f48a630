//! Which capabilities a mode needs, which of them the collector keeps, and what becomes of them at the start.
//!
//! | thread | keeps |
//! | --- | --- |
//! | `collect` | netfilter: `CAP_NET_ADMIN`, for the kernel checks every dump. ebpf: the same, for it looks service addresses up in conntrack. cilium: none. With kernels before 5.19 also `CAP_BPF` in ebpf and cilium, for there every call of bpf(2) needs it |
//! | `dns` | none; with kernels before 5.19 `CAP_BPF`, as above |
//! | `push`, `kube`, `http`, `main` | nothing |
//!
//! Beside that `http`, `push` and `kube` give up writing and executing files where the kernel has Landlock
//! ([`settle_talker`]); `kube` not, where the kubeconfig names a program that fetches credentials, for that is executed.
//!
//! Threads share memory, so this is no wall between them; it is one thing more that a mistake in TLS, JSON or HTTP code
//! does not give away.

use log::{debug, info, warn};

use crate::stats::{Capability, Stats};
use crate::sys::kernel;
use crate::sys::landlock;
use crate::sys::privileges::{self, Capabilities, Held};

/// What opening a mode's source takes at most; PERFMON and SYS_RESOURCE on old kernels only (capabilities(7), bpf(2)).
const EVER_NEEDED: Capabilities =
    Capabilities::NET_ADMIN.and(Capabilities::BPF).and(Capabilities::PERFMON).and(Capabilities::SYS_RESOURCE);

/// The first kernel that lets a holder of a map's descriptor use it without CAP_BPF (commit c8644cd0efe7).
const UNPRIVILEGED_MAPS: (u32, u32) = (5, 19);

/// What a source goes on needing once it is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// It asks the kernel for connections, which takes `CAP_NET_ADMIN` each time.
    pub net_admin: bool,
    /// It reads BPF maps, which takes `CAP_BPF` on old kernels.
    pub bpf_maps: bool,
}

/// At the start, while there is one thread: puts what is permitted in force, and shuts the doors.
pub fn begin() {
    match privileges::held().and_then(|held| privileges::raise(EVER_NEEDED).map(|effective| Held { effective, ..held }))
    {
        Ok(held) => info!("capabilities held: {}", held.effective),
        Err(error) => warn!("cannot read or raise capabilities: {error}"),
    }
    if let Err(error) = privileges::shut_doors() {
        warn!("cannot set no_new_privs and non-dumpable: {error}");
    }
}

/// In the collector's thread, before its first turn: keeps what the source needs from now on, and says so.
pub fn settle_collector(needs: Needs, stats: &Stats) {
    let kept = kept_by_collector(needs, &kernel::release());
    match privileges::keep_only(kept) {
        Ok(left) => info!("the collector keeps {left}; the other threads keep no capability"),
        Err(error) => warn!("the collector cannot drop capabilities: {error}"),
    }
    let effective = privileges::held().map_or(Capabilities::NONE, |held| held.effective);
    for (n, capability) in Capability::ALL.into_iter().enumerate() {
        stats.capabilities[n].set(u64::from(effective.contains(set_of(capability))));
    }
}

/// What a thread that talks to others still does beside reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talks {
    /// Connects to others: `push` and `kube`.
    Out,
    /// Answers those who connect: `http`.
    In,
}

/// In a thread that talks to others, before its first turn: it keeps no capability, and by Landlock, where the kernel
/// offers it, no right to write or execute files.
pub fn settle_talker(talks: Talks) {
    privileges::drop_all_in_this_thread();
    if let Err(error) = landlock::give_up_writing(talks == Talks::Out) {
        debug!("a thread keeps the right to write files: Landlock: {error}");
    }
}

/// Says whether Landlock confines the threads that talk to others.
pub fn say_landlock(stats: &Stats) {
    let version = landlock::version();
    stats.landlock.set(u64::from(version));
    match version {
        0 => info!("Landlock is not offered here: what files http, push and kube may write is up to the mounts"),
        version => info!("Landlock (version {version}): http, push and kube write and execute no file"),
    }
}

/// In the thread `dns`, before its first turn: it reads maps, which takes a capability on old kernels only.
pub fn settle_dns() {
    if let Err(error) = privileges::keep_only(kept_for_maps(&kernel::release())) {
        warn!("the thread dns cannot drop capabilities: {error}");
    }
}

fn set_of(capability: Capability) -> Capabilities {
    match capability {
        Capability::NetAdmin => Capabilities::NET_ADMIN,
        Capability::Bpf => Capabilities::BPF,
        Capability::Perfmon => Capabilities::PERFMON,
        Capability::SysResource => Capabilities::SYS_RESOURCE,
    }
}

/// `release` is the kernel's.
fn kept_by_collector(needs: Needs, release: &str) -> Capabilities {
    let net = if needs.net_admin { Capabilities::NET_ADMIN } else { Capabilities::NONE };
    let maps = if needs.bpf_maps { kept_for_maps(release) } else { Capabilities::NONE };
    net.and(maps)
}

fn kept_for_maps(release: &str) -> Capabilities {
    if kernel::version(release).is_some_and(|version| version >= UNPRIVILEGED_MAPS) {
        Capabilities::NONE
    } else {
        Capabilities::BPF.and(Capabilities::SYS_RESOURCE)
    }
}

#[cfg(test)]
mod tests;
