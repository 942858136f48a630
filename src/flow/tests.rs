use super::*;

#[test]
fn the_key_has_no_padding() {
    assert_eq!(std::mem::size_of::<ConnectionKey>(), 44);
}
