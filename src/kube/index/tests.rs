//! Who has an address, in every order in which an API server can tell it.

use super::*;
use proptest::prelude::*;

const BASE_NS: u64 = 1_000_000 * SECOND;

/// `seconds` after the base, on both clocks.
fn at(seconds: u64) -> Now {
    Now { mono_ns: seconds * SECOND, wall_ns: BASE_NS + seconds * SECOND }
}

fn addr(text: &str) -> Addr {
    text.parse::<std::net::IpAddr>().expect("an address").into()
}

fn view(uid: &str, addresses: &[&str], started: Option<u64>) -> PodView {
    PodView {
        uid: uid.to_owned(),
        namespace: "ns".to_owned(),
        name: format!("pod-{uid}"),
        addresses: addresses.iter().map(|text| addr(text)).collect(),
        started_ns: started.map(|seconds| at(seconds).wall_ns),
        ..PodView::default()
    }
}

fn owner(index: &mut Index, ip: &str, now: Now) -> Option<String> {
    let snapshot = {
        index.changed = true;
        index.snapshot().expect("marked as changed")
    };
    snapshot.owner_of(addr(ip), now.mono_ns).map(|pod| pod.uid.to_string())
}

const IP: &str = "10.0.0.1";

/// What an event says of a pod.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Says {
    NoAddress,
    Address,
    Finished,
    Deleted { cleared: bool },
}

/// The reference: after each event, who lives with the address, and who had it when the last one went.
#[derive(Default)]
struct Truth {
    /// Pod, start, order of its first claim.
    claims: Vec<(usize, u64, usize)>,
    living: Vec<usize>,
    last: Option<(usize, u64)>,
}

impl Truth {
    fn owner(&self) -> Option<usize> {
        let claim =
            |pod: &&usize| self.claims.iter().find(|(p, ..)| p == *pod).map(|(_, start, order)| (*start, *order));
        self.living.iter().max_by_key(|pod| claim(pod)).copied()
    }

    fn told(&mut self, pod: usize, says: Says, start: Option<u64>, now: u64) {
        let before = self.owner();
        self.living.retain(|other| *other != pod);
        if says == Says::Address {
            if self.claims.iter().all(|(other, ..)| *other != pod) {
                self.claims.push((pod, start.unwrap_or(now), self.claims.len()));
            }
            self.living.push(pod);
        }
        if self.living.is_empty()
            && let Some(owner) = before
        {
            self.last = Some((owner, now));
        }
    }

    fn owner_at(&self, now: u64) -> Option<usize> {
        self.owner().or_else(|| self.last.filter(|(_, gone)| now <= gone + GRACE_NS / SECOND).map(|(pod, _)| pod))
    }
}

fn permutations(
    items: &mut Vec<(usize, Says)>,
    done: &mut Vec<(usize, Says)>,
    each: &mut impl FnMut(&[(usize, Says)]),
) {
    if items.is_empty() {
        return each(done);
    }
    for at in 0..items.len() {
        let item = items.remove(at);
        done.push(item);
        permutations(items, done, each);
        items.insert(at, done.pop().expect("pushed"));
    }
}

#[test]
fn every_order_of_six_events_of_two_pods_with_one_address() {
    let ends = [Says::Deleted { cleared: false }, Says::Deleted { cleared: true }, Says::Finished];
    let starts =
        [[Some(100), Some(200)], [Some(200), Some(100)], [Some(100), Some(100)], [None, None], [None, Some(100)]];
    let mut orders = 0;
    for end in ends {
        for start in starts {
            let mut events: Vec<(usize, Says)> =
                (0..2).flat_map(|p| [(p, Says::NoAddress), (p, Says::Address), (p, end)]).collect();
            permutations(&mut events, &mut Vec::new(), &mut |order| {
                orders += 1;
                let (mut index, mut truth) = (Index::default(), Truth::default());
                for (step, (pod, says)) in order.iter().enumerate() {
                    let now = 1000 + step as u64 * 10;
                    let uid = pod.to_string();
                    let addresses: &[&str] = if *says == Says::NoAddress { &[] } else { &[IP] };
                    let mut told = view(&uid, addresses, start[*pod]);
                    match says {
                        Says::Deleted { cleared } => {
                            if *cleared {
                                told.addresses.clear();
                            }
                            index.remove(at(now), &told.uid);
                        }
                        Says::Finished => {
                            told.terminal = true;
                            // That an end tells an address is another test's.
                            if !order[..step].contains(&(*pod, Says::Address)) {
                                told.addresses.clear();
                            }
                            index.upsert(at(now), told);
                        }
                        _ => {
                            index.upsert(at(now), told);
                        }
                    }
                    truth.told(*pod, *says, start[*pod], now);
                    for later in [0, 1, 9] {
                        let expected = truth.owner_at(now + later).map(|pod| pod.to_string());
                        let found = owner(&mut index, IP, at(now + later));
                        assert_eq!(found, expected, "{order:?}, starts {start:?}, step {step}, {later} s later");
                    }
                }
                let end = 1050 + GRACE_NS / SECOND + 1;
                assert_eq!(owner(&mut index, IP, at(end)), truth.owner_at(end).map(|pod| pod.to_string()), "{order:?}");
                index.forget(at(end + REMEMBER_NS / SECOND));
                assert_eq!(index.known.len(), truth_of_living(order), "what went is forgotten: {order:?}");
            });
        }
    }
    assert_eq!(orders, 720 * ends.len() * starts.len());
}

