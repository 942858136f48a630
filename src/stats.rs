//! The agent's own counters. The doc sentence of each is its HELP text on `/metrics`.
//!
//! One [`Stats`] per agent, shared by its threads; every cell is a relaxed atomic, for nothing is decided by them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::listed;

/// A number that only grows, or a gauge that is set.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Sets a gauge.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// Reads it.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How a series behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes both ways.
    Gauge,
}

listed! {
    /// Why bytes or events were lost (`reason` of `netmon_lost_bytes_total` and `netmon_lost_events_total`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Lost {
        /// The row table had no slot left, not even for a folded row (rule 13).
        RowTableFull => "row_table_full",
        /// The connection table was full (rule 13).
        ConnectionTableFull => "connection_table_full",
        /// The kernel dropped conntrack events (ENOBUFS); events, bytes cannot be known.
        EventQueueFull => "event_queue_full",
        /// A baseline left three complete dumps without a DESTROY; events, its last bytes cannot be known.
        Vanished => "vanished",
        /// A BPF map was full.
        BpfMapFull => "bpf_map_full",
        /// DAKR refused the item for good.
        Refused => "refused",
        /// One item was larger than DAKR takes.
        TooLarge => "too_large",
        /// The agent ended before DAKR took it, and it surely was not taken.
        Shutdown => "shutdown",
        /// The agent ended before DAKR said whether it took it.
        ShutdownAmbiguous => "shutdown_ambiguous",
        /// A connection of the state file ended before a sweep saw it again; events, its last bytes cannot be known.
        Restart => "restart",
    }
}

listed! {
    /// Why bytes have no owner (`reason` of `netmon_unattributed_bytes_total`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Unattributed {
        /// Forwarded traffic of which neither end lives here (rule 5).
        NoLocalEnd => "no_local_end",
        /// The waiting table was full (rule 8).
        WaitingFull => "waiting_full",
    }
}

listed! {
    /// Why counted bytes are not pushed (`reason` of `netmon_not_pushed_bytes_total`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Withheld {
        /// An inbound row whose originator is inside: its own node reports it (rule 9).
        InboundInside => "inbound_inside",
        /// Inbound rows, under `-push-inbound none`.
        InboundNone => "inbound_none",
        /// The node's own tunnels (rule 6).
        Overlay => "overlay",
        /// No DAKR is configured.
        NoDakr => "no_dakr",
    }
}

listed! {
    /// Why a record was left out (`netmon_skipped_total{reason}`). The first-sweep and zone rules are applied later, by
    /// the collector; they are listed here so that one list names all reasons.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Skip {
        /// A message or attribute that cannot be what it says.
        Malformed => "malformed",
        /// An entry made before accounting was on: it will never show counters.
        NoCounters => "no_counters",
        /// A dump entry that has already ended (status DYING); its DESTROY counts.
        Dying => "dying",
        /// A DESTROY without a baseline before the first complete sweep (rule 10).
        BeforeFirstSweep => "before_first_sweep",
        /// Another conntrack zone than the one that is counted (rule 7).
        CtZone => "zone",
        /// Loopback traffic, or a host's connection to itself (rule 1).
        Loopback => "loopback",
        /// A Cilium SERVICE or RELATED entry, which repeats what another entry counts.
        Service => "service",
        /// ICMP that speaks about other traffic: errors, neighbour discovery, multicast listeners (rule 1).
        IcmpError => "icmp_error",
        /// A raw socket's copy of a packet that another socket received.
        RawCopy => "raw_copy",
        /// A packet that met the BPF programs before they had a buffer.
        NoBuffer => "no_buffer",
        /// A Cilium entry of the node's own address: only a part of the host's traffic has entries.
        HostPartial => "host_partial",
        /// A Cilium entry of what passes through, whose bytes a local pod's entry counts.
        Covered => "covered",
    }
}

/// Records left out, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped(pub [u64; Skip::ALL.len()]);

impl Skipped {
    /// Counts one.
    pub fn add(&mut self, reason: Skip) {
        self.add_many(reason, 1);
    }

