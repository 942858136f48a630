//! SYNs that are lost on the other side and sent again: conntrack counts the first alone, programs each of them.

use crate::drive::{Burst, Ending};
use crate::lab::Lab;
use crate::rows::{ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("repeated_syns", "rule 15", run);

const EXPECTED: &[Row] = &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080))];
const CONNECTIONS: u64 = 100;
/// Of so many SYNs one is dropped where it arrives; its connection waits a second for the next.
const ONE_OF: u64 = 30;

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    w.peer.netns.nft(&format!(
        "table inet lossy {{
            chain arriving {{
                type filter hook input priority 0
                tcp flags & (syn | ack) == syn numgen inc mod {ONE_OF} 0 drop
            }}
        }}"
    ))?;
    let agent = lab.agent().ready()?;
    // The same ports again, so that an entry of before is there when a SYN is repeated.
    let reset = Burst {
        ports: (50_000, 10),
        ending: Ending::Reset,
        ..Burst::new(socket(REMOTE_POD, 8080), CONNECTIONS, 100, 900)
    };
    w.p1.actor().burst(reset)?;
    let truth = lab.truth()?;
    let flow = EXPECTED[0].flow();
    let repeated = truth.opened(flow).saturating_sub(CONNECTIONS);
    if repeated < CONNECTIONS / ONE_OF {
        return Err(format!("only {repeated} SYNs were repeated"));
    }
    let uncounted = truth.uncounted(flow).orig.packets;
    if uncounted != if lab.source.has_programs() { 0 } else { repeated } {
        return Err(format!("{repeated} SYNs were repeated, and conntrack passed {uncounted} without counting them"));
    }
    lab.settles(agent, EXPECTED)
}
