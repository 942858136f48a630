use super::*;
use crate::flow::Addr;
use crate::source::ebpf::tuple::Counted;

fn tuple(local_port: u16) -> Tuple {
    let (local, remote) = (Addr::from_v4([10, 0, 0, 1]), Addr::from_v4([10, 0, 0, 2]));
    Tuple { local, remote, local_port, remote_port: 443, protocol: 6, flags: 0, family: 4, zero: 0 }
}

#[test]
fn roles_outlive_the_process_and_the_idlest_go_first() {
    let mut roles = RoleTable::new(4, 0);
    for port in [1, 2, 3, 1] {
        roles.settle(&tuple(port), &Counted { opened_by_remote: true, cgroup: 7, ..Counted::default() }, 100);
    }
    let mut out = Vec::new();
    roles.persist(&mut out);
    let mut next = RoleTable::new(2, 0);
    next.restore(&mut In(&out)).expect("as it was saved");
    assert_eq!(next.len(), 2);
    assert!(next.table.find(&tuple(2)).is_none(), "it was idle longest");
    let role = next.settle(&tuple(1), &Counted::default(), 200).role;
    assert!(!role.opened_by_local && role.cgroup == 7);
    next.settle(&tuple(9), &Counted::default(), 300);
    assert!(next.table.find(&tuple(3)).is_none() && next.table.find(&tuple(1)).is_some());
    assert_eq!(RoleTable::new(2, 0).restore(&mut In(&out[..out.len() - 1])), Err(Malformed));
}
