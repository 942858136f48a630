//! Who opened each flow, and whose socket it is: what the drained maps forget is kept here by tuple.
//!
//! A SYN or INIT says it; else the first packet's direction, for what began after the programs were attached; else a
//! listener on the local port; else the lower port, which is a guess and counted as one. Bounded: the oldest idle entry
//! leaves for a new one, counted. Knows nothing of maps, pods or rows.

mod persist;

use super::tuple::{Counted, Tuple};
use crate::aged::Aged;
use crate::clock::SECOND;
use crate::flow::protocol;
use crate::source::translation::Translation;
use crate::table::Entry;

/// Roles of UDP flows end as conntrack's entries do (nf_conntrack_udp_timeout, _udp_timeout_stream).
const UDP_IDLE_NS: u64 = 30 * SECOND;
const UDP_STREAM_IDLE_NS: u64 = 120 * SECOND;
/// nf_conntrack_generic_timeout.
const OTHER_IDLE_NS: u64 = 600 * SECOND;
/// A flow without a SYN that first shows this soon after the attach may be older than the attach.
const MAYBE_OLDER_NS: u64 = UDP_IDLE_NS;

/// What is known of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub tuple: Tuple,
    /// Id of the local socket's cgroup; 0 if unknown.
    pub cgroup: u64,
    /// When it was last drained, monotonic.
    last_ns: u64,
    mark: u32,
    /// The local end is the originator.
    pub opened_by_local: bool,
    /// Both directions were seen.
    replied: bool,
    /// Nothing but the ports said who opened it.
    pub guessed: bool,
    /// Times that conntrack was asked and did not know it.
    unknown: u8,
    /// What conntrack said of it.
    pub translation: Option<Translation>,
}

impl Entry for Role {
    type Key = Tuple;
    fn key(&self) -> &Tuple {
        &self.tuple
    }
    fn mark(&self) -> u32 {
        self.mark
    }
    fn set_mark(&mut self, mark: u32) {
        self.mark = mark;
    }
}

impl Role {
    /// Whether conntrack would have forgotten the flow, so that what comes now is a new one under an old name. TCP and
    /// SCTP say themselves when they begin anew.
    fn has_expired(&self, now_ns: u64) -> bool {
        let idle = now_ns.saturating_sub(self.last_ns);
        match self.tuple.protocol {
            protocol::TCP | protocol::SCTP => false,
            protocol::UDP => idle > if self.replied { UDP_STREAM_IDLE_NS } else { UDP_IDLE_NS },
            _ => idle > OTHER_IDLE_NS,
        }
    }
}

/// Times that conntrack is asked about a flow that it does not know yet.
const ASK_MAX: u8 = 3;

/// A role, and where it stands in the table.
#[derive(Clone, Copy, Debug)]
pub struct KnownRole {
    /// The role.
    pub role: Role,
    /// `None` in a table without room for one flow.
    slot: Option<u32>,
    /// Conntrack has not been asked often enough.
    pub is_open: bool,
    is_new: bool,
}

/// The roles of all flows in use.
pub struct RoleTable {
    table: Aged<Role>,
    attached_ns: u64,
    guessed: u64,
    evicted: u64,
}

/// How a flow's opener was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Opener {
    local: bool,
    guessed: bool,
}

impl RoleTable {
    /// For at most `capacity` flows; `attached_ns` is when counting began, monotonic.
    pub fn new(capacity: u32, attached_ns: u64) -> RoleTable {
        RoleTable { table: Aged::with_capacity(capacity), attached_ns, guessed: 0, evicted: 0 }
    }

    /// Flows that are known.
    pub fn len(&self) -> u32 {
        self.table.len()
    }

    /// Roles guessed from the ports, since the start.
    pub fn guessed(&self) -> u64 {
        self.guessed
    }

