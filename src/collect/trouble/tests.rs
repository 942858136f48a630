use super::*;
use crate::clock::SECOND;
use crate::logging::heard;

fn at(seconds: u64) -> Now {
    Now { mono_ns: seconds * SECOND, wall_ns: 0 }
}

fn detached() -> SourceHealth {
    SourceHealth { degraded: "detached".to_owned(), ..SourceHealth::default() }
}

fn blind(interface_bytes: u64) -> Sight {
    Sight::Blind { interface: *b"eth0\0\0\0\0\0\0\0\0\0\0\0\0", is_tx: true, interface_bytes, unexplained_bytes: 8_000 }
}

/// Each fault alone.
fn faults() -> Vec<(Impaired, Trouble)> {
    let of = |reason: Impaired| {
        let text = || "12 of 30".to_owned();
        let mut trouble = Trouble::default();
        match reason {
            Impaired::Blind => trouble.sight = Some(blind(9)),
            Impaired::Fallback => trouble.fallback = text(),
            Impaired::Sweep => trouble.sweep = text(),
            Impaired::Source => trouble.source.degraded = text(),
            Impaired::SocketOwners => trouble.socket_owners = text(),
            Impaired::Elsewhere => trouble.elsewhere = Some(Addr::from_v4([192, 168, 1, 10])),
            Impaired::EventsLost => trouble.events_lost = true,
            Impaired::OtherZone => trouble.other_ct_zone = true,
            Impaired::TableFull => trouble.not_followed = 9,
            Impaired::WaitingFull => trouble.hurried = true,
            Impaired::Uncounted => trouble.uncounted = true,
            Impaired::AccountingOff => trouble.source = SourceHealth { accounting_off: true, ..detached() },
            Impaired::Hidden => trouble.hidden = text(),
            Impaired::PodsUnseen => trouble.unseen = Some(9),
            Impaired::Sums => trouble.source = SourceHealth { sums: true, ..detached() },
        }
        (reason, trouble)
    };
    Impaired::ALL.into_iter().map(of).collect()
}

/// What Cilium's maps could not tell stood in log and health, and in no series.
#[test]
fn f44_each_fault_has_its_series() {
    for (reason, trouble) in faults() {
        let (health, mut reporter, stats) = (Health::default(), Reporter::default(), Stats::default());
        reporter.report(&trouble, true, &health, at(0));
        trouble.show(&stats);
        for (other, cell) in Impaired::ALL.iter().zip(&stats.impaired) {
            let also = *other == Impaired::Source && !trouble.source.degraded.is_empty();
            assert_eq!(cell.get() == 1, *other == reason || also, "{other:?} of {reason:?}");
        }
        Trouble::default().show(&stats);
        assert!(stats.impaired.iter().all(|cell| cell.get() == 0));
    }
}

