//! The state machine on virtual time.

use super::*;

/// A machine that has listed version 10 at its own start, and the time.
fn listed() -> (Machine, u64) {
    let mut machine = Machine::new(WatchPace::default(), 42, 0);
    let now = due(&mut machine, 0);
    assert_eq!(machine.step(now), Step::List { version: ListVersion::Any });
    machine.listed(now, "10".to_owned());
    (machine, now)
}

/// When the next request is due.
fn due(machine: &mut Machine, now: u64) -> u64 {
    match machine.step(now) {
        Step::Wait { until_ns } => until_ns,
        _ => now,
    }
}

/// A watch that began, at once or as soon as it is due.
fn watched(machine: &mut Machine, now: u64) -> (u64, String) {
    let now = due(machine, now);
    match machine.step(now) {
        Step::Watch { version, timeout_seconds } => {
            assert!((180..230).contains(&timeout_seconds));
            machine.watching();
            (now, version)
        }
        other => panic!("{other:?} in place of a watch"),
    }
}

fn server(code: u16) -> Failure {
    Failure::Server { code, retry_after_ns: None, message: String::new() }
}

fn overloaded(seconds: u64) -> Failure {
    Failure::Overloaded { retry_after_ns: Some(seconds * SECOND) }
}

#[test]
fn the_first_list_waits_a_random_part_of_five_seconds() {
    let mut starts: Vec<u64> = (1..200u64)
        .map(|seed| due(&mut Machine::new(WatchPace::default(), seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), 7), 7) - 7)
        .collect();
    starts.sort_unstable();
    assert!(starts.iter().all(|start| *start < 5 * SECOND));
    assert!(starts[10] < SECOND && starts[190] > 4 * SECOND, "spread over the whole of it");
}

#[test]
fn back_off_doubles_with_jitter_up_to_thirty_seconds_and_begins_anew_after_two_good_minutes() {
    let mut waits = Vec::new();
    for seed in 1..50 {
        let mut machine = Machine::new(WatchPace { start_delay_ns: 0, ..WatchPace::default() }, seed * 977, 0);
        let mut now = 0;
        let mut of_seed = Vec::new();
        for _ in 0..12 {
            assert_eq!(machine.step(now), Step::List { version: ListVersion::Any });
            machine.failed(now, &Failure::Network("refused".to_owned()));
            let next = due(&mut machine, now);
            of_seed.push(next - now);
            now = next;
        }
        waits.push(of_seed);
        // Down for an hour more: it never asks more seldom than every 30 s.
        let end = now + 3600 * SECOND;
        while now < end {
            machine.failed(now, &Failure::Network("refused".to_owned()));
            let next = due(&mut machine, now);
            assert!(next - now <= 30 * SECOND);
            now = next;
        }
        now += 121 * SECOND;
        machine.failed(now, &Failure::Network("refused".to_owned()));
        assert!(due(&mut machine, now) - now <= 800 * MS, "after a good time the first step again");
    }
    for (n, most) in [800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000].into_iter().enumerate() {
        let of_step: Vec<u64> = waits.iter().map(|waits| waits[n]).collect();
        let (least, longest) = (of_step.iter().min().expect("some"), of_step.iter().max().expect("some"));
        assert!(*least >= most * MS / 2 && *longest <= most * MS, "step {n}: {least} to {longest}");
        assert!(longest - least > most * MS / 4, "jitter at step {n}");
    }
}

#[test]
fn retry_after_is_obeyed_up_to_five_minutes() {
    for (asked, least, most) in [(10, 10, 10), (3600, 300, 300), (0, 0, 1)] {
        let (mut machine, now) = listed();
        let (now, _) = watched(&mut machine, now);
        machine.failed(now, &overloaded(asked));
        let wait = due(&mut machine, now) - now;
        assert!(wait >= least * SECOND && wait <= most * SECOND, "{asked}: {wait}");
        let (_, version) = watched(&mut machine, now + wait);
        assert_eq!(version, "10", "no list because of it");
    }
}

