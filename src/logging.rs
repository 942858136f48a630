//! The log: how it is set up, and how messages that repeat are kept rare.

use log::LevelFilter;

use crate::clock::{Now, SECOND};

/// What logs every byte that is sent and received: tokens in clear, a few bytes a line. Nothing switches it on.
pub const DUMPS: &str = "ureq_proto::util";

/// Starts the log on stderr, one line a message, at `level`; `RUST_LOG` (env_logger's syntax) goes before it where it
/// says otherwise. The libraries of TLS and HTTP are held to warnings: their talk would show what is sent to whom.
pub fn init(level: LevelFilter) {
    builder(level, &std::env::var("RUST_LOG").unwrap_or_default()).init();
}

fn builder(level: LevelFilter, filters: &str) -> env_logger::Builder {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level.min(LevelFilter::Warn));
    // A filter for a module would go before one for everything.
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

/// One class of messages, let through at most once a minute.
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

/// How many messages were held back since the last one; shown as ` (and N more like it)`, or not at all.
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

/// From one message of a class to the next.
const INTERVAL_NS: u64 = 60 * SECOND;

impl Rare {
    /// A class of which nothing was said yet.
    pub const fn new() -> Rare {
        Rare { last_ns: None, suppressed: 0 }
    }

    /// Whether to say it now, and how often it was not said since the last time.
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
