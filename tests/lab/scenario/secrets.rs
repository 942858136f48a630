//! The agent speaks at trace level, libraries included, and pushes with a token and with credentials in DAKR's URL, in
//! vain and with success; DAKR repeats the token in its refusals. Neither stands in the log, on a page or on the
//! command line, and the API server's token does not either.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::agent::{Agent, eventually};
use crate::api::{self, Api};
use crate::dakr::{Mood, TOKEN, TRAFFIC};
use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::rows::{Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("secrets", "credentials", run).only(&[Source::Netfilter]);

const EXPECTED: &[Row] = &[Row::outbound("pod shop/web", P1, REMOTE_POD, tcp(8080))];

const PASSWORD: &str = "hunter2";
/// Part of DAKR's token and the whole of the API server's.
const PART: &str = api::TOKEN;
/// What ureq and rustls say, and the agent itself.
const SAID: [&str; 4] = ["Return to pool: ", "Try wrap in TLS", "Sending ClientHello", "DAKR took 1 items"];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    let mut api = Api::start_tls(lab, Some(tls()));
    let url = lab.dakr.url.replace("http://", &format!("http://user:{PASSWORD}@"));
    lab.dakr.set_mood(Mood::Refuse);
    let agent = lab.agent_in_cluster(&api)?.environment("DAKR_URL", &url).environment("RUST_LOG", "trace").ready()?;
    let since_s = (netmon::clock::now().wall_ns / netmon::clock::SECOND) as i64;
    api.list(&[api::pod("web", 1, &[P1], since_s - 600)])?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 20, 100, 3_000))?;
    for mood in [Mood::Refuse, Mood::TakeAndFail] {
        lab.dakr.set_mood(mood);
        let before = pushes(lab);
        eventually("pushes are refused", Duration::from_secs(20), || {
            if pushes(lab) > before { Ok(()) } else { Err("none came".to_owned()) }
        })?;
        says_nothing(&agent)?;
    }
    lab.dakr.set_mood(Mood::Take);
    let truth = lab.truth()?;
    lab.shows(&agent, EXPECTED, &truth)?;
    says_nothing(&agent)?;
    let log = agent.log_file();
    lab.delivers(agent, EXPECTED, &truth)?;
    let log = std::fs::read_to_string(log).map_err(|e| format!("no log: {e}"))?;
    let dumped = dumped(&log);
    for secret in [TOKEN, PART, PASSWORD] {
        if let Some(line) = log.lines().find(|line| line.contains(secret)) {
            return Err(format!("{secret} stands in the log: {line}"));
        }
        if dumped.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()) {
            return Err(format!("{secret} stands in a dump of the log"));
        }
    }
    // The released binary has no traces in it, and then no secrets in them.
    if std::env::var_os("LAB_BINARY").is_none() {
        for said in SAID {
            if !log.contains(said) {
                return Err(format!("the log does not hold {said:?}, so it proves nothing"));
            }
        }
    }
    Ok(())
}

/// The bytes of what looks like a dump, `6461 6b72 2d--`, for a secret may begin on one line and end on the next.
fn dumped(log: &str) -> Vec<u8> {
    let is_pair = |word: &&str| word.len() == 4 && word.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    let of_line = |line: &str| -> String {
        let said = line.split_once("] ").map_or(line, |(_, said)| said);
        let words: Vec<&str> = said.split(' ').take_while(is_pair).collect();
        if words.len() < 4 { String::new() } else { words.concat() }
    };
    let digits: String = log.lines().map(of_line).collect();
    let pairs = digits.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok());
    pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}

fn pushes(lab: &Lab) -> usize {
    lab.dakr.requests().iter().filter(|request| request.path == TRAFFIC).count()
}

/// Every page, and the command line.
fn says_nothing(agent: &Agent<'_>) -> Result<(), String> {
    let mut said = vec![("the command line".to_owned(), agent.command_line()?)];
    for (path, accept, want) in [
        ("/", "*/*", 200),
        ("/flows", "*/*", 200),
        ("/metrics", "text/plain", 200),
        ("/metrics", "application/json", 200),
        ("/healthz", "*/*", 200),
        ("/readyz", "*/*", 200),
        ("/x", "*/*", 404),
    ] {
        let (status, body) = agent.get_as(path, accept)?;
        if status != want || body.is_empty() {
            return Err(format!("{path} says {status}, {} bytes", body.len()));
        }
        said.push((format!("{path} as {accept}"), body));
    }
    for (place, text) in said {
        if let Some(secret) = [TOKEN, PART, PASSWORD].iter().find(|secret| text.contains(**secret)) {
            return Err(format!("{secret} stands in {place}: {text}"));
        }
    }
    Ok(())
}

/// A certificate of its own.
fn tls() -> Arc<ServerConfig> {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).expect("a key");
    let chain = vec![CertificateDer::from(own.cert)];
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the default versions");
    Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).expect("they fit"))
}
