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
    let answered = Counted { opened_by_remote: true, answered_remote: true, ..received(9) };
    let role = roles.settle_alone(&t, &answered, LATER);
    assert!(!role.opened_by_local);
    assert_eq!(role.cgroup, 9);
}

#[test]
fn f13_a_lone_syn_turns_no_role_that_is_known() {
    for by_local in [true, false] {
        let mut roles = RoleTable::new(8, ATTACHED);
        let t = tuple(protocol::TCP, 50_000, 40_000);
        let opened = Counted { opened_by_local: by_local, opened_by_remote: !by_local, ..sent(7) };
        assert_eq!(roles.settle_alone(&t, &opened, LATER).opened_by_local, by_local);
        let stray = Counted { opened_by_local: !by_local, opened_by_remote: by_local, ..received(7) };
        // The live socket answers a stray SYN with an ACK of its own, so packets go both ways.
        let stray = Counted { tx: Counts { bytes: 52, packets: 1 }, ..stray };
        for _ in 0..3 {
            assert_eq!(roles.settle_alone(&t, &stray, LATER).opened_by_local, by_local);
        }
        // In the same entry as the handshake itself, too.
        let both = Counted {
            opened_by_local: true,
            opened_by_remote: true,
            answered_local: by_local,
            answered_remote: !by_local,
            ..received(7)
        };
        assert_eq!(roles.settle_alone(&t, &both, LATER).opened_by_local, by_local);
        let answered = Counted { answered_local: !by_local, answered_remote: by_local, ..stray };
        assert_eq!(roles.settle_alone(&t, &answered, LATER).opened_by_local, !by_local, "answered, it does");
    }
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
    let anew = Counted { opened_by_remote: true, answered_remote: true, ..received(1) };
    let settled = roles.settle(&t, &anew, LATER);
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
