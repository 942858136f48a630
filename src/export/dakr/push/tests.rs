//! The thread's steps on virtual time, over a scripted transport.

mod persist;

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use super::super::framing::Reply;
use super::super::heart::INTERVAL_NS;
use super::super::transport::{Call, Failure};
use super::*;
use crate::batch::{Batch, Message};
use crate::config::DakrProtocol;
use crate::health::Status;

/// When each request was made, on which path, and what it is to come to.
#[derive(Clone, Default)]
struct Script {
    now_ns: Arc<AtomicU64>,
    made: Arc<Mutex<Vec<(u64, String, u64)>>>,
    end: Arc<Mutex<Option<Result<Reply, Failure>>>>,
    /// Is called when a request is made.
    watch: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Transport for Script {
    fn send(&mut self, call: &Call<'_>, until_ns: u64) -> Result<Reply, Failure> {
        let now_ns = self.now_ns.load(SeqCst);
        if let Some(watch) = &self.watch {
            watch();
        }
        let batch = call.headers.iter().find(|h| h.0 == "x-netmon-batch").map_or("beat", |h| &h.1);
        self.made.lock().expect("alone").push((now_ns, batch.to_owned(), until_ns - now_ns));
        self.end.lock().expect("alone").clone().expect("scripted")
    }
}

fn reply(status: u16, body: &[u8]) -> Result<Reply, Failure> {
    let headers = vec![("content-type".to_owned(), "application/proto".to_owned())];
    Ok(Reply { status, headers, body: body.to_vec(), cut: false })
}

struct Bench {
    script: Script,
    push: Push<Script>,
    settled: Arc<Mutex<Vec<Settled>>>,
    stats: Arc<Stats>,
    health: Arc<Health>,
}

fn bench(end: Result<Reply, Failure>) -> Bench {
    bench_watched(end, None)
}

fn bench_watched(end: Result<Reply, Failure>, watch: Option<Arc<dyn Fn() + Send + Sync>>) -> Bench {
    let script = Script { watch, ..Script::default() };
    script.now_ns.store(1_000 * SECOND, SeqCst);
    *script.end.lock().expect("alone") = Some(end);
    let clock = script.now_ns.clone();
    let clock = move || Now { mono_ns: clock.load(SeqCst), wall_ns: 0 };
    let settings = Settings {
        node_name: "n\n\u{e9}".to_owned(),
        cluster_id: String::new(),
        boot: "b".to_owned(),
        protocol: DakrProtocol::Auto,
        flush_interval_ns: 60 * SECOND,
        started_ns: 0,
    };
    let (stats, health, settled) = (Arc::<Stats>::default(), Arc::<Health>::default(), Arc::<Mutex<Vec<_>>>::default());
    let report = settled.clone();
    let client = Client::new(script.clone(), Token::new("dakr-t", None), clock);
    let push = Push::new(client, Flight::new(), settings, health.clone(), stats.clone(), move |what| {
        report.lock().expect("alone").push(what);
    });
    Bench { script, push, settled, stats, health }
}

impl Bench {
    /// Steps as the thread does, until `until_ns`.
    fn run(&mut self, until_ns: u64) {
        loop {
            let again_ns = self.push.step();
            if again_ns > until_ns {
                self.script.now_ns.store(until_ns, SeqCst);
                return;
            }
            self.script.now_ns.store(again_ns.max(self.script.now_ns.load(SeqCst)), SeqCst);
        }
    }