/// Pods whose last event is not their end.
fn truth_of_living(order: &[(usize, Says)]) -> usize {
    let alive = |pod: usize| {
        let last = order.iter().rev().find(|(other, _)| *other == pod).map(|(_, says)| *says);
        matches!(last, Some(Says::NoAddress | Says::Address))
    };
    usize::from(alive(0)) + usize::from(alive(1))
}

#[test]
fn ten_thousand_reuses_of_an_address_give_no_wrong_owner() {
    let mut index = Index::default();
    let mut wrong = Vec::new();
    for turn in 0..10_000u64 {
        // Each pod lives for 10 s; its status with the address arrives a second after its start; the end of the one
        // before is told before its start, between start and status, or after it.
        let start = 1000 + turn * 10;
        let uid = format!("{turn:05}");
        let before = (turn > 0).then(|| format!("{:05}", turn - 1));
        let end = start - 1 + turn % 4;
        let mut told: Vec<(u64, bool)> = vec![(start + 1, true)];
        if before.is_some() {
            told.push((end, false));
        }
        told.sort_unstable();
        for (when, is_new) in told {
            match &before {
                _ if is_new => {
                    index.upsert(at(when), view(&uid, &[IP, "fd00::1"], Some(start)));
                }
                Some(before) => index.remove(at(when), before),
                None => {}
            }
        }
        // Bytes from its status to the next one's start; and those before its status, which waited for it.
        for when in [start + 3, start + 8, start + 1, start] {
            for ip in [IP, "fd00::1"] {
                let found = owner(&mut index, ip, at(when));
                if found.as_deref() != Some(uid.as_str()) {
                    wrong.push((turn, when, found));
                }
            }
        }
        if turn % 100 == 0 {
            index.forget(at(start));
        }
    }
    assert_eq!(wrong, []);
    assert!(index.known.len() < 40, "only the last minutes are remembered: {}", index.known.len());
}

#[test]
fn a_deletion_without_address_removes_by_uid_and_touches_nobody_else() {
    let mut index = Index::default();
    index.upsert(at(10), view("old", &[IP], Some(5)));
    index.upsert(at(20), view("new", &[IP], Some(15)));
    index.remove(at(30), "old");
    assert_eq!(owner(&mut index, IP, at(31)).as_deref(), Some("new"));
    assert_eq!(owner(&mut index, IP, at(10)).as_deref(), Some("old"), "its own time stays its own");
    index.remove(at(40), "nobody");
    assert_eq!(owner(&mut index, IP, at(41)).as_deref(), Some("new"));
}

#[test]
fn a_pod_that_went_names_its_last_bytes_for_two_minutes() {
    let mut index = Index::default();
    index.upsert(at(10), view("a", &[IP], Some(5)));
    index.remove(at(100), "a");
    assert_eq!(owner(&mut index, IP, at(220)).as_deref(), Some("a"));
    assert_eq!(owner(&mut index, IP, at(221)), None);
    let snapshot = index.snapshot();
    assert!(snapshot.is_none(), "nothing changed since");
    index.changed = true;
    let snapshot = index.snapshot().expect("marked");
    let tenure = snapshot.tenure_of(addr(IP), at(150).mono_ns).expect("in grace");
    assert!(tenure.is_over(at(150).mono_ns) && !tenure.is_over(tenure.ended_ns));
}

#[test]
fn a_waiting_pod_gets_the_address_that_another_had_meanwhile() {
    let mut index = Index::default();
    index.upsert(at(10), view("patient", &[], Some(5)));
    index.upsert(at(20), view("quick", &[IP], Some(15)));
    index.remove(at(30), "quick");
    index.upsert(at(40), view("patient", &[IP], Some(5)));
    assert_eq!(owner(&mut index, IP, at(41)).as_deref(), Some("patient"), "the living one, though it began earlier");
    assert_eq!(owner(&mut index, IP, at(25)).as_deref(), Some("quick"));
}

