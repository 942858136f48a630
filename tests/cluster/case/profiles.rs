//! The chart's profiles and the modes of counting, each held to the same traffic.

use std::time::Duration;

use super::{pods, services, short};
use crate::judge::{Expected, TCP};
use crate::kube::eventually;
use crate::node::{Cluster, WORLD};

/// Own programs, no more rights than they need.
pub fn minimal_ebpf(cluster: &Cluster) -> Result<(), String> {
    under(cluster, "config.collectorMode=ebpf,config.fallback=none", |cluster| {
        same_traffic(cluster)?;
        names(cluster)
    })
}

/// The incumbent's privileged context.
pub fn compat_netfilter(cluster: &Cluster) -> Result<(), String> {
    under(cluster, "securityProfile=compat", same_traffic)
}

/// Both.
pub fn compat_ebpf(cluster: &Cluster) -> Result<(), String> {
    under(cluster, "securityProfile=compat,config.collectorMode=ebpf,config.fallback=none", same_traffic)
}

fn under(cluster: &Cluster, sets: &str, case: impl Fn(&Cluster) -> Result<(), String>) -> Result<(), String> {
    let judged = cluster.upgrade(&["--set", sets]).and_then(|()| {
        cluster.by_socket.set(sets.contains("ebpf"));
        case(cluster)
    });
    cluster.by_socket.set(false);
    cluster.upgrade(&[]).and(judged)
}

fn same_traffic(cluster: &Cluster) -> Result<(), String> {
    let cases = [
        ("pod_to_pod", pods::pod_to_pod as fn(&Cluster) -> Result<(), String>),
        ("host_network", pods::host_network),
        ("jobs_of_one_second", short::jobs_of_one_second),
        ("cluster_ip", services::cluster_ip),
        ("node_port", services::node_port),
        ("masquerade", services::masquerade),
        ("dual_stack", services::dual_stack),
    ];
    cases.into_iter().try_for_each(|(name, case)| case(cluster).map_err(|e| format!("{name}: {e}")))
}

/// What the cluster's name server answered names the remote end, on `/flows` and at DAKR.
fn names(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before) = cluster.case("names")?;
    let [client] = namespace.pods(["client"])?;
    let world = cluster.world_actor()?;
    world.tell("listen tcp 9210")?;
    client.tell_until("tcp world.example 9210 1000 2000")?;
    let remote = WORLD.parse().map_err(|e| format!("{WORLD}: {e}"))?;
    let row = Expected::outbound(&client.owner, client.v4, remote, (TCP, 9210)).outside();
    let dns = Expected::outbound(&client.owner, client.v4, cluster.dns()?, (crate::judge::UDP, 53));
    cluster.judge(&namespace, &before, &[row, dns])?;
    eventually("the name is known", Duration::from_secs(20), || {
        let flows = cluster.flows()?;
        let mut rows = flows["items"].as_array().into_iter().flatten();
        let row = rows.find(|row| row["dst_port"] == 9210).ok_or("no row")?;
        let at_dakr = cluster.kept()?.names.get(WORLD).cloned();
        match (row["dst_domain"].as_str(), at_dakr.as_deref()) {
            (Some("world.example"), Some("world.example")) => Ok(()),
            other => Err(format!("/flows and DAKR say {other:?}")),
        }
    })
}
