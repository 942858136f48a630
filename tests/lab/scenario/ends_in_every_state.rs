//! The API server never answers its list, DAKR takes requests and answers none, the disk under the state file hangs,
//! and traffic flows: after SIGTERM the agent is unready at once and to the end, ends within 15 s and names what it
//! leaves behind. A second SIGTERM ends it at once.

use std::time::Duration;

use netmon::clock::{self, MS, SECOND};
use nix::sys::signal::Signal;

use crate::agent::{Agent, eventually};
use crate::api::Api;
use crate::dakr::{Mood, TRAFFIC};
use crate::drive::Burst;
use crate::hang::Hang;
use crate::lab::{Lab, Source};
use crate::rows::{self, ADDRESS, HOST, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("ends_in_every_state", "rules 12, 14", run).only(&[Source::Netfilter]);

/// Known without the API server, so DAKR is told of it and never says whether it counted it.
const PUSHED: &[Row] = &[Row::outbound(HOST, WAN, OUTSIDE, tcp(443)).outside()];

/// Waits for its pod to be named.
const NOBODYS: &[Row] = &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080))];

/// From SIGTERM to the end (ARCHITECTURE.md), and what this scenario's own looking costs.
const END_NS: u64 = 15 * SECOND + SECOND;

fn run(lab: &Lab) -> Result<(), String> {
    lab.world.outside.serve_tcp(OUTSIDE, 443)?;
    lab.world.peer.serve_tcp(REMOTE_POD, 8080)?;
    ends_in_time(lab, Some("state"))?;
    ends_in_time(lab, None)?;
    ends_at_once(lab)
}

/// An agent for which everything hangs that can, with a batch on its way, rows open, and bytes that wait for a pod.
fn hanging<'a>(lab: &'a Lab, api: &Api, state: Option<&str>) -> Result<(Agent<'a>, Option<Hang>), String> {
    let w = &lab.world;
    lab.dakr.set_mood(Mood::Take);
    let start = lab.agent_in_cluster(api)?;
    let state = state.map(|name| lab.file(name));
    let agent = match &state {
        Some(state) => start.flag("-state-dir", &state.to_string_lossy()),
        None => start,
    };
    let agent = agent.ready()?;
    eventually("the list is asked for", Duration::from_secs(5), || {
        if api.lists_asked() > 0 { Ok(()) } else { Err("it is not".to_owned()) }
    })?;
    lab.dakr.set_mood(Mood::Hang);
    let hang = match &state {
        Some(state) => Some(Hang::on(state).map_err(|error| format!("cannot make the folder hang: {error}"))?),
        None => None,
    };
    let before = lab.dakr.requests().len();
    let flow = || -> Result<(), String> {
        w.node.actor().burst(Burst::new(socket(OUTSIDE, 443), 5, 100, 3_000))?;
        w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 5, 100, 3_000))?;
        Ok(())
    };
    eventually("a push hangs, and so does the disk", Duration::from_secs(20), || {
        flow()?;
        let pushes = lab.dakr.requests().iter().skip(before).filter(|r| r.path == TRAFFIC).count();
        let late = agent.metric("netmon_state_failures_total")?;
        if pushes > 0 && lab.dakr.unanswered() > 0 && (late > 0.0 || state.is_none()) {
            return Ok(());
        }
        Err(format!("{pushes} pushes, {late} failures of the disk"))
    })?;
    flow()?;
    lab.truth()?;
    agent.wait_sweeps(2)?;
    Ok((agent, hang))
}

