//! Reasons: one list for each series that counts by reason. The words are the values of its label.
//!
//! A variant added here gets its cell and its series of `/metrics` by itself.

use crate::listed;

listed! {
    /// Why bytes or events were lost (`reason` of `netmon_lost_bytes_total` and `netmon_lost_events_total`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Lost {
        /// The row table had no slot left, not even for a folded row (rule 13).
        RowTableFull => "row_table_full",
        /// The connection table was full (rule 13).
        ConnectionTableFull => "connection_table_full",
        /// The kernel dropped conntrack events (ENOBUFS). Counts events: their bytes are unknown.
        EventQueueFull => "event_queue_full",
        /// A connection was missing in three complete dumps without a DESTROY. Counts events: its last bytes are unknown.
        Vanished => "vanished",
        /// A BPF map was full.
        BpfMapFull => "bpf_map_full",
        /// DAKR refused the item for good.
        Refused => "refused",
        /// One item was larger than DAKR takes.
        TooLarge => "too_large",
        /// Not sent when the agent ended.
        Shutdown => "shutdown",
        /// Sent, but not answered when the agent ended: DAKR may have counted it.
        ShutdownAmbiguous => "shutdown_ambiguous",
        /// A connection of the state file ended before a sweep saw it. Counts events: its last bytes are unknown.
        Restart => "restart",
        /// What waited in a state file that could not be gone on from; events, its bytes cannot be known.
        StateFile => "state_file",
        /// Carried while the source that counts an end changed, by neither's account whole (mode auto, rule 21).
        SourceChanged => "source_changed",
    }
}

listed! {
    /// How counting is impaired (`reason` of `netmon_impaired`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Impaired {
        /// The source does not see the traffic (rule 16).
        Blind => "blind",
        /// Another mode runs than the wanted one.
        Fallback => "fallback",
        /// The last sweep failed.
        Sweep => "sweep",
        /// The source says what it lacks.
        Source => "source",
        /// Sockets cannot be attributed to pods.
        SocketOwners => "socket_owners",
        /// The pods' node has an address that is none of this network namespace.
        Elsewhere => "elsewhere",
        /// The kernel dropped events since the last sweep.
        EventsLost => "events_lost",
        /// Local ends appear only in conntrack zones that are not counted (rule 7).
        OtherZone => "other_zone",
        /// The connection table is full.
        TableFull => "table_full",
        /// The waiting table is full (rule 8).
        WaitingFull => "waiting_full",
        /// Connections made while accounting was off show no counters.
        Uncounted => "uncounted",
        /// Accounting is off: Cilium's, or the kernel's.
        AccountingOff => "accounting_off",
        /// Cilium counts both directions as one sum.
        Sums => "sums",
        /// Something on the node was found that hides traffic from the source (rule 16).
        Hidden => "hidden",
        /// No running pod of this node was ever seen (rule 16).
        PodsUnseen => "pods_unseen",
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
        /// Multicast and broadcast, which leave no network at a price.
        Multicast => "multicast",
        /// No DAKR is configured.
        NoDakr => "no_dakr",
    }
}

listed! {
    /// Why a record is skipped (`reason` of `netmon_skipped_total`). The collector applies the first-sweep and zone rules;
    /// they are listed here so that one list holds all reasons.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Skip {
        /// A malformed message or attribute.
        Malformed => "malformed",
        /// An entry created before accounting was on: it never gets counters.
        NoCounters => "no_counters",
        /// A dump entry that has already ended (status DYING); its DESTROY counts.
        Dying => "dying",
        /// A DESTROY without a baseline before the first complete sweep (rule 10).
        BeforeFirstSweep => "before_first_sweep",
        /// An entry of a conntrack zone that is not counted (rule 7).
        CtZone => "zone",
        /// Loopback traffic, or a host's connection to itself (rule 1).
        Loopback => "loopback",
        /// A Cilium SERVICE or RELATED entry, which repeats what another entry counts.
        Service => "service",
        /// ICMP about other traffic: errors, neighbour discovery, multicast listeners (rule 1).
        IcmpError => "icmp_error",
        /// A raw socket's copy of a packet that another socket received.
        RawCopy => "raw_copy",
        /// A TCP segment that the kernel showed to the BPF programs twice: by its listener, and by the socket that another
        /// segment made meanwhile.
        SameSegment => "same_segment",
        /// A packet that the BPF programs saw before they had a buffer.
        NoBuffer => "no_buffer",
        /// A Cilium entry of the node's own address: only part of the host's traffic has entries.
        HostPartial => "host_partial",
        /// A Cilium entry of forwarded traffic, whose bytes a local pod's entry counts.
        Covered => "covered",
        /// What another source counts of the same end (mode auto, rule 21).
        OtherSource => "other_source",
    }
}

/// Numbers of skipped records, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped(pub [u64; Skip::ALL.len()]);

impl Skipped {
    pub fn add(&mut self, reason: Skip) {
        self.add_many(reason, 1);
    }

    pub fn add_many(&mut self, reason: Skip, n: u64) {
        self.0[reason as usize] += n;
    }
}

listed! {
    /// Why an object from the API server is not used (`reason` of `netmon_kube_skipped_total`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(usize)]
    pub enum KubeSkip {
        /// A pod without name or uid, or an object that is not a pod.
        NoPod => "no_pod",
        /// An event of an unknown type.
        UnknownType => "unknown_type",
        /// A pod beyond the capacity of the index.
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
        /// It is not an answer to exactly one question.
        Malformed => "malformed",
        /// No matching question was seen within the ten seconds before.
        Unasked => "unasked",
        /// It is truncated before its first address.
        Truncated => "truncated",
        /// It spans several TCP segments.
        Segmented => "segmented",
        /// It has no addresses.
        Empty => "empty",
    }
}

listed! {
    /// Why a topology was not used (`reason` of `netmon_topology_refused_total`). The one before stays in use.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(usize)]
    pub enum TopologyRefused {
        /// The file cannot be read, or is no text.
        File => "file",
        /// A line is wrong.
        Line => "line",
        /// It is empty or cut.
        Cut => "cut",
        /// It was published before the one in use.
        Older => "older",
        /// It was published in a form that is not known here.
        Version => "version",
        /// What nodes, routes or Cilium tell is more than a table holds, or cannot be read.
        Source => "source",
    }
}

listed! {
    /// A capability that a mode may need (`capability` of `netmon_capability_held`).
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
