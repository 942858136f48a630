//! Sends the same traffic through a network, and judges each row of it by what the ends themselves saw.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use netmon::clock;
use serde_json::Value;

use super::build;
use super::record::Recording;
use crate::agent::{Agent, DEGRADED, binary, eventually};
use crate::api::{Api, pod};
use crate::drive::{Actor, Burst};
use crate::lab::{Lab, Source};
use crate::process::Place;
use crate::rows::{self, HOST, Row, Shown, tcp, udp};
use crate::topology::addr::*;
use crate::topology::{BACKEND_PORT, Host, SERVICE_PORT, socket};
use crate::truth::{Flow, Truth};

const POD1: &str = "pod shop/p1";
const POD2: &str = "pod shop/p2";
const POD3: &str = "pod shop/p3";

/// Port of the one large connection.
const BULK_PORT: u16 = 8081;
/// Port of the datagrams.
const UDP_PORT: u16 = 5353;

/// One kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A pod to a pod of the other node: many connections, a large one, datagrams.
    Away,
    /// A pod to a pod of this node.
    Near,
    /// A pod to a service with a pod of this node behind it.
    Service,
    /// The node to a pod of the other node.
    NodeAway,
    /// The node to the service.
    NodeService,
    /// A pod to the service that IPVS has.
    Ipvs,
    /// The node to the service that IPVS has.
    NodeIpvs,
    /// A pod whose sockets are in a kernel of its own, to a pod of the other node.
    Sandbox,
}

/// A row, and the flow as the end saw it whose counters it must have.
struct Judged {
    row: Row,
    at: fn(&Lab) -> &Host,
    flow: Flow,
}

impl Way {
    fn send(self, lab: &Lab, sandbox: &Actor) -> Result<(), String> {
        let w = &lab.world;
        let (from, to) = match self {
            Way::Away => (w.p1.actor(), socket(REMOTE_POD, BACKEND_PORT)),
            Way::Sandbox => (sandbox, socket(REMOTE_POD, BACKEND_PORT)),
            Way::Near => (w.p1.actor(), socket(P2, BACKEND_PORT)),
            Way::Service => (w.p3.actor(), socket(SERVICE, SERVICE_PORT)),
            Way::NodeAway => (w.node.actor(), socket(REMOTE_POD, BACKEND_PORT)),
            Way::NodeService => (w.node.actor(), socket(SERVICE, SERVICE_PORT)),
            Way::Ipvs => (w.p3.actor(), socket(build::IPVS_SERVICE, SERVICE_PORT)),
            Way::NodeIpvs => (w.node.actor(), socket(build::IPVS_SERVICE, SERVICE_PORT)),
        };
        let connections = if Recording::is_wanted() { 3 } else { 20 };
        from.burst(Burst::new(to, connections, 100, 3_000))?;
        if matches!(self, Way::Away | Way::Sandbox) {
            from.burst(Burst::new(socket(REMOTE_POD, BULK_PORT), 1, 100, 3_000_000))?;
            from.udp(socket(REMOTE_POD, UDP_PORT), if Recording::is_wanted() { 2 } else { 10 }, 5, 100, 300)?;
        }
        Ok(())
    }

