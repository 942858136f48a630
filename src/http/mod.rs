//! The endpoint on `-metrics-bind-address`: `/`, `/flows`, `/metrics`, `/healthz`, `/readyz`.
//!
//! It faces the node's network without authentication, so every resource a peer can take has a bound: connections,
//! bytes of a request, seconds for each step. It reads what other threads publish and asks them for nothing but a
//! fresh snapshot.

pub mod connection;
pub mod listen;
pub mod request;
pub mod routes;
pub mod server;
pub mod snapshots;
