//! Decides when to list, when to watch, from which version, and how long to wait: a state machine on virtual time.
//!
//! ```text
//! EMPTY ── list, any version the server's cache has ──▶ LISTED(version)
//! LISTED ── watch from version, bookmarks, random deadline ──▶ every event and bookmark moves the version on
//!           ended by the server, by silence after a life sign, by a reset ──▶ watch again from the last version
//!           410, in the answer or in the stream; a watch without one life sign; ten silent minutes ──▶ RELIST
//!           429 ──▶ wait as requested, same version     5xx ──▶ same version for a minute, then RELIST
//! RELIST ── list, at least as new as the last version ──▶ LISTED; 410 or "too large" ──▶ one list of the newest
//! ```
//!
//! It behaves as client-go's reflector and kube-rs' watcher. It handles three facts of their issue lists: 410 has two
//! forms, no bookmark is guaranteed, half-open connections are silent. Versions are opaque and compared for equality
//! only. It knows nothing of HTTP or pods.

use crate::clock::{MS, SECOND};

/// All waiting times, so that tests can shorten them. The default is the specification.
#[derive(Clone, Copy, Debug)]
pub struct WatchPace {
    /// The first list waits a random part of this, because all agents of a cluster may start at once.
    pub start_delay_ns: u64,
    /// First back-off; it doubles, with jitter.
    pub backoff_ns: u64,
    /// Longest back-off.
    pub backoff_max_ns: u64,
    /// After this time without a failure the back-off starts again from the first.
    pub healthy_ns: u64,
    /// Longest accepted `Retry-After`.
    pub retry_after_max_ns: u64,
    /// Time for which server errors are retried from the same version.
    pub same_version_ns: u64,
    /// Silence over several watches after which the pods are listed again.
    pub silence_ns: u64,
    /// A watch that ends sooner, without event or bookmark, counts as a failure; two watches start at least this far
    /// apart.
    pub short_watch_ns: u64,
    /// Range of the requested deadline of a watch, in seconds; the second bound is excluded. Below the 240 s after which
    /// cloud load balancers drop silent connections.
    pub watch_seconds: (u32, u32),
}

impl Default for WatchPace {
    fn default() -> WatchPace {
        WatchPace {
            start_delay_ns: 5 * SECOND,
            backoff_ns: 800 * MS,
            backoff_max_ns: 30 * SECOND,
            healthy_ns: 120 * SECOND,
            retry_after_max_ns: 300 * SECOND,
            same_version_ns: 60 * SECOND,
            silence_ns: 600 * SECOND,
            short_watch_ns: SECOND,
            watch_seconds: (180, 230),
        }
    }
}

/// The requested version of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListVersion {
    /// Any version in the server's cache (`resourceVersion=0`).
    Any,
    /// At least as new as this one, so that another server does not send older data.
    AtLeast(String),
    /// The newest, read from etcd by quorum (no `resourceVersion`). Expensive, so never the first choice.
    Newest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Wait {
        /// Until this time, monotonic.
        until_ns: u64,
    },
    List {
        version: ListVersion,
    },
    Watch {
        /// The version to start from.
        version: String,
        /// The deadline to request.
        timeout_seconds: u32,
    },
}

/// Why a request failed, or a watch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server ended the watch between two events.
    Ended,
    /// Nothing arrived for longer than the interval of two bookmarks.
    Idle,
    /// The version is no longer known (410).
    Gone,
    /// The version is not yet known (504 with cause ResourceVersionTooLarge).
    TooLarge,
    /// 429.
    Overloaded {
        /// From `Retry-After`, if it is present and valid.
        retry_after_ns: Option<u64>,
    },
    /// 5xx.
    Server {
        /// HTTP status or code.
        code: u16,
        /// From `Retry-After`, if it is present and valid.
        retry_after_ns: Option<u64>,
        /// The server's message, on one line.
        message: String,
    },
    /// 401.
    Unauthorized,
    /// 403, with the server's message.
    Forbidden(String),
    /// Any other failure status.
    Refused {
        /// HTTP status or code.
        code: u16,
        /// The server's message, on one line.
        message: String,
    },
    /// The server's certificate, or ours, is not accepted.
    Tls(String),
    /// A certificate is not yet or no longer valid: perhaps this node's clock is wrong.
    Clock(String),
    /// No connection, or one that broke.
    Network(String),
    /// An answer of another kind than requested.
    Unreadable(String),
    /// Token, certificate or plugin cannot be used.
    Credentials(String),
}

