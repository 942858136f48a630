//! Containers and pods that end: jobs, init containers, crash loops.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::judge::{Expected, TCP};
use crate::kube::{Namespace, Pod, apply, container, eventually};
use crate::node::Cluster;

/// Jobs that are over before a sweep may have seen them.
pub fn jobs_of_one_second(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before) = cluster.case("jobs")?;
    let [server] = namespace.pods(["server"])?;
    server.tell("listen tcp 9040")?;
    let mut spec = namespace.spec("job");
    let target = server.v4.to_string();
    spec["containers"] = json!([container("main", &["send", "tcp", &target, "9040", "3000", "40000"])]);
    spec["restartPolicy"] = json!("Never");
    for number in 0..6 {
        apply(&json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": format!("short-{number}"), "namespace": namespace.name},
            "spec": {"backoffLimit": 0, "template": {"spec": spec.clone()}},
        }))?;
    }
    let jobs = eventually("six jobs are done", Duration::from_secs(90), || {
        let pods = namespace.list("pods")?;
        let done: Vec<Pod> = pods.iter().filter_map(|pod| succeeded(&namespace, pod)).collect();
        if done.len() == 6 { Ok(done) } else { Err(format!("{} are done", done.len())) }
    })?;
    let rows: Vec<Expected> = jobs.iter().flat_map(|job| Expected::between(job, &server, (TCP, 9040))).collect();
    cluster.judge_pushed(&namespace, &before, &rows)
}

fn succeeded(namespace: &Namespace, pod: &Value) -> Option<Pod> {
    let name = pod["metadata"]["name"].as_str().filter(|_| pod["status"]["phase"] == "Succeeded")?;
    let address: IpAddr = pod["status"]["podIP"].as_str()?.parse().ok()?;
    Some(Pod::silent(&format!("{}/{name}", namespace.name), address))
}

/// What a pod sends before its containers run, and beside them.
pub fn init_and_sidecar(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before) = cluster.case("init")?;
    let [server] = namespace.pods(["server"])?;
    server.tell("listen tcp 9050")?;
    server.tell("listen tcp 9051")?;
    let target = server.v4.to_string();
    let mut pod = namespace.pod("pod");
    let sidecar_name = format!("{}-sidecar", namespace.name);
    let mut sidecar = container("sidecar", &["actor", &sidecar_name]);
    sidecar["restartPolicy"] = json!("Always");
    let first = container("first", &["send", "tcp", &target, "9050", "5000", "70000"]);
    pod["spec"]["initContainers"] = json!([first, sidecar]);
    let [pod] = namespace.start([pod])?;
    Pod { socket: format!("/run/cluster/{sidecar_name}"), ..pod.clone() }
        .tell(&format!("tcp {target} 9051 8000 90000"))?;
    pod.tell(&format!("tcp {target} 9051 1000 2000"))?;
    let rows = [Expected::between(&pod, &server, (TCP, 9050)), Expected::between(&pod, &server, (TCP, 9051))];
    cluster.judge(&namespace, &before, &rows.concat())
}

/// One pod, the same address, a new container every time.
pub fn crash_loop(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before) = cluster.case("crash")?;
    let [server] = namespace.pods(["server"])?;
    server.tell("listen tcp 9060")?;
    let target = server.v4.to_string();
    let mut pod = namespace.pod("pod");
    pod["spec"]["containers"] = json!([container("main", &["send", "tcp", &target, "9060", "4000", "50000"])]);
    apply(&pod)?;
    let pod = eventually("it has begun three times", Duration::from_secs(90), || {
        let pod = namespace.get("pod", "pod")?;
        let address = pod["status"]["podIP"].as_str().and_then(|ip| ip.parse().ok()).ok_or("no address yet")?;
        match pod["status"]["containerStatuses"][0]["restartCount"].as_u64() {
            Some(restarts) if restarts >= 2 => Ok(Pod::silent(&format!("{}/pod", namespace.name), address)),
            restarts => Err(format!("{restarts:?} restarts")),
        }
    })?;
    cluster.judge(&namespace, &before, &Expected::between(&pod, &server, (TCP, 9060)))
}
