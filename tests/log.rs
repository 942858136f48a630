//! The forms of the log, of the real binary: every line that it writes, its last word included.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// What an agent says that finds no recording to play. `stream`: what the variable of the journal adds to the inode of its
/// stderr.
fn said(arguments: &[&str], stream: Option<u64>) -> Vec<String> {
    let name = format!("netmon-log-{}-{}{}", std::process::id(), arguments.len(), stream.unwrap_or(9));
    let path = std::env::temp_dir().join(name);
    let stderr = File::create(&path).expect("a file");
    let meta = stderr.metadata().expect("metadata");
    let mut agent = Command::new(env!("CARGO_BIN_EXE_zxporter-netmon"));
    agent.args(["-standalone", "-collector-mode=replay:/none/\"such\""]).args(arguments).env_clear().stderr(stderr);
    if let Some(more) = stream {
        agent.env("JOURNAL_STREAM", format!("{}:{}", meta.dev(), meta.ino() + more));
    }
    let status = agent.status().expect("the binary");
    let text = fs::read_to_string(&path).expect("what it said");
    fs::remove_file(&path).expect("the file is ours");
    assert_eq!(status.code(), Some(if arguments.contains(&"-wrong") { 2 } else { 1 }), "{text}");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn every_line_is_an_object() {
    let lines = said(&["-log-format=json"], None);
    assert!(lines.len() >= 2, "{lines:?}");
    for line in &lines {
        let object: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let keys: Vec<&String> = object.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["level", "message", "target", "thread", "time"], "{line}");
    }
    let last: serde_json::Value = serde_json::from_str(&lines[lines.len() - 1]).expect("parsed before");
    assert_eq!((last["level"].as_str(), last["thread"].as_str()), (Some("error"), Some("main")));
    assert!(last["message"].as_str().is_some_and(|said| said.contains("/none/\"such\"")), "{last}");
}

#[test]
fn the_journal_gets_priorities_where_it_reads() {
    let lines = said(&[], Some(0));
    assert!(lines.iter().all(|line| line.starts_with('<') && !line.contains("[20")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("<6>zxporter-netmon ")), "{lines:?}");
    assert!(lines[lines.len() - 1].starts_with("<3>"), "{lines:?}");
    // What is wrong with the arguments has its priority, too.
    let lines = said(&["-wrong"], Some(0));
    assert!(lines.len() == 1 && lines[0].starts_with("<3>unknown"), "{lines:?}");
    // The variable is inherited where stderr was redirected.
    for lines in [said(&[], Some(1)), said(&[], None)] {
        let start = |line: &String| line.starts_with("[20") && line.contains("Z INFO ] zxporter-netmon ");
        assert!(lines.iter().any(start), "{lines:?}");
        assert!(lines[lines.len() - 1].starts_with("zxporter-netmon: "), "{lines:?}");
    }
}
