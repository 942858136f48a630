//! What a setting is: its name, its help and its default, and the configuration while it is parsed.

use std::path::PathBuf;

use super::proxy::Route;
use super::value::Wanted;
use super::{
    Config, CtZone, Dakr, DakrProtocol, Dns, Fallback, MetricsFormat, Mode, PushInbound, Readers, TopologySource,
};
use crate::logging::Format;

/// Where a setting is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `-name value` or `-name=value`.
    Flag,
    /// `-name`, `-name=true` or `-name=false`.
    Switch,
    /// A variable of the environment.
    Variable,
    /// A variable of the environment whose value is never shown.
    Secret,
}

/// The headings of `--help` and the README, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The source and its intervals.
    Counting,
    /// Which addresses are local, inside or outside.
    Addresses,
    /// The node, the cluster and its API server.
    Place,
    /// The push to the control plane.
    Dakr,
    /// The HTTP endpoints.
    Endpoints,
    /// Sizes of the tables.
    Limits,
    /// Logging and recordings.
    Diagnosis,
}

impl Group {
    /// Every group, in the order of the help.
    pub const ALL: [Group; 7] = [
        Group::Counting,
        Group::Addresses,
        Group::Place,
        Group::Dakr,
        Group::Endpoints,
        Group::Limits,
        Group::Diagnosis,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Group::Counting => "Counting",
            Group::Addresses => "Addresses",
            Group::Place => "Node and cluster",
            Group::Dakr => "Control plane (DAKR)",
            Group::Endpoints => "Endpoints",
            Group::Limits => "Limits",
            Group::Diagnosis => "Diagnosis",
        }
    }
}

/// The form of a value, as help and README show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A placeholder, such as `DURATION`; empty for a switch.
    Word(&'static str),
    /// One of these words; upper-case parts are placeholders, as in `replay:FILE`.
    Choice(&'static [&'static str]),
}

impl Value {
    /// The text that help shows after the name.
    pub fn placeholder(self) -> String {
        match self {
            Value::Word(word) => word.to_owned(),
            Value::Choice(words) => words.join("|"),
        }
    }
}

/// The value of a setting that is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// Parsed as if it had been given.
    Text(&'static str),
    /// Decided at run time; the text describes how.
    Described(&'static str),
}

/// The function that parses the text into its field.
#[derive(Clone, Copy)]
pub(super) enum Apply {
    Text(fn(&mut Draft, &str) -> Result<(), Wanted>),
    /// Need not be UTF-8.
    Path(fn(&mut Draft, Option<PathBuf>)),
}

/// One flag or variable: its name, its help and how it is parsed.
#[derive(Clone, Copy)]
pub struct Setting {
    /// The name without dashes: `read-interval`, `NODE_NAME`.
    pub name: &'static str,
    pub kind: Kind,
    /// The heading that lists it.
    pub group: Group,
    pub value: Value,
    pub default: Default,
    /// One line for `--help`, lower case, without a full stop.
    pub short: &'static str,
    /// Whole sentences that README and man page add; may be empty.
    #[cfg_attr(alone, allow(dead_code, reason = "README and man page are not the agent's"))]
    pub long: &'static str,
    pub(super) apply: Apply,
}

impl Setting {
    /// The name as the user writes it: `-read-interval`, `NODE_NAME`.
    pub fn written(&self) -> String {
        if self.is_flag() { format!("-{}", self.name) } else { self.name.to_owned() }
    }

    /// True for arguments, false for variables of the environment.
    pub fn is_flag(&self) -> bool {
        matches!(self.kind, Kind::Flag | Kind::Switch)
    }
}

/// A configuration while it is parsed.
pub(super) struct Draft {
    pub config: Config,
    /// Becomes `config.dakr` once a URL and a token are known.
    pub dakr: Dakr,
}

impl Draft {
    /// Returns the defaults that are not texts; [`Apply`] parses the others.
    pub fn blank() -> Draft {
        let config = Config {
            metrics_bind: ([0, 0, 0, 0], 0).into(),
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
            dakr_lacks: "",
            local_cidrs: Vec::new(),
            cluster_cidrs: Vec::new(),
            cluster_cidrs_given: false,
            outside_cidrs: Vec::new(),
            topology: None,
            topology_source: TopologySource::None,
            node_zone: String::new(),
            node_region: String::new(),
            zone: String::new(),
            region: String::new(),
            opencost_series: false,
            opencost_hold_ns: 0,
            push_inbound: PushInbound::External,
            overlay_ports: Vec::new(),
            conntrack_zone: CtZone::Auto,
            max_rows: 0,
            max_connections: None,
            manage_conntrack: true,
            metrics_format: MetricsFormat::Prometheus,
            metrics_allow: Readers::Near,
            metrics_hosts: Vec::new(),
            record: None,
            state_dir: None,
            cgroup_root: None,
            cgroup_fs: None,
            cilium_bpf_root: None,
            dns: Dns::Auto,
            dns_ports: Vec::new(),
            log_level: log::LevelFilter::Info,
            log_format: Format::Text,
            given: Vec::new(),
        };
        let dakr = Dakr {
            url: String::new(),
            token: String::new(),
            cluster_id: String::new(),
            protocol: DakrProtocol::Auto,
            token_file: None,
            ca_file: None,
            route: Route::Direct,
        };
        Draft { config, dakr }
    }
}
