//! What a pod carries around its end, and whose it is when its address is used again.

use super::*;
use crate::kube::decode::PodView;
use crate::kube::index::Index;
use crate::state::bytes::In;

/// A pod that had POD_A until the fourth second, and one that has POD_B.
fn job_and_server() -> Arc<PodIndex> {
    let tenure = |addr, ended_s: u64, uid: &str| {
        let ended_ns = if ended_s == u64::MAX { u64::MAX } else { at(ended_s).mono_ns };
        let until_ns = ended_ns.saturating_add(120 * SECOND);
        Tenure { addr, from_ns: at(1).mono_ns, ended_ns, until_ns, pod: pod(uid) }
    };
    let tenures = vec![tenure(POD_A, 4, "job"), tenure(POD_B, u64::MAX, "server")];
    let pods = tenures.iter().map(|tenure| Arc::clone(&tenure.pod)).collect();
    Arc::new(PodIndex::new(tenures, pods, true, 1))
}

#[test]
fn f26_what_waits_after_its_pods_end_is_held_and_settled_at_the_end() {
    let of_job = |to| Connection { reading: Reading::Increment, ..tcp(POD_A, (to, 80), (to, 80)) };
    let to_job = Connection { reading: Reading::Increment, ..tcp(POD_B, (POD_A, 80), (POD_A, 80)) };
    for (connection, beside, held) in [
        (of_job(OUTSIDE), vec![], (100, 1_000)),
        (of_job(POD_B), vec![("server".to_owned(), 1_000)], (100, 1_000)),
        (to_job, vec![("server".to_owned(), 100)], (1_000, 100)),
    ] {
        let mut pipeline = pipeline(&config(false));
        pipeline.set_pods(job_and_server(), at(5));
        take(&mut pipeline, &connection, at(6));
        assert_eq!(owner_names(&pipeline), beside);
        let waiting = pipeline.ledger().waiting;
        assert_eq!((waiting.tx.bytes, waiting.rx.bytes), held);
        // It is in the state file as well.
        let mut out = Vec::new();
        pipeline.persist(&mut out);
        let mut next = self::pipeline(&config(false));
        next.restore(&mut In(&out), true, true, at(7)).expect("as it was written");
        assert_eq!((next.ledger().waiting, next.ledger().is_balanced()), (waiting, true));
        // At the end it is the pod's that had the address, and what it carried can be sent.
        let counted = pipeline.ledger().counted;
        pipeline.settle_ended(at(7));
        assert!(pipeline.ledger().waiting.is_zero() && pipeline.ledger().is_balanced());
        assert_eq!(pipeline.ledger().counted, counted);
        let mut all = beside;
        all.push(("job".to_owned(), held.0));
        all.sort();
        assert_eq!(owner_names(&pipeline), all);
    }
}

#[test]
fn f26_what_began_while_the_old_pod_had_the_address_need_not_wait() {
    for (start_s, waits) in [(2, false), (4, false), (5, true), (0, true)] {
        let mut pipeline = pipeline(&config(false));
        pipeline.set_pods(job_and_server(), at(5));
        let start_ns = if start_s == 0 { 0 } else { at(start_s).wall_ns };
        let connection = tcp(POD_A, (OUTSIDE, 80), (OUTSIDE, 80));
        take(&mut pipeline, &Connection { reading: Reading::Increment, start_ns, ..connection }, at(6));
        assert_eq!(pipeline.ledger().waiting.is_zero(), !waits, "{start_s}");
        assert_eq!(owner_names(&pipeline).len(), usize::from(!waits), "{start_s}");
    }
}

#[test]
fn f26_at_the_end_what_waits_for_a_pod_that_is_not_known_waits_on() {
    let mut pipeline = pipeline(&config(false));
    take(&mut pipeline, &Connection { reading: Reading::Increment, ..tcp(POD_A, (OUTSIDE, 80), (OUTSIDE, 80)) }, at(6));
    pipeline.settle_ended(at(7));
    assert_eq!(pipeline.ledger().waiting.tx.bytes, 100);
}

