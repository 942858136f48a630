//! `zxporter-netmon flows`, `config` and `replay`: what an agent knows, printed once.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;

use super::client;
use super::table::{Said, Style};
use super::view::{Asked, style};
use crate::config::tools::Given;
use crate::export::view::query::{Query, Sort};
use crate::export::view::{About, Head, View};
use crate::snapshot::Snapshot;
use crate::sys::terminal;

/// Prints the rows of a running agent.
pub fn run(given: &Given, bound: Option<&str>) -> ExitCode {
    once(given, bound, Sort::Bytes)
}

/// As [`run`]; `sort` stands where none is given.
pub fn once(given: &Given, bound: Option<&str>, sort: Sort) -> ExitCode {
    say(ask(given, bound, sort))
}

fn ask(given: &Given, bound: Option<&str>, sort: Sort) -> Result<(), Failure> {
    let asked = Asked::of(given, sort).map_err(Failure::Usage)?;
    let address = client::address(given.word("address").or(bound));
    let text = client::get(&address, &format!("/flows?{}", asked.query(form(given))), client::PATIENCE_S)
        .map_err(|error| Failure::Failed(error.to_string()))?;
    print(given, &text, Of::Agent)
}

/// Prints the rows of a snapshot that was made here.
pub fn show(given: &Given, snapshot: Arc<Snapshot>, node_name: &str, status: &'static str) -> ExitCode {
    let head = Head { node_name: node_name.into(), status, swept_wall_ns: 0, agent: About::default() };
    let rendered = || {
        let asked = Asked::of(given, Sort::Bytes).map_err(Failure::Usage)?;
        let query = Query::parse(&asked.query(form(given))).map_err(|refused| Failure::Usage(refused.to_string()))?;
        let mut view = View::new(snapshot, head, query.as_ref());
        let mut text = Vec::new();
        while !view.fill(&mut text, usize::MAX) {}
        let of = if given.option("for").is_some() { Of::Meanwhile } else { Of::Recording };
        print(given, &String::from_utf8_lossy(&text), of)
    };
    say(rendered())
}

/// What the options of rows say, before anything is done; a sentence that says what is wanted.
///
/// # Errors
/// A value that there is not.
pub fn check(given: &Given) -> Result<(), String> {
    let asked = Asked::of(given, Sort::Bytes)?;
    Query::parse(&asked.query(form(given))).map(|_| ()).map_err(|refused| refused.to_string())
}

/// Prints the settings of a running agent.
pub fn config(given: &Given, bound: Option<&str>) -> ExitCode {
    let address = client::address(given.word("address").or(bound));
    let text = client::get(&address, "/config", client::PATIENCE_S).map_err(|error| Failure::Failed(error.to_string()));
    say(text.and_then(|text| write(&text)))
}

/// A table is laid out here; everything else the agent writes.
fn form(given: &Given) -> &str {
    given.word("format").filter(|format| *format != "table").unwrap_or("tsv")
}

fn print(given: &Given, text: &str, of: Of) -> Result<(), Failure> {
    if given.word("format").is_some_and(|format| format != "table") {
        return write(text);
    }
    let said =
        Said::read(text).ok_or_else(|| Failure::Failed("cannot read the answer: it is of no agent".to_owned()))?;
    let out = io::stdout();
    // A pipe gets whole texts.
    let width = if out.is_terminal() { terminal::size(out.as_fd()).map(|(columns, _)| columns) } else { None };
    write(&table(&said, style(given, |name| std::env::var(name).ok()), width, of))
}

/// Whose rows are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// A running agent's.
    Agent,
    /// What was counted while the command ran.
    Meanwhile,
    Recording,
}

/// Why there are no rows, and what to do.
pub fn none(said: &Said, of: Of) -> String {
    match (said.number("rows"), of, said.about("status")) {
        (1.., ..) => format!("none of {} rows matches: match, class and scope narrow them", said.number("rows")),
        (0, Of::Recording, _) => {
            "no rows: the recording has no traffic of this host's addresses (-local-cidrs names others)".to_owned()
        }
        (0, Of::Meanwhile, _) => {
            "no rows: nothing was carried, or it is hidden: zxporter-netmon doctor finds out".to_owned()
        }
        (0, Of::Agent, "healthy") => {
            "no rows: nothing carried yet, or it is hidden: zxporter-netmon doctor finds out".to_owned()
        }
        (0, Of::Agent, status) => format!("no rows: the agent is {status}: zxporter-netmon doctor says why"),
    }
}

fn table(said: &Said, style: Style, width: Option<usize>, of: Of) -> String {
    if said.is_empty() {
        return none(said, of) + "\n";
    }
    let mut text = said.table(style, width).join("\n");
    text.push('\n');
    text
}

fn write(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)
}

/// Why nothing is printed.
enum Failure {
    Usage(String),
    Failed(String),
    Output(io::Error),
}

fn say(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(text)) => {
            crate::logging::complain(&text);
            ExitCode::from(2)
        }
        Err(Failure::Failed(text)) => {
            crate::logging::complain(&text);
            ExitCode::FAILURE
        }
        // Whoever reads has enough (`| head`).
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Output(error)) => {
            crate::logging::complain(&format_args!("cannot write: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests;
