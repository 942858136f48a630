//! Values under names of other charts: one message names all of a file, each with its place here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Map, Value, json};

use super::helm::Helm;
use super::path;

/// What the chart answers to a file, line by line in order.
fn lines(helm: &Helm, arguments: &[&str]) -> Vec<String> {
    let said = helm.render(helm.chart(), arguments);
    assert!(!said.ok && said.out.is_empty(), "taken: {arguments:?}");
    let mut lines = said.err.lines();
    let first = lines.next().unwrap_or_default();
    assert!(first.ends_with("values that this chart has elsewhere, or not at all:"), "{}", said.err);
    let mut found: Vec<String> = lines.map_while(|line| line.strip_prefix("  ")).map(str::to_owned).collect();
    found.sort();
    found
}

/// Whole files as people have them: the head of each says what the chart must answer.
pub fn files_of_other_charts(helm: &Helm) {
    let mut files = 0;
    for entry in fs::read_dir(path("tests/chart/elsewhere")).expect("a folder") {
        let file = entry.expect("a file").path();
        let text = fs::read_to_string(&file).expect("text");
        let mut want: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("#> ")).collect();
        want.sort_unstable();
        assert!(want.len() > 9, "{}: says nothing of the answer", file.display());
        assert_eq!(lines(helm, &["-f", file.to_str().expect("UTF-8")]), want, "{}", file.display());
        files += 1;
    }
    assert_eq!(files, 5);
}

/// A table of the chart: what stands there, by what is said of it.
fn table(helm: &Helm, name: &str) -> BTreeMap<String, Vec<String>> {
    let rendered = helm.with_template(&format!("{{{{ include \"netmon.{name}\" . }}}}\n"), &[]);
    yaml_serde::from_str(&rendered).expect("a table")
}

/// Every spelling in the table is answered with its place, and every place is a value of this chart.
pub fn every_spelling_has_its_place(helm: &Helm) {
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    let homes = table(helm, "homes");
    let known = known(helm);
    for (home, others) in &homes {
        for one in home.split(" and ") {
            let value = one.split(' ').next().unwrap_or_default();
            let within = value.rsplit_once('.').map_or(value, |(parent, _)| parent);
            let is_open = !known.keys().any(|object| object == within) && known_paths(&known).contains(within);
            let is_deeper = value.starts_with("resources.") || value.starts_with("updateStrategy.rollingUpdate");
            assert!(known_paths(&known).contains(value) || is_open || is_deeper, "no such value: {home}");
        }
        said.extend(others.iter().map(|other| (other.clone(), format!("{other} -> {home}"))));
    }
    for (reason, others) in table(helm, "never") {
        said.extend(others.iter().map(|other| (other.clone(), format!("{other}: {reason}"))));
    }
    let count = said.len();
    assert!(count >= 193, "{count} spellings");
    // An object with spellings below it is one of its own only where it is no object.
    let is_parent = |one: &str| said.keys().any(|other| other.starts_with(&format!("{one}.")));
    let (parents, leaves): (Vec<&String>, Vec<&String>) = said.keys().partition(|one| is_parent(one));
    let mut values = Map::new();
    for leaf in &leaves {
        let (parts, last) = leaf.rsplit_once('.').unwrap_or(("", leaf));
        let object = parts.split('.').filter(|part| !part.is_empty()).fold(&mut values, |object, part| {
            let below = object.entry(part).or_insert_with(|| json!({}));
            below.as_object_mut().expect("no leaf has leaves below it")
        });
        object.insert(last.to_owned(), json!("x"));
    }
    let file = std::env::temp_dir().join(format!("netmon-elsewhere-{}.json", std::process::id()));
    fs::write(&file, Value::Object(values).to_string()).expect("ours");
    let found: BTreeSet<String> = lines(helm, &["-f", file.to_str().expect("UTF-8")]).into_iter().collect();
    fs::remove_file(&file).expect("ours");
    let want: BTreeSet<String> = leaves.iter().map(|leaf| said[*leaf].clone()).collect();
    assert_eq!(found, want);
    let sets: Vec<String> = parents.iter().map(|parent| format!("{parent}=x")).collect();
    let found = lines(helm, &["--set", &sets.join(",")]);
    assert_eq!(found, parents.iter().map(|parent| said[*parent].clone()).collect::<Vec<String>>());
}

fn known(helm: &Helm) -> BTreeMap<String, Vec<String>> {
    table(helm, "known")
}

fn known_paths(known: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    let paths = known.iter().flat_map(|(object, keys)| {
        keys.iter().map(move |key| if object == "." { key.clone() } else { format!("{object}.{key}") })
    });
    paths.collect()
}

/// The values that the walk knows are those that the schema judges.
pub fn the_walk_knows_the_schema(helm: &Helm) {
    fn of(schema: &Value, at: &str, found: &mut BTreeSet<String>) {
        for (key, value) in schema["properties"].as_object().into_iter().flatten() {
            let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
            // What umbrella charts share is anybody's.
            if path != "global" {
                of(value, &path, found);
            }
            found.insert(path);
        }
    }
    let schema = fs::read_to_string(path("chart/values.schema.json")).expect("the schema");
    let mut judged = BTreeSet::new();
    of(&serde_json::from_str(&schema).expect("JSON"), "", &mut judged);
    assert_eq!(known_paths(&known(helm)), judged);
}

/// Values deep in objects of other charts are followed to their place here.
pub fn folders_are_followed(helm: &Helm) {
    for (set, want) in [
        ("agent.image.name=x", "agent.image.name -> image.repository"),
        ("daemonset.nodeSelector.a=b", "daemonset.nodeSelector -> nodeSelector"),
        (
            "metrics.serviceMonitor.additionalLabels.a=b",
            "metrics.serviceMonitor.additionalLabels -> serviceMonitor.labels",
        ),
        ("resources.agent.limits.cpu=1", "resources.agent.limits -> resources.limits"),
        ("pod.securityContext.fsGroup=1", "pod.securityContext -> podSecurityContext"),
        ("zxporter-netmon.dakrUrl=x", "zxporter-netmon.dakrUrl -> config.dakrUrl"),
        ("zxporter.dakrUrl=x", "zxporter.dakrUrl -> config.dakrUrl"),
        ("config.colectorMode=ebpf", "config.colectorMode: there is no such value; `helm show values` lists all"),
        ("nonsense=1", "nonsense: there is no such value; `helm show values` lists all"),
        (
            "enabled=false",
            "enabled: false is for the condition of an umbrella chart; helm uninstall takes the agent away",
        ),
    ] {
        assert_eq!(lines(helm, &["--set", set]), [want], "{set}");
    }
    // What others keep in `global`, and what stands in objects that take anything, is no matter of this chart.
    for set in
        ["global.storageClass=fast,global.k8sProvider=aws", "enabled=true", "podLabels.image=x", "nodeSelector.port=x"]
    {
        helm.template(&["--set", set]);
    }
}
