//! The chart's profiles and the modes of counting, each held to the same traffic.

use super::{names, pods, services, short};
use crate::node::Cluster;

/// Own programs, no more rights than they need.
pub fn minimal_ebpf(cluster: &Cluster) -> Result<(), String> {
    under(cluster, "config.collectorMode=ebpf,config.fallback=none", |cluster| {
        same_traffic(cluster)?;
        names::cluster_dns(cluster)?;
        names::node_local_dns(cluster)
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
