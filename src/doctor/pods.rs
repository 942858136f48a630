//! The API server: whether it is found, and whether it lets us list and watch the pods of this node.

use std::sync::Arc;

use crate::clock;
use crate::config::Config;
use crate::findings::Finding;
use crate::kube::client::{Client, Timeouts};
use crate::kube::report::words;
use crate::kube::{credentials, stopper::Stopper, watch::ListVersion};

/// One list and one watch, which ends at once.
pub fn examine(config: &Config) -> Finding {
    const AREA: &str = "API server";
    let endpoint = match credentials::discover(config.kubeconfig.as_deref(), &|name| std::env::var(name).ok()) {
        Ok(endpoint) => endpoint,
        Err(error) => return Finding::fail(AREA, error.to_string(), "-metrics-kubeconfig, or -standalone"),
    };
    let url = endpoint.url.clone();
    let mut client = Client::new(endpoint, &config.node_name, Timeouts::default(), Arc::<Stopper>::default());
    let asked = client.list(clock::now(), &ListVersion::Any, None);
    let asked = asked
        .map_err(|failure| ("list", failure))
        .and_then(|_| client.watch(clock::now(), "0", 1).map(|_| ()).map_err(|failure| ("watch", failure)));
    match asked {
        Ok(()) => Finding::ok(AREA, format!("{url}, may list and watch pods")),
        Err((what, failure)) => {
            let (kind, said) = words(&failure, &url, "pods");
            let cure = match kind {
                "RBAC" => "the chart's ClusterRole: list and watch on pods",
                "credentials" => "the pod's service account token, or -metrics-kubeconfig",
                "clock" => "set the clock (chrony, systemd-timesyncd)",
                "TLS" => "the cluster's CA in the service account or the kubeconfig",
                "network" => "a network policy or firewall; KUBERNETES_SERVICE_HOST, or -metrics-kubeconfig",
                _ => "see the API server's log",
            };
            Finding::fail(AREA, format!("cannot {what} pods: {said}"), cure)
        }
    }
}
