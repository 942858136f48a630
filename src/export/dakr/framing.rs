//! Encodes a message as an HTTP/1.1 request and decodes the answer, in Connect unary, gRPC-Web or gRPC framing.
//!
//! Pure functions over bytes and headers. Knows nothing of sockets, of what the message holds, or of what to do with
//! an answer. All three go to the same path and differ by content type; sources: <https://connectrpc.com/docs/protocol>,
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md> and `PROTOCOL-WEB.md` beside it.

mod connect;
mod envelope;
mod grpc;
mod grpc_web;

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::listed;

/// Size limit of an answer, compressed and decompressed. Known answers have two bytes.
pub const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Messages from this size on are compressed.
const MIN_GZIP_BYTES: usize = 1024;

listed! {
    /// A framing of unary calls, in the order in which they are tried.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Framing {
        /// Connect unary: the bare message as the body.
        Connect => "connect",
        /// gRPC-Web: the message in an envelope, trailers as a last envelope of the answer.
        GrpcWeb => "grpc-web",
        /// gRPC over HTTP/1.1: the same envelope, trailers in the HTTP trailers, which ureq drops.
        Grpc => "grpc",
    }
}

impl Framing {
    /// Writes the request body that carries `message` to `body` and returns the headers that go with it. The server is
    /// told to give up after `timeout_ms`.
    pub fn request(self, message: &[u8], timeout_ms: u64, body: &mut Vec<u8>) -> Vec<(&'static str, String)> {
        body.clear();
        match self {
            Framing::Connect => connect::request(message, timeout_ms, body),
            Framing::GrpcWeb => envelope::request("application/grpc-web+proto", message, timeout_ms, body),
            Framing::Grpc => grpc::request(message, timeout_ms, body),
        }
    }

    /// Decodes `reply` in this framing.
    pub fn answer(self, reply: &Reply) -> Answer {
        let answer = match self {
            Framing::Connect => connect::answer(reply),
            Framing::GrpcWeb => grpc_web::answer(reply),
            Framing::Grpc => grpc::answer(reply),
        };
        match answer {
            // The part that came may read well by chance.
            Answer::Ok(_) if reply.cut => Answer::Unreadable,
            answer => answer,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as received.
    pub body: Vec<u8>,
    /// Whether the body ended early, or was more than [`MAX_ANSWER_BYTES`].
    pub cut: bool,
}

impl Reply {
    /// The first header of this (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.trim())
    }

    /// The content type in lower case, without parameters; empty if there is none.
    fn content_type(&self) -> String {
        let value = self.header("content-type").unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }
}

/// A decoded answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Success, with the response message.
    Ok(Vec<u8>),
    /// The server's own error.
    Error {
        code: Code,
        /// What it says about it.
        message: String,
    },
    /// Not an answer in this framing: the HTTP status is all that there is.
    Foreign,
    /// An answer in this framing that is cut, garbled or empty.
    Unreadable,
}

macro_rules! codes {
    ($( $number:literal $name:literal $variant:ident, )*) => {
        /// The error codes that Connect and gRPC share.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code { $( $variant = $number, )* }

        impl Code {
            /// All of them, by number.
            #[cfg(not(alone))]
            pub const ALL: &[Code] = &[ $( Code::$variant, )* ];

            /// By its name in Connect.
            pub fn from_name(name: &str) -> Option<Code> {
                match name { $( $name => Some(Code::$variant), )* _ => None }
            }

            /// By its number in gRPC.
            pub fn from_number(number: u32) -> Option<Code> {
                match number { $( $number => Some(Code::$variant), )* _ => None }
            }

            /// Its name in Connect.
            pub fn as_str(self) -> &'static str {
                match self { $( Code::$variant => $name, )* }
            }
        }
    };
}

codes! {
    1 "canceled" Canceled,
    2 "unknown" Unknown,
    3 "invalid_argument" InvalidArgument,
    4 "deadline_exceeded" DeadlineExceeded,
    5 "not_found" NotFound,
    6 "already_exists" AlreadyExists,
    7 "permission_denied" PermissionDenied,
    8 "resource_exhausted" ResourceExhausted,
    9 "failed_precondition" FailedPrecondition,
    10 "aborted" Aborted,
    11 "out_of_range" OutOfRange,
    12 "unimplemented" Unimplemented,
    13 "internal" Internal,
    14 "unavailable" Unavailable,
    15 "data_loss" DataLoss,
    16 "unauthenticated" Unauthenticated,
}

/// Appends `message`, compressed if that pays; says whether it is.
fn put_compressed(message: &[u8], out: &mut Vec<u8>) -> bool {
    let before = out.len();
    if message.len() >= MIN_GZIP_BYTES {
        let mut encoder = GzEncoder::new(&mut *out, Compression::default());
        // Writing to a Vec cannot fail; if it ever did, the message goes as it is.
        if encoder.write_all(message).and_then(|()| encoder.try_finish()).is_ok() {
            drop(encoder);
            return true;
        }
        drop(encoder);
        out.truncate(before);
    }
    out.extend_from_slice(message);
    false
}

/// Unpacks a gzip member, but never more than [`MAX_ANSWER_BYTES`].
fn gunzip(packed: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut limited = GzDecoder::new(packed).take(MAX_ANSWER_BYTES as u64 + 1);
    limited.read_to_end(&mut out).ok()?;
    (out.len() <= MAX_ANSWER_BYTES).then_some(out)
}

/// Undoes a content or message encoding.
fn decoded(encoding: Option<&str>, bytes: &[u8]) -> Option<Vec<u8>> {
    match encoding {
        None | Some("" | "identity") => Some(bytes.to_vec()),
        Some("gzip") => gunzip(bytes),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests;
