//! Counts the bytes that a node's pods exchange, says who exchanged them with whom, and hands the increments to the
//! control plane exactly once.
//!
//! One pipeline, in the order the data meets the modules:
//!
//! ```text
//!  source ──▶ increments ──▶ owner ──▶ rows ──▶ batch ──▶ DAKR
//!  netfilter|ebpf|cilium   BaselineTable        RowTable     frozen      push
//!                             ▲ pods arrive as immutable snapshots,              └──▶ /metrics /flows /healthz /readyz /
//!                               names are asked for under a lock
//! ```
//!
//! Words (connection, local end, owner, row, sweep, baseline, increment, window, batch) are defined in
//! `ARCHITECTURE.md`. Rules cited by number ("rule 10") are those of the accounting contract in `SPECIFICATION.md`.
//!
//! The modules are listed floor by floor, the ground floor first. A module uses only modules of earlier floors, and
//! [`agent`], the last, builds them all. `tests/layers.rs` reads every import and fails on one that runs the other way.

// A cast that may cut or turn a number is named with its reason; tests may cast as they like.
#![cfg_attr(not(test), warn(clippy::cast_possible_truncation, clippy::cast_sign_loss))]

pub mod clock;
pub mod listed;
pub mod table;

mod aged;
pub mod flow;
pub mod health;
pub mod logging;
pub mod stats;

pub mod batch;
pub mod class;
pub mod config;
pub mod ledger;
pub mod topology;
pub mod wire;

pub mod sys;

pub mod findings;
pub mod privileges;
pub mod state;
pub mod stop;

pub mod audit;
pub mod baseline;
pub mod names;
pub mod net;
pub mod owner;
pub mod source;

pub mod costs;
pub mod kube;
pub mod limits;
pub mod rows;
pub mod series;
pub mod snapshot;

pub mod export;

pub mod collect;
pub mod http;
pub mod locate;

pub mod doctor;
pub mod takeover;

pub mod tools;

pub mod agent;

// Compiled as a program, with `--cfg alone`, the library exports nothing: what the agent never uses shows as dead code
// (tests/dead_code.rs). What only tests outside the library use is left out then, by `cfg(not(alone))`.
// Unit tests share files with the tests outside, which call the library by its name.
#[cfg(any(alone, test))]
extern crate self as netmon;
#[cfg(alone)]
#[path = "main.rs"]
pub(crate) mod program;
#[cfg(alone)]
fn main() -> std::process::ExitCode {
    program::main()
}

/// The version, `major.minor.patch`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The short commit that the binary was built from, or `unknown`.
pub const COMMIT: &str = env!("NETMON_COMMIT");
