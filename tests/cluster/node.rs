//! The node: the product's endpoints, DAKR's books, the parts of the cluster, and the world beyond its wire.

use std::cell::Cell;
use std::net::IpAddr;
use std::process::{Child, Command};
use std::time::Duration;

use netmon::clock::{self, SECOND};
use serde_json::Value;

use crate::dakr::Kept;
use crate::judge::{self, Expected, Row, Sums, WireKey};
use crate::kube::{Namespace, Pod, eventually, run};
use crate::truth::{self, Carried, Flow, Truth};

/// Where the product runs in the cluster.
pub const PRODUCT: &str = "devzero-system";
pub const DAEMON_SET: &str = "daemonset/netmon-zxporter-netmon";
/// The node's own addresses.
pub const NODE: &str = "192.168.77.10";
/// Addresses beyond: the gateway, and one that is outside of the cluster's ranges.
pub const GATEWAY: &str = "192.168.77.1";
pub const WORLD: &str = "198.51.100.7";
pub const WORLD_V6: &str = "2001:db8::7";

/// What all cases share.
pub struct Cluster {
    outside: String,
    /// Cases so far, for names that were never used.
    cases: Cell<u32>,
    /// Counted at sockets, where TCP segments that no socket stands behind are not seen: four packets of 40 bytes a
    /// connection and row at most.
    pub by_socket: Cell<bool>,
}

/// An actor beyond the node. Ends when dropped.
pub struct World {
    child: Child,
    actor: Pod,
}

impl World {
    pub fn tell(&self, command: &str) -> Result<String, String> {
        self.actor.tell(command)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A moment: what nft had counted, and DAKR.
pub struct Before {
    truth: Truth,
}

impl Cluster {
    /// Lays the counters and finds the world.
    pub fn new() -> Result<Cluster, String> {
        truth::install()?;
        let outside = std::fs::read_to_string("/run/outside").map_err(|e| format!("no world beyond: {e}"))?;
        Ok(Cluster { outside: outside.trim().to_owned(), cases: Cell::new(0), by_socket: Cell::new(false) })
    }

    /// A namespace for a case, and the moment from which on it is judged.
    pub fn case(&self, name: &str) -> Result<(Namespace, Before), String> {
        self.cases.set(self.cases.get() + 1);
        Ok((Namespace::new(&format!("{name}-{}", self.cases.get()))?, Before { truth: Truth::read()? }))
    }

    /// An actor beyond the node.
    pub fn world_actor(&self) -> Result<World, String> {
        let actor = Pod {
            socket: format!("{}/world", crate::actor::MEETING),
            ..Pod::silent("world", WORLD.parse().expect("a literal"))
        };
        let _ = std::fs::remove_file(&actor.socket);
        let child = self.world(&["actor", "world"]).spawn().map_err(|e| format!("no actor beyond: {e}"))?;
        let world = World { child, actor };
        eventually("the world answers", Duration::from_secs(10), || world.tell("resolve 127.0.0.1"))?;
        Ok(world)
    }

    fn world(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.outside]);
        command.arg(std::env::current_exe().expect("a file")).args(words);
        command
    }

    /// A transfer from beyond the node, tried until it works.
    pub fn world_sends(&self, words: &str) -> Result<(), String> {
        let arguments: Vec<&str> = ["send"].into_iter().chain(words.split(' ')).collect();
        eventually(words, Duration::from_secs(20), || {
            let output = self.world(&arguments).output().map_err(|e| e.to_string())?;
            if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
        })
    }

    /// `/flows` of the product.
    pub fn flows(&self) -> Result<Value, String> {
        get("http://127.0.0.1:8081/flows")
    }

    /// DAKR's books, by way of its pod: the service's address would be one more thing that can fail.
    pub fn kept(&self) -> Result<Kept, String> {
        let books = get("http://10.96.0.80/kept")?;
        serde_json::from_value(books).map_err(|e| format!("DAKR's books: {e}"))
    }

    /// Holds all rows of a case, those of its pods and those at its ports of the node, to the truth: at `/flows`, and at
    /// DAKR. Rows of the last transfers need a sweep and a push, so it is tried for a while.
    pub fn judge(&self, namespace: &Namespace, before: &Before, expected: &[Expected]) -> Result<(), String> {
        self.judge_shown(namespace, before, expected)?;
        self.judge_pushed(namespace, before, expected)
    }

    pub fn judge_shown(&self, namespace: &Namespace, before: &Before, expected: &[Expected]) -> Result<(), String> {
        let ports = expected.iter().map(Expected::port).collect::<Vec<_>>();
        let prefix = format!("{}/", namespace.name);
        let mine = |row: &Row| row.owner.starts_with(&prefix) || row.owner == "host" && ports.contains(&row.port);
        eventually("/flows is right", Duration::from_secs(25), || {
            let now = Truth::read()?;
            let rows: Sums<Row> = judge::shown(&self.flows()?, mine)?;
            let wanted = judge::to_show(expected, &now, &before.truth);
            let may_miss = |row: &Row| self.may_miss(&now, before, |flow| *flow == row.flow());
            judge::equal("/flows", &wanted, &rows, may_miss).map_err(|e| self.explain(before, &e))
        })
    }

