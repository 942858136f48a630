//! One scenario's world with everything in place: the namespaces, the truth, a DAKR, and the steps they share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netmon::clock;
use netmon::flow::protocol;

use crate::agent::{Agent, Start, eventually};
use crate::api::Api;
use crate::dakr::FakeDakr;
use crate::drive::Actor;
use crate::mirror::Mirror;
use crate::netns::Netns;
use crate::process::Place;
use crate::rows::{self, Pushed, Row, WireKey};
use crate::scenario::Scenario;
use crate::topology::{Host, World};
use crate::truth::{Flow, Truth};

/// Which source the agent reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Conntrack.
    Netfilter,
    /// BPF programs.
    Ebpf,
    /// Cilium's maps, filled from conntrack in the layout that `LAB_SOURCE` names.
    Cilium,
    /// Conntrack and BPF programs at once.
    Auto,
}

impl Source {
    /// `LAB_SOURCE`, by default netfilter.
    pub fn from_environment() -> Result<Source, String> {
        match std::env::var("LAB_SOURCE").as_deref() {
            Err(_) | Ok("" | "netfilter") => Ok(Source::Netfilter),
            Ok("ebpf") => Ok(Source::Ebpf),
            Ok("auto") => Ok(Source::Auto),
            Ok("cilium" | "cilium-b" | "cilium-c") => Ok(Source::Cilium),
            Ok(other) => {
                Err(format!("LAB_SOURCE is {other:?}, not netfilter, ebpf, auto, cilium, cilium-b or cilium-c"))
            }
        }
    }

    /// Layout of Cilium's maps: `a` until 1.15, `b` from 1.16, `c` from 1.19 on.
    pub fn layout(self) -> char {
        std::env::var("LAB_SOURCE").ok().and_then(|name| name.strip_prefix("cilium-")?.chars().next()).unwrap_or('a')
    }

    /// Whether programs in the scenario's cgroups count.
    pub fn has_programs(self) -> bool {
        matches!(self, Source::Ebpf | Source::Auto)
    }

    /// Whether it knows only the sum of what was sent and received.
    pub fn sums(self) -> bool {
        self == Source::Cilium && self.layout() != 'a'
    }

    /// As `-collector-mode` names it.
    pub fn mode(self) -> &'static str {
        match self {
            Source::Netfilter => "netfilter",
            Source::Ebpf => "ebpf",
            Source::Cilium => "cilium",
            Source::Auto => "auto",
        }
    }
}

/// A directory of the scenario's own, removed with it.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A cgroup for each host that is this node's, and those of pods; removed once they are empty.
struct Cgroups(Option<PathBuf>);

impl Cgroups {
    /// The hosts whose processes run on the node; what runs on others is not the agent's.
    const OWN: [&str; 4] = ["node", "p1", "p2", "p3"];

    fn new(name: &str) -> Result<Cgroups, String> {
        let root = cgroup2()?.join(name);
        let made = Cgroups(Some(root.clone()));
        for dir in std::iter::once(root.clone()).chain(Cgroups::OWN.iter().map(|host| root.join(host))) {
            std::fs::create_dir(&dir).map_err(|e| format!("cannot make the cgroup {}: {e}", dir.display()))?;
        }
        Ok(made)
    }

    fn place(&self, host: &str) -> Place {
        let root = self.0.as_ref().filter(|_| Cgroups::OWN.contains(&host));
        Place { cgroup: root.map(|root| root.join(host)) }
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        if let Some(root) = &self.0 {
            // The kernel takes a moment to forget processes that have been waited for.
            let _ = eventually("the cgroups are empty", Duration::from_secs(2), || remove_cgroups(root));
        }
    }
}

fn remove_cgroups(root: &Path) -> Result<(), String> {
    let entries = std::fs::read_dir(root).map_err(|e| e.to_string())?;
    for dir in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_cgroups(&dir.path())?;
    }
    std::fs::remove_dir(root).map_err(|e| e.to_string())
}

/// Where cgroup2 is mounted.
fn cgroup2() -> Result<PathBuf, String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").map_err(|e| format!("cannot read mounts: {e}"))?;
    let mut words = mounts.lines().map(|line| line.split(' '));
    let found = words.find_map(|mut w| w.nth(1).filter(|_| w.next() == Some("cgroup2")));
    found.map(PathBuf::from).ok_or_else(|| "no cgroup2 is mounted".to_owned())
}

const NAME: &str = "netmon-lab-";

