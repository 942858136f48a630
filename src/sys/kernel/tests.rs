use super::*;

#[test]
fn kernel_releases_are_compared_by_number() {
    assert_eq!(version("6.1.0-28-cloud-amd64"), Some((6, 1)));
    assert_eq!(version("5.4"), Some((5, 4)));
    assert_eq!(version("unknown"), None);
    assert!(version("5.9.1").expect("numbers") < (5, 10));
}