    pub fn judge_pushed(&self, namespace: &Namespace, before: &Before, expected: &[Expected]) -> Result<(), String> {
        let remotes = expected.iter().map(Expected::remote).collect::<Vec<IpAddr>>();
        let ports = expected.iter().map(Expected::port).collect::<Vec<_>>();
        let prefix = format!("{}/", namespace.name);
        let mine = |key: &WireKey| {
            let (owner, _, remote, _, port) = key;
            owner.starts_with(&prefix) || owner == "host" && remotes.contains(remote) && ports.contains(port)
        };
        eventually("DAKR has it right", Duration::from_secs(100), || {
            let now = Truth::read()?;
            let sums = judge::pushed(&self.kept()?, mine)?;
            let wanted = judge::to_push(expected, &now, &before.truth);
            let may_miss = |(_, local, remote, protocol, _): &WireKey| {
                let ends = [*local, *remote];
                self.may_miss(&now, before, |flow| {
                    flow.protocol == *protocol
                        && ([flow.client, flow.server] == ends || [flow.server, flow.client] == ends)
                })
            };
            judge::equal("DAKR", &wanted, &sums, may_miss).map_err(|e| self.explain(before, &e))
        })
    }

    /// Where a name server of the cluster listens: what its service stands for.
    pub fn dns(&self) -> Result<IpAddr, String> {
        let path = "jsonpath={.items[0].status.podIP}";
        let text = run("kubectl", &["-n", "kube-system", "get", "pods", "-l", "k8s-app=kube-dns", "-o", path])?;
        text.parse().map_err(|_| format!("the name server's address is {text:?}"))
    }

    /// Whether any of these rows has carried something.
    pub fn carried(&self, before: &Before, rows: &[Expected]) -> Result<bool, String> {
        let now = Truth::read()?;
        Ok(rows.iter().any(|row| now.of(&row.flow, &before.truth) != Carried::default()))
    }

    /// Bytes of these rows that DAKR has once it has no more for a while, and those that there were.
    pub fn settled(&self, namespace: &Namespace, before: &Before, rows: &[Expected]) -> Result<(u64, u64), String> {
        let prefix = format!("{}/", namespace.name);
        let has = || -> Result<u64, String> {
            let sums = judge::pushed(&self.kept()?, |key| key.0.starts_with(&prefix))?;
            Ok(sums.values().map(|counts| counts[0] + counts[1]).sum())
        };
        let mut last = has()?;
        for _ in 0..6 {
            clock::sleep_ns(5 * SECOND);
            let now = has()?;
            if now == last {
                break;
            }
            last = now;
        }
        let now = Truth::read()?;
        let wanted = judge::to_push(rows, &now, &before.truth);
        Ok((last, wanted.values().map(|counts| counts[0] + counts[1]).sum()))
    }

    /// Installs the chart again with the tests' values and some more, and waits until it is ready.
    pub fn upgrade(&self, more: &[&str]) -> Result<(), String> {
        let values =
            ["upgrade", "netmon", "chart", "--values", "tests/cluster/values.yaml", "--wait", "--timeout", "90s"];
        run("helm", &[&values[..], more].concat())?;
        self.rolled_out()
    }

    /// Waits until the product of the last change runs. `helm --wait` does not: it lets a tenth of the nodes be missing,
    /// and of one node that is all.
    pub fn rolled_out(&self) -> Result<(), String> {
        run("kubectl", &["-n", PRODUCT, "rollout", "status", DAEMON_SET, "--timeout=90s"]).map(drop)
    }

    fn may_miss(&self, now: &Truth, before: &Before, is_of: impl Fn(&Flow) -> bool) -> u64 {
        if self.by_socket.get() { 4 * now.opened_by(&before.truth, is_of) } else { 0 }
    }

    fn explain(&self, before: &Before, error: &str) -> String {
        let flows = Truth::read().map(|now| now.list(&before.truth)).unwrap_or_default();
        format!("{error}  what crossed the node meanwhile:\n{flows}")
    }

    /// Starts, stops or changes a part: `start kubelet`, `stop containerd KILL`.
    pub fn part(&self, words: &[&str]) -> Result<(), String> {
        run("tests/cluster/parts.sh", words).map(drop)
    }

    /// The product's pod of this moment, as the API server has it.
    pub fn product(&self) -> Result<Value, String> {
        let arguments = ["-n", PRODUCT, "get", "pods", "-l", "app=zxporter-netmon", "-o", "json"];
        let list: Value = serde_json::from_str(&run("kubectl", &arguments)?).map_err(|e| e.to_string())?;
        match list["items"].as_array().map(Vec::as_slice) {
            Some([one]) => Ok(one.clone()),
            other => Err(format!("{} pods of the product", other.map_or(0, <[Value]>::len))),
        }
    }
}

/// A GET whose answer is JSON.
fn get(url: &str) -> Result<Value, String> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(10))).proxy(None).build().into();
    let mut answer = agent.get(url).call().map_err(|e| format!("GET {url}: {e}"))?;
    let text = answer.body_mut().read_to_string().map_err(|e| format!("GET {url}: {e}"))?;
    serde_json::from_str(&text).map_err(|e| format!("GET {url} is no JSON: {e}"))
}
