//! Outages of an hour and of a day, on virtual time: memory stays flat, and afterwards every byte has arrived once.

use std::collections::HashMap;

use netmon::batch::{Settled, Verdict};
use netmon::clock::{Now, SECOND};
use netmon::collect::freezer::{Freezer, Sender};
use netmon::collect::persist;
use netmon::collect::pipeline::Pipeline;
use netmon::config::DakrProtocol;
use netmon::export::dakr::framing::Answer;
use netmon::export::dakr::jitter::Jitter;
use netmon::export::dakr::outcome::SendEnd;
use netmon::export::dakr::retry::Delivery;
use netmon::flow::{Addr, Connection, ConnectionKey, Counts, Ends, Reading, Traffic, TxRx};
use netmon::source::Sweep;
use netmon::state::bytes::In;
use netmon::state::{self, Gone, Place};

#[path = "support/counting.rs"]
mod counting;
mod support;
use counting::{Counting, peak_of};
use support::schema;
use support::silent::Silent;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const FLUSH_NS: u64 = 60 * SECOND;
const HOUR_NS: u64 = 3_600 * SECOND;
const CONNECTIONS: u16 = 200;

/// A node whose connections go on while DAKR does not answer.
struct Node {
    pipeline: Pipeline,
    freezer: Freezer,
    delivery: Delivery,
    now: Now,
    carried: Traffic,
    /// What DAKR took, by the bytes of its items: a repeat is the same item.
    taken: HashMap<Vec<u8>, TxRx>,
    /// Most rows at once.
    rows: u32,
}

impl Node {
    fn new() -> Node {
        Node::with_rows("1024")
    }

    fn with_rows(rows: &str) -> Node {
        let mut config = support::standalone(&["-local-cidrs", "10.244.1.0/24", "-max-rows", rows]);
        config.dakr = Some(support::dakr());
        let mut pipeline = Pipeline::new(&config, 1_024, 1);
        let now = Now { mono_ns: SECOND, wall_ns: 1_790_000_000 * SECOND };
        pipeline.begin_sweep();
        pipeline.end_sweep(&Sweep { complete: true, ..Sweep::default() }, now);
        Node {
            pipeline,
            freezer: Freezer::new(Sender { node_name: "outage".into(), cluster_id: String::new() }),
            delivery: Delivery::new(DakrProtocol::Connect, FLUSH_NS, Jitter::new(7)),
            now,
            carried: Traffic::ZERO,
            taken: HashMap::new(),
            rows: 0,
        }
    }

    /// A minute passes: every connection carries something, then a window ends. `end` is what a send comes to, `taken`
    /// whether DAKR counts it all the same.
    fn minute(&mut self, end: &SendEnd, counts: bool) {
        self.carried += Traffic { orig: Counts { bytes: 700, packets: 1 }, reply: Counts { bytes: 9_000, packets: 7 } };
        self.pipeline.begin_sweep();
        for port in 0..CONNECTIONS {
            self.pipeline.record(&record(port, self.carried), self.now);
        }
        self.pipeline.end_sweep(&Sweep { complete: true, ..Sweep::default() }, self.now);
        self.rows = self.rows.max(self.pipeline.rows().len());
        self.quiet_minute(end, counts);
    }

    /// A minute without traffic.
    fn quiet_minute(&mut self, end: &SendEnd, counts: bool) {
        self.pipeline.begin_sweep();
        self.pipeline.end_sweep(&Sweep::default(), self.now);
        let until_ns = self.now.mono_ns + FLUSH_NS;
        let mut settled = Vec::new();
        while self.now.mono_ns < until_ns {
            self.delivery.pass(self.now.mono_ns, &mut settled);
            self.settle(&mut settled);
            if self.delivery.is_idle()
                && self.delivery.gate_ns() <= self.now.mono_ns
                && let Some(batch) = self.freezer.freeze(&mut self.pipeline, 5_000, self.now)
            {
                self.delivery.accept(batch, &mut settled).expect("idle");
            }
            let again_ns = match self.delivery.next(self.now.mono_ns) {
                Ok(due) => {
                    if counts {
                        for item in schema::items(due.body) {
                            self.taken.insert(item.bytes, item.counts);
                        }
                    }
                    let index = due.index;
                    self.delivery.ended(index, end, self.now.mono_ns, &mut settled);
                    self.now.mono_ns
                }
                Err(again_ns) => again_ns.max(self.delivery.gate_ns()).max(self.now.mono_ns + SECOND),
            };
            self.settle(&mut settled);
            let to_ns = again_ns.min(until_ns);
            self.now.wall_ns += to_ns - self.now.mono_ns;
            self.now.mono_ns = to_ns;
        }
        self.pipeline.cleanup(self.now, 60 * SECOND);
        assert!(self.pipeline.ledger().is_balanced());
    }

    fn settle(&mut self, settled: &mut Vec<Settled>) {
        for news in settled.drain(..) {
            match news {
                Settled::Items { first_item, items, verdict, .. } => {
                    let (rows, ledger, _) = self.pipeline.books();
                    rows.settle(first_item, items, verdict, ledger);
                    assert!(!matches!(verdict, Verdict::Drop(_)), "nothing is given up in an outage");
                }
                Settled::Batch(batch) => self.freezer.put_back(batch),
                _ => {}
            }
        }
    }
}

