use super::*;

#[test]
fn a_file_goes_before_the_environment_and_is_read_again_when_it_changes() {
    let directory = std::env::temp_dir().join(format!("netmon-token-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    let file = directory.join("token");
    let mut token = Token::new(" from-env\n", Some(file.clone()));
    assert!(token.refresh().is_err());
    assert_eq!(token.authorization(), "Bearer from-env");
    fs::write(&file, "dakr-1\n").expect("written");
    token.refresh().expect("read");
    assert_eq!(token.authorization(), "Bearer dakr-1");
    // As Kubernetes replaces a mounted secret: another file under the same name.
    fs::write(directory.join("next"), "dakr-2").expect("written");
    fs::rename(directory.join("next"), &file).expect("renamed");
    token.refresh().expect("read");
    assert_eq!(token.authorization(), "Bearer dakr-2");
    for bad in ["", " \n", "dakr-3\r\nX-Evil: 1", "dakr-\u{fc}", "two words"] {
        fs::write(&file, bad).expect("written");
        let error = token.reread().expect_err("not a token").to_string();
        assert!(!error.contains("dakr-") && !error.contains("Evil"), "{error}");
        assert_eq!(token.authorization(), "Bearer dakr-2");
    }
    fs::remove_dir_all(&directory).expect("removed");
}

#[test]
fn the_token_is_never_shown() {
    let token = Token::new("dakr-secret", None);
    assert!(!format!("{token:?}").contains("secret"));
    assert_eq!(token.redacted("bad token dakr-secret!"), "bad token (token)!");
}
