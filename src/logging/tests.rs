use super::*;

fn at(seconds: u64) -> Now {
    Now { mono_ns: seconds * SECOND, wall_ns: 0 }
}

#[test]
fn what_is_logged_is_up_to_the_level_and_then_to_rust_log() {
    use log::{Level, Record};
    let (ours, theirs) = ("netmon::export::dakr", "ureq::pool");
    for (level, filters, target, most) in [
        (LevelFilter::Info, "", ours, LevelFilter::Info),
        (LevelFilter::Debug, "", theirs, LevelFilter::Warn),
        (LevelFilter::Error, "", theirs, LevelFilter::Error),
        (LevelFilter::Info, "debug", ours, LevelFilter::Debug),
        (LevelFilter::Info, "trace", theirs, LevelFilter::Trace),
        (LevelFilter::Debug, "error", ours, LevelFilter::Error),
        (LevelFilter::Warn, "info, netmon::export=debug", ours, LevelFilter::Debug),
        (LevelFilter::Warn, "info, netmon::export=debug", "netmon::kube", LevelFilter::Info),
        (LevelFilter::Info, "netmon::kube=debug", ours, LevelFilter::Info),
        (LevelFilter::Info, "ureq=debug", theirs, LevelFilter::Debug),
        (LevelFilter::Info, "trace", DUMPS, LevelFilter::Off),
        (LevelFilter::Info, "trace,ureq_proto::util=trace", DUMPS, LevelFilter::Off),
    ] {
        let logger = builder(level, filters).build();
        let shown = |level: &Level| logger.matches(&Record::builder().target(target).level(*level).build());
        let shown = Level::iter().filter(shown).last().map_or(LevelFilter::Off, |level| level.to_level_filter());
        assert_eq!(shown, most, "-log-level {level}, RUST_LOG={filters}, {target}");
    }
}

#[test]
fn a_class_speaks_once_in_ten_minutes_and_says_what_it_held_back() {
    let mut rare = Rare::new();
    assert_eq!(rare.allow(at(0)), Some(Suppressed(0)), "the first at once, even at time zero");
    assert_eq!((rare.allow(at(1)), rare.allow(at(599))), (None, None));
    assert_eq!(rare.allow(at(600)), Some(Suppressed(2)));
    assert_eq!(rare.allow(at(1_199)), None);
    assert_eq!(rare.allow(at(5_000)), Some(Suppressed(1)));
    assert_eq!(rare.allow(at(5_600)), Some(Suppressed(0)));
}

#[test]
fn a_condition_is_said_when_it_changes_and_every_ten_minutes() {
    let mut condition = Condition::default();
    let mut see = |wrong, seconds| condition.see(wrong, seconds * SECOND).map(|due| due.to_string());
    let said = |text: &str| Some(text.to_owned());
    assert_eq!(see(None, 0), None, "well at first is no news");
    assert_eq!(see(Some(1), 10), said(""));
    assert_eq!(see(Some(1), 609), None);
    assert_eq!(see(Some(1), 610), said(" (for 10 min)"));
    assert_eq!(see(Some(2), 700), said(""));
    assert_eq!(see(None, 800), said(""));
    assert_eq!(see(None, 90_000), None);
}

/// Whatever comes and goes, at most 150 lines a day, and every change is in one of them.
#[test]
fn what_changes_too_often_is_held_back_and_told_in_the_next_line() {
    for period in [1, 7, 60, 601] {
        let mut condition = Condition::default();
        let (mut lines, mut told, mut changes) = (0, 0, 0);
        for second in 0..86_400 {
            let wrong = (second / period % 2 == 1).then_some(second / period % 3);
            let before = condition.now;
            let due = condition.see(wrong, second * SECOND);
            changes += u64::from(condition.now != before);
            if let Some(due) = due {
                lines += 1;
                told += due.held_back + u64::from(!due.again);
            }
        }
        assert!(lines <= 150, "{lines} lines at a period of {period} s");
        assert_eq!(told + condition.changes, changes);
        assert!(condition.changes <= 1_200 / period, "{} are not told yet", condition.changes);
    }
}

#[test]
fn kinds_do_not_depend_on_figures_and_bytes_are_for_persons() {
    assert_eq!(kind_of("12 of 30 are full"), kind_of("14 of 30 are full"));
    assert_ne!(kind_of("12 of 30 are full"), kind_of("12 of 30 are lost"));
    let texts = [0, 999, 1_000, 1_234_567, 424_000_000, 5_200_000_000_000_000].map(|n| Bytes(n).to_string());
    assert_eq!(texts, ["0 B", "999 B", "1.0 kB", "1.2 MB", "424 MB", "5200 TB"]);
}

#[test]
fn the_count_is_shown_where_there_is_one() {
    assert_eq!((Suppressed(0).to_string().as_str(), Suppressed(3).to_string().as_str()), ("", " (and 3 more like it)"));
}

#[test]
fn a_command_says_no_numbers_of_errors() {
    let error = std::io::Error::from_raw_os_error(2);
    assert_eq!(without_numbers(&format!("cannot read x: {error}")), "cannot read x: No such file or directory");
    assert_eq!(without_numbers(&format!("a: {error}; b: {error} (c)")).matches("os error").count(), 0);
    assert_eq!(without_numbers("a (os error 1) b (os error 22)"), "a b");
    assert_eq!(without_numbers("cut (os error "), "cut");
    assert_eq!(without_numbers("plain"), "plain");
}
