//! The lab: real traffic between namespaces, the real binary on the node, and rows that must equal what nftables
//! counted, to the byte and the packet.
//!
//! ```text
//! cargo test --test lab                 every scenario
//! cargo test --test lab -- NAME         those whose name contains NAME; --list names them
//! LAB_SOURCE=ebpf cargo test --test lab through another source than netfilter (auto; cilium, cilium-b, cilium-c: its layouts)
//! LAB_HURRY=1                           the minute of load is ten seconds
//! LAB_ON_DEMAND=1                       no -read-interval where a scenario gives none: sweeps happen on demand
//! LAB_BINARY=FILE                       judges this binary instead of the one that cargo built: the static one
//! LAB_TIMES=50                          each of them so many times
//! LAB_PATIENCE=8                        waits so many times as long: in a machine that is emulated
//! LAB_KILLS=500                         as many kills in the scenario of that name
//! LAB_SOAK=30                           as many minutes of the scenario soak
//! LAB_NETWORKS=1                        a network that this kernel cannot make is a failure
//! ```
//!
//! | part | duty |
//! | --- | --- |
//! | [`netns`], [`topology`] | the namespaces and what connects them |
//! | [`dns`] | DNS: servers that answer or lie, many questions, dnsmasq and dig |
//! | [`process`], [`actor`], [`drive`] | helper processes in them, and how a scenario tells them what to send |
//! | [`truth`] | what crossed the node, counted by nftables |
//! | [`capture`] | the frames that a host receives and sends |
//! | [`rows`] | what the rules want of that, and the comparison |
//! | [`agent`], [`api`], [`dakr`] | the agent with its endpoints, who names its pods, and who receives its pushes |
//! | [`proxy`] | a bad network between the two |
//! | [`wall`] | the agent's wall clock, moved |
//! | [`mirror`] | Cilium's maps, filled from what conntrack counts |
//! | [`lab`] | one scenario's world with all of it in place |
//! | [`scenario`] | the scenarios, one a file, expected rows at the top |
//!
//! Needs root, `ip`, `nft`, `conntrack` and `ping`. Nothing of the machine's own network is touched.

mod actor;
mod agent;
mod api;
mod capture;
#[path = "../support/cilium.rs"]
mod cilium;
mod dakr;
#[path = "../support/dakr_schema.rs"]
mod dakr_schema;
mod dns;
mod drive;
#[path = "../support/fake_kube/mod.rs"]
mod fake_kube;
#[path = "../support/hang.rs"]
mod hang;
mod lab;
mod mirror;
mod netns;
mod process;
mod proxy;
mod rows;
mod scenario;
mod topology;
mod truth;
mod wall;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use netmon::clock;

use crate::lab::{Lab, Source};
use crate::scenario::{Scenario, all};

/// How one scenario ended.
enum End {
    Passed,
    Failed(String),
    Skipped(String),
}

#[derive(Default)]
struct Tally {
    passed: usize,
    skipped: usize,
    failures: Vec<(&'static str, String)>,
}

fn main() -> ExitCode {
    let mut args = std::env::args();
    args.next();
    let args: Vec<String> = match args.next().as_deref() {
        Some("@exec") => process::exec(args),
        first => first.map(str::to_owned).into_iter().chain(args).collect(),
    };
    let wanted: Vec<&String> = args.iter().filter(|a| !a.starts_with('-')).collect();
    let exact = args.iter().any(|a| a == "--exact");
    let matches = |name: &str| {
        wanted.is_empty() || wanted.iter().any(|w| if exact { name == w.as_str() } else { name.contains(w.as_str()) })
    };
    let chosen: Vec<&Scenario> = all().filter(|s| matches(s.name)).collect();
    let times = std::env::var("LAB_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    if args.iter().any(|a| a == "--list") {
        chosen.iter().for_each(|s| println!("{}: test", s.name));
        return ExitCode::SUCCESS;
    }
    let source = match Source::from_environment() {
        Ok(source) => source,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    println!("running {} scenarios of the lab, source {}", chosen.len(), source.mode());
    lab::sweep_leftovers();
    let started = clock::now().mono_ns;
    let tally = Mutex::new(Tally::default());
    // Those that load the machine or turn a knob of the whole kernel run alone, the others two at a time.
    let (alone, beside): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|s| s.alone);
    for _ in 0..times {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while let Some(scenario) = beside.get(next.fetch_add(1, Relaxed)) {
                        run(scenario, source, &tally);
                    }
                });
            }
        });
        alone.iter().for_each(|scenario| run(scenario, source, &tally));
    }

    let Tally { passed, skipped, failures } = tally.into_inner().expect("scenario panics are caught");
    for (name, why) in &failures {
        println!("\n---- {name} ----\n{why}");
    }
    let seconds = (clock::now().mono_ns - started) / clock::SECOND;
    println!(
        "\ntest result: {}. {passed} passed; {} failed; {skipped} skipped; finished in {seconds}s",
        if failures.is_empty() { "ok" } else { "FAILED" },
        failures.len()
    );
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(scenario: &Scenario, source: Source, tally: &Mutex<Tally>) {
    let started = clock::now().mono_ns;
    let end = end_of(scenario, source);
    let seconds = (clock::now().mono_ns - started) as f64 / clock::SECOND as f64;
    let mut tally = tally.lock().expect("scenario panics are caught");
    let verdict = match end {
        End::Passed => {
            tally.passed += 1;
            "ok".to_owned()
        }
        End::Skipped(why) => {
            tally.skipped += 1;
            format!("skipped: {why}")
        }
        End::Failed(why) => {
            tally.failures.push((scenario.name, why));
            "FAILED".to_owned()
        }
    };
    println!("test {} ({}) ... {verdict} ({seconds:.1}s)", scenario.name, scenario.rules);
}

/// Runs commands in an empty namespace.
fn probe(commands: &str) -> Result<(), String> {
    match commands {
        "" => Ok(()),
        _ => netns::Netns::new()?.run(&["sh", "-ec", commands], "").map(|_| ()),
    }
}

fn end_of(scenario: &Scenario, source: Source) -> End {
    if !nix::unistd::geteuid().is_root() {
        return End::Skipped("needs root".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !scenario.sources.contains(&source) {
        return End::Skipped(format!("not for source {}", source.mode()));
    }
    let found = |program: &&str| std::env::split_paths(&path).any(|dir| dir.join(program).exists());
    if let Some(missing) = scenario.programs.iter().find(|program| !found(program)) {
        return End::Skipped(format!("needs {missing}"));
    }
    if let Err(why) = probe(scenario.probe) {
        // Elsewhere it is known which networks the kernel has.
        return match std::env::var_os("LAB_NETWORKS") {
            Some(_) => End::Failed(why),
            None => End::Skipped("not on this kernel".to_owned()),
        };
    }
    let worked = catch_unwind(AssertUnwindSafe(|| {
        let lab = Lab::new(scenario, source)?;
        (scenario.run)(&lab).map_err(|why| lab.explain(&why))
    }));
    match worked {
        Ok(Ok(())) => End::Passed,
        Ok(Err(why)) => End::Failed(why),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("something that is no text");
            End::Failed(format!("panicked: {text}"))
        }
    }
}
