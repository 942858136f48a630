//! Each alert of the chart is silent while all is well, and fires when its fault is made: a real Prometheus scrapes the
//! agent and judges the chart's own rules, with seconds for their minutes.

use std::fs;
use std::time::Duration;

use netmon::clock;

use crate::agent::{Agent, eventually};
use crate::dakr::Mood;
use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::scenario::Scenario;
use crate::scenario::dashboard::ask;
use crate::scenario::opencost::scraped_by;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario =
    Scenario::new("alerts", "-", run).only(&[Source::Netfilter]).needing(&["prometheus", "promtool"]);

const RULES: &str = include_str!("../../../chart/alerts/netmon.yaml");
/// A rule's times, and those that are judged here.
const SCALE: &[(&str, &str)] =
    &[("[15m]", "[10s]"), ("[5m]", "[10s]"), ("for: 15m", "for: 2s"), ("for: 5m", "for: 2s"), ("> 300", "> 15")];
/// Longer than any window and wait of the scaled rules.
const ALL_IS_WELL: u64 = 15 * clock::SECOND;
/// More than all that is well opens, fewer than the crowd.
const FOLLOWED: &str = "500";

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_udp(REMOTE_POD, 5353)?;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    w.outside.serve_tcp(OUTSIDE, 443)?;
    let rules = scaled()?;
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    fs::write(lab.file("rules.yml"), &rules).map_err(|error| format!("cannot write the rules: {error}"))?;
    let _prometheus = scraped_by(
        lab,
        &format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\nscrape_configs:\n\
             - job_name: netmon\n  static_configs:\n  - targets: ['127.0.0.1:8081']\n",
            lab.file("rules.yml").display()
        ),
    )?;

    let agent = lab.agent().flag("-max-connections", FOLLOWED).ready()?;
    let carry = || w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 5, 100, 10_000)).map(drop);
    carry()?;
    eventually("Prometheus has the series", Duration::from_secs(20), || {
        let series = ask(lab, "netmon_traffic_bytes_total")?;
        if series.is_empty() { Err("none yet".to_owned()) } else { Ok(()) }
    })?;
    let well_at = clock::now().mono_ns + ALL_IS_WELL;
    while clock::now().mono_ns < well_at {
        carry()?;
        clock::sleep_ns(clock::SECOND);
    }
    let early = ask(lab, "ALERTS")?;
    if !early.is_empty() {
        return Err(format!("alerts though all is well: {early:?}"));
    }
    // A rule that Prometheus had refused would never be judged, and so never fire.
    if ask(lab, "namespace_class_flow:netmon_traffic_bytes:rate5m")?.is_empty() {
        return Err("the recording rule is not judged".to_owned());
    }
    let mut fired = faults_while_it_runs(lab, &agent)?;
    agent.terminate()?;
    fired.extend(faults_of_the_source(lab)?);
    match alerts.iter().find(|alert| !fired.contains(alert)) {
        Some(alert) => Err(format!("no fault here provokes {alert}")),
        None => Ok(()),
    }
}

/// What makes an agent alert that began well, each fault after the other.
fn faults_while_it_runs(lab: &Lab, agent: &Agent<'_>) -> Result<Vec<&'static str>, String> {
    let w = &lab.world;
    lab.node().nft(&format!(
        "table inet lab_untracked {{
            chain early {{ type filter hook prerouting priority raw; ip saddr {P3} notrack; ip daddr {P3} notrack; }}
        }}"
    ))?;
    let untracked = || w.p3.actor().burst(Burst::new(socket(OUTSIDE, 443), 5, 100, 500_000)).map(drop);
    fires(lab, "NetmonImpaired", "reason=\"blind\"", untracked)?;
    lab.node().nft("delete table inet lab_untracked")?;

    let forward = || w.peer.actor().burst(Burst::new(socket(OUTSIDE, 443), 5, 100, 100_000)).map(drop);
    fires(lab, "NetmonUnattributed", "", forward)?;

    // Each connection is another one; beyond those that are followed, bytes are lost by name.
    let crowd = || w.p1.actor().udp(socket(REMOTE_POD, 5353), 800, 2, 100, 200);
    fires(lab, "NetmonTableFull", "", crowd)?;
    lab.end_connections("udp")?;
    fires(lab, "NetmonLosesBytes", "reason=\"connection_table_full\"", || {
        crowd()?;
        lab.end_connections("udp")
    })?;

    lab.dakr.set_mood(Mood::Refuse);
    let carry = || w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 5, 100, 10_000)).map(drop);
    fires(lab, "NetmonPushFailing", "", carry)?;
    lab.dakr.set_mood(Mood::Take);
    agent.wait_sweeps(1)?;
    Ok(vec!["NetmonImpaired", "NetmonTableFull", "NetmonLosesBytes", "NetmonUnattributed", "NetmonPushFailing"])
}

/// Another mode than the wanted one, and readings further apart than the alert allows.
fn faults_of_the_source(lab: &Lab) -> Result<Vec<&'static str>, String> {
    let bare = lab.file("bpffs");
    fs::create_dir(&bare).map_err(|error| format!("cannot make a folder: {error}"))?;
    let agent = lab
        .agent()
        .flag("-collector-mode", "cilium")
        .flag("-fallback", "auto")
        .flag("-cilium-bpf-root", &bare.to_string_lossy())
        .flag("-read-interval", "5m")
        .ready()?;
    fires(lab, "NetmonFallback", "wanted=\"cilium\"", || Ok(()))?;
    fires(lab, "NetmonNoSweep", "", || Ok(()))?;
    agent.terminate()?;
    Ok(vec!["NetmonFallback", "NetmonNoSweep"])
}

/// Goes on with the fault until the alert fires.
fn fires(lab: &Lab, alert: &str, label: &str, fault: impl Fn() -> Result<(), String>) -> Result<(), String> {
    let firing = format!("ALERTS{{alertname=\"{alert}\",alertstate=\"firing\",{label}}}");
    eventually(&format!("{alert} fires"), Duration::from_secs(60), || {
        fault()?;
        clock::sleep_ns(clock::SECOND / 2);
        if ask(lab, &firing)?.is_empty() { Err(format!("{:?}", ask(lab, "ALERTS")?)) } else { Ok(()) }
    })
}

/// The chart's rules with seconds for minutes. A time that is not known here would make the scenario wait for it.
fn scaled() -> Result<String, String> {
    let rules = SCALE.iter().fold(RULES.to_owned(), |rules, (long, short)| rules.replace(long, short));
    match rules.lines().find(|line| line.contains("m]") || (line.contains("for: ") && line.ends_with('m'))) {
        Some(line) => Err(format!("a time of the chart's rules is not scaled: {line}")),
        None => Ok(rules),
    }
}
