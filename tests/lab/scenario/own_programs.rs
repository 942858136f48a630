//! Where Cilium's maps hold sums or nothing, own programs count in their place, and the rows are those of ebpf mode on
//! the same traffic. A service's backend is told by Cilium's entries: the agent of Cilium mode runs in a namespace whose
//! conntrack knows nothing of the node's connections.

use std::time::Duration;

use crate::agent::{DEGRADED, Start, eventually};
use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::mirror::Mirror;
use crate::rows::{self, ADDRESS, Row, tcp, udp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::{SERVICE_PORT, socket};

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("own_programs", "rules 3, 15", run).only(&[Source::Ebpf]);

const EXPECTED: &[Row] = &[
    Row::outbound(ADDRESS, P1, P2, tcp(8080)),
    Row::inbound(ADDRESS, P2, P1, tcp(8080)),
    Row::outbound(ADDRESS, P1_V6, P2_V6, tcp(8080)),
    Row::inbound(ADDRESS, P2_V6, P1_V6, tcp(8080)),
    Row::outbound(ADDRESS, P1, P2, udp(8080)),
    Row::inbound(ADDRESS, P2, P1, udp(8080)),
    Row::outbound(ADDRESS, P3, REMOTE_POD, tcp(8080)),
];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    let mirror = Mirror::start(lab.node(), 'b')?;
    w.p2.serve_tcp(P2, 8080)?;
    w.p2.serve_tcp(P2_V6, 8080)?;
    w.p2.serve_udp(P2, 8080)?;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    let by_conntrack = lab.agent().ready()?;
    let by_cilium = Start::new(&w.outside, "cilium", lab.file("cilium.log"))
        .flag("-fallback", "auto")
        .flag("-cilium-bpf-root", &mirror.root.to_string_lossy())
        .flag("-cgroup-root", &lab.cgroup_root()?.to_string_lossy())
        // Cilium's entries are there before a packet is; those of the mirror are a moment late.
        .flag("-read-interval", "2s")
        .ready()?;
    if by_cilium.metric("netmon_source{wanted=\"cilium\",running=\"ebpf\"}")? != 1.0 {
        return Err("other programs run than those that should".to_owned());
    }
    let (status, message) = by_cilium.monitor()?;
    if status != DEGRADED || !message.contains("ebpf counts instead") {
        return Err(format!("{status}: {message}"));
    }
    // All of it lies between two sweeps.
    by_cilium.wait_sweeps(1)?;
    w.p1.actor().burst(Burst::new(socket(SERVICE, SERVICE_PORT), 20, 100, 30_000))?;
    w.p1.actor().burst(Burst::new(socket(SERVICE_V6, SERVICE_PORT), 10, 20_000, 100))?;
    w.p1.actor().udp(socket(SERVICE, SERVICE_PORT), 3, 10, 500, 300)?;
    w.p3.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 5, 100, 1_000))?;
    mirror.settle();

    let truth = lab.truth()?;
    lab.shows(&by_conntrack, EXPECTED, &truth)?;
    lab.shows(&by_cilium, EXPECTED, &truth)?;
    eventually("both agents show the same rows", Duration::from_secs(10), || {
        rows::equal("Cilium mode against ebpf mode", &by_conntrack.shown()?, &by_cilium.shown()?)
    })?;
    if by_cilium.metric("netmon_vip_unresolved_total")? != 0.0 {
        return Err("a service was not resolved".to_owned());
    }
    by_cilium.terminate()?;
    lab.settles(by_conntrack, EXPECTED)
}
