//! What is kept of an address and of a tuple of the node's own. It decides nothing.

use super::{By, NodeTuple};
use crate::aged::Aged;
use crate::flow::{Addr, TxRx};
use crate::table::entry;

/// What is known of an address.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) addr: Addr,
    pub(super) mark: u32,
    pub(super) by: By,
    /// It has sent what a socket sends, by conntrack's account of this sweep.
    pub(super) spoke: bool,
    /// The pod whose address it is; 0 while nobody says so.
    pub(super) pod: u64,
    /// In this sweep, by conntrack's account and by that of the programs.
    pub(super) conntrack: TxRx,
    pub(super) programs: TxRx,
}

entry!(Known { addr: Addr });

/// What is kept of a tuple of the node's own.
#[derive(Clone, Copy)]
pub(super) struct Of<T> {
    pub(super) tuple: NodeTuple,
    pub(super) mark: u32,
    pub(super) what: T,
}

impl<T: Copy> Of<T> {
    pub(super) fn new(tuple: NodeTuple, what: T) -> Of<T> {
        Of { tuple, mark: 0, what }
    }
}

entry!(Of<T> { tuple: NodeTuple } where T: Copy);

/// The programs count the tuple.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    /// Some record in this sweep was of it.
    pub(super) used: bool,
    /// Conntrack's entry has ended.
    pub(super) over: bool,
}

/// The cgroup of the tuple's socket.
#[derive(Clone, Copy)]
pub(super) struct Cgroup(pub(super) u64);

/// The tuple's entry ended since the last sweep; what conntrack counted of it meanwhile.
#[derive(Clone, Copy)]
pub(super) struct Ended(pub(super) TxRx);

/// Keeps something of a tuple that nothing is kept of yet; where the table is full, instead of the oldest.
pub(super) fn place<T: Copy>(table: &mut Aged<Of<T>>, tuple: NodeTuple, what: T) {
    if table.is_full()
        && let Some(oldest) = table.oldest()
    {
        table.remove(oldest);
    }
    let placed = table.insert(Of::new(tuple, what));
    debug_assert!(placed.is_ok(), "a slot was just vacated");
}
