//! The collector: the one thread that reads the source and owns the tables.
//!
//! Starts counting at second 0, whatever the API server or DAKR do. Between sweeps it waits in poll(2) for ends of
//! connections, address changes, messages of the push and requests for pictures.

pub mod blind;
pub mod delivery;
pub mod freezer;
pub mod keep;
pub mod pace;
pub mod picture;
pub mod pipeline;
pub mod run;
pub mod trouble;
pub mod zone;