    /// Counts `n`.
    pub fn add_many(&mut self, reason: Skip, n: u64) {
        self.0[reason as usize] += n;
    }
}

listed! {
    /// Why something that the API server sent is left out (`reason` of `netmon_kube_skipped_total`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(usize)]
    pub enum KubeSkip {
        /// A pod without name or uid, or an object that is no pod.
        NoPod => "no_pod",
        /// An event of a type that we do not know.
        UnknownType => "unknown_type",
        /// A pod beyond the number that we keep.
        TooMany => "too_many",
    }
}

listed! {
    /// Why names or lookups were lost (`reason` of `netmon_dns_lost_total`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(usize)]
    pub enum DnsLost {
        /// Answers that found no room in the ring buffer.
        RingFull => "ring_full",
        /// Lookups that left to make room before they were sent.
        LookupsFull => "lookups_full",
        /// Names that left to make room before their time was over.
        NamesFull => "names_full",
        /// Lookups that DAKR refused for good, or that the agent's end left undelivered.
        Undelivered => "undelivered",
        /// Lookups while no DAKR is configured.
        NoDakr => "no_dakr",
    }
}

listed! {
    /// Why a DNS answer gave no names (`reason` of `netmon_dns_skipped_total`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(usize)]
    pub enum DnsSkip {
        /// It is no answer to one question.
        Malformed => "malformed",
        /// Nobody was seen to ask it within ten seconds.
        Unasked => "unasked",
        /// It is truncated before its first address.
        Truncated => "truncated",
        /// It goes over several TCP segments.
        Segmented => "segmented",
        /// It has no addresses.
        Empty => "empty",
    }
}

listed! {
    /// A capability that some mode needs (`capability` of `netmon_capability_held`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(usize)]
    pub enum Capability {
        /// CAP_NET_ADMIN.
        NetAdmin => "CAP_NET_ADMIN",
        /// CAP_BPF.
        Bpf => "CAP_BPF",
        /// CAP_PERFMON.
        Perfmon => "CAP_PERFMON",
        /// CAP_SYS_RESOURCE.
        SysResource => "CAP_SYS_RESOURCE",
    }
}

/// One family of series, for `/metrics`.
pub struct FamilyView<'a> {
    /// Metric name.
    pub name: &'static str,
    /// HELP text.
    pub help: &'static str,
    /// TYPE.
    pub kind: Kind,
    /// The label that the cells differ by; empty where there is one cell.
    pub label: &'static str,
    /// What a cell's number is divided by to get the unit in the name: cells are whole nanoseconds, series seconds.
    pub per: u64,
    /// Value of that label and the cell, in order.
    pub cells: Vec<(&'static str, &'a Cell)>,
}

