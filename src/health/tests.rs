use super::*;

#[test]
fn a_collector_is_stuck_after_five_missed_intervals() {
    let pulse = Pulse::new(0, 5 * SECOND);
    pulse.cycle_completed(SECOND, 0);
    assert_eq!(pulse.alive(26 * SECOND), Life::Well);
    assert_eq!(pulse.alive(26 * SECOND + 1), Life::Stuck(25 * SECOND + 1));
    pulse.cycle_completed(26 * SECOND, 60 * SECOND);
    assert_eq!(pulse.alive(111 * SECOND), Life::Well, "nothing was to be done for a minute");
    assert_eq!(pulse.alive(111 * SECOND + 1), Life::Stuck(85 * SECOND + 1));
    let pulse = Pulse::new(0, SECOND / 10);
    pulse.cycle_completed(SECOND, 0);
    assert_eq!(pulse.alive(11 * SECOND), Life::Well, "a short interval is not a short patience");
    assert_eq!(pulse.alive(12 * SECOND), Life::Stuck(11 * SECOND));
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