    fn made(&self) -> Vec<(u64, String, u64)> {
        std::mem::take(&mut *self.script.made.lock().expect("alone"))
    }
}

fn batch() -> Batch {
    let message = Message { part: 0, first_item: 0, items: 2, total_bytes: 900, body: vec![1, 2, 3] };
    Batch { seq: 4, frozen_wall_ns: 0, messages: vec![message] }
}

#[test]
fn heartbeats_come_at_once_then_at_the_nodes_own_moment_then_every_minute() {
    let mut bench = bench(reply(200, &[]));
    let start_ns = 1_000 * SECOND;
    bench.run(start_ns + 10 * INTERVAL_NS);
    let times: Vec<u64> = bench.made().iter().map(|made| made.0 - start_ns).collect();
    assert_eq!(times[0], 0);
    assert!(times[1] <= INTERVAL_NS);
    assert!(times.len() >= 11 && times[1..].windows(2).all(|pair| pair[1] - pair[0] == INTERVAL_NS), "{times:?}");
    assert_eq!(bench.stats.heartbeats_ok.get(), times.len() as u64);
}

#[test]
fn until_the_first_push_a_heartbeat_that_fails_is_said_unless_there_is_no_such_service() {
    let mut bench = bench(Err(Failure::Unsent("nobody there".to_owned())));
    let shown = |bench: &Bench| {
        let transport = &bench.health.components()[0];
        (transport.status, transport.message.clone())
    };
    bench.run(1_001 * SECOND);
    assert_eq!(shown(&bench), (Status::Degraded, "DAKR: nobody there".to_owned()));
    *bench.script.end.lock().expect("alone") = Some(reply(200, &[]));
    bench.run(1_001 * SECOND + INTERVAL_NS);
    assert_eq!(shown(&bench), (Status::Healthy, "connected".to_owned()));

    let mut bench = self::bench(reply(404, &[]));
    bench.run(1_001 * SECOND);
    assert_eq!((bench.stats.heartbeats_failed.get(), shown(&bench).0), (1, Status::Healthy));
    // A push that was taken goes before heartbeats.
    *bench.script.end.lock().expect("alone") = Some(reply(200, &[8, 2]));
    bench.push.accept(Parcel::Batch(batch(), None));
    bench.run(1_002 * SECOND);
    assert_eq!(bench.stats.pushes_ok.get(), 1);
    *bench.script.end.lock().expect("alone") = Some(Err(Failure::Unsent("nobody there".to_owned())));
    bench.run(1_002 * SECOND + 2 * INTERVAL_NS);
    assert_eq!((bench.stats.heartbeats_failed.get() > 1, shown(&bench).0), (true, Status::Healthy));
}

#[test]
fn nodes_beat_at_different_moments() {
    let phases: std::collections::HashSet<u64> =
        (0..1000).map(|node| Jitter::new(hash([&format!("node-{node}"), ""])).up_to(INTERVAL_NS) / SECOND).collect();
    assert!(phases.len() >= 58, "{}", phases.len());
}

#[test]
fn an_hour_in_doubt_is_counted_as_ambiguous() {
    let mut bench = bench(Err(Failure::Unknown("reset".to_owned())));
    bench.push.accept(Parcel::Batch(batch(), None));
    bench.run(1_000 * SECOND + 3601 * SECOND);
    assert_eq!(bench.stats.ambiguous_bytes.get(), 900);
    let sends = bench.made().into_iter().filter(|made| made.1 != "beat").count() as u64;
    assert_eq!(bench.stats.pushes_failed.get(), sends);
    assert!(sends > 60);
    assert!(bench.made().iter().all(|made| made.2 == SEND_TIMEOUT_NS));
    let settled = bench.settled.lock().expect("alone");
    assert!(matches!(
        settled[..],
        [Settled::Items { first_item: 0, items: 2, verdict: Verdict::MergeAmbiguous }, Settled::Batch(_),]
    ));
    assert_eq!(bench.health.components()[0].message, "DAKR: reset");
    assert_eq!(bench.health.overall(), Status::Degraded);
}

#[test]
fn a_count_that_differs_is_delivered_and_counted_and_a_garbled_one_is_resent() {
    let mut bench = bench(reply(200, &[8, 1]));
    bench.push.accept(Parcel::Batch(batch(), None));
    bench.run(1_001 * SECOND);
    assert_eq!((bench.stats.pushes_ok.get(), bench.stats.pushes_miscounted.get()), (1, 1));
    *bench.script.end.lock().expect("alone") = Some(reply(200, &[8]));
    bench.push.accept(Parcel::Batch(batch(), None));
    bench.run(1_004 * SECOND);
    assert!(bench.stats.pushes_failed.get() >= 2);
    assert_eq!(
        bench.made().iter().filter(|made| made.1 == "n__/b/4.0").count() as u64,
        1 + bench.stats.pushes_failed.get()
    );
}

#[test]
fn a_second_batch_goes_back_unsent() {
    let mut bench = bench(Err(Failure::Unknown("reset".to_owned())));
    bench.push.accept(Parcel::Batch(batch(), None));
    bench.run(1_000 * SECOND);
    bench.push.accept(Parcel::Batch(Batch { seq: 5, ..batch() }, None));
    let settled = bench.settled.lock().expect("alone");
    assert!(matches!(
        settled[..],
        [Settled::Items { first_item: 0, items: 2, verdict: Verdict::Merge }, Settled::Batch(Batch { seq: 5, .. }),]
    ));
}

#[test]
fn the_gate_is_shown() {
    let headers = vec![("retry-after".to_owned(), "120".to_owned())];
    let mut bench = bench(Ok(Reply { status: 429, headers, body: Vec::new(), cut: false }));
    let pace = bench.push.pace.clone();
    bench.push.accept(Parcel::Batch(batch(), None));
    bench.run(1_001 * SECOND);
    assert_eq!(pace.gate_ns(), 1_120 * SECOND);
    assert_eq!(pace.max_items(), MAX_ITEMS);
}
