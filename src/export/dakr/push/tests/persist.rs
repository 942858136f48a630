//! The push and its state file: what is on the disk when, and how the next process goes on.

use std::path::{Path, PathBuf};

use super::super::super::transport::Failure;
use super::super::*;
use super::{Bench, batch, bench_watched, reply};
use crate::batch::Batch;
use crate::health::Status;
use crate::state::store::Store;
use crate::state::{Place, decode};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("netmon-kept-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn place() -> Place {
    Place { boot_id: "b".into(), netns: 1 }
}

fn on_disk(dir: &Path) -> State {
    decode(&std::fs::read(dir.join("state")).expect("it is written"), &place()).expect("unharmed")
}

fn persister(dir: &Path, bench: &Bench) -> Persister {
    let mut opened = Store::open(dir, 20 * SECOND);
    // The lock of the process before goes a moment after it.
    for _ in 0..100 {
        if opened.1.is_ok() {
            break;
        }
        clock::sleep_ns(10 * MS);
        opened = Store::open(dir, 20 * SECOND);
    }
    opened.1.expect("free");
    Persister::new(opened.0, place(), Arc::default(), bench.health.clone(), bench.stats.clone())
}

fn lost() -> Result<super::super::super::framing::Reply, Failure> {
    Err(Failure::Unknown("reset".to_owned()))
}

#[test]
fn the_window_is_on_the_disk_before_its_first_byte_is_sent() {
    let folder = Folder::new("first");
    let (dir, seen) = (folder.0.clone(), Arc::new(std::sync::Mutex::new(Vec::new())));
    let note = seen.clone();
    let watch = move || note.lock().expect("alone").push(on_disk(&dir).tables);
    let mut bench = bench_watched(reply(200, &[8, 2]), Some(Arc::new(watch)));
    let persister = persister(&folder.0, &bench);
    bench.push.persist_in(persister);
    bench.push.accept(Parcel::Batch(batch(), Some(b"tables".to_vec())));
    bench.run(1_001 * SECOND);
    assert!(seen.lock().expect("alone").iter().all(|tables| tables == b"tables"));
    let state = on_disk(&folder.0);
    assert_eq!(state.notes, [crate::batch::Note::Ended("0".to_owned(), Verdict::Acknowledged)]);
    assert_eq!(state.sender, "n__/b");
}

#[test]
fn what_is_in_doubt_at_the_end_is_sent_by_the_next_process_under_its_old_name() {
    let folder = Folder::new("next");
    let mut first = bench_watched(lost(), None);
    let own = persister(&folder.0, &first);
    first.push.persist_in(own);
    first.push.accept(Parcel::Batch(batch(), Some(b"tables".to_vec())));
    first.run(1_001 * SECOND);
    first.push.last_round(1_016 * SECOND);
    assert!(matches!(first.settled.lock().expect("alone").last(), Some(Settled::Left)));
    first.push.accept(Parcel::Tables(b"last tables".to_vec()));
    assert!(matches!(first.settled.lock().expect("alone").last(), Some(Settled::Persisted(true))));
    drop(first);

    let state = on_disk(&folder.0);
    assert_eq!(state.tables, b"last tables");
    let mut second = bench_watched(reply(200, &[8, 2]), None);
    let own = persister(&folder.0, &second);
    second.push.persist_in(own);
    let (settlements, out) = second.push.resume(State { sender: "n__/older".to_owned(), ..state }).expect("a batch");
    assert_eq!((settlements, out), (Vec::new(), true));
    second.run(1_001 * SECOND);
    let names: Vec<String> = second.made().into_iter().map(|made| made.1).filter(|name| name != "beat").collect();
    assert_eq!(names, ["n__/older/4.0"]);
    let mut settled = second.settled.lock().expect("alone");
    settled.retain(|news| !matches!(news, Settled::CollectNow));
    assert!(matches!(
        settled[..],
        [Settled::Items { first_item: 0, items: 2, verdict: Verdict::Acknowledged }, Settled::Batch(_)]
    ));
    drop(settled);
    second.made();
    second.push.accept(Parcel::Batch(Batch { seq: 5, ..batch() }, Some(b"tables".to_vec())));
    second.run(1_002 * SECOND);
    assert!(second.made().iter().any(|made| made.1 == "n__/b/5.0"), "new windows bear the new name");
}