fn ends_in_time(lab: &Lab, state: Option<&str>) -> Result<(), String> {
    let api = Api::start(lab);
    let before = lab.truth()?;
    let (mut agent, _hang) = hanging(lab, &api, state)?;
    let bytes = |name: &str| agent.metric(name).map(|bytes| bytes as u64);
    let (frozen, open, held) =
        (bytes("netmon_frozen_bytes")?, bytes("netmon_open_bytes")?, bytes("netmon_held_bytes")?);
    let truth = lab.truth()?.since(&before);
    let of = |rows| rows::shown(rows, &truth).values().map(|counts| counts.total_bytes()).sum::<u64>();
    let (pushed, nobodys) = (of(PUSHED), of(NOBODYS));
    // Some of the host's own may wait, too: those whose cgroup could be a pod's.
    if frozen == 0 || open == 0 || held < nobodys || frozen + open + held != pushed + nobodys {
        return Err(format!("{frozen} bytes are frozen, {open} open and {held} wait, of {pushed} and {nobodys}"));
    }
    agent.signal(Signal::SIGTERM)?;
    let began_ns = clock::now().mono_ns;
    let status = unready_to_the_end(&mut agent, began_ns)?;
    let took_ms = (clock::now().mono_ns - began_ns) / MS;
    println!("ends_in_every_state: ended {took_ms} ms after SIGTERM");
    if !status.success() {
        return Err(format!("it ended with {status}"));
    }
    if lab.dakr.pushed()?.values().any(|counts| !counts.is_zero()) {
        return Err("DAKR counted what it did not answer".to_owned());
    }
    let log = agent.log_tail();
    for part in [
        format!("{pushed} bytes are lost at shutdown (netmon_lost_bytes_total)"),
        format!("{frozen} were sent without an answer (shutdown_ambiguous)"),
        format!("{} were not sent (shutdown)", pushed - frozen),
        format!("{nobodys} bytes belong to no known pod (netmon_unattributed_bytes_total)"),
    ] {
        if !log.contains(&part) {
            return Err(format!("the log does not say: {part}"));
        }
    }
    Ok(())
}

/// `/readyz` says 503 within a second of the signal, and goes on saying so while the process lives.
fn unready_to_the_end(agent: &mut Agent<'_>, began_ns: u64) -> Result<std::process::ExitStatus, String> {
    let mut unready = false;
    let mut silent_ns = None;
    loop {
        let answer = agent.get("/readyz");
        let now_ns = clock::now().mono_ns;
        if let Some(status) = agent.ended()? {
            return if unready { Ok(status) } else { Err("it ended without having been unready".to_owned()) };
        }
        let since_ms = (now_ns - began_ns) / MS;
        match answer {
            Ok((503, body)) if body.contains("the agent is stopping") => (unready, silent_ns) = (true, None),
            Ok((200, _)) if !unready && since_ms < 1_000 => {}
            Ok((status, body)) => return Err(format!("/readyz says {status} after {since_ms} ms: {body}")),
            // Between the end of the endpoint and that of the process lies a moment.
            Err(why) if now_ns - *silent_ns.get_or_insert(now_ns) > SECOND => {
                return Err(format!("after {since_ms} ms it lives and does not answer: {why}"));
            }
            Err(_) => {}
        }
        if now_ns - began_ns > END_NS {
            return Err(format!("it still runs {since_ms} ms after SIGTERM"));
        }
        clock::sleep_ns(50 * MS);
    }
}

fn ends_at_once(lab: &Lab) -> Result<(), String> {
    let api = Api::start(lab);
    let (mut agent, _hang) = hanging(lab, &api, Some("state-2"))?;
    agent.signal(Signal::SIGTERM)?;
    clock::sleep_ns(500 * MS);
    if let Some(status) = agent.ended()? {
        return Err(format!("one SIGTERM ended it at once, with {status}"));
    }
    agent.signal(Signal::SIGTERM)?;
    let mut status = None;
    eventually("a second SIGTERM ends it", Duration::from_secs(1), || {
        status = agent.ended()?;
        status.map(|_| ()).ok_or_else(|| "it still runs".to_owned())
    })?;
    match status.and_then(|status| status.code()) {
        Some(1) => Ok(()),
        _ => Err(format!("it ended with {status:?}, not with 1")),
    }
}
