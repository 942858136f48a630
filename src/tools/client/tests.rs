use std::io::{Read, Write};
use std::net::TcpListener;

use super::*;

/// Answers one request with these bytes.
fn served(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut request = [0; 1024];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(answer);
    });
    address
}

fn said(answer: &'static [u8]) -> Result<String, String> {
    let address = served(answer);
    get(&address, "/x", 5).map_err(|error| error.to_string().replace(&address, "HERE"))
}

#[test]
fn an_answer_is_whole_or_an_error() {
    let cut = Err("cannot read the answer of HERE: it is cut, or of no agent (-address HOST:PORT)".to_owned());
    assert_eq!(said(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"), Ok("abc".to_owned()));
    assert_eq!(said(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc"), cut);
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n000003\r\nabc\r\n01\r\nd\r\n0\r\n\r\n";
    assert_eq!(said(chunked), Ok("abcd".to_owned()));
    assert_eq!(said(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n000003\r\nabc\r\n"), cut);
    assert_eq!(said(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc\r\n0\r\n\r\n"), cut);
    assert_eq!(said(b"SSH-2.0-OpenSSH_9.2\r\n"), cut);
    assert_eq!(said(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\xff"), cut);
    let refused = said(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nno.\r\n");
    assert_eq!(refused, Err("HERE refuses: no.".to_owned()));
}

#[test]
fn who_is_not_there_is_named_with_the_way_out() {
    let error = get("127.0.0.1:1", "/", 5).expect_err("nobody listens there").to_string();
    assert_eq!(error, "nothing listens at 127.0.0.1:1 (is an agent running? -address HOST:PORT asks another)");
    assert_eq!(get("nonsense", "/", 5).expect_err("no port").to_string(), "-address \"nonsense\" is no HOST:PORT");
}

#[test]
fn the_agents_own_flag_says_where_it_is_asked() {
    assert_eq!(address(Some("10.0.0.1:99")), "10.0.0.1:99");
    assert_eq!(address(Some(":99")), "127.0.0.1:99");
    assert_eq!(address(Some("[::]:99")), "127.0.0.1:99");
    assert_eq!(bound(&["-standalone", "--metrics-bind-address=:9", "-x"]), Some(":9"));
    assert_eq!(bound(&["-metrics-bind-address", "1.2.3.4:5"]), Some("1.2.3.4:5"));
    assert_eq!(bound(&["-metrics-bind-address"]), None);
    assert_eq!(bound(&["-metrics-bind-address-x", "y", "metrics-bind-address=z"]), None);
}
