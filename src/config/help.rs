//! Renders the table of settings as `--help` and as the settings section of README.md.

use std::fmt::Write;

use super::setting::{Default, Group, Kind, Setting, Value};
use super::settings::SETTINGS;
use super::tools::{TOOLS, Tool};

/// Columns of the help text.
const WIDTH: usize = 100;
/// The column at which descriptions start.
const INDENT: usize = 34;

/// The output of `-h` and `--help`.
pub fn help() -> String {
    let mut text = String::from(
        "Counts the bytes that this node's pods exchange, and pushes them to the control plane exactly once.\n\n\
         Usage: zxporter-netmon [flags]\n       \
         zxporter-netmon COMMAND [options] ...\n\n\
         Write flags as -flag value or -flag=value, with one dash or two. Names in capitals are environment\n\
         variables.\n",
    );
    for group in Group::ALL {
        let mut settings = SETTINGS.iter().filter(|setting| setting.group == group).peekable();
        if settings.peek().is_some() {
            push(&mut text, format_args!("\n{}\n", group.title()));
            settings.for_each(|setting| describe(&mut text, &left(setting), &right(setting)));
        }
    }
    text.push_str("\nCommands (zxporter-netmon COMMAND -h prints its help)\n");
    for tool in TOOLS {
        describe(&mut text, &tool.written(), tool.short);
    }
    text.push_str("\nOther\n");
    describe(&mut text, "-h, --help", "print this help");
    describe(&mut text, "--version", "print the version");
    text.push_str(
        "\nExamples\n  \
         zxporter-netmon -standalone\n      \
             count this host's own traffic and show it on http://localhost:8081/\n  \
         zxporter-netmon -standalone -local-cidrs 172.17.0.0/16 -metrics-bind-address 127.0.0.1:8081\n      \
             count a bridge's containers too, and show the page to this host alone\n  \
         NODE_NAME=node-1 DAKR_URL=https://dakr.example.com CLUSTER_TOKEN=... zxporter-netmon\n      \
             run on a node of a cluster and push once a minute\n\n\
         Exit status: 0 after SIGTERM or SIGINT, 1 if it cannot start, 2 if a flag or variable is invalid.\n",
    );
    text
}

/// What `-h` behind a command prints.
pub fn help_of(tool: Tool) -> String {
    let mut text = String::new();
    for entry in TOOLS.iter().filter(|entry| entry.tool == tool) {
        push(&mut text, format_args!("Usage: zxporter-netmon {}\n\n", entry.synopsis()));
        wrap(&mut text, &format!("{}. {}", capitalised(entry.short), entry.long), 0, 0);
        if entry.flags {
            text.push_str("It takes the agent's flags too (zxporter-netmon -h).\n");
        }
        text.push_str("\nOptions\n");
        for option in entry.options {
            let value = match option.value {
                Value::Word("") => String::new(),
                value => format!(" {}", value.placeholder()),
            };
            describe(&mut text, &format!("-{}{value}", option.name), option.short);
        }
        describe(&mut text, "-h, --help", "say this");
    }
    text
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

fn left(setting: &Setting) -> String {
    match (setting.kind, setting.value) {
        (Kind::Switch, _) => setting.written(),
        (Kind::Flag, value) => format!("{} {}", setting.written(), value.placeholder()),
        (Kind::Variable | Kind::Secret, value) => format!("{}={}", setting.written(), value.placeholder()),
    }
}

fn right(setting: &Setting) -> String {
    match setting.default {
        Default::Text("false") | Default::Described("none") => setting.short.to_owned(),
        Default::Text(default) | Default::Described(default) => format!("{} (default: {default})", setting.short),
    }
}

/// Appends one entry: the name, then its description wrapped in the second column.
fn describe(text: &mut String, left: &str, right: &str) {
    push(text, format_args!("  {left}"));
    let mut column = 2 + left.chars().count();
    if column + 2 > INDENT {
        text.push('\n');
        column = 0;
    }
    push(text, format_args!("{:width$}", "", width = INDENT - column));
    wrap(text, right, INDENT, INDENT);
}

/// Words from a column on, wrapped to an indent, and a line end.
fn wrap(text: &mut String, words: &str, mut column: usize, indent: usize) {
    // A list of ranges has no blanks, so it may break after its commas.
    for piece in words.trim_end().split_inclusive([' ', ',']) {
        if column + piece.trim_end().chars().count() > WIDTH {
            text.truncate(text.trim_end_matches(' ').len());
            push(text, format_args!("\n{:indent$}", ""));
            column = indent;
        }
        text.push_str(piece);
        column += piece.chars().count();
    }
    text.push('\n');
}

/// Returns the settings as Markdown: a heading and a table for each group.
#[cfg(test)]
pub fn readme_table() -> String {
    let mut text = String::new();
    for group in Group::ALL {
        let mut settings = SETTINGS.iter().filter(|setting| setting.group == group).peekable();
        if settings.peek().is_none() {
            continue;
        }
        push(
            &mut text,
            format_args!("\n### {}\n\n| setting | default | what it does |\n| --- | --- | --- |\n", group.title()),
        );
        for setting in settings {
            let default = match setting.default {
                Default::Text(default) => format!("`{}`", default.replace(',', "`, `")),
                Default::Described(default) => default.to_owned(),
            };
            let long = if setting.long.is_empty() { String::new() } else { format!(". {}", setting.long) };
            let name = left(setting).replace('|', "\\|");
            push(&mut text, format_args!("| `{name}` | {default} | {}{long} |\n", setting.short));
        }
    }
    text
}

fn push(text: &mut String, piece: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(piece);
}
