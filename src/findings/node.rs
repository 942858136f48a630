//! Judges what was seen of the node. It reads nothing: [`Facts`] is all there is.

use super::Finding;
use crate::sys::privileges::Capabilities;

/// What conntrack's files say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conntrack {
    /// Entries of this network namespace, and how many there can be.
    pub count: u64,
    pub max: u64,
    /// `nf_conntrack_acct`.
    pub accounting: bool,
    /// `nf_conntrack_events`; `None` where the kernel has none.
    pub events: Option<u8>,
}

/// A flow table of nf_tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flowtable {
    /// `family table name`, as nft writes it.
    pub name: String,
    /// Whether it counts.
    pub counts: bool,
}

/// What was seen of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// As uname(2) has it.
    pub release: String,
    /// Whether the kernel has BTF.
    pub btf: bool,
    /// What this thread may do.
    pub held: Capabilities,
    /// The root of the cgroup2 hierarchy, or why there is none.
    pub cgroup_root: Result<String, String>,
    /// Whether net_cls or net_prio of cgroup v1 is mounted: sockets may lose their cgroup2 then.
    pub cgroup_v1: bool,
    /// The hierarchy of cgroup v1 in which pods have their cgroups, where no cgroup2 tree holds any.
    pub v1_of_pods: Option<String>,
    /// `None` where the module is not there.
    pub conntrack: Option<Conntrack>,
    /// The busiest interface, what it carried while we looked, and for how long that was.
    pub carried: Option<(String, u64)>,
    pub looked_ms: u64,
    /// Services of IPVS, and whether it keeps conntrack (`net.ipv4.vs.conntrack`).
    pub ipvs_services: usize,
    pub ipvs_conntrack: bool,
    /// `None` where they cannot be asked for.
    pub flowtables: Option<Vec<Flowtable>>,
    /// Chains with a rule that takes packets out of tracking (NOTRACK), as nft names them.
    pub notrack: Vec<String>,
    /// Bridges with two ports or more.
    pub bridges: Vec<String>,
    /// Whether bridged packets pass conntrack (`bridge-nf-call-iptables`).
    pub bridged_is_tracked: bool,
    /// Whether a policy of IPsec protects packets that are sent.
    pub ipsec: bool,
    /// Whether the node's device has pods by ipvlan in mode L3S.
    pub ipvlan_l3s: bool,
}

impl Default for Facts {
    fn default() -> Facts {
        Facts {
            release: String::new(),
            btf: false,
            held: Capabilities::NONE,
            cgroup_root: Err(String::new()),
            cgroup_v1: false,
            v1_of_pods: None,
            conntrack: None,
            carried: None,
            looked_ms: 0,
            ipvs_services: 0,
            ipvs_conntrack: false,
            flowtables: None,
            notrack: Vec::new(),
            bridges: Vec::new(),
            bridged_is_tracked: false,
            ipsec: false,
            ipvlan_l3s: false,
        }
    }
}

/// What the agent is to do there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// By netfilter, of which tracking is asked.
    pub netfilter: bool,
    /// By own programs, or names.
    pub programs: bool,
    pub names: bool,
    /// Beside the programs conntrack counts what passes no socket (mode auto).
    pub both: bool,
    pub standalone: bool,
    /// Whether the host's settings may be changed.
    pub manage: bool,
}

/// Carried bytes below this prove nothing.
const LEAST_BYTES: u64 = 10_000;

/// Every finding, in the order of the report.
pub fn findings(facts: &Facts, wanted: Wanted) -> Vec<Finding> {
    let mut all = vec![kernel(facts, wanted), capabilities(facts, wanted)];
    all.push(conntrack(facts, wanted));
    if wanted.netfilter {
        all.push(tracking(facts, wanted));
    }
    all.extend(data_plane(facts, wanted));
    all.push(cgroup_tree(facts, wanted));
    all
}

/// What can make conntrack blind here, each with its cure: the causes that rule 16 names.
pub fn blind_causes(facts: &Facts) -> Vec<String> {
    let wanted =
        Wanted { netfilter: true, programs: false, names: false, both: false, standalone: false, manage: false };
    let mut found: Vec<Finding> = vec![conntrack(facts, wanted), tracking(facts, wanted)];
    found.extend(data_plane(facts, wanted));
    let causes = found.into_iter().filter(|finding| !finding.cure.is_empty());
    causes.map(|Finding { text, cure, .. }| format!("{text} ({cure})")).collect()
}

/// What hides traffic of this node from a source, whether there is any or not (rule 16), each with its cure.
/// `by_conntrack`, `by_programs`: what the source counts by.
pub fn hiding(facts: &Facts, by_conntrack: bool, by_programs: bool) -> Vec<String> {
    let wanted = Wanted {
        netfilter: by_conntrack && !by_programs,
        programs: by_programs,
        names: false,
        both: by_conntrack && by_programs,
        standalone: false,
        manage: false,
    };
    let mut found = data_plane(facts, wanted);
    found.retain(|finding| !finding.cure.is_empty());
    found.into_iter().map(|Finding { text, cure, .. }| format!("{text} ({cure})")).collect()
}

