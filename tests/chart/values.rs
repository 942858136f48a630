//! What the chart says of its values, held to the agent's table of settings and series.

use std::fs;

use netmon::config::setting::Value;
use netmon::config::settings::SETTINGS;
use netmon::stats::Stats;

use super::path;

/// One value of `values.yaml`: its key, its default, and the comment above it.
struct Documented {
    key: String,
    default: String,
    comment: String,
}

/// Reads the layout of our own `values.yaml`: `# -- ` stands above what it describes, two spaces a level.
fn documented() -> Vec<Documented> {
    let text = fs::read_to_string(path("chart/values.yaml")).expect("values.yaml");
    let whole: serde_json::Value = yaml_serde::from_str(&text).expect("YAML");
    let (mut parents, mut comment, mut found) = (Vec::<String>::new(), None, Vec::new());
    for line in text.lines() {
        let body = line.trim_start();
        if let Some(said) = body.strip_prefix("# -- ") {
            comment = Some(said.to_owned());
            continue;
        }
        let Some((key, _)) = body.split_once(':') else { continue };
        if body.starts_with(['#', '-']) {
            continue;
        }
        parents.truncate((line.len() - body.len()) / 2);
        parents.push(key.to_owned());
        if let Some(comment) = comment.take() {
            let default = parents.iter().fold(&whole, |value, key| &value[key.as_str()]);
            found.push(Documented { key: parents.join("."), default: default.to_string(), comment });
        }
    }
    found
}

/// A comment that ends with the name of a setting begins with what the settings say of it.
pub fn comments_say_what_the_settings_say() {
    let mut compared = 0;
    for value in documented() {
        for setting in SETTINGS {
            let named = format!("({})", setting.written());
            if value.comment.contains(&named) {
                let said = value.comment.trim_start_matches("(ours) ");
                // Values that are only a part of a setting, or more than it.
                let deliberate =
                    ["config.containerPort", "config.existingSecret", "state.type"].contains(&value.key.as_str());
                assert!(said.starts_with(setting.short) || deliberate, "{}: {said:?}, {:?}", value.key, setting.short);
                compared += 1;
            }
        }
    }
    assert!(compared >= 20, "{compared} comments name a setting");
}

/// Where the schema lists the words of a setting, they are the setting's.
pub fn the_schema_has_every_word_of_a_setting() {
    let schema = fs::read_to_string(path("chart/values.schema.json")).expect("the schema");
    let schema: serde_json::Value = serde_json::from_str(&schema).expect("JSON");
    let mut compared = 0;
    for setting in SETTINGS {
        let Value::Choice(words) = setting.value else { continue };
        let mut parts = setting.name.split('-');
        let first = parts.next().unwrap_or_default().to_owned();
        let key = parts.fold(first, |key, part| key + &part[..1].to_uppercase() + &part[1..]);
        let Some(listed) = schema["properties"]["config"]["properties"][&key]["enum"].as_array() else { continue };
        let listed: Vec<&str> =
            listed.iter().filter_map(|word| word.as_str().filter(|word| !word.is_empty())).collect();
        let words: Vec<&str> = words.iter().copied().filter(|word| !word.contains(char::is_uppercase)).collect();
        assert_eq!(listed, words, "chart/values.schema.json: {key}");
        compared += 1;
    }
    assert!(compared >= 7, "only {compared} settings are listed");
}

fn table() -> String {
    let mut table = "\n| value | default | what it does |\n| --- | --- | --- |\n".to_owned();
    for value in documented() {
        let comment =
            value.comment.strip_prefix("(ours) ").map_or(value.comment.clone(), |rest| format!("*ours:* {rest}"));
        table.push_str(&format!("| `{}` | `{}` | {comment} |\n", value.key, value.default));
    }
    table
}

/// The README's table is made from `values.yaml`.
pub fn readme_holds_the_table() {
    let (begin, end) = ("<!-- values: begin -->\n", "<!-- values: end -->");
    let file = path("chart/README.md");
    let readme = fs::read_to_string(&file).expect("chart/README.md");
    let (before, rest) = readme.split_once(begin).expect("the section begins");
    let (section, after) = rest.split_once(end).expect("the section ends");
    if std::env::var_os("NETMON_BLESS").is_some() {
        fs::write(&file, format!("{before}{begin}{}{end}{after}", table())).expect("README.md is ours");
    } else {
        assert!(section == table(), "chart/README.md is behind values.yaml: NETMON_BLESS=1 cargo test --test chart");
    }
}

/// Every series that the dashboard asks for is one that the agent offers.
pub fn dashboard_names_our_series() {
    let stats = Stats::default();
    let mut names: Vec<&str> = stats.families().iter().map(|family| family.name).collect();
    names.extend(["netmon_traffic_bytes_total", "netmon_build_info", "netmon_component_health"]);
    let text = fs::read_to_string(path("chart/dashboards/netmon.json")).expect("the dashboard");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(dashboard["uid"], "zxporter-netmon");
    let asked: Vec<&str> = text
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("netmon_"))
        .collect();
    assert!(asked.len() > 10);
    for name in asked {
        assert!(names.contains(&name), "the dashboard asks for {name}");
    }
}
