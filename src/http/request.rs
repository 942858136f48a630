//! Parses request heads into method, path and accepted format.
//!
//! RFC 9112 as far as five GET routes need it: origin and absolute form, one `Host`. It knows no routes and does no I/O. Everything but a plain GET or HEAD is
//! refused with a status, so that a peer with another protocol gets a readable answer.

/// Largest request head in bytes, including the empty line.
/// A browser sends all cookies of `localhost`, whichever port set them.
pub const HEAD_BYTES: usize = 8192;
/// Largest number of header lines.
const MAX_HEADERS: usize = 48;

/// A parsed request head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Whether the method is HEAD: the answer has no body.
    pub head_only: bool,
    /// Whether the peer speaks HTTP/1.1, and so understands chunks.
    pub chunks: bool,
    /// The path, neither decoded nor normalized, because routes are compared exactly.
    pub path: &'a str,
    /// The part after the question mark; may be empty.
    pub query: &'a str,
    /// The host that was asked for, without its port and brackets; empty where HTTP/1.0 names none.
    pub host: &'a str,
    /// The format that `Accept` prefers.
    pub accept: Accept,
}

/// The format that a client requests on `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accept {
    /// None, or one that we do not have.
    #[default]
    Any,
    /// `application/json`.
    Json,
    /// `text/plain`, as Prometheus requests.
    Text,
}

/// The state of a request head after some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// More bytes are needed.
    Partial,
    /// The head is complete. Later bytes are ignored.
    Whole(Request<'a>),
    /// The request is refused.
    Refused(Refusal),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not an HTTP/1.x request.
    Malformed,
    /// It announces a body.
    Body,
    /// Neither GET nor HEAD.
    Method,
    /// More than [`HEAD_BYTES`], or too many lines.
    TooLarge,
}

/// Parses a request head. A result other than `Partial` also holds for every longer input with the same start. So it
/// does not matter in what pieces a request arrives.
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
    let mut accept = Preference::default();
    let (mut host, mut hosts) = ("", 0);
    for header in head.headers.iter() {
        let named = |name: &str| header.name.eq_ignore_ascii_case(name);
        if named("transfer-encoding") || (named("content-length") && header.value != b"0") {
            return Parsed::Refused(Refusal::Body);
        }
        if named("accept") {
            accept.read(header.value);
        }
        if named("host") {
            let Some(name) = host_of(header.value) else { return Parsed::Refused(Refusal::Malformed) };
            host = name;
            hosts += 1;
        }
    }
    // RFC 9112 3.2: exactly one, which only HTTP/1.0 may leave out.
    if hosts > 1 || (hosts == 0 && version >= 1) {
        return Parsed::Refused(Refusal::Malformed);
    }
    let Some((authority, target)) = parts_of(target) else { return Parsed::Refused(Refusal::Malformed) };
    if let Some(name) = authority {
        host = name;
    }
    let head_only = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Parsed::Refused(Refusal::Method),
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = if path.is_empty() { "/" } else { path };
    Parsed::Whole(Request { head_only, chunks: version >= 1, path, query, host, accept: accept.verdict() })
}

/// Host, if the target names one, and the rest: a path, or in absolute form a whole URL (RFC 9112 3.2.2). The asterisk is
/// for OPTIONS.
fn parts_of(target: &str) -> Option<(Option<&str>, &str)> {
    if target.starts_with('/') {
        return Some((None, target));
    }
    let (scheme, rest) = target.split_once("://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let name = host_of(authority.as_bytes()).filter(|name| !name.is_empty())?;
    scheme.eq_ignore_ascii_case("http").then_some((Some(name), path))
}

/// The name or address in `host[:port]` (RFC 3986 3.2.2), without brackets; `None` where it is none.
fn host_of(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value.trim_ascii()).ok()?;
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (address, if port.is_empty() { "" } else { port.strip_prefix(':')? })
        }
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, ""));
            let is_of_name = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
            (host, host.bytes().all(is_of_name).then_some(port)?)
        }
    };
    port.bytes().all(|b| b.is_ascii_digit()).then_some(host)
}

/// Weights that `Accept` gives to our two formats, in thousandths (RFC 9110 12.4.2).
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

/// Converts `0.5` to 500. A malformed weight counts as 1.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a weight is between 0 and 1,000 here")]
fn weight(text: &[u8]) -> u16 {
    let number = std::str::from_utf8(text).ok().and_then(|t| t.parse::<f32>().ok());
    number.filter(|n| (0.0..=1.0).contains(n)).map_or(1000, |n| (n * 1000.0) as u16)
}

#[cfg(test)]
mod tests;