#[derive(Debug)]
pub struct Machine {
    pace: WatchPace,
    random: u64,
    /// The last version seen.
    version: Option<String>,
    /// Whether a list is due, and why; the version it is to have.
    list: Option<ListVersion>,
    not_before_ns: u64,
    attempts: u32,
    last_failure_ns: Option<u64>,
    /// Server errors in a row began then.
    errors_since_ns: Option<u64>,
    /// Streams in a row that could not be read.
    unreadable: u32,
    /// A 401 was answered by one immediate retry.
    unauthorized: bool,
    /// A list of the newest version was asked for, and nothing succeeded since.
    newest_asked: bool,
    watch_began_ns: u64,
    /// Whether the watch at hand brought an event or a bookmark.
    alive: bool,
    /// The last event, bookmark or list.
    life_ns: u64,
}

impl Machine {
    /// Begins with nothing known. `seed` makes the random times differ from node to node.
    pub fn new(pace: WatchPace, seed: u64, now_ns: u64) -> Machine {
        let mut machine = Machine {
            pace,
            random: seed | 1,
            version: None,
            list: Some(ListVersion::Any),
            not_before_ns: now_ns,
            attempts: 0,
            last_failure_ns: None,
            errors_since_ns: None,
            unreadable: 0,
            unauthorized: false,
            newest_asked: false,
            watch_began_ns: 0,
            alive: false,
            life_ns: now_ns,
        };
        machine.not_before_ns = now_ns.saturating_add(machine.below(pace.start_delay_ns));
        machine
    }

    /// What to do now.
    #[allow(clippy::cast_possible_truncation, reason = "below a bound of 32 bits")]
    pub fn step(&mut self, now_ns: u64) -> Step {
        if now_ns < self.not_before_ns {
            return Step::Wait { until_ns: self.not_before_ns };
        }
        if let Some(version) = &self.list {
            return Step::List { version: version.clone() };
        }
        match &self.version {
            Some(version) => {
                let version = version.clone();
                let (from, to) = self.pace.watch_seconds;
                let timeout_seconds = from + self.below(u64::from(to.saturating_sub(from))) as u32;
                self.watch_began_ns = now_ns;
                self.alive = false;
                Step::Watch { version, timeout_seconds }
            }
            None => {
                self.relist();
                Step::Wait { until_ns: now_ns }
            }
        }
    }

    /// A list arrived whole.
    pub fn listed(&mut self, now_ns: u64, version: String) {
        self.version = Some(version);
        self.list = None;
        self.newest_asked = false;
        self.life_ns = now_ns;
        self.success();
    }

    /// The server accepted the watch. This proves nothing about the version: a wrong one is accepted too.
    pub fn watching(&mut self) {
        self.unauthorized = false;
    }

    /// An event or a bookmark arrived. One that could not be used counts as well: the connection lives.
    pub fn event(&mut self, now_ns: u64, version: Option<String>) {
        if version.is_some() {
            self.version = version;
        }
        self.alive = true;
        self.life_ns = now_ns;
        self.success();
    }

