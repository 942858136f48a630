//! The kernel's table is resized while it is read: dumps miss entries and show others twice, and no byte is wrong.

use netmon::clock;

use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::netns::{read_sysctl, write_sysctl};
use crate::rows::{ADDRESS, Row, tcp, udp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// The number of buckets belongs to the whole kernel.
pub const SCENARIO: Scenario = Scenario::new("resize_mid_dump", "rule 11", run).only(&[Source::Netfilter]).alone();

const EXPECTED: &[Row] = &[
    Row::outbound(ADDRESS, P1, REMOTE_POD, udp(5353)),
    Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080)),
    Row::outbound(ADDRESS, P3, REMOTE_POD, tcp(8080)),
];
const BUCKETS: &str = "net/netfilter/nf_conntrack_buckets";

/// Puts the table back to its size, however the scenario ends.
struct Restore(String);

impl Drop for Restore {
    fn drop(&mut self) {
        if let Err(why) = write_sysctl(BUCKETS, &self.0) {
            eprintln!("the size of the connection table is not restored: {why}");
        }
    }
}

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    let usual = Restore(read_sysctl(BUCKETS)?);
    w.peer.serve_udp(REMOTE_POD, 5353)?;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    let agent = lab.agent().flag("-read-interval", "100ms").ready()?;
    // Enough entries for a dump to take a while.
    w.p1.actor().udp(socket(REMOTE_POD, 5353), 20_000, 1, 100, 0)?;
    let held = w.p3.actor().open(socket(REMOTE_POD, 8080))?;
    held.exchange(1_000, 100_000)?;
    w.p1.actor().start_burst(Burst { per_second: 300, ..Burst::new(socket(REMOTE_POD, 8080), 2_000, 100, 1_000) })?;
    // A dump that met two changes and so sees the size that it began with is not told from a quiet one: one a dump.
    for round in 0..12 {
        clock::sleep_ns(round * 17 % 100 * clock::MS);
        write_sysctl(BUCKETS, if round % 2 == 0 { "16384" } else { "65536" })?;
        held.exchange(1_000, 10_000)?;
        agent.wait_sweeps(1)?;
    }
    w.p1.actor().finish()?;
    held.close()?;
    drop(usual);
    if agent.metric("netmon_sweeps_voided_total")? == 0.0 {
        return Err("no dump met a resize".to_owned());
    }
    lab.settles(agent, EXPECTED)
}
