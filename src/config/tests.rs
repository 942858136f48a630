use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use proptest::prelude::*;

use super::setting::{Default, Group, Kind, Value};
use super::settings::{MODES, SETTINGS};
use super::*;
use crate::clock::{MS, SECOND};

/// Arguments separated by blanks, and `NAME=value` pairs of the environment.
fn run(arguments: &str, environment: &[(&str, &str)]) -> Result<Command, String> {
    run_os(&arguments.split(' ').filter(|a| !a.is_empty()).map(OsStr::new).collect::<Vec<_>>(), environment)
}

fn run_os(arguments: &[&OsStr], environment: &[(&str, &str)]) -> Result<Command, String> {
    let environment: BTreeMap<&str, &str> = environment.iter().copied().collect();
    let arguments = arguments.iter().map(|a| (*a).to_owned());
    parse(arguments, |name| environment.get(name).map(OsString::from), Some("the-host".into()))
        .map_err(|error| error.to_string())
}

/// The configuration of a run on a bare host.
fn config(arguments: &str) -> Config {
    config_with(arguments, &[])
}

fn config_with(arguments: &str, environment: &[(&str, &str)]) -> Config {
    match run(&format!("-standalone {arguments}"), environment) {
        Ok(Command::Run(config)) => *config,
        other => panic!("{arguments}: {other:?}"),
    }
}

fn refusal(arguments: &str) -> String {
    run(&format!("-standalone {arguments}"), &[]).expect_err(arguments)
}

fn refusal_with(environment: &[(&str, &str)]) -> String {
    run("-standalone", environment).expect_err("it is wrong")
}

fn texts(ranges: &[crate::flow::Cidr]) -> Vec<String> {
    ranges.iter().map(|range| range.to_string()).collect()
}

#[test]
fn nothing_given_is_the_documented_defaults() {
    let c = config("");
    assert_eq!(c.metrics_bind.to_string(), "[::]:8081");
    assert_eq!((c.read_interval_ns, c.read_interval_given), (5 * SECOND, false));
    assert_eq!((c.cleanup_interval_ns, c.flush_interval_ns), (60 * SECOND, 60 * SECOND));
    assert_eq!((&c.mode, c.fallback), (&Mode::Netfilter, Fallback::Auto));
    assert_eq!((c.kubeconfig.as_ref(), c.node_name.as_str(), c.dakr.as_ref()), (None, "the-host", None));
    assert!(c.local_cidrs.is_empty() && c.outside_cidrs.is_empty() && c.overlay_ports.is_empty());
    assert_eq!(
        texts(&c.cluster_cidrs),
        ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7", "fe80::/10"]
    );
    assert!(!c.cluster_cidrs_given);
    assert_eq!((c.push_inbound, c.conntrack_zone), (PushInbound::External, CtZone::Auto));
    assert_eq!((c.max_rows, c.max_connections, c.manage_conntrack), (65_536, None, true));
    assert_eq!((c.metrics_format, &c.metrics_allow), (MetricsFormat::Prometheus, &Readers::Near));
    assert_eq!((c.record.as_ref(), c.state_dir.as_ref()), (None, None));
    assert_eq!((c.log_level, c.log_format.as_str()), (log::LevelFilter::Info, "text"));
    assert_eq!((c.dns, c.dns_ports.as_slice()), (Dns::Auto, [53].as_slice()));
    assert!(c.cgroup_root.is_none() && c.cgroup_fs.is_none() && c.cilium_bpf_root.is_none());
}

