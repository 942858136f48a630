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
fn a_class_speaks_once_a_minute_and_says_what_it_held_back() {
    let mut rare = Rare::new();
    assert_eq!(rare.allow(at(0)), Some(Suppressed(0)), "the first at once, even at time zero");
    assert_eq!((rare.allow(at(1)), rare.allow(at(59))), (None, None));
    assert_eq!(rare.allow(at(60)), Some(Suppressed(2)));
    assert_eq!(rare.allow(at(119)), None);
    assert_eq!(rare.allow(at(500)), Some(Suppressed(1)));
    assert_eq!(rare.allow(at(560)), Some(Suppressed(0)));
}

#[test]
fn the_count_is_shown_where_there_is_one() {
    assert_eq!((Suppressed(0).to_string().as_str(), Suppressed(3).to_string().as_str()), ("", " (and 3 more like it)"));
}
