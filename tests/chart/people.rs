//! Values that people bring, what is refused with its reason, and the alerts.

use std::fs;
use std::process::Command;

use netmon::stats::Stats;
use serde_json::{Value, json};

use super::helm::Helm;
use super::{manifest, path};

/// A file with what such charts usually take; every value is seen in what is rendered.
pub fn takes_values_that_people_have(helm: &Helm) {
    let file = path("tests/chart/people.yaml");
    let objects = manifest::objects(&helm.template(&["-f", file.to_str().expect("UTF-8")]));
    let of = |kind: &str| objects.iter().filter(|o| o["kind"] == kind).collect::<Vec<&Value>>();
    for object in objects
        .iter()
        .filter(|object| !["netmon-mine", "text"].contains(&object["metadata"]["name"].as_str().unwrap_or("")))
    {
        assert_eq!(object["metadata"]["labels"]["team"], "net", "{object}");
        assert_eq!(object["metadata"]["annotations"]["owner"], "net@example.com", "{object}");
    }
    let set = of("DaemonSet")[0];
    assert_eq!(set["metadata"]["annotations"]["reloader.stakater.com/auto"], "true");
    assert_eq!(set["spec"]["revisionHistoryLimit"], 3);
    let (pod, template) = (&set["spec"]["template"]["spec"], &set["spec"]["template"]["metadata"]);
    assert_eq!(
        (&template["labels"]["team"], &template["annotations"]["prometheus.io/port"]),
        (&json!("net"), &json!("8081"))
    );
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "zero"}, {"name": "registry"}, {"name": "other"}]));
    let digest = "a".repeat(64);
    assert_eq!(pod["containers"][0]["image"], format!("mirror.example.com/zxporter-netmon@sha256:{digest}"));
    assert_eq!(pod["dnsConfig"]["options"][0]["name"], "ndots");
    assert_eq!(pod["hostAliases"], json!([{"ip": "10.0.0.9", "hostnames": ["dakr.example.com"]}]));
    assert_eq!(set["spec"]["minReadySeconds"], 5);
    let dashboards = of("ConfigMap");
    let dashboard = dashboards.iter().find(|o| o["metadata"]["annotations"]["grafana_folder"] == "network");
    assert_eq!(dashboard.expect("a dashboard")["metadata"]["namespace"], "monitoring");
    let from = pod["containers"][0]["envFrom"].as_array().expect("a list");
    assert!(from.contains(&json!({"secretRef": {"name": "proxy"}})));
    for kind in ["PodMonitor", "ServiceMonitor"] {
        let spec = &of(kind)[0]["spec"];
        let endpoint = spec["podMetricsEndpoints"].get(0).unwrap_or(&spec["endpoints"][0]);
        assert_eq!((&endpoint["honorLabels"], &endpoint["scrapeTimeout"]), (&json!(true), &json!("10s")), "{kind}");
        assert_eq!(endpoint["metricRelabelings"][0]["regex"], "protocol", "{kind}");
        let relabelings = endpoint["relabelings"].as_array().expect("a list");
        assert_eq!(relabelings.last().expect("some")["regex"], "pod_template_hash", "{kind}");
        assert_eq!(of(kind)[0]["metadata"]["namespace"], "monitoring", "{kind}");
        assert_eq!(spec["namespaceSelector"]["matchNames"][0], of("DaemonSet")[0]["metadata"]["namespace"], "{kind}");
    }
    let rule = of("PrometheusRule")[0];
    let text = fs::read_to_string(path("chart/alerts/netmon.yaml")).expect("the alerts");
    let alerts: Value = yaml_serde::from_str(&text).expect("YAML");
    assert_eq!(rule["spec"]["groups"][0], alerts["groups"][0], "word for word");
    assert_eq!(
        (&rule["spec"]["groups"][1]["name"], &rule["metadata"]["labels"]["release"]),
        (&json!("mine"), &json!("prometheus"))
    );
    assert_eq!(of("NetworkPolicy")[0]["spec"]["ingress"][0]["from"], json!([{"namespaceSelector": {}}]));
    assert_eq!(of("SecurityContextConstraints")[0]["allowHostNetwork"], true);
    let names: Vec<&Value> = of("ConfigMap").iter().map(|o| &o["metadata"]["name"]).collect();
    assert!(names.contains(&&json!("netmon-mine")) && names.contains(&&json!("text")), "{names:?}");
}

