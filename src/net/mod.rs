//! How we reach others as a client: names, proxies, TLS and sockets, for DAKR and the API server alike.
//!
//! | part | duty |
//! | --- | --- |
//! | [`dial`] | how ureq connects: socket, proxy, TLS |
//! | [`files`] | what `/etc/resolv.conf` and `/etc/hosts` say |
//! | [`ask`] | one name, asked of the name servers |
//! | [`flight`] | a request in flight: whether it left whole, and how it is ended |
//! | [`query`] | texts in the query of a URL |
//! | [`resolve`] | a host's addresses, as Go finds them |
//! | [`socket`] | the TCP socket, and where its address comes from |
//! | [`tls`] | whom we trust, and what is said of whom we do not |
//! | [`trouble`] | why a peer was not reached, in words |
//!
//! Knows nothing of who is reached, and what is said there.

pub mod ask;
pub mod dial;
pub mod files;
pub mod flight;
pub mod query;
pub mod resolve;
pub mod socket;
pub mod tls;
pub mod trouble;