    /// The request that [`Machine::step`] asked for failed, or the watch ended. Whether the pods are now to be listed
    /// anew, though a watch was at hand.
    pub fn failed(&mut self, now_ns: u64, failure: &Failure) -> bool {
        let listing = self.list.is_some();
        let lasted_ns = now_ns.saturating_sub(self.watch_began_ns);
        match failure {
            // A watch from a version of the future (etcd came back from a backup) is open and silent to its end.
            // Only a list can tell.
            Failure::Ended if !listing && !self.alive && lasted_ns < self.pace.short_watch_ns => self.back_off(now_ns),
            Failure::Ended | Failure::Idle if !listing && !self.alive => self.relist(),
            Failure::Ended | Failure::Idle if !listing => self.resume(now_ns),
            Failure::Network(_) if !listing && (self.alive || lasted_ns >= self.pace.short_watch_ns) => {
                self.resume(now_ns);
            }
            // A lone API server that restarted knows no old version: all agents of the cluster are here at once.
            Failure::Gone if !listing => {
                self.relist();
                let delay_ns = self.below(self.pace.start_delay_ns);
                self.wait_until(now_ns.saturating_add(delay_ns));
            }
            Failure::Gone | Failure::TooLarge if listing && !self.newest_asked => {
                self.newest_asked = true;
                self.list = Some(ListVersion::Newest);
            }
            Failure::TooLarge if !listing => {
                self.relist();
                self.back_off(now_ns);
            }
            Failure::Overloaded { retry_after_ns } => {
                self.back_off(now_ns);
                self.obey(now_ns, *retry_after_ns);
            }
            Failure::Server { retry_after_ns, .. } => {
                self.back_off(now_ns);
                self.obey(now_ns, *retry_after_ns);
                self.relist_if_it_lasts(now_ns);
            }
            Failure::Refused { .. } => {
                self.back_off(now_ns);
                self.relist_if_it_lasts(now_ns);
            }
            Failure::Unauthorized if !self.unauthorized => self.unauthorized = true,
            Failure::Unreadable(_) => {
                self.unreadable += 1;
                if self.unreadable >= 3 {
                    self.relist();
                }
                self.back_off(now_ns);
            }
            _ => self.back_off(now_ns),
        }
        if !listing && now_ns.saturating_sub(self.life_ns) >= self.pace.silence_ns {
            self.relist();
        }
        !listing && self.list.is_some()
    }

    fn success(&mut self) {
        self.errors_since_ns = None;
        self.unreadable = 0;
        self.unauthorized = false;
    }

    /// Lists anew, no older than what was seen.
    fn relist(&mut self) {
        if self.list.is_none() {
            self.list = Some(self.version.clone().map_or(ListVersion::Any, ListVersion::AtLeast));
        }
        self.errors_since_ns = None;
        self.unreadable = 0;
    }

    fn relist_if_it_lasts(&mut self, now_ns: u64) {
        let since_ns = *self.errors_since_ns.get_or_insert(now_ns);
        if now_ns.saturating_sub(since_ns) >= self.pace.same_version_ns {
            self.relist();
        }
    }

    /// Watches again at once, unless the last watch has only just begun.
    fn resume(&mut self, now_ns: u64) {
        self.wait_until(now_ns.max(self.watch_began_ns.saturating_add(self.pace.short_watch_ns)));
    }

    /// Waits between half and the whole of the back-off, which doubles with each failure.
    fn back_off(&mut self, now_ns: u64) {
        let healthy = self.last_failure_ns.is_none_or(|last| now_ns.saturating_sub(last) >= self.pace.healthy_ns);
        self.attempts = if healthy { 0 } else { self.attempts.saturating_add(1) };
        self.last_failure_ns = Some(now_ns);
        let doubled = self.pace.backoff_ns.saturating_mul(1u64.checked_shl(self.attempts.min(32)).unwrap_or(u64::MAX));
        let most = doubled.min(self.pace.backoff_max_ns);
        let wait_ns = most / 2 + self.below(most / 2 + 1);
        self.wait_until(now_ns.saturating_add(wait_ns));
    }

    fn obey(&mut self, now_ns: u64, retry_after_ns: Option<u64>) {
        if let Some(retry_after_ns) = retry_after_ns {
            let wait_ns = retry_after_ns.min(self.pace.retry_after_max_ns);
            self.wait_until(self.not_before_ns.max(now_ns.saturating_add(wait_ns)));
        }
    }

    fn wait_until(&mut self, until_ns: u64) {
        self.not_before_ns = until_ns;
    }

    /// A random number below `bound` (xorshift64*): it spreads load, nothing depends on its quality.
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let drawn = self.random.wrapping_mul(0x2545_F491_4F6C_DD1D);
        ((u128::from(drawn) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests;
