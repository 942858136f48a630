use super::*;
use crate::clock::MS;

const DEFAULT: SweepPace = SweepPace { read_interval_ns: 5 * SECOND, given: false, flush_interval_ns: 60 * SECOND };

fn facts(cost_ms: u64) -> Facts {
    Facts { cost_ns: cost_ms * MS, ends_are_told: true, may_end_untold: false }
}

#[test]
fn the_default_stretches_until_sweeps_cost_two_percent() {
    assert_eq!(DEFAULT.interval_ns(facts(11)), 5 * SECOND);
    assert_eq!(DEFAULT.interval_ns(facts(650)), 32_500 * MS);
    assert_eq!(DEFAULT.interval_ns(facts(5_000)), 60 * SECOND, "never past the flush");
}

#[test]
fn it_stays_short_while_ends_may_go_untold() {
    assert_eq!(DEFAULT.interval_ns(Facts { may_end_untold: true, ..facts(650) }), 8 * SECOND);
    assert_eq!(DEFAULT.interval_ns(Facts { ends_are_told: false, ..facts(650) }), 5 * SECOND);
}

#[test]
fn a_given_interval_is_obeyed() {
    let given = SweepPace { read_interval_ns: 100 * MS, given: true, ..DEFAULT };
    assert_eq!(given.interval_ns(facts(650)), 100 * MS);
    let long = SweepPace { read_interval_ns: 120 * SECOND, ..given };
    assert_eq!(long.interval_ns(facts(1)), 120 * SECOND);
}
