//! The papers hold what they say: each test, bench, script and scenario that SPECIFICATION.md names exists, each rule
//! that the code cites has its heading there, and each link from one paper to another or into the code leads somewhere.

use std::fs;
use std::path::{Path, PathBuf};

fn path(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Every file below a folder whose name ends so, or the file itself.
fn files(at: &Path, ending: &str) -> Vec<PathBuf> {
    if at.is_file() {
        return if at.to_string_lossy().ends_with(ending) { vec![at.to_owned()] } else { Vec::new() };
    }
    let Ok(entries) = fs::read_dir(at) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries.flat_map(|entry| files(&entry.expect("listed").path(), ending)).collect();
    found.sort();
    found
}

/// Whether `name` is what `pattern` stands for, where `*` is anything.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => {
            let Some(rest) = name.strip_prefix(before) else { return false };
            (0..=rest.len()).any(|at| rest.is_char_boundary(at) && matches(after, &rest[at..]))
        }
    }
}

/// Names of tests in a source file: functions under `#[test]`, and in programs without libtest quoted names.
fn tests_in(file: &Path) -> Vec<String> {
    let text = read(file);
    let (mut names, mut is_test) = (Vec::new(), false);
    for line in text.lines().map(str::trim) {
        is_test |= line.starts_with("#[test]");
        if let Some(name) = line.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next()) {
            if is_test {
                names.push(name.to_owned());
            }
            is_test = false;
        }
        let identifier = |word: &&str| word.len() > 3 && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        names.extend(line.split('"').skip(1).step_by(2).filter(identifier).map(str::to_owned));
    }
    names
}

/// What the words behind a name are looked up in.
#[derive(Clone)]
enum Context {
    Nothing,
    Lab,
    Files(Vec<PathBuf>),
}

/// Files of a module of `src` with its tests, and of a test program of that name.
fn program(name: &str) -> Option<Context> {
    let below = name.replace("::", "/");
    let mut found = Vec::new();
    for at in [format!("src/{below}"), format!("tests/{below}")] {
        found.extend(files(&path(&at), ".rs"));
        found.extend(files(&path(&format!("{at}.rs")), ".rs"));
    }
    (!found.is_empty()).then_some(Context::Files(found))
}

fn is_held(pattern: &str, within: &Context) -> bool {
    let Context::Files(files) = within else { return false };
    let (module, name) = pattern.rsplit_once("::").unwrap_or(("", pattern));
    let is_asked = |file: &&PathBuf| module.is_empty() || file.file_stem().is_some_and(|stem| stem == module);
    files.iter().filter(is_asked).any(|file| tests_in(file).iter().any(|test| matches(name, test)))
}

/// What a word in backticks names, or what is wrong with it.
fn look_up(word: &str, context: &Context) -> Result<Context, String> {
    let last = word.split_whitespace().find(|part| part.contains('/') && !part.contains('='));
    if let Some(file) = last {
        let at = path(file);
        let below = file.trim_end_matches(".rs");
        return match at.exists() {
            true => Ok(Context::Files([files(&at, ".rs"), files(&path(below), ".rs")].concat())),
            false => Err(format!("`{word}`: there is no {file}")),
        };
    }
    let is_setting = word.contains('=') || word.starts_with("NETMON_") || word.starts_with("LAB_");
    if is_setting {
        return Ok(context.clone());
    }
    if word.starts_with(|c: char| c.is_ascii_uppercase()) {
        let model = files(&path("tests/model"), ".rs").into_iter().chain([path("tests/model.rs")]);
        let is_there = model.into_iter().any(|file| read(&file).contains(word));
        return if is_there { Ok(context.clone()) } else { Err(format!("`{word}`: no mutant of tests/model")) };
    }
    if matches!(context, Context::Lab) && path(&format!("tests/lab/scenario/{word}.rs")).exists() {
        return Ok(Context::Lab);
    }
    if is_held(word, context) {
        return Ok(context.clone());
    }
    match program(word) {
        Some(found) => Ok(found),
        None => Err(format!("`{word}`: no test, scenario, module or program")),
    }
}

/// What is wrong with the last column of a line of a table.
fn faults(cell: &str) -> Vec<String> {
    let (mut context, mut faults) = (Context::Nothing, Vec::new());
    for (at, part) in cell.split('`').enumerate() {
        if at % 2 == 0 {
            if part.split(|c: char| !c.is_alphanumeric()).any(|word| word == "lab") {
                context = Context::Lab;
            }
            continue;
        }
        match look_up(part, &context) {
            Ok(next) => context = next,
            Err(fault) => faults.push(fault),
        }
    }
    faults
}

/// The last column of each line of the index.
fn index() -> Vec<String> {
    let text = read(&path("SPECIFICATION.md"));
    let (_, index) = text.split_once("## The index").expect("the index");
    let lines = index.lines().filter(|line| line.starts_with('|') && !line.starts_with("| ---"));
    let cells = lines.filter_map(|line| line.trim_end_matches([' ', '|']).rsplit_once(" | "));
    cells.map(|(_, cell)| cell.to_owned()).filter(|cell| !cell.starts_with("held by")).collect()
}

