//! A Connect server that is not ours (connect-node, `tests/interop`) takes what the agent pushes and decodes the rows.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use netmon::flow::{Counts, TxRx};
use serde_json::Value;

use crate::dakr::TOKEN;
use crate::drive::Burst;
use crate::lab::Lab;
use crate::process;
use crate::rows::{self, ADDRESS, HOST, Pushed, Row, WireKey, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::{ip, socket};

/// See the file's head.
pub const SCENARIO: Scenario =
    Scenario::new("connect_server", "DAKR's protocol; rule 9", run).needing(&["node", "npm"]);

const EXPECTED: &[Row] = &[
    Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080)),
    Row::outbound(ADDRESS, P1_V6, REMOTE_POD_V6, tcp(8080)),
    Row::inbound(HOST, WAN, OUTSIDE, tcp(9100)).outside(),
];

/// Stopped when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    if !directory.join("node_modules/@connectrpc/connect-node").exists() {
        let mut install = Command::new("npm");
        let install = install.args(["ci", "--no-audit", "--no-fund"]).current_dir(&directory).output();
        let install = install.map_err(|e| format!("cannot run npm: {e}"))?;
        if !install.status.success() {
            return Err(format!("npm ci: {}", String::from_utf8_lossy(&install.stderr)));
        }
    }
    let mut node = process::command("node", &w.node.place);
    node.args(["connect_node_server.mjs", "../golden/dakr/netmon.binpb", "0"]);
    node.current_dir(&directory).stdout(Stdio::piped());
    let mut server = Server(lab.node().enter(|| node.spawn()).map_err(|e| format!("cannot start node: {e}"))?);
    let mut lines = BufReader::new(server.0.stdout.take().expect("piped above")).lines().map(|line| {
        let line = line.map_err(|e| format!("the server is gone: {e}"))?;
        serde_json::from_str::<Value>(&line).map_err(|e| format!("the server says {line:?}: {e}"))
    });
    let port = lines.next().ok_or("the server says nothing")??["listening"].as_u64().ok_or("no port")?;

    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    w.peer.serve_tcp(REMOTE_POD_V6, 8080)?;
    w.node.serve_tcp(WAN, 9100)?;
    let agent = lab
        .quiet_agent()
        .environment("DAKR_URL", &format!("http://127.0.0.1:{port}/"))
        .environment("CLUSTER_TOKEN", TOKEN)
        .ready()?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 20, 100, 5_000))?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD_V6, 8080), 20, 100, 5_000))?;
    w.outside.actor().burst(Burst::new(socket(WAN, 9100), 20, 100, 5_000))?;
    let truth = lab.truth()?;
    lab.shows(&agent, EXPECTED, &truth)?;
    agent.terminate()?;

    drop(server);
    let mut received = Pushed::new();
    let mut heartbeats = 0;
    for call in lines {
        let call = call?;
        if call["headers"]["authorization"].as_str() != Some(format!("Bearer {TOKEN}").as_str()) {
            return Err(format!("no token in {call}"));
        }
        match call["rpc"].as_str() {
            Some("ReportHealth") => heartbeats += 1,
            Some("SendNetworkTrafficMetrics") => {
                for item in call["message"]["items"].as_array().into_iter().flatten() {
                    let (key, counts) = read(item)?;
                    *received.entry(key).or_default() += counts;
                }
            }
            _ => return Err(format!("an unknown call: {call}")),
        }
    }
    if heartbeats == 0 {
        return Err("no heartbeat arrived".to_owned());
    }
    rows::equal("what the Connect server received", &rows::pushed(EXPECTED, &truth), &received)
}

/// An item as protobuf's JSON form writes it: camelCase, 64-bit numbers as text, what is 0 left out.
fn read(item: &Value) -> Result<(WireKey, TxRx), String> {
    let text = |name: &str| item[name].as_str().unwrap_or_default();
    let number = |name: &str| match &item[name] {
        Value::Null => Ok(0),
        Value::String(digits) => digits.parse().map_err(|_| format!("{name} in {item}")),
        other => other.as_u64().ok_or_else(|| format!("{name} in {item}")),
    };
    let key = WireKey {
        pod: (text("srcPodNamespace").to_owned(), text("srcPodName").to_owned()),
        src: ip(text("srcIp")),
        dst: ip(text("dstIp")),
        protocol: number("protocol")? as u8,
        port: number("dstPort")? as u16,
    };
    let counts = TxRx {
        tx: Counts { bytes: number("txBytes")?, packets: number("txPackets")? },
        rx: Counts { bytes: number("rxBytes")?, packets: number("rxPackets")? },
    };
    Ok((key, counts))
}
