//! What happens to the product and around it while traffic goes on.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use netmon::clock::{self, SECOND};
use serde_json::{Value, json};

use crate::judge::{Expected, TCP};
use crate::kube::{Pod, apply, eventually, run};
use crate::node::{Cluster, DAEMON_SET, PRODUCT};

/// A transfer every seventh of a second from one pod to another while something happens; whether all of it arrived.
pub(super) fn during(
    cluster: &Cluster,
    name: &str,
    port: u16,
    happens: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let (namespace, before) = cluster.case(name)?;
    let [client, server] = namespace.pods(["client", "server"])?;
    server.tell(&format!("listen tcp {port}"))?;
    transferring(&client, &server, port, happens)?;
    cluster.judge_pushed(&namespace, &before, &Expected::between(&client, &server, (TCP, port)))
}

fn transferring(
    client: &Pod,
    server: &Pod,
    port: u16,
    happens: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let over = AtomicBool::new(false);
    let command = format!("tcp {} {port} 2000 25000", server.v4);
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            while !over.load(Relaxed) {
                client.tell(&command)?;
                clock::sleep_ns(SECOND / 7);
            }
            Ok::<_, String>(())
        });
        let happened = happens();
        clock::sleep_ns(2 * SECOND);
        over.store(true, Relaxed);
        let sent = sending.join().map_err(|_| "the sender panicked".to_owned())?;
        happened.and(sent)
    })
}

fn restarts(cluster: &Cluster) -> Result<u64, String> {
    let status = &cluster.product()?["status"]["containerStatuses"][0];
    status["restartCount"].as_u64().ok_or_else(|| format!("no container: {status}"))
}

/// Nothing restarted it meanwhile, no probe made it unready.
pub(super) fn undisturbed(cluster: &Cluster, happens: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let ready_since = |pod: &Value| {
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|c| c["type"] == "ContainersReady" && c["status"] == "True")
    };
    let since = |pod: &Value| ready_since(pod).map(|c| c["lastTransitionTime"].clone());
    let count = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].clone();
    let look = || -> Result<_, String> {
        let pod = cluster.product()?;
        Ok((count(&pod), since(&pod), failed_probes(&pod)?))
    };
    let was = look()?;
    happens()?;
    let is = look()?;
    if was == is && was.1.is_some() {
        return Ok(());
    }
    Err(format!("restarts, ready since, failed probes: {was:?}, then {is:?}"))
}

/// The same while the kubelet is away, when the node controller itself calls the pods of a lost node unready.
pub(super) fn unharmed(cluster: &Cluster, happens: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let look = || -> Result<_, String> { Ok((restarts(cluster)?, failed_probes(&cluster.product()?)?)) };
    let was = look()?;
    happens()?;
    let is = look()?;
    if was == is { Ok(()) } else { Err(format!("restarts, failed probes: {was:?}, then {is:?}")) }
}

/// What the kubelet has said of failed probes of this pod, each with how often.
fn failed_probes(pod: &Value) -> Result<Vec<String>, String> {
    let of = format!("involvedObject.uid={},reason=Unhealthy", pod["metadata"]["uid"].as_str().unwrap_or_default());
    let text = run("kubectl", &["-n", PRODUCT, "get", "events", "-o", "json", "--field-selector", &of])?;
    let list: Value = serde_json::from_str(&text).map_err(|e| format!("kubectl prints no JSON: {e}"))?;
    let events = list["items"].as_array().into_iter().flatten();
    Ok(events.map(|event| format!("{} {}", event["count"], event["message"])).collect())
}

/// SIGKILL: the folder of the pod keeps what was not settled.
pub fn killed(cluster: &Cluster) -> Result<(), String> {
    during(cluster, "killed", 9300, || kill(cluster))
}

fn kill(cluster: &Cluster) -> Result<(), String> {
    let before = restarts(cluster)?;
    run("pkill", &["-KILL", "-x", "zxporter-netmon"])?;
    eventually("it runs again", Duration::from_secs(60), || {
        let now = restarts(cluster)?;
        let ready = cluster.product()?["status"]["containerStatuses"][0]["ready"] == true;
        if now > before && ready { Ok(()) } else { Err(format!("{now} restarts, ready: {ready}")) }
    })
}

/// containerd and the kubelet are ended and begun again; pods live on.
pub fn parts_restarted(cluster: &Cluster) -> Result<(), String> {
    during(cluster, "parts", 9310, || {
        undisturbed(cluster, || {
            for part in ["containerd", "kubelet"] {
                for signal in ["TERM", "KILL"] {
                    cluster.part(&["stop", part, signal])?;
                    clock::sleep_ns(SECOND);
                    cluster.part(&["start", part])?;
                    clock::sleep_ns(4 * SECOND);
                }
            }
            Ok(())
        })
    })
}

/// A minute without the API server.
pub fn api_away(cluster: &Cluster) -> Result<(), String> {
    during(cluster, "api-away", 9320, || {
        undisturbed(cluster, || {
            cluster.part(&["stop", "kube-apiserver", "KILL"])?;
            clock::sleep_ns(60 * SECOND);
            cluster.part(&["start", "kube-apiserver"])?;
            let ready = || run("kubectl", &["get", "--raw", "/readyz"]);
            eventually("the API server is back", Duration::from_secs(60), ready).map(drop)
        })
    })?;
    // Pods that come now are known: the watch has begun anew.
    super::pods::pod_to_pod(cluster)
}

