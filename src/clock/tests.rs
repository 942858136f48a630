//! Stamps of a wall clock that is set while somebody looks.

use super::*;

const START_S: u64 = 1_700_000_000;

/// A wall clock that leads by `START_S` and then by what it was set by.
fn at(mono_s: u64, set_by_s: i64) -> Now {
    let wall_s = (START_S + mono_s).checked_add_signed(set_by_s).expect("in range");
    Now { mono_ns: mono_s * SECOND, wall_ns: wall_s * SECOND }
}

const YEAR_S: i64 = 365 * 86_400;

#[test]
fn f11_a_step_is_told_once_and_by_how_much() {
    for by in [1, -1, 3600, -3600, 10 * YEAR_S, -50 * YEAR_S] {
        let mut wall = WallClock::default();
        assert_eq!(wall.look(at(100, 0)), None);
        assert_eq!(wall.look(at(150, 0)), None);
        let step = Step { is_back: by < 0, by_ns: by.unsigned_abs() * SECOND };
        assert_eq!(wall.look(at(160, by)), Some(step));
        assert_eq!(wall.look(at(170, by)), None);
        let back = Step { is_back: by > 0, ..step };
        assert_eq!(wall.look(at(180, 0)), Some(back));
    }
    let mut wall = WallClock::default();
    wall.look(at(100, 0));
    let late = Now { wall_ns: at(101, 0).wall_ns + STEP_NS / 2, ..at(101, 0) };
    assert_eq!(wall.look(late), None, "a thread that was stopped between the readings");
}

#[test]
fn f11_stamps_of_before_and_after_a_step_are_understood() {
    for by in [2, -2, 60, -60, 7200, -7200, 10 * YEAR_S, -50 * YEAR_S] {
        let mut wall = WallClock::default();
        wall.look(at(10_000, 0));
        wall.look(at(20_000, 0));
        wall.look(at(20_001, by));
        wall.look(at(30_000, by));
        let stamp = |mono_s, by| at(mono_s, by).wall_ns;
        // Of before the first look, between the looks, after the step.
        for (mono_s, by) in [(9_000, 0), (15_000, 0), (25_000, by)] {
            let times: Vec<u64> = wall.times_of(stamp(mono_s, by)).collect();
            assert!(times.contains(&(mono_s * SECOND)), "{mono_s}, set by {by}: {times:?}");
            let unique = (times.len() == 1).then_some(mono_s * SECOND);
            assert_eq!(wall.mono_of(stamp(mono_s, by)), unique);
        }
        assert_eq!(wall.mono_since(stamp(25_000, by), 24_999 * SECOND), Some(25_000 * SECOND));
        assert_eq!(wall.mono_since(stamp(15_000, 0), 14_999 * SECOND), Some(15_000 * SECOND));
        assert_eq!(wall.mono_of(stamp(30_010, by.max(0))), None, "of a time that has not come");
    }
    assert_eq!(WallClock::default().mono_of(5), None);
}

#[test]
fn f11_what_was_before_the_boot_is_the_boot() {
    let mut wall = WallClock::default();
    wall.look(at(100, 0));
    assert_eq!(wall.mono_of(at(0, -500).wall_ns), Some(0));
    assert_eq!(wall.mono_of(0), Some(0));
    // A machine without a battery for its clock begins in 1970.
    let mut wall = WallClock::default();
    wall.look(Now { mono_ns: 100 * SECOND, wall_ns: 20 * SECOND });
    assert_eq!(wall.mono_of(10 * SECOND), Some(90 * SECOND));
    wall.look(at(200, 0));
    assert_eq!(wall.mono_of(10 * SECOND), Some(90 * SECOND));
    assert_eq!(wall.mono_of(at(150, 0).wall_ns), None, "nobody's clock showed that: it was set later");
}

#[test]
fn f11_any_number_of_steps_costs_no_memory() {
    let mut wall = WallClock::default();
    for n in 0..1_000 {
        wall.look(at(n, i64::from(n % 2 == 0) * 3600));
    }
    assert_eq!(wall.spans.len(), STEPS_MAX);
    assert_eq!(wall.mono_since(at(999, 0).wall_ns, 998 * SECOND), Some(999 * SECOND));
}

#[test]
fn what_the_wall_clock_showed() {
    let now = at(1_000, 7);
    assert_eq!(now.wall_of(now.mono_ns), now.wall_ns);
    assert_eq!(now.wall_of(900 * SECOND), now.wall_ns - 100 * SECOND);
    assert_eq!(now.wall_of(u64::MAX), now.wall_ns, "of a time to come");
    assert_eq!(Now { mono_ns: 50, wall_ns: 10 }.wall_of(0), 0);
}

#[test]
fn what_happened_once_has_one_time_in_every_answer() {
    let first = now();
    // The clocks are read some nanoseconds apart, each time others.
    assert!((0..1_000).all(|_| now().wall_of(first.mono_ns) == first.wall_ns));
}
