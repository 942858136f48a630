//! What a manifest must be, whatever the values: objects of the API's types without a field that those do not know, a
//! pod that an API server takes, and arguments that the agent takes.

use std::ffi::OsString;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use netmon::config;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The objects of a rendered chart.
pub fn objects(text: &str) -> Vec<Value> {
    let documents = text.split("\n---\n").map(|document| document.trim_start_matches("---\n"));
    let parse = |document: &str| -> Value {
        yaml_serde::from_str(document).unwrap_or_else(|error| panic!("not YAML: {error}\n{document}"))
    };
    documents.map(parse).filter(|object| !object.is_null()).collect()
}

/// The only object of a kind.
pub fn find<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let first = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    first
}

/// Holds an object to its type in the API.
pub fn check_types(object: &Value) {
    match object["kind"].as_str().expect("a kind") {
        "DaemonSet" => same::<DaemonSet>(object),
        "ServiceAccount" => same::<ServiceAccount>(object),
        "ClusterRole" => same::<ClusterRole>(object),
        "Deployment" => same::<Deployment>(object),
        "Role" => same::<Role>(object),
        "RoleBinding" => same::<RoleBinding>(object),
        "ClusterRoleBinding" => same::<ClusterRoleBinding>(object),
        "ConfigMap" => same::<ConfigMap>(object),
        "Secret" => same::<Secret>(object),
        // The Prometheus operator's, which the API's types do not hold.
        "PodMonitor" | "ServiceMonitor" => {
            assert_eq!(object["apiVersion"], "monitoring.coreos.com/v1");
            let spec = &object["spec"];
            let endpoints = spec["endpoints"].as_array().or(spec["podMetricsEndpoints"].as_array()).expect("endpoints");
            // Else the namespace of the agent's own pod takes the place of that of each series.
            assert!(endpoints.iter().all(|endpoint| endpoint["honorLabels"] == true), "{spec}");
        }
        "Service" => same::<Service>(object),
        kind => panic!("nobody expects a {kind}"),
    }
}

/// Through the type and back: what is missing then is a field that the type does not know.
fn same<T: DeserializeOwned + Serialize>(object: &Value) {
    let typed: T = serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}\n{object}"));
    let back = serde_json::to_value(typed).expect("JSON");
    contains(&back, object, "");
}

fn contains(whole: &Value, part: &Value, at: &str) {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (key, value) in part {
                let at = format!("{at}.{key}");
                // Empty lists and maps are not written out again.
                let is_empty =
                    value.as_object().is_some_and(|m| m.is_empty()) || value.as_array().is_some_and(Vec::is_empty);
                match whole.get(key) {
                    Some(kept) => contains(kept, value, &at),
                    None => assert!(is_empty, "the API has no {at}"),
                }
            }
        }
        (Value::Array(whole), Value::Array(part)) => {
            assert_eq!(whole.len(), part.len(), "{at}");
            for (n, (whole, part)) in whole.iter().zip(part).enumerate() {
                contains(whole, part, &format!("{at}[{n}]"));
            }
        }
        _ => assert_eq!(whole, part, "{at}"),
    }
}

/// What an API server refuses, what makes a DaemonSet without pods, and what the agent refuses.
pub fn check_daemon_set(set: &Value) {
    let template = &set["spec"]["template"];
    let pod = &template["spec"];
    let containers = pod["containers"].as_array().expect("containers");
    assert_eq!(containers.len(), 1);
    let container = &containers[0];
    let context = &container["securityContext"];
    // The AppArmor annotation of the incumbent's values names it.
    assert_eq!(container["name"], "zxporter-netmon");
    assert!(!(context["privileged"] == true && context["allowPrivilegeEscalation"] == false), "refused by the API");
    assert!(!context.to_string().contains("CAP_"), "means nothing to a container runtime");
    for (key, value) in set["spec"]["selector"]["matchLabels"].as_object().expect("a selector") {
        assert_eq!(template["metadata"]["labels"][key], *value, "a selector that selects nothing");
    }
    let names = |list: &str| -> Vec<String> {
        let list = pod[list].as_array().expect("a list");
        list.iter().map(|item| item["name"].as_str().expect("a name").to_owned()).collect()
    };
    let volumes = names("volumes");
    for mount in container["volumeMounts"].as_array().expect("mounts") {
        assert!(volumes.iter().any(|volume| *volume == mount["name"]), "{mount} mounts no volume");
    }
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/healthz");
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    takes_arguments(container);
}

/// The agent's own parser takes the arguments, under the environment that they come with.
fn takes_arguments(container: &Value) {
    let arguments: Vec<OsString> =
        container["args"].as_array().expect("args").iter().map(|a| a.as_str().expect("text").into()).collect();
    assert!(arguments[0].to_string_lossy().starts_with("-collector-mode="), "the mode comes first");
    let environment = |name: &str| -> Option<OsString> {
        let variables = container["env"].as_array().expect("env");
        let variable = variables.iter().find(|variable| variable["name"] == name)?;
        Some(variable["value"].as_str().unwrap_or("filled-in").into())
    };
    match config::parse(arguments.clone(), environment, None) {
        Ok(config::Command::Run(_)) => {}
        other => panic!("{arguments:?}: {other:?}"),
    }
}