#[test]
fn four_hundred_and_ten_lists_no_older_than_what_was_seen() {
    let (mut machine, now) = listed();
    let (now, _) = watched(&mut machine, now);
    machine.event(now + SECOND, Some("17".to_owned()));
    assert!(machine.failed(now + 2 * SECOND, &Failure::Gone));
    let now = due(&mut machine, now + 2 * SECOND);
    assert_eq!(machine.step(now), Step::List { version: ListVersion::AtLeast("17".to_owned()) });
    machine.failed(now, &Failure::Gone);
    assert_eq!(machine.step(now), Step::List { version: ListVersion::Newest }, "at once");
    machine.failed(now, &Failure::Gone);
    assert!(matches!(machine.step(now), Step::Wait { .. }), "but only once at once");
    let now = due(&mut machine, now);
    machine.listed(now, "3".to_owned());
    assert_eq!(watched(&mut machine, now).1, "3", "versions are opaque: a smaller one is taken");
}

#[test]
fn agents_do_not_list_all_at_once_after_a_410() {
    let mut delays = Vec::new();
    for seed in 1..100u64 {
        let mut machine =
            Machine::new(WatchPace { start_delay_ns: 5 * SECOND, ..WatchPace::default() }, seed * 12_345, 0);
        let now = due(&mut machine, 0);
        machine.step(now);
        machine.listed(now, "1".to_owned());
        machine.step(now);
        machine.failed(now + SECOND, &Failure::Gone);
        delays.push(due(&mut machine, now + SECOND) - now - SECOND);
    }
    assert!(delays.iter().all(|delay| *delay < 5 * SECOND));
    assert!(delays.iter().any(|d| *d > 4 * SECOND) && delays.iter().any(|d| *d < SECOND));
}

#[test]
fn a_version_of_the_future_is_healed_by_a_list_of_the_newest() {
    let (mut machine, now) = listed();
    let (now, _) = watched(&mut machine, now);
    machine.event(now, Some("999".to_owned()));
    machine.failed(now + 60 * SECOND, &Failure::Network("reset".to_owned()));
    // etcd came back from a backup: the watch is silent to its end.
    let (now, version) = watched(&mut machine, now + 60 * SECOND);
    assert_eq!(version, "999");
    assert!(machine.failed(now + 200 * SECOND, &Failure::Ended));
    let now = now + 200 * SECOND;
    assert_eq!(machine.step(now), Step::List { version: ListVersion::AtLeast("999".to_owned()) });
    machine.failed(now, &Failure::TooLarge);
    assert_eq!(machine.step(now), Step::List { version: ListVersion::Newest });
    machine.listed(now, "12".to_owned());
    assert_eq!(watched(&mut machine, now).1, "12");
}

#[test]
fn server_errors_are_retried_for_a_minute_then_listed() {
    let (mut machine, now) = listed();
    let mut now = now;
    let began = now;
    loop {
        now = due(&mut machine, now);
        match machine.step(now) {
            Step::Watch { version, .. } => {
                assert_eq!(version, "10");
                assert!(now - began < 91 * SECOND, "the same version for a minute and the wait that reaches over it");
                machine.failed(now, &server(500));
            }
            Step::List { version } => {
                assert_eq!(version, ListVersion::AtLeast("10".to_owned()));
                assert!(now - began >= 60 * SECOND);
                break;
            }
            Step::Wait { .. } => unreachable!("it was due"),
        }
    }
}

#[test]
fn unauthorized_is_retried_at_once_but_only_once() {
    let (mut machine, now) = listed();
    let (now, _) = watched(&mut machine, now);
    machine.failed(now, &Failure::Unauthorized);
    assert!(matches!(machine.step(now), Step::Watch { .. }));
    machine.failed(now, &Failure::Unauthorized);
    assert!(matches!(machine.step(now), Step::Wait { .. }));
    let (now, _) = watched(&mut machine, now);
    machine.failed(now + 100 * SECOND, &Failure::Unauthorized);
    assert!(matches!(machine.step(now + 100 * SECOND), Step::Watch { .. }), "after a success once more");
}

#[test]
fn forbidden_backs_off_and_keeps_the_version() {
    let (mut machine, now) = listed();
    let (now, _) = watched(&mut machine, now);
    machine.failed(now, &Failure::Forbidden(String::new()));
    assert!(matches!(machine.step(now), Step::Wait { .. }));
    assert_eq!(watched(&mut machine, now).1, "10");
}

#[test]
fn silence_after_a_life_sign_resumes_without_a_list() {
    let (mut machine, mut now) = listed();
    for n in 0..20u64 {
        let (began, version) = watched(&mut machine, now);
        assert_eq!(version, (10 + n).to_string());
        machine.event(began + 60 * SECOND, Some((11 + n).to_string()));
        now = began + 210 * SECOND;
        assert!(!machine.failed(now, &Failure::Idle));
    }
}

