//! Connect unary (<https://connectrpc.com/docs/protocol>, "Unary-Request" and "Unary-Response").

use serde::Deserialize;

use super::{Answer, Code, Reply, decoded, put_compressed};

/// The bare message is the body.
pub fn request(message: &[u8], timeout_ms: u64, body: &mut Vec<u8>) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("content-type", "application/proto".to_owned()),
        ("connect-protocol-version", "1".to_owned()),
        // A server compresses its answer as the request was, whatever this says; so we can always unpack.
        ("accept-encoding", "gzip".to_owned()),
        ("connect-timeout-ms", timeout_ms.to_string()),
    ];
    if put_compressed(message, body) {
        headers.push(("content-encoding", "gzip".to_owned()));
    }
    headers
}

/// The JSON body of an error.
#[derive(Deserialize)]
struct ErrorBody {
    code: String,
    #[serde(default)]
    message: Option<String>,
}

/// 200 with the message, or any other status with a JSON error.
pub fn answer(reply: &Reply) -> Answer {
    let content_type = reply.content_type();
    let body = || decoded(reply.header("content-encoding"), &reply.body);
    if reply.status == 200 {
        return match body() {
            _ if content_type != "application/proto" => Answer::Foreign,
            Some(message) => Answer::Ok(message),
            None => Answer::Unreadable,
        };
    }
    if content_type != "application/json" {
        return Answer::Foreign;
    }
    let error = body().and_then(|body| serde_json::from_slice::<ErrorBody>(&body).ok());
    // A code that does not exist leaves the HTTP status to decide.
    match error.and_then(|e| Some((Code::from_name(&e.code)?, e.message))) {
        Some((code, message)) => Answer::Error { code, message: message.unwrap_or_default() },
        None => Answer::Foreign,
    }
}
