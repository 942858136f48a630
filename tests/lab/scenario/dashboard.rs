//! Every query of the chart's dashboard, asked of a real Prometheus that scrapes the agent: each answers, and in the unit
//! that its panel says.

use std::collections::BTreeMap;
use std::time::Duration;

use netmon::clock;
use serde_json::Value;

use crate::agent::eventually;
use crate::dakr::Mood;
use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::scenario::Scenario;
use crate::scenario::opencost::scraped_by;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario =
    Scenario::new("dashboard", "-", run).only(&[Source::Netfilter]).needing(&["prometheus", "promtool"]);

const DASHBOARD: &str = include_str!("../../../chart/dashboards/netmon.json");
const SCRAPE: &str = "global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: netmon\n  honor_labels: true\n  \
                      static_configs:\n  - targets: ['127.0.0.1:8081']\n    labels: {node: node-1, namespace: monitoring, pod: agent}\n";
/// The window of the dashboard's rates.
const WINDOW_S: f64 = 300.0;

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.outside.serve_tcp(OUTSIDE, 443)?;
    w.peer.serve_tcp(PEER, 8080)?;
    w.peer.serve_udp(PEER, 8472)?;
    lab.dakr.set_mood(Mood::Refuse);
    let _prometheus = scraped_by(lab, SCRAPE)?;
    let agent = lab.agent().ready()?;
    // What a series holds when it is first seen is in no rate, so every one is there before what is compared.
    let send = |bytes: u64| -> Result<(), String> {
        w.p1.actor().burst(Burst::new(socket(OUTSIDE, 443), 20, 100, bytes))?;
        w.node.actor().burst(Burst::new(socket(PEER, 8080), 20, 100, bytes))?;
        w.node.actor().udp(socket(PEER, 8472), 5, 4, 200, 300)?;
        agent.wait_sweeps(2)?;
        clock::sleep_ns(3 * clock::SECOND);
        Ok(())
    };
    send(1_000)?;
    eventually("Prometheus has the series", Duration::from_secs(20), || {
        match ask(lab, "netmon_traffic_bytes_total")? {
            series if series.is_empty() => Err("none yet".to_owned()),
            _ => Ok(()),
        }
    })?;
    // U1: the target's own namespace and pod stand in no series of traffic, a namespace that is empty included.
    let of_the_target =
        ask(lab, r#"netmon_traffic_bytes_total{namespace!=""} or netmon_traffic_bytes_total{pod!=""}"#)?;
    if !of_the_target.is_empty() {
        return Err(format!("labels of the target go before those of the series: {of_the_target:?}"));
    }
    let bytes = |class: &str| -> Result<f64, String> {
        let metrics = agent.metrics()?;
        let of = |name: &&String| name.starts_with("netmon_traffic_bytes_total{") && name.contains(class);
        Ok(metrics.keys().filter(of).map(|name| metrics[name]).sum())
    };
    let before = (bytes("\"outside\"")?, bytes("\"inside\"")?);
    send(50_000)?;
    let grown = [("outside", bytes("\"outside\"")? - before.0), ("inside", bytes("\"inside\"")? - before.1)];

    let dashboard: Value = serde_json::from_str(DASHBOARD).map_err(|error| error.to_string())?;
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().ok_or("no panels")? {
        let (title, unit) =
            (panel["title"].as_str().unwrap_or_default(), panel["fieldConfig"]["defaults"]["unit"].as_str());
        for target in panel["targets"].as_array().ok_or("no targets")? {
            let query = target["expr"].as_str().ok_or("no query")?;
            let (query, unit) = (query.replace("$node", ".*").replace("$namespace", ".*"), unit.unwrap_or_default());
            if unit != unit_of(&query) {
                return Err(format!("panel {title:?} is in {unit}, but asks for {}: {query}", unit_of(&query)));
            }
            asked += 1;
            eventually("the panel shows something", Duration::from_secs(10), || {
                let said = ask(lab, &query)?;
                if said.is_empty() {
                    return Err(format!("panel {title:?} is empty: {query}"));
                }
                let legend = target["legendFormat"].as_str().unwrap_or_default();
                let names = legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
                let missing =
                    |name: &&str| *name != "pod" && said.keys().any(|labels| !labels.contains(&format!("{name}=\"")));
                match names.filter(|name| *name != "flow").find(missing) {
                    Some(name) => Err(format!("panel {title:?} has a legend without its {name}: {said:?}")),
                    None => Ok(()),
                }
            })?;
            // A rate times its window is what was sent since the series began, and with a handful of scrapes up to half of it
            // more, for which Prometheus extrapolates.
            for (class, grown) in &grown {
                if title.to_lowercase().starts_with(class) {
                    let sum = ask(lab, &query)?.values().sum::<f64>() * WINDOW_S;
                    if !(grown * 0.95..grown * 1.5).contains(&sum) {
                        return Err(format!("panel {title:?} shows {sum} bytes of {grown}: {query}"));
                    }
                }
            }
        }
    }
    if asked < 14 {
        return Err(format!("the dashboard has {asked} queries"));
    }
    agent.terminate()
}

/// Grafana's unit of what a query says, by the names of series.
fn unit_of(query: &str) -> &'static str {
    let of = |word: &str| query.contains(word);
    match of("rate(") {
        true if of("_events_total") => "eps",
        true if of("_bytes_total") => "Bps",
        true if of("_seconds_total") => "percentunit",
        true => "ops",
        false if of("_bytes{") => "bytes",
        false => "short",
    }
}

/// The samples, by their labels.
pub(super) fn ask(lab: &Lab, query: &str) -> Result<BTreeMap<String, f64>, String> {
    let said = lab.node().run(&["promtool", "query", "instant", "http://127.0.0.1:9090", query], "")?;
    let samples = said.lines().filter_map(|line| line.split_once(" => "));
    let number = |value: &str| value.split_whitespace().next().and_then(|number| number.parse().ok());
    samples.map(|(labels, value)| Ok((labels.to_owned(), number(value).ok_or("no number")?))).collect()
}
