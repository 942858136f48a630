use super::*;

const POD: Addr = Addr::from_v4([10, 244, 1, 2]);
const FAR: Addr = Addr::from_v4([198, 51, 100, 7]);
const NODE: Addr = Addr::from_v4([192, 168, 1, 10]);

fn carried(tx: u64, rx: u64) -> TxRx {
    let counts = |bytes| Counts { bytes, packets: u64::from(bytes > 0) };
    TxRx { tx: counts(tx), rx: counts(rx) }
}

fn traffic(up: u64, down: u64) -> Read {
    let TxRx { tx, rx } = carried(up, down);
    Read::Now(Traffic { orig: tx, reply: rx })
}

fn from_pod() -> [End; 2] {
    [End { addr: POD, place: Place::Here }, End { addr: FAR, place: Place::Unknown }]
}

fn tuple() -> NodeTuple {
    NodeTuple { local: NODE, remote: FAR, local_port: 40_000, remote_port: 443, protocol: protocol::TCP }
}

#[test]
fn rule_21_an_address_with_sockets_is_the_programs_and_stays_theirs() {
    let mut arbiter = Arbiter::default();
    let open = arbiter.share(Ends::Both, from_pod(), protocol::TCP, traffic(1_000, 1_000), 5);
    assert_eq!(open, Share { ends: Ends::Both, beside: false, open: true });
    assert!(arbiter.programs_count(POD, protocol::TCP, carried(1_000, 1_000)));
    assert_eq!(arbiter.end_sweep(true, 5), TxRx::ZERO);
    let theirs = Share { ends: Ends::Responder, beside: true, open: false };
    assert_eq!(arbiter.share(Ends::Both, from_pod(), protocol::TCP, traffic(9_000, 0), 5), theirs);
    arbiter.end_sweep(true, 5);
    assert_eq!(arbiter.chosen(POD), Some(By::Programs));
}

#[test]
fn rule_21_an_address_that_speaks_without_sockets_is_conntracks() {
    let mut arbiter = Arbiter::default();
    // A reset is sent by the kernel, and what only arrives proves nothing.
    arbiter.share(Ends::Both, from_pod(), protocol::TCP, traffic(40, 100_000), 5);
    arbiter.end_sweep(true, 5);
    assert_eq!(arbiter.chosen(POD), Some(By::Open));
    arbiter.share(Ends::Both, from_pod(), protocol::TCP, traffic(161, 0), 5);
    arbiter.end_sweep(false, 5);
    assert_eq!(arbiter.chosen(POD), Some(By::Open), "the programs were not read to the end");
    arbiter.share(Ends::Both, from_pod(), protocol::TCP, traffic(161, 0), 5);
    arbiter.end_sweep(true, 5);
    assert_eq!(arbiter.chosen(POD), Some(By::Conntrack));
    assert!(!arbiter.programs_count(POD, protocol::TCP, carried(1, 0)), "the choice sticks");
}

/// A pod without sockets here that was silent by the time the API server named it waited for ever.
#[test]
fn rule_21_what_waits_since_before_the_address_was_known_decides_too() {
    let decided = |packets, bytes| {
        let mut arbiter = Arbiter::default();
        let waits = Read::Before(Traffic { orig: Counts { bytes, packets }, reply: Counts::ZERO });
        assert!(arbiter.share(Ends::Both, from_pod(), protocol::TCP, waits, 5).open);
        arbiter.end_sweep(true, 5);
        arbiter.chosen(POD)
    };
    assert_eq!(decided(6, 344), Some(By::Conntrack));
    assert_eq!(decided(20, 800), Some(By::Open), "resets of ports that nobody listens at");
    let mut arbiter = Arbiter::default();
    arbiter.programs_count(POD, protocol::TCP, carried(1, 0));
    arbiter.share(
        Ends::Both,
        from_pod(),
        protocol::TCP,
        Read::Before(Traffic { orig: Counts { bytes: 900, packets: 9 }, reply: Counts::ZERO }),
        5,
    );
    arbiter.end_sweep(true, 5);
    assert_eq!(arbiter.chosen(POD), Some(By::Programs));
}

