//! What remote ends are called, and where they are.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::judge::{Expected, TCP, UDP};
use crate::kube::{apply, eventually, run};
use crate::node::{Before, Cluster, GATEWAY, WORLD, WORLD_V6};

/// What the cluster's name server answered names the remote end, on `/flows` and at DAKR.
pub fn cluster_dns(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before) = cluster.case("names")?;
    let [client] = namespace.pods(["client"])?;
    let world = cluster.world_actor()?;
    world.tell("listen tcp 9210")?;
    client.tell_until("tcp world.example 9210 1000 2000")?;
    let remote = ip(WORLD);
    let row = Expected::outbound(&client.owner, client.v4, remote, (TCP, 9210)).outside();
    let dns = Expected::outbound(&client.owner, client.v4, cluster.dns()?, (UDP, 53));
    cluster.judge(&namespace, &before, &[row, dns])?;
    is_called(cluster, 9210, "world.example")?;
    eventually("DAKR knows the name", Duration::from_secs(20), || {
        let name = cluster.kept()?.names.get(WORLD).cloned();
        if name.as_deref() == Some("world.example") { Ok(()) } else { Err(format!("DAKR says {name:?}")) }
    })
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("a literal")
}

fn row_of_port(cluster: &Cluster, port: u16) -> Result<Value, String> {
    let flows = cluster.flows()?;
    let mut rows = flows["items"].as_array().into_iter().flatten();
    rows.find(|row| row["dst_port"] == port && row["direction"] == "outbound")
        .cloned()
        .ok_or_else(|| format!("no row of port {port}"))
}

fn is_called(cluster: &Cluster, port: u16, name: &str) -> Result<(), String> {
    eventually("the name is known", Duration::from_secs(20), || {
        let row = row_of_port(cluster, port)?;
        if row["dst_domain"] == name { Ok(()) } else { Err(format!("/flows says {}", row["dst_domain"])) }
    })
}

/// A cache of names on the node's network, at an address that only this node has. With own programs its packets are
/// kept from connection tracking besides, as the usual cache has it.
pub fn node_local_dns(cluster: &Cluster) -> Result<(), String> {
    let untracked: &[&str] = if cluster.by_socket.get() {
        &["PREROUTING -d 169.254.20.10/32 -p udp --dport 53", "OUTPUT -s 169.254.20.10/32 -p udp --sport 53"]
    } else {
        &[]
    };
    let rules = |action: &str| -> Result<(), String> {
        untracked.iter().try_for_each(|rule| {
            let words = ["-t", "raw", action].into_iter().chain(rule.split(' ')).chain(["-j", "NOTRACK"]);
            run("iptables", &words.collect::<Vec<_>>()).map(drop)
        })
    };
    run("ip", &["address", "add", "169.254.20.10/32", "dev", "lo"])?;
    let judged = rules("-A").and_then(|()| asked_node_local(cluster));
    rules("-D").and(run("ip", &["address", "del", "169.254.20.10/32", "dev", "lo"]).map(drop)).and(judged)
}

