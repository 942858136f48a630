use super::*;

#[test]
fn f8_the_place_is_host_port_and_proxy() {
    let of = |url: &str| Peer::of(url, None).to_string();
    assert_eq!(of("https://dakr.example.com/base"), "dakr.example.com:443");
    assert_eq!(of("http://user:hunter2@dakr.example.com"), "dakr.example.com:80");
    assert_eq!(of("https://[fd00::1]"), "[fd00::1]:443");
    assert_eq!(of("https://[fd00::1]:8443/x"), "[fd00::1]:8443");
    let proxy = Proxy::parse("http://me:hunter2@proxy:3128", "HTTPS_PROXY").expect("a proxy");
    let shown = Peer::of("https://dakr.example.com", Some(&proxy)).to_string();
    assert_eq!(shown, "dakr.example.com:443 by proxy http://proxy:3128 (HTTPS_PROXY)");
}

#[test]
fn f8_no_message_is_in_the_words_of_the_library() {
    let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    let address = "192.0.2.1:443".parse().expect("an address");
    let words = in_words(&NetError::Connect(address, false, refused).into());
    assert_eq!(words, "nothing listens at 192.0.2.1:443 (connection refused)");
    let unreachable = io::Error::from_raw_os_error(nix::libc::ENETUNREACH);
    let words = in_words(&NetError::Connect(address, true, unreachable).into());
    assert_eq!(words, "cannot connect to proxy 192.0.2.1:443: network is unreachable");
    let words = in_words(&ureq::Error::Timeout(ureq::Timeout::Global));
    assert_eq!(words, "no answer in time");
}
