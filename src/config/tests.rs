use proptest::prelude::*;

use super::*;
use crate::clock::{MS, SECOND};

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Command, UsageError> {
    let lookup =
        |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
    parse(arguments.iter().map(OsString::from), lookup, Some("a-host".into()))
}

fn config(arguments: &[&str], environment: &[(&str, &str)]) -> Config {
    match run(arguments, environment) {
        Ok(Command::Run(config)) => *config,
        other => panic!("{arguments:?}: {other:?}"),
    }
}

fn refusal(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    run(arguments, environment).expect_err("it is to be refused").to_string()
}

#[test]
fn defaults_are_those_of_the_network_operator() {
    let config = config(&["-standalone"], &[]);
    assert_eq!(config.metrics_bind.port(), 8081);
    assert_eq!((config.read_interval_ns, config.cleanup_interval_ns), (5 * SECOND, 60 * SECOND));
    assert_eq!(config.flush_interval_ns, 60 * SECOND);
    assert_eq!((config.mode, config.max_rows), (Mode::Netfilter, 65_536));
    assert!(!config.read_interval_given && !config.cluster_cidrs_given && config.dakr.is_none());
    assert_eq!((config.node_name.as_str(), config.cluster_cidrs.len()), ("a-host", 7));
}

#[test]
fn flags_have_gos_habits() {
    for arguments in [
        &["-standalone", "-read-interval", "1s"][..],
        &["--standalone", "--read-interval=1s"],
        &["-standalone=true", "-read-interval=1s"],
        &["-standalone=1", "--read-interval", "1s"],
        &["-standalone=false", "-read-interval", "9s", "-standalone", "-read-interval", "1s"],
    ] {
        let config = config(arguments, &[]);
        assert!(config.standalone && config.read_interval_given, "{arguments:?}");
        assert_eq!(config.read_interval_ns, SECOND);
    }
    // A switch never takes the next argument.
    assert!(refusal(&["-standalone", "false"], &[]).contains("unexpected argument \"false\""));
}

#[test]
fn a_cluster_needs_a_node_name() {
    assert!(refusal(&[], &[]).starts_with("NODE_NAME is not set"));
    assert_eq!(config(&[], &[("NODE_NAME", "node-a")]).node_name, "node-a");
    assert_eq!(config(&["-standalone"], &[("NODE_NAME", "given")]).node_name, "given");
}

#[test]
fn a_refusal_names_flag_value_and_what_is_allowed() {
    for (arguments, text) in [
        (
            &["-read-interval", "50ms"][..],
            "invalid value \"50ms\" for -read-interval: want a duration from 100ms to 24h, such as 5s or 1m30s",
        ),
        (&["-read-interval", "-5s"], "invalid value \"-5s\" for -read-interval: want a duration"),
        (&["-cleanup-interval=0"], "invalid value \"0\" for -cleanup-interval: want a duration from 1s"),
        (&["-collector-mode", "bpf"], "invalid value \"bpf\" for -collector-mode: want netfilter"),
        (&["-collector-mode", "cilium"], "cilium does not exist yet"),
        (&["-push-inbound=some"], "want one of external, all, none"),
        (&["-conntrack-zone=70000"], "want auto or a number from 0 to 65535"),
        (&["-local-cidrs", "10.0.0.0/40"], "\"10.0.0.0/40\" is none"),
        (&["-standalone=maybe"], "want true or false"),
        (&["-read-intervall", "5s"], "unknown flag -read-intervall: did you mean -read-interval? (see --help)"),
        (&["-frobnicate"], "unknown flag -frobnicate (see --help)"),
        (&["-max-rows"], "flag -max-rows needs a value: N"),
        (&["run"], "unexpected argument \"run\""),
        (&["-"], "unexpected argument \"-\""),
    ] {
        let refusal = refusal(arguments, &[]);
        assert!(refusal.contains(text), "{refusal}");
        assert!(!refusal.contains('\n'));
    }
}

