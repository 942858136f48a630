//! `zxporter-netmon doctor`: everything that has to hold for traffic to be counted and delivered, looked at once.
//!
//! It changes nothing and needs no agent. What stands on the node is judged by [`crate::findings`]; here are the peers
//! and what belongs to a running agent.

mod dakr;
mod local;
mod pods;

use nix::unistd::geteuid;

use crate::clock::{self, SECOND};
use crate::config::{Config, Dns, Mode};
use crate::findings::node::{self, Facts, Wanted};
use crate::findings::{Finding, Verdict, read};
use crate::source::cilium::Cilium;
use crate::source::{Source, SourceHealth};
use crate::sys::privileges::Capabilities;
use crate::{VERSION, privileges};

/// How long interfaces are looked at.
const LOOK_NS: u64 = 2 * SECOND;

/// The first line, and everything that was found.
pub fn examine(config: &Config) -> (String, Vec<Finding>) {
    privileges::raise_all();
    let facts = read::facts(config.cgroup_root.as_deref(), LOOK_NS);
    let wanted = wanted(config, &facts);
    let mut found = node::findings(&facts, wanted);
    let (of_cilium, no_cilium) = cilium(config, wanted, facts.held);
    found.extend(of_cilium);
    if !config.standalone {
        found.push(pods::examine(config));
    }
    found.extend(dakr::examine(config));
    found.extend(local::state_folder(config.state_dir.as_deref()));
    found.push(local::port(config.metrics_bind));
    found.push(modes(config, &facts, &found, no_cilium));
    let title =
        format!("zxporter-netmon {VERSION} on {}, uid {}, Linux {}", config.node_name, geteuid(), facts.release);
    (title, found)
}

fn wanted(config: &Config, facts: &Facts) -> Wanted {
    let (netfilter, programs, both) = match config.mode {
        Mode::Netfilter => (true, false, false),
        Mode::Ebpf => (false, true, false),
        // Where the programs cannot run, conntrack counts alone.
        Mode::Auto => match facts.held.contains(Capabilities::BPF) {
            true => (false, true, true),
            false => (true, false, false),
        },
        Mode::Cilium | Mode::Replay(_) => (false, false, false),
    };
    Wanted {
        netfilter,
        programs,
        names: config.dns != Dns::Off,
        both,
        standalone: config.standalone,
        manage: config.manage_conntrack,
    }
}

/// What is found of Cilium, and why mode cilium would not count here. Said where that mode is wanted, or where Cilium keeps
/// pods' packets from conntrack; our own programs see packets wherever Cilium sends them.
fn cilium(config: &Config, wanted: Wanted, held: Capabilities) -> (Option<Finding>, Option<&'static str>) {
    const AREA: &str = "Cilium";
    let is_wanted = config.mode == Mode::Cilium;
    let mut maps = match Cilium::open(config.cilium_bpf_root.as_deref()) {
        Ok(maps) => maps,
        Err(error) => {
            let cure = "-cilium-bpf-root, or -collector-mode netfilter";
            return (is_wanted.then(|| Finding::fail(AREA, error.to_string(), cure)), Some("no maps"));
        }
    };
    let SourceHealth { degraded, accounting_off, .. } = maps.upkeep(clock::now());
    let found = match (is_wanted, accounting_off) {
        (true, _) if degraded.is_empty() => Some(Finding::ok(AREA, "its maps count")),
        (true, _) => Some(Finding::warn(AREA, "its maps do not say everything", degraded)),
        (false, _) if !wanted.netfilter => None,
        (false, true) => Some(Finding::warn(
            AREA,
            "it is here, what it routes by BPF passes no conntrack, and its own accounting is off",
            format!("-collector-mode ebpf or auto, or -collector-mode cilium and: {degraded}"),
        )),
        (false, false) => Some(Finding::warn(
            AREA,
            "it is here, and what it routes by BPF passes no conntrack",
            "-collector-mode cilium or auto; with legacy host routing and kube-proxy nothing is missing",
        )),
    };
    // Where its maps do not count, our programs do.
    (found, (accounting_off && !held.contains(Capabilities::BPF)).then_some("accounting off"))
}

/// Which modes could count here.
fn modes(config: &Config, facts: &Facts, found: &[Finding], no_cilium: Option<&str>) -> Finding {
    let one = |name: &str, wants: Capabilities, other: Option<&str>| {
        let missing = wants.without(facts.held);
        match (missing == Capabilities::NONE, other) {
            (false, _) => format!("{name} no ({missing})"),
            (true, Some(why)) => format!("{name} no ({why})"),
            (true, None) => format!("{name} yes"),
        }
    };
    let both = Capabilities::NET_ADMIN.and(Capabilities::BPF);
    let no_cgroup = facts.cgroup_root.is_err().then_some("no cgroup tree");
    let bad = |area: &str| found.iter().any(|finding| finding.area == area && finding.verdict == Verdict::Fail);
    let tracking = (config.mode == Mode::Netfilter && (bad("tracking") || bad("conntrack"))).then_some("see above");
    let text = [
        one("netfilter", Capabilities::NET_ADMIN, tracking),
        one("ebpf", both, no_cgroup),
        one("cilium", Capabilities::NONE, no_cilium),
        one("names", both, no_cgroup.or((config.dns == Dns::Off).then_some("-dns off"))),
    ];
    Finding::ok("modes", text.join(" | "))
}
