use super::*;

const ROWS: &str = "#\tnode\tnode-1\tstatus\thealthy\trows\t7\n\
    owner\tnamespace\tpod\tworkload_kind\tworkload\tlocal\tdirection\tremote\tremote_name\tport\tprotocol\tclass\tscope\ttx_bytes\trx_bytes\ttx_rate\trx_rate\n\
    data/ingest-6d4cf56db6-k2x9z\tdata\tingest-6d4cf56db6-k2x9z\t\t\t10.0.0.1\toutbound\t203.0.113.20\tcdn.images.example.net\t80\ttcp\toutside\tinternet\t82800\t68700000\t4860\t3970000\n\
    host\t\t\t\t\t10.0.0.1\tinbound\t10.0.0.9\t\t0\ticmp\tinside\tunknown\t0\t999\t0\t0\n";

fn said() -> Said {
    Said::read(ROWS).expect("lines of an agent")
}

#[test]
fn amounts_have_three_digits() {
    let shown: Vec<String> =
        [0, 1, 999, 1_000, 1_234, 9_994, 9_995, 12_345, 99_949, 99_950, 999_499, 999_500, 4_270_000]
            .map(|n| amount(n, "B"))
            .to_vec();
    let want = [
        "0 B", "1 B", "999 B", "1.00 kB", "1.23 kB", "9.99 kB", "10.0 kB", "12.3 kB", "99.9 kB", "100 kB", "999 kB",
        "1.00 MB", "4.27 MB",
    ];
    assert_eq!(shown, want);
    assert_eq!(amount(u64::MAX, "B"), "18.4 EB");
    assert_eq!(rate(125_000, Style { bits: true, utf8: true }), "1.00 Mbit/s");
}

#[test]
fn rows_are_laid_out_as_wide_as_they_may_be() {
    let table = said().table(Style { bits: false, utf8: true }, None);
    assert_eq!(
        table,
        [
            "OWNER                         REMOTE                                 PORT    CLASS         TX/s       RX/s       TX       RX",
            "data/ingest-6d4cf56db6-k2x9z  → cdn.images.example.net 203.0.113.20  80/tcp  outside  4.86 kB/s  3.97 MB/s  82.8 kB  68.7 MB",
            "host                          ← 10.0.0.9                             icmp    inside       0 B/s      0 B/s      0 B    999 B",
        ]
    );
    for width in [0, 1, 20, 60, 80, 100, 119, 200] {
        for line in said().table(Style { bits: true, utf8: width % 40 == 0 }, Some(width)) {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }
    let narrow = said().table(Style::default(), Some(100));
    assert!(narrow[1].contains("-> cdn.images.examp~") && narrow[1].ends_with("68.7 MB"), "{}", narrow[1]);
    assert!(narrow.iter().all(|line| line.is_ascii()), "{narrow:?}");
}

#[test]
fn sums_are_laid_out_by_what_they_are_summed_by() {
    let text = "#\tnode\tn\nport\trows\ttx_bytes\trx_bytes\ttx_rate\trx_rate\n443/tcp\t12\t1000\t1\t5\t0\n";
    let table = Said::read(text).expect("lines").table(Style::default(), Some(80));
    assert_eq!(table, ["PORT     ROWS   TX/s   RX/s       TX   RX", "443/tcp    12  5 B/s  0 B/s  1.00 kB  1 B"]);
}

#[test]
fn what_no_agent_said_is_not_read() {
    for text in ["", "#\tx", "owner\trows\n", "<html>\n</html>\n"] {
        assert_eq!(Said::read(text), None, "{text:?}");
    }
    let said = said();
    assert_eq!(
        (said.about("node"), said.number("rows"), said.about("none"), said.number("status")),
        ("node-1", 7, "", 0)
    );
}
