//! The capabilities that a mode needs, and how the threads drop them at the start.
//!
//! | thread | keeps |
//! | --- | --- |
//! | `collect` | netfilter: `CAP_NET_ADMIN`, which the kernel checks at every dump. ebpf and auto: the same, to look up service addresses in conntrack. cilium: none. Before kernel 5.19 ebpf, auto and cilium keep `CAP_BPF` too, because every call of bpf(2) needs it |
//! | `dns`; `locate` with `-topology-source routes`, for Cilium's map of addresses | none; with kernels before 5.19 `CAP_BPF`, as above |
//! | `push`, `kube`, `http`, `main` | nothing |
//!
//! If the kernel has Landlock, `http`, `push`, `kube` and `locate` also give up writing and executing files
//! ([`settle_talker`]). `kube` and `locate` keep them if the kubeconfig names a credential plugin, which they must
//! execute; `locate` then keeps no capability on any kernel.
//!
//! Threads share memory, so this does not isolate them. It limits what a fault in TLS, JSON or HTTP code can do at once.

use log::{debug, info, warn};

use crate::stats::{Capability, Stats};
use crate::sys::kernel;
use crate::sys::landlock;
use crate::sys::privileges::{self, Capabilities, Held};

/// All capabilities that opening a source may need. PERFMON and SYS_RESOURCE matter only on old kernels
/// (capabilities(7), bpf(2)).
const EVER_NEEDED: Capabilities =
    Capabilities::NET_ADMIN.and(Capabilities::BPF).and(Capabilities::PERFMON).and(Capabilities::SYS_RESOURCE);

/// The first kernel on which a map's descriptor can be used without CAP_BPF (commit c8644cd0efe7).
const UNPRIVILEGED_MAPS: (u32, u32) = (5, 19);

/// What a source goes on needing once it is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// It asks the kernel for connections, which takes `CAP_NET_ADMIN` each time.
    pub net_admin: bool,
    /// It reads BPF maps, which takes `CAP_BPF` on old kernels.
    pub bpf_maps: bool,
}

/// Raises what is permitted of what opening a source may need, for who only looks.
pub fn raise_all() {
    // What cannot be raised is missing, and said so.
    let _ = privileges::raise(EVER_NEEDED);
}

/// Raises the permitted capabilities, and sets no_new_privs and non-dumpable. Called while there is one thread.
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

/// Keeps the capabilities that the running source needs, and logs them. Called by the thread `collect` at its start.
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

/// The direction of a thread's network connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talks {
    /// Opens connections: `push` and `kube`.
    Out,
    /// Accepts connections: `http`.
    In,
}

/// Drops all capabilities, and with Landlock the right to write or execute files. Called by threads with network
/// connections at their start.
pub fn settle_talker(talks: Talks) {
    privileges::drop_all_in_this_thread();
    give_up_writing(talks);
}

/// The same for the thread `locate`, which may read a map besides: that needs a capability only on old kernels.
pub fn settle_locator(reads_map: bool) {
    if reads_map {
        keep_for_maps();
        give_up_writing(Talks::Out);
    } else {
        settle_talker(Talks::Out);
    }
}

fn give_up_writing(talks: Talks) {
    if let Err(error) = landlock::give_up_writing(talks == Talks::Out) {
        debug!("a thread may still write files, Landlock failed: {error}");
    }
}

/// Logs whether Landlock confines the threads with network connections.
pub fn say_landlock(stats: &Stats) {
    let version = landlock::version();
    stats.landlock.set(u64::from(version));
    match version {
        0 => info!("the kernel has no Landlock: the threads http, push and kube may write to writable mounts"),
        version => info!("Landlock (version {version}): the threads http, push and kube cannot write or execute files"),
    }
}

/// Drops capabilities in the thread `dns`: reading maps needs one only on old kernels.
pub fn settle_dns() {
    keep_for_maps();
}

fn keep_for_maps() {
    if let Err(error) = privileges::keep_only(kept_for_maps(&kernel::release())) {
        warn!("thread {} cannot drop capabilities: {error}", std::thread::current().name().unwrap_or("?"));
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

/// `running` is the name of the source, `release` that of the kernel.
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
