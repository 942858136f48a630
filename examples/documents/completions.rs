//! Completions of the three usual shells.

use netmon::config::settings::{Kind, SETTINGS, Setting, Value};

fn flags() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(|setting| setting.is_flag())
}

/// The words that can be completed; those with an upper-case part hold a value of their own.
fn words(setting: &Setting) -> Vec<&'static str> {
    match (setting.kind, setting.value) {
        (Kind::Switch, _) => vec!["true", "false"],
        (_, Value::Choice(words)) => {
            words.iter().copied().filter(|word| !word.chars().any(|c| c.is_ascii_uppercase())).collect()
        }
        _ => Vec::new(),
    }
}

fn takes_a_file(setting: &Setting) -> bool {
    matches!(setting.value, Value::Word("FILE" | "PATH" | "FOLDER"))
}

/// bash(1), "Programmable Completion".
pub fn bash() -> String {
    let names: Vec<String> = flags().map(Setting::written).collect();
    let mut cases = String::new();
    for setting in flags().filter(|setting| setting.kind == Kind::Flag) {
        let action = match (words(setting), takes_a_file(setting)) {
            (words, _) if !words.is_empty() => {
                format!("mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$word\")", words.join(" "))
            }
            (_, true) => "mapfile -t COMPREPLY < <(compgen -f -- \"$word\")".to_owned(),
            _ => "COMPREPLY=()".to_owned(),
        };
        cases.push_str(&format!("    -{0} | --{0}) {action}; return ;;\n", setting.name));
    }
    format!(
        "# shellcheck shell=bash\n\
         # Made from the table of settings by examples/documents.rs.\n\
         _zxporter_netmon() {{\n    local word=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}}\n    \
         case $previous in\n{cases}    esac\n    \
         mapfile -t COMPREPLY < <(compgen -W '{} -help -version' -- \"$word\")\n}}\n\
         complete -F _zxporter_netmon zxporter-netmon\n",
        names.join(" ")
    )
}

/// zshcompsys(1), `_arguments`.
pub fn zsh() -> String {
    let mut lines = String::new();
    for setting in flags() {
        let short = setting.short.replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]").replace(':', "\\:");
        let value = match (setting.kind, words(setting), takes_a_file(setting)) {
            (Kind::Switch, ..) => String::new(),
            (_, words, _) if !words.is_empty() => format!(":value:({})", words.join(" ")),
            (_, _, true) => ":file:_files".to_owned(),
            _ => ":value: ".to_owned(),
        };
        lines.push_str(&format!("    '-{}[{short}]{value}' \\\n", setting.name));
    }
    format!(
        "#compdef zxporter-netmon\n# Made from the table of settings by examples/documents.rs.\n\
         _arguments \\\n{lines}    '-help[say what can be set]' \\\n    '-version[say the version]'\n"
    )
}

/// fish-completions(1). `-o` is a long name behind one dash.
pub fn fish() -> String {
    let mut lines = "# Made from the table of settings by examples/documents.rs.\n".to_owned();
    for setting in flags() {
        let short = setting.short.replace('\\', "\\\\").replace('\'', "\\'");
        let value = match (setting.kind, words(setting), takes_a_file(setting)) {
            (Kind::Switch, ..) => String::new(),
            (_, words, _) if !words.is_empty() => format!(" -x -a '{}'", words.join(" ")),
            (_, _, true) => " -r -F".to_owned(),
            _ => " -x".to_owned(),
        };
        lines.push_str(&format!("complete -c zxporter-netmon -o {}{value} -d '{short}'\n", setting.name));
    }
    lines.push_str("complete -c zxporter-netmon -o help -d 'say what can be set'\n");
    lines.push_str("complete -c zxporter-netmon -o version -d 'say the version'\n");
    lines
}
