use super::*;

#[test]
fn distances_by_hand() {
    let cases =
        [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("ab", "ba", 2)];
    for (a, b, d) in cases {
        assert_eq!((distance(a, b), distance(b, a)), (d, d), "{a} {b}");
    }
}

#[test]
fn only_what_is_near_is_meant() {
    let names = ["read-interval", "record", "standalone"];
    let meant = |wrong| nearest(wrong, names.iter().copied());
    assert_eq!(meant("read-intervall"), Some("read-interval"));
    assert_eq!(meant("readinterval"), Some("read-interval"));
    assert_eq!(meant("stand-alone"), Some("standalone"));
    assert_eq!(meant("recrod"), Some("record"));
    assert_eq!(meant("verbose"), None);
    assert_eq!(meant(""), None);
    assert_eq!(meant(&"x".repeat(1_000_000)), None);
}
