//! The agent's own counters. The doc sentence of each is its HELP text on `/metrics`.
//!
//! All threads share one [`Stats`]. Every cell is a relaxed atomic, because no decision depends on it.

mod reasons;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub use self::reasons::{
    Capability, DnsLost, DnsSkip, Impaired, KubeSkip, Lost, Skip, Skipped, TopologyRefused, Unattributed, Withheld,
};

/// One counter or gauge.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub fn inc(&self) {
        self.add(1);
    }

    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// Returns the current value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The Prometheus type of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Rises and falls.
    Gauge,
}

/// One family of series, for `/metrics`.
pub struct FamilyView<'a> {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    /// Name of the label that distinguishes the cells; empty if there is one cell.
    pub label: &'static str,
    /// Divisor from the cell to the unit in the name: cells hold nanoseconds, series show seconds.
    pub per: u64,
    /// Label value and cell, in the order of the enum.
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
            /// Returns every family in the order of definition.
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
    /// Full reads that were incomplete: the kernel's table was resized meanwhile, or the dump was cut short.
    sweeps_voided: Counter "netmon_sweeps_voided_total";
    /// Full reads that failed.
    sweep_errors: Counter "netmon_sweep_errors_total";
    /// CPU time spent in sweeps.
    sweep_cpu_ns: Counter "netmon_sweep_cpu_seconds_total" / 1_000_000_000;
    /// Duration of the last sweep.
    sweep_last_ns: Gauge "netmon_sweep_last_seconds" / 1_000_000_000;
    /// Start of the last sweep, seconds since the epoch.
    sweep_wall_ms: Gauge "netmon_last_sweep_timestamp_seconds" / 1_000;
    /// Time from the last sweep to the next one that is planned; one that somebody needs comes sooner.
    sweep_interval_ms: Gauge "netmon_sweep_interval_seconds" / 1_000;
    /// Records that the source delivered.
    records: Counter "netmon_records_total";
    /// Records of the end of a connection.
    ends: Counter "netmon_ends_total";
    /// Records left out, by reason.
    skipped: Counter "netmon_skipped_total" ["reason"; Skip];
    /// All counted bytes, as sent by local ends.
    counted_tx_bytes: Counter "netmon_counted_tx_bytes_total";
    /// All counted bytes, as received by local ends.
    counted_rx_bytes: Counter "netmon_counted_rx_bytes_total";
    /// Bytes that DAKR acknowledged, tx and rx together.
    acknowledged_bytes: Counter "netmon_acknowledged_bytes_total";
    /// Bytes lost, tx and rx together, by reason.
    lost_bytes: Counter "netmon_lost_bytes_total" ["reason"; Lost];
    /// Events that lost an unknown number of bytes, by reason.
    lost_events: Counter "netmon_lost_events_total" ["reason"; Lost];
    /// Bytes of connections without a local end, by reason.
    unattributed_bytes: Counter "netmon_unattributed_bytes_total" ["reason"; Unattributed];
    /// Bytes that are shown but not pushed, by the rule that says so; counted when a window is frozen.
    not_pushed_bytes: Counter "netmon_not_pushed_bytes_total" ["reason"; Withheld];
    /// Bytes whose push had no definite answer for an hour, so that a later batch sent them again.
    ambiguous_bytes: Counter "netmon_ambiguous_bytes_total";
    /// Bytes whose pod is not known yet.
    held_bytes: Gauge "netmon_held_bytes";
    /// Bytes in the open window, neither acknowledged nor withheld nor lost yet.
    open_bytes: Gauge "netmon_open_bytes";
    /// Bytes in the frozen batch, neither acknowledged nor lost yet.
    frozen_bytes: Gauge "netmon_frozen_bytes";
    /// Bytes of rows that were folded to make room in the row table.
    folded_bytes: Counter "netmon_folded_bytes_total";
    /// Rows folded to make room in the row table.
    folded_rows: Counter "netmon_folded_rows_total";
    /// Connections whose service address could not be resolved to a backend.
    vip_unresolved: Counter "netmon_vip_unresolved_total";
    /// Connections in the connection table.
    connections: Gauge "netmon_connections";
    /// Connections made while accounting was off, in the last full read: they show no counters and are not counted.
    connections_uncounted: Gauge "netmon_connections_uncounted";
    /// Capacity of the connection table.
    connections_max: Gauge "netmon_connections_max";
    /// Rows in the table.
    rows: Gauge "netmon_rows";
    /// Capacity of the row table.
    rows_max: Gauge "netmon_rows_max";
    /// Increments whose pod is not known yet.
    waiting: Gauge "netmon_waiting";
    /// Pushes that DAKR acknowledged.
    pushes_ok: Counter "netmon_pushes_total";
    /// Pushes that failed, including those that are sent again.
    pushes_failed: Counter "netmon_push_failures_total";
    /// Acknowledged pushes whose processed_count differs from the number of items.
    pushes_miscounted: Counter "netmon_push_miscounts_total";
    /// Heartbeats that DAKR acknowledged.
    heartbeats_ok: Counter "netmon_heartbeats_total";
    /// Heartbeats that failed.
    heartbeats_failed: Counter "netmon_heartbeat_failures_total";
    /// Writes of the state file that reached the disk.
    state_writes: Counter "netmon_state_writes_total";
    /// Writes of the state file that failed or took too long, and state files that could not be used.
    state_failures: Counter "netmon_state_failures_total";
    /// Size of the state file at its last full write.
    state_bytes: Gauge "netmon_state_bytes";
    /// Flows whose originator and owner the ebpf source remembers.
    bpf_roles: Gauge "netmon_bpf_roles";
    /// Connections that conntrack picked up in their midst and whose opener was guessed from the lower port.
    conntrack_roles_guessed: Counter "netmon_conntrack_roles_guessed_total";
    /// Flows of the ebpf source whose originator was guessed from the lower port.
    bpf_roles_guessed: Counter "netmon_bpf_roles_guessed_total";
    /// Flows that the ebpf source dropped from its memory to make room for new ones.
    bpf_roles_evicted: Counter "netmon_bpf_roles_evicted_total";
    /// Flows that the ebpf source looked up in conntrack.
    bpf_lookups: Counter "netmon_bpf_lookups_total";
    /// IP fragments after the first, which have no ports and are counted with port 0.
    bpf_later_fragments: Counter "netmon_bpf_later_fragments_total";
    /// DNS answers that the BPF programs saw.
    dns_answers: Counter "netmon_dns_answers_total";
    /// DNS answers that joined an earlier lookup of the same client and name.
    dns_folded: Counter "netmon_dns_folded_total";
    /// DNS lookups: one for each client and name in a window.
    dns_lookups: Counter "netmon_dns_lookups_total";
    /// DNS lookups that DAKR acknowledged.
    dns_acknowledged: Counter "netmon_dns_acknowledged_total";
    /// DNS lookups that DAKR has not acknowledged yet.
    dns_pending: Gauge "netmon_dns_pending";
    /// DNS answers, lookups and names lost, by reason.
    dns_lost: Counter "netmon_dns_lost_total" ["reason"; DnsLost];
    /// DNS questions dropped because the table of questions was full; their answers are skipped as unasked.
    dns_questions_lost: Counter "netmon_dns_questions_lost_total";
    /// DNS answers that gave no names, by reason.
    dns_skipped: Counter "netmon_dns_skipped_total" ["reason"; DnsSkip];
    /// Known names of addresses, each for one client.
    dns_names: Gauge "netmon_dns_names";
    /// Ranges of the topology in use.
    topology_ranges: Gauge "netmon_topology_ranges";
    /// Topologies that were not used, by reason; the one before stays in use.
    topology_refused: Counter "netmon_topology_refused_total" ["reason"; TopologyRefused];
    /// Series by scope, via and service.
    cost_series: Gauge "netmon_cost_series";
    /// Increments of units and containers that count as the host's, because 1,024 others have rows.
    groups_refused: Counter "netmon_owners_refused_total";
    /// Bytes shown without their service or pod because the table is full, tx and rx together.
    cost_joined_bytes: Counter "netmon_cost_joined_bytes_total";
    /// Requests to the API server for a list: of pods, and with `-topology-source nodes` of nodes.
    kube_lists: Counter "netmon_kube_lists_total";
    /// Requests to the API server to watch pods or nodes.
    kube_watches: Counter "netmon_kube_watches_total";
    /// Events that watches received, bookmarks included.
    kube_events: Counter "netmon_kube_events_total";
    /// Requests to the API server that failed, and watches that broke.
    kube_failures: Counter "netmon_kube_failures_total";
    /// Objects from the API server that could not be used, by reason.
    kube_skipped: Counter "netmon_kube_skipped_total" ["reason"; KubeSkip];
    /// Failed renewals of certificates for the API server; the old ones stay in use.
    kube_renewals_failed: Counter "netmon_kube_renewals_failed_total";
    /// Version of Landlock that stops the threads http, push and kube from writing files; 0 without Landlock.
    landlock: Gauge "netmon_landlock_version";
    /// 1 for each capability that the collector holds; the other threads hold none.
    capabilities: Gauge "netmon_capability_held" ["capability"; Capability];
    /// Pods known to run on this node.
    pods: Gauge "netmon_pods";
    /// Pods that run for a minute and that no record has spoken of since the agent started.
    pods_unseen: Gauge "netmon_pods_unseen";
    /// 1 for each way in which counting is impaired now, by reason; component monitor of /healthz says it in words.
    impaired: Gauge "netmon_impaired" ["reason"; Impaired];
    /// When DAKR acknowledged the last push, seconds since the epoch; 0 before the first.
    last_push_ms: Gauge "netmon_last_push_timestamp_seconds" / 1_000;
    /// Resident memory of the agent.
    process_resident: Gauge "process_resident_memory_bytes";
    /// CPU time that the agent has used.
    process_cpu_ns: Counter "process_cpu_seconds_total" / 1_000_000_000;
    /// Start of the agent, seconds since the epoch.
    process_start_ms: Gauge "process_start_time_seconds" / 1_000;
    /// Open file descriptors of the agent.
    process_open_fds: Gauge "process_open_fds";
    /// Requests that the HTTP endpoint answered.
    http_requests: Counter "netmon_http_requests_total";
    /// Connections to the HTTP endpoint that were cut: slow, malformed or too many.
    http_cut: Counter "netmon_http_cut_total";
}

impl Stats {
    /// Counts an event after which an unknown number of bytes is missing.
    pub fn lose_events(&self, reason: Lost, events: u64) {
        self.lost_events[reason as usize].add(events);
    }
}

#[cfg(test)]
mod tests;
