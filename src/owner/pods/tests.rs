use super::*;

#[test]
fn addresses_have_the_same_owners_only_if_nothing_of_a_tenure_differs() {
    let pod = |uid: &str| {
        let (uid, namespace, name) = (uid.into(), "shop".into(), "web".into());
        Arc::new(Pod { uid, namespace, name, workload: None, host_network: false })
    };
    let addr = Addr::from_v4([10, 244, 1, 2]);
    let first = Tenure { addr, from_ns: 5, ended_ns: u64::MAX, until_ns: u64::MAX, pod: pod("u-1") };
    let of =
        |tenure: Tenure, synced, generation| PodIndex::new(vec![tenure.clone()], vec![tenure.pod], synced, generation);
    let index = of(first.clone(), true, 1);
    assert!(of(Tenure { pod: pod("u-1"), ..first.clone() }, true, 2).has_addresses_of(&index), "a label changed");
    let others = [
        of(Tenure { ended_ns: 9, until_ns: 20, ..first.clone() }, true, 2),
        of(Tenure { from_ns: 6, ..first.clone() }, true, 2),
        of(Tenure { pod: pod("u-2"), ..first.clone() }, true, 2),
        of(Tenure { addr: Addr::from_v4([10, 244, 1, 3]), ..first.clone() }, true, 2),
        of(first.clone(), false, 2),
        PodIndex::new(Vec::new(), vec![pod("u-1")], true, 2),
    ];
    for (n, other) in others.iter().enumerate() {
        assert!(!other.has_addresses_of(&index) && !index.has_addresses_of(other), "{n}");
    }
}
