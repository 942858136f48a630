//! The flags and the environment, parsed into one validated [`Config`].
//!
//! [`settings`] lists every flag and variable once. Parsing, `--help`, README, man page and completions use that table.
//! Nothing here reads the environment or the host: they are arguments of [`parse`].
//!
//! | part | duty |
//! | --- | --- |
//! | [`setting`] | what a setting is |
//! | [`settings`] | the table: names, groups, defaults, help texts and parsers |
//! | [`parse()`] | parses arguments and environment into a [`Command`] |
//! | `value` | parses single values: addresses, ranges, ports, URL, token |
//! | [`duration`] | parses durations in Go's syntax |
//! | [`proxy`] | picks the proxy that a URL is reached through |
//! | `usage` | what the parsers of arguments share |
//! | `near` | finds the name closest to a misspelt one |
//! | [`tools`] | the commands besides the agent itself |
//! | [`in_force`] | renders the settings of an agent that runs |
//! | `help` | renders the tables as `--help` and as Markdown |

pub mod duration;
mod help;
pub mod in_force;
mod near;
mod parse;
pub mod proxy;
pub mod setting;
pub mod settings;
pub mod tools;
mod usage;
mod value;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::flow::Cidr;
use crate::listed;
use crate::logging::Format;

#[cfg(test)]
use help::readme_table;
pub use help::{help, help_of};
pub use parse::{Command, parse, settings_of};
pub use usage::UsageError;

/// Ports of `-dns-ports` that the programs can compare with (`DNS_PORTS_MAX` in `bpf/dns.h`).
pub const MAX_DNS_PORTS: usize = 8;

/// The source of connections, `-collector-mode`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Conntrack by netlink.
    Netfilter,
    /// Our own BPF programs.
    Ebpf,
    /// Cilium's conntrack maps.
    Cilium,
    /// Conntrack and the programs, each for the ends that it sees whole (rule 21).
    Auto,
    /// A recording made with `-record`.
    Replay(PathBuf),
}

listed! {
    /// The sources, by the names that modes, the state file and series know them by.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum SourceKind {
        /// Conntrack by netlink.
        Netfilter => "netfilter",
        /// Our own BPF programs.
        Ebpf => "ebpf",
        /// Cilium's conntrack maps.
        Cilium => "cilium",
        /// Conntrack and our own BPF programs.
        Auto => "auto",
        /// A recording.
        Replay => "replay",
    }
}

impl SourceKind {
    /// The mode of a source that needs nothing but its name.
    pub fn mode(self) -> Option<Mode> {
        match self {
            SourceKind::Netfilter => Some(Mode::Netfilter),
            SourceKind::Ebpf => Some(Mode::Ebpf),
            SourceKind::Cilium => Some(Mode::Cilium),
            SourceKind::Auto => Some(Mode::Auto),
            SourceKind::Replay => None,
        }
    }

    /// How `-collector-mode` names it.
    pub const fn usage(self) -> &'static str {
        match self {
            SourceKind::Netfilter | SourceKind::Ebpf | SourceKind::Cilium | SourceKind::Auto => self.as_str(),
            SourceKind::Replay => "replay:FILE",
        }
    }
}

impl Mode {
    /// The source that is read.
    pub fn source(&self) -> SourceKind {
        match self {
            Mode::Netfilter => SourceKind::Netfilter,
            Mode::Ebpf => SourceKind::Ebpf,
            Mode::Cilium => SourceKind::Cilium,
            Mode::Auto => SourceKind::Auto,
            Mode::Replay(_) => SourceKind::Replay,
        }
    }

    /// The name on the command line.
    pub fn name(&self) -> &'static str {
        self.source().as_str()
    }
}

/// Who may read rows and metrics at the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readers {
    /// This host, and in a cluster the cluster's ranges.
    Near,
    Everyone,
    Of(Vec<Cidr>),
}

listed! {
    /// Which inbound rows are pushed (rule 9).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum PushInbound {
        /// Rows whose originator is outside.
        External => "external",
        All => "all",
        None => "none",
    }
}

listed! {
    /// Where ranges come from besides `-topology`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum TopologySource {
        /// From nowhere.
        #[default]
        None => "none",
        /// From the kernel's routes.
        Routes => "routes",
        /// From all nodes of the cluster.
        Nodes => "nodes",
    }
}

/// Which conntrack zone is counted (rule 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtZone {
    /// Chosen at the first complete sweep.
    Auto,
    Fixed(u16),
}

listed! {
    /// What the agent does if the wanted mode cannot run.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Fallback {
        /// Run the next best mode, degraded.
        Auto => "auto",
        /// Exit with status 1.
        None => "none",
    }
}

listed! {
    /// The format of `/metrics` for a client that requests none.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum MetricsFormat {
        /// Prometheus text.
        Prometheus => "prometheus",
        /// The incumbent's JSON.
        Json => "json",
    }
}

listed! {
    /// Framing of the push.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum DakrProtocol {
        /// Connect first, then gRPC-Web, then gRPC, until one works.
        Auto => "auto",
        Connect => "connect",
        GrpcWeb => "grpc-web",
        /// gRPC framing over HTTP/1.1.
        Grpc => "grpc",
    }
}

