//! What docs/cost.md gives its readers to copy works: the recording rules, and the commands that make lines of ranges.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use netmon::topology::lines;

/// A folder of the test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("netmon-documents-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The first block of this language with these words in it.
fn block(language: &str, words: &str) -> String {
    let page = fs::read_to_string(super::path("docs/cost.md")).expect("docs/cost.md");
    let mut blocks = page.split("\n```").skip(1).step_by(2);
    let found = blocks.find_map(|block| block.strip_prefix(language).filter(|text| text.contains(words)));
    found.unwrap_or_else(|| panic!("no {language} with {words}")).to_owned()
}

/// A gigabyte a second of each of them; prices as the page has them.
const ASKED: &str = r#"
rule_files: [rules.yaml]
tests:
- interval: 1m
  input_series:
  - {series: 'netmon_cost_bytes_total{namespace="shop",pod="web",scope="region",via="",flow="tx"}', values: '0+60000000000x30'}
  - {series: 'netmon_cost_bytes_total{namespace="shop",pod="web",scope="region",via="",flow="rx"}', values: '0+60000000000x30'}
  - {series: 'netmon_cost_bytes_total{namespace="shop",pod="web",scope="internet",via="nat",flow="tx"}', values: '0+60000000000x30'}
  - {series: 'netmon_cost_bytes_total{namespace="shop",pod="web",scope="internet",via="nat",flow="rx"}', values: '0+60000000000x30'}
  - {series: 'netmon_cost_bytes_total{namespace="shop",pod="web",scope="zone",via="",flow="tx"}', values: '0+60000000000x30'}
  promql_expr_test:
  - expr: round(netmon:cost_usd:rate5m * 1000)
    eval_time: 20m
    exp_samples:
    - {labels: '{namespace="shop",pod="web",scope="region"}', value: 20}
    - {labels: '{namespace="shop",pod="web",scope="internet"}', value: 90}
  - expr: round(netmon:nat_cost_usd:rate5m * 1000)
    eval_time: 20m
    exp_samples: [{labels: '{namespace="shop",pod="web"}', value: 90}]
"#;

#[test]
fn the_recording_rules_price_what_they_say() {
    let folder = Folder::new("rules");
    fs::write(folder.0.join("rules.yaml"), block("yaml", "netmon:price")).expect("ours");
    let test = folder.0.join("test.yaml");
    fs::write(&test, ASKED).expect("ours");
    match Command::new("promtool").args(["test", "rules"]).arg(test).output() {
        Ok(said) => assert!(said.status.success(), "{}", String::from_utf8_lossy(&[said.stdout, said.stderr].concat())),
        Err(error) => println!("skipped: needs promtool (Debian: prometheus): {error}"),
    }
}

/// The lines that a command of the page prints, where `program` says this.
fn printed(folder: &Folder, command: &str, program: &str, says: &str) -> Vec<String> {
    let fake = folder.0.join(program);
    fs::write(folder.0.join("said"), says).expect("ours");
    fs::write(&fake, format!("#!/bin/sh\ncat {}\n", folder.0.join("said").display())).expect("ours");
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).expect("ours");
    let path = format!("{}:{}", folder.0.display(), std::env::var("PATH").unwrap_or_default());
    let said = Command::new("sh").args(["-c", command]).env("PATH", path).output().expect("a shell");
    assert!(said.status.success(), "{command}: {}", String::from_utf8_lossy(&said.stderr));
    let text = String::from_utf8(said.stdout).expect("text");
    let line = |text: &str| lines::parse_line(text).expect("it is well").expect("a range").to_string();
    text.lines().map(line).collect()
}

#[test]
fn the_commands_print_lines_that_are_taken() {
    let folder = Folder::new("commands");
    let of_subnets = "10.0.0.0/20\tus-east-1a\n10.0.16.0/20\tus-east-1b\n";
    let lines = printed(&folder, &block("sh", "describe-subnets"), "aws", of_subnets);
    assert_eq!(
        lines,
        ["10.0.0.0/20 zone=us-east-1a region=us-east-1", "10.0.16.0/20 zone=us-east-1b region=us-east-1"]
    );

    if Command::new("jq").arg("--version").output().is_err() {
        println!("skipped: needs jq");
        return;
    }
    let of_nodes = r#"{"items": [{
        "metadata": {"labels": {"topology.kubernetes.io/zone": "europe-west1-b", "topology.kubernetes.io/region": "europe-west1"}},
        "spec": {"podCIDRs": ["10.8.0.0/24", "fd00:8::/112"]}}]}"#;
    let lines = printed(&folder, &block("sh", "podCIDRs"), "kubectl", of_nodes);
    let place = "zone=europe-west1-b region=europe-west1";
    assert_eq!(lines, [format!("10.8.0.0/24 {place}"), format!("fd00:8::/112 {place}")]);
}
