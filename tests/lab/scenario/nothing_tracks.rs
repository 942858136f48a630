//! A host where no rule tracks connections: a standalone agent makes the kernel track while it runs, and no longer.

use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::rows::{ADDRESS, HOST, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::{Wish, socket};

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("nothing_tracks", "design of the standalone mode; rules 1, 2", run)
    .within(Wish { nat: false, accounting: false, events: "2" })
    .only(&[Source::Netfilter, Source::Auto]);

const EXPECTED: &[Row] =
    &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080)), Row::inbound(HOST, WAN, OUTSIDE, tcp(9100)).outside()];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    w.node.serve_tcp(WAN, 9100)?;
    let tracked = || lab.node().read_sysctl("net/netfilter/nf_conntrack_count");
    let send = || {
        w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 20, 100, 5_000))?;
        w.outside.actor().burst(Burst::new(socket(WAN, 9100), 20, 100, 5_000))
    };
    send()?;
    if tracked()? != "0" {
        return Err(format!("{} connections are tracked before the agent runs", tracked()?));
    }
    let before = lab.truth()?;
    let agent = lab.agent().ready()?;
    send()?;
    let truth = lab.truth()?.since(&before);
    lab.shows(&agent, EXPECTED, &truth)?;
    lab.delivers(agent, EXPECTED, &truth)?;
    let tables = lab.node().run(&["nft", "list", "tables"], "")?;
    if tables.trim() != "table inet lab_truth" {
        return Err(format!("the agent is gone, its table is not:\n{tables}"));
    }
    lab.node().run(&["conntrack", "-F"], "")?;
    send()?;
    if tracked()? != "0" { Err("connections are still tracked after the agent is gone".to_owned()) } else { Ok(()) }
}