fn kernel(facts: &Facts, wanted: Wanted) -> Finding {
    let Facts { release, btf, .. } = facts;
    let text = format!("Linux {release}, {}", if *btf { "BTF" } else { "no BTF" });
    let old = crate::sys::kernel::version(release).is_some_and(|version| version < (5, 10));
    match (old, wanted.programs) {
        (true, true) => Finding::fail("kernel", text, "mode ebpf takes Linux 5.10: -collector-mode netfilter"),
        (true, false) => Finding::warn("kernel", text, "names take Linux 5.10: -dns off"),
        // Our programs read no kernel structures, so nothing is missing without it.
        (false, _) => Finding::ok("kernel", text),
    }
}

fn capabilities(facts: &Facts, wanted: Wanted) -> Finding {
    let held = facts.held;
    let mut needed = Capabilities::NONE;
    if wanted.netfilter || wanted.programs {
        needed = needed.and(Capabilities::NET_ADMIN);
    }
    if wanted.programs {
        needed = needed.and(Capabilities::BPF);
    }
    let missing = needed.without(held);
    let text = held.to_string();
    if missing != Capabilities::NONE {
        let cure = format!("{missing} missing: run it as root, grant it in the pod's securityContext, or by setcap");
        return Finding::fail("capabilities", text, cure);
    }
    if wanted.names && !held.contains(Capabilities::BPF) {
        return Finding::warn(
            "capabilities",
            text,
            "no names of remote addresses without CAP_BPF: grant it, or -dns off",
        );
    }
    Finding::ok("capabilities", text)
}

fn conntrack(facts: &Facts, wanted: Wanted) -> Finding {
    const AREA: &str = "conntrack";
    let Some(Conntrack { count, max, accounting, events }) = facts.conntrack else {
        let text = "the module nf_conntrack is not loaded";
        return match wanted {
            // Our own rule loads it.
            Wanted { netfilter: true, standalone: true, manage: true, .. } => {
                Finding::ok(AREA, format!("{text}; the agent's own rule loads it"))
            }
            Wanted { netfilter: true, .. } => {
                Finding::fail(AREA, text, "modprobe nf_conntrack, or -collector-mode ebpf")
            }
            _ => Finding::ok(AREA, text),
        };
    };
    let full = max > 0 && count >= max;
    let on = if accounting { "on" } else { "off" };
    let events_text = events.map_or_else(|| "none".to_owned(), |events| events.to_string());
    let text = format!("{count} of {max} entries, accounting {on}, events {events_text}");
    if !wanted.netfilter {
        return Finding::ok(AREA, text);
    }
    if full {
        return Finding::fail(
            AREA,
            format!("{text}: the table is full, and the kernel drops new connections"),
            "raise net.netfilter.nf_conntrack_max",
        );
    }
    if !accounting && !wanted.manage {
        return Finding::fail(
            AREA,
            text,
            "no entry has counters, and -manage-conntrack=false forbids the agent to switch accounting on: sysctl -w \
             net.netfilter.nf_conntrack_acct=1",
        );
    }
    if !accounting {
        return Finding::warn(
            AREA,
            text,
            "the agent switches accounting on when it starts; what is open by then is not counted. To have it from the \
             boot on: net.netfilter.nf_conntrack_acct=1 in sysctl.d",
        );
    }
    if max > 0 && count * 10 > max * 9 {
        return Finding::warn(AREA, format!("{text}: nearly full"), "raise net.netfilter.nf_conntrack_max");
    }
    if events == Some(0) {
        return Finding::warn(
            AREA,
            text,
            "the last bytes of connections that end between two sweeps are missing: sysctl -w \
             net.netfilter.nf_conntrack_events=1",
        );
    }
    Finding::ok(AREA, text)
}

fn tracking(facts: &Facts, wanted: Wanted) -> Finding {
    const AREA: &str = "tracking";
    let count = facts.conntrack.map_or(0, |conntrack| conntrack.count);
    let seen = match &facts.carried {
        Some((interface, bytes)) => {
            let seconds = facts.looked_ms.div_ceil(1000).max(1);
            format!("{count} entries, {interface} carried {bytes} bytes in {seconds} s")
        }
        None => format!("{count} entries, no interface carried anything"),
    };
    let carried = facts.carried.as_ref().map_or(0, |(_, bytes)| *bytes);
    match (count, wanted) {
        (0, Wanted { standalone: true, manage: true, .. }) => {
            Finding::ok(AREA, format!("{seen}; the agent's own rule asks for it"))
        }
        (0, _) if carried >= LEAST_BYTES && !facts.notrack.is_empty() => Finding::fail(
            AREA,
            format!("rules take all packets out of connection tracking: {seen}"),
            "see the data plane: take them away, or -collector-mode ebpf",
        ),
        (0, _) if carried >= LEAST_BYTES => Finding::fail(
            AREA,
            format!("no rule asks for connection tracking: {seen}"),
            "kube-proxy or the CNI would; where neither does: -collector-mode ebpf, or cilium",
        ),
        (0, _) => Finding::warn(
            AREA,
            format!("{seen}: nothing to tell by"),
            "look again while there is traffic; where no rule asks for tracking: -collector-mode ebpf",
        ),
        (1.., _) => Finding::ok(AREA, seen),
    }
}