#[test]
fn f4_the_last_tables_are_written_though_sending_took_all_the_time() {
    let folder = Folder::new("late");
    let mut bench = bench_watched(lost(), None);
    let own = persister(&folder.0, &bench);
    bench.push.persist_in(own);
    bench.push.accept(Parcel::Batch(batch(), Some(b"tables".to_vec())));
    bench.run(1_001 * SECOND);
    let (parcels, taken) = crossbeam_channel::bounded(2);
    std::thread::scope(|scope| {
        let settled = Arc::clone(&bench.settled);
        scope.spawn(move || {
            let is_left = || settled.lock().expect("alone").iter().any(|news| matches!(news, Settled::Left));
            for _ in 0..500 {
                if is_left() {
                    break;
                }
                clock::sleep_ns(MS);
            }
            clock::sleep_ns(20 * MS);
            parcels.send(Parcel::Tables(b"last tables".to_vec())).expect("it listens");
        });
        bench.push.stop(1_001 * SECOND, &taken);
    });
    let settled = bench.settled.lock().expect("alone");
    assert!(settled.iter().any(|news| matches!(news, Settled::Persisted(true))));
    assert_eq!(on_disk(&folder.0).tables, b"last tables");
}

#[test]
fn what_is_in_doubt_after_a_restart_is_not_merged_when_it_is_refused() {
    let folder = Folder::new("doubt");
    let mut first = bench_watched(lost(), None);
    let own = persister(&folder.0, &first);
    first.push.persist_in(own);
    first.push.accept(Parcel::Batch(batch(), Some(b"tables".to_vec())));
    drop(first);
    let mut second = bench_watched(Err(Failure::Unsent("refused".to_owned())), None);
    let own = persister(&folder.0, &second);
    second.push.persist_in(own);
    assert!(second.push.resume(on_disk(&folder.0)).expect("a batch").1);
    second.run(1_000 * SECOND + 3_500 * SECOND);
    assert!(second.settled.lock().expect("alone").is_empty());
    second.run(1_000 * SECOND + 3_700 * SECOND);
    assert_eq!(second.stats.ambiguous_bytes.get(), 900);
}

#[test]
fn f1_what_the_process_before_may_have_sent_is_not_halved() {
    use super::super::super::schema::{NetworkTrafficItem, SendNetworkTrafficMetricsRequest};
    use prost::Message as _;
    let folder = Folder::new("halves");
    let mut first = bench_watched(lost(), None);
    let own = persister(&folder.0, &first);
    first.push.persist_in(own);
    let mut sent = batch();
    let items = vec![NetworkTrafficItem::default(); 2];
    sent.messages[0].body = SendNetworkTrafficMetricsRequest { items, ..Default::default() }.encode_to_vec();
    first.push.accept(Parcel::Batch(sent, Some(b"tables".to_vec())));
    drop(first);
    let mut second = bench_watched(reply(413, &[]), None);
    let own = persister(&folder.0, &second);
    second.push.persist_in(own);
    assert!(second.push.resume(on_disk(&folder.0)).expect("a batch").1);
    second.run(1_000 * SECOND + 3_000 * SECOND);
    let mut names: Vec<String> = second.made().into_iter().map(|made| made.1).filter(|name| name != "beat").collect();
    assert!(names.len() > 30, "it is resent: {}", names.len());
    names.dedup();
    assert_eq!(names, ["n__/b/4.0"]);
    *second.script.end.lock().expect("alone") = Some(reply(200, &[8, 2]));
    second.run(1_000 * SECOND + 3_100 * SECOND);
    let settled = second.settled.lock().expect("alone");
    assert!(settled.iter().any(|news| matches!(news, Settled::Items { items: 2, verdict: Verdict::Acknowledged, .. })));
}

#[test]
fn a_disk_that_fails_is_counted_and_said_once_and_sending_goes_on() {
    let folder = Folder::new("fails");
    let mut bench = bench_watched(reply(200, &[8, 2]), None);
    let own = persister(&folder.0, &bench);
    bench.push.persist_in(own);
    std::fs::create_dir(folder.0.join("state.next")).expect("in the way");
    bench.push.accept(Parcel::Batch(batch(), Some(b"tables".to_vec())));
    bench.run(1_001 * SECOND);
    assert_eq!((bench.stats.state_failures.get(), bench.stats.pushes_ok.get()), (1, 1));
    let state_file = || bench.health.components().into_iter().find(|c| c.name == "state_file").expect("in use");
    assert!(state_file().status == Status::Degraded && state_file().message.starts_with("cannot be written"));
    std::fs::remove_dir(folder.0.join("state.next")).expect("made above");
    bench.push.accept(Parcel::Tables(b"tables".to_vec()));
    assert!(matches!(bench.settled.lock().expect("alone").last(), Some(Settled::Persisted(true))));
}
