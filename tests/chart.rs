//! The chart: what it renders under every security profile and mode, held to golden manifests, to the API's types and
//! to the agent's own command line; which values it refuses; and that its comments say what the table of settings says.
//!
//! Needs `helm`, or Go to build it once from its module into a folder that git ignores. Where both are missing every
//! case that renders is counted as skipped, which is why this program brings its own `main`; with `CI=true` it is a
//! failure. `NETMON_BLESS=1` writes the golden manifests and the README's table anew.

#[path = "chart/elsewhere.rs"]
mod elsewhere;
#[path = "chart/helm.rs"]
mod helm;
#[path = "chart/manifest.rs"]
mod manifest;
#[path = "chart/people.rs"]
mod people;
#[path = "chart/values.rs"]
mod values;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use helm::Helm;
use netmon::config::tools::Tool;
use netmon::config::{self, Command, SourceKind};
use serde_json::{Value, json};

const MODES: [&str; 4] = ["netfilter", "ebpf", "cilium", "auto"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filter = arguments.iter().find(|argument| !argument.starts_with('-')).map_or("", |f| f.as_str());
    type Case = (&'static str, Option<fn(&Helm)>, fn());
    let cases: [Case; 28] = [
        ("chart_takes_values_that_people_have", Some(people::takes_values_that_people_have), nothing),
        ("chart_answers_files_of_other_charts", Some(elsewhere::files_of_other_charts), nothing),
        ("chart_has_a_place_for_every_spelling", Some(elsewhere::every_spelling_has_its_place), nothing),
        ("chart_knows_the_values_of_its_schema", Some(elsewhere::the_walk_knows_the_schema), nothing),
        ("chart_follows_objects_of_other_charts", Some(elsewhere::folders_are_followed), nothing),
        ("chart_leaves_out_nodes_that_cannot_run_it", Some(people::leaves_out_nodes_that_cannot_run_it), nothing),
        ("chart_refuses_with_the_reason", Some(people::refuses_with_the_reason), nothing),
        ("chart_alerts_are_provoked", None, people::alerts_are_provoked),
        ("chart_alerts_name_our_series", None, people::alerts_name_our_series),
        ("chart_renders_every_profile_and_mode", Some(renders_every_profile_and_mode), nothing),
        ("chart_takes_the_incumbents_values", Some(takes_the_incumbents_values), nothing),
        ("chart_passes_every_value_on", Some(passes_every_value_on), nothing),
        ("chart_publishes_a_topology", Some(publishes_a_topology), nothing),
        ("chart_grants_what_a_topology_takes", Some(grants_what_a_topology_takes), nothing),
        ("chart_keeps_the_namespace_of_each_series", Some(keeps_the_namespace_of_each_series), nothing),
        ("chart_passes_lint", Some(passes_lint), nothing),
        ("chart_grants_least_privilege", Some(grants_least_privilege), nothing),
        (
            "chart_mounts_nothing_of_the_node_where_it_is_told_so",
            Some(mounts_nothing_of_the_node_where_it_is_told_so),
            nothing,
        ),
        ("chart_gives_the_folder_of_the_node_to_the_agents_user", Some(gives_the_folder_to_the_agents_user), nothing),
        ("chart_takes_a_security_context_word_for_word", Some(takes_a_security_context_word_for_word), nothing),
        ("chart_refuses_bad_values", Some(refuses_bad_values), nothing),
        ("chart_and_raw_manifests_are_in_each_others_way", Some(people::raw_manifests_are_in_the_way), nothing),
        ("chart_says_what_happens_beside_the_incumbent", Some(says_what_happens_beside_the_incumbent), nothing),
        ("chart_comments_say_what_the_settings_say", None, values::comments_say_what_the_settings_say),
        ("chart_and_lab_know_every_mode", None, know_every_mode),
        ("chart_schema_has_every_word_of_a_setting", None, values::the_schema_has_every_word_of_a_setting),
        ("chart_readme_holds_the_table_of_values", None, values::readme_holds_the_table),
        ("chart_dashboard_names_our_series", None, values::dashboard_names_our_series),
    ];
    let list = arguments.iter().any(|argument| argument == "--list");
    let helm = if list { Err(String::new()) } else { Helm::find() };
    let (mut passed, mut ignored) = (0, 0);
    for (name, with_helm, plain) in cases.iter().filter(|(name, ..)| name.contains(filter)) {
        match (list, with_helm, &helm) {
            (true, ..) => println!("{name}: test"),
            (false, Some(_), Err(missing)) => {
                println!("test {name} ... skipped: {missing}");
                ignored += 1;
            }
            (false, with_helm, helm) => {
                if let (Some(case), Ok(helm)) = (with_helm, helm) {
                    case(helm);
                }
                plain();
                println!("test {name} ... ok");
                passed += 1;
            }
        }
    }
    if list {
        return;
    }
    println!("\ntest result: ok. {passed} passed; 0 failed; {ignored} skipped");
    let required = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(ignored == 0 || !required, "CI is to skip nothing for want of helm");
}

/// A mode that is added has its place in the chart's schema and capabilities, in these tests, and in the lab.
fn know_every_mode() {
    let schema = fs::read_to_string(path("chart/values.schema.json")).expect("the schema");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let allowed = &schema["properties"]["config"]["properties"]["collectorMode"]["enum"];
    let allowed: Vec<&str> = allowed.as_array().expect("a list of modes").iter().filter_map(Value::as_str).collect();
    let helper = fs::read_to_string(path("chart/templates/_helpers.tpl")).expect("the helpers");
    let lab = fs::read_to_string(path("tests/lab/lab.rs")).expect("the lab");
    let modes: Vec<&str> =
        SourceKind::ALL.into_iter().filter(|kind| kind.mode().is_some()).map(SourceKind::as_str).collect();
    assert_eq!(allowed, modes, "chart/values.schema.json");
    assert_eq!(MODES[..], modes, "tests/chart.rs");
    for mode in modes {
        assert!(helper.contains(&format!("eq $mode \"{mode}\"")), "chart/templates/_helpers.tpl: no {mode}");
        assert!(lab.contains(&format!("=> \"{mode}\"")), "tests/lab/lab.rs: no {mode}");
    }
}

fn nothing() {}

fn path(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

/// Renders, checks against the API's types and the agent's command line, and compares with the golden file.
fn check(helm: &Helm, name: &str, arguments: &[&str]) -> Vec<Value> {
    let text = helm.template(arguments);
    let golden = path("tests/golden/chart").join(format!("{name}.yaml"));
    if std::env::var_os("NETMON_BLESS").is_some() {
        fs::write(&golden, &text).expect("the golden file is ours");
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    assert!(text == expected, "{name}: differs from {}: NETMON_BLESS=1 cargo test --test chart", golden.display());
    let objects = manifest::objects(&text);
    for object in &objects {
        manifest::check_types(object);
    }
    manifest::check_daemon_set(manifest::find(&objects, "DaemonSet"));
    objects
}

fn renders_every_profile_and_mode(helm: &Helm) {
    for profile in ["minimal", "compat"] {
        for mode in MODES {
            let set = format!("securityProfile={profile},config.collectorMode={mode}");
            check(helm, &format!("{profile}-{mode}"), &["--set", &set]);
        }
    }
    check(helm, "minimal-cilium-alone", &["--set", "config.collectorMode=cilium,config.fallback=none"]);
    check(helm, "state-none", &["--set", "state.type=none"]);
    check(helm, "state-host-path", &["--set", "state.type=hostPath"]);
}

fn takes_the_incumbents_values(helm: &Helm) {
    let file = path("tests/chart/incumbent.yaml");
    for mode in MODES {
        let set = format!("config.collectorMode={mode}");
        let objects = check(helm, &format!("incumbent-{mode}"), &["-f", file.to_str().expect("UTF-8"), "--set", &set]);
        let pod = &manifest::find(&objects, "DaemonSet")["spec"]["template"];
        let annotation = "container.apparmor.security.beta.kubernetes.io/zxporter-netmon";
        assert_eq!(pod["metadata"]["annotations"][annotation], "unconfined");
        // The incumbent's image runs as root; whoever wrote these values counts on it.
        assert_eq!(pod["spec"]["securityContext"]["runAsUser"], 0);
    }
}

fn passes_every_value_on(helm: &Helm) {
    let file = path("tests/chart/everything.yaml");
    let file = file.to_str().expect("UTF-8");
    let objects = check(helm, "everything", &["-f", file, "--set", "config.collectorMode=ebpf"]);
    let kinds: Vec<&str> = objects.iter().filter_map(|object| object["kind"].as_str()).collect();
    for kind in ["DaemonSet", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "PodMonitor", "ConfigMap"] {
        assert!(kinds.contains(&kind), "{kind} is missing in {kinds:?}");
    }
}

/// One pod publishes for all: what it may do, where it writes, and that the agents mount just that.
fn publishes_a_topology(helm: &Helm) {
    let off = manifest::objects(&helm.template(&[]));
    assert!(off.iter().all(|object| object["kind"] != "Deployment" && object["kind"] != "Role"), "off by default");
    let set = "topology.publish.enabled=true,topology.ranges=10.0.0.0/8 region=r1,fullnameOverride=netmon";
    let objects = check(helm, "publish", &["--set", set]);
    let of = |kind: &str, name: &str| {
        let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("no {kind} {name}"))
    };
    let nodes_and_pods = json!([{"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["list", "watch"]}]);
    assert_eq!(of("ClusterRole", "netmon-topology")["rules"], nodes_and_pods);
    let published = "netmon-topology-published";
    assert_eq!(
        of("Role", "netmon-topology")["rules"],
        json!([
            {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [published], "verbs": ["get", "patch"]},
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]},
        ])
    );
    let deployment = &of("Deployment", "netmon-topology")["spec"];
    let (pod, agents) = (&deployment["template"], &of("DaemonSet", "netmon")["spec"]);
    assert_eq!(deployment["replicas"], 1);
    assert_eq!(pod["spec"]["containers"][0]["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
    let said: Vec<&str> =
        pod["spec"]["containers"][0]["args"].as_array().expect("args").iter().filter_map(Value::as_str).collect();
    assert_eq!(
        said,
        [
            "topology",
            "publish",
            "-configmap=netmon-topology-published",
            "-pods=auto",
            "-topology=/etc/zxporter-topology/topology"
        ]
    );
    let none = |name: &str| panic!("it reads {name}");
    let parsed = netmon::config::parse(said.iter().map(Into::into), none, None);
    assert!(matches!(parsed, Ok(netmon::config::Command::Tool(netmon::config::tools::Tool::TopologyPublish, _))));
    assert_eq!(pod["spec"]["volumes"][0]["configMap"]["name"], "netmon-topology", "the ranges that somebody wrote");
    // The Service and the monitors find the agents alone.
    let (theirs, ours) = (&agents["selector"]["matchLabels"], &pod["metadata"]["labels"]);
    assert!(theirs.as_object().expect("labels").iter().any(|(key, value)| ours[key] != *value), "{theirs} {ours}");
    let volumes = agents["template"]["spec"]["volumes"].as_array().expect("volumes");
    let mounted = volumes.iter().find(|volume| volume["name"] == "topology").expect("mounted");
    assert_eq!(mounted["configMap"], json!({"name": published, "optional": true}));
    assert!(
        agents["template"]["spec"]["containers"][0]["args"]
            .to_string()
            .contains("-topology=/etc/zxporter-topology/topology")
    );
    let never = manifest::objects(&helm.template(&["--set", &format!("{set},topology.publish.pods=never")]));
    let role = never.iter().find(|o| o["kind"] == "ClusterRole" && o["metadata"]["name"] == "netmon-topology");
    assert_eq!(role.expect("a role")["rules"][0]["resources"], json!(["nodes"]));
}

/// What an agent may ask of the API server is what its source of ranges takes.
fn grants_what_a_topology_takes(helm: &Helm) {
    let rules = |set: &str| {
        let objects = manifest::objects(&helm.template(&["--set", set]));
        let rules = manifest::find(&objects, "ClusterRole")["rules"].as_array().expect("rules").clone();
        let of_nodes = rules.iter().find(|rule| rule["resources"] == json!(["nodes"]));
        (of_nodes.map(|rule| rule["verbs"].clone()), manifest::find(&objects, "DaemonSet").to_string())
    };
    assert_eq!(rules("topology.source=none").0, None);
    let (routes, agents) = rules("topology.source=routes");
    assert_eq!(routes, Some(json!(["get"])));
    assert!(agents.contains("\"-topology-source=routes\"") && agents.contains("NODE_ZONE"));
    assert_eq!(rules("topology.source=nodes").0, Some(json!(["list", "watch"])));
    assert_eq!(rules("topology.ranges=10.0.0.0/8 zone=a").0, Some(json!(["get"])));
    // Cilium's map of addresses is in reach of the mode that reads its others.
    let (_, agents) = rules("topology.source=routes,config.collectorMode=cilium");
    for need in ["\"mountPath\":\"/sys/fs/bpf\"", "\"runAsUser\":0", "\"BPF\""] {
        assert!(agents.contains(need), "{need}: {agents}");
    }
}

/// Series name pods of others: each scrape job keeps the label `namespace` that they bear, and finds the agents where
/// the collectors of OpenCost and Kubecost look.
fn keeps_the_namespace_of_each_series(helm: &Helm) {
    let set = "podMonitor.enabled=true,service.enabled=true,serviceMonitor.enabled=true,opencost.enabled=true,\
               nameOverride=network-costs,config.containerPort=3001";
    let said = helm.run(&["template", "kubecost", helm.chart(), "--kube-version", "1.33.0", "--set", set]);
    assert!(said.ok, "{}", said.err);
    let objects = manifest::objects(&said.out);
    assert_eq!(manifest::find(&objects, "PodMonitor")["spec"]["podMetricsEndpoints"][0]["honorLabels"], true);
    assert_eq!(manifest::find(&objects, "ServiceMonitor")["spec"]["endpoints"][0]["honorLabels"], true);
    let pod = &manifest::find(&objects, "DaemonSet")["spec"]["template"];
    assert_eq!(pod["metadata"]["labels"]["app.kubernetes.io/name"], "network-costs");
    assert_eq!(pod["metadata"]["labels"]["app.kubernetes.io/instance"], "kubecost");
    assert_eq!(pod["spec"]["containers"][0]["ports"][0]["containerPort"], 3001);
    assert!(pod["spec"]["containers"][0]["args"].to_string().contains("\"-opencost-series\""));
    let service = manifest::find(&objects, "Service");
    assert_eq!(service["metadata"]["annotations"]["prometheus.io/scrape"], "true");
    assert_eq!(service["metadata"]["annotations"]["prometheus.io/port"], "3001");
    assert_eq!(service["spec"]["clusterIP"], "None");
}

fn passes_lint(helm: &Helm) {
    let said = helm.run(&["lint", "--strict", helm.chart()]);
    assert!(said.ok, "{}{}", said.out, said.err);
}

fn grants_least_privilege(helm: &Helm) {
    for (mode, fallback, user, capabilities) in [
        ("netfilter", "auto,config.dns=off", 65532, json!(["NET_ADMIN"])),
        // A bare off in a values file.
        ("netfilter", "none,config.dns=false", 65532, json!(["NET_ADMIN"])),
        ("netfilter", "auto", 65532, json!(["BPF", "NET_ADMIN"])),
        ("netfilter", "none,config.dns=on", 65532, json!(["BPF", "NET_ADMIN"])),
        ("ebpf", "auto", 65532, json!(["BPF", "NET_ADMIN"])),
        ("ebpf", "none", 65532, json!(["BPF", "NET_ADMIN"])),
        ("auto", "auto", 65532, json!(["BPF", "NET_ADMIN"])),
        ("auto", "none", 65532, json!(["BPF", "NET_ADMIN"])),
        ("cilium", "auto", 0, json!(["BPF", "NET_ADMIN"])),
        ("cilium", "none,config.dns=off", 0, json!(["BPF"])),
    ] {
        let set = format!("config.collectorMode={mode},config.fallback={fallback}");
        let objects = manifest::objects(&helm.template(&["--set", &set]));
        let pod = &manifest::find(&objects, "DaemonSet")["spec"]["template"]["spec"];
        let context = &pod["containers"][0]["securityContext"];
        assert_eq!(context["runAsUser"], user, "{set}");
        assert_eq!(context["capabilities"], json!({"drop": ["ALL"], "add": capabilities}), "{set}");
        assert_eq!(context["readOnlyRootFilesystem"], true, "{set}");
        assert_eq!(context["allowPrivilegeEscalation"], false, "{set}");
        assert_eq!(context["seccompProfile"], json!({"type": "RuntimeDefault"}), "{set}");
        assert!(context.get("privileged").is_none() && pod.get("hostPID").is_none(), "{set}");
        let host_paths: Vec<&str> =
            pod["volumes"].as_array().expect("volumes").iter().filter_map(|v| v["hostPath"]["path"].as_str()).collect();
        let expected: &[&str] = match mode {
            "cilium" => &["/sys/fs/cgroup", "/sys/fs/bpf"],
            _ => &["/sys/fs/cgroup"],
        };
        assert_eq!(host_paths, expected, "{set}");
        for mount in pod["containers"][0]["volumeMounts"].as_array().expect("mounts") {
            // The state is the pod's own.
            assert!(mount["readOnly"] == true || mount["name"] == "state", "{set}: {mount}");
        }
        // The place that the agent is told is where the tree is mounted.
        let said = pod["containers"][0]["args"].to_string();
        assert_eq!(said.contains("\"-dns=off\""), set.contains("dns=off") || set.contains("dns=false"), "{set}");
        assert!(said.contains("\"-cgroup-fs=/host/cgroup\""), "{set}: {said}");
        let rules = &manifest::find(&objects, "ClusterRole")["rules"];
        assert_eq!(*rules, json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]));
    }
}

fn mounts_nothing_of_the_node_where_it_is_told_so(helm: &Helm) {
    let objects = manifest::objects(&helm.template(&["--set", "config.cgroupFs="]));
    let pod = &manifest::find(&objects, "DaemonSet")["spec"]["template"]["spec"];
    let volumes = pod["volumes"].to_string();
    assert!(!volumes.contains("hostPath"), "{volumes}");
    assert!(!pod["containers"][0]["args"].to_string().contains("cgroup"));
}

/// The kubelet makes it as root's. Where somebody else decides who the agent is, nothing is given to anybody.
fn gives_the_folder_to_the_agents_user(helm: &Helm) {
    let pod = |sets: &str| {
        let objects = manifest::objects(&helm.template(&["--set", &format!("state.type=hostPath,{sets}")]));
        manifest::find(&objects, "DaemonSet")["spec"]["template"]["spec"].clone()
    };
    for mode in ["netfilter", "ebpf", "auto"] {
        let pod = pod(&format!("config.collectorMode={mode}"));
        let (first, agent) = (&pod["initContainers"][0], &pod["containers"][0]);
        let arguments = first["args"].as_array().expect("arguments").iter();
        let arguments: Vec<OsString> = arguments.map(|a| a.as_str().expect("text").into()).collect();
        assert!(matches!(config::parse(arguments, |_| None, None), Ok(Command::Tool(Tool::StateGive, _))));
        assert_eq!(first["args"][3], agent["securityContext"]["runAsUser"].to_string());
        assert_eq!(first["volumeMounts"][0], json!({"name": "state", "mountPath": first["args"][2]}));
        assert!(agent["volumeMounts"].as_array().expect("mounts").contains(&first["volumeMounts"][0]));
        assert_eq!(first["securityContext"]["capabilities"], json!({"drop": ["ALL"], "add": ["CHOWN"]}));
        assert_eq!(first["image"], agent["image"]);
    }
    for sets in [
        "state.type=emptyDir",
        "securityProfile=compat",
        "config.collectorMode=cilium",
        "podSecurityContext.runAsUser=7",
    ] {
        assert!(pod(sets).get("initContainers").is_none(), "{sets}");
    }
}

fn takes_a_security_context_word_for_word(helm: &Helm) {
    for profile in ["minimal", "compat"] {
        let sets = "securityContext.runAsNonRoot=true,securityContext.capabilities.add[0]=NET_ADMIN,\
                    podSecurityContext.fsGroup=7";
        let objects =
            manifest::objects(&helm.template(&["--set", sets, "--set", &format!("securityProfile={profile}")]));
        let pod = &manifest::find(&objects, "DaemonSet")["spec"]["template"];
        let context = &pod["spec"]["containers"][0]["securityContext"];
        assert_eq!(*context, json!({"runAsNonRoot": true, "capabilities": {"add": ["NET_ADMIN"]}}));
        assert_eq!(pod["spec"]["securityContext"], json!({"fsGroup": 7}));
        assert!(pod["metadata"].get("annotations").is_none(), "an annotation beside the user's context: {pod}");
    }
}

/// Each with what the message must name.
fn refuses_bad_values(helm: &Helm) {
    for (bad, named) in [
        ("config.collectorMode=bpf", "collectorMode"),
        ("config.exportInterval=60", "exportInterval"),
        ("config.exportInterval=1 minute", "exportInterval"),
        ("config.readInterval=5", "readInterval"),
        ("config.containerPort=eighty", "containerPort"),
        ("config.containerPort=70000", "containerPort"),
        ("config.logLevel=loud", "logLevel"),
        ("config.logFormat=xml", "logFormat"),
        ("config.dakrUrl=dakr.example.com", "dakrUrl"),
        ("config.clusterCidrs=10.0.0.0/8", "clusterCidrs"),
        ("config.clusterCidrs[0]=10.0.0.0", "clusterCidrs"),
        ("config.clusterCidrs[0]=10.300.0.0/16", "clusterCidrs"),
        ("config.outsideCidrs[0]=10.0.0.0/33", "outsideCidrs"),
        ("config.metricsAllow[0]=fd00::/129", "metricsAllow"),
        ("config.overlayPorts[0]=0", "overlayPorts"),
        ("config.fallback=never", "fallback"),
        ("config.cgroupFs=cgroup", "cgroupFs"),
        ("config.maxRows=1", "maxRows"),
        ("securityProfile=strict", "securityProfile"),
        ("extraCapabilities[0]=CAP_PERFMON", "extraCapabilities"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("hostNetwork=maybe", "hostNetwork"),
        ("terminationGracePeriodSeconds=5", "terminationGracePeriodSeconds"),
        ("state.type=disk", "state"),
        ("updateStrategy.type=Fast", "updateStrategy"),
    ] {
        let said = helm.render(helm.chart(), &["--set", bad]);
        assert!(!said.ok, "accepted: {bad}");
        assert!(said.err.contains(named) && said.err.contains("schema"), "{bad}: {}", said.err);
    }
}

fn says_what_happens_beside_the_incumbent(helm: &Helm) {
    let file = path("tests/chart/incumbent.yaml");
    let file = file.to_str().expect("UTF-8");
    let said = helm.notes(&["-f", file]);
    for expected in ["port 8081", "priced twice", "not this agent's", "netmon-zxporter-netmon-token"] {
        assert!(said.contains(expected), "NOTES.txt does not say {expected:?}: {said}");
    }
}