    /// Roles that left for new ones, since the start.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The role of a flow that was just drained.
    pub fn settle(&mut self, tuple: &Tuple, counted: &Counted, now_ns: u64) -> KnownRole {
        let began = counted.opened_by_local || counted.opened_by_remote;
        if let Some(slot) = self.table.find(tuple) {
            self.table.renew(slot);
            if let Some(role) = self.table.get_mut(slot) {
                let anew = began || role.has_expired(now_ns);
                if anew {
                    let opener = decide(tuple, counted, self.attached_ns, now_ns);
                    role.opened_by_local = opener.local;
                    role.guessed = opener.guessed;
                    role.replied = false;
                    role.unknown = 0;
                    role.translation = None;
                }
                // The kernel answers for a TCP socket that is gone from a socket of its own, in the root cgroup: the
                // owner of the handshake stays. Other protocols have no handshake, so the newest socket is the owner.
                if anew || tuple.protocol != protocol::TCP || role.cgroup == 0 {
                    role.cgroup = counted.cgroup;
                }
                role.replied |= !counted.tx.is_zero() && !counted.rx.is_zero();
                role.last_ns = now_ns;
                let is_open = role.translation.is_none() && role.unknown < ASK_MAX;
                return KnownRole { role: *role, slot: Some(slot), is_open, is_new: anew };
            }
        }
        let opener = decide(tuple, counted, self.attached_ns, now_ns);
        let role = Role {
            tuple: *tuple,
            cgroup: counted.cgroup,
            last_ns: now_ns,
            mark: 0,
            opened_by_local: opener.local,
            replied: !counted.tx.is_zero() && !counted.rx.is_zero(),
            guessed: opener.guessed,
            unknown: 0,
            translation: None,
        };
        if self.table.is_full()
            && let Some(oldest) = self.table.oldest()
            && self.table.remove(oldest).is_some()
        {
            self.evicted += 1;
        }
        let slot = self.table.insert(role).ok();
        KnownRole { role, slot, is_open: true, is_new: true }
    }

    /// Counts the flow if it is new and its opener, after all that could be asked, a guess.
    pub fn count_guess(&mut self, settled: &KnownRole) {
        self.guessed += (settled.is_new && settled.role.guessed) as u64;
    }

    /// Keeps what conntrack said of a flow; nothing said is remembered, too.
    pub fn translate(&mut self, settled: &mut KnownRole, translation: Option<Translation>) {
        let role = &mut settled.role;
        match translation {
            Some(found) => {
                role.opened_by_local = found.opened_by_local;
                role.guessed = false;
                role.translation = translation;
            }
            None => role.unknown += 1,
        }
        if let Some(kept) = settled.slot.and_then(|slot| self.table.get_mut(slot)) {
            kept.opened_by_local = role.opened_by_local;
            kept.guessed = role.guessed;
            kept.unknown = role.unknown;
            kept.translation = role.translation;
        }
    }
}

