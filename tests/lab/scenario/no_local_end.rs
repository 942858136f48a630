//! What the node forwards between others has no row, and every byte of it has a counter.

use std::time::Duration;

use crate::agent::eventually;
use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::rows::{Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;
use crate::truth::Flow;

/// BPF at sockets does not see what is forwarded, Cilium has entries for some of it (rule 15).
pub const SCENARIO: Scenario =
    Scenario::new("no_local_end", "rules 5, 12", run).only(&[Source::Netfilter, Source::Auto]);

const EXPECTED: &[Row] = &[];
const FORWARDED: (&str, &str, (u8, u16)) = (PEER, OUTSIDE, tcp(443));

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.outside.serve_tcp(OUTSIDE, 443)?;
    let agent = lab.agent().ready()?;
    w.peer.actor().burst(Burst::new(socket(OUTSIDE, 443), 20, 100, 30_000))?;
    let truth = lab.truth()?;
    let (client, server, (protocol, port)) = FORWARDED;
    let carried = truth.of(Flow::new(client, server, protocol, port));
    let bytes = (carried.orig.bytes + carried.reply.bytes) as f64;
    eventually("the forwarded bytes are unattributed", Duration::from_secs(5), || {
        let got = agent.metric("netmon_unattributed_bytes_total{reason=\"no_local_end\"}")?;
        if got == bytes { Ok(()) } else { Err(format!("{got} bytes, not {bytes}")) }
    })?;
    lab.settles(agent, EXPECTED)
}
