//! The part of configuration and process that the thread `push` uses.

use crate::config::DakrProtocol;

/// Identity of the sender, and its framing and times.
pub struct Settings {
    pub node_name: String,
    /// The cluster's id in DAKR; empty if unknown.
    pub cluster_id: String,
    /// Distinguishes this process from earlier ones on the node: its start in hexadecimal nanoseconds.
    pub boot: String,
    pub protocol: DakrProtocol,
    /// `FLUSH_INTERVAL`.
    pub flush_interval_ns: u64,
    /// Start of the process, monotonic.
    pub started_ns: u64,
}
