//! The agent is killed again and again, at random instants, behind a network that cuts, delays, truncates and resets; with
//! its state file it counts nothing twice and loses nothing of connections that live.
//!
//! `LAB_KILLS=500` is the full length; the seed is printed and can be given by `LAB_SEED`.

use std::time::Duration;

use netmon::clock;
use netmon::export::dakr::jitter::Jitter;
use netmon::flow::TxRx;
use nix::sys::signal::Signal;

use crate::agent::eventually;
use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::proxy::Proxy;
use crate::rows::{self, ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("kills", "rule 14", run).only(&[Source::Netfilter]);

/// Connections that live through everything: of these not a byte may be missing.
const LASTING: &[Row] = &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080))];
/// Connections that end within milliseconds: what ended since the last state write may be missing.
const SHORT: &[Row] = &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8081))];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(lab: &Lab) -> Result<(), String> {
    let kills = number("LAB_KILLS").unwrap_or(30);
    let seed = number("LAB_SEED").unwrap_or_else(|| clock::now().wall_ns);
    println!("kills: {kills} of them, LAB_SEED={seed}");
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    w.peer.serve_tcp(REMOTE_POD, 8081)?;
    // The kernel forgets a short connection within a second, so that only an agent that runs can count it.
    lab.node().run(&["sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_timeout_time_wait=1"], "")?;
    let proxy = lab.node().enter(|| Proxy::start(lab.dakr.address(), seed))?;
    let state = lab.file("state");
    let start = || {
        lab.agent()
            .environment("DAKR_URL", &proxy.url)
            .flag("-state-dir", &state.to_string_lossy())
            .flag("-read-interval", "100ms")
    };
    // Its first sweep makes baselines of nothing.
    let first = start().ready()?;
    eventually("the first state file is there", Duration::from_secs(30), || {
        state.join("state").exists().then_some(()).ok_or_else(|| "it is not".to_owned())
    })?;
    let to = || w.p1.actor().open(socket(REMOTE_POD, 8080));
    let held = [to()?, to()?, to()?];
    let mut dice = Jitter::new(!seed);
    let mut agent = first;
    for _ in 0..kills {
        // Mostly long enough for a flush or two; now and then in the middle of the start.
        let life_ms = if dice.up_to(4) == 0 { dice.up_to(150) } else { dice.up_to(2_500) };
        let until_ns = clock::now().mono_ns + life_ms * clock::MS;
        while clock::now().mono_ns < until_ns {
            for one in &held {
                one.exchange(700, 9_000)?;
            }
            w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8081), 3, 100, 1_000))?;
            clock::sleep_ns(dice.up_to(20) * clock::MS);
        }
        agent.signal(Signal::SIGKILL)?;
        drop(agent);
        agent = start().spawn()?;
    }
    proxy.heal();
    agent.wait_ready()?;
    agent.wait_sweeps(3)?;
    agent.terminate()?;
    judge(lab, kills, proxy.faults())
}

fn judge(lab: &Lab, kills: u64, faults: u64) -> Result<(), String> {
    let truth = lab.truth()?;
    let pushed = lab.dakr.pushed()?;
    let sum = |rows: &[Row]| {
        let want = rows::pushed(rows, &truth);
        let got = want.keys().filter_map(|key| pushed.get(key)).fold(TxRx::ZERO, |sum, counts| sum + *counts);
        (want.values().fold(TxRx::ZERO, |sum, counts| sum + *counts), got)
    };
    let (lasting, lasting_got) = sum(LASTING);
    let (short, short_got) = sum(SHORT);
    let (repeats, repeated_bytes) = lab.dakr.repeats();
    println!(
        "kills: {kills}, faults: {faults}; lasting connections: {} of {} bytes; short ones: {} of {} bytes; a sink that drops \
         repeats has 0 bytes twice, one that does not has {repeated_bytes} bytes twice in {repeats} repeats",
        lasting_got.total_bytes(),
        lasting.total_bytes(),
        short_got.total_bytes(),
        short.total_bytes(),
    );
    if lasting_got != lasting {
        return Err(format!("lasting connections: DAKR has {lasting_got:?} of {lasting:?}"));
    }
    // Differences saturate: a zero says "at most".
    if !(short_got - short).is_zero() {
        return Err(format!("short connections: DAKR has {short_got:?} of {short:?}"));
    }
    if short_got.is_zero() || lasting.is_zero() {
        return Err("nothing was sent that could be judged".to_owned());
    }
    // Each repeat follows an answer that was not heard or a kill.
    if repeats > faults + kills {
        return Err(format!("{repeats} repeats after {faults} faults and {kills} kills"));
    }
    Ok(())
}
