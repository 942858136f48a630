use super::*;
use crate::owner::pods::{Pod, Tenure};

const NODE: Addr = Addr::from_v4([192, 168, 1, 10]);
const POD: Addr = Addr::from_v4([10, 244, 1, 7]);

#[test]
fn an_address_that_left_stays_local_until_its_connections_are_gone() {
    let mut owners = OwnerTable::default();
    let mut local = LocalEnds::new(&[]);
    local.replace_host(&[NODE]);
    local.remove_host(NODE);
    for _ in 0..5 {
        local.still_used(NODE);
        local.end_sweep();
        assert_eq!(local.owner_of(NODE, 0, &mut owners), Some(OwnerId::HOST));
    }
    for _ in 0..3 {
        local.end_sweep();
    }
    assert_eq!(local.owner_of(NODE, 0, &mut owners), None);
    assert!(!local.any_left());
}

#[test]
fn a_pod_owns_its_address_only_in_its_time() {
    let pod = |uid: &str| {
        Arc::new(Pod {
            uid: uid.into(),
            namespace: "shop".into(),
            name: uid.into(),
            workload: None,
            host_network: false,
        })
    };
    let (old, new) = (pod("old"), pod("new"));
    let tenures = vec![
        Tenure { addr: POD, from_ns: 100, ended_ns: 250, until_ns: 250, pod: Arc::clone(&old) },
        Tenure { addr: POD, from_ns: 200, ended_ns: u64::MAX, until_ns: u64::MAX, pod: Arc::clone(&new) },
    ];
    let mut owners = OwnerTable::default();
    let mut local = LocalEnds::new(&[Cidr::new(POD, 24).expect("valid")]);
    local.set_pods(Arc::new(PodIndex::new(tenures, vec![old.clone(), new.clone()], true, 1)));
    let (old, new) = (owners.id_of(&old), owners.id_of(&new));
    let at = |ns, owners: &mut OwnerTable| local.owner_of(POD, ns, owners);
    assert_eq!(at(99, &mut owners), Some(OwnerId::ADDRESS));
    assert_eq!(at(150, &mut owners), Some(old));
    assert_eq!(at(210, &mut owners), Some(new), "the newer pod owns a reused address from its start on");
    assert_eq!(local.owner_of(NODE, 150, &mut owners), None);
}
