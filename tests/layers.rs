//! The order of the modules, read from their imports: `src/lib.rs` lists the floors, the ground floor first, and no
//! module uses one of its own floor or of a later one. Within a folder no files or sub-folders use each other in a circle.
//!
//! Only the agent's own code counts; what unit tests use does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module, as its path below `crate`.
type Module = Vec<String>;

/// Modules with what each names, by absolute path.
#[derive(Default)]
struct Tree {
    uses: BTreeMap<Module, BTreeSet<Module>>,
    /// What a module re-exports: its own name of it, and the path that it stands for.
    exports: BTreeMap<Module, BTreeMap<String, Module>>,
}

/// Words and single marks of Rust text, without comments, strings and characters.
fn tokens(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let begin = rest.find('"').expect("a raw string has a quote") + 1;
            rest[begin..].find(&end).map_or(rest.len(), |length| begin + length + end.len())
        } else if rest.starts_with('"') {
            quoted(rest, '"')
        } else if rest.starts_with('\'') && is_character(rest) {
            quoted(rest, '\'')
        } else {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = word.max(rest.chars().next().map_or(1, char::len_utf8));
            if !rest.starts_with(char::is_whitespace) {
                found.push(rest[..length].to_owned());
            }
            length
        };
        at += skipped.max(1);
    }
    found
}

fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r').or_else(|| rest.strip_prefix("br"))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// Whether a quote begins a character and not a lifetime.
fn is_character(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    matches!((chars.next(), chars.next()), (Some('\\'), _) | (Some(_), Some('\'')))
}

/// The length of a quoted text, its escapes included.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Removes every `#[cfg(test)]` with the item behind it.
fn without_tests(tokens: Vec<String>) -> Vec<String> {
    let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut left = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].iter().map(String::as_str).take(mark.len()).eq(mark) {
            at = end_of_item(&tokens, at + mark.len());
        } else {
            left.push(tokens[at].clone());
            at += 1;
        }
    }
    left
}

fn end_of_item(tokens: &[String], begin: usize) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(begin) {
        match token.as_str() {
            "{" | "(" | "[" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Reads a path, or a tree of them in braces, behind `prefix`; `found` gets each with the name it is known by here.
fn read_paths(tokens: &[String], at: &mut usize, prefix: &[String], found: &mut Vec<(Module, String)>) {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(*at).map(String::as_str) {
            Some("{") => {
                *at += 1;
                while tokens.get(*at).is_some_and(|token| token != "}") {
                    if tokens[*at] == "," {
                        *at += 1;
                    } else {
                        let before = *at;
                        read_paths(tokens, at, &path, found);
                        // Braces of code, not of imports.
                        if *at == before {
                            return;
                        }
                    }
                }
                *at += 1;
                return;
            }
            Some("*") => {
                *at += 1;
                found.push((path, "*".to_owned()));
                return;
            }
            Some("self") if !path.is_empty() => *at += 1,
            Some(word) if word.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                path.push(word.to_owned());
                *at += 1;
            }
            _ => return,
        }
        if tokens.get(*at).is_some_and(|token| token == ":") && tokens.get(*at + 1).is_some_and(|token| token == ":") {
            *at += 2;
            continue;
        }
        let mut name = path.last().cloned().unwrap_or_default();
        if tokens.get(*at).is_some_and(|token| token == "as") {
            name = tokens.get(*at + 1).cloned().unwrap_or_default();
            *at += 2;
        }
        found.push((path, name));
        return;
    }
}

