//! The client that connectrpc's conformance runner judges (`script/conformance`): reads calls from the standard input,
//! makes each of them with the push's own client, framings and transport, and writes what came of it.
//!
//! Each message is protobuf after its length in four bytes, big end first, as
//! `connectrpc/conformance/v1/client_compat.proto` of the runner has it. What the push does not look at is read here,
//! so that the rest of a case counts: metadata, error details, and the code that the protocols give to an HTTP status.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use netmon::clock::{self, MS, SECOND};
use netmon::export::dakr::client::Client;
use netmon::export::dakr::framing::{Answer, Code, Framing, Reply};
use netmon::export::dakr::outcome::SendEnd;
use netmon::export::dakr::token::Token;
use netmon::export::dakr::transport::{Call, Failure, Http, Transport};
use prost::Message;
use prost_types::Any;
use serde::Deserialize;

/// What a call without a time limit has, as a push.
const TIMEOUT_MS: u32 = 15_000;

/// The runner's number for gzip.
const GZIP: i32 = 2;

/// More than the size from which the push compresses.
const PADDING_BYTES: usize = 2000;

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, tag = "1")]
    test_name: String,
    #[prost(int32, tag = "3")]
    protocol: i32,
    #[prost(int32, tag = "5")]
    compression: i32,
    #[prost(string, tag = "6")]
    host: String,
    #[prost(uint32, tag = "7")]
    port: u32,
    #[prost(bytes = "vec", tag = "8")]
    server_tls_cert: Vec<u8>,
    #[prost(string, tag = "11")]
    service: String,
    #[prost(string, tag = "12")]
    method: String,
    #[prost(message, repeated, tag = "15")]
    headers: Vec<Header>,
    #[prost(message, repeated, tag = "16")]
    messages: Vec<Any>,
    #[prost(uint32, optional, tag = "17")]
    timeout_ms: Option<u32>,
    #[prost(message, optional, tag = "19")]
    cancel: Option<Cancel>,
}

#[derive(Clone, PartialEq, Message)]
struct Cancel {
    #[prost(uint32, optional, tag = "2")]
    after_close_send_ms: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, repeated, tag = "2")]
    values: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(string, tag = "1")]
    test_name: String,
    #[prost(message, optional, tag = "2")]
    result: Option<CallResult>,
    #[prost(message, optional, tag = "3")]
    cannot: Option<Cannot>,
}

#[derive(Clone, PartialEq, Message)]
struct Cannot {
    #[prost(string, tag = "1")]
    message: String,
}

#[derive(Clone, PartialEq, Message)]
struct CallResult {
    #[prost(message, repeated, tag = "1")]
    headers: Vec<Header>,
    /// A payload goes back to the runner as it came.
    #[prost(bytes = "vec", repeated, tag = "2")]
    payloads: Vec<Vec<u8>>,
    #[prost(message, optional, tag = "3")]
    error: Option<CallError>,
    #[prost(message, repeated, tag = "4")]
    trailers: Vec<Header>,
    #[prost(int32, optional, tag = "6")]
    http_status: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct CallError {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, optional, tag = "2")]
    message: Option<String>,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// The answer of every unary procedure: one payload.
#[derive(Clone, PartialEq, Message)]
struct Answered {
    #[prost(bytes = "vec", optional, tag = "1")]
    payload: Option<Vec<u8>>,
}