#[test]
fn every_flag_reaches_its_field() {
    assert_eq!(config("-metrics-bind-address 127.0.0.1:9").metrics_bind.to_string(), "127.0.0.1:9");
    assert_eq!(config("-metrics-bind-address localhost:9").metrics_bind.to_string(), "127.0.0.1:9");
    assert_eq!(config("-metrics-bind-address [::1]:65535").metrics_bind.to_string(), "[::1]:65535");
    let c = config("-read-interval 100ms");
    assert_eq!((c.read_interval_ns, c.read_interval_given), (100 * MS, true));
    assert!(config("-read-interval 5s").read_interval_given, "the default's own value counts as given");
    assert_eq!(config("-cleanup-interval 1m30s").cleanup_interval_ns, 90 * SECOND);
    assert_eq!(config_with("", &[("FLUSH_INTERVAL", "24h")]).flush_interval_ns, 86_400 * SECOND);
    assert_eq!(config("-collector-mode netfilter").mode, Mode::Netfilter);
    assert_eq!(config("-collector-mode replay:/a/b:c").mode, Mode::Replay("/a/b:c".into()));
    assert_eq!(config("-fallback none").fallback, Fallback::None);
    assert_eq!(config("-metrics-kubeconfig /k").kubeconfig, Some("/k".into()));
    assert_eq!(config_with("", &[("NODE_NAME", " node-1\n")]).node_name, "node-1");
    assert_eq!(texts(&config("-local-cidrs 10.1.2.3/16,fd00::1").local_cidrs), ["10.1.0.0/16", "fd00::1/128"]);
    let c = config("-cluster-cidrs 10.0.0.0/8");
    assert_eq!((texts(&c.cluster_cidrs), c.cluster_cidrs_given), (vec!["10.0.0.0/8".to_owned()], true));
    assert_eq!(texts(&config("-outside-cidrs 10.9.9.9").outside_cidrs), ["10.9.9.9/32"]);
    assert_eq!(config("-push-inbound all").push_inbound, PushInbound::All);
    assert_eq!(config("-push-inbound none").push_inbound, PushInbound::None);
    assert_eq!(config("-overlay-ports 1,65535").overlay_ports, [1, 65_535]);
    assert_eq!(config("-conntrack-zone 65535").conntrack_zone, CtZone::Fixed(65_535));
    assert_eq!(config("-conntrack-zone auto").conntrack_zone, CtZone::Auto);
    assert_eq!(config("-max-rows 32").max_rows, 32);
    assert_eq!(config("-max-connections 250000").max_connections, Some(250_000));
    assert!(!config("-manage-conntrack=false").manage_conntrack);
    assert_eq!(config("-metrics-format json").metrics_format, MetricsFormat::Json);
    assert_eq!(config("-metrics-hosts a.example.,b").metrics_hosts, ["a.example", "b"]);
    let Readers::Of(ranges) = config("-metrics-allow ::/0,0.0.0.0/0").metrics_allow else { panic!("ranges are given") };
    assert_eq!(texts(&ranges), ["::/0", "0.0.0.0/0"]);
    assert_eq!(config("-metrics-allow everyone").metrics_allow, Readers::Everyone);
    assert_eq!(config("-record r").record, Some("r".into()));
    assert_eq!(config("-state-dir s").state_dir, Some("s".into()));
    assert_eq!(config("-cgroup-root c").cgroup_root, Some("c".into()));
    assert_eq!(config("-cgroup-fs c").cgroup_fs, Some("c".into()));
    assert_eq!(config("-cilium-bpf-root c").cilium_bpf_root, Some("c".into()));
    assert_eq!((config("-dns off").dns, config("-dns on").dns), (Dns::Off, Dns::On));
    assert_eq!(config("-dns-ports 53,5353").dns_ports, [53, 5353]);
    assert_eq!(config("-log-level debug").log_level, log::LevelFilter::Debug);
    assert_eq!(config("-log-format json").log_format.as_str(), "json");
    assert_eq!(config_with("", &[("RUST_LOG", "netmon=debug")]).log_level, log::LevelFilter::Info, "the log's own");
}

