use super::*;
use crate::flow::{Addr, Cidr};

fn found(count: u32) -> Found {
    let range =
        |n: u32| (Cidr::new(Addr::from_v4((0x0a00_0000 | n << 8).to_be_bytes()), 24).expect("one"), (n % 3) as u16);
    let place = |n: u32| (format!("zone-{n}").into(), "region".into());
    Found { ranges: (0..count).map(range).collect(), places: (0..3).map(place).collect() }
}

fn parsed(published: &Published) -> lines::Parsed {
    let (head, body) = published.read().expect("ours");
    lines::parse(&format!("{head}\n{body}"), &mut Learner::new(Names::default()), &[])
        .expect("what is published is taken")
}

#[test]
fn the_files_line_counts_where_both_speak_of_a_range() {
    let file = "# ours\r\n10.0.1.0/24 zone=mine via=nat # why\r\n172.16.0.0/12 scope=internet\r\n";
    let body = Body::new(file, &found(3)).expect("well");
    assert_eq!(
        body.text,
        "10.0.1.0/24 zone=mine via=nat\n172.16.0.0/12 scope=internet\n\
         10.0.0.0/24 zone=zone-0 region=region\n10.0.2.0/24 zone=zone-2 region=region\n"
    );
    assert_eq!(parsed(&body.with_head(7)).table.len(), 4);
    assert_eq!(parsed(&body.with_head(7)).head, Some(Head { generation: 7, ranges: 4 }));
    let wrong = Body::new("10.0.0.0/24 zone=a\n10.0.0.1/8 zone=a\n", &found(1)).expect_err("host bits");
    assert_eq!(wrong.line, 2);
}

#[test]
fn a_long_text_is_packed_and_read_again() {
    let (short, long) = (Body::new("", &found(1_000)).expect("few"), Body::new("", &found(15_000)).expect("few"));
    assert!(matches!(short.with_head(1), Published::Plain(_)));
    let Published::Packed(bytes) = long.with_head(1) else { panic!("{} bytes", long.text.len()) };
    assert!(bytes.len() < 100_000 && long.text.len() > 500_000, "{} of {}", bytes.len(), long.text.len());
    assert_eq!(parsed(&Published::Packed(bytes.clone())).table.len(), 15_000);
    for cut in [0, 10, bytes.len() / 2, bytes.len() - 1] {
        assert_eq!(Published::Packed(bytes[..cut].to_vec()).read(), None, "cut at {cut}");
    }
    assert_eq!(Published::Plain("10.0.0.0/24 zone=a\n".to_owned()).read(), None, "somebody else's");
}

#[test]
fn more_than_a_table_holds_is_not_published() {
    let mut all = found(65_536);
    assert!(Body::new("", &all).is_ok());
    all.ranges.push((Cidr::new(Addr::from_v4([11, 0, 0, 0]), 8).expect("one"), 0));
    assert_eq!(Body::new("", &all).map_err(|error| error.wrong), Err(Wrong::Ranges));
}
