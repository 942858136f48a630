use super::*;
use crate::flow::{Addr, Counts, protocol};

#[test]
fn the_originator_stands_first_whichever_end_the_socket_is() {
    let tuple = Tuple {
        local: Addr::from_v4([10, 0, 0, 1]),
        remote: Addr::from_v4([10, 0, 0, 2]),
        local_port: 80,
        remote_port: 50_000,
        protocol: protocol::TCP,
        flags: 0,
        family: 4,
        zero: 0,
    };
    let counted = Counted {
        tx: Counts { bytes: 10, packets: 1 },
        rx: Counts { bytes: 20, packets: 2 },
        opened_by_remote: true,
        cgroup: 5,
        ..Counted::default()
    };
    let mut roles = RoleTable::new(4, 0);
    let inbound = connection(&tuple, &counted, &roles.settle(&tuple, &counted, 0).role);
    assert_eq!((inbound.key.src, inbound.key.sport), (tuple.remote, 50_000));
    assert_eq!((inbound.backend, inbound.backend_port, inbound.ends), (tuple.local, 80, Ends::Responder));
    assert_eq!((inbound.traffic.orig.bytes, inbound.traffic.reply.bytes), (20, 10));
    assert_eq!((inbound.reading, inbound.cgroup), (Reading::Increment, 5));

    let counted = Counted { opened_by_local: true, opened_by_remote: false, answered_local: true, ..counted };
    let outbound = connection(&tuple, &counted, &roles.settle(&tuple, &counted, 0).role);
    assert_eq!((outbound.key.src, outbound.backend, outbound.ends), (tuple.local, tuple.remote, Ends::Originator));
    assert_eq!((outbound.traffic.orig.bytes, outbound.traffic.reply.bytes), (10, 20));
}
