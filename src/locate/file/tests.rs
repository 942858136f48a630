use std::fs;

use super::*;

const LINES: &str = "10.0.0.0/25 zone=a1 region=a\n10.0.0.128/25 zone=a2 region=a\n";

#[test]
fn what_is_written_to_while_it_is_read_is_not_taken() {
    let path = std::env::temp_dir().join(format!("netmon-file-{}", std::process::id()));
    let while_read = |what: &dyn Fn()| {
        fs::write(&path, LINES).expect("ours");
        read_while(&path, what).map(|(text, _)| text)
    };
    let is_changing = |read: Result<String, FileError>| matches!(read, Err(FileError::Changing));
    assert!(is_changing(while_read(&|| fs::write(&path, "").expect("ours"))), "emptied");
    assert!(is_changing(while_read(&|| fs::write(&path, &LINES[..29]).expect("ours"))), "cut at the end of a line");
    assert!(is_changing(while_read(&|| fs::write(&path, LINES.repeat(2)).expect("ours"))), "grown");
    // Another file in its place, as a ConfigMap's: this one is as whole as before.
    let other = path.with_extension("other");
    let replaced = while_read(&|| {
        fs::write(&other, "10.0.0.0/8 zone=b\n").expect("ours");
        fs::rename(&other, &path).expect("ours");
    });
    assert_eq!(replaced.expect("the file that was opened"), LINES);
    assert_eq!(while_read(&|| fs::remove_file(&path).expect("ours")).expect("the file that was opened"), LINES);
    let _ = fs::remove_file(&path);
}
