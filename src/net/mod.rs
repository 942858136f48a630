//! How we reach others as a client: names, proxies, TLS and sockets, for DAKR and the API server alike.
//!
//! | part | duty |
//! | --- | --- |
//! | [`files`] | what `/etc/resolv.conf` and `/etc/hosts` say |
//! | [`ask`] | one name, asked of the name servers |
//! | [`flight`] | a request in flight: whether it left whole, and how it is ended |
//! | [`resolve`] | a host's addresses, as Go finds them |
//! | [`socket`] | what ureq connects with |
//!
//! Knows nothing of who is reached, and what is said there.

pub mod ask;
pub mod files;
pub mod flight;
pub mod resolve;
pub mod socket;
