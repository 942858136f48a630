//! What the parsing of arguments shares: Go's dashes, and what is said of a mistake.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::iter;

use lexopt::Parser;

/// Why the arguments or the environment cannot be used: one line, without secrets. The exit status is 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(pub(super) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Go writes long flags with one dash, lexopt with two. Only an argument in the place of a flag is touched, never a
/// value or what follows `--`.
pub(super) fn double_the_dash(mut parser: Parser) -> Parser {
    let is_single = |text: &OsStr| matches!(text.as_encoded_bytes(), [b'-', second, ..] if *second != b'-');
    let Some(mut raw) = parser.try_raw_args() else { return parser };
    let Some(argument) = raw.next_if(is_single) else { return parser };
    let mut doubled = OsString::from("-");
    doubled.push(argument);
    let rest: Vec<OsString> = raw.collect();
    Parser::from_args(iter::once(doubled).chain(rest))
}

/// The longest text of others that a message repeats, in characters.
const LONGEST_SHOWN: usize = 80;

/// A text of others in quotes, on one line, cut. What holds an `@` may be a URL with a password and is not shown.
pub(super) fn quoted(text: &OsStr) -> String {
    let text = text.to_string_lossy();
    if text.contains('@') { "(not shown)".to_owned() } else { format!("\"{}\"", one_line(&text)) }
}

pub(super) fn one_line(text: &str) -> String {
    let escaped = text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] });
    let mut shown: String = escaped.take(LONGEST_SHOWN).collect();
    if text.chars().count() > LONGEST_SHOWN {
        shown.push('…');
    }
    shown
}
