//! Cilium mode on a node without Cilium's maps: the next best source counts in full, degraded, and says what is missing.

use std::time::Duration;

use crate::agent::{Agent, DEGRADED, eventually};
use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::rows::{ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// With own programs among what it may fall back to.
pub const SCENARIO: Scenario = Scenario::new("no_cilium_maps", "rule 15", run).only(&[Source::Ebpf]);

const BY_PROGRAMS: &[Row] = &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080))];
const BY_CONNTRACK: &[Row] = &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8081))];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    let bare = lab.file("bpffs");
    std::fs::create_dir(&bare).map_err(|e| e.to_string())?;
    let start = || {
        let agent = lab.agent().flag("-collector-mode", "cilium").flag("-fallback", "auto");
        agent.flag("-cilium-bpf-root", &bare.to_string_lossy())
    };
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    let agent = start().ready()?;
    runs(&agent, "ebpf")?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 20, 100, 5_000))?;
    lab.settles(agent, BY_PROGRAMS)?;

    w.peer.serve_tcp(REMOTE_POD, 8081)?;
    let agent = start().flag("-cgroup-root", "/nowhere").ready()?;
    runs(&agent, "netfilter")?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8081), 20, 100, 5_000))?;
    lab.shows(&agent, BY_CONNTRACK, &lab.truth()?)?;
    agent.terminate()
}

fn runs(agent: &Agent<'_>, running: &str) -> Result<(), String> {
    if agent.metric(&format!("netmon_source{{wanted=\"cilium\",running=\"{running}\"}}"))? != 1.0 {
        return Err(format!("{running} does not run"));
    }
    let state = if running == "ebpf" { "healthy" } else { "degraded" };
    if agent.metric(&format!("netmon_component_health{{component=\"ebpf_tracer\",state=\"{state}\"}}"))? != 1.0 {
        return Err(format!("{running} runs, and ebpf_tracer is not {state}"));
    }
    eventually("the agent says what is missing", Duration::from_secs(10), || {
        let (status, message) = agent.monitor()?;
        let named = [&format!("running {running} instead"), "no conntrack map of Cilium's is pinned"];
        let is_said = status == DEGRADED && named.iter().all(|words| message.contains(*words));
        if is_said { Ok(()) } else { Err(format!("{status}: {message}")) }
    })
}
