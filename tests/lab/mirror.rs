//! Cilium's maps as its data path would fill them, made from what the node's conntrack counts, so that the same
//! scenarios judge the Cilium source.
//!
//! Each end that Cilium would track gets its entry, with its marks, and beside it the entries that repeat it: SERVICE
//! and RELATED. Frames have their 14 bytes. An entry whose tuple is used again goes on counting, as in releases up to
//! 1.15; what is left of a connection that has ended stays.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;

use netmon::baseline::{BaselineTable, Judged};
use netmon::clock::{self, MS, SECOND};
use netmon::flow::{Addr, Connection, Counts, Traffic, protocol};
use netmon::source::Source as _;
use netmon::source::netfilter::{Netfilter, Options};
use netmon::source::recorder::Recorder;

use crate::cilium::Bpffs;
use crate::netns::Netns;
use crate::topology::addr::*;
use crate::topology::ip;

/// The pods of the node, and its own addresses.
const PODS: [&str; 6] = [P1, P2, P3, P1_V6, P2_V6, P3_V6];
const NODES_OWN: [&str; 5] = [NODE, NODE_V6, GATEWAY, WAN, WAN_V6];

/// The maps of services' backends since 1.13, with the bytes of a value.
const BACKENDS: [(&str, usize); 2] = [("cilium_lb4_backends_v3", 12), ("cilium_lb6_backends_v3", 24)];
/// `BPF_MAP_TYPE_HASH`.
const HASH: u32 = 1;

/// The thread that writes, and the file system it writes to.
pub struct Mirror {
    /// Where the maps are pinned.
    pub root: PathBuf,
    stop: Arc<AtomicBool>,
    turns: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Mirror {
    /// Starts one for `node`, before the first connection. The layout: see [`crate::lab::Source::layout`].
    pub fn start(node: &Netns, layout: char) -> Result<Mirror, String> {
        let bpffs = Bpffs::with_maps();
        for (name, value_bytes) in BACKENDS {
            bpffs.create(name, HASH, 4, value_bytes, 1024);
        }
        let options = Options { manage_conntrack: false, standalone: true };
        let conntrack = node.enter(|| Netfilter::open(options, Recorder::off())).map_err(|e| e.to_string())?;
        let (root, stop) = (bpffs.root.clone(), Arc::new(AtomicBool::new(false)));
        let mut writer = Writer {
            bpffs,
            conntrack,
            layout,
            backends: Vec::new(),
            table: BaselineTable::with_capacity(200_000, 1),
            sums: HashMap::new(),
            changed: HashSet::new(),
        };
        writer.turn();
        let turns = Arc::new(AtomicU64::new(0));
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&turns));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Relaxed) {
                writer.turn();
                counter.fetch_add(1, Relaxed);
                clock::sleep_ns(20 * MS);
            }
        });
        Ok(Mirror { root, stop, turns, thread: Some(thread) })
    }

    /// Waits until everything that conntrack knows by now is written.
    pub fn settle(&self) {
        // One turn may have been under way.
        let after = self.turns.load(Relaxed) + 2;
        while self.turns.load(Relaxed) < after && self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            clock::sleep_ns(5 * MS);
        }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A conversation as Cilium names it: after translation.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Name {
    client: Addr,
    sport: u16,
    backend: Addr,
    port: u16,
    protocol: u8,
}

/// What it has carried, and what was asked for.
#[derive(Clone, Copy, Default)]
struct Sum {
    traffic: Traffic,
    asked: (Addr, u16),
}

struct Writer {
    bpffs: Bpffs,
    conntrack: Netfilter,
    layout: char,
    /// Those of services, by their ids from 1 on.
    backends: Vec<(Addr, u16)>,
    table: BaselineTable,
    sums: HashMap<Name, Sum>,
    changed: HashSet<Name>,
}

impl Writer {
    /// Reads conntrack and writes what has changed.
    fn turn(&mut self) {
        let now = clock::now();
        self.table.begin_sweep();
        let (table, sums, changed) = (&mut self.table, &mut self.sums, &mut self.changed);
        let sweep = self.conntrack.sweep(now, &mut |c| {
            let judged = if c.reading.is_end() { table.ended(c) } else { table.live(c) };
            let Judged::Increment(traffic) = judged else { return };
            if traffic.is_zero() {
                return;
            }
            let name = name_of(c);
            let sum = sums.entry(name).or_default();
            sum.traffic += traffic;
            sum.asked = (c.key.dst, c.key.dport);
            changed.insert(name);
        });
        self.table.end_sweep(sweep.is_ok_and(|sweep| sweep.complete));
        let report = now.mono_ns / SECOND;
        let mut lines = String::new();
        for name in std::mem::take(&mut self.changed) {
            self.write(&mut lines, &name, self.sums[&name], report);
        }
        self.bpffs.tell(&lines);
    }

