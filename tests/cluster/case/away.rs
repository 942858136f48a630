//! What happens to the node: drained, deleted and joined again, away for a while.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use netmon::clock::{self, SECOND};

use super::life::{during, undisturbed, unharmed};
use super::pods::pod_to_pod;
use crate::judge::{Expected, TCP};
use crate::kube::{eventually, run};
use crate::node::{Cluster, PRODUCT};

/// All pods but the product are evicted under traffic, DAKR and the name server among them, and come back.
pub fn drained(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before) = cluster.case("drained")?;
    let [client, server] = namespace.pods(["client", "server"])?;
    server.tell("listen tcp 9400")?;
    let command = format!("tcp {} 9400 2000 25000", server.v4);
    let over = AtomicBool::new(false);
    undisturbed(cluster, || {
        let drained = thread::scope(|scope| {
            scope.spawn(|| {
                // Until one of the two is gone.
                while !over.load(Relaxed) && client.tell(&command).is_ok() {
                    clock::sleep_ns(SECOND / 7);
                }
            });
            clock::sleep_ns(2 * SECOND);
            let flags = ["--ignore-daemonsets", "--force", "--delete-emptydir-data", "--timeout=90s"];
            let drained = run("kubectl", &[&["drain", "node-a"][..], &flags].concat());
            over.store(true, Relaxed);
            drained
        });
        clock::sleep_ns(5 * SECOND);
        run("kubectl", &["uncordon", "node-a"])?;
        drained?;
        all_run()
    })?;
    cluster.judge_pushed(&namespace, &before, &Expected::between(&client, &server, (TCP, 9400)))?;
    pod_to_pod(cluster)
}

fn all_run() -> Result<(), String> {
    let words = ["wait", "--for=condition=Available", "deployment", "--all", "--all-namespaces", "--timeout=90s"];
    run("kubectl", &words).map(drop)
}

/// The node's object is deleted, its pods with it; the kubelet registers it anew.
pub fn deleted_and_joined(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before) = cluster.case("deleted")?;
    let [client, server] = namespace.pods(["client", "server"])?;
    server.tell("listen tcp 9410")?;
    client.tell(&format!("tcp {} 9410 30000 400000", server.v4))?;
    let rows = Expected::between(&client, &server, (TCP, 9410));
    cluster.judge(&namespace, &before, &rows)?;
    run("kubectl", &["delete", "node", "node-a"])?;
    let judged = eventually("its pods are collected", Duration::from_secs(180), || {
        let pods =
            run("kubectl", &["-n", PRODUCT, "get", "pods", "--field-selector=spec.nodeName=node-a", "-o", "name"])?;
        if pods.trim().is_empty() { Ok(()) } else { Err(pods) }
    });
    cluster.part(&["stop", "kubelet"])?;
    cluster.part(&["start", "kubelet"])?;
    let ready = || run("kubectl", &["wait", "--for=condition=Ready", "node/node-a", "--timeout=5s"]);
    eventually("the node is there again", Duration::from_secs(90), ready)?;
    all_run()?;
    let runs = || {
        let ready = cluster.product()?["status"]["containerStatuses"][0]["ready"] == true;
        if ready { Ok(()) } else { Err("the product is not ready".to_owned()) }
    };
    eventually("the product runs again", Duration::from_secs(90), runs)?;
    judged?;
    // Not a byte of before is there twice.
    cluster.judge_pushed(&namespace, &before, &rows)?;
    pod_to_pod(cluster)
}

/// The kubelet is silent until the node counts as lost and services have no ends left: counting goes on.
pub fn node_away(cluster: &Cluster) -> Result<(), String> {
    during(cluster, "away", 9420, || {
        unharmed(cluster, || {
            cluster.part(&["stop", "kubelet", "KILL"])?;
            let lost = run("kubectl", &["wait", "--for=condition=Ready=Unknown", "node/node-a", "--timeout=150s"]);
            clock::sleep_ns(10 * SECOND);
            cluster.part(&["start", "kubelet"])?;
            run("kubectl", &["wait", "--for=condition=Ready", "node/node-a", "--timeout=90s"])?;
            lost?;
            all_run()
        })
    })
}
