use super::*;

const METRICS: &str = "# HELP netmon_interface_bytes_total x
netmon_interface_bytes_total{interface=\"eth0\",flow=\"tx\"} 1000000
netmon_interface_bytes_total{interface=\"eth0\",flow=\"rx\"} 5
netmon_reconciled_bytes_total{interface=\"eth0\",flow=\"tx\",part=\"rows\"} 999000
netmon_reconciled_bytes_total{interface=\"eth0\",flow=\"tx\",part=\"unexplained\"} 1000
netmon_reconciled_bytes_total{interface=\"eth0\",flow=\"tx\",part=\"of the future\"} 7
netmon_rows 3
";

fn with(bytes: u64, unexplained: u64) -> Sides {
    let mut side = Side { bytes, ..Side::default() };
    side.parts[Part::Unexplained as usize] = unexplained;
    Sides::from([(("eth0".to_owned(), "tx".to_owned()), side)])
}

#[test]
fn series_are_read_and_others_left() {
    let sides = parse(METRICS).expect("two");
    let tx = &sides[&("eth0".to_owned(), "tx".to_owned())];
    assert_eq!(
        (tx.bytes, tx.parts[Part::Rows as usize], tx.parts[Part::Unexplained as usize]),
        (1_000_000, 999_000, 1_000)
    );
    assert_eq!(sums(&sides), (1_000_005, 1_000));
    assert!(parse("netmon_rows 3\n").is_err(), "nothing is audited");
}

#[test]
fn rule_19_the_books_close_below_a_thousandth_or_64_kib() {
    for (bytes, unexplained, is_closed) in [
        (1_000, 1_000, true),
        (1_000, (64 << 10) - 1, true),
        (1_000, 64 << 10, false),
        (1_000_000_000, 999_999, true),
        (1_000_000_000, 1_000_000, false),
    ] {
        assert_eq!(closes(&with(bytes, unexplained)), is_closed, "{unexplained} of {bytes}");
    }
}

#[test]
fn a_window_is_what_came_since() {
    let window = since(with(1_000, 50), &with(400, 20));
    assert_eq!(window, with(600, 30));
    assert_eq!(since(with(100, 1), &with(400, 20)), with(100, 1), "the agent began anew");
}

#[test]
fn what_is_printed_names_the_parts() {
    let text = table(&parse(METRICS).expect("two"));
    assert!(text.contains("eth0 tx: 1000000 bytes"), "{text}");
    assert!(text.contains("rows                        999000   99.900 %"), "{text}");
    assert!(text.ends_with("the books close: 1000 of 1000005 bytes unexplained, 0.099 %\n"), "{text}");
    let found: serde_json::Value = serde_json::from_str(&json(&parse(METRICS).expect("two"))).expect("JSON");
    assert_eq!((&found["closes"], &found["interfaces"][1]["parts"]["rows"]), (&true.into(), &999_000.into()));
}
