//! Every connection stands in two zones, as on OVN or Antrea: it is counted once.

use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::rows::{ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// The truth counts what comes from the pods and the peer, not its second pass over the patch cable.
pub const SCENARIO: Scenario = Scenario::new("two_zones", "rule 7", run)
    .only(&[Source::Netfilter, Source::Auto])
    .ignoring(&["iifname \"patch*\""]);

const EXPECTED: &[Row] = &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080))];

/// Sends what p1 and the peer say over a cable from the node to itself, where it enters zone 5.
const PATCH: &str = "link add patch0 address 02:00:00:00:03:01 type veth peer name patch1 address 02:00:00:00:03:02
link set patch0 addrgenmode none
link set patch1 addrgenmode none
link set patch0 up
link set patch1 up
neigh replace 169.254.3.1 lladdr 02:00:00:00:03:02 dev patch0 nud permanent
neigh replace 169.254.3.2 lladdr 02:00:00:00:03:01 dev patch1 nud permanent
route add default via 169.254.3.1 dev patch0 onlink table 100
route add default via 169.254.3.2 dev patch1 onlink table 101
rule add iif veth-p1 lookup 100
rule add iif eth0 lookup 101
";
const ZONES: &str = "table inet lab_zones {
    chain early { type filter hook prerouting priority raw; iifname \"patch*\" ct zone set 5; }
}";

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    lab.node().ip(PATCH)?;
    lab.node().nft(ZONES)?;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    let agent = lab.agent().ready()?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 50, 100, 5_000))?;
    let twice = lab.node().run(&["conntrack", "-L", "--zone", "5"], "")?;
    if twice.lines().count() != 50 {
        return Err(format!("zone 5 does not hold the 50 connections:\n{twice}"));
    }
    lab.shows(&agent, EXPECTED, &lab.truth()?)?;
    if agent.metric("netmon_skipped_total{reason=\"zone\"}")? == 0.0 {
        return Err("nothing was left out for its zone".to_owned());
    }
    lab.settles(agent, EXPECTED)
}