/// 17,000 lines a day said that a table is full, for the figure in them differs each time.
#[test]
fn u6_a_day_of_each_fault_is_a_few_lines_and_none_is_lost() {
    for (reason, fault) in faults() {
        for period in [0, 1, 5] {
            let lines = heard::lines(|| {
                let (health, mut reporter) = (Health::default(), Reporter::default());
                for n in 0..86_400 / 5 {
                    let mut trouble =
                        if period > 0 && n / period % 2 == 1 { Trouble::default() } else { fault.clone() };
                    if trouble.not_followed > 0 {
                        trouble.not_followed += n;
                    }
                    if trouble.sight.is_some() {
                        trouble.sight = Some(blind(9 + n));
                    }
                    reporter.report(&trouble, true, &health, at(5 * n));
                }
            });
            assert!((140..=160).contains(&lines.len()), "{} lines of {reason:?}", lines.len());
            let told = |line: &String| {
                let held = line.split("changed ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
                held.unwrap_or(0) + u64::from(!line.contains("(for "))
            };
            let changes = u64::checked_div(86_400 / 5, period).unwrap_or(1);
            let told = lines.iter().map(told).sum::<u64>();
            // A line that is said again after less than a minute does not say since when.
            let most = if period == 0 { 1 } else { changes + lines.len() as u64 };
            assert!(told <= most && changes.saturating_sub(told) <= 121, "{told} of {changes}");
        }
    }
}

#[test]
fn f12_and_f42_what_cannot_wait_or_be_counted_degrades_and_names_a_way_out() {
    for (trouble, cure) in [
        (Trouble { hurried: true, ..Trouble::default() }, "API server"),
        (Trouble { uncounted: true, ..Trouble::default() }, "-collector-mode auto"),
    ] {
        let (health, mut reporter) = (Health::default(), Reporter::default());
        reporter.report(&trouble, true, &health, at(0));
        assert_eq!(health.overall(), Status::Degraded);
        assert!(health.components()[0].message.contains(cure), "{}", health.components()[0].message);
    }
}

#[test]
fn f16_and_f17_what_cannot_be_seen_from_here_degrades_and_names_a_way_out() {
    let node = Some(Addr::from_v4([192, 168, 1, 10]));
    for (trouble, cure) in [
        (Trouble { elsewhere: node, ..Trouble::default() }, "192.168.1.10, which is no address here"),
        (Trouble { elsewhere: node, ..Trouble::default() }, "hostNetwork: true"),
        (Trouble { socket_owners: no_pods_cgroup(Path::new("/host/cgroup")), ..Trouble::default() }, "-cgroup-fs"),
    ] {
        let (health, mut reporter) = (Health::default(), Reporter::default());
        reporter.report(&trouble, true, &health, at(0));
        assert_eq!(health.overall(), Status::Degraded);
        assert!(health.components()[0].message.contains(cure), "{}", health.components()[0].message);
    }
}

#[test]
fn trouble_degrades_and_its_end_heals() {
    let (health, mut reporter) = (Health::default(), Reporter::default());
    reporter.report(&Trouble::default(), false, &health, at(0));
    assert!(health.components().is_empty(), "nothing is reported before the first sweep");
    reporter.report(&Trouble { other_ct_zone: true, ..Trouble::default() }, true, &health, at(0));
    assert_eq!(health.overall(), Status::Degraded);
    reporter.report(&Trouble::default(), true, &health, at(0));
    assert_eq!(health.components()[0].message, "collecting");
    assert_eq!(health.overall(), Status::Healthy);
}

#[test]
fn a_source_with_a_component_of_its_own_shows_its_faults_there() {
    let health = Health::default();
    let mut reporter = Reporter::new(Some(Component::EbpfTracer), &health);
    let tracer = |health: &Health| {
        let state = health.components().into_iter().find(|c| c.name == "ebpf_tracer").expect("it is in use");
        (state.status, state.message)
    };
    assert_eq!(tracer(&health), (Status::Healthy, "attached".to_owned()));
    let detached = Trouble { source: detached(), other_ct_zone: true, ..Trouble::default() };
    reporter.report(&detached, true, &health, at(0));
    assert_eq!(tracer(&health), (Status::Degraded, "detached".to_owned()), "what is not the source's is left out");
    reporter.report(&Trouble { other_ct_zone: true, ..Trouble::default() }, true, &health, at(0));
    assert_eq!(tracer(&health), (Status::Healthy, "attached".to_owned()));
    let none = Health::default();
    Reporter::new(None, &none).report(&detached, true, &none, at(0));
    assert!(none.components().iter().all(|c| c.name != "ebpf_tracer"), "netfilter has none");
}

#[test]
fn rule_21_health_says_which_source_counts_how_many_addresses() {
    let health = Health::default();
    let mut reporter = Reporter::new(Some(Component::EbpfTracer), &health);
    let said = |health: &Health| format!("{health:?}");
    reporter.say_choices([3, 1, 0], &health);
    assert!(said(&health).contains("the programs count 3, conntrack 1"), "{health:?}");
    let broken = Trouble { source: detached(), ..Trouble::default() };
    reporter.report(&broken, true, &health, at(0));
    reporter.say_choices([2, 1, 0], &health);
    assert!(!said(&health).contains("the programs count"), "{health:?}");
}

/// A cause is named only if it was found.
#[test]
fn rule_16_names_the_causes_that_were_found_and_no_others() {
    let said =
        |causes: &str| Trouble { sight: Some(blind(9_000)), causes: causes.to_owned(), ..Trouble::default() }.message();
    let found = said("bridge cni0 has ports, and bridged packets pass no conntrack");
    assert!(
        found.contains("8000 of the 9000 bytes that interface eth0 sent")
            && found.contains("(part=\"unexplained\" of netmon_reconciled_bytes_total)")
            && found.ends_with("Found: bridge cni0 has ports, and bridged packets pass no conntrack"),
        "{found}"
    );
    let nothing = said("");
    assert!(nothing.ends_with("No cause was found on this node (zxporter-netmon doctor looks again)"), "{nothing}");
    assert!(!nothing.contains("Calico"), "{nothing}");
}
