use super::*;

#[test]
fn trouble_degrades_and_its_end_heals() {
    let (health, mut teller) = (Health::default(), Teller::default());
    teller.tell(&Trouble::default(), false, &health);
    assert!(health.components().is_empty(), "nothing is said before the first sweep");
    teller.tell(&Trouble { other_ct_zone: true, ..Trouble::default() }, true, &health);
    assert_eq!(health.overall(), Status::Degraded);
    teller.tell(&Trouble::default(), true, &health);
    assert_eq!(health.components()[0].message, "collecting");
    assert_eq!(health.overall(), Status::Healthy);
}