#[test]
fn both_families_and_host_network() {
    let mut index = Index::default();
    index.upsert(at(10), view("dual", &[IP, "fd00::1"], Some(5)));
    let mut host = view("host", &["192.0.2.1"], Some(5));
    host.host_network = true;
    index.upsert(at(10), host);
    assert_eq!(owner(&mut index, "fd00::1", at(11)).as_deref(), Some("dual"));
    assert_eq!(owner(&mut index, "192.0.2.1", at(11)), None, "the node's address is nobody's");
    index.changed = true;
    let snapshot = index.snapshot().expect("marked");
    assert!(snapshot.by_uid("host").is_some_and(|pod| pod.host_network));
    index.upsert(at(20), view("dual", &["fd00::1", "10.0.0.9"], Some(5)));
    assert_eq!(owner(&mut index, "10.0.0.9", at(21)).as_deref(), Some("dual"));
    assert_eq!(owner(&mut index, IP, at(21)).as_deref(), Some("dual"), "in grace");
    index.upsert(at(22), view("other", &[IP], Some(21)));
    assert_eq!(owner(&mut index, IP, at(23)).as_deref(), Some("other"));
}

#[test]
fn a_list_replaces_what_is_known() {
    let mut index = Index::default();
    index.upsert(at(10), view("stays", &["10.0.0.1"], Some(5)));
    index.upsert(at(10), view("goes", &["10.0.0.2"], Some(5)));
    assert!(!index.snapshot().expect("changed").synced);
    index.replace(at(20), vec![view("stays", &["10.0.0.1"], Some(5)), view("comes", &["10.0.0.2"], Some(15))]);
    assert_eq!(owner(&mut index, "10.0.0.1", at(21)).as_deref(), Some("stays"));
    assert_eq!(owner(&mut index, "10.0.0.2", at(21)).as_deref(), Some("comes"));
    assert_eq!(index.living(), 2);
    // From an older cache of another server, and back again.
    index.replace(at(30), vec![view("goes", &["10.0.0.2"], Some(5))]);
    assert_eq!(owner(&mut index, "10.0.0.2", at(31)).as_deref(), Some("goes"));
    index.replace(at(40), vec![view("stays", &["10.0.0.1"], Some(5)), view("comes", &["10.0.0.2"], Some(15))]);
    assert_eq!(owner(&mut index, "10.0.0.2", at(41)).as_deref(), Some("comes"));
    assert_eq!(index.living(), 2);
}

#[test]
fn a_change_that_changes_nothing_publishes_nothing() {
    let mut index = Index::default();
    index.replace(at(10), vec![view("a", &[IP], Some(5))]);
    let generation = index.snapshot().expect("the first").generation;
    index.upsert(at(20), view("a", &[IP], Some(5)));
    assert!(index.snapshot().is_none());
    index.upsert(at(20), view("a", &[IP, "fd00::1"], Some(5)));
    assert_eq!(index.snapshot().expect("an address more").generation, generation + 1);
    index.replace(at(30), vec![view("a", &[IP, "fd00::1"], Some(5))]);
    assert!(index.snapshot().is_none());
}

#[test]
fn an_hour_without_api_server_costs_no_name_that_can_be_known() {
    let mut index = Index::default();
    index.replace(at(0), vec![view("stays", &["10.0.0.1"], Some(0)), view("goes", &["10.0.0.2"], Some(0))]);
    // Meanwhile nothing is heard; what is known is not forgotten.
    for minute in 0..60 {
        index.forget(at(minute * 60));
        assert_eq!(owner(&mut index, "10.0.0.1", at(minute * 60)).as_deref(), Some("stays"));
    }
    // In the middle of the hour another pod took the address of one that went.
    index.replace(
        at(3600),
        vec![view("stays", &["10.0.0.1"], Some(0)), view("comes", &["10.0.0.2", "10.0.0.3"], Some(1800))],
    );
    assert_eq!(owner(&mut index, "10.0.0.2", at(1700)).as_deref(), Some("goes"));
    for second in [1800, 2000, 3600, 3601] {
        assert_eq!(owner(&mut index, "10.0.0.2", at(second)).as_deref(), Some("comes"), "{second}");
        assert_eq!(owner(&mut index, "10.0.0.3", at(second)).as_deref(), Some("comes"), "bytes that waited: {second}");
    }
    assert_eq!(owner(&mut index, "10.0.0.3", at(1799)), None, "before its time it is nobody's");
}