macro_rules! stats {
    ($( #[doc = $help:literal] $field:ident : $kind:ident $name:literal $( / $per:literal )? $( [ $label:literal ; $reasons:ty ] )? ; )*) => {
        /// All counters of one agent.
        #[derive(Debug, Default)]
        pub struct Stats {
            $( #[doc = $help] pub $field: stats!(@type $($reasons)?), )*
        }

        impl Stats {
            /// Every family, in the order of their definition.
            pub fn families(&self) -> Vec<FamilyView<'_>> {
                vec![ $( FamilyView {
                    name: $name,
                    help: $help.trim_ascii(),
                    kind: Kind::$kind,
                    label: stats!(@label $($label)?),
                    per: stats!(@per $($per)?),
                    cells: stats!(@cells self.$field $(, $reasons)?),
                }, )* ]
            }
        }
    };
    (@type $reasons:ty) => { [Cell; <$reasons>::ALL.len()] };
    (@type) => { Cell };
    (@label $label:literal) => { $label };
    (@label) => { "" };
    (@per $per:literal) => { $per };
    (@per) => { 1 };
    (@cells $cells:expr, $reasons:ty) => {
        <$reasons>::ALL.iter().map(|reason| reason.as_str()).zip($cells.iter()).collect()
    };
    (@cells $cell:expr) => { vec![("", &$cell)] };
}

stats! {
    /// Full reads of the source.
    sweeps: Counter "netmon_sweeps_total";
    /// Full reads that were not complete (a dump voided by a resize of the kernel's table, or cut short).
    sweeps_voided: Counter "netmon_sweeps_voided_total";
    /// Full reads that failed.
    sweep_errors: Counter "netmon_sweep_errors_total";
    /// CPU time spent in sweeps.
    sweep_cpu_ns: Counter "netmon_sweep_cpu_seconds_total" / 1_000_000_000;
    /// Duration of the last sweep.
    sweep_last_ns: Gauge "netmon_sweep_last_seconds" / 1_000_000_000;
    /// When the last sweep began, seconds since the epoch.
    sweep_wall_ms: Gauge "netmon_last_sweep_timestamp_seconds" / 1_000;
    /// Interval between sweeps that is in force.
    sweep_interval_ms: Gauge "netmon_sweep_interval_seconds" / 1_000;
    /// Records that the source handed over.
    records: Counter "netmon_records_total";
    /// Records that tell the end of a connection.
    ends: Counter "netmon_ends_total";
    /// Records left out, by reason.
    skipped: Counter "netmon_skipped_total" ["reason"; Skip];
    /// Bytes that reached the agent, as sent by the local ends.
    counted_tx_bytes: Counter "netmon_counted_tx_bytes_total";
    /// Bytes that reached the agent, as received by the local ends.
    counted_rx_bytes: Counter "netmon_counted_rx_bytes_total";
    /// Bytes that DAKR acknowledged, tx and rx together.
    acknowledged_bytes: Counter "netmon_acknowledged_bytes_total";
    /// Bytes lost, tx and rx together, by reason.
    lost_bytes: Counter "netmon_lost_bytes_total" ["reason"; Lost];
    /// Events after which an unknown number of bytes is missing, by reason.
    lost_events: Counter "netmon_lost_events_total" ["reason"; Lost];
    /// Bytes of connections without a local end, by reason.
    unattributed_bytes: Counter "netmon_unattributed_bytes_total" ["reason"; Unattributed];
    /// Bytes counted and shown but by rule not pushed, by reason; settled when a window is frozen.
    not_pushed_bytes: Counter "netmon_not_pushed_bytes_total" ["reason"; Withheld];
    /// Bytes whose push ended without a definite answer for an hour and which were sent again in a later batch.
    ambiguous_bytes: Counter "netmon_ambiguous_bytes_total";
    /// Bytes that wait for their owner.
    held_bytes: Gauge "netmon_held_bytes";
    /// Bytes counted and not yet settled, in the open window.
    open_bytes: Gauge "netmon_open_bytes";
    /// Bytes counted and not yet settled, in the frozen batch.
    frozen_bytes: Gauge "netmon_frozen_bytes";
    /// Bytes that lost their remote address to make room in the row table.
    folded_bytes: Counter "netmon_folded_bytes_total";
    /// Rows folded to make room in the row table.
    folded_rows: Counter "netmon_folded_rows_total";
    /// Connections whose asked-for service address could not be resolved to a backend.
    vip_unresolved: Counter "netmon_vip_unresolved_total";
    /// Connections that are followed.
    connections: Gauge "netmon_connections";
    /// Connections that can be followed at most.
    connections_max: Gauge "netmon_connections_max";
    /// Rows in the table.
    rows: Gauge "netmon_rows";
    /// Rows that the table holds at most.
    rows_max: Gauge "netmon_rows_max";
    /// Increments that wait for their owner.
    waiting: Gauge "netmon_waiting";
    /// Pushes that DAKR acknowledged.
    pushes_ok: Counter "netmon_pushes_total";
    /// Pushes that failed, whatever became of their bytes.
    pushes_failed: Counter "netmon_push_failures_total";
    /// Acknowledged pushes whose processed_count was not the number of items.
    pushes_miscounted: Counter "netmon_push_miscounts_total";
    /// Heartbeats that DAKR acknowledged.
    heartbeats_ok: Counter "netmon_heartbeats_total";
    /// Heartbeats that failed.
    heartbeats_failed: Counter "netmon_heartbeat_failures_total";
    /// Writes of the state file that reached the disk.
    state_writes: Counter "netmon_state_writes_total";
    /// Writes of the state file that failed or were not done in time, and state files that could not be used.
    state_failures: Counter "netmon_state_failures_total";
    /// Size of the state file when it was last written whole.
    state_bytes: Gauge "netmon_state_bytes";
    /// Flows whose opener and owner the ebpf source remembers.
    bpf_roles: Gauge "netmon_bpf_roles";
    /// Flows of the ebpf source whose opener was guessed from the lower port.
    bpf_roles_guessed: Counter "netmon_bpf_roles_guessed_total";
    /// Flows that the ebpf source forgot to make room for new ones.
    bpf_roles_evicted: Counter "netmon_bpf_roles_evicted_total";
    /// Flows of the ebpf source that were looked up in conntrack.
    bpf_lookups: Counter "netmon_bpf_lookups_total";
    /// Later fragments, which the BPF programs count without ports.
    bpf_later_fragments: Counter "netmon_bpf_later_fragments_total";
    /// DNS answers that were seen.
    dns_answers: Counter "netmon_dns_answers_total";
    /// DNS answers that were folded into an earlier lookup of the same client and name.
    dns_folded: Counter "netmon_dns_folded_total";
    /// DNS lookups: one for each client and name in a window.
    dns_lookups: Counter "netmon_dns_lookups_total";
    /// DNS lookups that DAKR acknowledged.
    dns_acknowledged: Counter "netmon_dns_acknowledged_total";
    /// DNS lookups that wait to be acknowledged.
    dns_pending: Gauge "netmon_dns_pending";
    /// DNS answers, lookups and names lost, by reason.
    dns_lost: Counter "netmon_dns_lost_total" ["reason"; DnsLost];
    /// DNS questions that were not seen for want of room, so that their answers are called unasked.
    dns_questions_lost: Counter "netmon_dns_questions_lost_total";
    /// DNS answers that gave no names, by reason.
    dns_skipped: Counter "netmon_dns_skipped_total" ["reason"; DnsSkip];
    /// Names of addresses that are known, each for one client.
    dns_names: Gauge "netmon_dns_names";
    /// Lists of pods that the API server was asked for.
    kube_lists: Counter "netmon_kube_lists_total";
    /// Watches of pods that the API server was asked for.
    kube_watches: Counter "netmon_kube_watches_total";
    /// Events that watches brought, bookmarks included.
    kube_events: Counter "netmon_kube_events_total";
    /// Requests to the API server that failed, and watches that broke.
    kube_failures: Counter "netmon_kube_failures_total";
    /// What the API server sent and we could not use, by reason.
    kube_skipped: Counter "netmon_kube_skipped_total" ["reason"; KubeSkip];
    /// Renewals of roots or certificates for the API server that failed, so that the old ones stay in use.
    kube_renewals_failed: Counter "netmon_kube_renewals_failed_total";
    /// Version of Landlock by which the threads http, push and kube write and execute no file; 0 where there is none.
    landlock: Gauge "netmon_landlock_version";
    /// 1 for each capability that the collector holds; the other threads hold none.
    capabilities: Gauge "netmon_capability_held" ["capability"; Capability];
    /// Pods known to live on this node.
    pods: Gauge "netmon_pods";
    /// Requests that the local endpoint answered.
    http_requests: Counter "netmon_http_requests_total";
    /// Connections to the local endpoint that were cut (slow, malformed, or too many).
    http_cut: Counter "netmon_http_cut_total";
}

impl Stats {
    /// Counts bytes lost for a reason.
    pub fn lose_bytes(&self, reason: Lost, bytes: u64) {
        self.lost_bytes[reason as usize].add(bytes);
    }

    /// Counts an event after which an unknown number of bytes is missing.
    pub fn lose_events(&self, reason: Lost, events: u64) {
        self.lost_events[reason as usize].add(events);
    }
}

#[cfg(test)]
mod tests;
