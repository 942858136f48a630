use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

use super::*;

#[test]
fn known_moments() {
    assert_eq!(rfc3339_ns("1970-01-01T00:00:00Z"), Some(0));
    assert_eq!(rfc3339_ns("2000-02-29T12:34:56Z"), Some(951_827_696 * SECOND));
    assert_eq!(rfc3339_ns("2026-11-24T10:00:00.25+02:00"), Some(1_795_507_200 * SECOND + 250_000_000));
    for bad in
        ["", "2026", "2026-02-29T00:00:00Z", "2026-11-24T10:00:00", "2026-11-24T10:00:00.Z", "2026-13-01T00:00:00Z"]
    {
        assert_eq!(rfc3339_ns(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn agrees_with_the_full_types(ns in 0u64..7_000_000_000_000_000_000) {
        let text = Timestamp::from_nanosecond(i128::from(ns)).expect("in range").to_string();
        prop_assert_eq!(rfc3339_ns(&text), Some(ns));
    }

    #[test]
    fn survives_any_text(text in ".{0,40}") {
        let _ = rfc3339_ns(&text);
    }
}