#[test]
fn too_many_pods_are_left_out_and_counted() {
    let mut index = Index::default();
    let pods = |range: std::ops::Range<usize>| range.map(|n| view(&format!("{n:06}"), &[], None)).collect::<Vec<_>>();
    assert_eq!(index.replace(at(1), pods(0..PODS_MAX + 3)), 3);
    assert_eq!(index.living(), PODS_MAX);
    assert!(!index.upsert(at(2), view("one more", &[IP], None)));
    index.remove(at(3), "000000");
    assert!(index.upsert(at(4), view("one more", &[IP], None)));
}

#[test]
fn f10_a_pod_that_is_told_of_at_its_end_alone_keeps_its_bytes() {
    for ends in ["Succeeded", "deleted", "both"] {
        let mut index = Index::default();
        // Another had the address before; the next gets it right behind.
        index.upsert(at(10), view("before", &[IP], Some(5)));
        index.remove(at(90), "before");
        index.upsert(at(100), view("job", &[], None));
        let end =
            PodView { terminal: ends != "deleted", ended_ns: Some(at(102).wall_ns), ..view("job", &[IP], Some(101)) };
        index.finish(at(103), end.clone());
        if ends == "both" {
            index.finish(at(104), PodView { terminal: false, ..end });
        }
        assert_eq!(owner(&mut index, IP, at(102)).as_deref(), Some("job"), "{ends}");
        assert_eq!(owner(&mut index, IP, at(104)).as_deref(), Some("job"), "its last records come late: {ends}");
        assert_eq!(owner(&mut index, IP, at(89)).as_deref(), Some("before"), "{ends}");
        index.upsert(at(107), view("next", &[IP], Some(106)));
        let owners: Vec<_> = [102, 105, 106, 107].map(|s| owner(&mut index, IP, at(s)).unwrap_or_default()).to_vec();
        assert_eq!(owners, ["job", "job", "next", "next"], "{ends}");
        assert_eq!(index.living(), 1);
    }
}

#[test]
fn f10_an_old_end_says_nothing_of_now() {
    let finished = |ended: Option<u64>| PodView {
        terminal: true,
        ended_ns: ended.map(|second| at(second).wall_ns),
        ..view("job", &[IP], Some(50))
    };
    let mut index = Index::default();
    index.finish(at(2000), finished(Some(60)));
    index.finish(at(2000), finished(None));
    assert_eq!(owner(&mut index, IP, at(2000)), None, "a pod that finished half an hour ago, or nobody knows when");
    // A pod of the network that is found at the next list, finished meanwhile.
    index.replace(at(2000), vec![finished(Some(1990))]);
    assert_eq!(owner(&mut index, IP, at(1990)).as_deref(), Some("job"));
    let mut index = Index::default();
    index.upsert(at(10), view("living", &[IP], Some(5)));
    index.finish(at(20), PodView { terminal: true, host_network: true, ..view("host", &[IP], Some(15)) });
    assert_eq!(owner(&mut index, IP, at(20)).as_deref(), Some("living"), "the node's address is not its own");
}

#[test]
fn f11_a_start_that_no_clock_has_shown_was_before_it_was_set_back() {
    // The agent starts after the clock was set back by two hours; the pods started before.
    let mut index = Index::default();
    index.replace(at(1000), vec![view("stays", &[IP], Some(8200)), view("began", &["10.0.0.2"], Some(900))]);
    for second in [940, 990, 1000, 1001] {
        assert_eq!(owner(&mut index, IP, at(second)).as_deref(), Some("stays"), "what waited for the list: {second}");
    }
    assert_eq!(owner(&mut index, "10.0.0.2", at(899)), None);
    // Its end comes by the same clock, and the next pod's start by the one of now.
    index.remove(at(1010), "stays");
    index.upsert(at(1021), view("next", &[IP], Some(1020)));
    let owners = [1000, 1015, 1020, 1021].map(|second| owner(&mut index, IP, at(second)).unwrap_or_default());
    assert_eq!(owners, ["stays", "stays", "next", "next"]);
}

#[test]
fn f11_what_a_pod_told_before_is_not_read_by_another_clock() {
    for by_s in [-7200i64, -5, 5, 7200, 400_000_000] {
        let mut index = Index::default();
        index.replace(at(100), vec![view("a", &[IP], Some(50))]);
        let set = |seconds: u64| Now {
            wall_ns: at(seconds).wall_ns.saturating_add_signed(by_s * 1_000_000_000),
            ..at(seconds)
        };
        index.upsert(set(200), view("a", &[IP], Some(50)));
        index.replace(set(300), vec![view("a", &[IP], Some(50))]);
        assert_eq!(owner(&mut index, IP, at(50)).as_deref(), Some("a"), "{by_s}");
        assert_eq!(owner(&mut index, IP, at(49)), None, "{by_s}");
        assert_eq!(owner(&mut index, IP, set(301)).as_deref(), Some("a"), "{by_s}");
    }
}

