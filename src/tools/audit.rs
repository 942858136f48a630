//! `zxporter-netmon audit`: the equation of this node's uplinks (rule 19), as the agent that runs here shows it.
//!
//! Knows the JSON of `/flows`, where a part may fall and be negative, and nothing of how the agent comes to it.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::Value;

use super::client::{self, ClientError};
use crate::audit::equation::Part;
use crate::clock;
use crate::config::duration;
use crate::config::tools::Given;

/// An unexplained share that closes the books: 0.1 %, or so many bytes.
const PERMILLE: u64 = 1;
const FEW_BYTES: u64 = 64 << 10;

/// What one direction of one uplink carried, and the parts in the order of [`Part::ALL`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Side {
    bytes: u64,
    parts: [i64; Part::ALL.len()],
}

/// By interface and direction.
type Sides = BTreeMap<(String, String), Side>;

/// Status 0 where the books close, 1 where they do not, 2 for a wrong value, 3 where the agent does not answer.
pub fn run(given: &Given) -> ExitCode {
    let said = |error: &dyn Display, status| {
        crate::logging::complain(&format_args!("audit: {error}"));
        ExitCode::from(status)
    };
    let window = match given.word("for").map(duration::parse) {
        None => None,
        Some(Some(ns)) => Some(ns),
        Some(None) => return said(&"invalid value for -for: want a duration, such as 60s", 2),
    };
    let address = client::address(given.word("address"));
    match sides_of(&address, window) {
        Err(error @ ClientError::Address(_)) => said(&error, 2),
        Err(error) => said(&error, 3),
        Ok(sides) if sides.is_empty() => said(&format_args!("{}", none(&address)), 3),
        Ok(sides) => {
            let text = if given.word("format") == Some("json") { json(&sides) } else { table(&sides) };
            match io::stdout().lock().write_all(text.as_bytes()) {
                Ok(()) if closes(&sides) => ExitCode::SUCCESS,
                Ok(()) | Err(_) => ExitCode::FAILURE,
            }
        }
    }
}

fn none(address: &str) -> String {
    format!(
        "the agent on {address} audits no uplink: its first sweep is to come (ask again in 5s), or no interface leads out \
         (ip link)"
    )
}

/// Since the audit began, or over a window from now on.
fn sides_of(address: &str, window_ns: Option<u64>) -> Result<Sides, ClientError> {
    let first = ask(address)?;
    let Some(window_ns) = window_ns else { return Ok(first) };
    clock::sleep_ns(window_ns);
    Ok(since(ask(address)?, &first))
}

fn ask(address: &str) -> Result<Sides, ClientError> {
    let flows = client::get(address, "/flows?limit=1", client::PATIENCE_S)?;
    parse(&flows).ok_or_else(|| ClientError::Broken(address.to_owned()))
}

fn parse(flows: &str) -> Option<Sides> {
    let flows: Value = serde_json::from_str(flows).ok()?;
    let mut sides = Sides::new();
    for side in flows["interfaces"].as_array().into_iter().flatten() {
        let text = |name: &str| side[name].as_str().unwrap_or_default().to_owned();
        let parts = Part::ALL.map(|part| side["parts"][part.as_str()].as_i64().unwrap_or(0));
        let bytes = side["bytes"].as_u64().unwrap_or(0);
        sides.insert((text("interface"), text("flow")), Side { bytes, parts });
    }
    Some(sides)
}

/// What came since; a counter that fell is of another agent, and stands as it is.
fn since(now: Sides, then: &Sides) -> Sides {
    let difference = |(key, mut side): ((String, String), Side)| {
        if let Some(before) = then.get(&key).filter(|before| before.bytes <= side.bytes) {
            side.bytes -= before.bytes;
            side.parts.iter_mut().zip(before.parts).for_each(|(part, before)| *part -= before);
        }
        (key, side)
    };
    now.into_iter().map(difference).collect()
}

/// Bytes of all uplinks, and those that are not explained: too many in one are no remedy for too few in another.
fn sums(sides: &Sides) -> (u64, u64) {
    let unexplained = |side: &Side| side.parts[Part::Unexplained as usize].unsigned_abs();
    sides.values().fold((0, 0), |(bytes, open), side| {
        (bytes.saturating_add(side.bytes), u64::saturating_add(open, unexplained(side)))
    })
}

fn closes(sides: &Sides) -> bool {
    let (bytes, unexplained) = sums(sides);
    unexplained < FEW_BYTES || unexplained < bytes / 1_000 * PERMILLE
}

/// In percent, with three decimals; nothing is no share of nothing.
fn percent(part: u64, whole: u64) -> String {
    match (u128::from(part) * 100_000).checked_div(u128::from(whole)) {
        Some(thousandths) => format!("{}.{:03} %", thousandths / 1_000, thousandths % 1_000),
        None => "-".to_owned(),
    }
}

fn table(sides: &Sides) -> String {
    let mut text = String::new();
    for ((interface, flow), side) in sides {
        let _ = writeln!(text, "{interface} {flow}: {} bytes", side.bytes);
        for (part, bytes) in Part::ALL.iter().zip(side.parts) {
            if bytes != 0 || *part == Part::Unexplained {
                let _ = writeln!(
                    text,
                    "  {:<13} {bytes:>20}  {:>9}",
                    part.as_str(),
                    percent(bytes.unsigned_abs(), side.bytes)
                );
            }
        }
    }
    let (bytes, unexplained) = sums(sides);
    let verdict = if closes(sides) { "the books close" } else { "the books do not close" };
    let share = match bytes {
        0 => "nothing crossed an uplink".to_owned(),
        _ => percent(unexplained, bytes),
    };
    let _ = writeln!(text, "{verdict}: {unexplained} of {bytes} bytes unexplained, {share}");
    text
}

fn json(sides: &Sides) -> String {
    let side = |((interface, flow), side): (&(String, String), &Side)| {
        let parts: serde_json::Map<String, Value> =
            Part::ALL.iter().zip(side.parts).map(|(part, bytes)| (part.as_str().to_owned(), bytes.into())).collect();
        serde_json::json!({ "interface": interface, "flow": flow, "bytes": side.bytes, "parts": parts })
    };
    let (bytes, unexplained) = sums(sides);
    let all: Vec<Value> = sides.iter().map(side).collect();
    let whole = serde_json::json!({
        "interfaces": all, "bytes": bytes, "unexplained": unexplained, "closes": closes(sides),
    });
    format!("{whole}\n")
}

#[cfg(test)]
mod tests;
