use proptest::prelude::*;

use super::*;

#[test]
fn what_go_reads() {
    let cases = [
        ("0", 0),
        ("0s", 0),
        ("1ns", 1),
        ("1us", 1_000),
        ("1\u{b5}s", 1_000),
        ("1\u{3bc}s", 1_000),
        ("100ms", 100_000_000),
        ("5s", 5_000_000_000),
        ("1m", 60_000_000_000),
        ("1h", 3_600_000_000_000),
        ("1.5h", 5_400_000_000_000),
        (".5s", 500_000_000),
        ("1.s", 1_000_000_000),
        ("1m30s", 90_000_000_000),
        ("1h2m3s4ms5us6ns", 3_723_004_005_006),
        ("30s1m", 90_000_000_000),
        ("0.000000001s", 1),
        ("0.0000000009s", 0),
        ("0.3333333333333333333h", 1_200_000_000_000 - 1),
        ("00012s", 12_000_000_000),
        ("9223372036854775807ns", i64::MAX as u64),
    ];
    for (text, ns) in cases {
        assert_eq!(parse(text), Some(ns), "{text}");
    }
}

#[test]
fn what_go_refuses() {
    let cases = [
        "",
        " ",
        "5",
        "5 s",
        " 5s",
        "5s ",
        "s",
        ".",
        ".s",
        "1..5s",
        "1.5.s",
        "5x",
        "5S",
        "1d",
        "1h 2m",
        "1h2",
        "5s5",
        "-",
        "+",
        "1e3s",
        "0x5s",
        "\u{b5}s",
        "٣s",
        "5s\n",
        "5s\0",
        "9223372036854775808ns",
        "2562048h",
        "18446744073709551616ns",
        "9999999999999999999h",
    ];
    for text in cases {
        assert_eq!(parse(text), None, "{text:?}");
    }
}

#[test]
fn signs_are_refused_though_go_takes_them() {
    assert_eq!((parse("-5s"), parse("+5s")), (None, None));
}

/// As Go's `Duration.String` writes it: the largest unit first, a fraction only in the smallest.
fn go_text(ns: u64) -> String {
    let decimal = |ns: u64, unit: u64, name: &str| {
        let (whole, part) = (ns / unit, ns % unit);
        let digits = format!("{part:0width$}", width = unit.ilog10() as usize);
        match digits.trim_end_matches('0') {
            "" => format!("{whole}{name}"),
            digits => format!("{whole}.{digits}{name}"),
        }
    };
    match ns {
        0 => "0s".to_owned(),
        1..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => decimal(ns, 1_000, "µs"),
        1_000_000..1_000_000_000 => decimal(ns, 1_000_000, "ms"),
        _ => {
            let (minutes, rest) = (ns / 60_000_000_000, ns % 60_000_000_000);
            let seconds = decimal(rest, 1_000_000_000, "s");
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

proptest! {
    #[test]
    fn reads_what_go_writes(ns in 0..=i64::MAX as u64, shift in 0_u32..63) {
        let ns = ns >> shift;
        prop_assert_eq!(parse(&go_text(ns)), Some(ns));
    }

    #[test]
    fn parts_add_up(parts in prop::collection::vec((0_u64..10_000, 0_usize..6), 1..6)) {
        let units = [("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000)];
        let text: String = parts.iter().map(|(n, unit)| format!("{n}{}", units[*unit].0)).collect();
        prop_assert_eq!(parse(&text), Some(parts.iter().map(|(n, unit)| n * units[*unit].1).sum()));
    }

    #[test]
    fn never_panics(text in "\\PC{0,40}", numbers in "[0-9.]{0,40}(ns|us|µs|ms|s|m|h)?") {
        parse(&text);
        parse(&numbers);
    }
}