#[test]
fn where_this_node_is_and_what_opencost_is_shown() {
    let c = config_with(
        "-topology /etc/t -topology-source nodes -zone z1 -region r1 -opencost-series -opencost-hold 5m",
        &[("NODE_ZONE", "a1"), ("NODE_REGION", "a")],
    );
    assert_eq!((c.topology, c.zone.as_str(), c.region.as_str()), (Some("/etc/t".into()), "z1", "r1"));
    assert_eq!((c.node_zone.as_str(), c.node_region.as_str()), ("a1", "a"));
    assert_eq!((c.opencost_series, c.opencost_hold_ns), (true, 300 * SECOND));
    assert_eq!(c.topology_source, TopologySource::Nodes);
    assert_eq!(config("-topology-source routes").topology_source, TopologySource::Routes);
    let c = config("");
    assert_eq!(c.topology_source, TopologySource::None);
    assert_eq!((c.topology, c.opencost_series, c.opencost_hold_ns), (None, false, 360 * SECOND));
    assert!(c.zone.is_empty() && c.region.is_empty() && c.node_zone.is_empty() && c.node_region.is_empty());
    for wrong in ["-zone a/b", "-region a=b", "-opencost-hold 0s", "-topology-source pods"] {
        assert!(refusal(wrong).starts_with("invalid value"), "{wrong}");
    }
}

#[test]
fn every_setting_is_named_in_the_test_above() {
    // A new row of the table without its line there is a row that nobody has tried.
    let source = include_str!("tests.rs");
    for setting in SETTINGS {
        let written = if setting.is_flag() { setting.written() } else { format!("(\"{}\"", setting.name) };
        assert!(source.contains(&written), "{written}");
    }
}

#[test]
fn dakr_needs_a_url_and_a_token() {
    let url = ("DAKR_URL", "https://dakr.example.com/base/");
    let token = ("CLUSTER_TOKEN", " secret\n");
    assert_eq!(config_with("", &[url]).dakr, None);
    assert_eq!(config_with("", &[token]).dakr, None);
    assert_eq!(config_with("", &[url, ("CLUSTER_TOKEN", " \n")]).dakr, None);
    let dakr =
        config_with("-dakr-protocol grpc-web -ca-file ca", &[url, token, ("CLUSTER_ID", "c1")]).dakr.expect("both");
    assert_eq!((dakr.url.as_str(), dakr.token.as_str()), ("https://dakr.example.com/base", "secret"));
    assert_eq!((dakr.cluster_id.as_str(), dakr.protocol), ("c1", DakrProtocol::GrpcWeb));
    assert_eq!((dakr.token_file, dakr.ca_file), (None, Some("ca".into())));
    let dakr = config_with("-token-file t", &[url]).dakr.expect("a file is a token");
    assert_eq!((dakr.token.as_str(), dakr.token_file, dakr.protocol), ("", Some("t".into()), DakrProtocol::Auto));
}

#[test]
fn urls_and_tokens_that_cannot_be_used() {
    for url in [
        "dakr.example.com",
        "//dakr.example.com",
        "ftp://a",
        "https://",
        "https:///path",
        "https://:443",
        "https://a:",
        "https://a:0",
        "https://a:65536",
        "https://a:+1",
        "https://a b",
        "https://a/?q=1",
        "https://a/#f",
        "https://ä",
        "https://a\nb",
        "https://[::1",
        "https://[::g]",
        "https://[::1]x",
        "https://u:p@",
        "http:/a",
        "https://a\\b",
    ] {
        let error = refusal_with(&[("DAKR_URL", url)]);
        assert!(
            error.starts_with("invalid value for DAKR_URL (not shown): want a URL such as https://"),
            "{url}: {error}"
        );
    }
    for url in
        ["http://a", "HTTPS://a", "https://a:1/b/c", "https://[::1]", "https://[fd00::1]:8443/x", "https://u:p@a:1"]
    {
        assert!(run("-standalone", &[("DAKR_URL", url)]).is_ok(), "{url}");
    }
    for token in ["to ken", "to\nken", "to\tken", "tökén", "to\u{7f}ken", "to\0ken"] {
        let error = refusal_with(&[("CLUSTER_TOKEN", token)]);
        let wanted = "invalid value for CLUSTER_TOKEN (not shown): want a token of visible ASCII characters, without white space within";
        assert_eq!(error, wanted);
    }
}

