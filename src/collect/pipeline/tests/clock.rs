//! Rule 20: the wall clock is set, forward and back, by seconds and by years, at every moment, with a restart at every
//! moment and without: whose the bytes are, when rows leave and what is shown stay what they are.

use super::*;
use crate::collect::freezer::{Freezer, Sender};
use crate::collect::snapshot::Snapshotter;
use crate::kube::decode::PodView;
use crate::kube::index::Index;
use crate::snapshot::SnapshotsByKind;
use crate::state::bytes::In;

const YEAR_S: i64 = 365 * 86_400;
const STEPS_S: [i64; 8] = [3, -3, 40, -40, 7_200, -7_200, 10 * YEAR_S, -30 * YEAR_S];

/// A node whose wall clock is set by `by` seconds at a moment.
struct World {
    pipeline: Pipeline,
    index: Index,
    now_s: u64,
    set: (u64, i64),
    /// Whether conntrack says when connections began.
    stamps: bool,
    /// By source port: when it began, and what it has carried.
    connections: Vec<(u16, Addr, u64, u64)>,
    living: Vec<(&'static str, Addr, u64)>,
}

impl World {
    fn new(set: (u64, i64), stamps: bool) -> World {
        let (connections, living) = (Vec::new(), Vec::new());
        let mut world = World {
            pipeline: pipeline(&config(false)),
            index: Index::default(),
            now_s: 2,
            set,
            stamps,
            connections,
            living,
        };
        world.index.look_at_clock(world.now());
        world
    }

    fn at(&self, seconds: u64) -> Now {
        let by = if seconds >= self.set.0 { self.set.1 } else { 0 };
        let wall_s = (at(seconds).wall_ns / SECOND).checked_add_signed(by).expect("in range");
        Now { wall_ns: wall_s * SECOND, ..at(seconds) }
    }

    fn now(&self) -> Now {
        self.at(self.now_s)
    }

    fn view(&self, uid: &str, address: Addr, started_s: u64) -> PodView {
        PodView {
            uid: uid.to_owned(),
            namespace: "shop".to_owned(),
            name: uid.to_owned(),
            addresses: vec![address],
            started_ns: Some(self.at(started_s).wall_ns),
            ..PodView::default()
        }
    }

    fn tell(&mut self) {
        let now = self.now();
        self.index.heard(now);
        if let Some(pods) = self.index.snapshot() {
            self.pipeline.set_pods(Arc::new(pods), now);
        }
    }

    fn opens(&mut self, sport: u16, client: Addr) {
        self.connections.push((sport, client, self.now_s, 0));
    }

    /// Each connection carries a byte for each second, and the sweep sees it.
    fn second(&mut self, events: &[Event]) {
        self.now_s += 1;
        let now = self.now();
        self.index.look_at_clock(now);
        let now_s = self.now_s;
        events.iter().filter(|(second, _)| *second == now_s).for_each(|(_, event)| event(self));
        self.connections.iter_mut().for_each(|(.., bytes)| *bytes += 100);
        let records: Vec<Connection> = self.connections.iter().map(|of| self.record(of)).collect();
        sweep(&mut self.pipeline, &records, now);
    }

    fn record(&self, (sport, client, began_s, bytes): &(u16, Addr, u64, u64)) -> Connection {
        let c = tcp(*client, (OUTSIDE, 443), (OUTSIDE, 443));
        let traffic = Traffic { orig: Counts { bytes: *bytes, packets: 1 }, reply: Counts { bytes: 1, packets: 1 } };
        let start_ns = if self.stamps { self.at(*began_s).wall_ns } else { 0 };
        Connection { key: ConnectionKey { sport: *sport, ..c.key }, traffic, start_ns, ..c }
    }

    /// The agent is stopped and goes on from its state; the pods are listed anew.
    fn restart(&mut self) {
        let mut out = Vec::new();
        self.pipeline.persist(&mut out);
        self.pipeline = Pipeline::new(&config(false), 1_024, self.now().wall_ns);
        self.pipeline.local_ends().replace_host(&[NODE]);
        self.pipeline.restore(&mut In(&out), true, true, self.now()).expect("as it was written");
        self.index = Index::default();
        if self.now_s >= LISTED_S {
            self.list();
        }
    }

