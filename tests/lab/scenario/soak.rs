//! Churn for minutes while DAKR fails in every way at random, the agent is scraped, killed, stopped and started again, its
//! wall clock is set by seconds and by years, and conntrack is flushed under it: sums at DAKR, the books at each scrape,
//! the resident set and descriptors.
//!
//! `LAB_SOAK=MINUTES` (`script/soak`); without it half a minute. The seed is printed and can be given by `LAB_SEED`.

use std::time::Duration;

use netmon::clock::{self, SECOND};
use netmon::export::dakr::jitter::Jitter;
use netmon::flow::TxRx;
use nix::sys::signal::Signal;

use crate::agent::{Agent, Start, eventually};
use crate::dakr::Mood;
use crate::drive::{Burst, Held};
use crate::lab::{Lab, Source};
use crate::rows::{self, ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;
use crate::wall::Wall;

/// See the file's head.
pub const SCENARIO: Scenario =
    Scenario::new("soak", "rules 10 to 14", run).only(&[Source::Netfilter, Source::Ebpf, Source::Auto]).alone();

/// Connections that live through everything: of these not a byte may be missing.
const LASTING: &[Row] = &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080))];
/// Connections that end within milliseconds: what ended since the last state write may be missing after a kill.
const SHORT: &[Row] = &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8081))];

/// How DAKR may answer, the good one often enough to get on.
const MOODS: [Mood; 8] =
    [Mood::Take, Mood::Refuse, Mood::Take, Mood::TakeAndFail, Mood::TooLarge, Mood::Take, Mood::Denied, Mood::Hang];

/// How far ahead of the machine's clock the agent's is, in seconds.
const CLOCKS_S: [i64; 9] = [0, 3, -3, 40, -40, 7_200, -7_200, 10 * YEAR_S, -30 * YEAR_S];
const YEAR_S: i64 = 365 * 86_400;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What the agents log where bytes are lost, or where the disk did not keep up.
const TELLING: [&str; 6] = ["afresh", "cannot use", "cannot write the state", "is lost", "dropped", "ERROR"];

/// What happened.
#[derive(Debug, Default)]
struct Events {
    rounds: u64,
    kills: u64,
    stops: u64,
    flushes: u64,
    /// Of the agent's wall clock.
    steps: u64,
    scrapes: u64,
    connections: u64,
}

/// Of the agents, each after its first rounds.
#[derive(Debug, Default)]
struct Size {
    resident_kib: (u64, u64),
    descriptors: (usize, usize),
}

fn run(lab: &Lab) -> Result<(), String> {
    let seed = number("LAB_SEED").unwrap_or_else(|| clock::now().wall_ns);
    let until_ns = clock::now().mono_ns + number("LAB_SOAK").map_or(30, |minutes| minutes * 60) * SECOND;
    println!("soak: LAB_SEED={seed}");
    let mut random = Jitter::new(seed);
    let mut pick = move |n: u64| random.up_to(n - 1);
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    w.peer.serve_tcp(REMOTE_POD, 8081)?;
    let state = lab.file("state");
    let wall = Wall::new(lab)?;
    let start = || -> Start<'_> {
        let start = lab.agent().flag("-read-interval", "200ms").flag("-state-dir", &state.to_string_lossy());
        wall.iter().fold(start, |start, wall| wall.on(start))
    };
    let mut agent = start().ready()?;
    let held: Vec<Held<'_>> = (0..8).map(|_| w.p1.actor().open(socket(REMOTE_POD, 8080))).collect::<Result<_, _>>()?;
    agent.wait_sweeps(2)?;
    let (mut events, mut size, mut history) = (Events::default(), Size::default(), Vec::new());
    while clock::now().mono_ns < until_ns {
        events.rounds += 1;
        lab.dakr.set_mood(MOODS[pick(MOODS.len() as u64) as usize]);
        for one in &held {
            one.exchange(100 + pick(2_000), 1_000 + pick(100_000))?;
        }
        let connections = 50 + pick(200);
        events.connections += connections;
        w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8081), connections, 100, 100 + pick(5_000)))?;
        for _ in 0..3 {
            lab.balances(&agent)?;
            agent.flows()?;
            events.scrapes += 1;
        }
        size.note(&agent, events.rounds)?;
        if let (Some(wall), 0) = (&wall, pick(4)) {
            events.steps += 1;
            wall.set(CLOCKS_S[pick(CLOCKS_S.len() as u64) as usize])?;
        }
        let chance = pick(8);
        let before = if chance <= 2 { what_became(&agent)? } else { String::new() };
        if chance <= 2 && lab.source != Source::Netfilter {
            // What passes while no program hangs is counted by nobody (rule 14): until then nothing moves any more.
            lab.truth()?;
        }
        match chance {
            0 => {
                events.kills += 1;
                if lab.source != Source::Netfilter {
                    // Nor is what the state file does not hold yet.
                    lab.dakr.set_mood(Mood::Take);
                    delivered(&agent)?;
                    clock::sleep_ns(2 * SECOND);
                }
                agent.signal(Signal::SIGKILL)?;
                drop(agent);
                agent = start().ready()?;
            }
            1 | 2 => {
                if chance == 2 {
                    events.flushes += 1;
                    agent.wait_sweeps(1)?;
                    lab.node().run(&["conntrack", "-F"], "")?;
                }
                events.stops += 1;
                agent.terminate()?;
                agent = start().ready()?;
            }
            _ => {}
        }
        if chance <= 2 {
            history.push(format!(
                "round {}: {} {before}",
                events.rounds,
                ["killed", "stopped", "flushed, stopped"][chance as usize]
            ));
            if pick(3) == 0 {
                // A byte that is missing is found near the place where it went.
                lab.dakr.set_mood(Mood::Take);
                delivered(&agent)?;
                let (want, got) = sums(lab, LASTING)?;
                if want != got {
                    return Err(format!("DAKR has {got:?} of {want:?} since:\n  {}", history.join("\n  ")));
                }
                history.clear();
            }
        }
    }
    lab.dakr.set_mood(Mood::Take);
    // The last agent may have just begun, and its books be empty.
    held.iter().try_for_each(|one| one.exchange(100, 1_000))?;
    delivered(&agent)?;
    lab.balances(&agent)?;
    let log = std::fs::read_to_string(agent.log_file()).map_err(|error| error.to_string())?;
    if events.steps >= 8 && !log.contains("the wall clock was set") {
        return Err(format!("{} steps of the clock, and no agent saw one", events.steps));
    }
    agent.terminate()?;
    judge(lab, &events, &size).map_err(|why| {
        let lines = log.lines().filter(|line| TELLING.iter().any(|what| line.contains(what)));
        format!("{why}\nlogged meanwhile:\n  {}", lines.collect::<Vec<_>>().join("\n  "))
    })
}

