//! The lab judges itself: what conntrack says at the end of connections, reused tuples and short lives included, and
//! what still lives sum up to what nft counted. So an agent that reads all of it has no excuse.

use std::time::Duration;

use crate::agent::eventually;
use crate::drive::{Burst, Ending};
use crate::lab::{Lab, Source};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;
use crate::truth::{Ends, conntrack_table};

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("truth_of_ends", "the lab's own", run).only(&[Source::Netfilter]);

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    w.peer.serve_tcp(REMOTE_POD, 8081)?;
    w.peer.serve_tcp(REMOTE_POD, 8082)?;
    let ends = Ends::listen(lab.node(), lab.file("ends"))?;
    let few_ports = |port, first, ending| {
        // Slowly enough for the listener's short queue.
        let burst = Burst { per_second: 1_500, ..Burst::new(socket(REMOTE_POD, port), 1_500, 100, 900) };
        w.p1.actor().burst(Burst { ports: (first, 40), ending, ..burst })
    };
    few_ports(8080, 40_000, Ending::Server)?;
    few_ports(8081, 50_000, Ending::Reset)?;
    w.p3.actor().burst(Burst::new(socket(REMOTE_POD, 8082), 1_000, 100, 900))?;
    let truth = lab.truth()?.by_conntrack();
    eventually("all ends are told", Duration::from_secs(5), || {
        truth.same_as(&ends.read()?.and(&conntrack_table(lab.node())?), ("nft", "conntrack"))
    })
}
