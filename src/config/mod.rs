//! Everything that can be set, in one validated [`Config`].
//!
//! Flags have Go's habits, for the Network Operator's manifests are to work unchanged: one dash or two, `-flag value` or
//! `-flag=value`, switches without a value. Parsing is a pure function; what is set is in [`settings`], one table.

mod help;
pub mod settings;
mod value;

use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

pub use self::help::{help, readme_table};
use self::settings::{Given, SETTINGS, Setting};
use crate::flow::Cidr;

/// Where connections are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Conntrack by netlink.
    Netfilter,
    /// Our own BPF programs.
    Ebpf,
    /// Cilium's conntrack maps.
    Cilium,
    /// A recording made with `-record`.
    Replay(PathBuf),
}

impl Mode {
    /// As on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Mode::Netfilter => "netfilter",
            Mode::Ebpf => "ebpf",
            Mode::Cilium => "cilium",
            Mode::Replay(_) => "replay",
        }
    }
}

/// Which inbound rows are pushed (rule 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushInbound {
    /// Those whose originator is outside.
    External,
    /// All of them.
    All,
    /// None of them.
    None,
}

/// Which conntrack zone is counted (rule 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Decided at the first complete sweep.
    Auto,
    /// This one.
    Fixed(u16),
}

/// What to do when the wanted mode cannot run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Run the next best mode, degraded.
    Auto,
    /// Exit with status 1.
    None,
}

/// What `/metrics` says to a client that does not ask for a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsFormat {
    /// Prometheus text.
    Prometheus,
    /// The incumbent's JSON.
    Json,
}

/// Framing of the push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DakrProtocol {
    /// Connect first, then gRPC-Web, then gRPC, until one works.
    Auto,
    /// Connect unary.
    Connect,
    /// gRPC-Web.
    GrpcWeb,
    /// gRPC framing over HTTP/1.1.
    Grpc,
}

/// Where rows are pushed to.
#[derive(Clone, PartialEq, Eq)]
pub struct Dakr {
    /// Base URL, with scheme, perhaps with a path, without a trailing slash. May hold credentials: never logged.
    pub url: String,
    /// Bearer token: never logged.
    pub token: String,
    /// `CLUSTER_ID`, empty if not given.
    pub cluster_id: String,
    /// Framing.
    pub protocol: DakrProtocol,
    /// `-token-file`: holds the token, is re-read when it changes or is refused, and goes before `token`.
    pub token_file: Option<PathBuf>,
    /// `-ca-file`: PEM certificates trusted beside those of the system.
    pub ca_file: Option<PathBuf>,
}

/// The agent's settings, validated.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// `-metrics-bind-address`; `:8081` is every address of both families.
    pub metrics_bind: SocketAddr,
    /// `-read-interval`.
    pub read_interval_ns: u64,
    /// Whether `-read-interval` was given: then it is obeyed, else it may stretch.
    pub read_interval_given: bool,
    /// `-cleanup-interval`.
    pub cleanup_interval_ns: u64,
    /// `FLUSH_INTERVAL`.
    pub flush_interval_ns: u64,
    /// `-collector-mode`.
    pub mode: Mode,
    /// `-fallback`.
    pub fallback: Fallback,
    /// `-standalone`: no Kubernetes.
    pub standalone: bool,
    /// `-metrics-kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// `NODE_NAME`; the host's name in standalone mode where empty.
    pub node_name: String,
    /// `DAKR_URL`, `CLUSTER_TOKEN`, `CLUSTER_ID`; none unless URL and token are given.
    pub dakr: Option<Dakr>,
    /// `-local-cidrs`.
    pub local_cidrs: Vec<Cidr>,
    /// `-cluster-cidrs`; the default ranges where not given.
    pub cluster_cidrs: Vec<Cidr>,
    /// Whether `-cluster-cidrs` was given.
    pub cluster_cidrs_given: bool,
    /// `-outside-cidrs`.
    pub outside_cidrs: Vec<Cidr>,
    /// `-push-inbound`.
    pub push_inbound: PushInbound,
    /// `-overlay-ports`: UDP ports of tunnels beside the well-known ones.
    pub overlay_ports: Vec<u16>,
    /// `-conntrack-zone`.
    pub conntrack_zone: Zone,
    /// `-max-rows`.
    pub max_rows: u32,
    /// `-max-connections`; worked out at start where not given.
    pub max_connections: Option<u32>,
    /// `-manage-conntrack`: whether accounting, events and tracking may be switched on.
    pub manage_conntrack: bool,
    /// `-metrics-format`.
    pub metrics_format: MetricsFormat,
    /// `-metrics-allow`: who may read beyond `/healthz` and `/readyz`; empty is everyone.
    pub metrics_allow: Vec<Cidr>,
    /// `-record`.
    pub record: Option<PathBuf>,
    /// `-cgroup-root`.
    pub cgroup_root: Option<PathBuf>,
    /// `-log-level`.
    pub log_level: log::LevelFilter,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    /// Run the agent.
    Run(Box<Config>),
    /// Print help.
    Help,
    /// Print the version.
    Version,
}

