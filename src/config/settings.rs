//! The one table of everything that can be set: flags and environment. `--help`, the README and the chart's comments
//! are made from it, and parsing runs over it.

use std::path::PathBuf;

use super::value::{self, Allowed};
use super::{Config, DakrProtocol, Draft, Fallback, MetricsFormat, Mode, PushInbound, Zone};
use crate::clock::{MS, SECOND};

/// How a setting is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// `-name value`.
    Flag,
    /// `-name` or `-name=false`.
    Switch,
    /// An environment variable.
    Environment,
}

/// Under which heading a setting stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// What is read, and how often.
    Collecting,
    /// Which addresses are whose, and what is pushed.
    Addresses,
    /// The push.
    Push,
    /// The local endpoint and the log.
    Local,
    /// Bounds and side effects.
    Limits,
}

impl Group {
    /// All of them, in order, with their headings.
    pub const ALL: [(Group, &'static str); 5] = [
        (Group::Collecting, "What is read, and how often"),
        (Group::Addresses, "Which addresses are whose, and what is pushed"),
        (Group::Push, "The push to DAKR"),
        (Group::Local, "The local endpoint and the log"),
        (Group::Limits, "Bounds and side effects"),
    ];
}

/// One setting.
pub struct Setting {
    /// Flag without its dash, or name of the variable.
    pub name: &'static str,
    /// How it is given.
    pub given: Given,
    /// Its heading.
    pub group: Group,
    /// What stands for its value in help.
    pub value: &'static str,
    /// Its default, as text; empty where there is none.
    pub default: &'static str,
    /// One or two sentences.
    pub help: &'static str,
    /// Reads it. The error says what is allowed.
    pub read: fn(&mut Draft, &str) -> Result<(), Allowed>,
}

use Given::{Environment, Flag, Switch};
use Group::{Addresses, Collecting, Limits, Local, Push};

macro_rules! settings {
    ($( $given:ident $group:ident $name:literal $value:literal = $default:literal, $help:literal, $read:expr; )*) => {
        /// Every setting, in the order of help.
        pub const SETTINGS: &[Setting] = &[ $( Setting {
            name: $name, given: $given, group: $group, value: $value, default: $default, help: $help, read: $read,
        }, )* ];
    };
}

settings! {
    Flag Collecting "collector-mode" "MODE" = "netfilter",
        "Where connections are read from: netfilter (conntrack by netlink), ebpf (our own BPF programs), or replay:FILE \
         (a recording made with -record).",
        |d, v| { d.config.mode = mode(v)?; Ok(()) };
    Flag Collecting "fallback" "POLICY" = "auto",
        "What to do when that mode cannot run here: auto runs the next best one and says so in health, none exits \
         with status 1.",
        |d, v| { d.config.fallback = value::word(v, &[("auto", Fallback::Auto), ("none", Fallback::None)])?; Ok(()) };
    Switch Collecting "standalone" "" = "false",
        "Run without Kubernetes: local ends are this host's addresses and -local-cidrs.",
        |d, v| { d.config.standalone = value::boolean(v)?; Ok(()) };
    Flag Collecting "read-interval" "DURATION" = "5s",
        "Time between sweeps. Given, it is obeyed; left alone, it stretches by itself so that sweeps cost at most 2 % of \
         a core, with the same totals.",
        |d, v| {
            d.config.read_interval_ns = value::interval_ns(v, 100 * MS)?;
            d.config.read_interval_given = true;
            Ok(())
        };
    Flag Collecting "cleanup-interval" "DURATION" = "60s",
        "Time between removals of rows that are delivered and idle.",
        |d, v| { d.config.cleanup_interval_ns = value::interval_ns(v, SECOND)?; Ok(()) };
    Flag Collecting "conntrack-zone" "ZONE" = "auto",
        "Which conntrack zone is counted: auto (zone 0 if it holds a local end, else the zone with the most) or a number.",
        |d, v| {
            d.config.conntrack_zone = match v {
                "auto" => Zone::Auto,
                _ => Zone::Fixed(value::within(v, 0, 65_535).map_err(|allowed| format!("auto or {allowed}"))? as u16),
            };
            Ok(())
        };
    Flag Collecting "cgroup-root" "DIR" = "",
        "Where the BPF programs of mode ebpf are attached, instead of the root of the cgroup2 hierarchy.",
        |d, v| { d.config.cgroup_root = Some(path(v)?); Ok(()) };
    Flag Collecting "record" "FILE" = "",
        "Writes what the kernel says, for -collector-mode replay:FILE.",
        |d, v| { d.config.record = Some(path(v)?); Ok(()) };
    Flag Collecting "metrics-kubeconfig" "FILE" = "",
        "Kubeconfig for the API server; without it the in-cluster credentials, then ~/.kube/config.",
        |d, v| { d.config.kubeconfig = Some(path(v)?); Ok(()) };
    Environment Collecting "NODE_NAME" "NAME" = "",
        "Name of this node. Required in a cluster; standalone it defaults to the host's name.",
        |d, v| { v.clone_into(&mut d.config.node_name); Ok(()) };

    Flag Addresses "local-cidrs" "CIDR,…" = "",
        "Address ranges that live on this host beside its own addresses, such as those of its containers.",
        |d, v| { d.config.local_cidrs = value::cidrs(v)?; Ok(()) };
    Flag Addresses "cluster-cidrs" "CIDR,…" = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,169.254.0.0/16,fc00::/7,fe80::/10",
        "What is inside. Given, it replaces the default.",
        |d, v| {
            d.config.cluster_cidrs = value::cidrs(v)?;
            d.config.cluster_cidrs_given = true;
            Ok(())
        };
    Flag Addresses "outside-cidrs" "CIDR,…" = "",
        "What is outside although it lies in those ranges: peered networks, load balancers with private addresses.",
        |d, v| { d.config.outside_cidrs = value::cidrs(v)?; Ok(()) };
    Flag Addresses "push-inbound" "WHICH" = "external",
        "Which inbound rows are pushed: external (opened from outside), all or none. A connection within the cluster is \
         reported by its originator's node.",
        |d, v| {
            let words =
                [("external", PushInbound::External), ("all", PushInbound::All), ("none", PushInbound::None)];
            d.config.push_inbound = value::word(v, &words)?;
            Ok(())
        };
    Flag Addresses "overlay-ports" "PORT,…" = "",
        "UDP ports of node-to-node tunnels beside the well-known ones; tunnels are shown, never pushed.",
        |d, v| { d.config.overlay_ports = value::ports(v)?; Ok(()) };

    Environment Push "DAKR_URL" "URL" = "",
        "Base URL of the control plane, with http:// or https://. Without it, or without a token, nothing is pushed.",
        |d, v| { d.url = url(v)?; Ok(()) };
    Environment Push "CLUSTER_TOKEN" "TOKEN" = "",
        "Bearer token.",
        |d, v| { d.token = token(v)?; Ok(()) };
    Environment Push "CLUSTER_ID" "ID" = "",
        "Id of the cluster, sent where given.",
        |d, v| { v.clone_into(&mut d.cluster_id); Ok(()) };
    Environment Push "FLUSH_INTERVAL" "DURATION" = "60s",
        "Time between pushes.",
        |d, v| { d.config.flush_interval_ns = value::interval_ns(v, SECOND)?; Ok(()) };
    Flag Push "token-file" "FILE" = "",
        "Holds the token instead of CLUSTER_TOKEN; read again when it changes or is refused.",
        |d, v| { d.token_file = Some(path(v)?); Ok(()) };
    Flag Push "ca-file" "FILE" = "",
        "PEM certificates trusted beside those of the system.",
        |d, v| { d.ca_file = Some(path(v)?); Ok(()) };
    Flag Push "dakr-protocol" "FRAMING" = "auto",
        "Framing of the push: connect, grpc-web, grpc, or auto, which tries them in this order.",
        |d, v| {
            let words = [
                ("auto", DakrProtocol::Auto),
                ("connect", DakrProtocol::Connect),
                ("grpc-web", DakrProtocol::GrpcWeb),
                ("grpc", DakrProtocol::Grpc),
            ];
            d.protocol = value::word(v, &words)?;
            Ok(())
        };

    Flag Local "metrics-bind-address" "ADDRESS" = ":8081",
        "Where the endpoint listens: /, /flows, /metrics, /healthz, /readyz.",
        |d, v| { d.config.metrics_bind = value::bind(v)?; Ok(()) };
    Flag Local "metrics-format" "FORMAT" = "prometheus",
        "What /metrics says to who asks for no format: prometheus, or json as the incumbent.",
        |d, v| {
            let words = [("prometheus", MetricsFormat::Prometheus), ("json", MetricsFormat::Json)];
            d.config.metrics_format = value::word(v, &words)?;
            Ok(())
        };
    Flag Local "metrics-allow" "CIDR,…" = "",
        "Who may read more than /healthz and /readyz; empty is everyone.",
        |d, v| { d.config.metrics_allow = value::cidrs(v)?; Ok(()) };
    Flag Local "log-level" "LEVEL" = "info",
        "off, error, warn, info, debug or trace. RUST_LOG goes before it.",
        |d, v| {
            d.config.log_level = v.parse().map_err(|_| "one of off, error, warn, info, debug, trace".to_owned())?;
            Ok(())
        };

    Flag Limits "max-rows" "N" = "65536",
        "Rows at most; beyond it the smallest lose their remote address, never their bytes.",
        |d, v| { d.config.max_rows = value::within(v, 32, 1 << 22)? as u32; Ok(()) };
    Flag Limits "max-connections" "N" = "",
        "Connections that are followed at most. By default the smaller of nf_conntrack_max and what a quarter of the \
         memory limit holds.",
        |d, v| { d.config.max_connections = Some(value::within(v, 1, 1 << 24)? as u32); Ok(()) };
    Switch Limits "manage-conntrack" "" = "true",
        "Whether accounting and events of conntrack, and standalone tracking itself, may be switched on.",
        |d, v| { d.config.manage_conntrack = value::boolean(v)?; Ok(()) };
}

fn mode(text: &str) -> Result<Mode, Allowed> {
    match text {
        "netfilter" => Ok(Mode::Netfilter),
        "ebpf" => Ok(Mode::Ebpf),
        "cilium" => Err("netfilter, ebpf or replay:FILE; cilium does not exist yet".to_owned()),
        _ => match text.strip_prefix("replay:") {
            Some(file) if !file.is_empty() => Ok(Mode::Replay(PathBuf::from(file))),
            _ => Err("netfilter, ebpf or replay:FILE".to_owned()),
        },
    }
}

fn path(text: &str) -> Result<PathBuf, Allowed> {
    if text.is_empty() { Err("a path".to_owned()) } else { Ok(PathBuf::from(text)) }
}

fn url(text: &str) -> Result<String, Allowed> {
    const ALLOWED: &str = "a URL with http:// or https:// and a host";
    let text = text.trim();
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or(ALLOWED)?;
    let host = rest.split('/').next().unwrap_or_default();
    if host.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(ALLOWED.to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn token(text: &str) -> Result<String, Allowed> {
    let text = text.trim();
    if text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("printable ASCII without white space within".to_owned())
    }
}

impl Setting {
    /// Whether its value must not be repeated in an error.
    pub fn is_secret(&self) -> bool {
        matches!(self.name, "DAKR_URL" | "CLUSTER_TOKEN")
    }

    /// As it is written: `-name` or `NAME`.
    pub fn written(&self) -> String {
        match self.given {
            Environment => self.name.to_owned(),
            Flag | Switch => format!("-{}", self.name),
        }
    }
}

/// The settings as they are where nothing is given.
pub(super) fn defaults() -> Draft {
    let mut draft = Draft::empty();
    for setting in SETTINGS.iter().filter(|setting| !setting.default.is_empty()) {
        let read = (setting.read)(&mut draft, setting.default);
        debug_assert!(read.is_ok(), "the default of {} is valid", setting.name);
    }
    let config: &mut Config = &mut draft.config;
    config.read_interval_given = false;
    config.cluster_cidrs_given = false;
    draft
}