/// `crate`, `super` and `self` replaced, seen from `module`; `None` for a path of another crate.
fn absolute(path: &[String], module: &Module, children: &BTreeSet<String>) -> Option<Module> {
    let mut base = module.clone();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => {
            base.clear();
            rest = &path[1..];
        }
        "self" => rest = &path[1..],
        "super" => {
            while rest.first().is_some_and(|word| word == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        child if children.contains(child) => {}
        _ => return None,
    }
    base.extend_from_slice(rest);
    Some(base)
}

fn read_module(tree: &mut Tree, module: &Module, text: &str) {
    let tokens = without_tests(tokens(text));
    let children: BTreeSet<String> =
        tokens.windows(3).filter(|w| w[0] == "mod" && w[2] == ";").map(|w| w[1].clone()).collect();
    let uses = tree.uses.entry(module.clone()).or_default();
    let exports = tree.exports.entry(module.clone()).or_default();
    let mut at = 0;
    while at < tokens.len() {
        let is_use = tokens[at] == "use";
        let starts =
            is_use || matches!(tokens[at].as_str(), "crate" | "super" | "self") || children.contains(&tokens[at]);
        let is_inner = at > 0 && matches!(tokens[at - 1].as_str(), ":" | "." | "mod");
        let leads = tokens.get(at + 1).is_some_and(|token| token == ":")
            && tokens.get(at + 2).is_some_and(|token| token == ":");
        if !starts || is_inner || !(is_use || leads) {
            at += 1;
            continue;
        }
        let exported = is_use && at > 0 && matches!(tokens[at - 1].as_str(), "pub" | ")");
        at += usize::from(is_use);
        let mut found = Vec::new();
        let before = at;
        read_paths(&tokens, &mut at, &[], &mut found);
        at = at.max(before + 1);
        for (path, name) in found {
            let Some(path) = absolute(&path, module, &children) else { continue };
            if exported {
                exports.insert(name, path.clone());
            }
            uses.insert(path);
        }
    }
}

impl Tree {
    fn read(src: &Path) -> Tree {
        let mut tree = Tree::default();
        for file in files(src) {
            let below = file.strip_prefix(src).expect("a file of src").with_extension("");
            let mut module: Module = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if module.iter().any(|part| part == "tests") || below == Path::new("main") {
                continue;
            }
            if module.last().is_some_and(|name| name == "mod" || name == "lib") {
                module.pop();
            }
            read_module(&mut tree, &module, &fs::read_to_string(&file).expect("a source file"));
        }
        tree
    }

    /// The module that defines what `path` names: re-exports are followed.
    fn home(&self, path: &Module) -> Module {
        let mut path = path.clone();
        for _ in 0..8 {
            let known = (0..=path.len()).rev().find(|n| self.uses.contains_key(&path[..*n])).unwrap_or(0);
            let (module, rest) = (path[..known].to_vec(), path[known..].to_vec());
            let Some(exported) = rest.first().and_then(|name| self.exports.get(&module)?.get(name)) else {
                return module;
            };
            path = exported.iter().chain(&rest[1..]).cloned().collect();
        }
        path
    }

    /// Which module uses which, each by the file that defines what is used. That a part of a module uses the words of
    /// the whole does not count: it is in there that they stand.
    fn arrows(&self) -> BTreeSet<(Module, Module)> {
        let each = |(from, paths): (&Module, &BTreeSet<Module>)| {
            paths.iter().map(|path| (from.clone(), self.home(path))).collect::<Vec<_>>()
        };
        self.uses.iter().flat_map(each).filter(|(from, to)| !from.starts_with(to)).collect()
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The modules of `lib.rs`, floor by floor: a floor is a run of `mod` lines.
fn floors(lib: &str) -> Vec<Vec<String>> {
    let mut floors = vec![Vec::new()];
    for line in lib.lines() {
        match line.trim_start_matches("pub ").strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
            Some(name) => floors.last_mut().expect("a floor").push(name.to_owned()),
            None if line.trim().is_empty() => floors.push(Vec::new()),
            None => {}
        }
    }
    floors.retain(|floor| !floor.is_empty());
    floors
}

/// Arrows between the top-level modules that do not run down to an earlier floor.
fn upward(floors: &[Vec<String>], arrows: &BTreeSet<(Module, Module)>) -> BTreeSet<String> {
    let floor = |name: &str| floors.iter().position(|floor| floor.iter().any(|other| other == name));
    let mut wrong = BTreeSet::new();
    for (from, to) in arrows {
        if from[0] != to[0] && floor(&to[0]) >= floor(&from[0]) {
            wrong.insert(format!("{} uses {}", from.join("::"), to.join("::")));
        }
    }
    wrong
}

/// What stands in a circle: every node that reaches itself.
fn circles<Node: Ord + Clone>(arrows: &BTreeSet<(Node, Node)>) -> BTreeSet<Node> {
    let reaches_itself = |start: &Node| {
        let mut seen = BTreeSet::new();
        let mut open = vec![start.clone()];
        while let Some(node) = open.pop() {
            for (_, to) in arrows.iter().filter(|(from, _)| *from == node) {
                if to == start {
                    return true;
                }
                if seen.insert(to.clone()) {
                    open.push(to.clone());
                }
            }
        }
        false
    };
    arrows.iter().map(|(from, _)| from).filter(|from| reaches_itself(from)).cloned().collect()
}

/// Arrows between the direct members of `folder`, each member with all that is below it.
fn between_members(folder: &[String], arrows: &BTreeSet<(Module, Module)>) -> BTreeSet<(Module, Module)> {
    let depth = folder.len() + 1;
    let member =
        |module: &Module| (module.len() >= depth && module.starts_with(folder)).then(|| module[..depth].to_vec());
    arrows.iter().filter_map(|(from, to)| Some((member(from)?, member(to)?))).filter(|(from, to)| from != to).collect()
}

fn source_tree() -> (PathBuf, Tree) {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let tree = Tree::read(&src);
    (src, tree)
}

#[test]
fn no_module_uses_one_of_a_later_floor() {
    let (src, tree) = source_tree();
    let floors = floors(&fs::read_to_string(src.join("lib.rs")).expect("lib.rs"));
    let listed: BTreeSet<&String> = floors.iter().flatten().collect();
    let there: BTreeSet<&String> = tree.uses.keys().filter_map(|module| module.first()).collect();
    assert_eq!(listed, there, "lib.rs lists every module");
    assert_eq!(floors.last().map(Vec::as_slice), Some(&["agent".to_owned()][..]), "the agent is the roof");
    let wrong = upward(&floors, &tree.arrows());
    assert!(wrong.is_empty(), "imports that run upwards:\n{}", Vec::from_iter(wrong).join("\n"));
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let (_, tree) = source_tree();
    let arrows = tree.arrows();
    let stuck = circles(&arrows);
    let within: Vec<String> = arrows
        .iter()
        .filter(|(from, to)| stuck.contains(from) && stuck.contains(to))
        .map(|(from, to)| format!("{} uses {}", from.join("::"), to.join("::")))
        .collect();
    assert!(within.is_empty(), "files in circles:\n{}", within.join("\n"));
}

#[test]
fn no_members_of_a_folder_use_each_other_in_a_circle() {
    let (_, tree) = source_tree();
    let arrows = tree.arrows();
    let folders: BTreeSet<&[String]> =
        tree.uses.keys().flat_map(|module| (0..module.len()).map(|depth| &module[..depth])).collect();
    for folder in folders {
        let stuck = circles(&between_members(folder, &arrows));
        assert!(stuck.is_empty(), "in {}: a circle of {stuck:?}", folder.join("::"));
    }
}

/// What the tests above would say of a tree of made-up modules.
fn made_up(files: &[(&str, &str)]) -> BTreeSet<(Module, Module)> {
    let mut tree = Tree::default();
    for (path, text) in files {
        read_module(&mut tree, &path.split("::").map(str::to_owned).collect(), text);
    }
    tree.arrows()
}

#[test]
fn an_import_is_found_however_it_is_written() {
    let files = |user: &'static str| {
        made_up(&[
            ("low", "pub struct Thing;"),
            ("high", "mod user; mod other; pub use other::Renamed as Other;"),
            ("high::user", user),
            ("high::other", "pub struct Renamed;"),
        ])
    };
    let low = vec!["low".to_owned()];
    for text in [
        "use crate::low::Thing;",
        "use crate::{low::{Thing, self}, flow};",
        "use super::super::low::Thing as Other;",
        "fn f() -> crate::low::Thing { crate::low::Thing }",
        "const TEXT: &str = r#\"no \" comment //\"#; use crate::low;",
    ] {
        assert!(files(text).iter().any(|(_, to)| *to == low), "{text}");
    }
    for text in
        ["// use crate::low;", "const T: &str = \"crate::low::Thing\";", "#[cfg(test)] mod tests { use crate::low; }"]
    {
        assert!(files(text).is_empty() || !files(text).iter().any(|(_, to)| *to == low), "{text}");
    }
    let other = ["high", "other"].map(str::to_owned).to_vec();
    assert!(files("use super::Other;").iter().any(|(_, to)| *to == other), "a re-export is followed to its home");
}

#[test]
fn an_upward_import_and_a_circle_are_found() {
    let arrows = made_up(&[
        ("low", "use crate::high::a;"),
        ("high", "mod a; mod b;"),
        ("high::a", "use super::b::B;"),
        ("high::b", "use super::a::A;"),
    ]);
    let floors = floors("pub mod low;\n\npub mod high;\n");
    assert_eq!(upward(&floors, &arrows).into_iter().collect::<Vec<_>>(), ["low uses high::a"]);
    assert_eq!(circles(&arrows).len(), 2);
    assert_eq!(circles(&between_members(&["high".to_owned()], &arrows)).len(), 2);
}
