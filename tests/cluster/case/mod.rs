//! The cases by name, in the order in which they run.

mod away;
mod life;
mod load;
mod names;
mod pods;
mod profiles;
mod services;
mod short;

use crate::node::Cluster;

/// A case: nothing, or what was wrong.
pub type Case = fn(&Cluster) -> Result<(), String>;

/// All of them. Each leaves the product as it found it.
pub const ALL: &[(&str, Case)] = &[
    ("pod_to_pod", pods::pod_to_pod),
    ("other_namespace", pods::other_namespace),
    ("host_network", pods::host_network),
    ("static_pod", pods::static_pod),
    ("workloads", pods::workloads),
    ("jobs_of_one_second", short::jobs_of_one_second),
    ("init_and_sidecar", short::init_and_sidecar),
    ("crash_loop", short::crash_loop),
    ("address_reused", short::address_reused),
    ("cluster_ip", services::cluster_ip),
    ("udp_service", services::udp_service),
    ("node_port", services::node_port),
    ("load_balancer", services::load_balancer),
    ("external_ip", services::external_ip),
    ("host_port", services::host_port),
    ("session_affinity", services::session_affinity),
    ("headless", services::headless),
    ("masquerade", services::masquerade),
    ("dual_stack", services::dual_stack),
    ("hairpin", services::hairpin),
    ("host_network_backend", services::host_network_backend),
    ("proxy_nftables", services::proxy_nftables),
    ("cluster_dns", names::cluster_dns),
    ("node_local_dns", names::node_local_dns),
    ("zones", names::zones),
    ("minimal_ebpf", profiles::minimal_ebpf),
    ("compat_netfilter", profiles::compat_netfilter),
    ("compat_ebpf", profiles::compat_ebpf),
    ("thousand_a_second", load::thousand_a_second),
    ("killed", life::killed),
    ("parts_restarted", life::parts_restarted),
    ("api_away", life::api_away),
    ("token_rotated", life::token_rotated),
    ("upgrade_empty_dir", life::upgrade_empty_dir),
    ("upgrade_host_path", life::upgrade_host_path),
    ("no_state", life::no_state),
    ("incumbents_values", life::incumbents_values),
    ("incumbents_chart", life::incumbents_chart),
    ("drained", away::drained),
    ("node_away", away::node_away),
    ("deleted_and_joined", away::deleted_and_joined),
];

/// What a case needs that is not there.
pub fn lacks(name: &str) -> Option<&'static str> {
    let lacks_chart = name == "incumbents_chart" && std::env::var_os(life::INCUMBENT_CHART).is_none();
    lacks_chart.then_some("not without the Network Operator's chart: INCUMBENT_CHART=FOLDER")
}
