//! Whose a local end is: pods by address and time, the host, its units and containers, or an address range given by hand.
//!
//! Ownership is decided when bytes are counted, never later (rule 8).

pub mod cgroup;
pub mod group;
pub mod local;
pub mod pods;
pub mod socket_owners;
pub mod sockets;
pub mod table;
pub mod waiting;

pub use pods::{Pod, PodIndex, Workload};
pub use table::{Owner, OwnerId, OwnerTable};