#[test]
fn a_pod_owns_an_address_that_another_had_from_its_first_container_on() {
    let ran = |uid: &str, started, ran: Option<u64>| PodView {
        ran_ns: ran.map(|second| at(second).wall_ns),
        is_silent: ran.is_none(),
        ..view(uid, &[IP], Some(started))
    };
    let owners = |index: &mut Index, seconds: [u64; 4]| seconds.map(|s| owner(index, IP, at(s)).unwrap_or_default());
    // The object of the old pod is gone; the containers run, and keep the address until the second 24.
    let mut index = Index::default();
    index.upsert(at(10), ran("old", 5, Some(6)));
    index.remove(at(12), "old");
    index.upsert(at(27), ran("new", 13, Some(25)));
    assert_eq!(owners(&mut index, [12, 14, 24, 25]), ["old", "old", "old", "new"]);
    // Its address is told before its first container was started.
    let mut index = Index::default();
    index.upsert(at(10), ran("old", 5, Some(6)));
    index.upsert(at(25), ran("new", 13, None));
    assert_eq!(owners(&mut index, [14, 24, 25, 26]), ["old", "old", "new", "new"]);
    index.upsert(at(28), ran("new", 13, Some(26)));
    index.remove(at(30), "old");
    assert_eq!(owners(&mut index, [14, 24, 25, 30]), ["old", "old", "new", "new"]);
    // Where nobody had the address before, its start is early enough.
    let mut index = Index::default();
    index.upsert(at(27), ran("new", 13, Some(25)));
    assert_eq!(owners(&mut index, [13, 24, 25, 26]), ["new"; 4]);
}

#[test]
fn f14_of_two_mirrors_of_one_static_pod_the_first_has_its_bytes() {
    let mirror = |uid: &str| PodView { static_uid: Some("hash".to_owned()), ..view(uid, &[], None) };
    let whose = |index: &mut Index| {
        index.changed = true;
        index.snapshot().expect("marked").by_cgroup_uid("hash").map(|pod| pod.uid.to_string())
    };
    for (first, second) in [("a", "b"), ("b", "a")] {
        let mut index = Index::default();
        index.upsert(at(10), mirror(first));
        index.upsert(at(20), mirror(second));
        index.upsert(at(30), mirror(first));
        assert_eq!(whose(&mut index).as_deref(), Some(first), "whatever the order of their uids");
        index.remove(at(40), first);
        assert_eq!(whose(&mut index).as_deref(), Some(second), "the kubelet made it anew");
        index.remove(at(50), second);
        assert_eq!(whose(&mut index).as_deref(), Some(first), "the late bytes of both are of one static pod");
        let mut index = Index::default();
        index.replace(at(10), vec![mirror(first), mirror(second)]);
        assert_eq!(whose(&mut index), None, "nobody can tell");
    }
}

proptest! {
    /// Whatever comes, the counts hold and a snapshot answers.
    #[test]
    fn any_sequence_keeps_the_books(events in prop::collection::vec((0u8..6, 0u8..4, any::<bool>(), 0u64..300), 0..60)) {
        let mut index = Index::default();
        let mut now = 1000;
        for (uid, kind, cleared, delay) in events {
            now += delay;
            let uid = uid.to_string();
            let mut pod = view(&uid, if cleared { &[] } else { &[IP, "fd00::1"] }, Some(now / 2));
            match kind {
                0 => index.remove(at(now), &uid),
                1 => { pod.terminal = true; index.upsert(at(now), pod); }
                2 => { index.replace(at(now), vec![pod]); }
                _ => { index.upsert(at(now), pod); }
            }
            let gone = index.known.values().filter(|known| known.gone_ns.is_some()).count();
            prop_assert_eq!(index.gone, gone);
            let living: Vec<_> = index.known.values().filter(|k| k.spans.iter().any(|s| s.addr == addr(IP) && s.end.is_none())).map(|k| k.pod.uid.to_string()).collect();
            let found = owner(&mut index, IP, at(now));
            prop_assert!(living.is_empty() || living.contains(&found.clone().unwrap_or_default()), "{:?} of {:?}", found, living);
        }
    }
}