#[test]
fn what_the_specification_names_exists() {
    let cells = index();
    assert!(cells.len() > 100, "only {} lines were found", cells.len());
    let named = cells.iter().filter(|cell| cell.contains('`')).count();
    assert!(named * 10 > cells.len() * 9, "{named} of {} lines name what holds them", cells.len());
    let wrong: Vec<String> = cells.iter().flat_map(|cell| faults(cell)).collect();
    assert!(wrong.is_empty(), "SPECIFICATION.md:\n{}", wrong.join("\n"));
}

#[test]
fn what_does_not_exist_is_noticed() {
    for good in ["lab `two_zones` `tunnel`", "`tests/model.rs` with `ForgetTombstones`", "`class` `rule_6_*`"] {
        assert_eq!(faults(good), Vec::<String>::new(), "{good}");
    }
    let bad = ["lab `two_zonse`", "`tests/modle.rs`", "`tests/model.rs` with `ForgetNothing`", "`class` `rule_x_*`"];
    for bad in bad {
        assert_eq!(faults(bad).len(), 1, "{bad}");
    }
}

/// Numbers behind "rule" and "rules": "rule 8", "rules 3 and 4", "rules 10 to 14", `rule_8_…`, `rules_3_and_4_…`.
fn cited(text: &str) -> Vec<u32> {
    let lower = text.to_lowercase();
    let mut numbers = Vec::new();
    for (at, _) in lower.match_indices("rule") {
        let mut words = lower[at..].split([' ', '_']).take(6);
        if !matches!(words.next(), Some("rule" | "rules")) {
            continue;
        }
        for word in words {
            let digits: String = word.chars().take_while(char::is_ascii_digit).collect();
            match digits.parse() {
                Ok(number) => numbers.push(number),
                Err(_) if matches!(word, "and" | "to") => {}
                Err(_) => break,
            }
            if !digits.is_empty() && digits.len() < word.len() && !word.ends_with(',') {
                break;
            }
        }
    }
    numbers
}

#[test]
fn each_rule_that_is_cited_stands_in_the_contract() {
    assert_eq!(cited("// Rule 8; rules 3 and 4, rules 10 to 14. rule_7_x rules_5_and_8_y"), [8, 3, 4, 10, 14, 7, 5, 8]);
    let contract = read(&path("SPECIFICATION.md"));
    let stands = |number: &u32| contract.contains(&format!("<a id=\"rule-{number}\"></a>Rule {number}: "));
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "benches", "bpf", "examples", "chart", "docs"] {
        for file in files(&path(folder), "") {
            let Ok(text) = fs::read_to_string(&file) else { continue };
            let missing = cited(&text).into_iter().filter(|number| !stands(number));
            wrong.extend(missing.map(|number| format!("{} cites rule {number}", file.display())));
        }
    }
    assert!(wrong.is_empty(), "SPECIFICATION.md has no such rule:\n{}", wrong.join("\n"));
    for number in 1..=16 {
        assert!(stands(&number), "rule {number} has no heading");
        assert!(contract.contains(&format!("| [{number}](#rule-{number}) |")), "rule {number} is not in the index");
    }
}

/// The anchors of a paper: explicit ones, and GitHub's for headings.
fn anchors(text: &str) -> Vec<String> {
    let ids = text.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned);
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let title: String = line.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect();
        title.replace(' ', "-")
    });
    ids.chain(headings).collect()
}

#[test]
fn links_lead_somewhere() {
    let folders = [".", "benches", "chart", "docs"];
    let papers = folders.iter().flat_map(|folder| fs::read_dir(path(folder)).expect("a folder"));
    let papers =
        papers.map(|entry| entry.expect("listed").path()).filter(|file| file.extension().is_some_and(|e| e == "md"));
    let (mut links, mut wrong) = (0, Vec::new());
    for paper in papers {
        let text = read(&paper);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            links += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let there = if file.is_empty() { paper.clone() } else { paper.parent().expect("a folder").join(file) };
            let is_good = there.exists() && (anchor.is_empty() || anchors(&read(&there)).iter().any(|a| a == anchor));
            if !is_good {
                wrong.push(format!("{}: {target}", paper.display()));
            }
        }
    }
    assert!(links > 20 && wrong.is_empty(), "{links} links; these lead nowhere:\n{}", wrong.join("\n"));
}

/// What failed when the field was tried on the agent, by number. F19 was never given.
#[test]
fn each_fault_of_the_field_has_tests_named_after_it() {
    let numbers = (1..=18).chain(20..=29).chain([36, 43, 44, 46]);
    let cells = index();
    let is_named = |number: &u32| {
        let name = format!("f{number}_");
        let starts = |cell: &String, at: usize| !cell[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
        cells.iter().any(|cell| cell.match_indices(&name).any(|(at, _)| starts(cell, at)))
    };
    let missing: Vec<u32> = numbers.filter(|number| !is_named(number)).collect();
    assert!(missing.is_empty(), "no test of the index is named after F{missing:?}");
    assert!(!is_named(&19));
}