/// Nodes that have no kernel to count in get no agent; drained and tainted ones keep theirs.
pub fn leaves_out_nodes_that_cannot_run_it(helm: &Helm) {
    let objects = manifest::objects(&helm.template(&[]));
    let pod = &manifest::find(&objects, "DaemonSet")["spec"]["template"]["spec"];
    assert_eq!(pod["nodeSelector"], json!({"kubernetes.io/os": "linux"}));
    let terms = &pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    assert_eq!(terms[0]["matchExpressions"][0]["values"], json!(["fargate"]));
    let effects: Vec<&Value> = pod["tolerations"].as_array().expect("a list").iter().map(|t| &t["effect"]).collect();
    assert_eq!(effects, [&json!("NoSchedule"), &json!("NoExecute")]);
}

/// What cannot work is refused in a sentence that says why.
pub fn refuses_with_the_reason(helm: &Helm) {
    let said = helm.render(helm.chart(), &["--set", "updateStrategy.rollingUpdate.maxSurge=1"]);
    assert!(!said.ok && said.err.contains("both listen on one port of the node"), "{}", said.err);
    let zero = helm.render(helm.chart(), &["--set", "updateStrategy.rollingUpdate.maxSurge=0"]);
    assert!(zero.ok, "{}", zero.err);
    // `--reuse-values` takes the other chart's values in the place of this chart's defaults.
    let folder = std::env::temp_dir().join(format!("netmon-reuse-{}", std::process::id()));
    let copied = Command::new("cp").arg("-r").arg(helm.chart()).arg(&folder).status().expect("cp");
    assert!(copied.success());
    fs::copy(path("tests/chart/incumbent.yaml"), folder.join("values.yaml")).expect("ours");
    let reused = helm.render(folder.to_str().expect("UTF-8"), &[]);
    fs::remove_dir_all(&folder).expect("ours");
    assert!(!reused.ok && reused.err.contains("helm upgrade --reset-then-reuse-values"), "{}", reused.err);
}

/// Each alert is provoked once, and silent where all is well.
pub fn alerts_are_provoked() {
    let (rules, tests) = (path("chart/alerts/netmon.yaml"), path("tests/chart/alerts.yaml"));
    for arguments in
        [["check", "rules", rules.to_str().expect("UTF-8")], ["test", "rules", tests.to_str().expect("UTF-8")]]
    {
        match Command::new("promtool").args(arguments).output() {
            Ok(output) => {
                let said =
                    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{said}");
            }
            Err(error) => println!("skipped: needs promtool (Debian: prometheus): {error}"),
        }
    }
}

/// Every series that an alert asks for is one that the agent offers, and every alert has a test.
pub fn alerts_name_our_series() {
    let stats = Stats::default();
    let mut names: Vec<&str> = stats.families().iter().map(|family| family.name).collect();
    names.extend(["netmon_traffic_bytes_total", "netmon_source"]);
    let text = fs::read_to_string(path("chart/alerts/netmon.yaml")).expect("the alerts");
    let tests = fs::read_to_string(path("tests/chart/alerts.yaml")).expect("their tests");
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    for name in words.filter(|word| word.starts_with("netmon_") && *word != "netmon_traffic_bytes") {
        assert!(names.contains(&name), "an alert asks for {name}");
    }
    let alerts = text.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let mut count = 0;
    for alert in alerts {
        count += 1;
        let exists = |line: &str| line.contains(&format!("alertname: {alert}")) && !line.contains("exp_alerts: []");
        assert!(tests.lines().any(exists), "{alert} is never provoked");
    }
    assert_eq!(count, 7);
}

/// The Network Operator's raw manifest has the names of the chart's objects, and a DaemonSet with another selector, which
/// cannot be changed: `docs/moving-over.md` takes both away first.
pub fn raw_manifests_are_in_the_way(helm: &Helm) {
    let objects = manifest::objects(&helm.template(&["--set", "fullnameOverride=zxporter-netmon"]));
    for kind in ["DaemonSet", "ServiceAccount"] {
        assert_eq!(manifest::find(&objects, kind)["metadata"]["name"], "zxporter-netmon", "{kind}");
    }
    let selector = &manifest::find(&objects, "DaemonSet")["spec"]["selector"]["matchLabels"];
    assert_eq!(selector["app"], "zxporter-netmon");
    assert!(selector.as_object().is_some_and(|labels| labels.len() > 1), "theirs has app alone: {selector}");
    let paper = fs::read_to_string(path("docs/moving-over.md")).expect("the paper");
    assert!(paper.contains("kubectl -n devzero-system delete daemonset,serviceaccount zxporter-netmon\n"));
    assert!(paper.contains("\nhelm install zxporter-netmon ./chart --namespace devzero-system "));
    let text = objects.iter().map(Value::to_string).collect::<String>();
    for kept in ["devzero-zxporter-env-config", "devzero-zxporter-token"] {
        assert!(paper.contains(kept) && text.contains(kept), "{kept} is read");
    }
}