#[test]
fn node_name() {
    let reason = run("", &[]).expect_err("in a cluster it is needed");
    assert!(reason.starts_with("NODE_NAME is empty: "), "{reason}");
    assert!(run("", &[("NODE_NAME", " ")]).is_err());
    assert!(matches!(run("", &[("NODE_NAME", "n")]), Ok(Command::Run(c)) if c.node_name == "n" && !c.standalone));
    for name in ["a b", "a/b", "a\r\nX: y", "ä", &"x".repeat(254)] {
        assert!(refusal_with(&[("NODE_NAME", name)]).starts_with("invalid value \""), "{name}");
    }
    assert_eq!(value::host_name("my host/ä\n"), "my-host--");
    assert_eq!(value::host_name(" "), "localhost");
}

#[test]
fn flags_are_split_as_go_splits_them() {
    for form in ["-read-interval 7s", "-read-interval=7s", "--read-interval 7s", "--read-interval=7s"] {
        assert_eq!(config(form).read_interval_ns, 7 * SECOND, "{form}");
    }
    for (form, on) in [
        ("-manage-conntrack", true),
        ("--manage-conntrack", true),
        ("-manage-conntrack=true", true),
        ("-manage-conntrack=1", true),
        ("-manage-conntrack=t", true),
        ("-manage-conntrack=T", true),
        ("-manage-conntrack=TRUE", true),
        ("-manage-conntrack=True", true),
        ("-manage-conntrack=false", false),
        ("-manage-conntrack=0", false),
        ("-manage-conntrack=f", false),
        ("-manage-conntrack=F", false),
        ("-manage-conntrack=FALSE", false),
        ("--manage-conntrack=False", false),
    ] {
        assert_eq!(config(form).manage_conntrack, on, "{form}");
    }
    assert_eq!(config("-read-interval 1s -read-interval 2s").read_interval_ns, 2 * SECOND, "the last wins");
    assert_eq!(config("-record=a=b").record, Some("a=b".into()), "the first = ends the name");
    assert_eq!(config("-record -standalone").record, Some("-standalone".into()), "a value may look like a flag");
    assert_eq!(config("-record --").record, Some("--".into()));
    assert_eq!(config("-record= -state-dir=").record, None, "an empty path is none");
    assert_eq!(config("--").read_interval_ns, 5 * SECOND, "-- ends the flags");
    assert!(refusal("-- -read-interval").starts_with("unexpected argument \"-read-interval\""));
    assert!(
        run("-standalone true", &[]).expect_err("no value for a switch").starts_with("unexpected argument \"true\"")
    );
    assert!(refusal("-").starts_with("unexpected argument \"-\""));
}

#[test]
fn help_and_version_win_over_what_follows_and_over_the_environment() {
    for form in ["-h", "--h", "-help", "--help", "-standalone -h -nonsense"] {
        assert_eq!(run(form, &[("FLUSH_INTERVAL", "x")]), Ok(Command::Help), "{form}");
    }
    for form in ["-version", "--version"] {
        assert_eq!(run(form, &[]), Ok(Command::Version), "{form}");
    }
    assert!(run("-nonsense -h", &[]).is_err());
}