    fn list(&mut self) {
        let list = self.living.iter().map(|(uid, address, started)| self.view(uid, *address, *started)).collect();
        self.index.replace(self.now(), list);
        self.tell();
    }
}

type Event = (u64, fn(&mut World));

/// When the first list of pods arrives.
const LISTED_S: u64 = 12;
const EVENTS: [Event; 9] = [
    (4, |w| {
        w.living.push(("old", POD_A, 4));
        w.living.push(("stays", POD_B, 4));
        w.opens(1, POD_A);
        w.opens(2, POD_B);
    }),
    (LISTED_S, World::list),
    (16, |w| w.connections.retain(|(sport, ..)| *sport != 1)),
    (17, |w| {
        w.living.remove(0);
        w.index.remove(w.now(), "old");
        w.tell();
    }),
    // The next pod has the address at once, and is told of three seconds later.
    (18, |w| {
        w.living.push(("new", POD_A, 18));
        w.opens(3, POD_A);
    }),
    (21, |w| {
        let view = w.view("new", POD_A, 18);
        w.index.upsert(w.now(), view);
        w.tell();
    }),
    // What is told again has the words of before: a start by the clock of its time.
    (25, |w| {
        let views = [w.view("new", POD_A, 18), w.view("stays", POD_B, 4)];
        for view in views {
            w.index.upsert(w.now(), view);
        }
        w.tell();
    }),
    (28, |w| w.opens(4, POD_A)),
    (30, |w| w.opens(5, POD_B)),
];

fn told_at_the_end(set: (u64, i64), stamps: bool, restart_s: u64) -> Vec<(String, u64)> {
    let mut world = World::new(set, stamps);
    for second in 3..34 {
        if second == restart_s {
            world.restart();
        }
        world.second(&EVENTS);
    }
    // What waits for a pod that nobody knows is settled after a minute.
    world.connections.clear();
    (34..120).for_each(|_| world.second(&EVENTS));
    assert!(world.pipeline.ledger().waiting.is_zero());
    let mut sums = std::collections::BTreeMap::new();
    owner_names(&world.pipeline).into_iter().for_each(|(name, bytes)| *sums.entry(name).or_insert(0) += bytes);
    sums.into_iter().collect()
}

#[test]
fn f11_whose_bytes_they_are_does_not_depend_on_the_wall_clock() {
    for stamps in [false, true] {
        for restart_s in [0, 7, 15, 19, 27] {
            let control = told_at_the_end((0, 0), stamps, restart_s);
            assert_eq!(control.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["new", "old", "stays"]);
            for by in STEPS_S {
                for second in 3..34 {
                    let told = told_at_the_end((second, by), stamps, restart_s);
                    assert_eq!(told, control, "set by {by} s at {second}, restarted at {restart_s}, {stamps}");
                }
            }
        }
    }
}

#[test]
fn f11_rows_leave_when_they_were_idle_and_show_the_time_of_now() {
    for by in STEPS_S {
        for restarts in [false, true] {
            let mut world = World::new((10, by), false);
            world.living.push(("web", POD_A, 2));
            world.list();
            world.opens(1, POD_A);
            for _ in 3..8 {
                world.second(&[]);
            }
            if restarts {
                world.restart();
                world.list();
            }
            world.now_s = 11;
            let (rows, ledger, _) = world.pipeline.books();
            rows.abandon_open(Lost::Shutdown, ledger);
            world.pipeline.cleanup(world.at(66), 60 * SECOND);
            assert_eq!(world.pipeline.rows().len(), 1, "idle for 59 s: {by}, {restarts}");
            let (snapshots, freezer) = (
                SnapshotsByKind::default(),
                Freezer::new(Sender { node_name: String::new(), cluster_id: String::new() }),
            );
            snapshots.flows.ask();
            Snapshotter::default().publish(&snapshots, &world.pipeline, &freezer, u64::MAX, || world.at(12));
            let shown = snapshots.flows.latest().expect("asked for").rows[0].changed_wall_ns;
            assert_eq!(shown, world.at(12).wall_ns - 5 * SECOND, "{by}, {restarts}");
            world.pipeline.cleanup(world.at(67), 60 * SECOND);
            assert_eq!(world.pipeline.rows().len(), 0, "{by}, {restarts}");
        }
    }
}

#[test]
fn f11_what_waited_before_a_reboot_is_no_pods_of_now() {
    let mut world = World::new((0, 0), false);
    world.opens(1, POD_A);
    world.second(&[]);
    let waiting = world.pipeline.ledger().waiting;
    assert_eq!(waiting.tx.bytes, 100);
    let mut out = Vec::new();
    world.pipeline.persist(&mut out);
    // The machine has been up for longer than it had been before.
    let mut next = Pipeline::new(&config(false), 1_024, 1);
    next.restore(&mut In(&out), false, false, at(500)).expect("as it was written");
    next.set_pods(index(&[(POD_A, 1, u64::MAX, &pod("of now"))]), at(501));
    assert_eq!(next.ledger().waiting, waiting);
    next.settle_waiting(at(500 + 61));
    assert!(rows(&next).is_empty() && next.ledger().waiting.is_zero());
}
