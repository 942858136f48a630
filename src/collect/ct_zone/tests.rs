use super::*;

fn sweep(choice: &mut CtZoneChoice, zones: &[u16]) -> Option<u16> {
    for ct_zone in zones {
        if choice.asks(*ct_zone) {
            choice.note_local(*ct_zone);
        }
    }
    choice.end_sweep(true)
}

#[test]
fn rule_7_zone_0_if_it_holds_a_local_end() {
    let mut choice = CtZoneChoice::new(CtZone::Auto);
    assert_eq!(sweep(&mut choice, &[5, 5, 5, 0]), None);
    assert!(choice.counts(0) && !choice.counts(5) && !choice.only_elsewhere());
}

#[test]
fn rule_7_else_the_zone_with_the_most_and_of_equals_the_lowest() {
    let mut choice = CtZoneChoice::new(CtZone::Auto);
    assert_eq!(sweep(&mut choice, &[]), None, "an empty table decides nothing");
    assert!(choice.counts(0));
    assert_eq!(sweep(&mut choice, &[9, 7, 7, 9, 3]), Some(7));
    assert_eq!(sweep(&mut choice, &[0, 0]), None, "decided once");
    assert!(choice.only_elsewhere(), "and health says so when the local ends are elsewhere");
}

#[test]
fn rule_7_not_before_owners_are_known() {
    let mut choice = CtZoneChoice::new(CtZone::Auto);
    choice.note_local(7);
    assert_eq!(choice.end_sweep(false), None);
    assert_eq!(sweep(&mut choice, &[7]), Some(7));
}

#[test]
fn a_given_zone_is_kept() {
    let mut choice = CtZoneChoice::new(CtZone::Fixed(3));
    assert_eq!(sweep(&mut choice, &[0, 0]), None);
    assert!(choice.counts(3) && choice.only_elsewhere());
}