fn data_plane(facts: &Facts, wanted: Wanted) -> Vec<Finding> {
    const AREA: &str = "data plane";
    let mut found = Vec::new();
    if wanted.netfilter && facts.ipvs_services > 0 && !facts.ipvs_conntrack {
        found.push(Finding::fail(
            AREA,
            format!("IPVS has {} services and keeps no conntrack of them", facts.ipvs_services),
            "sysctl -w net.ipv4.vs.conntrack=1 (kube-proxy sets it in mode ipvs), or -collector-mode ebpf",
        ));
    }
    // The kernel sends such packets a second time, without the socket that they came from.
    if wanted.programs && facts.ipvs_services > 0 && !(wanted.both && facts.ipvs_conntrack) {
        found.push(Finding::warn(
            AREA,
            format!(
                "IPVS has {} services, and what the node itself sends to them passes no socket",
                facts.ipvs_services
            ),
            "net.ipv4.vs.conntrack=1 (kube-proxy sets it in mode ipvs) and -collector-mode auto",
        ));
    }
    if wanted.programs && facts.ipsec && !wanted.both {
        found.push(Finding::warn(
            AREA,
            "IPsec has policies, and what the node itself sends by them passes no socket",
            "-collector-mode auto or netfilter",
        ));
    }
    if wanted.netfilter && facts.ipvlan_l3s {
        found.push(Finding::warn(
            AREA,
            "pods have ipvlan devices in mode l3s: what they exchange on this node passes no conntrack",
            "-collector-mode auto or ebpf",
        ));
    }
    let silent = |table: &&Flowtable| !table.counts;
    if wanted.netfilter
        && let Some(table) = facts.flowtables.iter().flatten().find(silent)
    {
        found.push(Finding::fail(
            AREA,
            format!("flow table {} has no counter: what it forwards is not counted", table.name),
            "add \"counter;\" to the flowtable in the rule set, or -collector-mode ebpf",
        ));
    }
    if wanted.netfilter
        && let Some(chain) = facts.notrack.first()
    {
        let more = match facts.notrack.len() {
            1 => String::new(),
            chains => format!(" (and {} more)", chains - 1),
        };
        found.push(Finding::warn(
            AREA,
            format!(
                "a rule of chain {chain}{more} takes packets out of tracking (notrack): what it matches is not counted"
            ),
            "take the rule away, or -collector-mode ebpf or auto",
        ));
    }
    if wanted.netfilter
        && let (Some(bridge), false) = (facts.bridges.first(), facts.bridged_is_tracked)
    {
        found.push(Finding::warn(
            AREA,
            format!("bridge {bridge} has ports, and bridged packets pass no conntrack"),
            "traffic between its pods is missing: modprobe br_netfilter and net.bridge.bridge-nf-call-iptables=1, or \
             -collector-mode ebpf",
        ));
    }
    if found.is_empty() {
        let ipvs = if facts.ipvs_services > 0 { "IPVS with conntrack" } else { "no IPVS" };
        let flowtables = match &facts.flowtables {
            None => "flow tables cannot be asked for",
            Some(tables) if tables.is_empty() => "no flow table",
            Some(_) => "flow tables with counters",
        };
        let bridges = if facts.bridges.is_empty() { "no bridge" } else { "bridges" };
        let ipsec = if facts.ipsec { "; IPsec" } else { "" };
        found.push(Finding::ok(AREA, format!("{ipvs}; {flowtables}; {bridges}{ipsec}")));
    }
    found
}

fn cgroup_tree(facts: &Facts, wanted: Wanted) -> Finding {
    const AREA: &str = "cgroup tree";
    match &facts.cgroup_root {
        Ok(root) if facts.cgroup_v1 => Finding::warn(
            AREA,
            format!("{root}, beside net_cls or net_prio of cgroup v1"),
            "a socket that those mark loses its cgroup2, and with it its pod or name: boot with \
             systemd.unified_cgroup_hierarchy=1",
        ),
        Ok(root) if let (Some(v1), false) = (&facts.v1_of_pods, wanted.standalone) => Finding::warn(
            AREA,
            format!("{root} holds no pods, {v1} (cgroup v1) does: pods on the node's network are counted as the node"),
            "kubelet's cgroupDriver: systemd, or boot with systemd.unified_cgroup_hierarchy=1",
        ),
        Ok(root) => Finding::ok(AREA, root.clone()),
        Err(why) if wanted.programs => Finding::fail(AREA, "cannot attach programs", why.clone()),
        Err(why) if wanted.standalone && !wanted.names => Finding::ok(AREA, format!("not needed ({why})")),
        Err(why) => Finding::warn(AREA, "pods on the node's network are counted as the node; no names", why.clone()),
    }
}

#[cfg(test)]
mod tests;
