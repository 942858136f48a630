#[path = "../../../tests/support/silent.rs"]
mod silent;

use super::super::freezer::tests::bench;
use super::*;
use crate::clock::SECOND;

/// The file holds tables of before; the push ended without the last ones.
#[test]
fn f4_what_the_push_did_not_write_at_the_end_is_lost_by_a_reason() {
    let mut bench = bench();
    bench.carry(1, 900);
    let waiting = bench.pipeline.ledger().open.total_bytes();
    assert!(waiting > 0);
    let (parcels, _) = crossbeam_channel::bounded(2);
    let (_, settled) = crossbeam_channel::unbounded();
    let mut handover = Handover::new(parcels, settled, PushHandle::of_nobody(), false, true);
    (handover.state_file, handover.batch) = (StateFile::Written, Batch::Left);
    handover.finish(&silent::Silent, &mut bench.freezer, &mut bench.pipeline, clock::now().mono_ns + SECOND);
    let ledger = bench.pipeline.ledger();
    assert_eq!((ledger.open.total_bytes(), ledger.lost[Lost::Shutdown as usize].total_bytes()), (0, waiting));
}
