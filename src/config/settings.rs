//! The settings: one table of every flag and environment variable.

use std::path::PathBuf;

use super::value::{self, Wanted};
use super::{
    Config, CtZone, Dakr, DakrProtocol, Dns, Fallback, MAX_DNS_PORTS, MetricsFormat, Mode, PushInbound, SourceKind,
};
use crate::clock::{MS, SECOND};

/// What `-collector-mode` takes.
pub const MODES: &[&str] = &{
    let mut modes = [""; SourceKind::ALL.len()];
    let mut at = 0;
    while at < modes.len() {
        modes[at] = SourceKind::ALL[at].usage();
        at += 1;
    }
    modes
};

/// How a setting is given.
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
    /// What is read and how often.
    Counting,
    /// Whose addresses are whose.
    Addresses,
    /// The node, the cluster and its API server.
    Place,
    /// The push.
    Dakr,
    /// The HTTP endpoints.
    Endpoints,
    /// Bounds.
    Limits,
    /// Log and recordings.
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

    /// The heading.
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

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A placeholder, such as `DURATION`; empty for a switch.
    Word(&'static str),
    /// One of these. Those with an upper-case part hold a value of their own.
    Choice(&'static [&'static str]),
}

impl Value {
    /// As it stands behind the name.
    pub fn placeholder(self) -> String {
        match self {
            Value::Word(word) => word.to_owned(),
            Value::Choice(words) => words.join("|"),
        }
    }
}

/// What holds where a setting is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// This text, read as if it had been given.
    Text(&'static str),
    /// What these words say.
    Described(&'static str),
}

/// What turns a text into the field.
#[derive(Clone, Copy)]
pub(super) enum Apply {
    Text(fn(&mut Draft, &str) -> Result<(), Wanted>),
    /// Need not be UTF-8.
    Path(fn(&mut Draft, Option<PathBuf>)),
}

/// One setting.
#[derive(Clone, Copy)]
pub struct Setting {
    /// Without dashes: `read-interval`, `NODE_NAME`.
    pub name: &'static str,
    /// How it is given.
    pub kind: Kind,
    /// Under which heading it stands.
    pub group: Group,
    /// What its value looks like.
    pub value: Value,
    /// What holds without it.
    pub default: Default,
    /// One line.
    pub short: &'static str,
    /// What else there is to know, in whole sentences; may be empty.
    pub long: &'static str,
    pub(super) apply: Apply,
}

impl Setting {
    /// As it is written where it is given: `-read-interval`, `NODE_NAME`.
    pub fn written(&self) -> String {
        if self.is_flag() { format!("-{}", self.name) } else { self.name.to_owned() }
    }

    /// Whether it is given as an argument.
    pub fn is_flag(&self) -> bool {
        matches!(self.kind, Kind::Flag | Kind::Switch)
    }
}

/// A configuration that is being filled in.
pub(super) struct Draft {
    pub config: Config,
    /// Becomes `config.dakr` if there is enough of it.
    pub dakr: Dakr,
}

impl Draft {
    /// One that holds what is described in words; texts follow by [`Apply`].
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
            local_cidrs: Vec::new(),
            cluster_cidrs: Vec::new(),
            cluster_cidrs_given: false,
            outside_cidrs: Vec::new(),
            push_inbound: PushInbound::External,
            overlay_ports: Vec::new(),
            conntrack_zone: CtZone::Auto,
            max_rows: 0,
            max_connections: None,
            manage_conntrack: true,
            metrics_format: MetricsFormat::Prometheus,
            metrics_allow: Vec::new(),
            record: None,
            state_dir: None,
            cgroup_root: None,
            cgroup_fs: None,
            cilium_bpf_root: None,
            dns: Dns::Auto,
            dns_ports: Vec::new(),
            log_level: log::LevelFilter::Info,
        };
        let dakr = Dakr {
            url: String::new(),
            token: String::new(),
            cluster_id: String::new(),
            protocol: DakrProtocol::Auto,
            token_file: None,
            ca_file: None,
        };
        Draft { config, dakr }
    }
}

const SWITCH: Value = Value::Word("");
const DURATION: Value = Value::Word("DURATION");
const CIDRS: Value = Value::Word("CIDR,…");
const PATH: Value = Value::Word("PATH");
const NONE: Default = Default::Described("none");