    /// The entries that Cilium has for one conversation, as lines for the writer.
    fn write(&mut self, lines: &mut String, name: &Name, sum: Sum, report: u64) {
        let has = |list: &[&str], addr: Addr| list.iter().any(|known| Addr::from(ip(known)) == addr);
        let (is_ours, is_to_ours) = (has(&PODS, name.client), has(&PODS, name.backend));
        let is_translated = sum.asked.0 != name.backend || (sum.asked.1 != name.port && name.port != 0);
        let Traffic { orig, reply } = sum.traffic;
        let (mut client, mut marks) = (name.client.to_string(), "seen_non_syn".to_owned());
        if name.client == name.backend {
            client = if name.client.is_v4() { "169.254.42.1" } else { "fe80::2a01" }.to_owned();
            marks += ",lb_loopback";
        }
        let id = if is_ours && is_translated { self.backend_id(lines, name) } else { 0 };
        let mut put = |role: &str, name: &Name, marks: &str, tx: Counts, rx: Counts| {
            let entry = Entry { role, name, client: &client, marks, tx, rx };
            self.put(lines, &entry, report);
        };
        if is_ours || has(&NODES_OWN, name.client) {
            put("out", name, &marks, orig, reply);
        } else if is_translated {
            put("out", name, &(marks.clone() + ",node_port"), orig, reply);
        }
        if is_to_ours {
            put("in", name, &marks, reply, orig);
        }
        // Of an entry of a pod there is a twin for ICMP errors, made with its first packet.
        let first = Counts { bytes: 60, packets: 1 };
        for (is_there, role) in [(is_ours, "related-out"), (is_to_ours, "related-in")] {
            if is_there && orig.packets <= 4 {
                let icmp = if name.client.is_v4() { protocol::ICMP } else { protocol::ICMPV6 };
                let twin = Name { sport: 0, port: 0, protocol: icmp, ..*name };
                let (tx, rx) = if role == "related-out" { (first, Counts::ZERO) } else { (Counts::ZERO, first) };
                put(role, &twin, &marks, tx, rx);
            }
        }
        if is_ours && is_translated {
            let asked = Name { backend: sum.asked.0, port: sum.asked.1, ..*name };
            put("service", &asked, &format!("{marks} backend={id} revnat=5"), orig, Counts::ZERO);
        }
    }

    /// The id of a conversation's backend, which is written into the map of its family where it is new.
    fn backend_id(&mut self, lines: &mut String, name: &Name) -> usize {
        let backend = (name.backend, name.port);
        if let Some(index) = self.backends.iter().position(|known| *known == backend) {
            return index + 1;
        }
        self.backends.push(backend);
        let id = self.backends.len();
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let mut value = match name.backend.to_ip() {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        value.extend_from_slice(&name.port.to_be_bytes());
        let (map, value_bytes) = BACKENDS[usize::from(!name.backend.is_v4())];
        value.resize(value_bytes, 0);
        let _ = writeln!(lines, "raw {map} {} {}", hex(&(id as u32).to_ne_bytes()), hex(&value));
        id
    }

    /// One entry as a line for the writer.
    fn put(&self, lines: &mut String, entry: &Entry<'_>, report: u64) {
        let Entry { role, name, client, marks, tx, rx } = *entry;
        let end = |addr: &str, port: u16| {
            if addr.contains(':') { format!("[{addr}]:{port}") } else { format!("{addr}:{port}") }
        };
        let (opener, answerer) = (end(client, name.sport), end(&name.backend.to_string(), name.port));
        let frames = |c: Counts| format!("{}/{}", c.packets, c.bytes + 14 * c.packets);
        let _ = write!(lines, "entry {} {role} {} {opener} {answerer} marks={marks}", self.layout, name.protocol);
        let _ = match (role, self.layout) {
            ("service", 'a') => Ok(()),
            (_, 'a') => write!(lines, " tx={} rx={}", frames(tx), frames(rx)),
            // From 1.16 on the twin is made before the packet is counted.
            ("related-out" | "related-in", _) => Ok(()),
            _ => {
                let sum = Counts { bytes: tx.bytes + rx.bytes, packets: tx.packets + rx.packets };
                write!(lines, " sum={}", frames(sum))
            }
        };
        if self.layout == 'c' && marks.contains("node_port") {
            // The address of the service stands where counters stood.
            let _ = write!(lines, " nat=198.51.100.10:80");
        }
        let seen = |is_seen: bool| if is_seen && name.protocol == protocol::TCP { "1a" } else { "00" };
        let reported = |is_seen: bool| if is_seen { report } else { 0 };
        let (sent, received) = (!tx.is_zero(), !rx.is_zero());
        let _ = writeln!(
            lines,
            " tcp={}/{} reported={}/{}",
            seen(sent),
            seen(received),
            reported(sent),
            reported(received)
        );
    }
}

/// What stands in one entry: the local end's view.
#[derive(Clone, Copy)]
struct Entry<'a> {
    role: &'a str,
    name: &'a Name,
    client: &'a str,
    marks: &'a str,
    tx: Counts,
    rx: Counts,
}

fn name_of(c: &Connection) -> Name {
    let has_ports = ![protocol::ICMP, protocol::ICMPV6].contains(&c.key.protocol);
    let sport = c.key.sport;
    Name {
        client: c.key.src,
        sport,
        backend: c.backend,
        port: if has_ports { c.backend_port } else { 0 },
        protocol: c.key.protocol,
    }
}
