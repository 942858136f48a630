//! The commands beside the agent itself: one table, by which they are parsed, shown in the help, and made into man page
//! and completions.
//!
//! Knows what each takes, not what it does: `main` calls whoever does it.

use std::ffi::OsString;

use lexopt::{Arg, Parser};

use super::near::nearest;
use super::setting::{Kind, Value};
use super::settings::SETTINGS;
use super::usage::{UsageError, double_the_dash, one_line, quoted};
use crate::flow::Class;

/// A command beside the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Published range files to lines of `-topology`.
    TopologyCompile,
    /// Where the cluster's nodes lie, into a ConfigMap.
    TopologyPublish,
    /// A folder for `-state-dir` to the user that the agent runs as.
    StateGive,
    /// The rows of an agent in a terminal, again and again.
    Top,
    /// The rows of an agent, once; or of a count of its own.
    Flows,
    /// The settings of an agent.
    Config,
    /// The rows of a recording.
    Replay,
    /// Why it does not count or deliver.
    Doctor,
    /// Whether what this node's uplinks carried is counted or named.
    Audit,
}

/// What a command takes by name.
#[derive(Clone, Copy, Debug)]
pub struct ToolOption {
    /// Without dashes.
    pub name: &'static str,
    /// What its value looks like; a switch has the empty word.
    pub value: Value,
    /// One line.
    pub short: &'static str,
}

/// One command.
#[derive(Clone, Copy, Debug)]
pub struct ToolEntry {
    /// Which one.
    pub tool: Tool,
    /// As it is typed.
    pub words: &'static [&'static str],
    /// What follows the options, as in a synopsis; may be empty.
    pub operands: &'static str,
    /// How many of those there may be.
    pub count: (usize, usize),
    /// One line.
    pub short: &'static str,
    /// What else there is to know, in whole sentences; may be empty.
    pub long: &'static str,
    /// Its options.
    pub options: &'static [ToolOption],
    /// Whether it takes the agent's own flags too.
    pub flags: bool,
}

impl ToolEntry {
    /// As it is typed.
    pub fn written(&self) -> String {
        self.words.join(" ")
    }

    /// A line of its use, without the program's name.
    pub fn synopsis(&self) -> String {
        let options = if self.options.is_empty() { "" } else { " [options]" };
        let flags = if self.flags { " [flags]" } else { "" };
        let operands = if self.operands.is_empty() { String::new() } else { format!(" {}", self.operands) };
        format!("{}{options}{flags}{operands}", self.written())
    }
}

const SCOPES: Value = Value::Choice(&["node", "zone", "region", "cross_region", "internet"]);
const VIAS: Value = Value::Choice(&["nat", "lb", "privatelink", "peering", "tgw", "vpn", "interconnect"]);

/// Every command.
pub const TOOLS: &[ToolEntry] =
    &[TOP, FLOWS, DOCTOR, CONFIG, REPLAY, TOPOLOGY_COMPILE, TOPOLOGY_PUBLISH, STATE_GIVE, AUDIT];

const ADDRESS: ToolOption = ToolOption {
    name: "address",
    value: Value::Word("HOST:PORT"),
    short: "where the agent listens (default: what process 1 says if that is an agent, else 127.0.0.1:8081)",
};
const BY: ToolOption = ToolOption {
    name: "by",
    value: Value::Choice(&["row", "owner", "workload", "namespace", "remote", "port", "class", "scope"]),
    short: "sum rows by this",
};
const SORT: ToolOption =
    ToolOption { name: "sort", value: Value::Choice(&["rate", "tx", "rx", "bytes"]), short: "what comes first" };
const MATCH: ToolOption = ToolOption {
    name: "match",
    value: Value::Word("TEXT"),
    short: "only rows with this text in owner, workload, remote end, port or service",
};
const CLASS: ToolOption =
    ToolOption { name: "class", value: Value::Choice(Class::WORDS), short: "only rows of this class" };
