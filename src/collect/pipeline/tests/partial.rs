//! Entries of Cilium's maps, which speak for one end and count frames.

use super::*;

/// A Cilium entry of the same traffic, whose bytes are of frames.
fn entry(ends: Ends, client: Addr, backend: Addr) -> Connection {
    let mut c = Connection {
        ends,
        reading: Reading::Partial { split: Split::Known, header_bytes: 14 },
        ..tcp(client, (backend, 80), (backend, 80))
    };
    c.key.realm = 2 + u32::from(ends == Ends::Responder);
    c
}

#[test]
fn a_cilium_entry_counts_for_its_own_end_without_the_headers_of_frames() {
    let mut pipeline = pipeline(&config(true));
    let sum = Connection {
        reading: Reading::Partial { split: Split::Unknown, header_bytes: 14 },
        ..entry(Ends::Originator, POD_A, OUTSIDE)
    };
    let of_the_node = entry(Ends::Originator, NODE, FAR_POD);
    sweep(&mut pipeline, &[entry(Ends::Responder, FAR_POD, POD_B), sum, of_the_node], at(2));
    let mut rows: Vec<_> =
        pipeline.rows().iter().map(|r| (r.split() == Split::Unknown, r.key.local, r.total)).collect();
    rows.sort_by_key(|row| row.0);
    let (small, large) = (Counts { bytes: 72, packets: 2 }, Counts { bytes: 958, packets: 3 });
    assert_eq!(rows[0], (false, POD_B, TxRx { tx: large, rx: small }));
    assert_eq!(rows[1], (true, POD_A, TxRx { tx: small, rx: large }));
    assert_eq!((rows.len(), pipeline.take_skipped().0[Skip::HostPartial as usize]), (2, 1));
}

#[test]
fn what_passes_through_is_covered_by_the_pods_entry_or_nobodys() {
    let mut pipeline = pipeline(&config(false));
    let elsewhere = entry(Ends::Neither, OUTSIDE, FAR_POD);
    // The pod of the other is not known yet, but it has an entry.
    let here = entry(Ends::Neither, OUTSIDE, POD_B);
    sweep(&mut pipeline, &[entry(Ends::Responder, OUTSIDE, POD_B), here, elsewhere], at(2));
    assert_eq!(pipeline.take_skipped().0[Skip::Covered as usize], 1);
    assert_eq!(pipeline.ledger().unattributed[Unattributed::NoLocalEnd as usize].total_bytes(), 72 + 958);
    assert!(pipeline.rows().len() == 0, "the pod's bytes wait for it");
    assert_eq!(pipeline.waiting.len(), 1);
}

#[test]
fn the_end_of_a_cilium_entry_is_never_called_lost() {
    let mut pipeline = pipeline(&config(true));
    let mut c = entry(Ends::Originator, POD_A, OUTSIDE);
    sweep(&mut pipeline, &[c], at(2));
    c.traffic.orig.packets = 1;
    sweep(&mut pipeline, &[c], at(3));
    assert_eq!(pipeline.baselines().may_end_untold(), 1);
    let vanished: u64 = (4..9).map(|second| sweep(&mut pipeline, &[], at(second)).vanished_untold).sum();
    assert_eq!((vanished, pipeline.baselines().len(), pipeline.baselines().may_end_untold()), (0, 0, 0));
}