/// Who opened a flow, from what its entry tells.
fn decide(tuple: &Tuple, counted: &Counted, attached_ns: u64, now_ns: u64) -> Opener {
    let known = |local| Opener { local, guessed: false };
    if counted.opened_by_local != counted.opened_by_remote {
        return known(counted.opened_by_local);
    }
    // Both at once (RFC 9293 3.5, simultaneous open), or the local end of no ports to compare.
    if counted.opened_by_local || tuple.local_port == tuple.remote_port {
        return known(counted.first_is_tx);
    }
    let by_port = tuple.local_port > tuple.remote_port;
    match tuple.protocol {
        // Without its SYN it began before the attach.
        protocol::TCP if counted.listens => known(false),
        protocol::TCP | protocol::SCTP => Opener { local: by_port, guessed: true },
        _ if now_ns.saturating_sub(attached_ns) > MAYBE_OLDER_NS => known(counted.first_is_tx),
        // The first packet since the attach need not be the flow's first.
        _ => Opener { local: by_port, guessed: by_port != counted.first_is_tx },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Addr, Counts};
    use proptest::prelude::*;
    use std::collections::HashMap;

    const ATTACHED: u64 = 1_000 * SECOND;
    const LATER: u64 = ATTACHED + 60 * SECOND;

    fn tuple(protocol: u8, local_port: u16, remote_port: u16) -> Tuple {
        Tuple {
            local: Addr::from_v4([10, 0, 0, 1]),
            remote: Addr::from_v4([10, 0, 0, 2]),
            local_port,
            remote_port,
            protocol,
            flags: 0,
            family: 4,
            zero: 0,
        }
    }

    impl RoleTable {
        /// Settles where there is no conntrack to ask.
        fn settle_alone(&mut self, tuple: &Tuple, counted: &Counted, now_ns: u64) -> Role {
            let settled = self.settle(tuple, counted, now_ns);
            self.count_guess(&settled);
            settled.role
        }

        fn knows(&self, tuple: &Tuple) -> bool {
            self.table.find(tuple).is_some()
        }
    }

    fn sent(cgroup: u64) -> Counted {
        Counted { tx: Counts { bytes: 100, packets: 1 }, first_is_tx: true, cgroup, ..Counted::default() }
    }

    fn received(cgroup: u64) -> Counted {
        Counted { rx: Counts { bytes: 100, packets: 1 }, cgroup, ..Counted::default() }
    }

    #[test]
    fn a_syn_beats_ports_and_first_packet() {
        let mut roles = RoleTable::new(8, ATTACHED);
        let syn_in = Counted { opened_by_remote: true, ..sent(7) };
        let role = roles.settle_alone(&tuple(protocol::TCP, 50_000, 80), &syn_in, LATER);
        assert!(!role.opened_by_local);
        assert_eq!(roles.guessed(), 0);
    }

    #[test]
    fn the_role_outlives_the_drain_and_a_new_syn_replaces_it() {
        let mut roles = RoleTable::new(8, ATTACHED);
        let t = tuple(protocol::TCP, 50_000, 80);
        roles.settle(&t, &Counted { opened_by_local: true, ..sent(7) }, LATER);
        let role = roles.settle_alone(&t, &received(7), LATER + 3600 * SECOND);
        assert!(role.opened_by_local);
        let role = roles.settle_alone(&t, &Counted { opened_by_remote: true, ..received(9) }, LATER);
        assert!(!role.opened_by_local);
        assert_eq!(role.cgroup, 9);
    }

    #[test]
    fn a_tcp_flow_keeps_the_cgroup_of_its_handshake() {
        let mut roles = RoleTable::new(8, ATTACHED);
        let t = tuple(protocol::TCP, 80, 50_000);
        roles.settle(&t, &Counted { opened_by_remote: true, ..received(7) }, LATER);
        assert_eq!(roles.settle_alone(&t, &sent(1), LATER + SECOND).cgroup, 7);
        let u = tuple(protocol::UDP, 80, 50_000);
        roles.settle(&u, &received(7), LATER);
        assert_eq!(roles.settle_alone(&u, &received(8), LATER + SECOND).cgroup, 8);
    }

    #[test]
    fn an_old_tcp_flow_is_told_by_its_listener_else_by_the_lower_port() {
        let mut roles = RoleTable::new(8, ATTACHED);
        let listens = Counted { listens: true, ..sent(1) };
        assert!(!roles.settle_alone(&tuple(protocol::TCP, 50_000, 80), &listens, LATER).opened_by_local);
        assert_eq!(roles.guessed(), 0);
        assert!(!roles.settle_alone(&tuple(protocol::TCP, 443, 50_001), &sent(1), LATER).opened_by_local);
        assert!(roles.settle_alone(&tuple(protocol::TCP, 50_001, 443), &received(1), LATER).opened_by_local);
        assert_eq!(roles.guessed(), 2);
    }

    #[test]
    fn a_udp_flow_is_told_by_its_first_packet_once_older_flows_have_shown() {
        let mut roles = RoleTable::new(8, ATTACHED);
        assert!(roles.settle_alone(&tuple(protocol::UDP, 53, 60_000), &sent(1), LATER).opened_by_local);
        assert_eq!(roles.guessed(), 0);
        // Soon after the attach the reply of an older flow may come first.
        let soon = ATTACHED + SECOND;
        assert!(!roles.settle_alone(&tuple(protocol::UDP, 53, 60_001), &sent(1), soon).opened_by_local);
        assert_eq!(roles.guessed(), 1);
        assert!(roles.settle_alone(&tuple(protocol::UDP, 60_001, 53), &sent(1), soon).opened_by_local);
        assert_eq!(roles.guessed(), 1);
    }

    #[test]
    fn a_udp_role_ends_as_conntracks_entry_does() {
        let t = tuple(protocol::UDP, 6000, 5000);
        for (replied, idle, fresh) in [(false, 29, false), (false, 31, true), (true, 119, false), (true, 121, true)] {
            let mut roles = RoleTable::new(8, ATTACHED);
            let mut first = sent(1);
            if replied {
                first.rx = Counts { bytes: 1, packets: 1 };
            }
            assert!(roles.settle_alone(&t, &first, LATER).opened_by_local);
            let role = roles.settle_alone(&t, &received(1), LATER + idle * SECOND);
            assert_eq!(role.opened_by_local, !fresh, "replied {replied}, idle {idle} s");
        }
    }

    #[test]
    fn protocols_without_ports_go_by_the_first_packet() {
        let mut roles = RoleTable::new(8, ATTACHED);
        assert!(roles.settle_alone(&tuple(protocol::ICMP, 0, 0), &sent(1), ATTACHED).opened_by_local);
        assert!(!roles.settle_alone(&tuple(protocol::GRE, 0, 0), &received(1), ATTACHED).opened_by_local);
        assert_eq!(roles.guessed(), 0);
    }

    #[test]
    fn a_full_table_parts_with_the_longest_idle() {
        let mut roles = RoleTable::new(2, ATTACHED);
        let [a, b, c] = [1001, 1002, 1003].map(|port| tuple(protocol::UDP, port, 53));
        roles.settle(&a, &sent(1), LATER);
        roles.settle(&b, &sent(2), LATER);
        roles.settle(&a, &sent(1), LATER);
        roles.settle(&c, &sent(3), LATER);
        assert_eq!((roles.len(), roles.evicted()), (2, 1));
        assert!(roles.knows(&a) && !roles.knows(&b) && roles.knows(&c));
    }

    #[test]
    fn what_conntrack_said_stays_until_the_flow_begins_anew() {
        let mut roles = RoleTable::new(2, ATTACHED);
        let t = tuple(protocol::TCP, 443, 50_001);
        let mut settled = roles.settle(&t, &sent(1), LATER);
        assert!(settled.is_open && settled.role.guessed);
        let found = Translation {
            src: t.local,
            dst: t.remote,
            backend: Addr::from_v4([10, 0, 0, 3]),
            sport: 443,
            dport: 50_001,
            backend_port: 9,
            opened_by_local: true,
        };
        roles.translate(&mut settled, Some(found));
        roles.count_guess(&settled);
        assert_eq!(roles.guessed(), 0);
        let settled = roles.settle(&t, &received(1), LATER);
        assert_eq!((settled.role.translation, settled.is_open), (Some(found), false));
        assert!(settled.role.opened_by_local);
        let settled = roles.settle(&t, &Counted { opened_by_remote: true, ..received(1) }, LATER);
        assert_eq!((settled.role.translation, settled.is_open), (None, true));
    }

    #[test]
    fn conntrack_is_asked_a_few_times_only() {
        let mut roles = RoleTable::new(2, ATTACHED);
        let t = tuple(protocol::UDP, 50_001, 53);
        for open in [true, true, true, false] {
            let mut settled = roles.settle(&t, &sent(1), LATER);
            assert_eq!(settled.is_open, open);
            roles.translate(&mut settled, None);
        }
    }

    proptest! {
        /// Whatever comes in whatever order: the table holds its bound, and it is the most recent flows that it knows.
        #[test]
        fn the_most_recent_flows_are_known(ports in prop::collection::vec(1u16..40, 1..300), capacity in 1u32..16) {
            let mut roles = RoleTable::new(capacity, ATTACHED);
            let mut last_use: HashMap<u16, usize> = HashMap::new();
            for (turn, port) in ports.iter().enumerate() {
                let more_recent = |p: &u16| {
                    last_use.get(p).map(|at| last_use.values().filter(|other| *other > at).count())
                };
                let known = more_recent(port).is_some_and(|n| n < capacity as usize);
                prop_assert_eq!(roles.knows(&tuple(protocol::UDP, *port, 53)), known);
                roles.settle(&tuple(protocol::UDP, *port, 53), &sent(1), LATER);
                prop_assert!(roles.len() <= capacity);
                last_use.insert(*port, turn);
            }
        }
    }
}
