use super::*;

#[test]
fn a_token_that_would_break_the_header_is_refused() {
    assert_eq!(checked_token(b" abc.def-_\n", "x"), Ok(Secret("abc.def-_".to_owned())));
    for bad in [&b""[..], b"\n", b"a\r\nX-Evil: 1", b"a b", "t\u{f6}ken".as_bytes(), b"\xff\xfe"] {
        let error = checked_token(bad, "the file").expect_err("no token");
        assert!(!error.contains("Evil"), "a token appears in no message");
    }
}

#[test]
fn secrets_are_not_printed() {
    assert_eq!(format!("{:?}", Secret("hush".to_owned())), "Secret");
    assert_eq!(format!("{:?}", Material::Text(b"hush".to_vec())), "Text");
}
