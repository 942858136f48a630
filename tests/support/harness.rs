//! A `main` for tests that need programs of the machine's: what libtest prints, and the arguments of it that scripts use
//! (a filter, `--skip` with a name, `--list`).

/// Runs the wanted cases, or counts them as skipped for want of `lacking`; with CI=true that is a failure.
pub fn run<'a>(cases: impl Iterator<Item = (String, Box<dyn FnOnce() + 'a>)>, lacking: &str) {
    let (mut filter, mut skips, mut list) = (String::new(), Vec::new(), false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--skip" => skips.extend(arguments.next()),
            "--list" => list = true,
            _ if argument.starts_with('-') => {}
            _ => filter = argument,
        }
    }
    let (mut passed, mut skipped) = (0, 0);
    for (name, case) in cases {
        if !name.contains(&filter) || skips.iter().any(|skip| name.contains(skip)) {
            continue;
        }
        if list {
            println!("{name}: test");
        } else if lacking.is_empty() {
            case();
            println!("test {name} ... ok");
            passed += 1;
        } else {
            println!("test {name} ... skipped: needs {lacking}");
            skipped += 1;
        }
    }
    println!("\ntest result: ok. {passed} passed; 0 failed; {skipped} skipped");
    let required = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(skipped == 0 || !required, "CI is to skip nothing for want of {lacking}");
}