const SCOPE: ToolOption = ToolOption {
    name: "scope",
    value: Value::Choice(&["node", "zone", "region", "cross_region", "internet", "unknown", "overlay"]),
    short: "only rows of this scope",
};
const LIMIT: ToolOption = ToolOption { name: "limit", value: Value::Word("N"), short: "only the first so many" };
const FORMAT: ToolOption = ToolOption {
    name: "format",
    value: Value::Choice(&["table", "json", "csv", "tsv"]),
    short: "how they are printed (default: table)",
};
const BITS: ToolOption =
    ToolOption { name: "bits", value: Value::Word(""), short: "rates in bits, not bytes, in a second" };
const FOR: ToolOption = ToolOption {
    name: "for",
    value: Value::Word("DURATION"),
    short: "count for so long, print and end, without a running agent",
};

const TOP: ToolEntry = ToolEntry {
    tool: Tool::Top,
    words: &["top"],
    operands: "",
    count: (0, 0),
    short: "show the rows of a running agent in the terminal",
    long: "Keys: Tab groups, r t x b sort, c picks a class, / filters. u switches bits and bytes, space pauses, ? helps, q quits. \
           Where there is no terminal, one table is printed.",
    options: &[BY, SORT, MATCH, CLASS, SCOPE, LIMIT, BITS, ADDRESS],
    flags: false,
};

const FLOWS: ToolEntry = ToolEntry {
    tool: Tool::Flows,
    words: &["flows"],
    operands: "",
    count: (0, 0),
    short: "print the rows of a running agent, or count for a while",
    long: "With -for no agent is needed: it counts by the flags that are given, without pushing, prints and ends. \
           On a bare host: flows -standalone -for 10s.",
    options: &[BY, SORT, MATCH, CLASS, SCOPE, LIMIT, FORMAT, BITS, FOR, ADDRESS],
    flags: true,
};

const CONFIG: ToolEntry = ToolEntry {
    tool: Tool::Config,
    words: &["config"],
    operands: "",
    count: (0, 0),
    short: "print the settings of a running agent, and where each comes from",
    long: "",
    options: &[ADDRESS],
    flags: false,
};

const DOCTOR: ToolEntry = ToolEntry {
    tool: Tool::Doctor,
    words: &["doctor"],
    operands: "",
    count: (0, 0),
    short: "look for what keeps an agent from counting and delivering, and say the cure",
    long: "Changes nothing, and needs no running agent; takes two seconds, in which it looks at the interfaces. It sends DAKR one \
           message without rows. Exit status: 0 all is well, 3 warnings only, 1 something does not work, 2 wrong usage.",
    options: &[ToolOption {
        name: "format",
        value: Value::Choice(&["text", "json"]),
        short: "how it is printed (default: text)",
    }],
    flags: true,
};

const REPLAY: ToolEntry = ToolEntry {
    tool: Tool::Replay,
    words: &["replay"],
    operands: "FILE",
    count: (1, 1),
    short: "print the rows of a recording made with -record",
    long: "",
    options: &[BY, SORT, MATCH, CLASS, SCOPE, LIMIT, FORMAT, BITS],
    flags: true,
};

const AUDIT: ToolEntry = ToolEntry {
    tool: Tool::Audit,
    words: &["audit"],
    operands: "",
    count: (0, 0),
    short: "print whether all that this node's uplinks carried is counted or named",
    long: "Asks the agent that runs here. Status 0 where less than 0.1 % or 64 KiB is unexplained, 1 where more is, 3 where \
           the agent does not answer.",
    options: &[
        ToolOption {
            name: "for",
            value: Value::Word("DURATION"),
            short: "over a window from now on, not since the start",
        },
        ToolOption { name: "format", value: Value::Choice(&["text", "json"]), short: "how to print it" },
        ADDRESS,
    ],
    flags: false,
};

