use super::*;
use crate::config::{self, Command};

fn run(arguments: &str) -> Result<Command, String> {
    let arguments = arguments.split_ascii_whitespace().map(OsString::from);
    config::parse(arguments, |_| None, Some("host".into())).map_err(|error| error.to_string())
}

fn given(arguments: &str) -> Given {
    match run(arguments) {
        Ok(Command::Tool(Tool::TopologyCompile | Tool::TopologyPublish, given)) => given,
        other => panic!("{arguments}: {other:?}"),
    }
}

#[test]
fn options_may_stand_anywhere_behind_the_command_with_one_dash_or_two() {
    let given = given("topology compile -regions a,b aws --scope=zone one.json -regions c two.json -- -odd.json");
    assert_eq!(given.operands, ["aws", "one.json", "two.json", "-odd.json"]);
    assert_eq!((given.word("regions"), given.word("scope"), given.word("via")), (Some("c"), Some("zone"), None));
}

#[test]
fn a_mistake_names_the_command() {
    let cases = [
        ("topology", "topology what? Want topology compile, or topology publish"),
        ("topology comple", "topology what? Want topology compile, or topology publish"),
        ("topolgy compile", "unknown command \"topolgy\": did you mean topology? (-h lists them)"),
        ("topology compile", "topology compile: want aws|gcp|azure FILE…"),
        ("topology compile aws", "topology compile: want aws|gcp|azure FILE…"),
        (
            "topology compile -region x aws f",
            "topology compile: unknown option -region: did you mean -regions? (-h lists them)",
        ),
        (
            "topology compile aws f -scope",
            "topology compile: option -scope needs a value: node|zone|region|cross_region|internet",
        ),
        (
            "topology compile aws f -via x",
            "topology compile: invalid value \"x\" for -via: want one of nat, lb, privatelink, peering, tgw, vpn, interconnect",
        ),
        ("topology compile -", "topology compile: want aws|gcp|azure FILE…"),
        (
            "serve",
            "unexpected argument \"serve\": flags begin with a dash, and a switch is set with =, as in -standalone=true (-h lists them)",
        ),
    ];
    for (arguments, says) in cases {
        assert_eq!(run(arguments), Err(says.to_owned()), "{arguments}");
    }
    let flag_first = run("-standalone topology compile aws f").expect_err("a command comes first");
    assert!(flag_first.starts_with("unexpected argument \"topology\""), "{flag_first}");
}

#[test]
fn each_command_has_its_help_and_stands_in_the_agents() {
    assert_eq!(run("topology compile -h"), Ok(Command::HelpOf(Tool::TopologyCompile)));
    assert_eq!(run("topology compile --help aws"), Ok(Command::HelpOf(Tool::TopologyCompile)));
    for entry in TOOLS {
        let help = config::help_of(entry.tool);
        assert!(help.starts_with(&format!("Usage: zxporter-netmon {}", entry.written())), "{help}");
        assert!(entry.options.iter().all(|option| help.contains(&format!("  -{}", option.name))), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
        assert!(config::help().contains(&entry.written()));
    }
}

#[test]
fn what_is_published_where_and_of_what() {
    let given = given("topology publish -configmap m -namespace n -key k -topology /f -pods always -kubeconfig /k");
    assert_eq!(
        (given.word("configmap"), given.word("namespace"), given.word("key")),
        (Some("m"), Some("n"), Some("k"))
    );
    assert_eq!(
        (given.word("topology"), given.word("pods"), given.word("kubeconfig")),
        (Some("/f"), Some("always"), Some("/k"))
    );
    assert!(given.operands.is_empty());
}

/// A command that counts takes what the agent takes, beside its own options.
#[test]
fn a_command_that_counts_takes_the_agents_flags() {
    let asked = |arguments: &str| match run(arguments) {
        Ok(Command::Tool(_, given)) => given,
        other => panic!("{arguments}: {other:?}"),
    };
    let given = asked("flows -standalone -for 10s -local-cidrs 10.0.0.0/8 -sort=rate --metrics-bind-address=:9 -bits");
    assert_eq!(given.flags, ["-standalone=true", "-local-cidrs=10.0.0.0/8", "-metrics-bind-address=:9"]);
    assert_eq!((given.word("for"), given.word("sort"), given.word("bits")), (Some("10s"), Some("rate"), Some("true")));
    assert_eq!(
        (given.flag("metrics-bind-address"), given.flag("metrics"), given.flag("region")),
        (Some(":9"), None, None)
    );
    let settings = config::settings_of(given.flags, |_| None, Some("host".into())).expect("flags of the agent");
    assert!(settings.standalone && settings.local_cidrs.len() == 1);
    let cases = [
        ("top -standalone", "top: unknown option -standalone (-h lists them)"),
        ("flows -standalon", "flows: unknown option -standalon: did you mean -standalone? (-h lists them)"),
        ("flows -read-interval", "flows: flag -read-interval needs a value: DURATION"),
        (
            "flows -by pods",
            "flows: invalid value \"pods\" for -by: want one of row, owner, workload, namespace, remote, port, class, scope",
        ),
        ("replay", "replay: want FILE"),
    ];
    for (arguments, says) in cases {
        assert_eq!(run(arguments), Err(says.to_owned()), "{arguments}");
    }
}

/// The words of the table are those that `/flows` knows, which is on a later floor.
#[test]
fn the_words_of_views_are_those_that_are_answered() {
    use crate::export::view::query::{By, Sort};
    use crate::topology::{Scope, Via};
    let words_of = |command: &[&str], name: &str| {
        let options = TOOLS.iter().filter(|entry| entry.words == command).flat_map(|entry| entry.options);
        match options.into_iter().find(|option| option.name == name).map(|option| option.value) {
            Some(Value::Choice(words)) => words.to_vec(),
            other => panic!("{name}: {other:?}"),
        }
    };
    assert_eq!(words_of(&["flows"], "by"), By::WORDS);
    assert_eq!(words_of(&["flows"], "sort"), Sort::WORDS);
    assert_eq!(words_of(&["flows"], "scope"), Scope::WORDS);
    assert_eq!(words_of(&["topology", "compile"], "scope"), Scope::SAYABLE.map(Scope::as_str));
    assert_eq!(words_of(&["topology", "compile"], "via"), Via::WORDS[1..]);
}
