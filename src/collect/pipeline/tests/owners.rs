//! Whose bytes are by the cgroups of sockets, and which names are shown beside a row and in series.

use super::*;
use crate::kube::decode::PodView;
use crate::kube::index::Index;
use crate::state::bytes::In;

/// A tree as the kubelet makes it, of plain directories: their inode numbers stand for the ids of cgroups.
struct Cgroups(std::path::PathBuf);

impl Cgroups {
    const POD: &str = "0e3c7a52-9a4e-4a6c-8f0e-3a1f6a0d9b11";
    const OLD: &str = "1e3c7a52-9a4e-4a6c-8f0e-3a1f6a0d9b12";

    fn new(name: &str) -> Cgroups {
        let root = std::env::temp_dir().join(format!("netmon-pipeline-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(&root).expect("a writable temporary directory");
        Cgroups(root)
    }

    fn pod(&self, uid: &str) -> u64 {
        self.make(&format!("kubepods/pod{uid}/container"))
    }

    fn make(&self, path: &str) -> u64 {
        use std::os::unix::fs::MetadataExt;
        let path = self.0.join(path);
        std::fs::create_dir_all(&path).expect("below ours");
        std::fs::metadata(path).expect("just made").ino()
    }

    fn pipeline(&self) -> Pipeline {
        let mut pipeline = pipeline(&config(false));
        pipeline.set_socket_owners(SocketOwners::open(&self.0, false).expect("no socket is opened"));
        pipeline
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn host_pods(names: &[(&str, &str)]) -> Arc<PodIndex> {
    let pods = names
        .iter()
        .map(|(uid, name)| Arc::new(Pod { name: (*name).into(), host_network: true, ..(*pod(uid)).clone() }));
    Arc::new(PodIndex::new(Vec::new(), pods.collect(), true, 1))
}

/// As ebpf tells it: of the node's own socket, in a cgroup.
fn in_cgroup(cgroup: u64, connection: Connection) -> Connection {
    Connection { cgroup, ends: Ends::Originator, reading: Reading::Increment, ..connection }
}

#[test]
fn rule_8_a_host_network_pod_is_known_by_its_cgroup_never_by_the_address() {
    let cgroups = Cgroups::new("known");
    let (own, service) = (cgroups.pod(Cgroups::POD), cgroups.make("system.slice/sshd.service"));
    let mut pipeline = cgroups.pipeline();
    pipeline.set_pods(host_pods(&[(Cgroups::POD, "agent")]), at(2));
    let connection = tcp(NODE, (OUTSIDE, 443), (OUTSIDE, 443));
    take(&mut pipeline, &in_cgroup(own, connection), at(6));
    take(&mut pipeline, &in_cgroup(0, connection), at(6));
    assert_eq!(owner_names(&pipeline), [("Host".to_owned(), 100), ("agent".to_owned(), 100)]);
    // A cgroup that is not known waits for a walk to tell that it is nobody's.
    take(&mut pipeline, &in_cgroup(service, connection), at(6));
    assert_eq!(pipeline.ledger().waiting.tx.bytes, 100);
    assert!(pipeline.socket_owners().is_some_and(SocketOwners::walk));
    pipeline.settle_waiting(at(7));
    take(&mut pipeline, &in_cgroup(service, connection), at(8));
    assert_eq!(owner_names(&pipeline), [("Host".to_owned(), 300), ("agent".to_owned(), 100)]);
    assert!(!pipeline.socket_owners().is_some_and(SocketOwners::walk), "nothing is new");
}

#[test]
fn rule_8_what_waits_for_a_cgroups_pod_is_settled_by_it() {
    let cgroups = Cgroups::new("waits");
    let (own, other) = (cgroups.pod(Cgroups::POD), cgroups.pod(Cgroups::OLD));
    let mut pipeline = cgroups.pipeline();
    let out = tcp(NODE, (OUTSIDE, 443), (OUTSIDE, 443));
    take(&mut pipeline, &in_cgroup(own, out), at(6));
    take(&mut pipeline, &in_cgroup(other, out), at(6));
    // From a pod that is known, as conntrack tells it: both ends in one record.
    let both = |cgroup, port| Connection { cgroup, ends: Ends::Both, ..tcp(POD_A, (NODE, port), (NODE, port)) };
    sweep(&mut pipeline, &[both(own, 9100), both(other, 9101)], at(6));
    assert!(rows(&pipeline).is_empty());
    let with_a = |names: &[(&str, &str)]| {
        let host = host_pods(names);
        let a = pod("a");
        let pods = host.pods().iter().cloned().chain([Arc::clone(&a)]).collect();
        let tenure = Tenure { addr: POD_A, from_ns: 0, ended_ns: u64::MAX, until_ns: u64::MAX, pod: a };
        Arc::new(PodIndex::new(vec![tenure], pods, true, 1))
    };
    pipeline.set_pods(with_a(&[(Cgroups::POD, "agent")]), at(8));
    let named = owner_names(&pipeline);
    assert_eq!(named, [("a".to_owned(), 100), ("agent".to_owned(), 100), ("agent".to_owned(), 1_000)]);
    // The other is never named: then it is the host, not a guess.
    sweep(&mut pipeline, &[], at(66));
    let host = |bytes| ("Host".to_owned(), bytes);
    let mut all = named;
    all.extend([host(100), host(1_000), ("a".to_owned(), 100)]);
    all.sort();
    assert_eq!(owner_names(&pipeline), all);
    assert!(pipeline.ledger().unattributed.iter().all(|u| u.is_zero()));
}

#[test]
fn rule_8_a_cgroup_tells_more_than_an_address_that_changed_hands() {
    let cgroups = Cgroups::new("reused");
    let old = cgroups.pod(Cgroups::OLD);
    let mut pipeline = cgroups.pipeline();
    let (was, is) = (pod(Cgroups::OLD), pod("new"));
    pipeline.set_pods(index(&[(POD_A, 1, 4, &was), (POD_A, 5, u64::MAX, &is)]), at(5));
    take(&mut pipeline, &in_cgroup(old, tcp(POD_A, (OUTSIDE, 443), (OUTSIDE, 443))), at(6));
    // The new pod's cgroup came after the last walk: it waits, though the address has an owner.
    let new = cgroups.pod(Cgroups::POD);
    take(&mut pipeline, &in_cgroup(new, tcp(POD_A, (OUTSIDE, 444), (OUTSIDE, 444))), at(6));
    assert_eq!(owner_names(&pipeline), [(Cgroups::OLD.to_owned(), 100)]);
    assert!(pipeline.socket_owners().is_some_and(SocketOwners::walk));
    let named = pod(Cgroups::POD);
    pipeline.set_pods(index(&[(POD_A, 1, 4, &was), (POD_A, 5, 6, &is), (POD_A, 7, u64::MAX, &named)]), at(8));
    assert_eq!(owner_names(&pipeline), [(Cgroups::POD.to_owned(), 100), (Cgroups::OLD.to_owned(), 100)]);
}

#[test]
fn f41_a_socket_in_the_network_of_another_pod_is_that_pods() {
    let cgroups = Cgroups::new("mesh");
    let proxy = cgroups.pod(Cgroups::POD);
    let mut pipeline = cgroups.pipeline();
    let (mesh, served) = (pod(Cgroups::POD), pod("served"));
    pipeline.set_pods(index(&[(POD_A, 1, u64::MAX, &served), (POD_B, 1, u64::MAX, &mesh)]), at(5));
    take(&mut pipeline, &in_cgroup(proxy, tcp(POD_A, (OUTSIDE, 443), (OUTSIDE, 443))), at(6));
    assert_eq!(owner_names(&pipeline), [("served".to_owned(), 100)]);
    take(&mut pipeline, &in_cgroup(proxy, tcp(POD_B, (OUTSIDE, 443), (OUTSIDE, 443))), at(6));
    assert_eq!(owner_names(&pipeline), [(Cgroups::POD.to_owned(), 100), ("served".to_owned(), 100)]);
    // So it is where the proxy is on the node's network.
    pipeline.set_pods(host_pods_beside(&[(Cgroups::POD, "ztunnel")], &served), at(7));
    take(&mut pipeline, &in_cgroup(proxy, tcp(POD_A, (OUTSIDE, 444), (OUTSIDE, 444))), at(8));
    assert!(!owner_names(&pipeline).iter().any(|(name, _)| name == "ztunnel"), "{:?}", owner_names(&pipeline));
}

fn host_pods_beside(names: &[(&str, &str)], served: &Arc<Pod>) -> Arc<PodIndex> {
    let pods = host_pods(names).pods().iter().cloned().chain([Arc::clone(served)]).collect();
    let tenure = Tenure { addr: POD_A, from_ns: 0, ended_ns: u64::MAX, until_ns: u64::MAX, pod: Arc::clone(served) };
    Arc::new(PodIndex::new(vec![tenure], pods, true, 1))
}

#[test]
fn rule_6_a_tunnel_is_the_hosts_whoever_made_it() {
    let cgroups = Cgroups::new("tunnel");
    let own = cgroups.pod(Cgroups::POD);
    let mut pipeline = cgroups.pipeline();
    pipeline.set_pods(host_pods(&[(Cgroups::POD, "flannel")]), at(2));
    let mut vxlan = in_cgroup(own, tcp(NODE, (OTHER_NODE, 8472), (OTHER_NODE, 8472)));
    vxlan.key.protocol = protocol::UDP;
    take(&mut pipeline, &vxlan, at(6));
    assert_eq!(rows(&pipeline), [(HOST, NODE, OTHER_NODE, 8472, Outbound, Overlay, 100, 1_000, false)]);
}

#[test]
fn rule_8_a_full_table_gives_to_the_host_what_is_surely_of_this_node() {
    let cgroups = Cgroups::new("full");
    let own = cgroups.pod(Cgroups::POD);
    let mut pipeline = cgroups.pipeline();
    for number in 0..waiting::CAPACITY + 100 {
        let [_, _, high, low] = number.to_be_bytes();
        let remote = Addr::from_v4([198, 51, high, low]);
        take(&mut pipeline, &in_cgroup(own, tcp(NODE, (remote, 443), (remote, 443))), at(6));
    }
    assert_eq!(pipeline.ledger().counted.tx.bytes, u64::from(waiting::CAPACITY + 100) * 100);
    assert_eq!(pipeline.ledger().waiting.tx.bytes, u64::from(waiting::CAPACITY) * 100);
    assert_eq!(pipeline.ledger().open.tx.bytes, 10_000);
    assert!(pipeline.ledger().is_balanced());
}

#[test]
fn a_name_that_comes_back_goes_on_where_it_was() {
    let mut pipeline = pipeline(&config(false));
    let named = |uid: &str| Arc::new(Pod { name: "web-0".into(), ..(*pod(uid)).clone() });
    let (old, new) = (named("old"), named("new"));
    let sum = |pipeline: &Pipeline| pipeline.series().iter().map(|s| s.total.tx.bytes).sum::<u64>();
    pipeline.set_pods(index(&[(POD_A, 1, u64::MAX, &old)]), at(2));
    let connection = Connection { reading: Reading::Increment, ..tcp(POD_A, (OUTSIDE, 443), (OUTSIDE, 443)) };
    take(&mut pipeline, &connection, at(6));
    pipeline.set_pods(index(&[(POD_A, 1, 8, &old), (POD_A, 9, u64::MAX, &new)]), at(9));
    take(&mut pipeline, &connection, at(10));
    assert_eq!((pipeline.series().len(), sum(&pipeline)), (2, 200));
    pipeline.set_pods(index(&[(POD_A, 9, u64::MAX, &new)]), at(400));
    let (rows, ledger, _) = pipeline.books();
    rows.abandon_open(Lost::Shutdown, ledger);
    pipeline.cleanup(at(1_000), SECOND);
    assert_eq!((pipeline.series().len(), sum(&pipeline)), (1, 200), "one pod is left, with all that its name counted");
    pipeline.set_pods(index(&[]), at(1_001));
    pipeline.cleanup(at(1_700), SECOND);
    assert!(pipeline.series().is_empty());
}

/// Each series of a pod that had ended looked through all rows, and through all owners for an heir.
#[test]
fn f25_thousands_of_pods_that_end_at_once_cost_no_more_than_those_that_live() {
    const PODS: u32 = 4_000;
    let config = Config { max_rows: 1 << 17, ..config(false) };
    let mut took_ns = [u64::MAX; 2];
    for _ in 0..3 {
        for (ended, took_ns) in [false, true].into_iter().zip(&mut took_ns) {
            let mut pipeline = pipeline(&config);
            let address = |n: u32| Addr::from_v4([10, 244, (n >> 8) as u8, n as u8]);
            let pods: Vec<Arc<Pod>> = (0..PODS).map(|n| pod(&format!("pod-{n:05}"))).collect();
            let tenures: Vec<_> = pods.iter().zip(0..).map(|(pod, n)| (address(n), 1, u64::MAX, pod)).collect();
            pipeline.set_pods(index(&tenures), at(2));
            for n in 0..PODS {
                for port in [80, 443] {
                    let ended =
                        Connection { reading: Reading::Increment, ..tcp(address(n), (OUTSIDE, port), (OUTSIDE, port)) };
                    take(&mut pipeline, &ended, at(6));
                }
            }
            let (rows, ledger, _) = pipeline.books();
            rows.abandon_open(Lost::Shutdown, ledger);
            if ended {
                pipeline.set_pods(index(&[]), at(400));
                // Their rows are gone, those of others are many.
                pipeline.cleanup(at(401), SECOND);
            }
            for n in 0..60_000u32 {
                let there = (Addr::from_v4([198, 18, (n >> 8) as u8, n as u8]), 443);
                take(&mut pipeline, &Connection { reading: Reading::Increment, ..tcp(NODE, there, there) }, at(402));
            }
            let began_ns = crate::clock::now().mono_ns;
            pipeline.cleanup(at(2_000), 3_600 * SECOND);
            *took_ns = (*took_ns).min(crate::clock::now().mono_ns - began_ns);
            assert_eq!(pipeline.series().len() > 1_000, !ended);
        }
    }
    let [living, ended] = took_ns;
    assert!(ended < living * 10 + 20_000_000, "{ended} ns where they ended, {living} ns where they live");
}

#[test]
fn a_remote_end_that_is_a_pod_of_this_node_is_named_by_its_time() {
    let mut pipeline = pipeline(&config(false));
    let (a, old, new) = (pod("a"), pod("old"), pod("new"));
    let pods = index(&[(POD_A, 1, u64::MAX, &a), (POD_B, 1, 20, &old), (POD_B, 21, u64::MAX, &new)]);
    pipeline.set_pods(pods, at(30));
    let connection = Connection { reading: Reading::Increment, ..tcp(POD_A, (POD_B, 80), (POD_B, 80)) };
    take(&mut pipeline, &connection, at(10));
    let remote = |pipeline: &Pipeline| {
        let row = pipeline.rows().iter().find(|row| row.key.direction == Outbound).expect("the row of a");
        pipeline.remote_pod(row).map(|id| format!("{:?}", pipeline.owners().get(id)))
    };
    assert!(remote(&pipeline).is_some_and(|name| name.contains("old")));
    take(&mut pipeline, &connection, at(25));
    assert!(remote(&pipeline).is_some_and(|name| name.contains("new")));
    let row = pipeline.rows().iter().find(|row| row.key.direction == Inbound).expect("the row of old");
    assert!(pipeline.remote_pod(row).is_some(), "the originator is a pod too");
}

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

#[test]
fn f16_pods_without_a_cgroup_in_the_tree_are_told_and_the_tree_is_walked_before() {
    let running = |generation| {
        let pods = vec![pod(Cgroups::POD)];
        Arc::new(PodIndex::new(Vec::new(), pods, true, generation).with_node(Vec::new(), true))
    };
    // A hierarchy of its own for everything but pods: hybrid, with the cgroupfs driver.
    let cgroups = Cgroups::new("hybrid");
    cgroups.make("system.slice/kubelet.service");
    let mut pipeline = cgroups.pipeline();
    pipeline.set_pods(host_pods(&[(Cgroups::POD, "node-exporter")]), at(2));
    assert_eq!(pipeline.tree_without_pods(), None, "no pod is known to run");
    pipeline.set_pods(running(2), at(3));
    let told: Vec<bool> = (0..4)
        .map(|_| {
            let told = pipeline.tree_without_pods().is_some();
            pipeline.socket_owners().expect("set").walk();
            told
        })
        .collect();
    assert_eq!(told, [false, true, true, true], "the walk that it asks for decides");
    // The first pod's cgroup comes into being later.
    cgroups.pod(Cgroups::POD);
    pipeline.set_pods(running(3), at(4));
    pipeline.tree_without_pods();
    pipeline.socket_owners().expect("set").walk();
    assert_eq!(pipeline.tree_without_pods(), None);

    let cgroups = Cgroups::new("there");
    cgroups.pod(Cgroups::POD);
    let mut pipeline = cgroups.pipeline();
    pipeline.set_pods(running(2), at(3));
    assert!((0..4).all(|_| pipeline.tree_without_pods().is_none()));
}

#[test]
fn f17_a_node_that_is_none_of_ours_is_told() {
    let mut pipeline = pipeline(&config(false));
    let on = |pipeline: &mut Pipeline, told: &[Addr]| {
        let pods = PodIndex::new(Vec::new(), vec![pod("a")], true, 2).with_node(told.to_vec(), true);
        pipeline.set_pods(Arc::new(pods), at(2));
        pipeline.local_ends().node_elsewhere()
    };
    assert_eq!(on(&mut pipeline, &[]), None, "nobody tells it");
    assert_eq!(on(&mut pipeline, &[NODE]), None);
    assert_eq!(on(&mut pipeline, &[OTHER_NODE]), Some(OTHER_NODE), "the agent has a network of its own");
    assert_eq!(on(&mut pipeline, &[OTHER_NODE, NODE]), None, "the node has more than one address");
    pipeline.local_ends().remove_host(NODE);
    assert_eq!(on(&mut pipeline, &[NODE]), None, "it has left a moment ago");
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
