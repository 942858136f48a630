//! Each command that a paper gives exists: scripts with their usage, cargo's targets and tests, the agent's commands and
//! flags, variables, and values of the chart. What a command does is held elsewhere.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use netmon::config::settings::SETTINGS;
use netmon::config::tools::TOOLS;

use super::path;

fn read(below: &str) -> String {
    fs::read_to_string(path(below)).unwrap_or_else(|e| panic!("{below}: {e}"))
}

/// Files below a folder, and their text.
fn texts(below: &str) -> Vec<(PathBuf, String)> {
    let at = path(below);
    if at.is_file() {
        return fs::read_to_string(&at).map(|text| (at, text)).into_iter().collect();
    }
    let Ok(entries) = fs::read_dir(at) else { return Vec::new() };
    let names = entries.map(|entry| entry.expect("listed").file_name());
    names.flat_map(|name| texts(&format!("{below}/{}", name.to_string_lossy()))).collect()
}

/// The scripts that are started, not sourced.
fn scripts() -> Vec<String> {
    let names = fs::read_dir(path("script")).expect("script").map(|entry| entry.expect("listed").file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.contains('.'));
    names.sort();
    names
}

/// What a script says, and its status, on a machine without cargo: whoever builds first fails.
fn said_by(script: &str, argument: &str) -> (String, Option<i32>) {
    let output = Command::new(path("script").join(script))
        .arg(argument)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .output()
        .expect("it starts");
    (String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(), output.status.code())
}

#[test]
fn each_script_says_what_it_takes_and_refuses_the_rest() {
    let table = read("CONTRIBUTING.md");
    // What they pass on is judged by the agent and by the runner.
    let passes_on = ["conformance", "run"];
    let scripts = scripts();
    assert!(scripts.len() > 15, "{scripts:?}");
    for script in &scripts {
        let head = read(&format!("script/{script}")).lines().nth(1).expect("a head")[2..].to_owned();
        for help in ["-h", "--help"] {
            let (said, status) = said_by(script, help);
            assert!(status == Some(0) && said.starts_with(&head), "script/{script} {help}: {status:?}\n{said}");
        }
        if !passes_on.contains(&script.as_str()) {
            let (said, status) = said_by(script, "--no-such-thing");
            let names_it = said.contains(&format!("script/{script}: unknown argument --no-such-thing"));
            assert!(status == Some(2) && names_it, "script/{script} --no-such-thing: {status:?}\n{said}");
        }
        let stands = table.lines().any(|line| line.starts_with("| `") && line.contains(&format!("script/{script}")));
        assert!(stands, "CONTRIBUTING.md's table has no script/{script}");
    }
}

/// Code of a paper: spans between backticks, and lines of blocks for a shell, continued ones joined.
fn code(paper: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (n, part) in paper.split("\n```").enumerate() {
        if n % 2 == 0 {
            let lines = part.lines().skip(usize::from(n > 0));
            found.extend(lines.flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned)));
            continue;
        }
        let (language, text) = part.split_once('\n').unwrap_or((part, ""));
        let text = text.replace("\\\n", " ");
        match language.trim() {
            "sh" => found.extend(text.lines().map(str::to_owned)),
            "console" => found.extend(text.lines().filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned)),
            _ => found.extend(text.lines().filter(|line| line.starts_with("zxporter-netmon ")).map(str::to_owned)),
        }
    }
    found
}

/// Papers with their code. What is as it was (CHANGELOG.md) is not asked.
fn papers() -> Vec<(PathBuf, String)> {
    let top = ["README.md", "ARCHITECTURE.md", "SPECIFICATION.md", "CONTRIBUTING.md", "SECURITY.md"];
    let files =
        top.iter().chain(["benches/README.md", "chart/README.md", "docs"].iter()).flat_map(|below| texts(below));
    files.filter(|(file, _)| file.extension().is_some_and(|e| e == "md")).collect()
}

