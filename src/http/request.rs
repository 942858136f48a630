//! Request heads: bytes to a method, a path and what `Accept` asks for.
//!
//! RFC 9112 as far as five GET routes need it. Knows no routes and does no I/O. Everything that is not a plain GET or
//! HEAD is refused with a status, so a peer that speaks another protocol gets an answer it can show.

/// Bytes of a request head at most, the empty line included.
pub const HEAD_BYTES: usize = 2048;
/// Header lines at most.
const MAX_HEADERS: usize = 48;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Whether only the head of the answer is wanted.
    pub head_only: bool,
    /// Whether the peer speaks HTTP/1.1, and so understands chunks.
    pub chunks: bool,
    /// The path, as it came: nothing is decoded or made shorter, for routes are compared exactly.
    pub path: &'a str,
    /// What follows the question mark, empty if nothing does.
    pub query: &'a str,
    /// What `Accept` asks for.
    pub accept: Accept,
}

/// The format that a client asks for on `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accept {
    /// No preference that we know.
    #[default]
    Any,
    /// `application/json`.
    Json,
    /// `text/plain`, as Prometheus does.
    Text,
}

/// What can be said of the bytes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// More is needed.
    Partial,
    /// The head is whole. Bytes after it are not looked at.
    Whole(Request<'a>),
    /// It will not be answered.
    Refused(Refusal),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No HTTP/1.x request.
    Malformed,
    /// A body is announced.
    Body,
    /// Neither GET nor HEAD.
    Method,
    /// More than [`HEAD_BYTES`], or too many lines.
    TooLarge,
}

/// Reads a request head. The verdict on some bytes is also the verdict on any longer input that begins with them,
/// except that `Partial` may become anything; so it does not matter in what pieces a request arrives.
pub fn parse(bytes: &[u8]) -> Parsed<'_> {
    let seen = bytes.get(..HEAD_BYTES).unwrap_or(bytes);
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    match head.parse(seen) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) if seen.len() == HEAD_BYTES => return Parsed::Refused(Refusal::TooLarge),
        Ok(httparse::Status::Partial) => return Parsed::Partial,
        Err(httparse::Error::TooManyHeaders) => return Parsed::Refused(Refusal::TooLarge),
        Err(_) => return Parsed::Refused(Refusal::Malformed),
    }
    let (Some(method), Some(target), Some(version)) = (head.method, head.path, head.version) else {
        return Parsed::Refused(Refusal::Malformed);
    };
    // An absolute form or an asterisk is for proxies and OPTIONS.
    if !target.starts_with('/') {
        return Parsed::Refused(Refusal::Malformed);
    }
    let mut accept = Preference::default();
    for header in head.headers.iter() {
        let named = |name: &str| header.name.eq_ignore_ascii_case(name);
        if named("transfer-encoding") || (named("content-length") && header.value != b"0") {
            return Parsed::Refused(Refusal::Body);
        }
        if named("accept") {
            accept.read(header.value);
        }
    }
    let head_only = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Parsed::Refused(Refusal::Method),
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Parsed::Whole(Request { head_only, chunks: version >= 1, path, query, accept: accept.verdict() })
}

/// Weights that `Accept` gives to the two formats we have, in thousandths (RFC 9110 12.4.2).
#[derive(Default)]
struct Preference {
    json: u16,
    text: u16,
}

impl Preference {
    fn read(&mut self, value: &[u8]) {
        for range in value.split(|b| *b == b',') {
            let mut parts = range.split(|b| *b == b';').map(<[u8]>::trim_ascii);
            let media = parts.next().unwrap_or_default();
            let weight =
                parts.find_map(|p| p.strip_prefix(b"q=").or_else(|| p.strip_prefix(b"Q="))).map_or(1000, weight);
            if media.eq_ignore_ascii_case(b"application/json") {
                self.json = self.json.max(weight);
            } else if media.eq_ignore_ascii_case(b"text/plain") {
                self.text = self.text.max(weight);
            }
        }
    }

    fn verdict(&self) -> Accept {
        match (self.json, self.text) {
            (0, 0) => Accept::Any,
            (json, text) if json >= text => Accept::Json,
            _ => Accept::Text,
        }
    }
}

/// `0.5` to 500; what is no weight is 1.
fn weight(text: &[u8]) -> u16 {
    let number = std::str::from_utf8(text).ok().and_then(|t| t.parse::<f32>().ok());
    number.filter(|n| (0.0..=1.0).contains(n)).map_or(1000, |n| (n * 1000.0) as u16)
}

#[cfg(test)]
mod tests {
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
        assert_eq!(
            (request.path, request.query, request.head_only, request.chunks),
            ("/flows", "limit=5", false, true)
        );
        let request = whole(b"HEAD / HTTP/1.0\r\n\r\n");
        assert_eq!((request.path, request.query, request.head_only, request.chunks), ("/", "", true, false));
        assert_eq!(parse(b"GET / HTTP/1.1\r\nHost: a\r\n"), Parsed::Partial);
        assert_eq!(parse(b""), Parsed::Partial);
    }

    #[test]
    fn a_path_is_taken_as_it_came() {
        assert_eq!(whole(b"GET /%00 HTTP/1.1\r\n\r\n").path, "/%00");
        assert_eq!(whole(b"GET /../flows HTTP/1.1\r\n\r\n").path, "/../flows");
    }

    #[test]
    fn what_is_no_plain_get_is_refused() {
        let malformed: [&[u8]; 12] = [
            b"GET /\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"GET /\0 HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: \0\r\n\r\n",
            b"GET / HTTP/1.1\rHost: a\r\r",
            b"\x80\x81\x82\x83",
            b"GET http://a/flows HTTP/1.1\r\n\r\n",
            b"GET * HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET / HTTP/3.7\r\n\r\n",
            b"GET / flows HTTP/1.1\r\n\r\n",
        ];
        for bytes in malformed {
            assert_eq!(parse(bytes), Parsed::Refused(Refusal::Malformed), "{}", bytes.escape_ascii());
        }
        assert_eq!(parse(b"POST / HTTP/1.1\r\n\r\n"), Parsed::Refused(Refusal::Method));
        assert_eq!(parse(b"GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\n"), Parsed::Refused(Refusal::Body));
        assert_eq!(parse(b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"), Parsed::Refused(Refusal::Body));
        assert_eq!(whole(b"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n").path, "/");
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
            let head = format!("GET /metrics HTTP/1.1\r\nAccept: {value}\r\n\r\n");
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

    /// Bytes that often look like a request.
    fn requests() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"GET /flows HTTP/1.1\r\n".to_vec()),
            Just(b"HEAD /?a=b HTTP/1.0\n".to_vec()),
            Just(b"POST / HTTP/1.1\r\n".to_vec()),
            Just(b"Accept: application/json\r\n".to_vec()),
            Just(b"Content-Length: 7\r\n".to_vec()),
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
}
