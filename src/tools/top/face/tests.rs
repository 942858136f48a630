use super::*;
use crate::flow::Class;

fn asked() -> Asked {
    Asked {
        by: By::Row,
        sort: Sort::Rate,
        class: String::new(),
        scope: String::new(),
        needle: String::new(),
        limit: None,
    }
}

fn said(lines: usize) -> Said {
    let mut text = "#\tnode\tnode-1\tstatus\tdegraded\trows\t9\tmatched\t7\ttx_bytes\t15600000\trx_bytes\t78400000\t\
                    tx_rate\t569000\trx_rate\t4270000\tswept_ms_ago\t1200\n\
                    owner\tdirection\tremote\tremote_name\tport\tprotocol\tclass\ttx_bytes\trx_bytes\ttx_rate\trx_rate\n"
        .to_owned();
    for n in 0..lines {
        text.push_str(&format!(
            "data/ingest-{n}\toutbound\t203.0.113.{n}\tcdn.example.net\t80\ttcp\toutside\t1\t2\t3\t4\n"
        ));
    }
    Said::read(&text).expect("lines of an agent")
}

fn face(utf8: bool, lines: usize) -> Face {
    let mut face = Face::new(asked(), Style { bits: false, utf8 });
    face.take(Ok(said(lines)), 2);
    face
}

fn press(face: &mut Face, keys_: &[u8]) -> Vec<Act> {
    keys(keys_).into_iter().map(|key| face.key(key)).collect()
}

#[test]
fn a_screen_is_as_large_as_its_terminal_and_never_larger() {
    for utf8 in [true, false] {
        let mut face = face(utf8, 40);
        for help in [false, true] {
            if help {
                press(&mut face, b"?");
            }
            for (columns, rows) in [(80, 24), (200, 50), (20, 5), (1, 1), (0, 0), (300, 3)] {
                let lines = face.draw(columns, rows);
                assert_eq!(lines.len(), rows, "{columns}x{rows}");
                for (line, _) in &lines {
                    assert!(line.chars().count() <= columns, "{columns}x{rows}: {line:?}");
                    assert!(utf8 || line.is_ascii(), "{line:?}");
                    assert!(!line.contains('\u{1b}'));
                }
            }
        }
    }
}

#[test]
fn the_screen_says_what_an_operator_wants_first() {
    let face = face(true, 3);
    let lines: Vec<String> = face.draw(120, 12).into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines[0], "zxporter-netmon  node-1  degraded  rows 7 of 9");
    assert!(lines[1].starts_with("tx     569 kB/s █"), "{}", lines[1]);
    assert!(lines[1].contains("since start 15.6 MB tx, 78.4 MB rx; last sweep 1 s ago"), "{}", lines[1]);
    assert!(
        lines[3].starts_with("OWNER") && lines[4].starts_with("data/ingest-0  → cdn.example.net 203.0.113.0"),
        "{lines:?}"
    );
    assert!(lines[11].starts_with("by rows · sorted by rate · Tab group"), "{}", lines[11]);
    let narrow = face.draw(80, 12);
    assert!(narrow[1].0.ends_with("since start 15.6 MB tx, 78.4 MB rx"), "{}", narrow[1].0);
    assert!(narrow[11].0.ends_with("? help  q quit"), "{}", narrow[11].0);
    assert_eq!(face.query(12), "by=row&sort=rate&format=tsv&limit=7");
}

#[test]
fn keys_group_sort_filter_and_quit() {
    let mut face = face(false, 3);
    assert_eq!(press(&mut face, b"\tb"), [Act::Ask, Act::Ask]);
    assert_eq!(face.query(24), "by=owner&sort=bytes&format=tsv&limit=19");
    press(&mut face, b"cc");
    assert_eq!(face.query(24), "by=owner&sort=bytes&format=tsv&class=outside&limit=19");
    press(&mut face, &b"c".repeat(Class::ALL.len() - 1));
    press(&mut face, b"/w eb\x7f\x7fq");
    assert_eq!(face.query(24), "by=owner&sort=bytes&format=tsv&match=w%20q&limit=19");
    assert!(face.draw(80, 24)[23].0.starts_with("filter: w q_"), "q is a letter here");
    assert_eq!(press(&mut face, b"\r"), [Act::Nothing]);
    assert!(face.draw(80, 24)[23].0.contains("with w q"));
    assert_eq!(press(&mut face, b"\x1b"), [Act::Ask]);
    assert_eq!(face.query(24), "by=owner&sort=bytes&format=tsv&limit=19");
    assert_eq!(press(&mut face, b" "), [Act::Nothing]);
    assert!(face.is_paused() && face.draw(80, 24)[0].0.ends_with("paused"));
    for _ in 0..By::ALL.len() - 1 {
        press(&mut face, b"\t");
    }
    assert_eq!(face.asked.by, By::Row, "round and round");
    assert_eq!(press(&mut face, b"q"), [Act::Quit]);
}

#[test]
fn rows_below_the_screen_are_reached_and_asked_for() {
    let mut face = face(false, 40);
    press(&mut face, b"\x1b[B\x1b[6~\x1b[A");
    assert_eq!(face.query(24), "by=row&sort=rate&format=tsv&limit=29");
    assert!(face.draw(100, 24)[4].0.starts_with("data/ingest-10 "), "{}", face.draw(100, 24)[4].0);
    press(&mut face, b"\x1b[5~\x1bOA\x1b[A");
    assert!(face.draw(100, 24)[4].0.starts_with("data/ingest-0 "));
    press(&mut face, &b"\x1b[6~".repeat(9));
    face.take(Ok(said(2)), 3);
    assert!(face.draw(100, 24)[4].0.starts_with("data/ingest-1 "), "what is there is shown");
}

#[test]
fn an_agent_that_is_gone_is_said_over_what_it_said_last() {
    let mut face = face(false, 3);
    face.take(Err("cannot ask the agent on 127.0.0.1:8081: Connection refused".to_owned()), 14);
    let lines = face.draw(100, 24);
    assert_eq!(lines[1].0, "no answer for 12 s: cannot ask the agent on 127.0.0.1:8081: Connection refused");
    assert_eq!((lines[1].1, lines[4].1), (Mood::Alarm, Mood::Quiet));
    face.take(Ok(said(3)), 16);
    assert!(face.draw(100, 24)[1].0.starts_with("tx"));
}

#[test]
fn bars_are_of_the_highest_that_is_remembered() {
    let style = |utf8| Style { bits: false, utf8 };
    assert_eq!(bar(&[0, 50, 100].into(), 3, style(true)), "▁▅█");
    assert_eq!(bar(&[100, 0, 1, 100].into(), 2, style(false)), ".#");
    assert_eq!(bar(&[0, 0].into(), 3, style(true)), "▁▁");
    assert_eq!(bar(&[u64::MAX].into(), 3, style(true)), "█");
}

#[test]
fn what_terminals_send_is_read() {
    assert_eq!(keys(b"\x1b[1;5A\x1b[Z a"), [Key::Text(b' '), Key::Text(b'a')], "unknown sequences are left out");
    assert_eq!(keys(b"\x1b"), [Key::Escape]);
    assert_eq!(keys(b"\x1b["), []);
    assert_eq!(keys("é\n".as_bytes()), [Key::Enter]);
}
