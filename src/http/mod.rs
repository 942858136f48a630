//! The HTTP endpoint on `-metrics-bind-address`: `/`, `/flows`, `/metrics`, `/healthz`, `/readyz`.
//!
//! It faces the node's network without authentication. Every resource that a peer can take has a bound: connections,
//! bytes of a request, seconds for each step. It reads what other threads publish, and requests from them only a
//! fresh snapshot.

pub mod connection;
pub mod listen;
pub mod request;
pub mod response;
pub mod routes;
pub mod server;
pub mod snapshots;