    /// The rows of it.
    fn rows(self) -> Vec<Judged> {
        let p1: fn(&Lab) -> &Host = |lab| &lab.world.p1;
        let p2: fn(&Lab) -> &Host = |lab| &lab.world.p2;
        let p3: fn(&Lab) -> &Host = |lab| &lab.world.p3;
        let peer: fn(&Lab) -> &Host = |lab| &lab.world.peer;
        let judged = |row: Row, at, client, server, (protocol, port)| Judged {
            row,
            at,
            flow: Flow::new(client, server, protocol, port),
        };
        let backend = tcp(BACKEND_PORT);
        match self {
            Way::Away | Way::Sandbox => [backend, tcp(BULK_PORT), udp(UDP_PORT)]
                .map(|port| judged(Row::outbound(POD1, P1, REMOTE_POD, port), peer, P1, REMOTE_POD, port))
                .into(),
            Way::Near => vec![
                judged(Row::outbound(POD1, P1, P2, backend), p1, P1, P2, backend),
                judged(Row::inbound(POD2, P2, P1, backend), p2, P1, P2, backend),
            ],
            Way::Service | Way::Ipvs => {
                let service = if self == Way::Service { SERVICE } else { build::IPVS_SERVICE };
                vec![
                    judged(Row::outbound(POD3, P3, P2, backend), p3, P3, service, tcp(SERVICE_PORT)),
                    judged(Row::inbound(POD2, P2, P3, backend), p2, P3, P2, backend),
                ]
            }
            Way::NodeAway => {
                vec![judged(Row::outbound(HOST, NODE, REMOTE_POD, backend), peer, NODE, REMOTE_POD, backend)]
            }
            Way::NodeService | Way::NodeIpvs => {
                // A service address on `lo` is the source of what goes to it.
                let node = if self == Way::NodeService { NODE } else { build::IPVS_SERVICE };
                vec![
                    judged(Row::outbound(HOST, node, P2, backend), p2, node, P2, backend),
                    judged(Row::inbound(POD2, P2, node, backend), p2, node, P2, backend),
                ]
            }
        }
    }
}

