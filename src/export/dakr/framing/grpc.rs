//! gRPC over HTTP/1.1, the incumbent's framing: its Go client never switches HTTP/2 on.
//!
//! Its status travels in HTTP trailers, which ureq drops. One complete envelope is success; an error is an empty body
//! whose reason we cannot see, unless the server puts it among the headers.

use super::envelope::{self, TRAILERS};
use super::{Answer, Reply};

/// The message in one envelope.
pub fn request(message: &[u8], timeout_ms: u64, body: &mut Vec<u8>) -> Vec<(&'static str, String)> {
    let mut headers = envelope::request("application/grpc", message, timeout_ms, body);
    // Servers refuse gRPC without it.
    headers.push(("te", "trailers".to_owned()));
    headers
}

/// 200 with one envelope.
pub fn answer(reply: &Reply) -> Answer {
    let content_type = reply.content_type();
    if reply.status != 200 || !(content_type == "application/grpc" || content_type == "application/grpc+proto") {
        return Answer::Foreign;
    }
    if let Err(error) = envelope::status(|name| reply.header(name)) {
        return error;
    }
    let message = envelope::envelopes(&reply.body).and_then(|all| match all[..] {
        [(flags, bytes)] if flags & TRAILERS == 0 => envelope::unpacked(reply, flags, bytes),
        _ => None,
    });
    message.map_or(Answer::Unreadable, Answer::Ok)
}
