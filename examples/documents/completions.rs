//! Completions of the three usual shells.

use netmon::config::setting::{Kind, Setting, Value};
use netmon::config::settings::SETTINGS;
use netmon::config::tools::{TOOLS, ToolEntry};

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

/// The first words of the commands, each once.
fn families() -> Vec<&'static str> {
    let mut first: Vec<&'static str> = TOOLS.iter().filter_map(|tool| tool.words.first().copied()).collect();
    first.dedup();
    first
}

/// What may come second behind such a word.
fn members(family: &str) -> Vec<&'static str> {
    let of = TOOLS.iter().filter(|tool| tool.words.first() == Some(&family));
    of.filter_map(|tool| tool.words.get(1).copied()).collect()
}

fn options(tool: &ToolEntry) -> Vec<String> {
    tool.options.iter().map(|option| format!("-{}", option.name)).collect()
}

/// bash(1), "Programmable Completion". An equals sign is a word of its own there (`COMP_WORDBREAKS`).
pub fn bash() -> String {
    let names: Vec<String> = flags().map(Setting::written).collect();
    let mut cases = String::new();
    for setting in flags() {
        let action = match (setting.kind, words(setting), takes_a_file(setting)) {
            (Kind::Switch, words, _) => format!("[ $equals ] && {{ offer '{}'; return; }}", words.join(" ")),
            (_, words, _) if !words.is_empty() => format!("offer '{}'; return", words.join(" ")),
            (_, _, true) => "offer '' -f; return".to_owned(),
            _ => "COMPREPLY=(); return".to_owned(),
        };
        cases.push_str(&format!("    -{0} | --{0}) {action} ;;\n", setting.name));
    }
    let mut commands = String::new();
    for tool in TOOLS {
        let of_values = tool.options.iter().filter_map(|option| match option.value {
            Value::Choice(words) => {
                Some(format!("-{0} | --{0}) offer '{1}'; return ;; ", option.name, words.join(" ")))
            }
            _ => None,
        });
        let of_values: String = of_values.collect();
        let values = if of_values.is_empty() { String::new() } else { format!("case $previous in {of_values}esac; ") };
        commands.push_str(&format!(
            "    '{} '*) {values}offer '{} -help' -f; return ;;\n",
            tool.written(),
            options(tool).join(" ")
        ));
    }
    for family in families().iter().filter(|family| !members(family).is_empty()) {
        let members = members(family).join(" ");
        commands.push_str(&format!("    '{family} '*) offer '{members}'; return ;;\n"));
    }
    let first = families().join(" ");
    format!(
        "# shellcheck shell=bash\n\
         # Made from the table of settings by examples/documents.rs.\n\
         _zxporter_netmon() {{\n    \
         local word=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}} first='' equals=''\n    \
         if [ \"$word\" = = ]; then\n        word='' equals=1\n    \
         elif [ \"$previous\" = = ]; then\n        previous=${{COMP_WORDS[COMP_CWORD - 2]}} equals=1\n    fi\n    \
         offer() {{\n        local all=\" $1\"\n        \
         [[ $word == --* ]] && all=${{all// -/ --}}\n        \
         mapfile -t COMPREPLY < <(compgen ${{2:+\"$2\"}} -W \"$all\" -- \"$word\")\n    }}\n    \
         case \"${{COMP_WORDS[*]:1}}\" in\n{commands}    esac\n    \
         case $previous in\n{cases}    esac\n    \
         [ \"$COMP_CWORD\" = 1 ] && first='{first} '\n    \
         offer \"$first{} -help -version\"\n}}\n\
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
    let mut commands = String::new();
    for tool in TOOLS {
        commands.push_str(&format!(
            "case \"${{words[2,-1]}}\" in '{}'*) compadd -- {} -help; _files; return ;; esac\n",
            tool.written(),
            options(tool).join(" ")
        ));
    }
    for family in families() {
        let members = members(family).join(" ");
        commands
            .push_str(&format!("[[ $words[2] == {family} && $CURRENT == 3 ]] && {{ compadd -- {members}; return }}\n"));
    }
    commands.push_str(&format!("[[ $CURRENT == 2 ]] && compadd -- {}\n", families().join(" ")));
    format!(
        "#compdef zxporter-netmon\n# Made from the table of settings by examples/documents.rs.\n{commands}\
         _arguments \\\n{lines}    '-help[print the help]' \\\n    '-version[print the version]'\n"
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
    for family in families() {
        lines.push_str(&format!("complete -c zxporter-netmon -n __fish_use_subcommand -f -a {family}\n"));
        let members = members(family).join(" ");
        if !members.is_empty() {
            let here = format!("'__fish_seen_subcommand_from {family}'");
            lines.push_str(&format!("complete -c zxporter-netmon -n {here} -a '{members}'\n"));
        }
    }
    for tool in TOOLS {
        let word = tool.words.last().copied().unwrap_or_default();
        for option in tool.options {
            let (name, short) = (option.name, option.short);
            let here = format!("'__fish_seen_subcommand_from {word}'");
            lines.push_str(&format!("complete -c zxporter-netmon -n {here} -o {name} -r -d '{short}'\n"));
        }
    }
    lines.push_str("complete -c zxporter-netmon -o help -d 'print the help'\n");
    lines.push_str("complete -c zxporter-netmon -o version -d 'print the version'\n");
    lines
}