const STATE_GIVE: ToolEntry = ToolEntry {
    tool: Tool::StateGive,
    words: &["state", "give"],
    operands: "FOLDER UID",
    count: (2, 2),
    short: "make a folder for -state-dir a user's own",
    long: "For an init container: the kubelet makes a folder of the node as root's. Owner and group become UID, the mode 0700. \
           Needs CAP_CHOWN.",
    options: &[],
    flags: false,
};

const TOPOLOGY_PUBLISH: ToolEntry = ToolEntry {
    tool: Tool::TopologyPublish,
    words: &["topology", "publish"],
    operands: "",
    count: (0, 0),
    short: "follow the cluster's nodes and publish their zones for all agents",
    long: "Runs until a signal. Writes a ConfigMap that the agents mount as their -topology. It does so once a minute at most, \
           and only when it changed; beyond 64 KB it packs by gzip. A second one does no harm, and without any the agents keep what they \
           have. Needs nodes: list, watch; configmaps: get, create, patch; for pods their list and watch.",
    options: &[
        ToolOption { name: "configmap", value: Value::Word("NAME"), short: "where to (zxporter-netmon-topology)" },
        ToolOption {
            name: "namespace",
            value: Value::Word("NAME"),
            short: "the ConfigMap's namespace (the own pod's)",
        },
        ToolOption { name: "key", value: Value::Word("NAME"), short: "the file's name where it is mounted (topology)" },
        ToolOption {
            name: "topology",
            value: Value::Word("FILE"),
            short: "lines that are published first, and count first",
        },
        ToolOption {
            name: "pods",
            value: Value::Choice(&["auto", "always", "never"]),
            short: "follow all pods too; auto: where a node has no range",
        },
        ToolOption { name: "kubeconfig", value: Value::Word("PATH"), short: "kubeconfig for the API server" },
    ],
    flags: false,
};

const TOPOLOGY_COMPILE: ToolEntry = ToolEntry {
    tool: Tool::TopologyCompile,
    words: &["topology", "compile"],
    operands: "aws|gcp|azure FILE…",
    count: (2, usize::MAX),
    short: "print published range files as lines for -topology",
    long: "AWS: ip-ranges.json; GCP: cloud.json and goog.json; Azure: ServiceTags_Public_*.json. Where a range is of several \
           services the one with the fewest ranges is taken. Neighbours that say the same are joined.",
    options: &[
        ToolOption { name: "regions", value: Value::Word("NAME,…"), short: "only these regions" },
        ToolOption {
            name: "services",
            value: Value::Word("NAME,…"),
            short: "only these services, as the file names them",
        },
        ToolOption { name: "scope", value: SCOPES, short: "say this scope in each line" },
        ToolOption { name: "via", value: VIAS, short: "say this way in each line" },
    ],
    flags: false,
};

/// What was given to a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    options: Vec<(&'static str, OsString)>,
    /// The agent's flags, each as `-name=value`.
    pub flags: Vec<OsString>,
    /// What is no option, in its order.
    pub operands: Vec<OsString>,
}

impl Given {
    /// The last value of an option.
    pub fn option(&self, name: &str) -> Option<&OsString> {
        self.options.iter().rev().find(|(given, _)| *given == name).map(|(_, value)| value)
    }

    /// The last value of one of the agent's flags.
    pub fn flag(&self, name: &str) -> Option<&str> {
        let value = |flag: &'_ OsString| -> Option<usize> {
            let rest = flag.to_str()?.strip_prefix('-')?.strip_prefix(name)?;
            rest.starts_with('=').then_some(name.len() + 2)
        };
        self.flags.iter().rev().find_map(|flag| flag.to_str()?.get(value(flag)?..))
    }

    /// The last value of an option whose values are words.
    pub fn word(&self, name: &str) -> Option<&str> {
        self.option(name).and_then(|value| value.to_str())
    }
}

