//! The push to DAKR: protobuf, framing, transport, what to do when a send fails, and the thread that does it.

pub mod client;
pub mod encode;
pub mod framing;
pub mod framings;
pub mod health;
pub mod heart;
pub mod jitter;
pub mod outcome;
pub mod persister;
pub mod push;
pub mod retry;
pub mod settings;
pub mod split;
pub mod token;
pub mod transport;

#[cfg(test)]
#[path = "../../../tests/support/dakr_schema.rs"]
pub(crate) mod schema;
