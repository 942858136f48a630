//! Pods that stay: on their own network and on the node's, and what stands behind them.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::judge::{Expected, TCP, UDP};
use crate::kube::{apply, eventually};
use crate::node::Cluster;

/// Two pods of the node, TCP and UDP.
pub fn pod_to_pod(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before) = cluster.case("pod-to-pod")?;
    let [a, b] = namespace.pods(["a", "b"])?;
    b.tell("listen tcp 9000")?;
    b.tell("listen udp 9001")?;
    a.tell(&format!("tcp {} 9000 150000 2500000", b.v4))?;
    a.tell(&format!("udp {} 9001 700 900 40", b.v4))?;
    let rows = [Expected::between(&a, &b, (TCP, 9000)), Expected::between(&a, &b, (UDP, 9001))];
    cluster.judge(&namespace, &before, &rows.concat())
}

/// A client in one namespace, a server in another, which it knows by name.
pub fn other_namespace(cluster: &Cluster) -> Result<(), String> {
    let (here, before) = cluster.case("here")?;
    let (there, _) = cluster.case("there")?;
    let ([client], [server]) = (here.pods(["client"])?, there.pods(["server"])?);
    server.tell("listen tcp 9005")?;
    there.service("web", "server", json!([{"port": 80, "targetPort": 9005}]), Value::Null)?;
    client.tell_until(&format!("tcp web.{}.svc.cluster.local 80 50000 700000", there.name))?;
    let rows = Expected::between(&client, &server, (TCP, 9005));
    let dns = Expected::outbound(&client.owner, client.v4, cluster.dns()?, (UDP, 53));
    cluster.judge(&here, &before, &[rows[0].clone(), dns])?;
    cluster.judge(&there, &before, &rows[1..])
}

/// Pods on the node's network, of each class of service, are told from the node by their cgroups.
pub fn host_network(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before) = cluster.case("host-network")?;
    let [server] = namespace.pods(["server"])?;
    let both = json!({"cpu": "50m", "memory": "32Mi"});
    let classes = [
        ("best-effort", 9010, json!({})),
        ("burstable", 9011, json!({"requests": {"cpu": "10m"}})),
        ("guaranteed", 9012, json!({"limits": both, "requests": both})),
    ];
    let mut expected = Vec::new();
    for (name, port, resources) in classes {
        let mut pod = namespace.pod(name);
        pod["spec"]["hostNetwork"] = json!(true);
        pod["spec"]["containers"][0]["resources"] = resources;
        let [pod] = namespace.start([pod])?;
        server.tell(&format!("listen tcp {port}"))?;
        let pod = pod.seen_as(&pod.tell(&format!("held {} {port} 20000 300000 4", server.v4))?);
        expected.extend(Expected::between(&pod, &server, (TCP, port)));
    }
    cluster.judge(&namespace, &before, &expected)
}

/// A pod of a file of the node, which has another uid in its cgroup's name than in the API server.
pub fn static_pod(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before) = cluster.case("static-pod")?;
    let [server] = namespace.pods(["server"])?;
    server.tell("listen tcp 9020")?;
    let mut pod = namespace.pod("static");
    pod["spec"]["hostNetwork"] = json!(true);
    pod["spec"]["containers"][0]["args"][1] = json!(format!("{}-static-node-a", namespace.name));
    // A static pod may have no service account; none is wanted.
    let file = "/etc/kubernetes/manifests/static.json";
    fs::write(file, pod.to_string()).map_err(|e| format!("{file}: {e}"))?;
    let judged = namespace.found("static-node-a").and_then(|pod| {
        let pod = pod.seen_as(&pod.tell(&format!("held {} 9020 20000 300000 4", server.v4))?);
        cluster.judge(&namespace, &before, &Expected::between(&pod, &server, (TCP, 9020)))
    });
    fs::remove_file(file).map_err(|e| format!("{file}: {e}"))?;
    judged
}

/// What a pod belongs to: its Deployment, not its ReplicaSet; and the others by their own names.
pub fn workloads(cluster: &Cluster) -> Result<(), String> {
    let (namespace, _) = cluster.case("workloads")?;
    let [server] = namespace.pods(["server"])?;
    server.tell("listen tcp 9030")?;
    for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
        let name = kind.to_lowercase();
        let mut template = json!({"metadata": {"labels": {"app": name}}, "spec": namespace.spec(&name)});
        let target = server.v4.to_string();
        template["spec"]["initContainers"] =
            json!([crate::kube::container("first", &["send", "tcp", &target, "9030", "100", "100"])]);
        let mut spec = json!({"selector": {"matchLabels": {"app": name}}, "template": template});
        if kind == "StatefulSet" {
            spec["serviceName"] = json!("none");
        }
        apply(&json!({
            "apiVersion": "apps/v1", "kind": kind,
            "metadata": {"name": name, "namespace": namespace.name}, "spec": spec,
        }))?;
        eventually(&format!("/flows names the {kind}"), Duration::from_secs(30), || {
            let flows = cluster.flows()?;
            let wanted = json!({"kind": kind, "name": name});
            let mut rows = flows["items"].as_array().into_iter().flatten();
            let found = rows.any(|row| row["owner"]["workload"] == wanted && row["dst_port"] == 9030);
            if found { Ok(()) } else { Err(format!("no row of {wanted}")) }
        })?;
    }
    Ok(())
}
