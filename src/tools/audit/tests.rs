use super::*;

const FLOWS: &str = r#"{"items":[],"rows":3,"interfaces":[
{"interface":"eth0","flow":"tx","bytes":1000000,"parts":{"rows":999000,"unexplained":1000,"of the future":7}},
{"interface":"eth0","flow":"rx","bytes":5,"parts":{}}]}"#;

fn with(bytes: u64, unexplained: i64) -> Sides {
    let mut side = Side { bytes, ..Side::default() };
    side.parts[Part::Unexplained as usize] = unexplained;
    Sides::from([(("eth0".to_owned(), "tx".to_owned()), side)])
}

#[test]
fn parts_are_read_and_others_left() {
    let sides = parse(FLOWS).expect("two");
    let tx = &sides[&("eth0".to_owned(), "tx".to_owned())];
    assert_eq!(
        (tx.bytes, tx.parts[Part::Rows as usize], tx.parts[Part::Unexplained as usize]),
        (1_000_000, 999_000, 1_000)
    );
    assert_eq!(sums(&sides), (1_000_005, 1_000));
    assert_eq!(parse("{}"), Some(Sides::new()), "nothing is audited");
    assert_eq!(parse("<html>"), None);
}

#[test]
fn rule_19_the_books_close_below_a_thousandth_or_64_kib() {
    for (bytes, unexplained, is_closed) in [
        (1_000, 1_000, true),
        (1_000, (64 << 10) - 1, true),
        (1_000, 64 << 10, false),
        (1_000_000_000, 999_999, true),
        (1_000_000_000, 1_000_000, false),
        // More was counted than carried, which is no better.
        (1_000_000_000, -999_999, true),
        (1_000_000_000, -1_000_000, false),
        (0, -52, true),
    ] {
        assert_eq!(closes(&with(bytes, unexplained)), is_closed, "{unexplained} of {bytes}");
    }
}

#[test]
fn a_window_is_what_came_since() {
    let window = since(with(1_000, 50), &with(400, 20));
    assert_eq!(window, with(600, 30));
    assert_eq!(since(with(100, 1), &with(400, 20)), with(100, 1), "the agent began anew");
    assert_eq!(since(with(1_000, 0), &with(400, 20)), with(600, -20), "explained by now");
}

#[test]
fn a_window_without_traffic_has_no_percent() {
    let text = table(&with(0, -52));
    assert!(text.contains(" -52          -\n"), "{text}");
    assert!(text.ends_with("the books close: 52 of 0 bytes unexplained, nothing crossed an uplink\n"), "{text}");
}

#[test]
fn too_many_bytes_of_one_uplink_are_no_remedy_for_too_few_of_another() {
    let mut sides = with(1_000_000, 100_000);
    sides.insert(("eth1".to_owned(), "tx".to_owned()), with(1_000_000, -100_000).into_values().next().expect("one"));
    assert_eq!((sums(&sides), closes(&sides)), ((2_000_000, 200_000), false));
}

#[test]
fn what_is_printed_names_the_parts() {
    let text = table(&parse(FLOWS).expect("two"));
    assert!(text.contains("eth0 tx: 1000000 bytes"), "{text}");
    assert!(text.contains("rows                        999000   99.900 %"), "{text}");
    assert!(text.ends_with("the books close: 1000 of 1000005 bytes unexplained, 0.099 %\n"), "{text}");
    let found: serde_json::Value = serde_json::from_str(&json(&parse(FLOWS).expect("two"))).expect("JSON");
    assert_eq!((&found["closes"], &found["interfaces"][1]["parts"]["rows"]), (&true.into(), &999_000.into()));
}
