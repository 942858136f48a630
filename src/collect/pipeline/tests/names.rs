//! Which name a row gets, and when.

use super::*;
use crate::names::Origin;

/// (local, remote, name, whose question gave it, whether it is a service's) of every row that has a name.
fn named(pipeline: &Pipeline) -> Vec<(Addr, Addr, String, Origin, bool)> {
    let rows = pipeline.rows().iter_named();
    let mut named: Vec<_> = rows
        .filter_map(|(row, name)| {
            name.map(|n| (row.key.local, row.key.remote, n.text.to_string(), n.origin, n.is_service))
        })
        .collect();
    named.sort_by_key(|(local, remote, ..)| (*local, *remote));
    named
}

#[test]
fn a_row_is_named_by_what_its_pod_asked_for_over_either_family() {
    let v6 = Addr::from_v6([0xfd; 16]);
    let pod = |name: &str| {
        let name: Box<str> = name.into();
        Arc::new(Pod { uid: name.clone(), namespace: "shop".into(), name, workload: None, host_network: false })
    };
    let (a, b) = (pod("a"), pod("b"));
    let tenure = |addr, pod: &Arc<Pod>| Tenure {
        addr,
        from_ns: 0,
        until_ns: u64::MAX,
        ended_ns: u64::MAX,
        pod: Arc::clone(pod),
    };
    let tenures = vec![tenure(POD_A, &a), tenure(v6, &a), tenure(POD_B, &b)];
    let mut pipeline = pipeline(&config(false));
    pipeline.set_pods(Arc::new(PodIndex::new(tenures, vec![a, b], true, 1)), at(1));
    let names = Arc::new(Names::new(Arc::default(), true));
    pipeline.set_names(Arc::clone(&names));
    names.learn(v6, "a.test", 1, &[(OUTSIDE, 300)], at(2).mono_ns);
    names.learn(POD_B, "b.test", 2, &[(OUTSIDE, 300)], at(3).mono_ns);
    names.learn(POD_A, "service.test", 3, &[(SERVICE, 300)], at(3).mono_ns);
    names.learn(LOOPBACK, "host.test", 4, &[(OTHER_NODE, 300)], at(3).mono_ns);
    let records = [
        tcp(POD_A, (OUTSIDE, 443), (OUTSIDE, 443)),
        tcp(POD_B, (OUTSIDE, 443), (OUTSIDE, 443)),
        tcp(POD_A, (SERVICE, 80), (FAR_POD, 8080)),
        tcp(NODE, (OTHER_NODE, 22), (OTHER_NODE, 22)),
        tcp(OTHER_NODE, (POD_A, 80), (POD_A, 80)),
    ];
    sweep(&mut pipeline, &records, at(6));
    let text = |text: &str| text.to_owned();
    assert_eq!(
        named(&pipeline),
        [
            (POD_A, FAR_POD, text("service.test"), Origin::Own, true),
            (POD_A, OTHER_NODE, text("host.test"), Origin::Node, false),
            (POD_A, OUTSIDE, text("a.test"), Origin::Own, false),
            (POD_B, OUTSIDE, text("b.test"), Origin::Own, false),
            (NODE, OTHER_NODE, text("host.test"), Origin::Own, false),
        ]
    );
}

#[test]
fn a_row_keeps_its_name_until_it_is_used_again_after_being_settled() {
    let mut pipeline = pipeline(&config(true));
    let names = Arc::new(Names::new(Arc::default(), true));
    pipeline.set_names(Arc::clone(&names));
    let mut connection = tcp(POD_A, (OUTSIDE, 443), (OUTSIDE, 443));
    let mut grow = |pipeline: &mut Pipeline, seconds| {
        connection.traffic.orig.bytes += 100;
        connection.traffic.orig.packets += 1;
        sweep(pipeline, &[connection], at(seconds));
        named(pipeline).first().map(|(_, _, name, ..)| name.clone())
    };
    assert_eq!(grow(&mut pipeline, 2), None);
    names.learn(POD_A, "first.test", 1, &[(OUTSIDE, 60)], at(3).mono_ns);
    assert_eq!(grow(&mut pipeline, 4), None, "nothing is settled yet");
    let settle = |pipeline: &mut Pipeline| {
        let (rows, ledger, _) = pipeline.books();
        rows.freeze(ledger, |id| id, |_, _| ());
        rows.settle(0, u32::MAX, crate::batch::Verdict::Acknowledged, ledger);
    };
    settle(&mut pipeline);
    assert_eq!(grow(&mut pipeline, 5).as_deref(), Some("first.test"));
    names.learn(POD_A, "second.test", 2, &[(OUTSIDE, 60)], at(6).mono_ns);
    assert_eq!(grow(&mut pipeline, 7).as_deref(), Some("first.test"));
    settle(&mut pipeline);
    assert_eq!(grow(&mut pipeline, 8).as_deref(), Some("second.test"));
    settle(&mut pipeline);
    assert_eq!(grow(&mut pipeline, 130), None, "its time was over when it was used again");
}