/// `google.rpc.Status`, for its details.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// The push's transport, with the case's headers on top; keeps what came.
struct Recording {
    http: Http,
    headers: Vec<(&'static str, String)>,
    /// Whether the case has a time limit. The push always has one and tells it; here the header is left out without.
    limited: bool,
    reply: Arc<Mutex<Option<Reply>>>,
}

impl Transport for Recording {
    fn send(&mut self, call: &Call<'_>, until_ns: u64) -> Result<Reply, Failure> {
        let mut headers = [call.headers, &self.headers].concat();
        headers.retain(|(name, _)| self.limited || !matches!(*name, "connect-timeout-ms" | "grpc-timeout"));
        let reply = self.http.send(&Call { path: call.path, headers: &headers, body: call.body }, until_ns)?;
        *self.reply.lock().expect("whole") = Some(reply.clone());
        Ok(reply)
    }
}

fn main() {
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut len = [0; 4];
    while input.read_exact(&mut len).is_ok() {
        let mut bytes = vec![0; u32::from_be_bytes(len) as usize];
        input.read_exact(&mut bytes).expect("a whole request");
        let request = Request::decode(&bytes[..]).expect("a request");
        let mut response = Response { test_name: request.test_name.clone(), ..Response::default() };
        match call(&request) {
            Ok(result) => response.result = Some(result),
            Err(message) => response.cannot = Some(Cannot { message }),
        }
        let bytes = response.encode_to_vec();
        let len = u32::try_from(bytes.len()).expect("short");
        output.write_all(&len.to_be_bytes()).and_then(|()| output.write_all(&bytes)).expect("the runner reads");
        output.flush().expect("the runner reads");
    }
}

fn call(request: &Request) -> Result<CallResult, String> {
    let framing = match request.protocol {
        1 => Framing::Connect,
        3 => Framing::GrpcWeb,
        other => return Err(format!("protocol {other} is not in the configuration")),
    };
    let [message] = &request.messages[..] else { return Err("not a unary call".to_owned()) };
    let tls = !request.server_tls_cert.is_empty();
    let ca_file = tls.then(|| std::env::temp_dir().join(format!("conformance-{}.pem", std::process::id())));
    if let Some(file) = &ca_file {
        std::fs::write(file, &request.server_tls_cert).map_err(|error| error.to_string())?;
    }
    let base = format!("{}://{}:{}", if tls { "https" } else { "http" }, request.host, request.port);
    let http = Http::new(&base, ca_file.as_deref(), None);
    let flight = http.flight();
    // The names of an agent's headers are constants; these few leak.
    let headers = request.headers.iter().flat_map(|header| {
        let name: &'static str = header.name.clone().leak();
        header.values.iter().map(move |value| (name, value.clone()))
    });
    let reply = Arc::new(Mutex::new(None));
    let limited = request.timeout_ms.is_some();
    let recording = Recording { http, headers: headers.collect(), limited, reply: reply.clone() };
    let mut client = Client::new(recording, Token::new("conformance", None), clock::now);
    let path = format!("/{}/{}", request.service, request.method);

    let until_ns = clock::now().mono_ns + u64::from(request.timeout_ms.unwrap_or(TIMEOUT_MS)) * MS;
    let cancel_ms = request.cancel.as_ref().and_then(|cancel| cancel.after_close_send_ms);
    let cancelling = cancel_ms.map(|ms| {
        std::thread::spawn(move || {
            // There is no hook at the end of the request; a small one on loopback has left well before.
            clock::sleep_ns(u64::from(ms) * MS + SECOND / 20);
            flight.set_ceiling(0);
        })
    });
    let mut message = message.value.clone();
    if request.compression == GZIP {
        message.splice(0..0, padding());
    }
    let (end, cause) = client.call(&path, framing, &message, None, until_ns);
    if let Some(thread) = cancelling {
        let _ = thread.join();
    }
    if let Some(file) = &ca_file {
        let _ = std::fs::remove_file(file);
    }

    let reply: Option<Reply> = reply.lock().expect("whole").take();
    let error =
        |code: Code, message: String| CallError { code: code as i32, message: Some(message), details: Vec::new() };
    let mut result = CallResult::default();
    if let Some(reply) = &reply {
        result.http_status = Some(i32::from(reply.status));
        (result.headers, result.trailers) = metadata(framing, reply);
    }
    // Whether it was ours to end: no answer, or half of one.
    let ended = reply.as_ref().is_none_or(|reply| reply.cut);
    result.error = match end {
        _ if ended && cancel_ms.is_some() => Some(error(Code::Canceled, cause)),
        _ if ended && clock::now().mono_ns >= until_ns => Some(error(Code::DeadlineExceeded, cause)),
        SendEnd::Answered { answer: Answer::Ok(message), .. } => match Answered::decode(&message[..]) {
            Ok(answered) => {
                result.payloads = vec![answered.payload.unwrap_or_default()];
                None
            }
            Err(cause) => Some(error(Code::Internal, cause.to_string())),
        },
        SendEnd::Answered { answer: Answer::Error { code, message }, .. } => {
            let details = reply.as_ref().map(|reply| details(framing, reply, &result.trailers)).unwrap_or_default();
            Some(CallError { details, ..error(code, message) })
        }
        SendEnd::Answered { answer: Answer::Unreadable, .. } => Some(error(Code::Internal, cause)),
        SendEnd::Answered { answer: Answer::Foreign, status, .. } => Some(error(code_of_status(status), cause)),
        SendEnd::Unsent | SendEnd::NoAnswer => Some(error(Code::Unavailable, cause)),
    };
    Ok(result)
}

/// What makes a message large enough for the push to compress it and says nothing: the field `request_data` (2) of every
/// unary request twice, of which protobuf takes the last, the empty one, unless the message itself brings another.
fn padding() -> Vec<u8> {
    #[derive(Clone, PartialEq, Message)]
    struct Data {
        #[prost(bytes = "vec", tag = "2")]
        request_data: Vec<u8>,
    }
    let mut bytes = Data { request_data: vec![b'x'; PADDING_BYTES] }.encode_to_vec();
    bytes.extend_from_slice(&[2 << 3 | 2, 0]);
    bytes
}

/// The code for an answer that is not in the protocol at all, as both protocols' documents have it.
fn code_of_status(status: u16) -> Code {
    match status {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

/// Headers and trailers.
fn metadata(framing: Framing, reply: &Reply) -> (Vec<Header>, Vec<Header>) {
    let (mut headers, mut trailers) = (Vec::new(), Vec::new());
    for (name, value) in &reply.headers {
        match name.strip_prefix("trailer-").filter(|_| framing == Framing::Connect) {
            Some(name) => add(&mut trailers, name, value),
            None => add(&mut headers, name, value),
        }
    }
    let mut body = &reply.body[..];
    while framing == Framing::GrpcWeb
        && let Some((&[flags, a, b, c, d], rest)) = body.split_first_chunk::<5>()
        && let Some((bytes, rest)) = rest.split_at_checked(u32::from_be_bytes([a, b, c, d]) as usize)
    {
        let mut text = Vec::new();
        match flags {
            0x80 => text.extend_from_slice(bytes),
            0x81 => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut text)),
            _ => {}
        }
        for (name, value) in String::from_utf8_lossy(&text).lines().filter_map(|line| line.split_once(':')) {
            add(&mut trailers, &name.trim().to_ascii_lowercase(), value.trim());
        }
        body = rest;
    }
    // An error whose status stands among the headers has no other trailers.
    if framing != Framing::Connect && reply.body.is_empty() {
        trailers.clone_from(&headers);
    }
    (headers, trailers)
}

fn add(to: &mut Vec<Header>, name: &str, value: &str) {
    match to.iter_mut().find(|header| header.name == name) {
        Some(header) => header.values.push(value.to_owned()),
        None => to.push(Header { name: name.to_owned(), values: vec![value.to_owned()] }),
    }
}

/// The details of an error, which the push has no use for.
fn details(framing: Framing, reply: &Reply, trailers: &[Header]) -> Vec<Any> {
    #[derive(Deserialize)]
    struct Detail {
        r#type: String,
        value: String,
    }
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        details: Vec<Detail>,
    }
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let base64 = GeneralPurpose::new(&base64::alphabet::STANDARD, config);
    if framing == Framing::Connect {
        let mut json = Vec::new();
        match reply.header("content-encoding") {
            Some("gzip") => drop(flate2::read::GzDecoder::new(&reply.body[..]).read_to_end(&mut json)),
            _ => json.extend_from_slice(&reply.body),
        }
        let body = serde_json::from_slice::<Body>(&json).map(|body| body.details).unwrap_or_default();
        let any = |detail: Detail| {
            let value = base64.decode(detail.value).ok()?;
            Some(Any { type_url: format!("type.googleapis.com/{}", detail.r#type), value })
        };
        return body.into_iter().filter_map(any).collect();
    }
    let status = trailers.iter().find(|header| header.name == "grpc-status-details-bin");
    let bytes = status.and_then(|header| base64.decode(header.values.first()?).ok()).unwrap_or_default();
    Status::decode(&bytes[..]).unwrap_or_default().details
}
