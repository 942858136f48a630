//! The collector: the one thread that reads the source and owns the tables.
//!
//! It counts from second 0 on, whatever the API server or DAKR do. Between sweeps it waits in poll(2) for closed
//! connections, address changes, messages of the push and requests for snapshots.

pub mod arbiter;
pub mod blind;
pub mod ct_zone;
pub mod freezer;
pub mod handover;
mod hourly;
pub mod pace;
pub mod persist;
pub mod pipeline;
pub mod player;
mod reading;
pub mod run;
pub mod snapshot;
pub mod trouble;
pub mod unseen;