/// Whether a word stands for something: `NAME`, `[SECONDS]`, `…`.
fn is_placeholder(word: &str) -> bool {
    word.contains(['…', '[', '|']) || word.contains("...") || !word.contains(|c: char| c.is_ascii_lowercase())
}

/// What is wrong with the words behind `cargo`.
fn cargo(words: &[&str]) -> Result<(), String> {
    let (asked, filters) = words.split_at(words.iter().position(|word| *word == "--").unwrap_or(words.len()));
    let mut asked = asked.iter();
    let mut within = None;
    while let Some(word) = asked.next() {
        let target = |folder: &str, name: &str| -> Result<Vec<(PathBuf, String)>, String> {
            let found = [texts(&format!("{folder}/{name}.rs")), texts(&format!("{folder}/{name}"))].concat();
            if found.is_empty() { Err(format!("no {folder}/{name}")) } else { Ok(found) }
        };
        match *word {
            "--test" => within = Some(target("tests", asked.next().ok_or("no name")?)?),
            "--bench" => within = Some(target("benches", asked.next().ok_or("no name")?)?),
            "--lib" => within = Some(texts("src")),
            _ => {}
        }
    }
    let behind = words.iter().skip_while(|word| !matches!(**word, "--test" | "--bench" | "--lib"));
    let skipped = if words.contains(&"--lib") { 1 } else { 2 };
    let filter = behind.skip(skipped).chain(filters).find(|word| !word.starts_with('-') && !is_placeholder(word));
    let (Some(filter), Some(within)) = (filter, within) else { return Ok(()) };
    let last = filter.rsplit("::").next().unwrap_or(filter);
    match last.parse::<u64>().is_ok()
        || within.iter().any(|(file, text)| text.contains(last) || file.to_string_lossy().contains(last))
    {
        true => Ok(()),
        false => Err(format!("nothing is called {filter}")),
    }
}

/// What is wrong with a command of the agent's.
fn agent(words: &[&str]) -> Result<(), String> {
    if words.iter().any(|word| word.contains(['…', '[', '|', '<', '$'])) {
        return Ok(());
    }
    let arguments = words.iter().map(Into::into);
    let environment = |name: &str| (name == "NODE_NAME").then(|| "node".into());
    netmon::config::parse(arguments, environment, Some("host".into())).map(drop).map_err(|error| error.to_string())
}

/// What is wrong with a value of the chart, by its schema.
fn value(of: &str) -> Result<(), String> {
    let schema: serde_json::Value = serde_json::from_str(&read("chart/values.schema.json")).expect("JSON");
    let mut at = &schema;
    for part in of.split('.') {
        let name = part.split('[').next().unwrap_or(part);
        match &at["properties"][name] {
            serde_json::Value::Null if at["properties"].is_null() => return Ok(()),
            serde_json::Value::Null => return Err(format!("the chart has no value {of}")),
            found => at = found,
        }
    }
    Ok(())
}

/// A variable of ours is read by a program or a script.
fn variable(name: &str) -> Result<(), String> {
    let places = ["src", "tests", "benches", "script", "build.rs", "fuzz/instrument", "Containerfile", ".ci"];
    let of_the_tests = path("tests/documents/commands.rs");
    let mut readers = places.iter().flat_map(|below| texts(below)).filter(|(file, _)| *file != of_the_tests);
    match readers.any(|(_, text)| text.split(|c| !is_letter(c)).any(|word| word == name)) {
        true => Ok(()),
        false => Err(format!("nobody reads {name}")),
    }
}

/// Of a variable's name.
fn is_letter(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'
}

fn is_variable(word: &str) -> bool {
    ["NETMON_", "LAB_"].iter().any(|ours| word.starts_with(ours)) && word.chars().all(is_letter)
}

