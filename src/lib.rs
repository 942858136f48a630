//! Counts the bytes that a node's pods exchange, says who exchanged them with whom, and hands the increments to the
//! control plane exactly once.
//!
//! One pipeline, in the order the data meets the modules:
//!
//! ```text
//!  source ──▶ increments ──▶ owner ──▶ rows ──▶ batch ──▶ DAKR
//!  netfilter|ebpf|cilium   BaselineTable        RowTable     frozen      push
//!                             ▲ pods and names arrive as immutable snapshots     └──▶ /metrics /flows /healthz /readyz /
//! ```
//!
//! Words (connection, local end, owner, row, sweep, baseline, increment, window, batch) are defined in
//! `ARCHITECTURE.md`; rules cited by number ("rule 10") are those of the accounting contract in `SPECIFICATION.md`.
//!
//! Each module uses only those above it in this list. [`agent`] is the exception that builds them all.

pub mod agent;
pub mod baseline;
pub mod batch;
pub mod class;
pub mod clock;
pub mod collect;
pub mod config;
pub mod export;
pub mod flow;
pub mod health;
pub mod http;
pub mod kube;
pub mod ledger;
pub mod limits;
pub mod logging;
pub mod names;
pub mod owner;
pub mod privileges;
pub mod rows;
pub mod series;
pub mod snapshot;
pub mod source;
pub mod state;
pub mod stats;
pub mod stop;
pub mod sys;
pub mod table;
pub mod takeover;
pub mod wire;

/// The version, `major.minor.patch`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The short commit that the binary was built from, or `unknown`.
pub const COMMIT: &str = env!("NETMON_COMMIT");