/// What a mode that does not see all of a network does. What it shows is right.
#[derive(Clone, Copy)]
pub enum Hidden {
    /// Its health and `doctor` name the cause, with this word.
    Caused(&'static str),
    /// Its health says so, with this word; no cause can be found.
    Says(&'static str),
}

/// One network.
pub struct Network {
    build: fn(&Lab) -> Result<(), String>,
    ways: &'static [Way],
    hidden: Option<(&'static [Source], Hidden)>,
}

impl Network {
    /// Every mode sees all of it.
    pub const fn new(build: fn(&Lab) -> Result<(), String>, ways: &'static [Way]) -> Network {
        Network { build, ways, hidden: None }
    }

    /// These modes do not.
    pub const fn hidden_from(mut self, sources: &'static [Source], hidden: Hidden) -> Network {
        self.hidden = Some((sources, hidden));
        self
    }

    /// Makes it, and judges what the agent shows.
    pub fn judge(&self, lab: &Lab, name: &'static str) -> Result<(), String> {
        let w = &lab.world;
        (self.build)(lab)?;
        let rows: Vec<Judged> = self.ways.iter().flat_map(|way| way.rows()).collect();
        for host in [&w.p1, &w.p2, &w.p3, &w.peer] {
            Truth::install(&host.netns, &[], false)?;
        }
        for port in [BACKEND_PORT, BULK_PORT] {
            w.peer.serve_tcp(REMOTE_POD, port)?;
        }
        w.peer.serve_udp(REMOTE_POD, UDP_PORT)?;
        w.p2.serve_tcp(P2, BACKEND_PORT)?;
        let sandbox = w.p1.netns.enter(|| Actor::start(&Place::default()))?;
        let mut api = Api::start(lab);
        // Rows stay, however long a slow machine takes for what comes after them.
        let start = lab.agent_in_cluster(&api)?.environment("FLUSH_INTERVAL", "1h");
        let recording = Recording::wanted(lab, name);
        let start = recording.iter().try_fold(start, |start, recording| recording.record(lab, start))?;
        let agent = start.ready()?;
        let since_s = (clock::now().wall_ns / clock::SECOND) as i64 - 600;
        api.list(&[
            pod("p1", 1, &[P1, P1_V6], since_s),
            pod("p2", 2, &[P2, P2_V6], since_s),
            pod("p3", 3, &[P3, P3_V6], since_s),
        ])?;
        eventually("the agent knows the pods", Duration::from_secs(20), || match agent.metric("netmon_pods")? {
            3.0 => Ok(()),
            pods => Err(format!("{pods} pods")),
        })?;
        agent.wait_sweeps(2)?;
        let send = || self.ways.iter().try_for_each(|way| way.send(lab, &sandbox));
        send()?;
        let hidden = self.hidden.filter(|(sources, _)| sources.contains(&lab.source)).map(|(_, hidden)| hidden);
        match hidden {
            Some(hidden @ (Hidden::Says(word) | Hidden::Caused(word))) => {
                eventually("the agent says what hides traffic from it", Duration::from_secs(90), || {
                    send()?;
                    let (status, message) = agent.monitor()?;
                    let says = status == DEGRADED && message.contains(word);
                    if says { Ok(()) } else { Err(format!("{status}: {message}")) }
                })?;
                at_most(&rows, lab, &agent)?;
                match hidden {
                    Hidden::Caused(word) => doctor(lab, Some(word))?,
                    Hidden::Says(_) => {}
                }
            }
            None => {
                exactly(&rows, lab, &agent)?;
                doctor(lab, None)?;
            }
        }
        recording.map_or(Ok(()), |recording| recording.keep(lab, agent))
    }
}

/// What the rows must show, and the connections of each.
fn wanted(rows: &[Judged], lab: &Lab) -> Result<(Shown, BTreeMap<rows::Key, u64>), String> {
    // Once nothing moves any more. Of the node's own truth what conntrack let pass uncounted.
    let node = lab.truth()?;
    let (mut shown, mut opened) = (Shown::new(), BTreeMap::new());
    for Judged { row, at, flow } in rows {
        let truth = Truth::read(&at(lab).netns)?;
        let counts = (truth.of(*flow) - node.uncounted(row.flow())).seen_by(row.direction());
        if counts.is_zero() {
            return Err(format!("the truth holds nothing of {flow}: the network does not carry what it should"));
        }
        shown.insert(row.key(), counts);
        opened.insert(row.key(), truth.opened(*flow));
    }
    Ok((shown, opened))
}

/// Every row is there to the byte, no other but the tunnel's own, and nothing is called wrong.
fn exactly(rows: &[Judged], lab: &Lab, agent: &Agent<'_>) -> Result<(), String> {
    let (want, opened) = wanted(rows, lab)?;
    let judge = |when: &str| {
        let mut shown = agent.shown()?;
        // A tunnel's own packets, and what a bridge tells of its groups.
        shown.retain(|key, _| !matches!(key.class.as_str(), "overlay" | "multicast"));
        rows::equal_for(lab.source, when, &want, &shown, &opened)
    };
    eventually("the rows at /flows are those expected", Duration::from_secs(15), || judge("/flows"))?;
    agent.wait_sweeps(2)?;
    judge("/flows, two sweeps later")?;
    lab.balances(agent)?;
    let (status, message) = agent.monitor()?;
    if status == DEGRADED { Err(format!("all is shown, and the agent calls it degraded: {message}")) } else { Ok(()) }
}

/// `doctor` names the cause that hides traffic here, or none.
fn doctor(lab: &Lab, word: Option<&str>) -> Result<(), String> {
    let mut command = Command::new(binary());
    command.env_remove("KUBECONFIG").args(["doctor", "-format", "json", "-standalone", "-dns", "off"]);
    command.args(["-collector-mode", lab.source.mode()]);
    let done = lab.node().enter(|| command.output()).map_err(|e| format!("cannot start doctor: {e}"))?;
    let said = String::from_utf8_lossy(&done.stdout);
    let found: Vec<Value> = serde_json::from_str(said.lines().last().unwrap_or_default())
        .map_err(|e| format!("doctor prints no JSON ({e}): {done:?}"))?;
    let mut causes = found.iter().filter(|line| line["area"] == "data plane" && line["verdict"] != "ok");
    let names = |cause: &Value| cause["text"].as_str().is_some_and(|text| word.is_some_and(|word| text.contains(word)));
    match (word, causes.clone().next()) {
        (None, None) => Ok(()),
        (Some(_), Some(_)) if causes.all(names) => Ok(()),
        _ => Err(format!("doctor is to name {word:?}, and says {found:?}")),
    }
}

/// What is shown of the expected rows is no more than there was.
fn at_most(rows: &[Judged], lab: &Lab, agent: &Agent<'_>) -> Result<(), String> {
    let shown = agent.shown()?;
    let (want, _) = wanted(rows, lab)?;
    for (key, have) in shown {
        let Some(want) = want.get(&key) else { continue };
        if have.tx.bytes > want.tx.bytes || have.rx.bytes > want.rx.bytes {
            return Err(format!("{key} shows {have:?}, and there was {want:?}"));
        }
    }
    Ok(())
}
