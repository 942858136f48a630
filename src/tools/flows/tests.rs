use super::*;

const COLUMNS: &str = "owner\tremote\n";

fn shown(about: &str, of: Of) -> String {
    let said = Said::read(&format!("#\t{about}\n{COLUMNS}")).expect("lines of an agent");
    table(&said, Style::default(), None, of)
}

#[test]
fn no_rows_are_said_with_why_and_what_to_do() {
    for (about, of, why, what) in [
        ("status\thealthy\trows\t0", Of::Agent, "nothing carried yet, or it is hidden", "doctor"),
        ("status\tdegraded\trows\t0", Of::Agent, "the agent is degraded", "doctor"),
        ("status\thealthy\trows\t0", Of::Meanwhile, "nothing was carried, or it is hidden", "doctor"),
        ("status\tdegraded\trows\t0", Of::Recording, "the recording has no traffic of this host", "-local-cidrs"),
        ("status\thealthy\trows\t7", Of::Agent, "none of 7 rows matches", "match, class and scope"),
    ] {
        let text = shown(about, of);
        assert!(text.contains(why) && text.contains(what), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(of != Of::Agent || text.trim().len() <= 80, "it stands in a terminal of 80 columns: {text}");
    }
}