#[test]
fn a_mistake_names_the_setting_the_value_and_what_is_allowed() {
    let duration = |least| format!("want a duration from {least} to 24h, such as 5s or 1m30s");
    for value in ["", "0", "0s", "99ms", "5", "-5s", "five", "24h1ns", "9999999h", "5s,", "5 s"] {
        let error = run_os(&[OsStr::new("-read-interval"), OsStr::new(value)], &[]).expect_err(value);
        assert_eq!(error, format!("invalid value \"{value}\" for -read-interval: {}", duration("100ms")));
    }
    for value in ["0", "999ms", "60", "-1s", "1ns", "9999h"] {
        let error = refusal_with(&[("FLUSH_INTERVAL", value)]);
        assert_eq!(error, format!("invalid value \"{value}\" for FLUSH_INTERVAL: {}", duration("1s")));
    }
    let cases = [
        ("-collector-mode bpf", "invalid value \"bpf\" for -collector-mode: want one of "),
        ("-collector-mode replay:", "invalid value \"replay:\" for -collector-mode: want one of "),
        ("-collector-mode replay:FILE -record x", "flag -record cannot be combined with -collector-mode replay:FILE"),
        ("-fallback maybe", "invalid value \"maybe\" for -fallback: want one of auto, none"),
        ("-standalone=yes", "invalid value \"yes\" for -standalone: want true or false"),
        ("-standalone=", "invalid value \"\" for -standalone: want true or false"),
        (
            "-metrics-bind-address 8081",
            "invalid value \"8081\" for -metrics-bind-address: want an address and a port, such as",
        ),
        ("-metrics-bind-address :", "invalid value"),
        ("-metrics-bind-address :65536", "invalid value"),
        ("-metrics-bind-address :+1", "invalid value"),
        ("-metrics-bind-address ::1:8081", "invalid value"),
        ("-metrics-bind-address [::1:8081", "invalid value"),
        ("-metrics-bind-address host:8081", "invalid value"),
        (
            "-local-cidrs 10.0.0.0/33",
            "invalid value \"10.0.0.0/33\" for -local-cidrs: want address ranges separated by commas, such as",
        ),
        ("-local-cidrs 10.0.0.0/8,", "invalid value"),
        ("-local-cidrs 10.0.0/8", "invalid value"),
        ("-local-cidrs 10.0.0.0/+8", "invalid value"),
        ("-local-cidrs fd00::/129", "invalid value"),
        ("-local-cidrs ::ffff:10.0.0.0/8", "invalid value"),
        ("-cluster-cidrs x", "invalid value \"x\" for -cluster-cidrs: want"),
        ("-outside-cidrs x", "invalid value \"x\" for -outside-cidrs: want"),
        ("-metrics-allow x", "invalid value \"x\" for -metrics-allow: want \"everyone\", or"),
        (
            "-overlay-ports 0",
            "invalid value \"0\" for -overlay-ports: want ports from 1 to 65535 separated by commas, such as",
        ),
        ("-overlay-ports 65536", "invalid value"),
        ("-dns-ports +53", "invalid value"),
        ("-dns yes", "invalid value \"yes\" for -dns: want one of auto, on, off"),
        ("-push-inbound some", "invalid value \"some\" for -push-inbound: want one of external, all, none"),
        ("-conntrack-zone 65536", "invalid value \"65536\" for -conntrack-zone: want auto or a number from 0 to 65535"),
        ("-conntrack-zone -1", "invalid value"),
        ("-max-rows 31", "invalid value \"31\" for -max-rows: want a whole number from 32 to 4194304"),
        ("-max-rows 1e6", "invalid value"),
        ("-max-connections 4294967296", "invalid value"),
        ("-metrics-format xml", "invalid value \"xml\" for -metrics-format: want one of prometheus, json"),
        ("-dakr-protocol http", "invalid value \"http\" for -dakr-protocol: want one of auto, connect, grpc-web, grpc"),
        ("-log-format xml", "invalid value \"xml\" for -log-format: want one of text, json"),
        ("-log-level loud", "invalid value \"loud\" for -log-level: want one of off, error, warn, info, debug"),
        ("-read-interval", "flag -read-interval needs a value: -read-interval DURATION"),
        ("-read-intervall 5s", "unknown flag -read-intervall: did you mean -read-interval? (-h lists them)"),
        ("-stand-alone", "unknown flag -stand-alone: did you mean -standalone? (-h lists them)"),
        ("--versoin", "unknown flag -versoin: did you mean -version? (-h lists them)"),
        ("-flush-interval 5s", "unknown flag -flush-interval: FLUSH_INTERVAL is set in the environment"),
        ("-zzz=1", "unknown flag -zzz (-h lists them)"),
        ("---standalone", "unknown flag --standalone: did you mean -standalone? (-h lists them)"),
    ];
    for (arguments, expected) in cases {
        let error = refusal(arguments);
        assert!(error.starts_with(expected), "{arguments}: {error}");
        assert!(!error.contains('\n'));
    }
    // From Go's habits: what is left behind by a template is no mistake.
    assert_eq!(texts(&config("-local-cidrs=").local_cidrs), Vec::<String>::new());
    assert!(!config("-cluster-cidrs=").cluster_cidrs_given);
    assert_eq!(config_with("", &[("FLUSH_INTERVAL", "")]).flush_interval_ns, 60 * SECOND);
}