/// What is wrong with a piece of code, where it is a command, a flag, a variable or a value of the chart.
fn faults(code: &str) -> Vec<String> {
    let code = code.split(" #").next().unwrap_or(code).trim();
    let mut found = Vec::new();
    for command in code.split(['|', ';', '&', '(', ')']).map(str::trim) {
        let words: Vec<&str> = command.split_whitespace().collect();
        let (settings, words) = words.split_at(
            words
                .iter()
                .position(|word| !word.split_once('=').is_some_and(|(name, _)| is_name(name)))
                .unwrap_or(words.len()),
        );
        for name in
            settings.iter().chain(words).filter_map(|word| word.split('=').next()).filter(|name| is_variable(name))
        {
            found.push(variable(name));
        }
        for script in words.iter().filter_map(|word| word.strip_prefix("script/")) {
            let is_there = path("script").join(script.trim_end_matches(',')).is_file();
            found.push(if is_there { Ok(()) } else { Err(format!("no script/{script}")) });
        }
        if words.first() == Some(&"helm") {
            let given = words.windows(2).filter(|pair| pair[0] == "--set").flat_map(|pair| pair[1].split(','));
            found.extend(given.filter_map(|pair| pair.split_once('=')).map(|(name, _)| value(name)));
        }
    }
    let words: Vec<&str> = code.split_whitespace().collect();
    if let Some(at) = words.iter().position(|word| *word == "cargo") {
        found.push(cargo(&words[at + 1..]));
    }
    let agent_at = words.iter().position(|word| *word == "zxporter-netmon");
    if let Some(at) = agent_at.filter(|at| *at == 0 || words[at - 1] == "--") {
        found.push(agent(&words[at + 1..]));
    }
    let flag = code.strip_prefix('-').unwrap_or_default().split(['=', ' ']).next().unwrap_or_default();
    if flag.len() > 2 && flag.starts_with(|c: char| c.is_ascii_lowercase()) {
        let is_setting = SETTINGS.iter().any(|setting| setting.name == flag);
        let is_option = TOOLS.iter().any(|entry| entry.options.iter().any(|option| option.name == flag));
        let is_known = is_setting || is_option || ["flag", "help", "version"].contains(&flag);
        found.push(if is_known { Ok(()) } else { Err(format!("no flag -{flag}")) });
    }
    let chart = ["config.", "topology.", "image."].iter().any(|group| code.starts_with(group));
    if chart && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.') {
        found.push(value(code));
    }
    found.into_iter().filter_map(Result::err).map(|fault| format!("`{code}`: {fault}")).collect()
}

fn is_name(word: &str) -> bool {
    !word.is_empty() && word.chars().all(is_letter)
}

#[test]
fn commands_in_the_papers_exist() {
    let (mut pieces, mut wrong) = (0, Vec::new());
    for (paper, text) in papers() {
        for code in code(&text) {
            pieces += 1;
            wrong.extend(faults(&code).into_iter().map(|fault| format!("{}: {fault}", paper.display())));
        }
    }
    assert!(pieces > 1000, "only {pieces} pieces of code");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_command_that_does_not_exist_is_noticed() {
    let good = [
        "NETMON_BLESS=1 cargo test --lib readme",
        "LAB_SOURCE=ebpf cargo test --test lab -- new_flows",
        "zxporter-netmon flows -standalone -for 10s",
        "helm install netmon ./chart --set config.clusterId=ID",
        "-dns auto",
        "cat x | script/sbom TARGET",
        "config.metricsAllow",
    ];
    for good in good {
        assert_eq!(faults(good), Vec::<String>::new(), "{good}");
    }
    let bad = [
        "NETMON_BLES=1 cargo test --lib readme",
        "cargo test --test labb",
        "cargo test --lib a_test_that_there_is_not",
        "cargo bench --bench none",
        "zxporter-netmon flow",
        "zxporter-netmon flows -fro 10s",
        "kubectl exec -- zxporter-netmon tpo",
        "helm install netmon ./chart --set config.clusterid=ID",
        "-dsn auto",
        "cat x | script/sbmo",
        "config.metricAllow",
    ];
    for bad in bad {
        assert_eq!(faults(bad).len(), 1, "{bad}");
    }
}
