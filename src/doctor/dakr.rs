//! DAKR: one message without rows, by the way that the push takes, and what its answer says of the clock.

use std::sync::{Arc, Mutex};

use crate::clock::{self, SECOND};
use crate::config::{Config, Dakr};
use crate::export::dakr::client::Client;
use crate::export::dakr::encode::{self, Header};
use crate::export::dakr::framing::Reply;
use crate::export::dakr::framings::Framings;
use crate::export::dakr::outcome::Outcome;
use crate::export::dakr::push::{SEND_TIMEOUT_NS, TRAFFIC_PATH};
use crate::export::dakr::token::Token;
use crate::export::dakr::transport::{Call, Failure, Http, Transport};
use crate::findings::Finding;

const AREA: &str = "DAKR";
const CLOCK: &str = "clock";
/// Certificates and tokens are given that much; beyond it windows are named wrongly.
const SKEW_NS: u64 = 5 * SECOND;

/// What the push would meet.
pub fn examine(config: &Config) -> Vec<Finding> {
    match &config.dakr {
        Some(dakr) => ask(dakr, &config.node_name),
        None if config.given.iter().any(|(name, _)| *name == "DAKR_URL") => {
            let cure = "CLUSTER_TOKEN, or -token-file";
            vec![Finding::fail(AREA, "DAKR_URL is given and no token: nothing is pushed", cure)]
        }
        None => vec![Finding::ok(AREA, "not wanted: DAKR_URL is not given, and rows are only shown")],
    }
}

fn ask(dakr: &Dakr, node_name: &str) -> Vec<Finding> {
    let mut token = Token::new(&dakr.token, dakr.token_file.clone());
    if let Err(error) = token.refresh() {
        return vec![Finding::fail(AREA, error.to_string(), "-token-file must name a file with the cluster's token")];
    }
    let date = Arc::new(Mutex::new(None));
    let http = Http::new(&dakr.url, dakr.ca_file.as_deref(), dakr.route.proxy().cloned());
    let mut client = Client::new(Dated { http, date: Arc::clone(&date) }, token, clock::now);
    let mut message = Vec::new();
    let header = Header { cluster_id: &dakr.cluster_id, node_name, operator_version: None, operator_commit: None };
    encode::begin(&mut message, &header);
    encode::end(&mut message, &header);
    let mut framings = Framings::new(dakr.protocol);
    let (outcome, words) = loop {
        let until_ns = clock::now().mono_ns + SEND_TIMEOUT_NS;
        let (end, words) = client.call(TRAFFIC_PATH, framings.current(), &message, None, until_ns);
        let outcome = end.outcome();
        if outcome != Outcome::WrongFraming || framings.wrong(0).is_some() {
            break (outcome, words);
        }
    };
    let mut found = vec![judged(outcome, &words, dakr.token_file.is_some())];
    let date = date.lock().unwrap_or_else(|p| p.into_inner()).take();
    found.extend(date.and_then(|date: String| skew(&date, clock::now().wall_ns)));
    found
}

/// What came of it, in a sentence; the words name host, port and proxy already.
fn judged(outcome: Outcome, words: &str, token_is_of_file: bool) -> Finding {
    let token = if token_is_of_file { "the file of -token-file" } else { "CLUSTER_TOKEN" };
    match outcome {
        Outcome::Acknowledged => Finding::ok(AREA, words),
        Outcome::Denied => Finding::fail(AREA, words, format!("is {token} the token of this cluster?")),
        Outcome::NotCounted => {
            Finding::fail(AREA, words, "DAKR_URL, HTTPS_PROXY and NO_PROXY, -ca-file, or a firewall between")
        }
        Outcome::WrongFraming => {
            Finding::fail(AREA, words, "DAKR_URL names another server, or a proxy answers in its place")
        }
        Outcome::Busy => Finding::warn(AREA, words, "it asks for patience; the agent keeps what it refuses"),
        // A message without rows may be what it does not like.
        Outcome::TooLarge | Outcome::Refused => {
            Finding::warn(AREA, format!("{words} (of a message without rows)"), "it was reached, and knows the token")
        }
        Outcome::Unknown => Finding::fail(AREA, words, "see DAKR's log, or the proxy's between"),
    }
}

/// How far our clock is from the server's (RFC 9110 6.6.1).
fn skew(date: &str, wall_ns: u64) -> Option<Finding> {
    let date = httpdate::parse_http_date(date).ok()?;
    let theirs_ns = date.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs().saturating_mul(SECOND);
    // The header has whole seconds.
    let off_ns = wall_ns.abs_diff(theirs_ns).saturating_sub(SECOND);
    Some(if off_ns > SKEW_NS {
        let way = if wall_ns > theirs_ns { "ahead of" } else { "behind" };
        Finding::warn(
            CLOCK,
            format!("{} s {way} DAKR's", off_ns / SECOND + 1),
            "set it (chrony, systemd-timesyncd): certificates, tokens and windows go by it",
        )
    } else {
        Finding::ok(CLOCK, "that of DAKR's")
    })
}

/// A transport that remembers when the server said it was.
struct Dated {
    http: Http,
    date: Arc<Mutex<Option<String>>>,
}

impl Transport for Dated {
    fn send(&mut self, call: &Call<'_>, until_ns: u64) -> Result<Reply, Failure> {
        let reply = self.http.send(call, until_ns)?;
        *self.date.lock().unwrap_or_else(|p| p.into_inner()) = reply.header("date").map(str::to_owned);
        Ok(reply)
    }

    fn peer(&self) -> String {
        self.http.peer()
    }
}

#[cfg(test)]
mod tests;
