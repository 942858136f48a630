//! Sets up the log and limits the rate of repeated messages.

use log::LevelFilter;

use crate::clock::{Now, SECOND};

/// The log target that dumps every byte of HTTP, tokens included. No setting switches it on.
pub const DUMPS: &str = "ureq_proto::util";

/// Starts the log on stderr at `level`, one line for each message. `RUST_LOG` (env_logger's syntax) takes precedence.
/// The TLS and HTTP libraries log only warnings, because their finer messages show what is sent to whom.
pub fn init(level: LevelFilter) {
    builder(level, &std::env::var("RUST_LOG").unwrap_or_default()).init();
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
    builder.filter_module(DUMPS, LevelFilter::Off).format_target(false).format_timestamp_millis();
    builder
}

/// Lets a class of messages through once a minute.
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

/// The shortest time between two messages of a class.
const INTERVAL_NS: u64 = 60 * SECOND;

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
mod tests;