/// Everything that can be set, in the order of the help.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "collector-mode", kind: Kind::Flag, group: Group::Counting, value: Value::Choice(MODES),
        default: Default::Text("netfilter"),
        short: "where connections are read from",
        long: "`netfilter` reads the kernel's connection tracking by netlink and needs `CAP_NET_ADMIN` alone; \
               `ebpf` counts by programs of its own and needs `CAP_BPF` too; `cilium` reads Cilium's maps, and counts \
               as `ebpf` where they hold sums or nothing. `replay:FILE` plays a recording made with `-record`.",
        apply: Apply::Text(|draft, text| set(&mut draft.config.mode, mode(text), Value::Choice(MODES))),
    },
    Setting {
        name: "fallback", kind: Kind::Flag, group: Group::Counting, value: FALLBACKS, default: Default::Text("auto"),
        short: "what to do where the mode cannot run",
        long: "`auto` runs the next best one (cilium, ebpf, netfilter), degraded; `none` exits with status 1.",
        apply: Apply::Text(|draft, text| {
            let fallback = match text { "auto" => Some(Fallback::Auto), "none" => Some(Fallback::None), _ => None };
            set(&mut draft.config.fallback, fallback, FALLBACKS)
        }),
    },
    Setting {
        name: "read-interval", kind: Kind::Flag, group: Group::Counting, value: DURATION, default: Default::Text("5s"),
        short: "time from sweep to sweep, at least 100ms",
        long: "Left alone, it stretches by itself where sweeps would take more than 2 % of a core; given, it is obeyed.",
        apply: Apply::Text(|draft, text| {
            draft.config.read_interval_ns = value::interval_ns(text, 100 * MS)?;
            draft.config.read_interval_given = true;
            Ok(())
        }),
    },
    Setting {
        name: "cleanup-interval", kind: Kind::Flag, group: Group::Counting, value: DURATION,
        default: Default::Text("60s"),
        short: "time between clean-ups of what is gone and settled, at least 1s",
        long: "",
        apply: Apply::Text(|draft, text| {
            draft.config.cleanup_interval_ns = value::interval_ns(text, SECOND)?;
            Ok(())
        }),
    },
    Setting {
        name: "conntrack-zone", kind: Kind::Flag, group: Group::Counting, value: ZONES, default: Default::Text("auto"),
        short: "the one conntrack zone that is counted",
        long: "OVN, Open vSwitch and Antrea track a connection in several zones. `auto` takes zone 0 if it holds a \
               local end, else the zone that holds the most.",
        apply: Apply::Text(|draft, text| {
            let ct_zone = match text {
                "auto" => Some(CtZone::Auto),
                number => value::number(number, 0, 65_535).ok().map(|ct_zone| CtZone::Fixed(ct_zone as u16)),
            };
            set(&mut draft.config.conntrack_zone, ct_zone, ZONES)
        }),
    },
    Setting {
        name: "manage-conntrack", kind: Kind::Switch, group: Group::Counting, value: SWITCH,
        default: Default::Text("true"),
        short: "switch on accounting and events where they are off",
        long: "With `-standalone` tracking too, by an nftables table that goes when the agent goes. With \
               `-manage-conntrack=false` nothing of the host is changed.",
        apply: Apply::Text(|draft, text| switch(&mut draft.config.manage_conntrack, text)),
    },
    Setting {
        name: "cgroup-root", kind: Kind::Flag, group: Group::Counting, value: PATH,
        default: Default::Described("the root of the cgroup2 hierarchy"),
        short: "the cgroup that the BPF programs of mode ebpf are attached to",
        long: "",
        apply: Apply::Path(|draft, path| draft.config.cgroup_root = path),
    },
    Setting {
        name: "cgroup-fs", kind: Kind::Flag, group: Group::Counting, value: PATH,
        default: Default::Described("from mountinfo"),
        short: "the host's cgroup2 tree, by which sockets are told to be a pod's",
        long: "Used in a cluster; where it is no cgroup2 tree the one in mountinfo is taken. Without any, pods on the node's network are counted as the node.",
        apply: Apply::Path(|draft, path| draft.config.cgroup_fs = path),
    },
    Setting {
        name: "cilium-bpf-root", kind: Kind::Flag, group: Group::Counting, value: PATH,
        default: Default::Described("/sys/fs/bpf, then /run/cilium/bpffs"),
        short: "the BPF file system in which Cilium pins its maps",
        long: "They are looked for in `tc/globals` below it, in the folder itself, and in `cilium`.",
        apply: Apply::Path(|draft, path| draft.config.cilium_bpf_root = path),
    },
    Setting {
        name: "dns", kind: Kind::Flag, group: Group::Counting, value: DNS, default: Default::Text("auto"),
        short: "learn the names of addresses from DNS answers",
        long: "Reads the answers that the node's sockets receive, by a BPF program, whatever the mode. It takes CAP_BPF and \
               CAP_NET_ADMIN; without them names are missing and nothing else is.",
        apply: Apply::Text(|draft, text| {
            let dns = match text { "auto" => Some(Dns::Auto), "off" => Some(Dns::Off), _ => None };
            set(&mut draft.config.dns, dns, DNS)
        }),
    },
    Setting {
        name: "dns-ports", kind: Kind::Flag, group: Group::Counting, value: Value::Word("PORT,…"),
        default: Default::Text("53"),
        short: "ports of DNS servers whose answers are read",
        long: "At most eight. Where a service has its server on another port (53 to 5353), both.",
        apply: Apply::Text(|draft, text| {
            let ports = value::ports(text)?;
            if !(1..=MAX_DNS_PORTS).contains(&ports.len()) {
                return Err("one to eight ports separated by commas, such as 53,5353".to_owned());
            }
            draft.config.dns_ports = ports;
            Ok(())
        }),
    },

    Setting {
        name: "local-cidrs", kind: Kind::Flag, group: Group::Addresses, value: CIDRS, default: NONE,
        short: "ranges of local ends beside the host's own addresses",
        long: "For containers or virtual machines behind this host's bridges.",
        apply: Apply::Text(|draft, text| {
            draft.config.local_cidrs = value::ranges(text)?;
            Ok(())
        }),
    },
    Setting {
        name: "cluster-cidrs", kind: Kind::Flag, group: Group::Addresses, value: CIDRS,
        default: Default::Text("10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,169.254.0.0/16,fc00::/7,fe80::/10"),
        short: "ranges that are inside the cluster",
        long: "Given, it replaces the default. Public addresses of other nodes belong into it.",
        apply: Apply::Text(|draft, text| {
            let ranges = value::ranges(text)?;
            // An empty value is what a template leaves behind, not a cluster without addresses.
            if !ranges.is_empty() {
                draft.config.cluster_cidrs = ranges;
                draft.config.cluster_cidrs_given = true;
            }
            Ok(())
        }),
    },
    Setting {
        name: "outside-cidrs", kind: Kind::Flag, group: Group::Addresses, value: CIDRS, default: NONE,
        short: "ranges that are outside although -cluster-cidrs holds them",
        long: "Peered networks, load balancers with private addresses.",
        apply: Apply::Text(|draft, text| {
            draft.config.outside_cidrs = value::ranges(text)?;
            Ok(())
        }),
    },
    Setting {
        name: "overlay-ports", kind: Kind::Flag, group: Group::Addresses, value: Value::Word("PORT,…"), default: NONE,
        short: "UDP ports of tunnels between nodes, beside the well-known ones",
        long: "VXLAN (4789, 8472), Geneve (6081), WireGuard (51820, 51821, 51871) and IPsec (4500) are known. What a \
               tunnel carries is counted already, so the tunnel itself is shown and never pushed.",
        apply: Apply::Text(|draft, text| {
            draft.config.overlay_ports = value::ports(text)?;
            Ok(())
        }),
    },

    Setting {
        name: "standalone", kind: Kind::Switch, group: Group::Place, value: SWITCH, default: Default::Text("false"),
        short: "run without Kubernetes: the local ends are this host's addresses",
        long: "",
        apply: Apply::Text(|draft, text| switch(&mut draft.config.standalone, text)),
    },
    Setting {
        name: "metrics-kubeconfig", kind: Kind::Flag, group: Group::Place, value: Value::Word("FILE"),
        default: Default::Described("the service account, then ~/.kube/config"),
        short: "how to reach the API server",
        long: "",
        apply: Apply::Path(|draft, path| draft.config.kubeconfig = path),
    },
    Setting {
        name: "NODE_NAME", kind: Kind::Variable, group: Group::Place, value: Value::Word("NAME"),
        default: Default::Described("with -standalone the host's name"),
        short: "the node whose pods are counted",
        long: "Required in a cluster: `fieldRef: spec.nodeName`.",
        apply: Apply::Text(|draft, text| {
            draft.config.node_name = value::name(text)?;
            Ok(())
        }),
    },

    Setting {
        name: "DAKR_URL", kind: Kind::Secret, group: Group::Dakr, value: Value::Word("URL"), default: NONE,
        short: "where rows are pushed to",
        long: "Base URL, with or without a path. Nothing is pushed unless there is a token too. `HTTPS_PROXY`, \
               `HTTP_PROXY` and `NO_PROXY` are obeyed.",
        apply: Apply::Text(|draft, text| {
            draft.dakr.url = value::base_url(text)?;
            Ok(())
        }),
    },
    Setting {
        name: "CLUSTER_TOKEN", kind: Kind::Secret, group: Group::Dakr, value: Value::Word("TOKEN"), default: NONE,
        short: "bearer token for DAKR",
        long: "",
        apply: Apply::Text(|draft, text| {
            draft.dakr.token = value::token(text)?;
            Ok(())
        }),
    },
    Setting {
        name: "token-file", kind: Kind::Flag, group: Group::Dakr, value: Value::Word("FILE"), default: NONE,
        short: "file that holds the token, before CLUSTER_TOKEN",
        long: "Read again when it changes and when the token is refused.",
        apply: Apply::Path(|draft, path| draft.dakr.token_file = path),
    },
    Setting {
        name: "CLUSTER_ID", kind: Kind::Variable, group: Group::Dakr, value: Value::Word("ID"), default: NONE,
        short: "the cluster's id in DAKR",
        long: "",
        apply: Apply::Text(|draft, text| {
            draft.dakr.cluster_id = value::name(text)?;
            Ok(())
        }),
    },
    Setting {
        name: "FLUSH_INTERVAL", kind: Kind::Variable, group: Group::Dakr, value: DURATION,
        default: Default::Text("60s"),
        short: "time from push to push, at least 1s",
        long: "The first one comes at any moment of the first interval, spread by the node's name.",
        apply: Apply::Text(|draft, text| {
            draft.config.flush_interval_ns = value::interval_ns(text, SECOND)?;
            Ok(())
        }),
    },
    Setting {
        name: "push-inbound", kind: Kind::Flag, group: Group::Dakr, value: INBOUND, default: Default::Text("external"),
        short: "which inbound rows are pushed",
        long: "`external`: those whose originator is outside, for what begins inside is reported by the node where it \
               begins. Whatever is pushed, the endpoints show both directions.",
        apply: Apply::Text(|draft, text| {
            let policy = match text {
                "external" => Some(PushInbound::External),
                "all" => Some(PushInbound::All),
                "none" => Some(PushInbound::None),
                _ => None,
            };
            set(&mut draft.config.push_inbound, policy, INBOUND)
        }),
    },
    Setting {
        name: "dakr-protocol", kind: Kind::Flag, group: Group::Dakr, value: PROTOCOLS, default: Default::Text("auto"),
        short: "framing of the push",
        long: "`auto` takes the first that works. All of them over HTTP/1.1.",
        apply: Apply::Text(|draft, text| {
            let protocol = match text {
                "auto" => Some(DakrProtocol::Auto),
                "connect" => Some(DakrProtocol::Connect),
                "grpc-web" => Some(DakrProtocol::GrpcWeb),
                "grpc" => Some(DakrProtocol::Grpc),
                _ => None,
            };
            set(&mut draft.dakr.protocol, protocol, PROTOCOLS)
        }),
    },
    Setting {
        name: "ca-file", kind: Kind::Flag, group: Group::Dakr, value: Value::Word("FILE"), default: NONE,
        short: "PEM certificates to trust for DAKR beside the system's",
        long: "",
        apply: Apply::Path(|draft, path| draft.dakr.ca_file = path),
    },
    Setting {
        name: "state-dir", kind: Kind::Flag, group: Group::Dakr, value: Value::Word("FOLDER"), default: NONE,
        short: "where what is not settled outlives the process",
        long: "",
        apply: Apply::Path(|draft, path| draft.config.state_dir = path),
    },

    Setting {
        name: "metrics-bind-address", kind: Kind::Flag, group: Group::Endpoints, value: Value::Word("[HOST]:PORT"),
        default: Default::Text(":8081"),
        short: "where /metrics, /flows, /healthz, /readyz and the page are served",
        long: "Without a host on every address, IPv4 and IPv6.",
        apply: Apply::Text(|draft, text| {
            draft.config.metrics_bind = value::bind_address(text)?;
            Ok(())
        }),
    },
    Setting {
        name: "metrics-allow", kind: Kind::Flag, group: Group::Endpoints, value: CIDRS,
        default: Default::Described("everyone"),
        short: "who may read more than /healthz and /readyz",
        long: "",
        apply: Apply::Text(|draft, text| {
            draft.config.metrics_allow = value::ranges(text)?;
            Ok(())
        }),
    },
    Setting {
        name: "metrics-format", kind: Kind::Flag, group: Group::Endpoints, value: FORMATS,
        default: Default::Text("prometheus"),
        short: "what /metrics says to those who do not ask for a format",
        long: "`json` is what `/flows` says.",
        apply: Apply::Text(|draft, text| {
            let format = match text {
                "prometheus" => Some(MetricsFormat::Prometheus),
                "json" => Some(MetricsFormat::Json),
                _ => None,
            };
            set(&mut draft.config.metrics_format, format, FORMATS)
        }),
    },

    Setting {
        name: "max-rows", kind: Kind::Flag, group: Group::Limits, value: Value::Word("N"),
        default: Default::Text("65536"),
        short: "rows at most; beyond, the smallest are folded together",
        long: "No byte is lost by folding: the remote address becomes its /24 or /64, then its class.",
        apply: Apply::Text(|draft, text| {
            draft.config.max_rows = value::number(text, 32, 1 << 22)?;
            Ok(())
        }),
    },
    Setting {
        name: "max-connections", kind: Kind::Flag, group: Group::Limits, value: Value::Word("N"),
        default: Default::Described("what the kernel tracks at most, within a quarter of the memory limit"),
        short: "connections followed at most; beyond, their bytes are counted as lost",
        long: "",
        apply: Apply::Text(|draft, text| {
            draft.config.max_connections = Some(value::number(text, 1, 1 << 24)?);
            Ok(())
        }),
    },

    Setting {
        name: "log-level", kind: Kind::Flag, group: Group::Diagnosis, value: LEVELS, default: Default::Text("info"),
        short: "how much is logged, on stderr",
        long: "",
        apply: Apply::Text(|draft, text| {
            let level = text.parse().ok().filter(|_| LEVEL_NAMES.contains(&text));
            set(&mut draft.config.log_level, level, LEVELS)
        }),
    },
    Setting {
        name: "RUST_LOG", kind: Kind::Variable, group: Group::Diagnosis, value: Value::Word("FILTER"), default: NONE,
        short: "log filter by module, before -log-level",
        long: "Such as `debug` or `info,netmon::export=debug`; beyond debug there is nothing to log.",
        apply: Apply::Text(|_, _| Ok(())), // env_logger reads it (`logging`)
    },
    Setting {
        name: "record", kind: Kind::Flag, group: Group::Diagnosis, value: Value::Word("FILE"), default: NONE,
        short: "write down what the kernel says, to be played with -collector-mode replay:FILE",
        long: "The file grows without a bound.",
        apply: Apply::Path(|draft, path| draft.config.record = path),
    },
];

