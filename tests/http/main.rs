//! The endpoint as peers meet it: what it answers, and what it withstands.
//!
//! ```text
//! cargo test --test http              everything, each attack for a second and a half
//! cargo test --test http -- NAME      those whose name contains NAME; --list names them
//! NETMON_LONG=1 cargo test --test http   each attack for ten seconds, and what takes that long
//! ```
//!
//! Every test has a server in a process of its own, so memory, descriptors and threads are those of the server alone.

mod answers;
mod attacks;
mod child;
mod client;

use std::process::ExitCode;

/// How a test ended.
type Outcome = Result<Verdict, String>;

/// Of a test that did not fail.
pub enum Verdict {
    /// What was measured.
    Passed(String),
    /// Why it did not run.
    Skipped(String),
}

/// One test.
type Test = fn() -> Outcome;

const TESTS: &[(&str, Test)] = &[
    ("answers_over_both_families", answers::both_families),
    ("answers_whole_however_large", answers::large),
    ("answers_alike_however_it_arrives", answers::pieces),
    ("answers_what_is_malformed_and_lives", answers::malformed),
    ("answers_please_promtool", answers::promtool),
    ("answers_one_snapshot_a_second", answers::snapshots),
    ("answers_a_slow_reader_is_cut", answers::slow_reader),
    ("answers_end_when_told", answers::end),
    ("attack_resets", attacks::resets),
    ("attack_endless_request_line", attacks::endless_line),
    ("attack_pipelines_unread", attacks::pipelines_unread),
    ("attack_no_descriptors", attacks::no_descriptors),
    ("attack_half_requests", attacks::half_requests),
    ("attack_slow_readers", attacks::slow_readers),
    ("attack_trickled_heads", attacks::trickled_heads),
    ("attack_malformed", attacks::malformed),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|a| a == "@serve") {
        return child::serve(&args);
    }
    let wanted: Vec<&String> = args.iter().filter(|a| !a.starts_with('-')).collect();
    let chosen = TESTS.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str())));
    if args.iter().any(|a| a == "--list") {
        chosen.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let (mut passed, mut skipped, mut failed) = (0, 0, 0);
    for (name, test) in chosen {
        let mut outcome = test();
        // A probe whose SYN finds the backlog full comes again after a second: on a busy machine that is chance, once.
        if let (true, Err(why)) = (name.starts_with("attack_"), &outcome) {
            println!("test {name} ... once more: {why}");
            outcome = test();
        }
        match outcome {
            Ok(Verdict::Passed(note)) => {
                passed += 1;
                println!("test {name} ... ok ({note})");
            }
            Ok(Verdict::Skipped(why)) => {
                skipped += 1;
                println!("test {name} ... skipped: {why}");
            }
            Err(why) => {
                failed += 1;
                println!("test {name} ... FAILED\n{why}");
            }
        }
    }
    println!("\ntest result: {passed} passed; {failed} failed; {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
