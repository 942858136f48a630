use super::*;
use crate::state::bytes::In;

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

#[test]
fn a_group_keeps_its_number_over_a_restart_and_there_is_a_bound() {
    let mut table = OwnerTable::default();
    let nginx = table.id_of_group("unit/nginx.service").expect("room");
    assert_eq!(table.id_of_group("unit/nginx.service"), Some(nginx));
    let web = table.id_of(&pod("a"));
    let mut bytes = Vec::new();
    table.persist(&mut bytes);
    let mut restored = OwnerTable::default();
    restored.restore(&mut In(&bytes)).expect("what was written");
    assert_eq!((restored.get(nginx), restored.get(web)), (table.get(nginx), table.get(web)));
    assert_eq!(restored.id_of_group("unit/nginx.service"), Some(nginx));

    let path = |n: usize| format!("container/docker-{n}");
    for n in 1..MOST_GROUPS {
        assert!(restored.id_of_group(&path(n)).is_some(), "{n}");
    }
    assert_eq!((restored.id_of_group("unit/late.service"), restored.take_refused()), (None, 1));
    assert_eq!(restored.take_refused(), 0);
    restored.keep_only(|id| id == nginx);
    assert!(restored.id_of_group("unit/late.service").is_some(), "what is not used makes room");
    assert_eq!(restored.id_of_group("unit/nginx.service"), Some(nginx));
}

#[test]
fn only_pods_are_pushed_apart() {
    let mut table = OwnerTable::default();
    let (group, web) = (table.id_of_group("unit/a.service").expect("room"), table.id_of(&pod("a")));
    let pushed_as = [OwnerId::HOST, OwnerId::ADDRESS, group, web].map(|id| table.pushed_as(id));
    assert_eq!(pushed_as, [OwnerId::HOST, OwnerId::ADDRESS, OwnerId::HOST, web]);
}
