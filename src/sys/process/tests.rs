use super::*;

#[test]
fn what_is_taken_is_seen() {
    let resident = resident_bytes();
    assert!((1 << 20..1 << 34).contains(&resident), "{resident}");
    // Other tests open and close theirs meanwhile.
    let (before, held): (u64, Vec<_>) = (open_descriptors(), (0..200).map(|_| fs::File::open("/dev/null")).collect());
    assert!(open_descriptors() > before + 100, "{before}");
    drop(held);
}

#[test]
fn code_that_was_given_back_still_runs() {
    assert!(give_back_code() > 1 << 16);
    // Code that this process has run before, and runs again from the file.
    assert!((1 << 20..1 << 34).contains(&resident_bytes()));
    assert_eq!(i64::from_str_radix("-7f", 16), Ok(-127));
}
