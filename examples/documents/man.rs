//! The man page, in man(7)'s macros.

use std::fmt::Write;

use netmon::config::setting::{Default, Group, Kind, Setting, Value};
use netmon::config::settings::SETTINGS;
use netmon::config::tools::{TOOLS, ToolEntry};

const HEAD: &str = r#".\" Made from the table of settings by examples/documents.rs.
.TH ZXPORTER\-NETMON 8 "" "zxporter\-netmon" "System administration"
.SH NAME
zxporter\-netmon \- count the bytes that a node exchanges, by connection and owner
.SH SYNOPSIS
.B zxporter\-netmon
[\fIflags\fR]
.br
.B zxporter\-netmon
\fIcommand\fR [\fIoptions\fR] ...
.SH DESCRIPTION
Reads what the kernel counts of every connection, adds up the increments by owner, remote address, port and direction,
shows them by HTTP, and pushes them to the control plane (DAKR) exactly once.
With
.B \-standalone
the owner is this host; else the pods of the node that
.B NODE_NAME
names.
.PP
Flags are written \fB\-flag\fR \fIvalue\fR or \fB\-flag=\fIvalue\fR, with one dash or two.
Durations are written as in Go: 5s, 1m30s.
"#;

const TAIL: &str = r#".SH EXIT STATUS
.TP
.B 0
after SIGTERM or SIGINT
.TP
.B 1
when it cannot start, or at once after a second signal
.TP
.B 2
when flags or environment are used wrongly
.SH PRIVILEGES
CAP_NET_ADMIN for mode netfilter; CAP_BPF and CAP_NET_ADMIN for mode ebpf, before kernel 6.12 CAP_PERFMON too, and
before 5.11 CAP_SYS_RESOURCE.
What is not needed any more is given up after the start, thread by thread.
.SH FILES
.TP
.I /etc/default/zxporter\-netmon
environment of the systemd unit; FLAGS holds flags
.SH SEE ALSO
.BR capabilities (7),
.BR conntrack (8),
.BR systemd.exec (5)
"#;

/// The whole page.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for (heading, is_wanted) in [("OPTIONS", true), ("ENVIRONMENT", false)] {
        page.push_str(&format!(".SH {heading}\n"));
        for group in Group::ALL {
            let mut settings = SETTINGS.iter().filter(|s| s.group == group && s.is_flag() == is_wanted).peekable();
            if settings.peek().is_some() {
                page.push_str(&format!(".SS {}\n", escaped(group.title())));
            }
            settings.for_each(|setting| entry(&mut page, setting));
        }
    }
    page.push_str(".SH COMMANDS\n");
    TOOLS.iter().for_each(|tool| command(&mut page, tool));
    page.push_str(TAIL);
    page
}

fn command(page: &mut String, tool: &ToolEntry) {
    let long = if tool.long.is_empty() { String::new() } else { format!(". {}", escaped(tool.long)) };
    let _ = writeln!(page, ".SS {}\n{}{}", escaped(&tool.synopsis()), escaped(tool.short), full_stop(&long));
    if tool.flags {
        page.push_str("Takes the flags above too.\n");
    }
    for option in tool.options {
        let value = match option.value {
            Value::Word("") => String::new(),
            value => format!(" \\fI{}\\fR", escaped(&value.placeholder())),
        };
        let _ = writeln!(page, ".TP\n\\fB\\-{}\\fR{value}\n{}", escaped(option.name), escaped(option.short));
    }
}

fn entry(page: &mut String, setting: &Setting) {
    let value = escaped(&setting.value.placeholder());
    let name = escaped(&setting.written());
    let head = match setting.kind {
        Kind::Switch => format!("\\fB{name}\\fR"),
        Kind::Flag => format!("\\fB{name}\\fR \\fI{value}\\fR"),
        Kind::Variable | Kind::Secret => format!("\\fB{name}\\fR=\\fI{value}\\fR"),
    };
    let default = match setting.default {
        Default::Text(text) | Default::Described(text) => escaped(text),
    };
    let long = if setting.long.is_empty() { String::new() } else { format!(". {}", escaped(setting.long)) };
    let _ = writeln!(page, ".TP\n{head}\n{}{}\nDefault: {default}.", escaped(setting.short), full_stop(&long));
}

fn full_stop(long: &str) -> String {
    if long.ends_with('.') { long.to_owned() } else { format!("{long}.") }
}

/// No text of ours begins a line with a dot or an apostrophe; backslashes, dashes and code marks are what is left.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('…', "...").replace('`', "")
}
