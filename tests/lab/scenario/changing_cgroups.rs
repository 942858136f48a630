//! A socket is the pod's that made it, though its process moves on; what a child makes is its parent's pod's; and two
//! pods that have one address after the other are told apart before the API server says a word.

use std::time::Duration;

use netmon::clock;

use crate::agent::eventually;
use crate::api::{Api, host_pod, pod};
use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::rows::{Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head. Conntrack tells no sockets: there the owner of an address goes by time (`pods`).
pub const SCENARIO: Scenario = Scenario::new("changing_cgroups", "rule 8", run).only(&[Source::Ebpf, Source::Auto]);

const FIRST: &str = "pod shop/first";
const SECOND: &str = "pod shop/second";
const OLD: &str = "pod shop/old";
const NEW: &str = "pod shop/new";

const EXPECTED: &[Row] = &[
    Row::outbound(FIRST, WAN, OUTSIDE, tcp(443)).outside(),
    Row::outbound(SECOND, NODE, PEER, tcp(8443)),
    Row::outbound(SECOND, NODE_V6, PEER_V6, tcp(8443)),
    Row::outbound(OLD, P1, REMOTE_POD, tcp(8080)),
    Row::outbound(NEW, P1, REMOTE_POD, tcp(8081)),
];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.outside.serve_tcp(OUTSIDE, 443)?;
    w.peer.serve_tcp(PEER, 8443)?;
    w.peer.serve_tcp(PEER_V6, 8443)?;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    w.peer.serve_tcp(REMOTE_POD, 8081)?;
    let mut api = Api::start(lab);
    let agent = lab.agent_in_cluster(&api)?.ready()?;

    let cgroup_of = |number| format!("kubepods/burstable/pod{}/c", crate::fake_kube::fixtures::uid(number));
    let process = lab.process(&w.node, &cgroup_of(1))?;
    let held = process.open(socket(OUTSIDE, 443))?;
    held.exchange(1_000, 20_000)?;
    process.move_to(&lab.cgroup(&cgroup_of(2))?)?;
    held.exchange(1_000, 20_000)?;
    process.burst(Burst::new(socket(PEER, 8443), 10, 100, 5_000))?;
    process.burst_by_child(Burst::new(socket(PEER_V6, 8443), 10, 100, 6_000))?;

    let old = lab.process(&w.p1, &cgroup_of(3))?;
    old.burst(Burst::new(socket(REMOTE_POD, 8080), 10, 100, 7_000))?;
    drop(old);
    lab.process(&w.p1, &cgroup_of(4))?.burst(Burst::new(socket(REMOTE_POD, 8081), 10, 100, 8_000))?;
    eventually("what has no owner yet is held", Duration::from_secs(5), || {
        let held = agent.metric("netmon_held_bytes")?;
        if held > 0.0 { Ok(()) } else { Err("nothing is held".to_owned()) }
    })?;
    agent.wait_sweeps(2)?;

    // The address is the new pod's when the list is made, and has been, it says, for ten minutes.
    let since_s = (clock::now().wall_ns / clock::SECOND) as i64 - 600;
    let old = pod("old", 3, &[P1], since_s - 600);
    let pods = [
        host_pod("first", 1, NODE, since_s),
        host_pod("second", 2, NODE, since_s),
        old.clone(),
        pod("new", 4, &[P1, P1_V6], since_s),
    ];
    api.list(&pods)?;
    agent.wait_sweeps(1)?;
    api.tell("DELETED", &old, "11")?;
    held.exchange(500, 10_000)?;
    lab.settles(agent, EXPECTED)
}
