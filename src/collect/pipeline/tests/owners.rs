//! Whose bytes are by the cgroups of sockets, and which names are shown beside a row and in series.

use super::*;
use crate::owner::Owner;
use crate::owner::cgroup::Holds;

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
        pipeline.set_socket_owners(SocketOwners::open(&self.0, Holds::Pods, false).expect("no socket is opened"));
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

/// A host without pods, whose cgroups are those of units.
fn bare_host(cgroups: &Cgroups) -> Pipeline {
    let mut pipeline = pipeline(&config(true));
    pipeline.set_socket_owners(SocketOwners::open(&cgroups.0, Holds::Groups, false).expect("no socket is opened"));
    pipeline
}

fn group_names(pipeline: &Pipeline) -> Vec<(String, u64)> {
    let name = |id| match pipeline.owners().get(id) {
        Owner::Group(group) => format!("{} {}", group.kind(), group.name()),
        other => format!("{other:?}"),
    };
    let mut rows: Vec<_> = pipeline.rows().iter().map(|row| (name(row.key.owner), row.total.tx.bytes)).collect();
    rows.sort();
    rows
}

#[test]
fn a_unit_says_more_of_what_is_local_and_makes_nothing_local() {
    let cgroups = Cgroups::new("units");
    let mut pipeline = bare_host(&cgroups);
    // Made after the last walk: found at once, for nothing waits here.
    let (nginx, slice) = (cgroups.make("system.slice/nginx.service"), cgroups.make("system.slice"));
    let docker = cgroups.make(&format!("docker/{}", "a1".repeat(32)));
    let out = tcp(NODE, (OUTSIDE, 443), (OUTSIDE, 443));
    take(&mut pipeline, &in_cgroup(nginx, out), at(6));
    take(&mut pipeline, &in_cgroup(slice, out), at(6));
    take(&mut pipeline, &in_cgroup(0, out), at(6));
    take(&mut pipeline, &in_cgroup(docker, tcp(POD_A, (OUTSIDE, 443), (OUTSIDE, 443))), at(6));
    let named = [
        ("Host".to_owned(), 200),
        ("container docker-a1a1a1a1a1a1".to_owned(), 100),
        ("unit nginx.service".to_owned(), 100),
    ];
    assert_eq!(group_names(&pipeline), named);
    // An address that is not local stays nobody's, and the node's tunnels stay its own.
    take(&mut pipeline, &in_cgroup(docker, tcp(FAR_POD, (OUTSIDE, 443), (OUTSIDE, 443))), at(6));
    assert_eq!(pipeline.ledger().unattributed.iter().map(|u| u.tx.bytes).sum::<u64>(), 100);
    let peer = Addr::from_v4([192, 168, 0, 9]);
    let mut tunnel = tcp(NODE, (peer, 51_820), (peer, 51_820));
    tunnel.key.protocol = protocol::UDP;
    take(&mut pipeline, &in_cgroup(nginx, tunnel), at(6));
    let overlay = pipeline.rows().iter().find(|row| row.key.class == Overlay).expect("a tunnel");
    assert_eq!(overlay.key.owner, OwnerId::HOST);
    assert!(pipeline.ledger().is_balanced());
}

/// Series tell units apart: what a unit that is gone had must not be counted again as the host's.
#[test]
fn a_unit_that_goes_takes_its_series_along_and_what_was_carried_stays() {
    let cgroups = Cgroups::new("gone");
    let mut pipeline = bare_host(&cgroups);
    let nginx = cgroups.make("system.slice/nginx.service");
    take(&mut pipeline, &in_cgroup(nginx, tcp(NODE, (OUTSIDE, 443), (OUTSIDE, 443))), at(6));
    let (rows, ledger, owners) = pipeline.books();
    rows.freeze(ledger, |id| owners.pushed_as(id), |_, _| ());
    rows.settle(0, 1, crate::batch::Verdict::Acknowledged, ledger);
    for minutes in [20, 40, 60] {
        pipeline.cleanup(at(minutes * 60), 60 * SECOND);
    }
    let series: Vec<(OwnerId, u64)> = pipeline.series().iter().map(|s| (s.key.owner, s.total.tx.bytes)).collect();
    assert_eq!(series, []);
    assert_eq!(
        (pipeline.series().gone().tx.bytes, pipeline.series().by_class().map(|of| of.tx.bytes).iter().sum::<u64>()),
        (100, 100)
    );
    let costs: Vec<(OwnerId, u64)> = pipeline.costs().iter().map(|c| (c.key.owner, c.tx_bytes)).collect();
    assert_eq!(costs, [(OwnerId::HOST, 100)], "costs show units as the host, whose sum must not fall");
    assert_eq!(pipeline.owners().all().iter().filter(|owner| matches!(owner, Owner::Group(_))).count(), 0);
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