/// `kubectl delete --force` deletes the object at once; its containers run on for their grace time, the next pod has
/// started meanwhile, and gets the address the moment that it is free.
fn forced(tells_containers: bool, sweep_every_s: u64, stamps: bool) -> (u64, u64) {
    let (mut pipeline, mut index) = (pipeline(&config(false)), Index::default());
    let view = |uid: &str, addresses: Vec<Addr>, started_s: u64, ran_s: Option<u64>| PodView {
        uid: uid.to_owned(),
        namespace: "shop".to_owned(),
        name: uid.to_owned(),
        addresses,
        started_ns: Some(at(started_s).wall_ns),
        ran_ns: ran_s.filter(|_| tells_containers).map(|s| at(s).wall_ns),
        is_silent: tells_containers && ran_s.is_none(),
        ..PodView::default()
    };
    let mut tell = |pipeline: &mut Pipeline, now, change: &dyn Fn(&mut Index)| {
        change(&mut index);
        index.snapshot().into_iter().for_each(|pods| pipeline.set_pods(Arc::new(pods), now));
    };
    // By port: who opened it, when, until when. The old one's last is open to the end and beyond: its peer repeats itself.
    let connections: [(u16, u64, u64); 5] = [(1, 3, 60), (2, 12, 24), (3, 26, 200), (4, 40, 200), (5, 5, 24)];
    for second in 2..200 {
        let now = at(second);
        match second {
            2 => tell(&mut pipeline, now, &|index| {
                index.replace(now, vec![view("old", vec![POD_A], 1, Some(2))]);
            }),
            10 => tell(&mut pipeline, now, &|index| index.remove(now, "old")),
            11 => tell(&mut pipeline, now, &|index| {
                index.upsert(now, view("new", vec![], 11, None));
            }),
            // The old one's containers are gone, and its address is the new one's.
            27 => tell(&mut pipeline, now, &|index| {
                index.upsert(now, view("new", vec![POD_A], 11, Some(25)));
            }),
            _ => {}
        }
        let living = connections.iter().filter(|(_, from, until)| (*from..*until).contains(&second));
        let record = |(sport, from, _): &(u16, u64, u64)| {
            let c = tcp(POD_A, (OUTSIDE, 443), (OUTSIDE, 443));
            let bytes = (second - from + 1) * 10;
            let traffic = Traffic { orig: Counts { bytes, packets: 1 }, reply: Counts::ZERO };
            let start_ns = if stamps { at(*from).wall_ns } else { 0 };
            Connection { key: ConnectionKey { sport: *sport, ..c.key }, traffic, start_ns, ..c }
        };
        if second % sweep_every_s == 0 {
            sweep(&mut pipeline, &living.map(record).collect::<Vec<_>>(), now);
        }
        for ended in connections.iter().filter(|(.., until)| *until == second + 1) {
            take(&mut pipeline, &Connection { reading: Reading::Ended, ..record(ended) }, now);
        }
    }
    sweep(&mut pipeline, &[], at(400));
    assert!(pipeline.ledger().waiting.is_zero() && pipeline.ledger().unattributed.iter().all(|u| u.is_zero()));
    let told = owner_names(&pipeline);
    let of = |name: &str| told.iter().filter(|(owner, _)| owner == name).map(|(_, bytes)| bytes).sum();
    (of("old"), of("new"))
}

#[test]
fn rule_8_a_pod_that_is_deleted_and_still_runs_keeps_its_bytes_though_its_address_is_used_again() {
    // 57 s, 12 s and 19 s of the old one; 174 s and 160 s of the new one, of which the last sweep has seen a part.
    for sweep_every_s in [1, 2, 5] {
        for stamps in [false, true] {
            let (old, new) = forced(true, sweep_every_s, stamps);
            assert_eq!(old, (57 + 12 + 19) * 10, "every {sweep_every_s} s, {stamps}");
            assert_eq!(new, 3_340, "every {sweep_every_s} s, {stamps}");
        }
    }
}
