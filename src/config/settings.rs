//! One table of every flag and environment variable. Help, README, man page and completions are made from it.

use super::setting::{Apply, Default, Group, Kind, Setting, Value};
use super::value::{self, Wanted};
use super::{
    CtZone, DakrProtocol, Dns, Fallback, MAX_DNS_PORTS, MetricsFormat, Mode, PushInbound, Readers, SourceKind,
    TopologySource,
};
use crate::clock::{MS, SECOND};
use crate::logging::Format;

/// The values of `-collector-mode`. Other values are refused.
pub const MODES: &[&str] = &{
    let mut modes = [""; SourceKind::ALL.len()];
    let mut at = 0;
    while at < modes.len() {
        modes[at] = SourceKind::ALL[at].usage();
        at += 1;
    }
    modes
};

const SWITCH: Value = Value::Word("");
const DURATION: Value = Value::Word("DURATION");
const CIDRS: Value = Value::Word("CIDR,…");
const PATH: Value = Value::Word("PATH");
const NONE: Default = Default::Described("none");

/// Every setting, in the order of the help.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "collector-mode", kind: Kind::Flag, group: Group::Counting, value: Value::Choice(MODES),
        default: Default::Text("netfilter"),
        short: "source of the counted connections",
        long: "`netfilter` reads the kernel's connection tracking by netlink and needs only `CAP_NET_ADMIN`. `ebpf` \
               counts with its own BPF programs and needs `CAP_BPF` too. `cilium` reads Cilium's maps; where these \
               hold only sums or no counters, BPF programs count instead. `auto` reads connection tracking and counts with \
               BPF programs at once. Each local end is counted by the source that sees it whole. It needs what `ebpf` \
               needs. `replay:FILE` reads a recording made with \
               `-record`.",
        apply: Apply::Text(|draft, text| set(&mut draft.config.mode, mode(text), MODES)),
    },
    Setting {
        name: "fallback", kind: Kind::Flag, group: Group::Counting, value: Value::Choice(Fallback::WORDS), default: Default::Text("auto"),
        short: "what to do if the collector mode cannot run",
        long: "`auto` runs the next mode in the order cilium, ebpf, netfilter (after mode `auto`: ebpf, netfilter), and reports degraded health. `none` \
               exits with status 1.",
        apply: Apply::Text(|draft, text| set(&mut draft.config.fallback, Fallback::from_text(text), Fallback::WORDS)),
    },
    Setting {
        name: "read-interval", kind: Kind::Flag, group: Group::Counting, value: DURATION, default: Default::Text("5s"),
        short: "time between two sweeps (full reads of the source), at least 100ms",
        long: "Without it a sweep happens when somebody needs one: for a flush, for a reader of the endpoints, when pods \
               come and go. It happens once a minute at least, and at most so often; no reader is shown anything older. A \
               given interval is fixed.",
        apply: Apply::Text(|draft, text| {
            draft.config.read_interval_ns = value::interval_ns(text, 100 * MS)?;
            draft.config.read_interval_given = true;
            Ok(())
        }),
    },
    Setting {
        name: "cleanup-interval", kind: Kind::Flag, group: Group::Counting, value: DURATION,
        default: Default::Text("60s"),
        short: "time between removals of settled, idle rows, at least 1s",
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
                number => value::number(number, 0, 65_535).ok().and_then(|n| u16::try_from(n).ok()).map(CtZone::Fixed),
            };
            draft.config.conntrack_zone = ct_zone.ok_or("auto or a number from 0 to 65535")?;
            Ok(())
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
        short: "cgroup to which mode ebpf attaches its BPF programs",
        long: "",
        apply: Apply::Path(|draft, path| draft.config.cgroup_root = path),
    },
    Setting {
        name: "cgroup-fs", kind: Kind::Flag, group: Group::Counting, value: PATH,
        default: Default::Described("from mountinfo"),
        short: "the host's cgroup2 tree, which maps sockets to pods, with -standalone to units and containers",
        long: "If the path is not a cgroup2 tree, the agent takes the one in mountinfo. Without one, hostNetwork pods are \
               counted as the node, units and containers as the host.",
        apply: Apply::Path(|draft, path| draft.config.cgroup_fs = path),
    },
    Setting {
        name: "cilium-bpf-root", kind: Kind::Flag, group: Group::Counting, value: PATH,
        default: Default::Described("/sys/fs/bpf, then /run/cilium/bpffs"),
        short: "BPF file system in which Cilium pins its maps",
        long: "The agent looks in its folder `tc/globals`, in the folder itself, then in `cilium`.",
        apply: Apply::Path(|draft, path| draft.config.cilium_bpf_root = path),
    },
    Setting {
        name: "dns", kind: Kind::Flag, group: Group::Counting, value: Value::Choice(Dns::WORDS), default: Default::Text("auto"),
        short: "learn the domain names of remote addresses from DNS answers",
        long: "A BPF program reads the answers that the node's sockets receive, in every mode. It needs CAP_BPF and \
               CAP_NET_ADMIN (before Linux 6.12 CAP_PERFMON too). Without CAP_BPF `auto` is off, and `on` degrades health; \
               only the names are missing.",
        apply: Apply::Text(|draft, text| set(&mut draft.config.dns, Dns::from_text(text), Dns::WORDS)),
    },
    Setting {
        name: "dns-ports", kind: Kind::Flag, group: Group::Counting, value: Value::Word("PORT,…"),
        default: Default::Text("53"),
        short: "ports of the DNS servers whose answers are read",
        long: "At most eight. If a service maps its port to another port of its pods (53 to 5353), give both.",
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
        short: "ranges that are local besides the host's own addresses",
        long: "For containers or virtual machines behind this host's bridges.",
        apply: Apply::Text(|draft, text| {
            draft.config.local_cidrs = value::ranges(text)?;
            Ok(())
        }),
    },
    Setting {
        name: "cluster-cidrs", kind: Kind::Flag, group: Group::Addresses, value: CIDRS,
        default: Default::Text("10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,169.254.0.0/16,fc00::/7,fe80::/10"),
        short: "address ranges inside the cluster",
        long: "A given list replaces the default. Include the public addresses of other nodes.",
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
        short: "ranges that are outside although -cluster-cidrs contains them",
        long: "For peered networks and load balancers with private addresses.",
        apply: Apply::Text(|draft, text| {
            draft.config.outside_cidrs = value::ranges(text)?;
            Ok(())
        }),
    },
    Setting {
        name: "overlay-ports", kind: Kind::Flag, group: Group::Addresses, value: Value::Word("PORT,…"), default: NONE,
        short: "UDP ports of tunnels between nodes, besides the well-known ones",
        long: "VXLAN (4789, 8472), Geneve (6081), WireGuard (51820, 51821, 51871) and IPsec (4500) are known. So \
               are the ports of the node's own links of VXLAN, Geneve, WireGuard, FoU and GUE. The traffic inside a tunnel \
               is counted already, so the tunnel itself is shown and never pushed.",
        apply: Apply::Text(|draft, text| {
            draft.config.overlay_ports = value::ports(text)?;
            Ok(())
        }),
    },

    Setting {
        name: "topology", kind: Kind::Flag, group: Group::Addresses, value: Value::Word("FILE"), default: NONE,
        short: "file of address ranges with their zone, region and service, which set the scope of rows",
        long: "`CIDR [zone=] [region=] [scope=] [via=] [service=]` a line, `#` comments; the longest range wins. Read again \
               when it changes, whole or not at all; may be packed by gzip. See docs/cost.md.",
        apply: Apply::Path(|draft, path| draft.config.topology = path),
    },
    Setting {
        name: "topology-source", kind: Kind::Flag, group: Group::Addresses, value: Value::Choice(TopologySource::WORDS),
        default: Default::Text("none"),
        short: "where ranges come from besides -topology; nodes takes 6 MB/s of the API server at 300 nodes, 1.7 GB/s at \
                5,000",
        long: "`routes`: a range is where the address of its node is by -topology. The kernel's routes name that node, or \
               Cilium's map `cilium_ipcache` does; nothing is asked of the API server. The map is pinned below \
               -cilium-bpf-root for uid 0 alone; where it is not in reach routes alone tell. `nodes`: each agent lists and \
               watches all nodes (`nodes: list, watch`). Nodes of 20 KB written every 5 minutes cost the API \
               server, at the start and for good: 1.8 GB and 6 MB/s at 300, 500 GB and 1.7 GB/s at 5,000. Above some 300 \
               nodes use `topology publish`.",
        apply: Apply::Text(|draft, text| set(&mut draft.config.topology_source, TopologySource::from_text(text), TopologySource::WORDS)),
    },
    Setting {
        name: "zone", kind: Kind::Flag, group: Group::Addresses, value: Value::Word("NAME"), default: NONE,
        short: "the zone of this node, where no label tells it",
        long: "",
        apply: Apply::Text(|draft, text| {
            draft.config.zone = value::label(text)?;
            Ok(())
        }),
    },
    Setting {
        name: "region", kind: Kind::Flag, group: Group::Addresses, value: Value::Word("NAME"), default: NONE,
        short: "the region of this node, where no label tells it",
        long: "",
        apply: Apply::Text(|draft, text| {
            draft.config.region = value::label(text)?;
            Ok(())
        }),
    },
    Setting {
        name: "NODE_ZONE", kind: Kind::Variable, group: Group::Addresses, value: Value::Word("NAME"),
        default: Default::Described("with -topology the API server is asked once"),
        short: "the zone of this node, by its pods' label",
        long: "`fieldRef: metadata.labels['topology.kubernetes.io/zone']`, where the API server copies it from the node. \
               The question is one GET of the own node (20 to 30 KB, `nodes: get`) at start.",
        apply: Apply::Text(|draft, text| {
            draft.config.node_zone = value::label(text)?;
            Ok(())
        }),
    },
    Setting {
        name: "NODE_REGION", kind: Kind::Variable, group: Group::Addresses, value: Value::Word("NAME"),
        default: Default::Described("as NODE_ZONE"),
        short: "the region of this node, by its pods' label",
        long: "",
        apply: Apply::Text(|draft, text| {
            draft.config.node_region = value::label(text)?;
            Ok(())
        }),
    },

    Setting {
        name: "standalone", kind: Kind::Switch, group: Group::Place, value: SWITCH, default: Default::Text("false"),
        short: "run without Kubernetes and count this host's own addresses",
        long: "",
        apply: Apply::Text(|draft, text| switch(&mut draft.config.standalone, text)),
    },
    Setting {
        name: "metrics-kubeconfig", kind: Kind::Flag, group: Group::Place, value: Value::Word("FILE"),
        default: Default::Described("KUBECONFIG, the service account, then ~/.kube/config"),
        short: "kubeconfig file for the API server",
        long: "",
        apply: Apply::Path(|draft, path| draft.config.kubeconfig = path),
    },
    Setting {
        name: "NODE_NAME", kind: Kind::Variable, group: Group::Place, value: Value::Word("NAME"),
        default: Default::Described("with -standalone the host's name"),
        short: "name of this node, whose pods are counted",
        long: "Required in a cluster: `fieldRef: spec.nodeName`.",
        apply: Apply::Text(|draft, text| {
            draft.config.node_name = value::name(text)?;
            Ok(())
        }),
    },

    Setting {
        name: "DAKR_URL", kind: Kind::Secret, group: Group::Dakr, value: Value::Word("URL"), default: NONE,
        short: "base URL of the control plane",
        long: "May contain a path. The agent pushes only if a token is given too. It follows `HTTPS_PROXY`, \
               `HTTP_PROXY` and `NO_PROXY`.",
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
        short: "file with the token; takes precedence over CLUSTER_TOKEN",
        long: "The agent reads it again when it changes and when DAKR refuses the token.",
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
        short: "time between two pushes, at least 1s",
        long: "The node name sets the moment of the first push within the first interval, so that nodes do not push \
               at once.",
        apply: Apply::Text(|draft, text| {
            draft.config.flush_interval_ns = value::interval_ns(text, SECOND)?;
            Ok(())
        }),
    },
    Setting {
        name: "push-inbound", kind: Kind::Flag, group: Group::Dakr, value: Value::Choice(PushInbound::WORDS), default: Default::Text("external"),
        short: "which inbound rows are pushed",
        long: "`external` pushes inbound rows whose originator is outside; the originator's own node reports the \
               others. The endpoints always show both directions.",
        apply: Apply::Text(|draft, text| set(&mut draft.config.push_inbound, PushInbound::from_text(text), PushInbound::WORDS)),
    },
    Setting {
        name: "dakr-protocol", kind: Kind::Flag, group: Group::Dakr, value: Value::Choice(DakrProtocol::WORDS), default: Default::Text("auto"),
        short: "framing of the push",
        long: "`auto` takes the first that works. All use HTTP/1.1.",
        apply: Apply::Text(|draft, text| set(&mut draft.dakr.protocol, DakrProtocol::from_text(text), DakrProtocol::WORDS)),
    },
    Setting {
        name: "ca-file", kind: Kind::Flag, group: Group::Dakr, value: Value::Word("FILE"), default: NONE,
        short: "PEM file of certificates to trust for DAKR, besides the system's",
        long: "",
        apply: Apply::Path(|draft, path| draft.dakr.ca_file = path),
    },
    Setting {
        name: "state-dir", kind: Kind::Flag, group: Group::Dakr, value: Value::Word("FOLDER"), default: NONE,
        short: "folder for the state file; a restart then neither loses nor double-counts",
        long: "Holds what DAKR has not acknowledged yet, and the last counters of every connection. Used only if the \
               agent pushes.",
        apply: Apply::Path(|draft, path| draft.config.state_dir = path),
    },

    Setting {
        name: "metrics-bind-address", kind: Kind::Flag, group: Group::Endpoints, value: Value::Word("[HOST]:PORT"),
        default: Default::Text(":8081"),
        short: "address of the page, /metrics, /flows, /healthz and /readyz",
        long: "Without a host the agent listens on every address, IPv4 and IPv6.",
        apply: Apply::Text(|draft, text| {
            draft.config.metrics_bind = value::bind_address(text)?;
            Ok(())
        }),
    },
    Setting {
        name: "metrics-allow", kind: Kind::Flag, group: Group::Endpoints, value: Value::Word("everyone|CIDR,…"),
        default: Default::Described("this host, and in a cluster -cluster-cidrs"),
        short: "clients that may read more than /healthz and /readyz",
        long: "Others get 403. Of a list only its ranges may read: name 127.0.0.0/8 too for `top` and `doctor`.",
        apply: Apply::Text(|draft, text| {
            draft.config.metrics_allow = match text {
                "everyone" => Readers::Everyone,
                ranges => Readers::Of(
                    value::ranges(ranges).map_err(|wanted| format!("\"everyone\", or {wanted}"))?,
                ),
            };
            Ok(())
        }),
    },
    Setting {
        name: "metrics-hosts", kind: Kind::Flag, group: Group::Endpoints, value: Value::Word("NAME,..."),
        default: Default::Described("none"),
        short: "host names that requests may name, besides addresses, names without a dot, the node's and the pod's",
        long: "Others are refused (421): a stranger's page could let its own name point here.",
        apply: Apply::Text(|draft, text| {
            draft.config.metrics_hosts = value::names(text)?;
            Ok(())
        }),
    },
    Setting {
        name: "opencost-series", kind: Kind::Switch, group: Group::Endpoints, value: SWITCH,
        default: Default::Text("false"),
        short: "show the two counters that OpenCost and Kubecost ask for",
        long: "`kubecost_pod_network_egress_bytes_total` and `..._ingress_...`, per pod and class of price. See docs/cost.md.",
        apply: Apply::Text(|draft, text| switch(&mut draft.config.opencost_series, text)),
    },
    Setting {
        name: "opencost-hold", kind: Kind::Flag, group: Group::Endpoints, value: DURATION, default: Default::Text("6m"),
        short: "how long a new one of those series is shown as 0",
        long: "OpenCost's step and a scrape: what a counter holds when it is first seen is lost to `increase()`.",
        apply: Apply::Text(|draft, text| {
            draft.config.opencost_hold_ns = value::interval_ns(text, SECOND)?;
            Ok(())
        }),
    },
    Setting {
        name: "metrics-format", kind: Kind::Flag, group: Group::Endpoints, value: Value::Choice(MetricsFormat::WORDS),
        default: Default::Text("prometheus"),
        short: "format of /metrics for clients that request none",
        long: "`json` is the format of `/flows`.",
        apply: Apply::Text(|draft, text| set(&mut draft.config.metrics_format, MetricsFormat::from_text(text), MetricsFormat::WORDS)),
    },

    Setting {
        name: "max-rows", kind: Kind::Flag, group: Group::Limits, value: Value::Word("N"),
        default: Default::Text("65536"),
        short: "largest number of rows; beyond it the smallest rows are folded",
        long: "Folding loses no bytes: it replaces the remote address by its /24 or /64, then by its class. The default is less \
               where three eighths of the memory limit hold less.",
        apply: Apply::Text(|draft, text| {
            draft.config.max_rows = value::number(text, 32, 1 << 22)?;
            Ok(())
        }),
    },
    Setting {
        name: "max-connections", kind: Kind::Flag, group: Group::Limits, value: Value::Word("N"),
        default: Default::Described("nf_conntrack_max, within a quarter of the memory limit"),
        short: "largest number of followed connections; bytes of others are counted as lost",
        long: "",
        apply: Apply::Text(|draft, text| {
            draft.config.max_connections = Some(value::number(text, 1, 1 << 24)?);
            Ok(())
        }),
    },

    Setting {
        name: "log-level", kind: Kind::Flag, group: Group::Diagnosis, value: Value::Choice(LEVELS), default: Default::Text("info"),
        short: "lowest level that is logged, on stderr",
        long: "",
        apply: Apply::Text(|draft, text| {
            let level = text.parse().ok().filter(|_| LEVELS.contains(&text));
            set(&mut draft.config.log_level, level, LEVELS)
        }),
    },
    Setting {
        name: "log-format", kind: Kind::Flag, group: Group::Diagnosis, value: Value::Choice(Format::WORDS),
        default: Default::Text("text"),
        short: "form of the log",
        long: "`json` is an object a line: `time`, `level`, `thread`, `target`, `message`. Where the journal reads stderr \
               (systemd), lines begin with their priority, and texts have no time.",
        apply: Apply::Text(|draft, text| set(&mut draft.config.log_format, Format::from_text(text), Format::WORDS)),
    },
    Setting {
        name: "RUST_LOG", kind: Kind::Variable, group: Group::Diagnosis, value: Value::Word("FILTER"), default: NONE,
        short: "log filter by module; takes precedence over -log-level",
        long: "For example `debug` or `info,netmon::export=debug`. `debug` is the finest level.",
        apply: Apply::Text(|_, _| Ok(())), // env_logger reads it (`logging`)
    },
    Setting {
        name: "record", kind: Kind::Flag, group: Group::Diagnosis, value: Value::Word("FILE"), default: NONE,
        short: "record the source's data to FILE, for -collector-mode replay:FILE",
        long: "The file grows without bound.",
        apply: Apply::Path(|draft, path| draft.config.record = path),
    },
];

const ZONES: Value = Value::Choice(&["auto", "N"]);
const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug"];

fn mode(text: &str) -> Option<Mode> {
    if let Some(file) = text.strip_prefix("replay:") {
        return (!file.is_empty()).then(|| Mode::Replay(file.into()));
    }
    SourceKind::from_text(text)?.mode()
}

fn switch(field: &mut bool, text: &str) -> Result<(), Wanted> {
    *field = value::switch(text).ok_or_else(|| "true or false".to_owned())?;
    Ok(())
}

fn set<T>(field: &mut T, value: Option<T>, words: &[&str]) -> Result<(), Wanted> {
    *field = value.ok_or_else(|| format!("one of {}", words.join(", ")))?;
    Ok(())
}
