//! The push to DAKR: protobuf, framing, transport, what to do when a send fails, and the thread that does it.

pub mod encode;
pub mod proto;
pub mod split;

#[cfg(test)]
#[path = "../../../tests/support/dakr_schema.rs"]
mod schema;
