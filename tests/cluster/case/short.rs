//! Containers and pods that end: jobs, init containers, crash loops, an address that the next pod takes.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use netmon::clock::{self, SECOND};
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

/// Where host-local keeps which addresses are taken.
const TAKEN: &str = "/var/lib/cni/networks/cluster";

/// Each pod ends after one transfer, and the next has its address before a second is over.
pub fn address_reused(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before) = cluster.case("reused")?;
    let [server] = namespace.pods(["server"])?;
    let mut expected = Vec::new();
    let mut gaps_ms = Vec::new();
    let mut last: Option<Ipv4Addr> = None;
    for number in 0..5 {
        let (name, port) = (format!("heir-{number}"), 9070 + number);
        server.tell(&format!("listen tcp {port}"))?;
        let sent = (3000 + 100 * number).to_string();
        let mut pod = namespace.pod(&name);
        let words = ["send", "tcp", &server.v4.to_string(), &port.to_string(), &sent, "40000"];
        pod["spec"]["containers"] = json!([container("main", &words)]);
        pod["spec"]["restartPolicy"] = json!("Never");
        let begun_ns = clock::now().mono_ns;
        if let Some(last) = last {
            hand_out_next(last)?;
        }
        apply(&pod)?;
        if let Some(last) = last {
            until(60, &format!("{name} has {last}"), || is_taken(last))?;
            gaps_ms.push((clock::now().mono_ns - begun_ns) / (SECOND / 1000));
        }
        let done = eventually(&format!("{name} is done"), Duration::from_secs(60), || {
            let pod = namespace.get("pod", &name)?;
            succeeded(&namespace, &pod).ok_or_else(|| pod["status"].to_string())
        })?;
        let IpAddr::V4(address) = done.v4 else { return Err(format!("{name} has {}", done.v4)) };
        if last.is_some_and(|last| last != address) {
            return Err(format!("{name} has {address}, not {last:?}"));
        }
        until(30, &format!("{address} is free"), || !is_taken(address))?;
        last = Some(address);
        expected.extend(Expected::between(&done, &server, (TCP, port)));
    }
    println!("    from pod to pod the address was free for {gaps_ms:?} ms");
    if !gaps_ms.iter().any(|gap| *gap < 1000) {
        return Err("no address was taken again within a second".into());
    }
    cluster.judge_pushed(&namespace, &before, &expected)
}

fn is_taken(address: Ipv4Addr) -> bool {
    Path::new(TAKEN).join(address.to_string()).exists()
}

/// host-local gives the address behind the one that it gave last.
fn hand_out_next(address: Ipv4Addr) -> Result<(), String> {
    let file = format!("{TAKEN}/last_reserved_ip.0");
    let one_less = Ipv4Addr::from(u32::from(address) - 1);
    fs::write(&file, one_less.to_string()).map_err(|e| format!("{file}: {e}"))
}

/// Looked at more often than [`eventually`] does.
fn until(seconds: u64, what: &str, holds: impl Fn() -> bool) -> Result<(), String> {
    let until_ns = clock::now().mono_ns + seconds * SECOND;
    while !holds() {
        if clock::now().mono_ns > until_ns {
            return Err(format!("not within {seconds} s: {what}"));
        }
        clock::sleep_ns(SECOND / 200);
    }
    Ok(())
}
