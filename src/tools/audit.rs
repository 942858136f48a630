//! `zxporter-netmon audit`: the equation of this node's uplinks (rule 19), from the series of the agent that runs here.
//!
//! Knows the text of `/metrics`, and nothing of how the agent comes to it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use crate::audit::equation::Part;
use crate::clock;
use crate::config::duration;
use crate::config::tools::Given;

/// An unexplained share that closes the books: 0.1 %, or so many bytes.
const PERMILLE: u64 = 1;
const FEW_BYTES: u64 = 64 << 10;
/// For each step of a question.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest answer that is read.
const MAX_ANSWER_BYTES: u64 = 64 << 20;
const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);

/// What one direction of one uplink carried, and the parts in the order of [`Part::ALL`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Side {
    bytes: u64,
    parts: [u64; Part::ALL.len()],
}

/// By interface and direction.
type Sides = BTreeMap<(String, String), Side>;

/// Status 0 where the books close, 1 where they do not, 2 for a wrong value, 3 where the agent does not answer.
pub fn run(given: &Given) -> ExitCode {
    let wrong = |name: &str, want: &str| {
        eprintln!("zxporter-netmon: audit: invalid value for -{name}: want {want}");
        ExitCode::from(2)
    };
    let address = match given.word("address").map(str::parse) {
        None => DEFAULT_ADDRESS,
        Some(Ok(address)) => address,
        Some(Err(_)) => return wrong("address", "an address and a port, such as 127.0.0.1:8081"),
    };
    let window = match given.word("for").map(duration::parse) {
        None => None,
        Some(Some(ns)) => Some(ns),
        Some(None) => return wrong("for", "a duration, such as 60s"),
    };
    match sides_of(address, window) {
        Err(error) => {
            eprintln!("zxporter-netmon: audit: cannot ask the agent at {address}: {error} (-address)");
            ExitCode::from(3)
        }
        Ok(sides) => {
            let text = if given.word("format") == Some("json") { json(&sides) } else { table(&sides) };
            match io::stdout().lock().write_all(text.as_bytes()) {
                Ok(()) if closes(&sides) => ExitCode::SUCCESS,
                Ok(()) | Err(_) => ExitCode::FAILURE,
            }
        }
    }
}

/// Since the audit began, or over a window from now on.
fn sides_of(address: SocketAddr, window_ns: Option<u64>) -> io::Result<Sides> {
    let first = parse(&ask(address)?)?;
    let Some(window_ns) = window_ns else { return Ok(first) };
    clock::sleep_ns(window_ns);
    Ok(since(parse(&ask(address)?)?, &first))
}

fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // Version 1.0, so that the answer is what follows the head, up to the end.
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).unwrap_or("no status");
    match answer.split_once("\r\n\r\n") {
        Some((_, body)) if status == "200" => Ok(body.to_owned()),
        _ => Err(io::Error::other(format!("/metrics says {}", status.escape_default()))),
    }
}

/// The text of one label of a series.
fn label<'a>(series: &'a str, name: &str) -> Option<&'a str> {
    let from = series.split_once(&format!("{name}=\""))?.1;
    Some(from.split_once('"')?.0)
}

fn parse(metrics: &str) -> io::Result<Sides> {
    let mut sides = Sides::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let is_whole = series.starts_with("netmon_interface_bytes_total{");
        if !is_whole && !series.starts_with("netmon_reconciled_bytes_total{") {
            continue;
        }
        let (Some(interface), Some(flow), Ok(value)) =
            (label(series, "interface"), label(series, "flow"), value.parse::<u64>())
        else {
            continue;
        };
        let side = sides.entry((interface.to_owned(), flow.to_owned())).or_default();
        if is_whole {
            side.bytes = value;
        } else if let Some(part) = label(series, "part")
            && let Some(at) = Part::ALL.iter().position(|known| known.as_str() == part)
        {
            side.parts[at] = value;
        }
    }
    match sides.is_empty() {
        true => Err(io::Error::other("it audits no uplink yet")),
        false => Ok(sides),
    }
}

/// What came since; a counter that fell is of another agent, and stands as it is.
fn since(now: Sides, then: &Sides) -> Sides {
    let difference = |(key, mut side): ((String, String), Side)| {
        if let Some(before) = then.get(&key).filter(|before| before.bytes <= side.bytes) {
            side.bytes -= before.bytes;
            side.parts.iter_mut().zip(before.parts).for_each(|(part, before)| *part = part.saturating_sub(before));
        }
        (key, side)
    };
    now.into_iter().map(difference).collect()
}

/// Bytes of all uplinks, and those that are not explained.
fn sums(sides: &Sides) -> (u64, u64) {
    let unexplained = |side: &Side| side.parts[Part::Unexplained as usize];
    sides.values().fold((0, 0), |(bytes, open), side| {
        (bytes.saturating_add(side.bytes), u64::saturating_add(open, unexplained(side)))
    })
}

fn closes(sides: &Sides) -> bool {
    let (bytes, unexplained) = sums(sides);
    unexplained < FEW_BYTES || unexplained < bytes / 1_000 * PERMILLE
}

/// In percent, with three decimals.
fn percent(part: u64, whole: u64) -> String {
    let thousandths = u128::from(part) * 100_000 / u128::from(whole.max(1));
    format!("{}.{:03} %", thousandths / 1_000, thousandths % 1_000)
}

fn table(sides: &Sides) -> String {
    let mut text = String::new();
    for ((interface, flow), side) in sides {
        let _ = writeln!(text, "{interface} {flow}: {} bytes", side.bytes);
        for (part, bytes) in Part::ALL.iter().zip(side.parts) {
            if bytes > 0 || *part == Part::Unexplained {
                let _ = writeln!(text, "  {:<13} {bytes:>20}  {:>9}", part.as_str(), percent(bytes, side.bytes));
            }
        }
    }
    let (bytes, unexplained) = sums(sides);
    let verdict = if closes(sides) { "the books close" } else { "the books do not close" };
    let _ = writeln!(text, "{verdict}: {unexplained} of {bytes} bytes unexplained, {}", percent(unexplained, bytes));
    text
}

fn json(sides: &Sides) -> String {
    let side = |((interface, flow), side): (&(String, String), &Side)| {
        let parts: serde_json::Map<String, serde_json::Value> =
            Part::ALL.iter().zip(side.parts).map(|(part, bytes)| (part.as_str().to_owned(), bytes.into())).collect();
        serde_json::json!({ "interface": interface, "flow": flow, "bytes": side.bytes, "parts": parts })
    };
    let (bytes, unexplained) = sums(sides);
    let all: Vec<serde_json::Value> = sides.iter().map(side).collect();
    let whole = serde_json::json!({
        "interfaces": all, "bytes": bytes, "unexplained": unexplained, "closes": closes(sides),
    });
    format!("{whole}\n")
}

#[cfg(test)]
mod tests;
