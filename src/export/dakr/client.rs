//! One call of a DAKR procedure: the headers that DAKR knows us by, the token, the framing, and what the end of it was.
//!
//! Knows nothing of when to call or what to do with the outcome.

use super::framing::{Answer, Framing, Reply};
use super::outcome::{SendEnd, date_ns, retry_after_ns};
use super::token::Token;
use super::transport::{Call, Failure, Transport};
use crate::clock::{MS, Now};
use crate::logging::Rare;
use crate::{COMMIT, VERSION};

/// Calls procedures.
pub struct Client<T> {
    transport: T,
    token: Token,
    clock: Box<dyn Fn() -> Now + Send>,
    /// Reused for request bodies.
    wire: Vec<u8>,
    /// Limits the log of a token file that cannot be read.
    unread: Rare,
}

impl<T: Transport> Client<T> {
    /// Over `transport`, as the bearer of `token`.
    pub fn new(transport: T, token: Token, clock: impl Fn() -> Now + Send + 'static) -> Client<T> {
        Client { transport, token, clock: Box::new(clock), wire: Vec::new(), unread: Rare::new() }
    }

    pub fn now(&self) -> Now {
        (self.clock)()
    }

    /// Calls the procedure at `path` with an encoded message, to be over by `until_ns` on the monotonic clock. Returns
    /// how it ended, and that in words which hold no secret.
    pub fn call(
        &mut self,
        path: &str,
        framing: Framing,
        message: &[u8],
        batch: Option<String>,
        until_ns: u64,
    ) -> (SendEnd, String) {
        if let Err(error) = self.token.refresh() {
            if self.token.is_missing() {
                return (
                    SendEnd::Unsent,
                    format!("{}: nothing is sent without a token: {error}", self.transport.peer()),
                );
            }
            log::debug!("{error}");
        }
        let timeout_ms = until_ns.saturating_sub(self.now().mono_ns).div_ceil(MS).max(1);
        let mut headers = framing.request(message, timeout_ms, &mut self.wire);
        headers.push(("authorization", self.token.authorization()));
        // As the incumbent introduces itself, for the server may know operators by these.
        headers.push(("x-client", format!("zxporter/{VERSION}")));
        headers.push(("x-operator-type", "zxporter".to_owned()));
        headers.push(("x-operator-version", VERSION.to_owned()));
        headers.push(("x-operator-git-sha", COMMIT.to_owned()));
        headers.push(("user-agent", format!("zxporter-netmon/{VERSION}")));
        headers.extend(batch.map(|batch| ("x-netmon-batch", batch)));
        let sent = self.transport.send(&Call { path, headers: &headers, body: &self.wire }, until_ns);
        let placed = |cause: &str| self.token.redacted(&format!("{}: {cause}", self.transport.peer()));
        match sent {
            Err(Failure::Unsent(cause)) => (SendEnd::Unsent, placed(&cause)),
            Err(Failure::Unknown(cause)) => (SendEnd::NoAnswer, placed(&cause)),
            Ok(reply) => {
                let answer = framing.answer(&reply);
                let cause = placed(&in_words(&reply, &answer));
                // The server's own clock where it says so: ours may be set wrong.
                let wall_ns = reply.header("date").and_then(date_ns).unwrap_or_else(|| self.now().wall_ns);
                let retry_after_ns = reply.header("retry-after").and_then(|value| retry_after_ns(value, wall_ns));
                (SendEnd::Answered { status: reply.status, answer, retry_after_ns }, cause)
            }
        }
    }

    /// Reads the token's file, whether it changed or not: DAKR refused the one that we have.
    pub fn reread_token(&mut self) {
        let now = self.now();
        if let Err(error) = self.token.reread()
            && let Some(suppressed) = self.unread.allow(now)
        {
            log::warn!("{} refuses our token, and a new one cannot be had: {error}{suppressed}", self.transport.peer());
        }
    }

    /// Whom it talks to, for the log.
    pub fn peer(&self) -> String {
        self.transport.peer()
    }
}

/// An answer in a few words, for health and log: never longer than a line, whatever the server sends.
fn in_words(reply: &Reply, answer: &Answer) -> String {
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).take(200).collect::<String>();
    match answer {
        Answer::Ok(_) => format!("HTTP {}", reply.status),
        Answer::Error { code, message } => format!("{}: {} (HTTP {})", code.as_str(), clean(message), reply.status),
        Answer::Unreadable => format!("HTTP {} with an unreadable body", reply.status),
        Answer::Foreign => {
            let kind = clean(reply.header("content-type").unwrap_or("no content type"));
            format!("HTTP {} with {kind}, not an answer of DAKR", reply.status)
        }
    }
}
