//! Thousands of nodes that come back from one outage.

use super::*;

/// An outage of an hour that 5,000 nodes see: when it ends, they do not come all at once.
#[test]
fn a_fleet_comes_back_without_a_stampede() {
    const NODES: u64 = 5_000;
    const OUTAGE_NS: u64 = 3600 * SECOND;
    for end in [SendEnd::Unsent, SendEnd::NoAnswer, status_after(503, 30)] {
        let mut per_second = std::collections::BTreeMap::<u64, u64>::new();
        for node in 0..NODES {
            let mut jitter = Jitter::new(node);
            let phase_ns = jitter.up_to(FLUSH_NS - 1);
            let mut delivery = Delivery::new(DakrProtocol::Auto, FLUSH_NS, jitter);
            let (mut settled, mut now_ns, mut flush_ns) = (Vec::new(), 0, phase_ns);
            let delivered_ns = loop {
                delivery.pass(now_ns, &mut settled);
                // As the collector does: at each flush, and when what was merged back may be sent again.
                let merged = settled
                    .iter()
                    .any(|s| matches!(s, Settled::Items { verdict: Verdict::Merge | Verdict::MergeAmbiguous, .. }));
                let gate_ns = delivery.gate_ns();
                if delivery.is_idle() && (flush_ns <= now_ns || merged) && gate_ns <= now_ns {
                    settled.clear();
                    delivery.accept(batch(&[1]), &mut settled).expect("idle");
                }
                while flush_ns <= now_ns {
                    flush_ns += FLUSH_NS;
                }
                match delivery.next(now_ns).map(|due| due.index) {
                    Ok(_) if now_ns >= OUTAGE_NS => break now_ns,
                    Ok(index) => drop(delivery.ended(index, &end, now_ns, &mut settled)),
                    Err(_) if delivery.is_idle() && merged => now_ns = gate_ns.max(now_ns + 1),
                    Err(_) if delivery.is_idle() => now_ns = flush_ns.max(gate_ns).max(now_ns + 1),
                    Err(again_ns) => now_ns = again_ns,
                }
            };
            *per_second.entry(delivered_ns / SECOND).or_default() += 1;
        }
        let (first, last) = (per_second.keys().next().expect("some"), per_second.keys().last().expect("some"));
        let (seconds, most) = (last - first + 1, per_second.values().max().expect("some"));
        println!("{end:?}: {NODES} nodes over {seconds} s, at most {most} in one second");
        assert!(most * seconds <= 3 * NODES, "{end:?}: {most} in one second, mean {}", NODES / seconds);
    }
}

/// A proxy in front of DAKR that refuses everything for its size: a fleet does not storm it, whatever the nodes have to
/// say.
#[test]
fn f3_a_fleet_behind_a_proxy_that_takes_nothing_stays_below_a_request_a_second_a_node() {
    const NODES: u64 = 100;
    const HOUR_NS: u64 = 3600 * SECOND;
    let mut per_second = std::collections::BTreeMap::<u64, u64>::new();
    for node in 0..NODES {
        let mut jitter = Jitter::new(node);
        let mut now_ns = jitter.up_to(FLUSH_NS - 1);
        let mut delivery = Delivery::new(DakrProtocol::Auto, FLUSH_NS, jitter);
        let (mut settled, mut sends) = (Vec::new(), 0);
        let items = 1 + (node as u32 * 37) % 700;
        while now_ns < HOUR_NS {
            if delivery.is_idle() {
                delivery.accept(batch(&[items, 40, 1]), &mut settled).expect("idle");
            }
            delivery.pass(now_ns, &mut settled);
            match delivery.next(now_ns).map(|due| due.index) {
                Ok(index) => {
                    sends += 1;
                    *per_second.entry(now_ns / SECOND).or_default() += 1;
                    delivery.ended(index, &status(413), now_ns, &mut settled);
                }
                Err(again_ns) => now_ns = again_ns.min(now_ns + FLUSH_NS),
            }
        }
        assert!(sends < 200, "node {node}: {sends} requests in an hour");
    }
    let most = per_second.values().max().expect("some");
    println!("{NODES} nodes, an hour: at most {most} requests in one second");
    assert!(*most < NODES, "{most} requests of {NODES} nodes in one second");
}