/// What the arguments ask of a command.
pub(super) enum Asked {
    /// To say what it takes.
    Help(Tool),
    /// To do it.
    Run(Tool, Given),
}

/// The command that the arguments begin with; none where the first is a flag or nothing.
pub(super) fn parse(arguments: &[OsString]) -> Option<Result<Asked, UsageError>> {
    let first = arguments.first()?.to_str().filter(|first| !first.starts_with('-') && !first.is_empty())?;
    let begins = |entry: &&ToolEntry| {
        entry.words.len() <= arguments.len() && entry.words.iter().zip(arguments).all(|(word, given)| given == *word)
    };
    if let Some(entry) = TOOLS.iter().find(begins) {
        return Some(parse_rest(entry, &arguments[entry.words.len()..]));
    }
    let family: Vec<String> =
        TOOLS.iter().filter(|entry| entry.words.first() == Some(&first)).map(ToolEntry::written).collect();
    if !family.is_empty() {
        return Some(Err(UsageError(format!("{first} what? Want {}", family.join(", or ")))));
    }
    let near = nearest(first, TOOLS.iter().filter_map(|entry| entry.words.first().copied()))?;
    Some(Err(UsageError(format!("unknown command {}: did you mean {near}? (-h lists them)", quoted(first.as_ref())))))
}

fn parse_rest(entry: &'static ToolEntry, rest: &[OsString]) -> Result<Asked, UsageError> {
    let mut given = Given::default();
    let mut parser = Parser::from_args(rest);
    let say = |text: String| UsageError(format!("{}: {text}", entry.written()));
    loop {
        parser = double_the_dash(parser);
        let argument = parser.next().map_err(|error| say(one_line(&error.to_string())))?;
        let name = match argument {
            None => break,
            Some(Arg::Long(name)) => name.to_owned(),
            Some(Arg::Value(operand)) => {
                given.operands.push(operand);
                continue;
            }
            // A dash alone, which many take for the standard input.
            Some(Arg::Short(letter)) => return Err(say(format!("unexpected argument -{letter}"))),
        };
        if name == "h" || name == "help" {
            return Ok(Asked::Help(entry.tool));
        }
        let Some(option) = entry.options.iter().find(|option| option.name == name) else {
            let flags = || SETTINGS.iter().filter(|setting| entry.flags && setting.is_flag());
            if let Some(setting) = flags().find(|setting| setting.name == name) {
                let value = match setting.kind {
                    Kind::Switch => parser.optional_value().unwrap_or_else(|| "true".into()),
                    _ => parser
                        .value()
                        .map_err(|_| say(format!("flag -{name} needs a value: {}", setting.value.placeholder())))?,
                };
                let mut flag = OsString::from(format!("-{name}="));
                flag.push(value);
                given.flags.push(flag);
                continue;
            }
            let near = nearest(&name, entry.options.iter().map(|option| option.name).chain(flags().map(|f| f.name)));
            let hint = near.map_or_else(String::new, |near| format!(": did you mean -{near}?"));
            return Err(say(format!("unknown option -{}{hint} (-h lists them)", one_line(&name))));
        };
        let value = match option.value {
            Value::Word("") => parser.optional_value().unwrap_or_else(|| "true".into()),
            value => {
                parser.value().map_err(|_| say(format!("option -{name} needs a value: {}", value.placeholder())))?
            }
        };
        if let Value::Choice(words) = option.value
            && !words.iter().any(|word| value == *word)
        {
            return Err(say(format!("invalid value {} for -{name}: want one of {}", quoted(&value), words.join(", "))));
        }
        given.options.push((option.name, value));
    }
    let (least, most) = entry.count;
    if !(least..=most).contains(&given.operands.len()) {
        return Err(say(format!("want {}", if entry.operands.is_empty() { "no operands" } else { entry.operands })));
    }
    Ok(Asked::Run(entry.tool, given))
}

#[cfg(test)]
mod tests;
