//! OpenCost itself, where `OPENCOST` names its binary: an API server with what it watches, its prices, and what it says each
//! pod's network costs. Prices are a million to three million a GiB, for it rounds to five decimals.

use std::fs;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::fake_kube::{Part, Request, WATCH_HEAD, json as answer};
use crate::lab::Lab;
use crate::process::{self, Place};

/// Price of a GiB to another zone, to another region and to the internet.
pub const PRICES: [(&str, f64); 3] = [
    ("networkCrossZoneCost", 1_000_000.0),
    ("networkCrossRegionCost", 2_000_000.0),
    ("networkInternetCost", 3_000_000.0),
];

/// A running OpenCost, which ends with the scenario.
pub struct OpenCost(Child);

impl Drop for OpenCost {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it; `None` where nobody says which.
pub fn start(lab: &Lab) -> Result<Option<OpenCost>, String> {
    let Some(binary) = std::env::var_os("OPENCOST") else { return Ok(None) };
    let prices = json!({
        "provider": "custom", "description": "the lab's", "CPU": "0.03", "RAM": "0.004", "GPU": "0.9", "storage": "0.0001",
        "zoneNetworkEgress": PRICES[0].1.to_string(), "regionNetworkEgress": PRICES[1].1.to_string(),
        "internetNetworkEgress": PRICES[2].1.to_string(),
    });
    let folder = lab.file("opencost");
    let write =
        |name: &str, text: &str| fs::write(folder.join(name), text).map_err(|error| format!("cannot write: {error}"));
    fs::create_dir_all(&folder).map_err(|error| format!("cannot make a folder: {error}"))?;
    write("default.json", &prices.to_string())?;
    let log = fs::File::create(log_of(lab)).map_err(|error| format!("cannot make the log: {error}"))?;
    let errors = log.try_clone().map_err(|error| format!("cannot make the log: {error}"))?;
    let mut command = process::command(&binary.to_string_lossy(), &Place::default());
    command
        .env("KUBECONFIG_PATH", lab.file("kubeconfig"))
        .env("KUBECONFIG", lab.file("kubeconfig"))
        .env("CONFIG_PATH", &folder)
        .env("PROMETHEUS_SERVER_ENDPOINT", "http://127.0.0.1:9090")
        .env("KUBERNETES_PORT", "tcp://127.0.0.1")
        .env("CLUSTER_ID", "lab")
        .env("USE_CUSTOM_PROVIDER", "true")
        .env("ETL_RESOLUTION_SECONDS", "60")
        .env("DISABLE_AGGREGATE_COST_MODEL_CACHE", "true")
        .env("LOG_LEVEL", "info")
        .stdout(Stdio::from(log))
        .stderr(Stdio::from(errors));
    let child = lab.node().enter(|| command.spawn()).map_err(|error| format!("cannot start OpenCost: {error}"))?;
    Ok(Some(OpenCost(child)))
}

fn log_of(lab: &Lab) -> std::path::PathBuf {
    lab.file("opencost.log")
}

/// What it asks for and the agent does not; `None` for the agent's own requests.
pub fn answers(request: &Request, pods: &[u8]) -> Option<Vec<Part>> {
    if request.target.contains("fieldSelector") {
        return None;
    }
    let path = request.target.split('?').next().unwrap_or_default();
    if request.watch {
        return Some(vec![Part::Bytes(WATCH_HEAD.to_vec()), Part::Hang]);
    }
    let meta = json!({"resourceVersion": "1"});
    let body = match path {
        "/version" => json!({"major": "1", "minor": "30", "gitVersion": "v1.30.0"}),
        "/api/v1/pods" => with_containers(pods)?,
        "/api/v1/nodes" => json!({"kind": "NodeList", "apiVersion": "v1", "metadata": meta, "items": [{
            "metadata": {"name": "node-1", "uid": "00000000-0000-4000-8000-000000000099", "labels": {
                "kubernetes.io/hostname": "node-1", "topology.kubernetes.io/zone": "z1",
                "topology.kubernetes.io/region": "r1", "node.kubernetes.io/instance-type": "lab"}},
            "spec": {"providerID": "lab"},
            "status": {"capacity": {"cpu": "4", "memory": "8Gi"}, "allocatable": {"cpu": "4", "memory": "8Gi"}},
        }]}),
        "/api/v1/namespaces/kube-system" => json!({"kind": "Namespace", "apiVersion": "v1",
            "metadata": {"name": "kube-system", "uid": "00000000-0000-4000-8000-000000000098"}}),
        "/api/v1/namespaces" => json!({"kind": "NamespaceList", "apiVersion": "v1", "metadata": meta, "items": [
            {"metadata": {"name": "kube-system", "uid": "00000000-0000-4000-8000-000000000098"}},
            {"metadata": {"name": "shop", "uid": "00000000-0000-4000-8000-000000000097"}}]}),
        _ => empty(path)?,
    };
    Some(answer(body.to_string().as_bytes()))
}

/// The pods of the agent's fixtures have no containers, and OpenCost knows a pod by its containers alone.
fn with_containers(pods: &[u8]) -> Option<Value> {
    let mut list: Value = serde_json::from_slice(pods).ok()?;
    for pod in list["items"].as_array_mut()? {
        let since = pod["status"]["startTime"].clone();
        pod["spec"]["containers"] =
            json!([{"name": "main", "image": "lab", "resources": {"requests": {"cpu": "100m"}}}]);
        pod["status"]["phase"] = json!("Running");
        pod["status"]["containerStatuses"] = json!([{"name": "main", "image": "lab", "imageID": "lab", "ready": true,
            "restartCount": 0, "state": {"running": {"startedAt": since}}}]);
    }
    Some(list)
}

/// A list of nothing: OpenCost watches fifteen kinds.
fn empty(path: &str) -> Option<Value> {
    let kinds = [
        ("services", "Service"),
        ("replicationcontrollers", "ReplicationController"),
        ("persistentvolumes", "PersistentVolume"),
        ("persistentvolumeclaims", "PersistentVolumeClaim"),
        ("resourcequotas", "ResourceQuota"),
        ("configmaps", "ConfigMap"),
        ("daemonsets", "DaemonSet"),
        ("deployments", "Deployment"),
        ("replicasets", "ReplicaSet"),
        ("statefulsets", "StatefulSet"),
        ("jobs", "Job"),
        ("storageclasses", "StorageClass"),
        ("poddisruptionbudgets", "PodDisruptionBudget"),
    ];
    let last = path.rsplit('/').next()?;
    let (_, kind) = kinds.iter().find(|(name, _)| *name == last)?;
    let version = path.strip_prefix("/apis/").unwrap_or("v1").trim_end_matches(last).trim_end_matches('/');
    let version = if version.is_empty() { "v1" } else { version };
    let version = version.split("/namespaces/").next()?;
    Some(
        json!({"kind": format!("{kind}List"), "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": []}),
    )
}

/// What the network of each pod costs, by column, in a window of seconds since the epoch.
pub fn costs(lab: &Lab, from_s: u64, to_s: u64) -> Result<Value, String> {
    let path = format!("/allocation/compute?window={from_s},{to_s}&aggregate=pod&resolution=1m&accumulate=true");
    let said = lab.node().run(&["curl", "-sS", "--max-time", "60", &format!("http://127.0.0.1:9003{path}")], "");
    let with_log = |why: String| {
        let log = fs::read_to_string(log_of(lab)).unwrap_or_default();
        format!("{why}\n{}", &log[log.len().saturating_sub(6_000)..])
    };
    let value: Value = serde_json::from_str(&said.map_err(with_log)?).map_err(|error| with_log(error.to_string()))?;
    value["data"].get(0).cloned().ok_or_else(|| with_log(format!("no allocation: {value}")))
}
