//! What the table of settings looks like to a reader: `--help` and the README.

use std::fmt::Write;

use super::settings::{Given, Group, SETTINGS, Setting};

const WIDTH: usize = 100;
const INDENT: &str = "        ";

/// The text of `--help`.
pub fn help() -> String {
    let mut out = String::from(
        "Counts the bytes that this node's pods exchange, says who exchanged them with whom, and pushes the increments.\n\
         \n\
         Usage: zxporter-netmon [flags]\n",
    );
    for (group, heading) in Group::ALL {
        let _ = write!(out, "\n{heading}:\n");
        for setting in SETTINGS.iter().filter(|setting| setting.group == group) {
            let _ = writeln!(out, "  {}", signature(setting));
            wrap(&mut out, setting.help);
        }
    }
    out.push_str(
        "\nOther:\n  -h, --help\n        Print this.\n  --version\n        Print version and commit.\n\
         \nExamples:\n\
         \x20 Watch this host's traffic on http://localhost:8081/:\n\
         \x20     zxporter-netmon -standalone\n\
         \x20 The same, with the containers of a bridge counted by their own addresses:\n\
         \x20     zxporter-netmon -standalone -local-cidrs 172.17.0.0/16\n\
         \x20 Push to a control plane every 30 seconds:\n\
         \x20     DAKR_URL=https://dakr.example/api CLUSTER_TOKEN=… FLUSH_INTERVAL=30s zxporter-netmon -standalone\n\
         \x20 Record what the kernel says, and play it again:\n\
         \x20     zxporter-netmon -standalone -record day.rec\n\
         \x20     zxporter-netmon -standalone -collector-mode replay:day.rec\n\
         \nExit status: 0 after a signal, 1 failed start, 2 bad usage.\n",
    );
    out
}

fn signature(setting: &Setting) -> String {
    let mut text = setting.written();
    if !setting.value.is_empty() {
        let _ = write!(text, "{}{}", if setting.given == Given::Environment { "=" } else { " " }, setting.value);
    }
    if !setting.default.is_empty() {
        let _ = write!(text, "  (default {})", setting.default);
    }
    text
}

fn wrap(out: &mut String, text: &str) {
    let mut column = WIDTH;
    for word in text.split_whitespace() {
        if column + 1 + word.chars().count() > WIDTH {
            if column != WIDTH {
                out.push('\n');
            }
            out.push_str(INDENT);
            column = INDENT.len();
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += word.chars().count();
    }
    out.push('\n');
}

/// The settings as the README's table.
pub fn readme_table() -> String {
    let mut out = String::new();
    for (group, heading) in Group::ALL {
        let _ = write!(out, "\n**{heading}**\n\n| setting | default | meaning |\n| --- | --- | --- |\n");
        for setting in SETTINGS.iter().filter(|setting| setting.group == group) {
            let default = match setting.default {
                "" => String::new(),
                default => format!("`{default}`"),
            };
            let value = if setting.value.is_empty() { String::new() } else { format!(" {}", setting.value) };
            let _ = writeln!(out, "| `{}{value}` | {default} | {} |", setting.written(), setting.help);
        }
    }
    out
}
