//! What the thread `push` needs to know of configuration and process.

use crate::config::DakrProtocol;

/// Who sends, and how.
pub struct Settings {
    /// The node.
    pub node_name: String,
    /// The cluster, empty if unknown.
    pub cluster_id: String,
    /// Tells this process from its predecessors on the node.
    pub boot: String,
    /// Framing.
    pub protocol: DakrProtocol,
    /// `FLUSH_INTERVAL`.
    pub flush_interval_ns: u64,
    /// When the process started, nanoseconds since the epoch.
    pub started_wall_ns: u64,
}
