//! Parses arguments and environment into a [`Command`].
//!
//! Flags follow Go (<https://pkg.go.dev/flag#hdr-Command_line_flag_syntax>): one dash or two, `-flag value` or
//! `-flag=value`. A switch never takes the next argument; of a repeated flag the last value wins. Unlike Go, this
//! parser refuses arguments that are not flags.

use std::ffi::{OsStr, OsString};

use lexopt::{Arg, Parser};

use super::near::nearest;
use super::setting::{Apply, Default, Draft, Kind, Setting};
use super::settings::SETTINGS;
use super::tools::{self, Asked, Given, Tool};
use super::usage::{UsageError, double_the_dash, one_line, quoted};
use super::{Config, Mode, proxy, value};

/// The action that the arguments request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Run(Box<Config>),
    Help,
    Version,
    /// Run a command besides the agent.
    Tool(Tool, Given),
    /// Print the help of a command.
    HelpOf(Tool),
}

/// Parses `arguments` (without the program's name) and `environment`. `hostname` replaces an empty `NODE_NAME` outside
/// a cluster. Returns the first of several errors.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
    hostname: Option<OsString>,
) -> Result<Command, UsageError> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match tools::parse(&arguments) {
        Some(Ok(Asked::Run(tool, given))) => return Ok(Command::Tool(tool, given)),
        Some(Ok(Asked::Help(tool))) => return Ok(Command::HelpOf(tool)),
        Some(Err(error)) => return Err(error),
        None => {}
    }
    parse_flags(arguments, environment, hostname)
}

/// As [`parse`], of flags alone: what a command takes beside its own options.
pub fn settings_of(
    flags: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
    hostname: Option<OsString>,
) -> Result<Config, UsageError> {
    match parse_flags(flags.into_iter().collect(), environment, hostname)? {
        Command::Run(config) => Ok(*config),
        Command::Help | Command::Version | Command::Tool(..) | Command::HelpOf(_) => {
            Err(UsageError("want flags of the agent".to_owned()))
        }
    }
}

fn parse_flags(
    arguments: Vec<OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
    hostname: Option<OsString>,
) -> Result<Command, UsageError> {
    let mut draft = defaults();
    let mut parser = Parser::from_args(arguments);
    loop {
        parser = double_the_dash(parser);
        let argument = parser.next().map_err(|error| UsageError(one_line(&error.to_string())))?;
        let name = match argument {
            None => break,
            Some(Arg::Long(name)) => name.to_owned(),
            // Both variants hold arguments that start without a dash.
            Some(Arg::Value(text)) => return Err(unexpected(&text)),
            Some(Arg::Short(letter)) => return Err(unexpected(OsStr::new(&letter.to_string()))),
        };
        match name.as_str() {
            "h" | "help" => return Ok(Command::Help),
            "version" => return Ok(Command::Version),
            _ => {}
        }
        let setting = SETTINGS.iter().find(|s| s.is_flag() && s.name == name).ok_or_else(|| unknown(&name))?;
        let text = match setting.kind {
            Kind::Switch => parser.optional_value().unwrap_or_else(|| "true".into()),
            _ => parser.value().map_err(|_| UsageError(format!("flag -{name} needs a value: {}", shape(setting))))?,
        };
        apply(setting, &mut draft, &text)?;
    }
    for setting in SETTINGS.iter().filter(|s| !s.is_flag()) {
        // Templates leave empty variables behind; an empty one counts as not given.
        if let Some(text) = environment(setting.name).filter(|text| !text.as_encoded_bytes().trim_ascii().is_empty()) {
            apply(setting, &mut draft, &text)?;
        }
    }
    if !draft.dakr.url.is_empty() {
        let variable = |name: &str| environment(name).map(|text| text.to_string_lossy().into_owned());
        draft.dakr.route = proxy::route(&draft.dakr.url, &variable).map_err(|error| UsageError(error.to_string()))?;
    }
    finish(draft, hostname)
}

