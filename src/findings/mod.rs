//! What was found on this node that decides whether traffic is counted: each finding with its cure.
//!
//! [`read`] looks, [`node`] judges what was seen and knows no files. `doctor` prints findings; the health component
//! `monitor` names as the causes of a blind source (rule 16) those that were found, and no others.

pub mod node;
pub mod read;

use std::fmt::Write;

use serde::Serialize;

use crate::listed;
use crate::logging::without_numbers;

listed! {
    /// How bad it is.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Verdict {
        /// As it should be.
        Ok => "ok",
        /// Something is missing that not everybody needs.
        Warn => "warn",
        /// Nothing is counted, or nothing arrives.
        Fail => "FAIL",
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What, in a word or two.
    pub area: &'static str,
    pub verdict: Verdict,
    /// What was seen.
    pub text: String,
    /// What to do; empty where nothing is to be done.
    pub cure: String,
}

impl Finding {
    /// As it should be.
    pub fn ok(area: &'static str, text: impl Into<String>) -> Finding {
        Finding { area, verdict: Verdict::Ok, text: plain(text), cure: String::new() }
    }

    /// Something is missing.
    pub fn warn(area: &'static str, text: impl Into<String>, cure: impl Into<String>) -> Finding {
        Finding { area, verdict: Verdict::Warn, text: plain(text), cure: plain(cure) }
    }

    /// It does not work.
    pub fn fail(area: &'static str, text: impl Into<String>, cure: impl Into<String>) -> Finding {
        Finding { area, verdict: Verdict::Fail, text: plain(text), cure: plain(cure) }
    }
}

fn plain(text: impl Into<String>) -> String {
    without_numbers(&text.into())
}

/// Exit status: 0 where all is well, 3 with warnings alone, 1 where something does not work.
pub fn status(findings: &[Finding]) -> u8 {
    match findings.iter().map(|finding| finding.verdict).max() {
        None | Some(Verdict::Ok) => 0,
        Some(Verdict::Warn) => 3,
        Some(Verdict::Fail) => 1,
    }
}

/// Findings as lines for people.
pub fn text(findings: &[Finding], arrow: &str) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for Finding { area, verdict, text: seen, cure } in findings {
        let _ = write!(text, "  {:<4}  {area:<13} {seen}", verdict.as_str());
        let _ = if cure.is_empty() { writeln!(text) } else { writeln!(text, "\n{:21}{arrow} {cure}", "") };
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (failed, warnings) = (count(Verdict::Fail), count(Verdict::Warn));
    let s = if warnings == 1 { "" } else { "s" };
    let _ = match (failed, warnings) {
        (0, 0) => writeln!(text, "all is well"),
        (0, _) => writeln!(text, "{warnings} warning{s}"),
        (_, 0) => writeln!(text, "{failed} failed"),
        _ => writeln!(text, "{failed} failed, {warnings} warning{s}"),
    };
    text
}

/// Findings for programs.
pub fn json(findings: &[Finding]) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        area: &'a str,
        verdict: String,
        text: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        cure: &'a str,
    }
    let lines = findings.iter().map(|Finding { area, verdict, text, cure }| Line {
        area,
        verdict: verdict.as_str().to_ascii_lowercase(),
        text,
        cure,
    });
    serde_json::to_string(&lines.collect::<Vec<Line<'_>>>()).unwrap_or_default() + "\n"
}
