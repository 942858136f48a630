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
.PP
.B doctor
ends with 0 where traffic is counted and delivered, 3 with warnings alone, 1 where it is not.
.SH SIGNALS
.TP
.BR SIGTERM ", " SIGINT
a last sweep and push, for at most 15 seconds; what cannot be delivered is named in the log
.TP
a second one
ends at once with status 1
.SH ENDPOINTS
On \fB\-metrics\-bind\-address\fR:
.TP
.I /
the page
.TP
.I /flows
every row as JSON; with ?by=, sort=, match=, class=, scope=, limit=, format=json|csv|tsv what is asked for
.TP
.I /history
what had been carried at the sweeps of the last hour
.TP
.I /metrics
Prometheus text
.TP
.I /config
the settings in force, and where each comes from
.TP
.IR /healthz ", " /readyz
200 while the agent counts; 200 from the first complete sweep until it stops. Everyone may ask these.
.SH PRIVILEGES
CAP_NET_ADMIN for mode netfilter; CAP_BPF and CAP_NET_ADMIN for mode ebpf, before kernel 6.12 CAP_PERFMON too, and
before 5.11 CAP_SYS_RESOURCE.
What is not needed any more is given up after the start, thread by thread.
.SH FILES
.TP
.I /etc/default/zxporter\-netmon
environment of the systemd unit; FLAGS holds flags
.TP
.I /usr/share/doc/zxporter\-netmon/names.conf
drop\-in of the unit that grants what names take
.SH EXAMPLES
.TP
.B zxporter\-netmon flows \-standalone \-for 10s
which traffic there is: counts for ten seconds, prints a table and ends
.TP
.B zxporter\-netmon doctor \-standalone
why it does not count here, each cause with its cure
.TP
.B zxporter\-netmon top \-by owner
the traffic of a running agent, live
.TP
.B curl \(aqlocalhost:8081/flows?by=remote&class=outside&sort=rate&limit=5\(aq
the five busiest remote ends outside
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
