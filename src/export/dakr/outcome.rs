//! Which row of the delivery table a send belongs to, from what it ended with.
//!
//! The judgement alone; what follows from it is [`super::retry`]'s.

use super::framing::{Answer, Code};
use crate::clock::SECOND;

/// The longest wait that a server may ask for.
pub const MAX_RETRY_AFTER_NS: u64 = 300 * SECOND;

/// What a send ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendEnd {
    /// It failed before the last byte of the request was written (names, connecting and TLS included).
    Unsent,
    /// The request was written, and no answer came: a timeout, a reset, or bytes that are not HTTP.
    NoAnswer,
    Answered {
        /// Its HTTP status.
        status: u16,
        /// What it says in the framing of the request.
        answer: Answer,
        /// Its `Retry-After`, from now.
        retry_after_ns: Option<u64>,
    },
}

/// The rows of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Acknowledged,
    /// Surely not counted: the network, or a redirect.
    NotCounted,
    /// Not counted: the server asks for patience.
    Busy,
    /// Not counted: the token is not accepted.
    Denied,
    /// Not counted: too large.
    TooLarge,
    /// Not an answer of this framing; what it means depends on whether any framing has worked.
    WrongFraming,
    /// Not counted: the server does not want this.
    Refused,
    /// It may have been counted.
    Unknown,
}

impl SendEnd {
    /// The row that it belongs to. A Connect or gRPC code decides over the HTTP status.
    pub fn outcome(&self) -> Outcome {
        let SendEnd::Answered { status, answer, retry_after_ns } = self else {
            return if *self == SendEnd::Unsent { Outcome::NotCounted } else { Outcome::Unknown };
        };
        match answer {
            Answer::Ok(_) => Outcome::Acknowledged,
            Answer::Unreadable => Outcome::Unknown,
            Answer::Error { code, message } => of_code(*code, message),
            Answer::Foreign => of_status(*status, retry_after_ns.is_some()),
        }
    }
}

fn of_code(code: Code, message: &str) -> Outcome {
    match code {
        // connect-go answers so when a message exceeds its read limit.
        Code::ResourceExhausted if message.contains("larger than") => Outcome::TooLarge,
        Code::ResourceExhausted => Outcome::Busy,
        Code::OutOfRange => Outcome::TooLarge,
        Code::Unauthenticated | Code::PermissionDenied => Outcome::Denied,
        Code::InvalidArgument
        | Code::Unimplemented
        | Code::FailedPrecondition
        | Code::NotFound
        | Code::AlreadyExists => Outcome::Refused,
        Code::Canceled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Outcome::Unknown,
    }
}

fn of_status(status: u16, retry_after: bool) -> Outcome {
    match status {
        200 | 404 | 405 | 415 | 501 | 505 => Outcome::WrongFraming,
        300..=399 => Outcome::NotCounted,
        401 | 403 => Outcome::Denied,
        413 => Outcome::TooLarge,
        429 => Outcome::Busy,
        503 if retry_after => Outcome::Busy,
        408 | 409 | 499 => Outcome::Unknown,
        400..=499 => Outcome::Refused,
        _ => Outcome::Unknown,
    }
}

/// `Retry-After` in nanoseconds from `wall_ns`, at most [`MAX_RETRY_AFTER_NS`]; `None` if it cannot be read.
pub fn retry_after_ns(value: &str, wall_ns: u64) -> Option<u64> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = value.parse::<u64>().unwrap_or(u64::MAX);
        return Some(seconds.saturating_mul(SECOND).min(MAX_RETRY_AFTER_NS));
    }
    Some(date_ns(value)?.saturating_sub(wall_ns).min(MAX_RETRY_AFTER_NS))
}

/// A date of HTTP in nanoseconds since the epoch.
pub fn date_ns(value: &str) -> Option<u64> {
    let date = httpdate::parse_http_date(value.trim()).ok()?;
    let since_epoch = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(since_epoch.as_secs().saturating_mul(SECOND))
}