fn asked_node_local(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before) = cluster.case("node-local")?;
    apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cache", "namespace": namespace.name},
        "data": {"Corefile": format!(".:53 {{\n  errors\n  hosts {{\n    {WORLD} cached.example\n  }}\n}}\n")},
    }))?;
    apply(&json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "cache", "namespace": namespace.name},
        "spec": {
            "selector": {"matchLabels": {"app": "cache"}},
            "template": {
                "metadata": {"labels": {"app": "cache"}},
                "spec": {
                    "hostNetwork": true, "dnsPolicy": "Default", "terminationGracePeriodSeconds": 0,
                    "containers": [{
                        "name": "cache", "image": "cluster.test/coredns:1", "imagePullPolicy": "Never",
                        "args": ["-conf", "/etc/coredns/Corefile"], "securityContext": {"runAsUser": 0},
                        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
                    }],
                    "volumes": [{"name": "config", "configMap": {"name": "cache"}}],
                },
            },
        },
    }))?;
    // A question that nobody takes would be the node's.
    let listens = || run("grep", &["-q", ":0035 ", "/proc/net/udp", "/proc/net/udp6"]);
    eventually("the cache listens", Duration::from_secs(60), listens)?;
    let pods = namespace.list("pods")?;
    let cache = pods.first().and_then(|pod| pod["metadata"]["name"].as_str()).ok_or("no pod of the cache")?;
    let mut pod = namespace.pod("client");
    pod["spec"]["dnsPolicy"] = json!("None");
    pod["spec"]["dnsConfig"] = json!({"nameservers": ["169.254.20.10"]});
    let [client] = namespace.start([pod])?;
    let world = cluster.world_actor()?;
    world.tell("listen tcp 9230")?;
    client.tell("tcp cached.example 9230 6000 80000")?;
    let asked = ip("169.254.20.10");
    let rows = [
        Expected::outbound(&client.owner, client.v4, ip(WORLD), (TCP, 9230)).outside(),
        Expected::outbound(&client.owner, client.v4, asked, (UDP, 53)),
        Expected::inbound(&format!("{}/{cache}", namespace.name), asked, client.v4, (UDP, 53)),
    ];
    cluster.judge(&namespace, &before, &rows)?;
    is_called(cluster, 9230, "cached.example")
}

/// The node's labels say where it is, the ranges where others are: each kind of scope that a pod of one node can reach.
pub fn zones(cluster: &Cluster) -> Result<(), String> {
    let label = |words: [&str; 2]| {
        run("kubectl", &[&["label", "node", "node-a", "--overwrite"][..], &words].concat()).map(drop)
    };
    let ranges = "192.168.77.1/32 zone=zone-a region=region-a\\n\
                  198.51.100.0/24 zone=zone-b region=region-a\\n\
                  2001:db8::/32 zone=zone-c region=region-b\\n";
    let set = format!("topology.ranges=\"{ranges}\"");
    label(["topology.kubernetes.io/zone=zone-a", "topology.kubernetes.io/region=region-a"])?;
    let judged = cluster.upgrade(&["--set-json", &set]).and_then(|()| {
        let (namespace, before) = cluster.case("zones")?;
        scopes(cluster, &namespace, &before)
    });
    label(["topology.kubernetes.io/zone-", "topology.kubernetes.io/region-"]).and(cluster.upgrade(&[])).and(judged)
}

fn scopes(cluster: &Cluster, namespace: &crate::kube::Namespace, before: &Before) -> Result<(), String> {
    let [client, server] = namespace.pods(["client", "server"])?;
    let world = cluster.world_actor()?;
    let mut rows = Expected::between(&client, &server, (TCP, 9250));
    server.tell("listen tcp 9250")?;
    client.tell(&format!("tcp {} 9250 2000 30000", server.v4))?;
    for (port, address) in [(9251, GATEWAY), (9252, WORLD), (9253, WORLD_V6)] {
        world.tell(&format!("listen tcp {port}"))?;
        client.tell(&format!("tcp {address} {port} 2000 30000"))?;
        let local = if address == WORLD_V6 { client.v6()? } else { client.v4 };
        let row = Expected::outbound(&client.owner, local, ip(address), (TCP, port));
        rows.push(if address == GATEWAY { row } else { row.outside() });
    }
    cluster.judge(namespace, before, &rows)?;
    let wanted = [
        (9250, "node", json!("zone-a")),
        (9251, "zone", json!("zone-a")),
        (9252, "region", json!("zone-b")),
        (9253, "cross_region", json!("zone-c")),
    ];
    for (port, scope, zone) in wanted {
        let row = row_of_port(cluster, port)?;
        if (&row["scope"], &row["remote_zone"]) != (&json!(scope), &zone) {
            return Err(format!("port {port}, wanted {scope} {zone}: {row}"));
        }
    }
    Ok(())
}
