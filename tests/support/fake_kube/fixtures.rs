//! Pods, lists and events as an API server writes them, made with the full types of `k8s-openapi`.

use std::collections::BTreeMap;

use k8s_openapi::List;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStatus, EnvVar, Pod, PodCondition, PodIP, PodSpec,
    PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    FieldsV1, ListMeta, ManagedFieldsEntry, ObjectMeta, OwnerReference, Time,
};
use k8s_openapi::jiff::Timestamp;

/// A running pod with one address, of a Deployment, as small as it can be.
pub fn pod(name: &str, uid: &str, ip: &str) -> Pod {
    Pod {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("shop".to_owned()),
            uid: Some(uid.to_owned()),
            resource_version: Some("1".to_owned()),
            labels: Some(BTreeMap::from([("pod-template-hash".to_owned(), "7d4b9c6f58".to_owned())])),
            owner_references: Some(vec![OwnerReference {
                api_version: "apps/v1".to_owned(),
                kind: "ReplicaSet".to_owned(),
                name: "web-7d4b9c6f58".to_owned(),
                uid: "11111111-1111-1111-1111-111111111111".to_owned(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }]),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec { node_name: Some("node-1".to_owned()), ..PodSpec::default() }),
        status: Some(PodStatus {
            phase: Some("Running".to_owned()),
            pod_ip: Some(ip.to_owned()),
            pod_ips: Some(vec![PodIP { ip: ip.to_owned() }]),
            start_time: Some(Time(Timestamp::from_second(1_700_000_000).expect("in range"))),
            ..PodStatus::default()
        }),
    }
}

/// The same with what real pods carry: two containers of 25 variables, managed fields, conditions.
pub fn full_pod(number: u32) -> Pod {
    let [_, b, c, d] = number.to_be_bytes();
    let mut pod = pod(&format!("web-{number}"), &uid(number), &format!("10.{}.{c}.{d}", 64 + b));
    let env = (0..25).map(|i| EnvVar {
        name: format!("SOME_SETTING_NUMBER_{i}"),
        value: Some(format!("https://service-{i}.shop.svc.cluster.local:8443/some/longer/path/{number}")),
        value_from: None,
    });
    let container = |name: &str| Container {
        name: name.to_owned(),
        image: Some(format!("registry.example.org/shop/{name}:1.2.3")),
        env: Some(env.clone().collect()),
        ..Container::default()
    };
    let status = |name: &str| ContainerStatus {
        name: name.to_owned(),
        image: format!("registry.example.org/shop/{name}:1.2.3"),
        container_id: Some(format!("containerd://{number:064x}")),
        ready: true,
        state: Some(ContainerState {
            running: Some(ContainerStateRunning {
                started_at: Some(Time(Timestamp::from_second(1_700_000_002).expect("in range"))),
            }),
            ..ContainerState::default()
        }),
        ..ContainerStatus::default()
    };
    let fields = |salt: u32| ManagedFieldsEntry {
        manager: Some("kubelet".to_owned()),
        operation: Some("Update".to_owned()),
        fields_type: Some("FieldsV1".to_owned()),
        fields_v1: Some(FieldsV1(serde_json::Value::Object(
            (0..60)
                .map(|i| {
                    (format!("f:some-field-{salt}-{i}"), serde_json::json!({ "f:value": {}, "f:other": { "k": {} } }))
                })
                .collect(),
        ))),
        ..ManagedFieldsEntry::default()
    };
    pod.metadata.managed_fields = Some(vec![fields(1), fields(2)]);
    pod.metadata.annotations = Some(BTreeMap::from([
        ("checksum/config".to_owned(), format!("{number:064x}")),
        ("kubectl.kubernetes.io/last-applied-configuration".to_owned(), "{\"kind\":\"Pod\"}".repeat(40)),
    ]));
    if let Some(spec) = &mut pod.spec {
        spec.containers = vec![container("server"), container("sidecar")];
    }
    if let Some(current) = &mut pod.status {
        current.container_statuses = Some(vec![status("server"), status("sidecar")]);
        current.conditions = Some(
            ["Initialized", "Ready", "ContainersReady", "PodScheduled"]
                .iter()
                .map(|kind| PodCondition {
                    type_: (*kind).to_owned(),
                    status: "True".to_owned(),
                    ..PodCondition::default()
                })
                .collect(),
        );
    }
    pod
}

/// The uid of a pod by number.
pub fn uid(number: u32) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

/// A `PodList` as a server writes it: its items have neither kind nor apiVersion.
pub fn list(pods: &[Pod], version: &str) -> Vec<u8> {
    let list = List {
        metadata: ListMeta { resource_version: Some(version.to_owned()), ..ListMeta::default() },
        items: pods.to_vec(),
    };
    let mut value = serde_json::to_value(list).expect("JSON");
    for item in value["items"].as_array_mut().expect("a list") {
        let item = item.as_object_mut().expect("an object");
        item.remove("kind");
        item.remove("apiVersion");
    }
    serde_json::to_vec(&value).expect("JSON")
}

/// A line of a watch about a pod, whose version it sets.
pub fn event(kind: &str, pod: &Pod, version: &str) -> String {
    let mut pod = pod.clone();
    pod.metadata.resource_version = Some(version.to_owned());
    format!("{}\n", serde_json::json!({ "type": kind, "object": pod }))
}

/// A bookmark, as servers write it.
pub fn bookmark(version: &str) -> String {
    format!(
        "{{\"type\":\"BOOKMARK\",\"object\":{{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{{\"resourceVersion\":\
         \"{version}\",\"creationTimestamp\":null}},\"spec\":{{\"containers\":null}},\"status\":{{}}}}}}\n"
    )
}

/// The `Status` that refuses something.
pub fn status(code: Option<i32>, reason: Option<&str>, message: &str) -> serde_json::Value {
    let mut status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message
    });
    if let Some(code) = code {
        status["code"] = code.into();
    }
    if let Some(reason) = reason {
        status["reason"] = reason.into();
    }
    status
}

/// The same as a line of a watch.
pub fn error_event(code: Option<i32>, reason: Option<&str>, message: &str) -> String {
    format!("{}\n", serde_json::json!({ "type": "ERROR", "object": status(code, reason, message) }))
}

/// A directory of one test, removed when dropped.
pub struct Scratch(std::path::PathBuf);

impl Scratch {
    /// Where it is.
    pub fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Makes a directory for a test.
pub fn scratch(name: &str) -> Scratch {
    let path = std::env::temp_dir().join(format!("netmon-kube-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("a writable temporary directory");
    Scratch(path)
}
