use super::*;
use crate::clock::SECOND;
use crate::logging::heard;

const OUTCOMES: [Outcome; 7] = [
    Outcome::NotCounted,
    Outcome::Busy,
    Outcome::Denied,
    Outcome::TooLarge,
    Outcome::WrongFraming,
    Outcome::Refused,
    Outcome::Unknown,
];
const CAUSE: &str = "dakr.example.com:443: connection refused";

/// A failure for five minutes was one line without an amount; a day of it, or of any mixture, is at most 200.
#[test]
fn u6_a_day_of_each_failure_is_a_few_lines_and_none_is_lost() {
    for mixture in [1, 2, 7] {
        for first in 0..OUTCOMES.len() {
            let stats = Arc::new(Stats::default());
            let mut failed = 0;
            let lines = heard::lines(|| {
                stats.open_bytes.set(424_000_000);
                let mut condition = PushHealth::new(Arc::default(), Arc::clone(&stats), "node-a");
                for second in (0..86_400).step_by(20) {
                    let n = second as usize / 20;
                    if mixture > 1 && n.is_multiple_of(5) {
                        condition.push_taken("connect", second * SECOND);
                    } else {
                        failed += 1;
                        condition.push_failed(OUTCOMES[(first + n % mixture) % 7], CAUSE, second * SECOND);
                    }
                }
                condition.push_taken("connect", 90_000 * SECOND);
            });
            assert!((140..=160).contains(&lines.len()), "{} lines of {mixture} kinds", lines.len());
            assert!(lines[0].contains("cannot push to dakr.example.com:443: connection refused"), "{}", lines[0]);
            assert!(lines[0].contains("424 MB wait"), "{}", lines[0]);
            assert!(mixture > 1 || lines[1].contains("(for 10 min)"), "{}", lines[1]);
            let told = |line: &String| {
                let after = line.split("last line: ").nth(1).or_else(|| line.split("pushes again (").nth(1));
                after.and_then(|rest| rest.split([',', ' ']).next()?.parse::<u64>().ok()).unwrap_or(0)
            };
            assert_eq!(lines.iter().map(told).sum::<u64>(), failed, "{lines:?}");
        }
    }
}
