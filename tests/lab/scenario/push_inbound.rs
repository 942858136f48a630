//! `-push-inbound all` and `none`, `-outside-cidrs` and `-cluster-cidrs`: who is outside, and what DAKR hears of whom.

use crate::drive::Burst;
use crate::lab::Lab;
use crate::rows::{self, ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("push_inbound", "rule 9", run);

/// With 10.244.2.0/24 said to be outside and 192.0.2.0/24 inside.
const EXPECTED: &[Row] = &[
    Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080)).outside(),
    Row::inbound(ADDRESS, P1, PEER, tcp(9000)),
    Row::inbound(ADDRESS, P1, OUTSIDE, tcp(9000)),
];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    w.p1.serve_tcp(P1, 9000)?;
    let mut delivered = rows::Pushed::new();
    for (push_inbound, inbound_rows) in [("all", 2), ("none", 0), ("external", 0)] {
        let before = lab.truth()?;
        let agent = lab
            .agent()
            .flag("-push-inbound", push_inbound)
            .flag("-cluster-cidrs", "10.0.0.0/8,192.0.2.0/24")
            .flag("-outside-cidrs", "10.244.2.0/24")
            .ready()?;
        w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 10, 100, 5_000))?;
        w.peer.actor().burst(Burst::new(socket(P1, 9000), 10, 7_000, 100))?;
        w.outside.actor().burst(Burst::new(socket(P1, 9000), 10, 300, 100))?;
        let truth = lab.truth()?.since(&before);
        lab.shows(&agent, EXPECTED, &truth)?;
        agent.terminate()?;
        delivered = rows::sum(&delivered, &rows::on_the_wire(&EXPECTED[..1 + inbound_rows], &truth));
        lab.received(&delivered, &rows::opened(EXPECTED, &lab.truth()?).1)
            .map_err(|why| format!("-push-inbound {push_inbound}: {why}"))?;
    }
    Ok(())
}
