use super::*;
use crate::findings::Verdict;

#[test]
fn a_clock_is_judged_by_what_the_server_says() {
    let date = "Mon, 30 Nov 2026 02:00:00 GMT";
    let at_ns = 1_796_004_000 * SECOND;
    let judged = |wall_ns| skew(date, wall_ns).expect("a date");
    assert_eq!(judged(at_ns + SECOND / 2).verdict, Verdict::Ok);
    let ahead = judged(at_ns + 90 * SECOND);
    assert_eq!((ahead.verdict, ahead.text.as_str()), (Verdict::Warn, "90 s ahead of DAKR's"));
    assert_eq!(judged(at_ns - 3_600 * SECOND).text, "3600 s behind DAKR's");
    assert_eq!(skew("yesterday", at_ns), None);
}

#[test]
fn each_end_has_its_cure() {
    let cases = [
        (Outcome::Acknowledged, Verdict::Ok, ""),
        (Outcome::Denied, Verdict::Fail, "is CLUSTER_TOKEN the token of this cluster?"),
        (Outcome::NotCounted, Verdict::Fail, "DAKR_URL, HTTPS_PROXY and NO_PROXY"),
        (Outcome::WrongFraming, Verdict::Fail, "names another server"),
        (Outcome::Busy, Verdict::Warn, "patience"),
        (Outcome::TooLarge, Verdict::Warn, "reached"),
        (Outcome::Refused, Verdict::Warn, "reached"),
        (Outcome::Unknown, Verdict::Fail, "log"),
    ];
    for (outcome, verdict, cure) in cases {
        let finding = judged(outcome, "dakr.example.com:443: said", false);
        assert_eq!(finding.verdict, verdict, "{finding:?}");
        assert!(finding.cure.contains(cure) && finding.text.starts_with("dakr.example.com:443"), "{finding:?}");
    }
    assert!(judged(Outcome::Denied, "", true).cure.contains("-token-file"));
}