/// A mounted token that changes is used without a restart.
pub fn token_rotated(cluster: &Cluster) -> Result<(), String> {
    let secret = |token: &str| {
        apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "rotating", "namespace": PRODUCT},
            "stringData": {"CLUSTER_TOKEN": token},
        }))
    };
    let seen = |token: &str| {
        eventually(&format!("DAKR sees {token}"), Duration::from_secs(120), || {
            let tokens = cluster.kept()?.tokens;
            if tokens.contains(&format!("Bearer {token}")) { Ok(()) } else { Err(format!("tokens {tokens:?}")) }
        })
    };
    secret("token-one")?;
    let judged = cluster.upgrade(&["--set", "config.existingSecret.name=rotating"]).and_then(|()| {
        seen("token-one")?;
        undisturbed(cluster, || {
            secret("token-two")?;
            seen("token-two")
        })
    });
    cluster.upgrade(&[]).and(judged)
}

fn roll_out(cluster: &Cluster) -> Result<(), String> {
    run("kubectl", &["-n", PRODUCT, "rollout", "restart", DAEMON_SET])?;
    cluster.rolled_out()
}

/// A new pod has a new folder: what moved while none ran is missing, and nothing is there twice.
pub fn upgrade_empty_dir(cluster: &Cluster) -> Result<(), String> {
    with_a_gap(cluster, "empty-dir", 9330, || roll_out(cluster))
}

fn with_a_gap(
    cluster: &Cluster,
    name: &str,
    port: u16,
    happens: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let (namespace, before) = cluster.case(name)?;
    let [client, server] = namespace.pods(["client", "server"])?;
    server.tell(&format!("listen tcp {port}"))?;
    transferring(&client, &server, port, happens)?;
    let rows = Expected::between(&client, &server, (TCP, port));
    let (had, all) = cluster.settled(&namespace, &before, &rows)?;
    println!("    {name}: {had} of {all} bytes arrived");
    if had <= all && had > all / 4 { Ok(()) } else { Err(format!("{had} bytes of {all}")) }
}

/// Nothing is kept anywhere: what no process saw is missing, and nothing is there twice.
pub fn no_state(cluster: &Cluster) -> Result<(), String> {
    let judged = cluster.upgrade(&["--set", "state.type=none"]).and_then(|()| {
        super::pods::pod_to_pod(cluster)?;
        with_a_gap(cluster, "no-state-rollout", 9350, || roll_out(cluster))?;
        with_a_gap(cluster, "no-state-killed", 9351, || kill(cluster))
    });
    cluster.upgrade(&[]).and(judged)
}

/// A folder of the node outlives the pod: nothing is missing.
pub fn upgrade_host_path(cluster: &Cluster) -> Result<(), String> {
    let judged = cluster
        .upgrade(&["--set", "state.type=hostPath"])
        .and_then(|()| during(cluster, "host-path", 9340, || roll_out(cluster)));
    cluster.upgrade(&[]).and(judged)
}

/// A values file written for the incumbent's chart.
pub fn incumbents_values(cluster: &Cluster) -> Result<(), String> {
    let judged = cluster
        .upgrade(&["--values", "tests/chart/incumbent.yaml", "--values", "tests/cluster/values.yaml"])
        .and_then(|()| super::pods::pod_to_pod(cluster));
    cluster.upgrade(&[]).and(judged)
}

/// Names the folder of the Network Operator's chart.
pub const INCUMBENT_CHART: &str = "INCUMBENT_CHART";

/// From the incumbent's chart to ours by the command of `docs/moving-over.md`, and back: objects are replaced in place. The
/// image is ours in both, for theirs is not to be had here; it runs as their chart runs theirs.
pub fn incumbents_chart(cluster: &Cluster) -> Result<(), String> {
    let chart = std::env::var(INCUMBENT_CHART).map_err(|error| format!("{INCUMBENT_CHART}: {error}"))?;
    let incumbent = || {
        let settings = "image.repository=cluster.test/netmon,image.pullPolicy=Never,\
                        config.dakrUrl=http://10.96.0.80,config.clusterToken=cluster-token,config.exportInterval=2s";
        let words = ["upgrade", "netmon", &chart, "--reset-values", "--set", settings];
        run("helm", &[&words[..], &["--set-string", "image.tag=1"]].concat())?;
        cluster.rolled_out()
    };
    let ours = || {
        run("helm", &["upgrade", "netmon", "chart", "--reset-then-reuse-values"])?;
        cluster.rolled_out()
    };
    let judged = incumbent().and_then(|()| {
        with_a_gap(cluster, "moving-over", 9360, ours)?;
        super::pods::pod_to_pod(cluster)?;
        with_a_gap(cluster, "moving-back", 9361, incumbent)
    });
    cluster.upgrade(&["--reset-values"]).and(judged)
}
