use super::*;
use crate::clock::MS;

const DEFAULT: SweepPace = SweepPace { read_interval_ns: 5 * SECOND, given: false };
/// Takes 0.2 % of a core at the default interval, and 13 %.
const CHEAP: u64 = 11 * MS;
const DEAR: u64 = 650 * MS;

fn of(need: Need) -> Needs {
    Needs::default().with(need, true)
}

#[test]
fn nobody_needs_a_sweep_for_a_minute() {
    assert_eq!(DEFAULT.interval_ns(Needs::default(), CHEAP), 60 * SECOND);
    assert_eq!(DEFAULT.interval_ns(Needs::default(), DEAR), 60 * SECOND);
    assert_eq!(DEFAULT.interval_ns(Needs::default().with(Need::Reader, false), CHEAP), 60 * SECOND);
}

#[test]
fn each_need_alone_has_its_time() {
    // With sweeps that cost little, and with dear ones.
    for (need, cheap, dear) in [
        (Need::Reader, 5, 5_000),
        (Need::Flush, 5, 5_000),
        (Need::Ends, 5, 5_000),
        (Need::Start, 5, 32_500),
        (Need::Owners, 5, 32_500),
        (Need::Choice, 5, 8_000),
        (Need::Sight, 5, 32_500),
        (Need::Failed, 5, 32_500),
        (Need::Untold, 8, 8_000),
    ] {
        assert_eq!(DEFAULT.interval_ns(of(need), CHEAP), cheap * SECOND, "{need:?}");
        assert_eq!(DEFAULT.interval_ns(of(need), DEAR), dear * MS, "{need:?}");
    }
}

#[test]
fn the_shortest_of_several_counts() {
    let untold = of(Need::Untold);
    assert_eq!(DEFAULT.interval_ns(untold.with(Need::Owners, true), CHEAP), 5 * SECOND);
    assert_eq!(DEFAULT.interval_ns(untold.with(Need::Owners, true), DEAR), 8 * SECOND);
    assert_eq!(DEFAULT.interval_ns(untold.with(Need::Reader, true), DEAR), 5 * SECOND);
    assert_eq!(DEFAULT.interval_ns(of(Need::Owners), 5 * SECOND), 60 * SECOND, "dear sweeps wait, yet not for ever");
}

#[test]
fn a_given_interval_is_obeyed() {
    let given = SweepPace { read_interval_ns: 100 * MS, given: true };
    let long = SweepPace { read_interval_ns: 120 * SECOND, ..given };
    for needs in [Needs::default(), of(Need::Reader), of(Need::Owners), of(Need::Untold)] {
        assert_eq!(given.interval_ns(needs, DEAR), 100 * MS);
        assert_eq!(long.interval_ns(needs, CHEAP), 120 * SECOND);
    }
}

#[test]
fn rule_16_a_look_that_costs_much_is_rare_and_one_that_found_something_is_soon_repeated() {
    assert_eq!(look_again_ns(false, 0), 600 * SECOND);
    assert_eq!(look_again_ns(true, SECOND / 1_000), 60 * SECOND);
    assert_eq!(look_again_ns(true, SECOND / 5), 200 * SECOND);
    assert_eq!(look_again_ns(true, 10 * SECOND), 600 * SECOND);
}