/// Removes what tests left that were killed. Namespaces and processes went with them; directories did not.
pub fn sweep_leftovers() {
    let of_the_dead = |name: &str| {
        let pid = name.strip_prefix(NAME).and_then(|rest| rest.split('-').next());
        pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
    };
    let dirs = |root: PathBuf| std::fs::read_dir(root).into_iter().flatten().flatten();
    for left in dirs(std::env::temp_dir()).filter(|d| of_the_dead(&d.file_name().to_string_lossy())) {
        let _ = std::fs::remove_dir_all(left.path());
    }
    for left in cgroup2().into_iter().flat_map(dirs).filter(|d| of_the_dead(&d.file_name().to_string_lossy())) {
        let _ = remove_cgroups(&left.path());
    }
}

/// What a scenario works with.
pub struct Lab {
    // Before the world, whose conntrack it reads.
    mirror: Option<Mirror>,
    /// The namespaces.
    pub world: World,
    // After the world: its processes must be gone before their cgroups can go.
    cgroups: Cgroups,
    /// Who receives pushes.
    pub dakr: FakeDakr,
    /// What reads the node.
    pub source: Source,
    scratch: Scratch,
}

/// The payload of TCP connections, as the helpers were told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// Connections made.
    pub connections: u64,
    /// Payload bytes from the originators.
    pub up: u64,
    /// Payload bytes from the responder.
    pub down: u64,
}