/// The accounts of an agent that is about to end.
fn what_became(agent: &Agent<'_>) -> Result<String, String> {
    let metrics = agent.metrics()?;
    let of_accounts = |name: &&String| {
        let parts = ["lost", "unattributed", "not_pushed", "held", "open", "frozen", "acknowledged"];
        parts.iter().any(|part| name.starts_with(&format!("netmon_{part}_bytes")))
    };
    let told = metrics.keys().filter(of_accounts).filter(|name| metrics[*name] > 0.0);
    Ok(told.map(|name| format!("{name}={}", metrics[name])).collect::<Vec<_>>().join(" "))
}

/// What DAKR should have of rows, and has.
fn sums(lab: &Lab, rows: &[Row]) -> Result<(TxRx, TxRx), String> {
    let (want, pushed) = (rows::pushed(rows, &lab.truth()?), lab.dakr.pushed()?);
    let got = want.keys().filter_map(|key| pushed.get(key)).fold(TxRx::ZERO, |sum, counts| sum + *counts);
    Ok((want.values().fold(TxRx::ZERO, |sum, counts| sum + *counts), got))
}

/// Waits until nothing is left that DAKR has not acknowledged.
fn delivered(agent: &Agent<'_>) -> Result<(), String> {
    agent.wait_sweeps(3)?;
    eventually("what waits is delivered", Duration::from_secs(60), || {
        // Of one scrape: between two of them a batch may be frozen, and each say 0.
        let metrics = agent.metrics()?;
        let waits = ["netmon_frozen_bytes", "netmon_open_bytes", "netmon_held_bytes"].map(|name| metrics.get(name));
        match waits.into_iter().flatten().sum::<f64>() {
            0.0 => Ok(()),
            waiting => Err(format!("{waiting} bytes wait")),
        }
    })
}

impl Size {
    fn note(&mut self, agent: &Agent<'_>, round: u64) -> Result<(), String> {
        let (kib, descriptors) = (agent.resident_kib()?, agent.descriptors()?);
        if round == 5 {
            (self.resident_kib.0, self.descriptors.0) = (kib, descriptors);
        }
        self.resident_kib.1 = self.resident_kib.1.max(kib);
        self.descriptors.1 = self.descriptors.1.max(descriptors);
        Ok(())
    }
}

fn judge(lab: &Lab, events: &Events, size: &Size) -> Result<(), String> {
    let ((lasting, lasting_got), (short, short_got)) = (sums(lab, LASTING)?, sums(lab, SHORT)?);
    let (repeats, _) = lab.dakr.repeats();
    println!(
        "soak: {events:?}; lasting connections {} of {} bytes, short ones {} of {}; {repeats} repeats; resident {} KiB \
         after five rounds and {} at most, {} descriptors and {} at most",
        lasting_got.total_bytes(),
        lasting.total_bytes(),
        short_got.total_bytes(),
        short.total_bytes(),
        size.resident_kib.0,
        size.resident_kib.1,
        size.descriptors.0,
        size.descriptors.1,
    );
    if lasting_got != lasting {
        return Err(format!("lasting connections: DAKR has {lasting_got:?} of {lasting:?}"));
    }
    // Differences saturate: a zero says "at most".
    if !(short_got - short).is_zero() {
        return Err(format!("short connections: DAKR has more, {short_got:?} of {short:?}"));
    }
    let missing = short - short_got;
    let slack = rows::slack(lab.source, events.connections);
    let excused = events.kills > 0 || (missing.total_bytes() <= slack.bytes);
    if short_got.is_zero() || !excused {
        return Err(format!("short connections: DAKR has {short_got:?} of {short:?}"));
    }
    if size.descriptors.1 > size.descriptors.0 + 16 && size.descriptors.0 > 0 {
        return Err(format!("descriptors grow: {:?}", size.descriptors));
    }
    if size.resident_kib.0 > 0 && size.resident_kib.1 > size.resident_kib.0 + 16 * 1_024 {
        return Err(format!("the resident set grows: {:?} KiB", size.resident_kib));
    }
    Ok(())
}
