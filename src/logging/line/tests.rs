use proptest::prelude::*;

use super::*;

const TEXT: Form = Form { format: Format::Text, journal: false };
const JSON: Form = Form { format: Format::Json, journal: false };

fn line(form: Form, level: Level, text: &str) -> String {
    let text = format_args!("{text}");
    form.line(&Message { wall_ns: 1_796_000_000_123_456_789, level, thread: "push", target: "netmon::export", text })
}

#[test]
fn a_message_is_one_line_in_each_form() {
    let said = "cannot push:\tanswer \"a\\b\"\nis no Connect\u{1b}[31m";
    assert_eq!(
        line(TEXT, Level::Warn, said),
        "[2026-11-30T00:53:20.123Z WARN ] cannot push:\\tanswer \"a\\b\"\\nis no Connect\\u{1b}[31m\n"
    );
    assert_eq!(
        line(JSON, Level::Warn, said),
        "{\"time\":\"2026-11-30T00:53:20.123Z\",\"level\":\"warn\",\"thread\":\"push\",\"target\":\"netmon::export\",\
         \"message\":\"cannot push:\\u0009answer \\\"a\\\\b\\\"\\u000ais no Connect\\u001b[31m\"}\n"
    );
}

#[test]
fn the_journal_gets_priorities_and_no_time() {
    let of = |level| line(Form { journal: true, ..TEXT }, level, "it counts");
    let levels = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
    assert_eq!(
        levels.map(of),
        ["<3>it counts\n", "<4>it counts\n", "<6>it counts\n", "<7>it counts\n", "<7>it counts\n"]
    );
    let json = line(Form { journal: true, ..JSON }, Level::Info, "it counts");
    assert!(json.starts_with("<6>{\"time\":"), "{json}");
}

#[test]
fn only_the_stream_that_is_read_by_the_journal_is_the_journal() {
    let own = fstat(std::io::stderr()).expect("stderr");
    let (own, another) = (format!("{}:{}", own.st_dev, own.st_ino), format!("{}:{}", own.st_dev, own.st_ino + 1));
    let journal = |stream| Form::of(Format::Text, stream).journal;
    assert_eq!([Some(&*own), Some(&*another), Some(""), None].map(journal), [true, false, false, false]);
}

proptest! {
    /// Whatever is said, it is one line, bounded, and JSON gives it back.
    #[test]
    fn any_text_is_one_bounded_line(text in "\\PC{0,40}|(?s).{0,3000}", times in 1usize..8) {
        let text = text.repeat(times);
        for form in [TEXT, JSON] {
            let line = line(form, Level::Error, &text);
            prop_assert!(line.len() <= LONGEST + 200);
            prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
            prop_assert!(!line.trim_end().chars().any(char::is_control));
        }
        let json: serde_json::Value = serde_json::from_str(&line(JSON, Level::Error, &text)).expect("JSON");
        let said = json["message"].as_str().expect("a string");
        prop_assert!(said == text || said.strip_suffix('…').is_some_and(|said| text.starts_with(said)));
    }
}
