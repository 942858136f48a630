use super::*;

#[test]
fn the_settings_of_both_generations_are_found() {
    let said = |text| (find(text).accounting, find(text).is_of_sums);
    assert_eq!(said(r#"{"Opts":{"map":{"ConntrackAccounting":1,"Debug":0}}}"#), (Accounting::On, false));
    assert_eq!(said(r#"{"Opts":{"map":{"ConntrackAccounting":0}}}"#), (Accounting::Off, false));
    assert_eq!(said(r#"{"BPFConntrackAccounting":false,"X":1}"#), (Accounting::Off, true));
    assert_eq!(said(r#"{"BPFConntrackAccounting": true}"#), (Accounting::On, true));
    assert_eq!(said("not JSON"), (Accounting::Unknown, false));
}