/// Returns a draft in which every default that is a text is parsed.
fn defaults() -> Draft {
    let mut draft = Draft::blank();
    for setting in SETTINGS {
        if let Default::Text(text) = setting.default {
            apply(setting, &mut draft, OsStr::new(text)).expect("the table's own defaults are allowed (tested)");
        }
    }
    draft.config.read_interval_given = false;
    draft.config.cluster_cidrs_given = false;
    draft.config.given.clear();
    draft
}

fn finish(draft: Draft, hostname: Option<OsString>) -> Result<Command, UsageError> {
    let Draft { mut config, dakr } = draft;
    if config.node_name.is_empty() {
        if !config.standalone {
            return Err(UsageError(
                "NODE_NAME is empty: in a cluster it must name this node (fieldRef: spec.nodeName); outside of one use -standalone"
                    .to_owned(),
            ));
        }
        config.node_name = value::host_name(&hostname.unwrap_or_default().to_string_lossy());
    }
    if matches!(config.mode, Mode::Replay(_)) && config.record.is_some() {
        return Err(UsageError("flag -record cannot be combined with -collector-mode replay:FILE".to_owned()));
    }
    let has_token = !dakr.token.is_empty() || dakr.token_file.is_some();
    config.dakr_lacks = match (dakr.url.is_empty(), has_token) {
        (false, false) => "CLUSTER_TOKEN (or -token-file)",
        (true, true) => "DAKR_URL",
        _ => "",
    };
    config.dakr = (!dakr.url.is_empty() && has_token).then_some(dakr);
    Ok(Command::Run(Box::new(config)))
}

fn apply(setting: &Setting, draft: &mut Draft, text: &OsStr) -> Result<(), UsageError> {
    let result = match setting.apply {
        Apply::Path(apply) => {
            apply(draft, (!text.is_empty()).then(|| text.into()));
            Ok(())
        }
        Apply::Text(apply) => text.to_str().ok_or_else(|| "UTF-8".to_owned()).and_then(|text| apply(draft, text)),
    };
    if result.is_ok() {
        note(&mut draft.config.given, setting, text);
    }
    result.map_err(|wanted| {
        let name = setting.written();
        UsageError(match setting.kind {
            Kind::Secret => format!("invalid value for {name} (not shown): want {wanted}"),
            _ => format!("invalid value {} for {name}: want {wanted}", quoted(text)),
        })
    })
}

/// Remembers what was given, without what is secret in it.
fn note(given: &mut Vec<(&'static str, String)>, setting: &Setting, text: &OsStr) {
    let text = text.to_string_lossy();
    let text = match setting.kind {
        Kind::Secret => String::new(),
        Kind::Flag | Kind::Switch | Kind::Variable if text.contains("://") => value::without_credentials(&text),
        Kind::Flag | Kind::Switch | Kind::Variable => text.into_owned(),
    };
    given.retain(|(name, _)| *name != setting.name);
    given.push((setting.name, one_line(&text)));
}

fn unexpected(text: &OsStr) -> UsageError {
    let hint = "flags begin with a dash, and a switch is set with =, as in -standalone=true (-h lists them)";
    UsageError(format!("unexpected argument {}: {hint}", quoted(text)))
}

fn unknown(name: &str) -> UsageError {
    let shown = one_line(name);
    let as_variable = name.replace('-', "_").to_ascii_uppercase();
    if let Some(variable) = SETTINGS.iter().find(|s| !s.is_flag() && s.name == as_variable) {
        return UsageError(format!("unknown flag -{shown}: {} is set in the environment", variable.name));
    }
    let names = SETTINGS.iter().filter(|s| s.is_flag()).map(|s| s.name).chain(["help", "version"]);
    UsageError(match nearest(name, names) {
        Some(near) => format!("unknown flag -{shown}: did you mean -{near}? (-h lists them)"),
        None => format!("unknown flag -{shown} (-h lists them)"),
    })
}

fn shape(setting: &Setting) -> String {
    format!("{} {}", setting.written(), setting.value.placeholder())
}
