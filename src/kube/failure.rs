//! Converts what a request failed with to a [`Failure`]: errors of `ureq` and `rustls`, answers and events that refuse.

use std::io::{self, Read};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use rustls::{AlertDescription, CertificateError};
use ureq::Body;
use ureq::http::{Response, header};

use super::decode::{ReadError, is_too_large, read_status};
use super::watch::Failure;
use crate::clock::{Now, SECOND};
use crate::net::trouble::in_words;

/// Bytes read of an answer that reports a failure.
const REFUSAL_MAX_BYTES: u64 = 64 << 10;
/// Characters of it that a message repeats.
const MESSAGE_MAX_CHARS: usize = 240;

/// Converts an error while reading a body.
pub fn broken(error: ReadError) -> Failure {
    match error {
        ReadError::CutShort => Failure::Network("the answer is truncated within an object".to_owned()),
        ReadError::Unreadable(why) => Failure::Unreadable(printable(&why)),
        ReadError::Read(error) if error.kind() == io::ErrorKind::FileTooLarge => Failure::Unreadable(error.to_string()),
        ReadError::Read(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
            Some(inner) => failure(inner),
            None => failure(&ureq::Error::Io(error)),
        },
    }
}

/// Converts a `Status` in the stream.
pub fn told(status: &Status) -> Failure {
    let retry_after_seconds = status.details.as_ref().and_then(|details| details.retry_after_seconds);
    let retry_after_ns = retry_after_seconds.and_then(|s| u64::try_from(s).ok()).map(|s| s.saturating_mul(SECOND));
    let code = status.code.and_then(|code| u16::try_from(code).ok()).filter(|code| *code != 0);
    let code = code.unwrap_or(match status.reason.as_deref().unwrap_or_default() {
        "Expired" | "Gone" => 410,
        "TooManyRequests" => 429,
        "Unauthorized" => 401,
        "Forbidden" => 403,
        "ServiceUnavailable" => 503,
        "Timeout" | "ServerTimeout" => 504,
        _ => 500,
    });
    judged(code, status, retry_after_ns)
}

fn judged(code: u16, status: &Status, retry_after_ns: Option<u64>) -> Failure {
    let message = printable(status.message.as_deref().or(status.reason.as_deref()).unwrap_or_default());
    match (code, status.reason.as_deref().unwrap_or_default()) {
        _ if is_too_large(status) => Failure::TooLarge,
        (410, _) | (_, "Expired" | "Gone") => Failure::Gone,
        // Older servers report it only in the text.
        _ if message.contains("too old resource version") => Failure::Gone,
        (401, _) => Failure::Unauthorized,
        (403, _) => Failure::Forbidden(message),
        (429, _) => Failure::Overloaded { retry_after_ns },
        (500..=599, _) => Failure::Server { code, retry_after_ns, message },
        _ => Failure::Refused { code, message },
    }
}

/// Converts an answer that reports a failure.
pub(super) fn refusal(response: Response<Body>, now: Now) -> Failure {
    let code = response.status().as_u16();
    let head = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    // The server's own clock where it says so: ours may be set wrong.
    let wall_ns = head(header::DATE).and_then(date_ns).unwrap_or(now.wall_ns);
    let retry_after_ns = head(header::RETRY_AFTER).and_then(|text| retry_after_ns(text, wall_ns));
    let mut body = Vec::new();
    let whole = response.into_body().into_reader().take(REFUSAL_MAX_BYTES).read_to_end(&mut body);
    let mut status = read_status(&body);
    if status.message.is_none() && whole.is_ok() && !body.starts_with(b"{") {
        status.message = Some(String::from_utf8_lossy(&body).into_owned());
    }
    judged(code, &status, retry_after_ns)
}

/// Parses seconds, as Kubernetes sends them, or a date (RFC 9110 10.2.3). Anything else keeps the usual back-off.
fn retry_after_ns(text: &str, wall_ns: u64) -> Option<u64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.saturating_mul(SECOND));
    }
    Some(date_ns(text)?.saturating_sub(wall_ns))
}

fn date_ns(text: &str) -> Option<u64> {
    let at = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(at.as_secs().saturating_mul(SECOND))
}

pub(super) fn failure(error: &ureq::Error) -> Failure {
    match error {
        ureq::Error::Timeout(ureq::Timeout::PerRead) => Failure::Idle,
        ureq::Error::Rustls(error) => tls_failure(error),
        ureq::Error::Io(io) => match io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(inner) => tls_failure(inner),
            None => Failure::Network(printable(&in_words(error))),
        },
        other => Failure::Network(printable(&in_words(other))),
    }
}

fn tls_failure(error: &rustls::Error) -> Failure {
    use CertificateError::{BadSignature, Expired, ExpiredContext, NotValidYet, NotValidYetContext, UnknownIssuer};
    match error {
        rustls::Error::InvalidCertificate(why) => match why {
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. } => {
                Failure::Clock(printable(&why.to_string()))
            }
            // A new authority with the old name looks like a bad signature of the old authority.
            UnknownIssuer | BadSignature => {
                Failure::Tls("the server's certificate is not from our certificate authority".to_owned())
            }
            other => Failure::Tls(printable(&other.to_string())),
        },
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied,
        ) => Failure::Credentials(format!("the server refuses our client certificate: {error}")),
        other => Failure::Tls(printable(&other.to_string())),
    }
}

/// Converts a server's text to one line of bounded length, for log and health.
pub(super) fn printable(text: &str) -> String {
    let mut line: String = text.chars().take(MESSAGE_MAX_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.truncate(line.trim_end().len());
    line
}
