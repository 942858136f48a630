//! gRPC-Web, binary (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md>).

use super::envelope::{self, TRAILERS};
use super::{Answer, Reply};

/// 200 with one envelope that holds the message and one that holds the trailers, or the status among the headers.
pub fn answer(reply: &Reply) -> Answer {
    let content_type = reply.content_type();
    if reply.status != 200 || !(content_type == "application/grpc-web" || content_type == "application/grpc-web+proto")
    {
        return Answer::Foreign;
    }
    match read(reply) {
        Ok(Some(message)) => Answer::Ok(message),
        Ok(None) => Answer::Unreadable,
        Err(error) => error,
    }
}

fn read(reply: &Reply) -> Result<Option<Vec<u8>>, Answer> {
    // "Trailers-Only": an error may come without a body, its status among the headers, which count for nothing else.
    if reply.body.is_empty() {
        envelope::status(|name| reply.header(name))?;
    }
    let (mut message, mut succeeded) = (None, false);
    for (flags, bytes) in envelope::envelopes(&reply.body).ok_or(Answer::Unreadable)? {
        let bytes = envelope::unpacked(reply, flags, bytes).ok_or(Answer::Unreadable)?;
        if flags & TRAILERS == 0 {
            if message.replace(bytes).is_some() {
                return Err(Answer::Unreadable);
            }
            continue;
        }
        // A block of HTTP/1 header lines, names in lower case.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let line = |name: &str| {
            let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
            pairs.find(|(n, _)| n.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        succeeded = envelope::status(line)?;
    }
    Ok(message.filter(|_| succeeded))
}