impl Lab {
    /// Builds the world that `scenario` wishes for.
    pub fn new(scenario: &Scenario, source: Source) -> Result<Lab, String> {
        let name = format!("{NAME}{}-{}", std::process::id(), scenario.name);
        let scratch = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&scratch).map_err(|e| format!("no scratch directory: {e}"))?;
        let scratch = Scratch(scratch);
        let cgroups = if source.has_programs() || cgroup2().is_ok() { Cgroups::new(&name)? } else { Cgroups(None) };
        let world = World::new(scenario.wish, &|host| cgroups.place(host))?;
        // A counter by conntrack's word starts conntrack: never where a scenario has none. The programs count what
        // conntrack lets pass.
        let by_conntrack = scenario.wish.nat && !source.has_programs();
        Truth::install(&world.node.netns, scenario.ignored, by_conntrack)?;
        let mirror = match source {
            Source::Cilium => Some(Mirror::start(&world.node.netns, source.layout())?),
            _ => None,
        };
        let dakr = world.node.netns.enter(FakeDakr::start)?;
        Ok(Lab { mirror, world, cgroups, dakr, source, scratch })
    }

    /// The node's namespace.
    pub fn node(&self) -> &Netns {
        &self.world.node.netns
    }

    /// A file of the scenario's own.
    pub fn file(&self, name: &str) -> PathBuf {
        self.scratch.0.join(name)
    }

    /// An agent that pushes to the lab's DAKR, to be altered and started.
    pub fn agent(&self) -> Start<'_> {
        self.quiet_agent().pushing_to(&self.dakr)
    }

    /// An agent that pushes nowhere.
    pub fn quiet_agent(&self) -> Start<'_> {
        let start = Start::new(&self.world.node, self.source.mode(), self.file("agent.log"));
        let start = match &self.mirror {
            Some(mirror) => start.flag("-cilium-bpf-root", &mirror.root.to_string_lossy()),
            None => start,
        };
        let Some(root) = &self.cgroups.0 else { return start };
        let root = root.to_string_lossy();
        // Owners are what the scenario makes, whatever unit the lab itself runs in.
        let start = start.flag("-cgroup-fs", &root);
        if self.source.has_programs() { start.flag("-cgroup-root", &root) } else { start }
    }

    /// Where Cilium's maps are pinned, if the agent reads them.
    pub fn bpf_root(&self) -> Option<&Path> {
        self.mirror.as_ref().map(|mirror| mirror.root.as_path())
    }

    /// The cgroup that holds those of the scenario's hosts.
    pub fn cgroup_root(&self) -> Result<&Path, String> {
        self.cgroups.0.as_deref().ok_or_else(|| "no cgroup2 is mounted".to_owned())
    }

    /// An agent that reads the DNS answers of the scenario's cgroups.
    pub fn agent_with_names(&self) -> Result<Start<'_>, String> {
        let root = self.cgroups.0.as_ref().ok_or("no cgroup2 is mounted")?;
        Ok(self.agent().flag("-dns", "auto").flag("-cgroup-root", &root.to_string_lossy()))
    }

    /// An agent in a cluster, whose pods `api` names and whose cgroups are the scenario's.
    pub fn agent_in_cluster(&self, api: &Api) -> Result<Start<'_>, String> {
        let start = self.agent().in_cluster(&api.kubeconfig(self)?);
        Ok(match &self.cgroups.0 {
            Some(root) => start.flag("-cgroup-fs", &root.to_string_lossy()),
            None => start,
        })
    }

    /// Makes a cgroup below the scenario's, as a kubelet would.
    pub fn cgroup(&self, path: &str) -> Result<PathBuf, String> {
        let dir = self.cgroups.0.as_ref().ok_or("no cgroup2 is mounted")?.join(path);
        std::fs::create_dir_all(&dir).map_err(|e| format!("cannot make the cgroup {}: {e}", dir.display()))?;
        Ok(dir)
    }

    /// A helper process beside that of `host`, in a cgroup of its own.
    pub fn process(&self, host: &Host, cgroup: &str) -> Result<Actor, String> {
        let place = Place { cgroup: Some(self.cgroup(cgroup)?) };
        host.netns.enter(|| Actor::start(&place))
    }

    /// What crossed the node so far, once nothing moves any more: the last packets of what a helper has done may still
    /// be on their way when it says so.
    pub fn truth(&self) -> Result<Truth, String> {
        let mut truth = Truth::read(self.node())?;
        eventually("nothing moves any more", Duration::from_secs(10), || {
            clock::sleep_ns(100 * clock::MS);
            let before = std::mem::replace(&mut truth, Truth::read(self.node())?);
            truth.same_as(&before, ("nft", "a moment before"))
        })?;
        if let Some(mirror) = &self.mirror {
            mirror.settle();
        }
        Ok(truth)
    }

    /// Ends every connection of a protocol at once, as far as the kernel is concerned.
    pub fn end_connections(&self, protocol: &str) -> Result<(), String> {
        // It deletes while it dumps and so passes some over; with nothing left to delete it fails.
        eventually("all connections are deleted", Duration::from_secs(20), || {
            let left = self.node().run(&["conntrack", "-L", "-p", protocol], "")?;
            if left.is_empty() {
                return Ok(());
            }
            let _ = self.node().run(&["conntrack", "-D", "-p", protocol], "");
            Err("some are left".to_owned())
        })
    }

    /// Waits until `agent` shows exactly the expected rows, and then for more sweeps to see that it stays so.
    pub fn shows(&self, agent: &Agent<'_>, expected: &[Row], truth: &Truth) -> Result<(), String> {
        let want = rows::shown(expected, truth);
        if let Some((key, _)) = want.iter().find(|(_, counts)| counts.is_zero()) {
            return Err(format!("the truth holds nothing of {key}: the scenario does not send what it should"));
        }
        let (opened, _) = rows::opened(expected, truth);
        let judge = |when: &str| rows::equal_for(self.source, when, &want, &agent.shown()?, &opened);
        eventually("the rows at /flows are those expected", Duration::from_secs(15), || judge("/flows"))?;
        agent.wait_sweeps(2)?;
        judge("/flows, two sweeps later")?;
        self.says_what_is_split(agent)?;
        self.balances(agent)
    }

    /// A row that holds a sum of both directions says so, and no other does.
    fn says_what_is_split(&self, agent: &Agent<'_>) -> Result<(), String> {
        let flows = agent.flows()?;
        for row in flows["items"].as_array().into_iter().flatten() {
            let says = row["split"] == "unknown";
            if says != self.source.sums() && (self.source.sums() || row["total_rx_bytes"] != 0) {
                return Err(format!("the split of a row is not said rightly: {row}"));
            }
        }
        Ok(())
    }

    /// Rule 14: what was counted is acknowledged, pending, withheld, unattributed or lost, to the byte. Tried again,
    /// for the samples of a scrape are not of one moment while a batch is under way.
    pub fn balances(&self, agent: &Agent<'_>) -> Result<(), String> {
        eventually("the books balance", Duration::from_secs(3), || {
            let metrics = agent.metrics()?;
            let sum = |family: &str| {
                let of_family = |name: &&String| name.as_str() == family || name.starts_with(&format!("{family}{{"));
                metrics.keys().filter(of_family).map(|name| metrics[name]).sum::<f64>()
            };
            let counted = sum("netmon_counted_tx_bytes_total") + sum("netmon_counted_rx_bytes_total");
            let accounts = [
                "netmon_acknowledged_bytes_total",
                "netmon_open_bytes",
                "netmon_frozen_bytes",
                "netmon_held_bytes",
                "netmon_not_pushed_bytes_total",
                "netmon_unattributed_bytes_total",
                "netmon_lost_bytes_total",
            ]
            .map(|family| (family, sum(family)));
            let accounted: f64 = accounts.iter().map(|(_, bytes)| bytes).sum();
            if counted > 0.0 && counted == accounted { Ok(()) } else { Err(format!("{counted} counted, {accounts:?}")) }
        })
    }

    /// Ends `agent` by SIGTERM; then DAKR must have received exactly what rule 9 says of the expected rows.
    pub fn delivers(&self, agent: Agent<'_>, expected: &[Row], truth: &Truth) -> Result<(), String> {
        agent.terminate()?;
        self.received(&rows::pushed(expected, truth), &rows::opened(expected, truth).1)
    }

    /// DAKR must have received exactly `want`.
    pub fn received(&self, want: &Pushed, opened: &BTreeMap<WireKey, u64>) -> Result<(), String> {
        rows::equal_for(self.source, "what DAKR received", want, &self.dakr.pushed()?, opened)
    }

    /// The usual end of a scenario: shown, and delivered.
    pub fn settles(&self, agent: Agent<'_>, expected: &[Row]) -> Result<(), String> {
        let truth = self.truth()?;
        self.shows(&agent, expected, &truth)?;
        self.delivers(agent, expected, &truth)?;
        // Nothing may have moved meanwhile, or the comparison was luck.
        let moved = self.truth()?.since(&truth);
        match moved.iter().find(|(flow, _)| expected.iter().any(|row| row.flow() == *flow)) {
            None => Ok(()),
            Some((flow, traffic)) => Err(format!("{flow} moved while it was judged: {traffic:?}")),
        }
    }

    /// The second truth for TCP: with the options that the lab leaves on, layer-3 bytes are payload, 40 bytes (IPv6:
    /// 60) per packet, and 4 bytes of options per SYN. A loaded machine may retransmit; then they can only be more.
    pub fn sent_tcp(&self, truth: &Truth, flow: Flow, sent: Sent) -> Result<(), String> {
        let header = if flow.client.is_ipv6() { 60 } else { 40 };
        let traffic = truth.of(flow);
        for (who, counts, payload) in [("client", traffic.orig, sent.up), ("server", traffic.reply, sent.down)] {
            let predicted = payload + header * counts.packets + 4 * sent.connections;
            let retransmitted = self.retransmitted()?;
            if truth.opened(flow) != sent.connections && retransmitted == 0 {
                return Err(format!("{flow}: {} SYNs for {} connections", truth.opened(flow), sent.connections));
            }
            if counts.bytes == predicted || (retransmitted > 0 && counts.bytes > predicted) {
                continue;
            }
            return Err(format!(
                "{flow}: the {who} sent {payload} payload bytes over {} connections, which in {} packets makes \
                 {predicted} bytes; nft counted {} ({retransmitted} retransmissions)",
                sent.connections, counts.packets, counts.bytes
            ));
        }
        Ok(())
    }

    /// The second truth for protocols without acknowledgements: so many packets of so many payload bytes each way.
    pub fn sent_datagrams(
        &self,
        truth: &Truth,
        flow: Flow,
        (packets, payload): (u64, u64),
        (answers, answer): (u64, u64),
    ) -> Result<(), String> {
        // UDP's header and that of an ICMP echo are 8 bytes each.
        debug_assert!(matches!(flow.protocol, protocol::UDP | protocol::ICMP | protocol::ICMPV6));
        let header = 8 + if flow.client.is_ipv6() { 40 } else { 20 };
        let traffic = truth.of(flow);
        for (counts, packets, payload) in [(traffic.orig, packets, payload), (traffic.reply, answers, answer)] {
            let bytes = packets * (header + payload);
            if (counts.packets, counts.bytes) != (packets, bytes) {
                return Err(format!("{flow}: {bytes} bytes in {packets} packets were sent; nft counted {counts:?}"));
            }
        }
        Ok(())
    }

    fn retransmitted(&self) -> Result<u64, String> {
        let w = &self.world;
        let mut sum = 0;
        for host in [&w.node, &w.p1, &w.p2, &w.p3, &w.peer, &w.outside] {
            let snmp = host.netns.enter(|| std::fs::read_to_string("/proc/thread-self/net/snmp"));
            let snmp = snmp.map_err(|e| format!("cannot read /proc/thread-self/net/snmp: {e}"))?;
            let mut tcp = snmp.lines().filter(|l| l.starts_with("Tcp:")).map(|l| l.split_whitespace());
            let (Some(names), Some(values)) = (tcp.next(), tcp.next()) else { return Err("no Tcp: in snmp".into()) };
            let found = names.zip(values).find(|(name, _)| *name == "RetransSegs");
            sum += found.and_then(|(_, v)| v.parse::<u64>().ok()).ok_or("no RetransSegs in snmp")?;
        }
        Ok(sum)
    }

    /// A failure with what helps to understand it.
    pub fn explain(&self, why: &str) -> String {
        let log = std::fs::read_to_string(self.file("agent.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(25)..].join("\n  ");
        let mut text = format!("{why}\nagent's log:\n  {tail}\ntruth:\n");
        for (flow, traffic) in self.truth().unwrap_or_default().iter().take(30) {
            text += &format!("  {flow}: {traffic:?}\n");
        }
        text
    }
}
