use super::*;

#[test]
fn a_token_is_not_printed() {
    assert_eq!(format!("{:?}", Auth::Token(Secret("hush".to_owned()))), "Token(Secret)");
}