#[test]
fn rule_21_the_kernels_own_echo_is_conntracks() {
    let mut arbiter = Arbiter::default();
    assert!(arbiter.programs_count(POD, protocol::UDP, carried(1, 1)));
    assert!(!arbiter.programs_count(POD, protocol::ICMP, carried(1, 1)));
    let share = arbiter.share(Ends::Both, from_pod(), protocol::ICMP, traffic(84, 84), 5);
    assert_eq!(share, Share { ends: Ends::Both, beside: false, open: false });
}

#[test]
fn rule_21_the_nodes_tuple_is_conntracks_where_it_has_it() {
    let mut arbiter = Arbiter::default();
    assert_eq!(arbiter.programs_at_node(&tuple(), Has::Shown, carried(1, 1)), OfNode::Elsewhere);
    assert_eq!(arbiter.programs_at_node(&tuple(), Has::Not, carried(1, 1)), OfNode::Counts);
    assert!(arbiter.is_claimed(&tuple()));
    // Tracking goes on: the tuple stays with the programs until it is over and at rest.
    assert_eq!(arbiter.programs_at_node(&tuple(), Has::Shown, carried(1, 1)), OfNode::Counts);
    arbiter.entry_ended(tuple(), carried(5, 5));
    arbiter.end_sweep(true, 5);
    assert!(arbiter.is_claimed(&tuple()));
    arbiter.end_sweep(true, 5);
    arbiter.end_sweep(true, 5);
    assert!(!arbiter.is_claimed(&tuple()));
}

#[test]
fn rule_21_what_came_after_conntracks_end_is_lost_by_its_reason() {
    let mut arbiter = Arbiter::default();
    arbiter.entry_ended(tuple(), carried(100, 50));
    let rest = carried(20, 0);
    let told = arbiter.programs_at_node(&tuple(), Has::Not, carried(120, 50));
    assert_eq!(told, OfNode::Rest(TxRx { tx: Counts { packets: 0, ..rest.tx }, rx: Counts::ZERO }));
    assert_eq!(arbiter.end_sweep(true, 5).total_bytes(), 20);
    // The next buffer may hold what was late.
    assert_ne!(arbiter.programs_at_node(&tuple(), Has::Not, carried(1, 0)), OfNode::Counts);
    arbiter.end_sweep(true, 5);
    arbiter.end_sweep(true, 5);
    assert_eq!(arbiter.programs_at_node(&tuple(), Has::Not, carried(1, 0)), OfNode::Counts);
}

#[test]
fn rule_21_without_the_programs_conntrack_counts_from_the_next_sweep_on() {
    let mut arbiter = Arbiter::default();
    assert!(arbiter.programs_count(POD, protocol::TCP, carried(10, 0)));
    arbiter.end_sweep(true, 5);
    assert!(arbiter.programs_count(POD, protocol::TCP, carried(300, 0)));
    arbiter.share(Ends::Both, from_pod(), protocol::TCP, traffic(1_000, 0), 5);
    arbiter.go_blind();
    assert_eq!(arbiter.end_sweep(true, 5).tx.bytes, 700);
    let all = Share { ends: Ends::Both, beside: false, open: false };
    assert_eq!(arbiter.share(Ends::Both, from_pod(), protocol::TCP, traffic(9, 0), 6), all);
}

#[test]
fn rule_21_an_address_of_another_pod_is_decided_anew() {
    let mut arbiter = Arbiter::default();
    assert!(arbiter.programs_count(POD, protocol::TCP, carried(10, 0)));
    arbiter.follow_pods(|_| 0);
    arbiter.follow_pods(|_| 7);
    arbiter.follow_pods(|_| 0);
    arbiter.follow_pods(|_| 7);
    assert_eq!(arbiter.chosen(POD), Some(By::Programs));
    arbiter.follow_pods(|_| 8);
    assert_eq!(arbiter.chosen(POD), None);
}
