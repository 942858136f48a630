//! Sets up the log and limits the rate of repeated messages.

mod line;

use std::fmt;
use std::io::Write;

use log::{Level, LevelFilter};

use crate::clock::{self, Now, SECOND};
use line::Message;
pub use line::{Form, Format};

/// The log target that dumps every byte of HTTP, tokens included. No setting switches it on.
pub const DUMPS: &str = "ureq_proto::util";

/// Starts the log on stderr at `level`, one line for each message. `RUST_LOG` (env_logger's syntax) takes precedence.
/// The TLS and HTTP libraries log only warnings, because their finer messages show what is sent to whom.
pub fn init(level: LevelFilter, format: Format) {
    let form = form(format);
    let write = move |out: &mut env_logger::fmt::Formatter, record: &log::Record<'_>| {
        out.write_all(line(form, record.level(), record.target(), *record.args()).as_bytes())
    };
    builder(level, &std::env::var("RUST_LOG").unwrap_or_default()).format(write).init();
}

/// Says why the program ends, whatever the level of the log is; to people as programs do.
pub fn last_word(format: Format, why: &dyn fmt::Display) {
    let why = without_numbers(&why.to_string());
    match form(format) {
        Form { format: Format::Text, journal: false } => eprintln!("zxporter-netmon: {why}"),
        form => eprint!("{}", line(form, Level::Error, "zxporter_netmon", format_args!("{why}"))),
    }
}

/// A command's word on stderr.
pub fn complain(why: &dyn fmt::Display) {
    eprintln!("zxporter-netmon: {}", without_numbers(&why.to_string()));
}

/// Without the "(os error N)" of [`std::io::Error`], which says again in a number what its words say.
pub fn without_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |said, part| said + part.split_once(')').map_or(part, |(_, rest)| rest))
}

fn form(format: Format) -> Form {
    Form::of(format, std::env::var("JOURNAL_STREAM").ok().as_deref())
}

fn line(form: Form, level: Level, target: &str, text: fmt::Arguments<'_>) -> String {
    let thread = std::thread::current();
    form.line(&Message { wall_ns: clock::now().wall_ns, level, thread: thread.name().unwrap_or(""), target, text })
}

fn builder(level: LevelFilter, filters: &str) -> env_logger::Builder {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level.min(LevelFilter::Warn));
    // env_logger prefers a filter for a module to one for everything, so ours must not hide RUST_LOG=debug.
    let for_everything = |filter: &str| filter.trim().parse::<LevelFilter>().is_ok();
    if !filters.split(',').any(for_everything) {
        builder.filter_module("netmon", level);
    }
    if !filters.is_empty() {
        builder.parse_filters(filters);
    }
    builder.filter_module(DUMPS, LevelFilter::Off);
    builder
}

/// Lets a class of messages through once in ten minutes.
///
/// ```
/// use netmon::clock::{self, SECOND};
/// use netmon::logging::Rare;
///
/// let mut rare = Rare::new();
/// let now = clock::now();
/// if let Some(suppressed) = rare.allow(now) {
///     log::warn!("cannot read the table: EPERM{suppressed}");
/// }
/// assert!(rare.allow(now).is_none());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Rare {
    last_ns: Option<u64>,
    suppressed: u64,
}

/// Number of messages suppressed since the last one; displayed as ` (and N more like it)`, zero as nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suppressed(pub u64);

impl std::fmt::Display for Suppressed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => Ok(()),
            n => write!(f, " (and {n} more like it)"),
        }
    }
}

/// The shortest time between two messages of a class, and between reminders of a condition that lasts.
const INTERVAL_NS: u64 = 600 * SECOND;
/// Lines about a condition that may follow each other at once; then one per [`INTERVAL_NS`]. With the hourly line that is
/// at most 174 lines a day, whatever comes and goes.
const BURST: u64 = 6;

/// A condition that comes and goes, and when the log hears of it: at each change, and every ten minutes while it lasts.
/// What changes too often is held back and is in the next line.
#[derive(Debug, Default)]
pub struct Condition {
    /// What is wrong now and was said last: the caller's number for its kind, `None` if nothing is.
    now: Option<u64>,
    said: Option<u64>,
    said_ns: u64,
    since_ns: u64,
    /// Changes since the last line, the one that the line is about not counted.
    changes: u64,
    /// The time to which lines were spent in advance.
    spent_ns: u64,
}

/// A line that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// How long the condition has lasted, or did last.
    pub lasted_ns: u64,
    /// Whether the same was said before.
    pub again: bool,
    /// Changes that no line has told.
    pub held_back: u64,
}

impl fmt::Display for Due {
    /// Displayed as ` (for 20 min; changed 3 times meanwhile)`, nothing as nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.lasted_ns / (60 * SECOND);
        match (self.again && minutes > 0, self.held_back) {
            (false, 0) => Ok(()),
            (true, 0) => write!(f, " (for {minutes} min)"),
            (false, n) => write!(f, " (changed {n} times since the last line)"),
            (true, n) => write!(f, " (for {minutes} min; changed {n} times since the last line)"),
        }
    }
}

impl Condition {
    /// Whether something was wrong when it was last seen.
    pub fn is_wrong(&self) -> bool {
        self.now.is_some()
    }

    /// Takes what is wrong now, as a number for its kind; returns the line that is due. Nothing wrong at first is no
    /// change.
    pub fn see(&mut self, wrong: Option<u64>, mono_ns: u64) -> Option<Due> {
        if wrong != self.now {
            self.changes += 1;
            if self.now.is_none() {
                self.since_ns = mono_ns;
            }
            self.now = wrong;
        }
        let again = wrong == self.said;
        let reminder = wrong.is_some() && mono_ns.saturating_sub(self.said_ns) >= INTERVAL_NS;
        if again && !reminder || self.spent_ns > mono_ns + (BURST - 1) * INTERVAL_NS {
            return None;
        }
        self.spent_ns = self.spent_ns.max(mono_ns) + INTERVAL_NS;
        let held_back = self.changes.saturating_sub(u64::from(!again));
        (self.said, self.said_ns, self.changes) = (wrong, mono_ns, 0);
        Some(Due { lasted_ns: mono_ns.saturating_sub(self.since_ns), again, held_back })
    }
}

/// A number for a text in which figures do not matter: `12 of 30` is as `14 of 30`.
pub fn kind_of(text: &str) -> u64 {
    let letters = text.bytes().filter(|byte| !byte.is_ascii_digit());
    letters.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Bytes for a person: `424 MB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut amount, mut tenths) = (self.0, 0);
        for unit in ["B", "kB", "MB", "GB", "TB"] {
            if amount < 1_000 || unit == "TB" {
                return if amount < 10 && unit != "B" {
                    write!(f, "{amount}.{tenths} {unit}")
                } else {
                    write!(f, "{amount} {unit}")
                };
            }
            tenths = amount % 1_000 / 100;
            amount /= 1_000;
        }
        Ok(())
    }
}

impl Rare {
    /// A class without a message so far.
    pub const fn new() -> Rare {
        Rare { last_ns: None, suppressed: 0 }
    }

    /// Returns the number of suppressed messages if one may be logged now, else `None`.
    pub fn allow(&mut self, now: Now) -> Option<Suppressed> {
        let is_early = self.last_ns.is_some_and(|last| now.mono_ns.saturating_sub(last) < INTERVAL_NS);
        if is_early {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.last_ns = Some(now.mono_ns);
        Some(Suppressed(std::mem::take(&mut self.suppressed)))
    }
}

#[cfg(test)]
pub mod heard;
#[cfg(test)]
mod tests;
