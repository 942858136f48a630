use super::*;

fn parsed(text: &str) -> Option<(String, Option<String>)> {
    Proxy::parse(text, "HTTPS_PROXY").ok().map(|proxy| (proxy.to_string(), proxy.credentials))
}

#[test]
fn f7_a_proxy_is_read_with_its_user_and_shown_without() {
    let shown = |text: &str| parsed(text).map(|(shown, _)| shown);
    for (text, wanted) in [
        ("proxy", "http://proxy:80"),
        ("proxy:3128", "http://proxy:3128"),
        ("10.0.0.1:3128", "http://10.0.0.1:3128"),
        ("HTTP://proxy:3128/", "http://proxy:3128"),
        ("https://proxy", "https://proxy:443"),
        ("http://[fd00::1]:3128", "http://[fd00::1]:3128"),
        ("http://proxy:", "http://proxy:80"),
    ] {
        assert_eq!(shown(text).as_deref(), Some(wanted), "{text}");
    }
    let user = |text: &str| parsed(text).and_then(|(shown, user)| (!shown.contains("pa")).then_some(user)?);
    assert_eq!(user("http://me:pa%20ss%40@proxy:1").as_deref(), Some("me:pa ss@"));
    assert_eq!(user("me:pass@proxy").as_deref(), Some("me:pass"));
    assert_eq!(user("http://me@proxy").as_deref(), Some("me:"));
    for bad in [
        ":::::",
        "http://",
        "http:///x",
        "http://:3128",
        "http://proxy:x",
        "http://proxy:0",
        "http://proxy:65536",
        "socks5://proxy:1080",
        "foo://proxy",
        "http://a b",
        "http://me:%zz@proxy",
        "http://me:%0a@proxy",
        " ",
    ] {
        assert_eq!(parsed(bad), None, "{bad:?}");
    }
}

#[test]
fn f7_a_value_that_cannot_be_used_is_named_and_not_shown() {
    let environment = |name: &str| (name == "https_proxy").then(|| "foo://me:hunter2@proxy".to_owned());
    let error = route("https://dakr.example.com", &environment).expect_err("an unknown scheme").to_string();
    assert!(error.contains("https_proxy") && error.contains("http://") && !error.contains("hunter2"), "{error}");
    assert_eq!(route("http://dakr.example.com", &environment), Ok(Route::Direct), "it is for https:// alone");
}