#[test]
fn texts_of_others_stay_on_one_line_and_short() {
    let error =
        run_os(&[OsStr::new("-read-interval"), OsStr::new("5s\nroot: \u{1b}[31m")], &[]).expect_err("no duration");
    assert!(error.starts_with("invalid value \"5s\\nroot: \\u{1b}[31m\" for"), "{error}");
    let error = run_os(&[OsStr::new(&"x".repeat(10_000))], &[]).expect_err("no flag");
    assert!(error.len() < 300, "{error}");
    let error = run_os(&[OsStr::new("-log-level"), OsStr::from_bytes(b"\xff")], &[]).expect_err("not UTF-8");
    assert_eq!(error, "invalid value \"\u{fffd}\" for -log-level: want UTF-8");
    let error = run_os(&[OsStr::from_bytes(b"-\xff=1")], &[]).expect_err("not UTF-8");
    assert!(error.starts_with("unknown flag -\u{fffd}"), "{error}");
    match run_os(&[OsStr::new("-standalone"), OsStr::new("-record"), OsStr::from_bytes(b"\xff")], &[]) {
        Ok(Command::Run(config)) => {
            assert_eq!(config.record, Some(OsStr::from_bytes(b"\xff").into()), "paths are bytes")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn secrets_are_in_no_message_and_no_debug_output() {
    let secret = "s3cr3t";
    let environment = [("DAKR_URL", "https://user:s3cr3t@dakr.example.com/p"), ("CLUSTER_TOKEN", secret)];
    let config = config_with("", &environment);
    assert!(config.dakr.is_some());
    let shown = format!("{config:?}");
    assert!(!shown.contains(secret) && shown.contains("https://dakr.example.com/p"), "{shown}");
    for wrong in [
        refusal_with(&[("CLUSTER_TOKEN", "s3cr3t s3cr3t")]),
        refusal_with(&[("DAKR_URL", "user:s3cr3t@dakr.example.com")]),
        refusal("https://user:s3cr3t@dakr.example.com"),
        refusal("-dakr-url=https://user:s3cr3t@dakr.example.com"),
        refusal("-cluster-token=s3cr3t"),
    ] {
        assert!(!wrong.contains(secret), "{wrong}");
    }
}

#[test]
fn modes_that_are_not_ready_are_refused_by_name() {
    for mode in ["netfilter", "ebpf", "cilium", "auto"] {
        let result = run(&format!("-standalone -collector-mode {mode}"), &[]);
        assert_eq!(result.is_ok(), MODES.contains(&mode), "{mode}: {result:?}");
    }
}

#[test]
fn the_table_is_sound() {
    for (i, setting) in SETTINGS.iter().enumerate() {
        assert!(SETTINGS[..i].iter().all(|other| other.name != setting.name), "{} twice", setting.name);
        assert!(!setting.short.is_empty() && !setting.short.ends_with('.'), "{}", setting.name);
        assert!(setting.long.is_empty() || setting.long.ends_with('.'), "{}", setting.name);
        assert_eq!(setting.kind == Kind::Switch, setting.value == Value::Word(""), "{}", setting.name);
        let is_text = matches!(setting.default, Default::Text(_));
        assert!(setting.kind != Kind::Switch || is_text, "a switch is on or off: {}", setting.name);
        assert_eq!(setting.name.chars().any(|c| c.is_ascii_uppercase()), !setting.is_flag(), "{}", setting.name);
    }
    // Every word of a choice is one that the setting takes.
    for setting in SETTINGS {
        let Value::Choice(words) = setting.value else { continue };
        for word in words.iter().map(|word| word.replace('N', "7")) {
            assert!(run(&format!("-standalone -{} {word}", setting.name), &[]).is_ok(), "{} {word}", setting.name);
        }
    }
    // Groups stand together, in the order of the help.
    let mut groups: Vec<Group> = SETTINGS.iter().map(|s| s.group).collect();
    groups.dedup();
    assert_eq!(groups, Group::ALL);
}

/// An agent for each of n nodes of 20 KB reads all of them, and hears of each once in five minutes.
#[test]
fn the_help_says_what_watching_nodes_costs_the_api_server() {
    let words = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let at = |n: f64| (n * n * 20e3 / 1e9, n * n * 20e3 / 300.0 / 1e6);
    let ((few_gb, few_mb_per_s), (many_gb, many_mb_per_s)) = (at(300.0), at(5_000.0));
    let many_gb_per_s = many_mb_per_s / 1e3;
    let short = format!("{few_mb_per_s:.0} MB/s of the API server at 300 nodes, {many_gb_per_s:.1} GB/s at 5,000");
    assert!(words(help()).contains(&short), "{short}");
    let long = format!(
        "{few_gb:.1} GB and {few_mb_per_s:.0} MB/s at 300, {many_gb:.0} GB and {many_gb_per_s:.1} GB/s at 5,000"
    );
    assert!(words(readme_table()).contains(&long), "{long}");
}

#[test]
fn the_help_holds_every_setting_with_its_default() {
    let help = help();
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for setting in SETTINGS {
        assert!(words.contains(&setting.written()), "{}", setting.written());
        if let Default::Text(text) = setting.default
            && text != "false"
        {
            assert!(
                words.replace(", ", ",").contains(&format!("default: {}", text.split(',').next().unwrap_or_default())),
                "{text}"
            );
        }
    }
    for line in help.lines() {
        assert!(line.chars().count() <= 110 && !line.ends_with(' '), "{line:?}");
    }
}

#[test]
fn the_readme_holds_the_table() {
    let (begin, end) = ("<!-- settings: begin -->\n", "<!-- settings: end -->");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).expect("README.md is there");
    let (before, rest) = readme.split_once(begin).expect("the section begins");
    let (section, after) = rest.split_once(end).expect("the section ends");
    if section != readme_table() && std::env::var_os("NETMON_BLESS").is_some() {
        std::fs::write(path, format!("{before}{begin}{}{end}{after}", readme_table())).expect("README.md is ours");
        return;
    }
    assert!(
        section == readme_table(),
        "README.md is behind the table of settings: NETMON_BLESS=1 cargo test --lib readme"
    );
}

fn words() -> impl Strategy<Value = OsString> {
    let names: Vec<String> = SETTINGS.iter().map(|s| s.name.to_owned()).collect();
    let value = prop_oneof![
        "\\PC{0,12}",
        "[0-9.,:/+-]{0,12}",
        Just("10.0.0.0/8,fd00::/8".to_owned()),
        Just("5s".to_owned()),
        Just("true".to_owned()),
        Just("auto".to_owned()),
    ];
    let dashes = prop_oneof![Just(""), Just("-"), Just("--"), Just("---")];
    prop_oneof![
        (dashes, prop::sample::select(names), prop_oneof![Just(""), Just("="), Just(" ")], value.clone())
            .prop_map(|(dashes, name, between, value)| format!("{dashes}{name}{between}{value}").into()),
        value.prop_map(OsString::from),
        prop::collection::vec(any::<u8>(), 0..12).prop_map(|bytes| OsStr::from_bytes(&bytes).to_owned()),
    ]
}

proptest! {
    #[test]
    fn whatever_is_given_is_a_command_or_one_line(
        arguments in prop::collection::vec(words(), 0..6),
        environment in prop::collection::btree_map(
            prop::sample::select(SETTINGS.iter().filter(|s| !s.is_flag()).map(|s| s.name).collect::<Vec<_>>()), words(), 0..6),
    ) {
        let result = parse(arguments, |n| environment.get(n).cloned(), None);
        if let Err(error) = result {
            let text = error.to_string();
            prop_assert!(!text.chars().any(char::is_control) && text.chars().count() < 500, "{:?}", text);
        }
    }
}
