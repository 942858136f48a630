//! Owners by number: rows hold an [`OwnerId`], the names stand here once.

use std::sync::Arc;

use super::pods::Pod;

/// Whom a local end belonged to when its bytes were counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The node itself: a process on the host, a host-network pod that is not known, the host's own traffic.
    Host,
    /// An address of `-local-cidrs`.
    Address,
    /// A pod.
    Pod(Arc<Pod>),
}

/// Number of an owner in the [`OwnerTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerId(pub u32);

/// The owners that rows point to.
#[derive(Debug, Default)]
pub struct OwnerTable {}