listed! {
    /// Whether the agent learns domain names from DNS answers.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Dns {
        /// If the capabilities are granted; if they are not, it is off, and no fault.
        Auto => "auto",
        /// What it lacks degrades health.
        On => "on",
        Off => "off",
    }
}

/// Address and credentials of the control plane.
#[derive(Clone, PartialEq, Eq)]
pub struct Dakr {
    /// Base URL with its scheme and without a trailing slash; may contain a path. May contain credentials: never logged.
    pub url: String,
    /// Bearer token: never logged.
    pub token: String,
    /// `CLUSTER_ID`, empty if not given.
    pub cluster_id: String,
    pub protocol: DakrProtocol,
    /// `-token-file`: takes precedence over `token`; read again when it changes and when DAKR refuses the token.
    pub token_file: Option<PathBuf>,
    /// `-ca-file`: PEM certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// `HTTPS_PROXY` or `HTTP_PROXY`, and `NO_PROXY`: the way to the URL.
    pub route: proxy::Route,
}

impl fmt::Debug for Dakr {
    /// Without the token, and without the credentials of the URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dakr")
            .field("url", &value::without_credentials(&self.url))
            .field("cluster_id", &self.cluster_id)
            .field("protocol", &self.protocol)
            .field("token_file", &self.token_file)
            .field("ca_file", &self.ca_file)
            .field("route", &self.route)
            .finish_non_exhaustive()
    }
}

/// The agent's settings, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `-metrics-bind-address`; `:8081` is every address of both families.
    pub metrics_bind: SocketAddr,
    /// `-read-interval`.
    pub read_interval_ns: u64,
    /// Whether `-read-interval` was given. If not, the interval may stretch.
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
    /// `NODE_NAME`; in standalone mode the host's name if it is empty.
    pub node_name: String,
    /// `DAKR_URL`, `CLUSTER_TOKEN`, `CLUSTER_ID`; `None` unless URL and token are given.
    pub dakr: Option<Dakr>,
    /// The variable that is missing where one of URL and token is given, else empty.
    pub dakr_lacks: &'static str,
    /// `-local-cidrs`.
    pub local_cidrs: Vec<Cidr>,
    /// `-cluster-cidrs`; the default ranges if not given.
    pub cluster_cidrs: Vec<Cidr>,
    /// Whether `-cluster-cidrs` was given.
    pub cluster_cidrs_given: bool,
    /// `-outside-cidrs`.
    pub outside_cidrs: Vec<Cidr>,
    /// `-topology`: ranges of zones, regions and services.
    pub topology: Option<PathBuf>,
    /// `-topology-source`.
    pub topology_source: TopologySource,
    /// `NODE_ZONE`: this node's, by the labels that its pods have; empty if not given.
    pub node_zone: String,
    /// `NODE_REGION`, likewise.
    pub node_region: String,
    /// `-zone`: this node's, where no label tells it; empty if not given.
    pub zone: String,
    /// `-region`, likewise.
    pub region: String,
    /// `-opencost-series`: whether the series that OpenCost asks for are shown.
    pub opencost_series: bool,
    /// `-opencost-hold`: how long a new one of them is shown as 0.
    pub opencost_hold_ns: u64,
    /// `-push-inbound`.
    pub push_inbound: PushInbound,
    /// `-overlay-ports`: UDP ports of tunnels besides the well-known ones.
    pub overlay_ports: Vec<u16>,
    /// `-conntrack-zone`.
    pub conntrack_zone: CtZone,
    /// `-max-rows`; its default follows the memory limit at the start.
    pub max_rows: u32,
    /// `-max-connections`; computed at start if not given.
    pub max_connections: Option<u32>,
    /// `-manage-conntrack`: whether the agent may switch on accounting, events and tracking.
    pub manage_conntrack: bool,
    /// `-metrics-format`.
    pub metrics_format: MetricsFormat,
    /// `-metrics-allow`: clients that may read more than `/healthz` and `/readyz`.
    pub metrics_allow: Readers,
    /// `-metrics-hosts`: further names that the endpoint answers to.
    pub metrics_hosts: Vec<String>,
    /// `-record`.
    pub record: Option<PathBuf>,
    /// `-state-dir`.
    pub state_dir: Option<PathBuf>,
    /// `-cgroup-root`: the cgroup to attach to; the root of the cgroup2 hierarchy if not given.
    pub cgroup_root: Option<PathBuf>,
    /// `-cgroup-fs`: mount point of the host's cgroup tree, whose ids identify pods.
    pub cgroup_fs: Option<PathBuf>,
    /// `-cilium-bpf-root`: where Cilium's maps are pinned.
    pub cilium_bpf_root: Option<PathBuf>,
    /// `-dns`.
    pub dns: Dns,
    /// `-dns-ports`: ports of servers whose answers are read.
    pub dns_ports: Vec<u16>,
    /// `-log-level`.
    pub log_level: log::LevelFilter,
    /// `-log-format`.
    pub log_format: Format,
    /// What was given, as it was written: by name, the last of several. Nothing secret.
    pub given: Vec<(&'static str, String)>,
}