#[test]
fn a_silent_watch_is_followed_by_a_list() {
    let (mut machine, now) = listed();
    let (now, _) = watched(&mut machine, now);
    assert!(machine.failed(now + 150 * SECOND, &Failure::Idle));
    assert_eq!(machine.step(now + 150 * SECOND), Step::List { version: ListVersion::AtLeast("10".to_owned()) });
}

#[test]
fn ten_minutes_without_life_across_watches_are_followed_by_a_list() {
    let (mut machine, listed_at) = listed();
    let mut now = listed_at;
    loop {
        now = due(&mut machine, now);
        match machine.step(now) {
            Step::Watch { .. } => {
                assert!(now - listed_at < 660 * SECOND);
                // A proxy that says 200 and then breaks the connection.
                now += 50 * SECOND;
                machine.failed(now, &Failure::Network("reset".to_owned()));
            }
            Step::List { .. } => break,
            Step::Wait { .. } => unreachable!("it was due"),
        }
    }
    assert!(now - listed_at >= 600 * SECOND);
}

#[test]
fn a_watch_that_ends_at_once_is_a_failure_and_none_follows_another_within_a_second() {
    let (mut machine, now) = listed();
    let (now, _) = watched(&mut machine, now);
    assert!(!machine.failed(now + 10 * MS, &Failure::Ended));
    let (second, _) = watched(&mut machine, now + 10 * MS);
    assert!(second - now > 400 * MS);
    machine.event(second, Some("11".to_owned()));
    machine.failed(second + MS, &Failure::Ended);
    let (third, version) = watched(&mut machine, second + MS);
    assert_eq!((third - second, version.as_str()), (SECOND, "11"));
}

#[test]
fn three_unreadable_streams_are_followed_by_a_list() {
    let (mut machine, mut now) = listed();
    for n in 1..=3 {
        let (began, _) = watched(&mut machine, now);
        now = began;
        let relist = machine.failed(now, &Failure::Unreadable("HTML".to_owned()));
        assert_eq!(relist, n == 3);
    }
    let now = due(&mut machine, now);
    assert!(matches!(machine.step(now), Step::List { .. }));
}

#[test]
fn a_bookmark_without_version_is_life_and_no_version() {
    let (mut machine, now) = listed();
    let (now, _) = watched(&mut machine, now);
    machine.event(now + SECOND, None);
    assert!(!machine.failed(now + 150 * SECOND, &Failure::Idle));
    assert_eq!(watched(&mut machine, now + 150 * SECOND).1, "10");
}

/// Whatever happens, the machine asks for something sooner or later, and never spins.
#[test]
fn any_failures_in_any_order_keep_it_asking() {
    let failures = |n: u64| match n % 14 {
        0 => Failure::Ended,
        1 => Failure::Idle,
        2 => Failure::Gone,
        3 => Failure::TooLarge,
        4 => overloaded(n % 400),
        5 => server(503),
        6 => Failure::Unauthorized,
        7 => Failure::Forbidden(String::new()),
        8 => Failure::Refused { code: 400, message: String::new() },
        9 => Failure::Tls(String::new()),
        10 => Failure::Clock(String::new()),
        11 => Failure::Network(String::new()),
        12 => Failure::Unreadable(String::new()),
        _ => Failure::Credentials(String::new()),
    };
    for seed in 1..40u64 {
        let mut random = seed * 0x9E37_79B9;
        let mut machine = Machine::new(WatchPace::default(), seed, 0);
        let (mut now, mut requests) = (0u64, 0u64);
        for _ in 0..2000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match machine.step(now) {
                Step::Wait { until_ns } => {
                    assert!(until_ns > now && until_ns - now <= 300 * SECOND);
                    now = until_ns;
                }
                Step::List { .. } => {
                    requests += 1;
                    match random >> 60 {
                        0..4 => machine.listed(now, "5".to_owned()),
                        _ => drop(machine.failed(now, &failures(random >> 33))),
                    }
                }
                Step::Watch { .. } => {
                    requests += 1;
                    if random >> 63 == 0 {
                        machine.event(now, Some("6".to_owned()));
                    }
                    machine.failed(now, &failures(random >> 33));
                }
            }
        }
        assert!(requests > 600, "{requests}");
        assert!(now > requests / 3 * 200 * MS, "{requests} requests in {} s is spinning", now / SECOND);
    }
}
