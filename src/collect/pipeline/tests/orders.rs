//! Pods that are named late, early, not at all, or one after the other at one address: with the index of the API thread,
//! on virtual time.

use super::*;
use crate::kube::decode::PodView;
use crate::kube::index::Index;
use crate::kube::watch::{Failure, Machine, Step, WatchPace};

/// What can happen to a pod and one of its connections.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Opens,
    Appears,
    Ends,
    Goes,
    FirstList,
}

fn orders() -> Vec<Vec<Event>> {
    use Event::{Appears, Ends, FirstList, Goes, Opens};
    let mut orders = vec![vec![]];
    for event in [Opens, Appears, Ends, Goes, FirstList] {
        let longer = |order: Vec<Event>| {
            (0..=order.len()).map(move |at| {
                let mut order = order.clone();
                order.insert(at, event);
                order
            })
        };
        orders = orders.into_iter().flat_map(longer).collect();
    }
    let at = |order: &[Event], event| order.iter().position(|e| *e == event);
    orders.retain(|order| at(order, Opens) < at(order, Ends) && at(order, Appears) < at(order, Goes));
    orders
}

fn view(name: &str, addr: Addr, started: u64) -> PodView {
    PodView {
        uid: name.to_owned(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        addresses: vec![addr],
        started_ns: Some(at(started).wall_ns),
        ..PodView::default()
    }
}

/// Plays an order through the index of the API thread and the pipeline; `remote` is the other end.
fn play(order: &[Event], remote: Addr, full: bool) -> (Pipeline, bool) {
    let (mut pipeline, mut index) = (pipeline(&config(false)), Index::default());
    let (mut told, mut alive, mut knowable) = (false, false, false);
    let connection = tcp(POD_A, (remote, 80), (remote, 80));
    let fill = |pipeline: &mut Pipeline, now| {
        for number in 0..waiting::CAPACITY {
            let far = Addr::from_v4([198, 18, (number >> 8) as u8, number as u8]);
            let other = tcp(far, (FAR_POD, 80), (FAR_POD, 80));
            take(pipeline, &Connection { reading: Reading::Increment, ..other }, now);
        }
    };
    for (n, event) in order.iter().enumerate() {
        let now = at(10 + n as u64);
        if full {
            fill(&mut pipeline, now);
        }
        match event {
            Event::Opens => {
                sweep(&mut pipeline, &[connection], now);
            }
            Event::Ends => {
                let mut ended = Connection { reading: Reading::Ended, ..connection };
                ended.traffic.orig.bytes += 50;
                take(&mut pipeline, &ended, now);
            }
            Event::Appears => {
                alive = true;
                if told {
                    index.upsert(now, view("x", POD_A, 5));
                }
            }
            Event::Goes => {
                alive = false;
                index.remove(now, "x");
            }
            Event::FirstList => {
                told = true;
                let x = alive.then(|| view("x", POD_A, 5));
                index.replace(now, x.into_iter().chain([view("b", POD_B, 5)]).collect());
            }
        }
        knowable |= alive && told;
        if let Some(pods) = index.snapshot().filter(|pods| pods.synced) {
            pipeline.set_pods(Arc::new(pods), now);
        }
    }
    for seconds in [20, 50, 80, 120] {
        sweep(&mut pipeline, &[], at(seconds));
    }
    (pipeline, knowable)
}

#[test]
fn rule_8_every_order_of_connection_pod_and_first_list_gives_the_pod_its_bytes() {
    let orders = orders();
    assert_eq!(orders.len(), 30);
    for order in &orders {
        for remote in [OUTSIDE, NODE, POD_B] {
            let (pipeline, knowable) = play(order, remote, false);
            let of_x =
                owner_names(&pipeline).into_iter().filter(|(name, _)| name == "x").map(|(_, tx)| tx).sum::<u64>();
            let what = format!("{order:?} with {remote}");
            assert_eq!(of_x, if knowable { 150 } else { 0 }, "{what}");
            // The other end has its own, whatever becomes of the pod.
            let of_other = owner_names(&pipeline).into_iter().filter(|(name, _)| name != "x").map(|(_, tx)| tx);
            assert_eq!(of_other.sum::<u64>(), if remote == OUTSIDE { 0 } else { 1_000 }, "{what}");
            let unattributed = pipeline.ledger().unattributed[Unattributed::NoLocalEnd as usize].tx.bytes;
            assert_eq!(unattributed, if knowable || remote != OUTSIDE { 0 } else { 150 }, "{what}");
            assert!(pipeline.ledger().waiting.is_zero() && pipeline.ledger().is_balanced(), "{what}");
        }
    }
}

#[test]
fn rule_8_a_full_waiting_table_costs_names_never_bytes_and_gives_none_to_another() {
    for order in &orders() {
        let (pipeline, _) = play(order, OUTSIDE, true);
        let of_x: u64 =
            owner_names(&pipeline).into_iter().map(|(name, tx)| if name == "x" { tx } else { 10_000 }).sum();
        assert!(of_x <= 150, "{order:?}: {of_x}");
        let unattributed: u64 = pipeline.ledger().unattributed.iter().map(|u| u.tx.bytes).sum();
        let sent = order.len() as u64 * u64::from(waiting::CAPACITY) * 100 + 150;
        assert_eq!(of_x + unattributed, sent, "{order:?}");
        assert!(pipeline.ledger().waiting.is_zero() && pipeline.ledger().is_balanced(), "{order:?}");
    }
}

#[test]
fn rule_8_ten_thousand_reuses_of_an_address_give_no_wrong_owner() {
    const REUSES: u64 = 10_000;
    let (mut pipeline, mut index) =
        (pipeline(&Config { max_rows: 2 * REUSES as u32, ..config(false) }), Index::default());
    index.replace(at(1), Vec::new());
    let connection = |bytes| Connection {
        reading: Reading::Increment,
        traffic: Traffic { orig: Counts { bytes, packets: 1 }, reply: Counts::ZERO },
        ..tcp(POD_A, (OUTSIDE, 443), (OUTSIDE, 443))
    };
    let publish = |pipeline: &mut Pipeline, index: &mut Index, now| {
        if let Some(pods) = index.snapshot() {
            pipeline.set_pods(Arc::new(pods), now);
        }
    };
    for turn in 0..REUSES {
        // Each lives for 4 s and is told of for two: it sends before it is named, and after its end was told.
        let (start, name) = (10 + turn * 6, turn.to_string());
        take(&mut pipeline, &connection(1_000_000 + turn), at(start + 1));
        index.upsert(at(start + 2), view(&name, POD_A, start));
        publish(&mut pipeline, &mut index, at(start + 2));
        take(&mut pipeline, &connection(2_000_000), at(start + 2));
        index.remove(at(start + 4), &name);
        publish(&mut pipeline, &mut index, at(start + 4));
        take(&mut pipeline, &connection(3_000_000), at(start + 5));
    }
    sweep(&mut pipeline, &[], at(10 + REUSES * 6 + 60));
    let rows = owner_names(&pipeline);
    let wrong = rows.iter().filter(|(name, bytes)| *bytes != 6_000_000 + name.parse::<u64>().unwrap_or(u64::MAX / 2));
    assert_eq!(wrong.count(), 0);
    assert_eq!(rows.len() as u64, REUSES);
}

#[test]
fn rule_8_at_the_end_nothing_waits_on() {
    let mut pipeline = pipeline(&config(false));
    pipeline.set_pods(index(&[(POD_A, 1, 4, &pod("gone"))]), at(5));
    sweep(&mut pipeline, &[tcp(POD_A, (NODE, 80), (NODE, 80))], at(4));
    sweep(&mut pipeline, &[tcp(POD_B, (OUTSIDE, 80), (OUTSIDE, 80))], at(6));
    pipeline.settle_all(at(7));
    assert!(pipeline.waiting.is_empty() && pipeline.ledger().is_balanced());
    assert_eq!(owner_names(&pipeline), [("Host".to_owned(), 1_000), ("gone".to_owned(), 100)]);
    assert_eq!(pipeline.ledger().unattributed[Unattributed::NoLocalEnd as usize].tx.bytes, 100);
}

#[test]
fn rule_8_only_what_looks_like_a_pod_of_this_node_waits_beside_a_row() {
    let mut pipeline = pipeline(&config(false));
    pipeline.set_pods(index(&[(POD_B, 1, u64::MAX, &pod("b"))]), at(2));
    let to = |remote| Connection { reading: Reading::Increment, ..tcp(remote, (POD_B, 80), (POD_B, 80)) };
    for remote in [FAR_POD, OTHER_NODE, OUTSIDE] {
        take(&mut pipeline, &to(remote), at(6));
    }
    assert!(pipeline.waiting.is_empty(), "another node's");
    take(&mut pipeline, &to(POD_A), at(6));
    assert_eq!((pipeline.waiting.len(), pipeline.ledger().waiting), (1, Default::default()), "POD_B's row stands");
    sweep(&mut pipeline, &[], at(70));
    assert!(pipeline.waiting.is_empty() && pipeline.ledger().unattributed.iter().all(|u| u.is_zero()));
    assert_eq!(owner_names(&pipeline).len(), 4);
}

/// From when to when the API server cannot be reached.
const DOWN: std::ops::Range<u64> = 600..4_200;

/// A pod as it truly lives.
struct Life {
    name: String,
    addr: Addr,
    seconds: std::ops::Range<u64>,
    sent: u64,
}

/// What the API thread does in a second: asks as its machine says, hears what there is to hear.
fn ask(machine: &mut Machine, watching: &mut bool, index: &mut Index, pods: &[Life], second: u64) {
    let (now, down) = (at(second), DOWN.contains(&second));
    let refused = Failure::Network("refused".to_owned());
    if *watching && down {
        *watching = false;
        machine.failed(now.mono_ns, &refused);
    }
    while !*watching {
        match machine.step(now.mono_ns) {
            Step::Wait { until_ns } if until_ns > now.mono_ns => break,
            Step::Wait { .. } => {}
            Step::List { .. } | Step::Watch { .. } if down => {
                machine.failed(now.mono_ns, &refused);
            }
            Step::List { .. } => {
                machine.listed(now.mono_ns, second.to_string());
                let living = pods.iter().filter(|pod| pod.seconds.contains(&second));
                index.replace(now, living.map(|pod| view(&pod.name, pod.addr, pod.seconds.start)).collect());
            }
            Step::Watch { .. } => {
                machine.watching();
                *watching = true;
            }
        }
    }
    if *watching {
        machine.event(now.mono_ns, Some(second.to_string()));
        for pod in pods {
            if pod.seconds.start == second {
                index.upsert(now, view(&pod.name, pod.addr, second));
            }
            if pod.seconds.end == second {
                index.remove(now, &pod.name);
            }
        }
    }
    index.forget(now);
}

#[test]
fn rule_8_an_hour_without_api_server_costs_no_bytes_and_no_name_that_can_be_known() {
    let life = |name: String, host, seconds| Life { name, addr: Addr::from_v4([10, 244, 1, host]), seconds, sent: 0 };
    let mut pods: Vec<Life> = (0..20).map(|n| life(format!("stays-{n}"), 100 + n, 0..u64::MAX)).collect();
    pods.push(life("goes".to_owned(), 10, 0..DOWN.start + 1_000));
    pods.push(life("just-before".to_owned(), 11, DOWN.start - 20..u64::MAX));
    pods.push(life("in-the-middle".to_owned(), 12, DOWN.start + 1_800..u64::MAX));
    pods.push(life("just-after".to_owned(), 13, DOWN.end - 20..u64::MAX));
    let (mut pipeline, mut index) = (pipeline(&config(false)), Index::default());
    let (mut machine, mut watching) = (Machine::new(WatchPace::default(), 42, 0), false);
    for second in 1..DOWN.end + 300 {
        ask(&mut machine, &mut watching, &mut index, &pods, second);
        let now = at(second);
        if let Some(pods) = index.snapshot().filter(|pods| pods.synced) {
            pipeline.set_pods(Arc::new(pods), now);
        }
        if second.is_multiple_of(5) {
            for pod in pods.iter_mut().filter(|pod| pod.seconds.contains(&second)) {
                let sends = tcp(pod.addr, (OUTSIDE, 443), (OUTSIDE, 443));
                take(&mut pipeline, &Connection { reading: Reading::Increment, ..sends }, now);
                pod.sent += 100;
            }
            sweep(&mut pipeline, &[], now);
        }
    }
    assert!(watching, "it is heard again");
    let named = owner_names(&pipeline);
    let of = |name: &str| named.iter().filter(|(of, _)| of == name).map(|(_, bytes)| bytes).sum::<u64>();
    for pod in pods.iter().filter(|pod| pod.name != "in-the-middle") {
        assert_eq!(of(&pod.name), pod.sent, "{}", pod.name);
    }
    // Nobody can name it while it waits its minute; from a minute before it is told on it has its name.
    let middle = pods.iter().find(|pod| pod.name == "in-the-middle").expect("made above");
    let nobodys = pipeline.ledger().unattributed[Unattributed::NoLocalEnd as usize].tx.bytes;
    assert_eq!(of(&middle.name) + nobodys, middle.sent);
    assert!(of(&middle.name) >= 300 / 5 * 100, "{named:?}");
    assert_eq!(pipeline.ledger().counted.tx.bytes, pods.iter().map(|pod| pod.sent).sum::<u64>());
    assert!(pipeline.ledger().waiting.is_zero() && pipeline.ledger().is_balanced());
}
