use std::sync::Arc;

use super::*;
use crate::flow::Addr;
use crate::owner::Pod;
use crate::owner::pods::Tenure;

const START: u64 = 1_000 * SECOND;

fn pod(uid: &str) -> Arc<Pod> {
    Arc::new(Pod { uid: uid.into(), namespace: "shop".into(), name: uid.into(), workload: None, host_network: false })
}

/// Pods by uid, each with two addresses since then.
fn index(pods: &[(&str, u64)]) -> PodIndex {
    let tenures = pods.iter().enumerate().flat_map(|(n, (uid, from_ns))| {
        [10, 11].map(|block| Tenure {
            addr: Addr::from_v4([10, 244, block, u8::try_from(n).unwrap()]),
            from_ns: *from_ns,
            ended_ns: u64::MAX,
            until_ns: u64::MAX,
            pod: pod(uid),
        })
    });
    PodIndex::new(tenures.collect(), pods.iter().map(|(uid, _)| pod(uid)).collect(), true, 1)
}

#[test]
fn a_pod_is_unseen_until_it_has_an_owner_number_and_never_again() {
    let (mut unseen, mut owners) = (Unseen::new(START), OwnerTable::default());
    let pods = index(&[("a", 0), ("b", 0)]);
    assert_eq!(unseen.end_sweep(&pods, &owners, START), Silent::default(), "too early to tell");
    let none = unseen.end_sweep(&pods, &owners, START + LOOK_NS);
    assert_eq!(none, Silent { running: 2, unseen: 2 });
    assert!(none.is_trouble());
    owners.id_of(&pod("a"));
    assert_eq!(unseen.end_sweep(&pods, &owners, START + LOOK_NS + 1), none, "a minute has not passed");
    let one = Silent { running: 2, unseen: 1 };
    assert_eq!(unseen.end_sweep(&pods, &owners, START + 2 * LOOK_NS), one);
    assert!(!one.is_trouble());
    assert_eq!(unseen.end_sweep(&pods, &OwnerTable::default(), START + 3 * LOOK_NS), one, "its rows are gone");
    assert_eq!(unseen.end_sweep(&index(&[("b", 0)]), &owners, START + 4 * LOOK_NS), Silent { running: 1, unseen: 1 });
}

#[test]
fn young_pods_pods_that_ended_and_a_single_one_prove_nothing() {
    let (mut unseen, owners) = (Unseen::new(START), OwnerTable::default());
    let at = START + LOOK_NS;
    assert_eq!(unseen.end_sweep(&index(&[("a", START + 1)]), &owners, at), Silent::default());
    let mut ended = index(&[("a", 0)]).tenures().to_vec();
    ended.iter_mut().for_each(|tenure| tenure.ended_ns = at - 1);
    assert_eq!(
        unseen.end_sweep(&PodIndex::new(ended, vec![pod("a")], true, 2), &owners, at + LOOK_NS),
        Silent::default()
    );
    assert!(!Silent { running: 1, unseen: 1 }.is_trouble());
}
