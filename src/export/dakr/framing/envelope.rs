//! The common part of gRPC and gRPC-Web: length-prefixed envelopes and the status.

use super::{Answer, Code, Reply, put_compressed};

/// The envelope is compressed.
pub const COMPRESSED: u8 = 1;
/// The envelope holds trailers (gRPC-Web).
pub const TRAILERS: u8 = 0x80;

/// The message in one envelope: a byte of flags, its length in four bytes, itself.
pub fn request(content_type: &str, message: &[u8], timeout_ms: u64, body: &mut Vec<u8>) -> Vec<(&'static str, String)> {
    body.extend_from_slice(&[0; 5]);
    let compressed = put_compressed(message, body);
    let len = u32::try_from(body.len() - 5).unwrap_or(u32::MAX);
    body[0] = u8::from(compressed);
    body[1..5].copy_from_slice(&len.to_be_bytes());
    let mut headers = vec![
        ("content-type", content_type.to_owned()),
        ("grpc-accept-encoding", "gzip".to_owned()),
        // At most eight digits and a unit; 'm' is milliseconds.
        ("grpc-timeout", format!("{}m", timeout_ms.min(99_999_999))),
    ];
    if compressed {
        headers.push(("grpc-encoding", "gzip".to_owned()));
    }
    headers
}

/// The envelopes of a body, as flags and bytes; `None` if the last is cut.
pub fn envelopes(mut body: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut found = Vec::new();
    while !body.is_empty() {
        let (head, rest) = body.split_at_checked(5)?;
        let &[flags, a, b, c, d] = head else { return None };
        let (bytes, rest) = rest.split_at_checked(u32::from_be_bytes([a, b, c, d]) as usize)?;
        found.push((flags, bytes));
        body = rest;
    }
    Some(found)
}

/// The error that `grpc-status` names, looked up by `header`. `Ok(true)` if it says success, `Ok(false)` if it is
/// missing.
pub fn status<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Result<bool, Answer> {
    let Some(status) = header("grpc-status") else { return Ok(false) };
    match status.trim().parse::<u32>() {
        Ok(0) => Ok(true),
        // A number that does not exist is `unknown`, as gRPC says of numbers that a client does not know.
        Ok(number) => Err(Answer::Error {
            code: Code::from_number(number).unwrap_or(Code::Unknown),
            message: percent_decoded(header("grpc-message").unwrap_or_default()),
        }),
        Err(_) => Err(Answer::Unreadable),
    }
}

/// The only encoding that envelopes of an answer may name.
pub fn unpacked(reply: &Reply, flags: u8, bytes: &[u8]) -> Option<Vec<u8>> {
    match flags & COMPRESSED {
        0 => Some(bytes.to_vec()),
        _ => super::decoded(reply.header("grpc-encoding").filter(|e| *e == "gzip").or(Some("unnamed")), bytes),
    }
}

/// `grpc-message` is percent-encoded UTF-8; what is not is taken as it is.
#[allow(clippy::cast_possible_truncation, reason = "two hexadecimal digits")]
fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes().iter();
    while let Some(&byte) = bytes.next() {
        let hex = |b: Option<&u8>| b.and_then(|b| (*b as char).to_digit(16));
        let ahead = bytes.as_slice();
        match (byte, hex(ahead.first()), hex(ahead.get(1))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                bytes.nth(1);
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