#[test]
fn dakr_wants_a_scheme_and_a_clean_token_and_repeats_neither() {
    let dakr = |url: &str, token: &str| run(&["-standalone"], &[("DAKR_URL", url), ("CLUSTER_TOKEN", token)]);
    let Ok(Command::Run(config)) = dakr("https://dakr.example/base/", " dakr-abc\n") else { panic!("valid") };
    let dakr_config = config.dakr.as_ref().expect("both are given");
    assert_eq!((dakr_config.url.as_str(), dakr_config.token.as_str()), ("https://dakr.example/base", "dakr-abc"));
    assert!(!format!("{config:?}").contains("dakr-abc"));
    for (url, token) in [
        ("dakr.example", "t"),
        ("ftp://x", "t"),
        ("https://", "t"),
        ("https://secret@x y", "t"),
        ("https://x", "sec ret"),
    ] {
        let refusal = dakr(url, token).expect_err("refused").to_string();
        assert!(!refusal.contains("sec") && !refusal.contains("example"), "{refusal}");
    }
    assert!(config_has_no_dakr(&[("DAKR_URL", "https://x")]) && config_has_no_dakr(&[("CLUSTER_TOKEN", "x")]));
}

fn config_has_no_dakr(environment: &[(&str, &str)]) -> bool {
    config(&["-standalone"], environment).dakr.is_none()
}

#[test]
fn the_environment_sets_the_flush() {
    assert_eq!(config(&["-standalone"], &[("FLUSH_INTERVAL", "1500ms")]).flush_interval_ns, 1_500 * MS);
    assert!(refusal(&["-standalone"], &[("FLUSH_INTERVAL", "60")]).contains("FLUSH_INTERVAL: want a duration"));
    assert_eq!(config(&["-standalone"], &[("FLUSH_INTERVAL", "")]).flush_interval_ns, 60 * SECOND, "empty is unset");
}

#[test]
fn help_and_version_go_before_everything() {
    assert!(matches!(run(&["-h"], &[]), Ok(Command::Help)));
    assert!(matches!(run(&["--version"], &[]), Ok(Command::Version)));
    let help = help();
    assert!(SETTINGS.iter().all(|setting| help.contains(&setting.written())));
    let prose = help.lines().filter(|line| line.starts_with("        "));
    assert!(prose.into_iter().all(|line| line.chars().count() <= 130), "readable in a terminal");
}

/// `NETMON_BLESS=1 cargo test --lib readme` writes the table into the README.
#[test]
fn the_readme_shows_the_table() {
    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(FILE).expect("the README");
    let (before, rest) = readme.split_once("<!-- settings: made from src/config/settings.rs -->\n").expect("begins");
    let (table, after) = rest.split_once("<!-- end of settings -->").expect("ends");
    if std::env::var_os("NETMON_BLESS").is_some() {
        let made = readme_table();
        let text = format!(
            "{before}<!-- settings: made from src/config/settings.rs -->\n{made}\n<!-- end of settings -->{after}"
        );
        std::fs::write(FILE, text).expect("the README can be written");
        return;
    }
    assert_eq!(table.trim(), readme_table().trim(), "run NETMON_BLESS=1 cargo test --lib readme");
}

proptest! {
    #[test]
    fn no_arguments_are_too_strange(arguments in proptest::collection::vec("\\PC{0,20}", 0..6)) {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let _ = run(&arguments, &[]);
    }

    #[test]
    fn no_value_is_too_strange(which in 0..SETTINGS.len(), value in "\\PC{0,30}") {
        let setting = &SETTINGS[which];
        let result = match setting.given {
            Given::Environment => run(&["-standalone"], &[(setting.name, &value)]),
            _ => run(&["-standalone", &format!("-{}={value}", setting.name)], &[]),
        };
        if let Err(error) = result {
            prop_assert!(error.to_string().contains(setting.name) || error.to_string().contains("NODE_NAME"));
        }
    }
}
