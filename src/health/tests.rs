use super::*;

#[test]
fn a_collector_is_stuck_after_five_missed_intervals() {
    let pulse = Pulse::new(0, 5 * SECOND);
    pulse.cycle_completed(SECOND, 5 * SECOND);
    assert_eq!(pulse.alive(26 * SECOND), Life::Well);
    assert_eq!(pulse.alive(26 * SECOND + 1), Life::Stuck(25 * SECOND + 1));
    pulse.cycle_completed(26 * SECOND, 30 * SECOND);
    assert_eq!(pulse.alive(176 * SECOND), Life::Well, "the interval has stretched");
    pulse.cycle_completed(176 * SECOND, SECOND / 10);
    assert_eq!(pulse.alive(186 * SECOND), Life::Well, "a short interval is not a short patience");
    assert_eq!(pulse.alive(187 * SECOND), Life::Stuck(11 * SECOND));
}

#[test]
fn f28_a_slow_start_is_not_stuck_for_five_minutes() {
    let pulse = Pulse::new(0, 5 * SECOND);
    assert_eq!(pulse.alive(300 * SECOND), Life::Well);
    assert_eq!(pulse.alive(301 * SECOND), Life::Stuck(301 * SECOND));
}

#[test]
fn readiness_lasts_from_the_first_complete_sweep_to_the_end() {
    let pulse = Pulse::new(0, SECOND);
    pulse.cycle_completed(1, SECOND);
    assert_eq!(pulse.ready(), Life::NotSwept);
    pulse.sweep_completed();
    assert_eq!(pulse.ready(), Life::Well);
    pulse.stopping();
    assert_eq!(pulse.ready(), Life::Stopping);
}
