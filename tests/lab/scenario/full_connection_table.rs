//! More connections than the agent follows: what it cannot follow is lost by name, and with what it counted makes the
//! whole once every connection has told its end.

use std::time::Duration;

use crate::agent::eventually;
use crate::lab::{Lab, Source};
use crate::rows::{ADDRESS, Row, udp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("full_connection_table", "rules 12, 13", run).only(&[Source::Netfilter]);

/// Its counters are less than the truth by what is lost.
const EXPECTED: Row = Row::outbound(ADDRESS, P1, REMOTE_POD, udp(5353));
const CONNECTIONS: u16 = 600;
const FOLLOWED: u64 = 100;

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_udp(REMOTE_POD, 5353)?;
    let agent = lab.quiet_agent().flag("-max-connections", &FOLLOWED.to_string()).ready()?;
    w.p1.actor().udp(socket(REMOTE_POD, 5353), CONNECTIONS, 2, 100, 200)?;
    agent.wait_sweeps(2)?;
    lab.end_connections("udp")?;
    let truth = lab.truth()?.of(EXPECTED.flow());
    let all = truth.orig.bytes + truth.reply.bytes;
    eventually("counted and lost make the whole", Duration::from_secs(5), || {
        let lost = agent.metric("netmon_lost_bytes_total{reason=\"connection_table_full\"}")? as u64;
        let shown = agent.shown()?;
        if shown.len() > 1 || shown.keys().any(|key| *key != EXPECTED.key()) {
            return Err(format!("unexpected rows: {:?}", shown.keys()));
        }
        let counted = shown.get(&EXPECTED.key()).map_or(0, |c| c.total_bytes());
        if lost == 0 {
            Err("nothing is lost".to_owned())
        } else if counted + lost == all {
            Ok(())
        } else {
            Err(format!("{counted} counted and {lost} lost are not {all}"))
        }
    })
}
