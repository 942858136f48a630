use super::*;
use proptest::prelude::*;

fn whole(bytes: &[u8]) -> Request<'_> {
    match parse(bytes) {
        Parsed::Whole(request) => request,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_get_gives_path_query_and_version() {
    let request = whole(b"GET /flows?limit=5 HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\nGET /next");
    assert_eq!((request.path, request.query, request.head_only, request.chunks), ("/flows", "limit=5", false, true));
    let request = whole(b"HEAD / HTTP/1.0\r\n\r\n");
    assert_eq!((request.path, request.query, request.head_only, request.chunks), ("/", "", true, false));
    assert_eq!(parse(b"GET / HTTP/1.1\r\nHost: a\r\n"), Parsed::Partial);
    assert_eq!(parse(b""), Parsed::Partial);
}

#[test]
fn a_path_is_taken_as_it_came() {
    assert_eq!(whole(b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n").path, "/%00");
    assert_eq!(whole(b"GET /../flows HTTP/1.1\r\nHost: x\r\n\r\n").path, "/../flows");
}

#[test]
fn what_is_no_plain_get_is_refused() {
    let malformed: [&[u8]; 12] = [
        b"GET /\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: \0\r\n\r\n",
        b"GET / HTTP/1.1\rHost: a\r\r",
        b"\x80\x81\x82\x83",
        b"GET https://a/flows HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/3.7\r\n\r\n",
        b"GET / flows HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    for bytes in malformed {
        assert_eq!(parse(bytes), Parsed::Refused(Refusal::Malformed), "{}", bytes.escape_ascii());
    }
    assert_eq!(parse(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n"), Parsed::Refused(Refusal::Method));
    assert_eq!(parse(b"GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\n"), Parsed::Refused(Refusal::Body));
    assert_eq!(parse(b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"), Parsed::Refused(Refusal::Body));
    assert_eq!(whole(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").path, "/");
}

#[test]
fn a_head_that_is_too_long_is_refused_as_soon_as_that_is_known() {
    let mut endless = b"GET /".to_vec();
    endless.resize(HEAD_BYTES - 1, b'a');
    assert_eq!(parse(&endless), Parsed::Partial);
    endless.push(b'a');
    assert_eq!(parse(&endless), Parsed::Refused(Refusal::TooLarge));
    let many = [b"GET / HTTP/1.1\r\n".to_vec(), b"a:b\r\n".repeat(MAX_HEADERS + 1)].concat();
    assert_eq!(parse(&many), Parsed::Refused(Refusal::TooLarge));
}

#[test]
fn accept_is_read_with_its_weights() {
    let accept = |value: &str| {
        let head = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {value}\r\n\r\n");
        match parse(head.as_bytes()) {
            Parsed::Whole(request) => request.accept,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(accept("application/json"), Accept::Json);
    assert_eq!(accept("Application/JSON; q=0.5, */*"), Accept::Json);
    assert_eq!(accept("text/html, */*;q=0.1"), Accept::Any);
    assert_eq!(accept("application/json;q=0"), Accept::Any);
    assert_eq!(accept("text/plain, application/json;q=0.9"), Accept::Text);
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    assert_eq!(accept(prometheus), Accept::Text);
    assert_eq!(accept("application/json;q=banana"), Accept::Json);
}

/// RFC 9112: one Host, absolute form, and room for the cookies of a browser.
#[test]
fn f22_hosts_forms_and_cookies() {
    let host = |target: &str, lines: &str| {
        let head = format!("GET {target} HTTP/1.1\r\n{lines}\r\n");
        match parse(head.as_bytes()) {
            Parsed::Whole(request) => Ok((request.host.to_owned(), format!("{}?{}", request.path, request.query))),
            Parsed::Refused(refusal) => Err(refusal),
            Parsed::Partial => panic!("{head}"),
        }
    };
    let asked = |host: &str, target: &str| Ok((host.to_owned(), target.to_owned()));
    assert_eq!(host("/a?b=c", "Host: node-a:8081\r\n"), asked("node-a", "/a?b=c"));
    assert_eq!(host("/", "hOST:  [fd00::1]:8081 \r\n"), asked("fd00::1", "/?"));
    assert_eq!(host("/", "Host: 10.0.0.1\r\n"), asked("10.0.0.1", "/?"));
    // The absolute form goes before the header.
    assert_eq!(host("http://b:1/flows?limit=1", "Host: a\r\n"), asked("b", "/flows?limit=1"));
    assert_eq!(host("HTTP://[::1]", "Host: a\r\n"), asked("::1", "/?"));
    assert_eq!(host("http://b?limit=1", "Host: a\r\n"), asked("b", "/?limit=1"));
    for (target, lines) in [
        ("/", ""),
        ("/", "Host: a\r\nHost: a\r\n"),
        ("/", "Host: a b\r\n"),
        ("/", "Host: a:b\r\n"),
        ("/", "Host: [a]\r\n"),
        ("/", "Host: [::1\r\n"),
        ("/", "Host: a/b\r\n"),
        ("http://b/", ""),
        ("http:///flows", "Host: a\r\n"),
        ("http://u@b/flows", "Host: a\r\n"),
        ("ftp://b/flows", "Host: a\r\n"),
    ] {
        assert_eq!(host(target, lines), Err(Refusal::Malformed), "{target} {lines}");
    }
    let cookies = format!("Host: localhost\r\nCookie: {}\r\n", "a".repeat(7_000));
    assert_eq!(host("/", &cookies), asked("localhost", "/?"));
    assert_eq!(host("/", &format!("{cookies}Cookie: {}\r\n", "a".repeat(2_000))), Err(Refusal::TooLarge));
}

/// Bytes that often look like a request.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"GET /flows HTTP/1.1\r\n".to_vec()),
        Just(b"HEAD /?a=b HTTP/1.0\n".to_vec()),
        Just(b"POST / HTTP/1.1\r\n".to_vec()),
        Just(b"Accept: application/json\r\n".to_vec()),
        Just(b"Content-Length: 7\r\n".to_vec()),
        Just(b"Host: x\r\n".to_vec()),
        Just(b"X: y\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\n".to_vec()),
        Just(vec![b'a'; 900]),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn the_pieces_in_which_it_arrives_do_not_matter(bytes in requests()) {
        let verdict = parse(&bytes);
        // The first verdict that is not `Partial` while bytes trickle in is the verdict on all of them.
        let first = (0..=bytes.len()).map(|n| parse(&bytes[..n])).find(|v| *v != Parsed::Partial);
        prop_assert_eq!(first.unwrap_or(Parsed::Partial), verdict);
    }
}