// Neither the token nor a URL, which may hold credentials, is ever shown.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("mode", &self.mode).field("node_name", &self.node_name).finish_non_exhaustive()
    }
}

/// A setting that cannot be used: one line that names it, its value and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// A configuration in the making.
pub struct Draft {
    config: Config,
    url: String,
    token: String,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    cluster_id: String,
    protocol: DakrProtocol,
}

impl Draft {
    fn empty() -> Draft {
        Draft {
            config: Config {
                metrics_bind: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
                read_interval_ns: 0,
                read_interval_given: false,
                cleanup_interval_ns: 0,
                flush_interval_ns: 0,
                mode: Mode::Netfilter,
                fallback: Fallback::Auto,
                standalone: false,
                kubeconfig: None,
                node_name: String::new(),
                dakr: None,
                local_cidrs: Vec::new(),
                cluster_cidrs: Vec::new(),
                cluster_cidrs_given: false,
                outside_cidrs: Vec::new(),
                push_inbound: PushInbound::External,
                overlay_ports: Vec::new(),
                conntrack_zone: Zone::Auto,
                max_rows: 0,
                max_connections: None,
                manage_conntrack: true,
                metrics_format: MetricsFormat::Prometheus,
                metrics_allow: Vec::new(),
                record: None,
                cgroup_root: None,
                log_level: log::LevelFilter::Info,
            },
            url: String::new(),
            token: String::new(),
            token_file: None,
            ca_file: None,
            cluster_id: String::new(),
            protocol: DakrProtocol::Auto,
        }
    }

    fn set(&mut self, setting: &Setting, given: &str) -> Result<(), UsageError> {
        (setting.read)(self, given).map_err(|allowed| {
            let value = if setting.is_secret() { String::new() } else { format!(" {given:?}") };
            UsageError(format!("invalid value{value} for {}: want {allowed}", setting.written()))
        })
    }

    fn finish(mut self, hostname: Option<OsString>) -> Result<Config, UsageError> {
        let config = &mut self.config;
        if config.node_name.is_empty() && config.standalone {
            config.node_name = hostname.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        }
        if config.node_name.is_empty() && !config.standalone {
            return Err(UsageError(
                "NODE_NAME is not set: without it the agent would watch the pods of the whole cluster (set it from \
                 spec.nodeName, or run with -standalone)"
                    .to_owned(),
            ));
        }
        if !self.url.is_empty() && (!self.token.is_empty() || self.token_file.is_some()) {
            config.dakr = Some(Dakr {
                url: self.url,
                token: self.token,
                cluster_id: self.cluster_id,
                protocol: self.protocol,
                token_file: self.token_file,
                ca_file: self.ca_file,
            });
        }
        Ok(self.config)
    }
}

/// Reads arguments (without the program's name) and environment. `hostname` stands in for NODE_NAME in standalone mode.
///
/// # Errors
/// [`UsageError`] at the first setting that cannot be used.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
    hostname: Option<OsString>,
) -> Result<Command, UsageError> {
    let mut draft = settings::defaults();
    for setting in SETTINGS.iter().filter(|setting| setting.given == Given::Environment) {
        if let Some(given) = environment(setting.name).filter(|given| !given.is_empty()) {
            draft.set(setting, &text(given, setting.name)?)?;
        }
    }
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let argument = text(argument, "an argument")?;
        let Some(flag) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')).filter(|f| !f.is_empty())
        else {
            return Err(UsageError(format!("unexpected argument {argument:?}: only flags are taken (see --help)")));
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        match name {
            "h" | "help" => return Ok(Command::Help),
            "version" => return Ok(Command::Version),
            _ => {}
        }
        let setting = SETTINGS
            .iter()
            .find(|setting| setting.given != Given::Environment && setting.name == name)
            .ok_or_else(|| unknown(name))?;
        let value = match (value, setting.given) {
            (Some(value), _) => value,
            // As in Go: a switch never takes the next argument.
            (None, Given::Switch) => "true".to_owned(),
            (None, _) => match arguments.next() {
                Some(value) => text(value, name)?,
                None => return Err(UsageError(format!("flag -{name} needs a value: {}", setting.value))),
            },
        };
        draft.set(setting, &value)?;
    }
    Ok(Command::Run(Box::new(draft.finish(hostname)?)))
}

fn text(given: OsString, whose: &str) -> Result<String, UsageError> {
    given.into_string().map_err(|_| UsageError(format!("the value of {whose} is not valid UTF-8")))
}

fn unknown(name: &str) -> UsageError {
    let flags = SETTINGS.iter().filter(|setting| setting.given != Given::Environment).map(|setting| setting.name);
    let near = flags.map(|flag| (distance(name, flag), flag)).min().filter(|(distance, _)| *distance <= 3);
    match near {
        Some((_, flag)) => UsageError(format!("unknown flag -{name}: did you mean -{flag}? (see --help)")),
        None => UsageError(format!("unknown flag -{name} (see --help)")),
    }
}

/// Levenshtein's distance, on bytes.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let here = (left + 1).min(*cell + 1).min(diagonal + usize::from(x != y));
            diagonal = *cell;
            *cell = here;
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests;
