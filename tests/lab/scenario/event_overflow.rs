//! More ends than the event socket holds while the agent stands still: the kernel drops events, the agent says how
//! many, and whatever still lives is counted to the byte.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::agent::eventually;
use crate::lab::{Lab, Source};
use crate::rows::{self, ADDRESS, Row, tcp, udp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("event_overflow", "rules 11, 12", run).only(&[Source::Netfilter]).alone();

/// The first lives on; of the second what the dropped events would have told is missing.
const EXPECTED: &[Row] =
    &[Row::outbound(ADDRESS, P3, REMOTE_POD, tcp(8080)), Row::outbound(ADDRESS, P1, REMOTE_POD, udp(5353))];
/// The event socket holds 32 MiB, doubled by the kernel, at 1,280 bytes an event: 52,428 events.
const ROUNDS: u16 = 4;
const SOCKETS: u16 = 20_000;
const ENDED: u64 = ROUNDS as u64 * SOCKETS as u64;
const PAYLOAD: u64 = 72;
/// With the headers of IPv4 and UDP.
const DATAGRAM: u64 = PAYLOAD + 28;

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    w.peer.serve_udp(REMOTE_POD, 5353)?;
    let agent = lab.agent().ready()?;
    let held = [
        w.p3.actor().open(socket(REMOTE_POD, 8080))?,
        w.p3.actor().open(socket(REMOTE_POD, 8080))?,
        w.p3.actor().open(socket(REMOTE_POD, 8080))?,
    ];
    held.iter().try_for_each(|h| h.exchange(1_000, 10_000))?;
    agent.wait_sweeps(1)?;
    agent.signal(Signal::SIGSTOP)?;
    // A host has not so many ports: they end and are used anew.
    for _ in 0..ROUNDS {
        w.p1.actor().udp(socket(REMOTE_POD, 5353), SOCKETS, 1, PAYLOAD, 0)?;
        lab.end_connections("udp")?;
    }
    held.iter().try_for_each(|h| h.exchange(1_000, 10_000))?;
    agent.signal(Signal::SIGCONT)?;
    held.iter().try_for_each(|h| h.exchange(1_000, 10_000))?;

    let truth = lab.truth()?;
    let alive = rows::shown(&EXPECTED[..1], &truth);
    let dead = truth.of(EXPECTED[1].flow()).orig;
    if (dead.packets, dead.bytes) != (ENDED, ENDED * DATAGRAM) {
        return Err(format!("{ENDED} datagrams were sent, nft counted {dead:?}"));
    }
    eventually("the living are counted, the events are named", Duration::from_secs(10), || {
        let mut shown = agent.shown()?;
        let ended = shown.remove(&EXPECTED[1].key()).unwrap_or_default();
        rows::equal("/flows, the living", &alive, &shown)?;
        let dropped = agent.metric("netmon_lost_events_total{reason=\"event_queue_full\"}")? as u64;
        if dropped == 0 {
            return Err("no event is named as lost".to_owned());
        }
        if ended.tx.packets + dropped == ENDED && ended.tx.bytes + dropped * DATAGRAM == ENDED * DATAGRAM {
            Ok(())
        } else {
            Err(format!("{} ends were told and {dropped} events named as lost, of {ENDED}", ended.tx.packets))
        }
    })?;
    let shown_at_last = agent.shown()?;
    agent.terminate()?;
    let received = lab.dakr.pushed()?.values().fold(netmon::flow::TxRx::ZERO, |a, c| a + *c);
    let shown_at_last = shown_at_last.values().fold(netmon::flow::TxRx::ZERO, |a, c| a + *c);
    if received == shown_at_last { Ok(()) } else { Err(format!("DAKR received {received:?}, not {shown_at_last:?}")) }
}