fn record(port: u16, traffic: Traffic) -> Connection {
    let (src, dst) = (Addr::from_v4([10, 244, 1, 9]), Addr::from_v4([198, 51, 100, port as u8]));
    let key =
        ConnectionKey { src, dst, sport: 10_000 + port, dport: 443, ct_zone: 0, protocol: 6, family: 4, realm: 0 };
    let (ends, reading) = (Ends::Both, Reading::Live);
    Connection {
        key,
        backend: dst,
        backend_port: 443,
        ends,
        reading,
        id: 7,
        start_ns: 0,
        traffic,
        more: None,
        cgroup: 0,
    }
}

#[test]
fn an_hour_and_a_day_without_dakr_cost_no_byte_and_no_memory() {
    let refused = SendEnd::Answered { status: 503, answer: Answer::Foreign, retry_after_ns: Some(30 * SECOND) };
    let works = SendEnd::Answered { status: 200, answer: Answer::Ok(Vec::new()), retry_after_ns: None };
    for end in [SendEnd::Unsent, SendEnd::NoAnswer, refused] {
        for hours in [1, 24] {
            let mut node = Node::new();
            for _ in 0..5 {
                node.minute(&works, true);
            }
            // The first hour shows what an outage holds at most; what follows may not hold more.
            let minutes_of = |ns: u64| (0..ns / FLUSH_NS).map(drop);
            let ((), first) = peak_of(|| minutes_of(HOUR_NS + FLUSH_NS).for_each(|()| node.minute(&end, false)));
            let ((), later) = peak_of(|| minutes_of((hours - 1) * HOUR_NS).for_each(|()| node.minute(&end, false)));
            // A batch that is made anew, with its buffers growing; a leak of 100 bytes a minute would be more.
            assert!(later <= 128 << 10, "{end:?}: {first} bytes in an hour, {later} more in {hours} hours");
            assert!(node.rows <= u32::from(CONNECTIONS), "{end:?}: {} rows", node.rows);
            for _ in 0..5 {
                node.minute(&works, true);
            }
            let carried = node.carried;
            let sum = node.taken.values().fold(TxRx::ZERO, |sum, counts| sum + *counts);
            let each = u64::from(CONNECTIONS);
            assert_eq!(
                (sum.tx.bytes, sum.rx.bytes, sum.tx.packets, sum.rx.packets),
                (
                    carried.orig.bytes * each,
                    carried.reply.bytes * each,
                    carried.orig.packets * each,
                    carried.reply.packets * each
                ),
                "{end:?}, {hours} h"
            );
            println!("{end:?}, {hours} h: {first} bytes more in the first hour, {later} in all that followed");
        }
    }
}

fn place(boot_id: &str) -> Place {
    Place { boot_id: boot_id.into(), netns: 1 }
}

/// What waits for DAKR in one process arrives by the next: after a reboot, whose clock began anew, and in a table that
/// is too small for it.
#[test]
fn f4_what_is_pending_outlives_a_reboot_and_finds_room_in_a_smaller_table() {
    let works = SendEnd::Answered { status: 200, answer: Answer::Ok(Vec::new()), retry_after_ns: None };
    for (boot, rows) in [("same", "1024"), ("another", "1024"), ("same", "64"), ("another", "64")] {
        let mut node = Node::new();
        node.minute(&works, true);
        // Counted and not answered; then a minute more, which stays open.
        node.minute(&SendEnd::NoAnswer, true);
        node.minute(&SendEnd::NoAnswer, true);
        let tables = persist::tables(&Silent, &node.pipeline, &node.freezer);
        let file = state::encode(&place("same"), "outage/b", tables, |out| node.delivery.persist(out)).concat();
        let before = *node.pipeline.ledger();
        assert!(!before.open.is_zero() && !before.frozen.is_zero());

        let state = state::decode(&file, &place(boot)).expect("of use after a reboot too");
        let mut next = Node::with_rows(rows);
        next.now.wall_ns = node.now.wall_ns + 1;
        next.now.mono_ns = if boot == "same" { node.now.mono_ns } else { 5 * SECOND };
        let (same_kernel, same_boot) = (state.gone.is_none(), state.gone != Some(Gone::Boot));
        assert_eq!(same_kernel, boot == "same");
        let (pipeline, freezer) = (&mut next.pipeline, &mut next.freezer);
        persist::restore(&state.tables, state.gone, next.now, &mut Silent, pipeline, freezer).expect("as written");
        assert_eq!(pipeline.baselines().len() == 0, !same_kernel, "the connections are gone");
        let (batch, mono_ns) = (&mut In(&state.batch), next.now.mono_ns);
        let told = next.delivery.resume(batch, state.notes, same_boot, mono_ns).expect("as written");
        assert!(told.is_empty());
        let after = next.pipeline.ledger();
        assert_eq!((after.open + after.frozen, after.is_balanced()), (before.open + before.frozen, true));
        next.taken.clone_from(&node.taken);
        for _ in 0..3 {
            next.quiet_minute(&works, true);
        }
        let (sum, each) = (next.taken.values().fold(TxRx::ZERO, |sum, counts| sum + *counts), u64::from(CONNECTIONS));
        let carried = node.carried;
        assert_eq!(
            (sum.tx.bytes, sum.rx.bytes),
            (carried.orig.bytes * each, carried.reply.bytes * each),
            "{boot}, {rows}"
        );
        let after = next.pipeline.ledger();
        assert!(after.open.is_zero() && after.frozen.is_zero() && after.lost.iter().all(|lost| lost.is_zero()));
    }
}
