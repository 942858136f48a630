use super::*;

fn pod(uid: &str) -> Arc<Pod> {
    Arc::new(Pod { uid: uid.into(), namespace: "shop".into(), name: "web".into(), workload: None, host_network: false })
}

#[test]
fn a_pod_keeps_its_number_until_nothing_points_to_it() {
    let mut table = OwnerTable::default();
    let a = table.id_of(&pod("a"));
    let b = table.id_of(&pod("b"));
    assert_eq!(table.id_of(&pod("a")), a);
    assert_ne!(a, b);
    table.keep_only(|id| id == b);
    assert_eq!(table.get(a), &Owner::Other);
    assert_eq!(table.id_of(&pod("c")), a, "the number is used again");
    assert_eq!(table.get(OwnerId::HOST), &Owner::Host);
}
