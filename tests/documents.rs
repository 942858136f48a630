//! What packages hold is what the sources say: man page and completions come from the table of settings, and the
//! systemd unit is as closed as the README says. What pages give to copy works.

#[path = "documents/commands.rs"]
mod commands;
#[path = "documents/costs.rs"]
mod costs;
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

/// U12: what comes behind an equals sign, which bash makes a word of its own, and flags with two dashes are completed too.
#[test]
fn bash_completes_values_and_both_dashes() {
    for (words, wanted) in [
        ("-collector-mode = ci", "cilium"),
        ("-collector-mode =", "netfilter ebpf cilium auto"),
        ("--dns-p", "--dns-ports"),
        ("-dns-p", "-dns-ports"),
        ("-standalone =", "true false"),
        ("top -by na", "namespace"),
        ("flows -format =", "table json csv tsv"),
        ("flows --by = na", "namespace"),
        ("doc", "doctor"),
        ("top", "top topology"),
        ("topology co", "compile"),
        ("topology compile -v", "-via"),
    ] {
        let script = format!(
            "source {}; COMP_WORDS=(zxporter-netmon {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _zxporter_netmon; \
             echo \"${{COMPREPLY[*]}}\"",
            path("package/completions/zxporter-netmon.bash").display()
        );
        let (_, said) = checked("bash", &["-c", &script]).expect("bash");
        assert_eq!(said.trim(), wanted, "{words}");
    }
}

/// U12: what one looks for in a man page.
#[test]
fn the_man_page_has_its_sections() {
    let page = fs::read_to_string(path("package/zxporter-netmon.8")).expect("the page");
    for section in ["EXIT STATUS", "SIGNALS", "ENDPOINTS", "FILES", "EXAMPLES"] {
        assert!(page.contains(&format!("\n.SH {section}\n")), "{section}");
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

/// What is wrong with the settings stays wrong: status 2 is not tried again, everything else is.
#[test]
fn the_unit_does_not_begin_anew_where_a_setting_is_wrong() {
    let text = fs::read_to_string(path("package/zxporter-netmon.service")).expect("the unit");
    for line in ["Restart=on-failure", "RestartPreventExitStatus=2", "Environment=FLAGS="] {
        assert!(text.lines().any(|there| there == line), "{line} is missing");
    }
}

/// Everything in `/etc/default` is an example that is left out, of a setting that there is, with a value that is taken.
#[test]
fn the_defaults_of_the_service_are_settings_that_are_taken() {
    let text = fs::read_to_string(path("package/default")).expect("package/default");
    assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "{text}");
    let is_name = |name: &&str| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let assigned = |line: &'static str| line.strip_prefix('#')?.split_once('=').filter(|(name, _)| is_name(name));
    let given: Vec<(&str, &str)> = String::leak(text).lines().filter_map(assigned).collect();
    assert!(given.len() > 5, "{given:?}");
    for (name, _) in &given {
        let is_setting = netmon::config::settings::SETTINGS.iter().any(|setting| setting.name == *name);
        assert!(is_setting || ["FLAGS", "HTTPS_PROXY"].contains(name), "{name}");
    }
    let of = |wanted: &str| given.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.trim_matches('"'));
    let flags = of("FLAGS").expect("FLAGS").split(' ').map(Into::into);
    let command = netmon::config::parse(flags, |name| of(name).map(Into::into), Some("host".into()));
    assert!(matches!(command, Ok(netmon::config::Command::Run(_))), "{command:?}");
}

/// One series of each family that the agent shows, and what it says of it.
fn metrics_page() -> String {
    use netmon::export::prometheus::{Labels, Metrics};
    use netmon::flow::{Class, Counts, Direction, TxRx};
    use netmon::health::{Component, Health, Status};
    use netmon::owner::Owner;
    use netmon::snapshot::{CostView, SeriesView, Snapshot};
    use netmon::stats::Stats;
    use netmon::topology::{Scope, Via, Way};

    let counts = Counts { bytes: 1, packets: 1 };
    let total = TxRx { tx: counts, rx: counts };
    let way = Way::new(Scope::Internet, Via::None, 0);
    let snapshot = Snapshot {
        owners: vec![Owner::Host],
        series: vec![SeriesView {
            owner: 0,
            protocol: "tcp",
            direction: Direction::Outbound,
            class: Class::Outside,
            more_bytes: [0; 2],
            total,
        }],
        costs: vec![CostView { owner: 0, way, tx_bytes: 1, rx_bytes: 1, since_mono_ns: 0 }],
        ..Snapshot::default()
    };
    let health = Health::default();
    health.set(Component::Monitor, Status::Healthy, "");
    let labels = Labels { wanted: "netfilter".into(), running: "netfilter".into(), opencost_hold_ns: Some(0) };
    let mut metrics = Metrics::new(&Stats::default(), &health, &labels, Some(std::sync::Arc::new(snapshot)));
    let mut text = Vec::new();
    while !metrics.fill(&mut text, usize::MAX) {}
    let text = String::from_utf8(text).expect("UTF-8");

    let mut page = "# What /metrics says\n\n\
        Made from the agent's own tables (`NETMON_BLESS=1 cargo test --test documents`). The alerts of\n\
        [chart/alerts/netmon.yaml](../chart/alerts/netmon.yaml) say which of these are worth a call at night. A counter of losses \n\
        that grows is bytes missing; each reason is explained where it is defined, in `src/stats/reasons.rs`.\n\n\
        | series | type | labels | meaning |\n| --- | --- | --- | --- |\n"
        .replace(" \n", "\n");
    for (n, help) in text.lines().enumerate().filter_map(|(n, line)| Some((n, line.strip_prefix("# HELP ")?))) {
        let (name, help) = help.split_once(' ').expect("a sentence");
        let rest: Vec<&str> = text.lines().skip(n + 1).collect();
        let kind = rest[0].rsplit(' ').next().expect("a type");
        let samples = rest[1..].iter().take_while(|line| !line.starts_with('#'));
        let labels: Vec<&str> = samples.filter_map(|line| Some(line.split_once('{')?.1.split_once('}')?.0)).collect();
        let names = |labels: &str| {
            let pairs = labels.split("\",").filter_map(|pair| pair.split_once('=').map(|(name, _)| name.to_owned()));
            pairs.collect::<Vec<String>>()
        };
        let shown = match labels.first().map(|first| names(first)) {
            None => String::new(),
            Some(only) if only.len() == 1 && labels.len() > 1 => {
                let values: Vec<String> =
                    labels.iter().filter_map(|label| label.split('"').nth(1)).map(|v| format!("`{v}`")).collect();
                format!("`{}`: {}", only[0], values.join(", "))
            }
            Some(several) => several.iter().map(|name| format!("`{name}`")).collect::<Vec<String>>().join(", "),
        };
        page.push_str(&format!("| `{name}` | {kind} | {shown} | {} |\n", help.replace('|', "\\|")));
    }
    page
}

#[test]
fn the_page_of_series_is_made_from_what_the_agent_shows() {
    let file = path("docs/metrics.md");
    let page = metrics_page();
    assert!(page.lines().count() > 60 && page.contains("| `netmon_impaired` | gauge | `reason`: `blind`, "), "{page}");
    if std::env::var_os("NETMON_BLESS").is_some() {
        fs::write(&file, &page).expect("ours");
    }
    let there = fs::read_to_string(&file).unwrap_or_default();
    assert!(there == page, "docs/metrics.md is behind: NETMON_BLESS=1 cargo test --test documents");
}
