//! What packages hold is what the sources say: man page and completions come from the table of settings, and the
//! systemd unit is as closed as the README says.

#[path = "../examples/documents.rs"]
mod documents;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn path(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

#[test]
fn man_page_and_completions_are_made_from_the_settings() {
    for (name, text) in documents::documents() {
        let file = path("package").join(name);
        if std::env::var_os("NETMON_BLESS").is_some() {
            fs::create_dir_all(file.parent().expect("a folder")).expect("ours");
            fs::write(&file, &text).expect("ours");
        }
        let there = fs::read_to_string(&file).unwrap_or_default();
        assert!(there == text, "{} is behind: NETMON_BLESS=1 cargo test --test documents", file.display());
        assert!(text.contains("collector-mode") || text.contains("collector\\-mode"), "{name}");
        assert!(!text.contains('\u{2026}') || !name.ends_with(".8"), "{name} holds what old formatters cannot show");
    }
}

/// Runs a checker that may not be there.
fn checked(program: &str, arguments: &[&str]) -> Option<(bool, String)> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

/// systemd 250 or newer rates a unit without running it.
#[test]
fn the_unit_is_rated_below_two_and_its_rating_stands_in_the_readme() {
    let unit = path("package/zxporter-netmon.service");
    let unit = unit.to_str().expect("UTF-8");
    let Some((_, said)) = checked("systemd-analyze", &["security", "--offline=true", "--no-pager", unit]) else {
        panic!("systemd-analyze is missing: apt-get install systemd");
    };
    let last = said.lines().rfind(|line| line.contains("Overall exposure level")).expect("a rating");
    let rating = last.split_whitespace().find_map(|word| word.parse::<f64>().ok()).expect("a number");
    assert!(rating < 2.0, "{last}");
    let readme = fs::read_to_string(path("README.md")).expect("README.md");
    assert!(readme.contains(&format!("exposure {rating}")), "README.md does not say exposure {rating}");
}

/// The unit's flags are ones that the agent takes, and what it asks of systemd is what the mode needs.
#[test]
fn the_unit_starts_what_there_is() {
    let text = fs::read_to_string(path("package/zxporter-netmon.service")).expect("the unit");
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("{key}"));
    let mut words = value("ExecStart=").split_whitespace();
    assert_eq!(words.next(), Some("/usr/bin/zxporter-netmon"));
    let arguments: Vec<std::ffi::OsString> = words.filter(|word| *word != "$FLAGS").map(Into::into).collect();
    let command = netmon::config::parse(arguments, |_| None, Some("host".into()));
    assert!(matches!(command, Ok(netmon::config::Command::Run(_))), "{command:?}");
    assert_eq!(value("CapabilityBoundingSet="), "CAP_NET_ADMIN");
    assert_eq!(value("AmbientCapabilities="), "CAP_NET_ADMIN");
}