const FALLBACKS: Value = Value::Choice(&["auto", "none"]);
const ZONES: Value = Value::Choice(&["auto", "N"]);
const DNS: Value = Value::Choice(&["auto", "off"]);
const INBOUND: Value = Value::Choice(&["external", "all", "none"]);
const PROTOCOLS: Value = Value::Choice(&["auto", "connect", "grpc-web", "grpc"]);
const FORMATS: Value = Value::Choice(&["prometheus", "json"]);
const LEVEL_NAMES: &[&str] = &["off", "error", "warn", "info", "debug"];
const LEVELS: Value = Value::Choice(LEVEL_NAMES);

fn mode(text: &str) -> Option<Mode> {
    if let Some(file) = text.strip_prefix("replay:") {
        return (!file.is_empty()).then(|| Mode::Replay(file.into()));
    }
    SourceKind::ALL.into_iter().find(|kind| kind.as_str() == text)?.mode()
}

fn switch(field: &mut bool, text: &str) -> Result<(), Wanted> {
    *field = value::switch(text).ok_or_else(|| "true or false".to_owned())?;
    Ok(())
}

fn set<T>(field: &mut T, value: Option<T>, allowed: Value) -> Result<(), Wanted> {
    *field = value.ok_or_else(|| match allowed {
        Value::Choice(words) => format!("one of {}", words.join(", ")),
        Value::Word(word) => word.to_owned(),
    })?;
    Ok(())
}
